//! Revocations: they come by the bus, close open sessions, and are kept for those that come later.
//!
//! Every gateway keeps all of them. One that starts asks, and all the others tell what they know; each also tells it every minute,
//! so that one that missed a message while its bus was down hears of it again. So nothing is needed beside the bus while one
//! gateway runs, and a file keeps them while none does. Those of API keys say so when they are told on, so that all keep them for good.
//!
//! A gateway that starts takes nobody before another one told it all that it knows: it would let in whoever was revoked before. It
//! cannot know whether there is another one, so it waits for a limited time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tickwire_auth::{LostRevocations, Revocation, RevocationMessage};
use tickwire_bus::{Backplane, BusEvent, BusState, InboxLimits};
use tickwire_wire::Subject;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::gate::Gate;
use crate::audit;
use crate::clock::Clock;
use crate::files::Seldom;
use crate::shard::Order;
use crate::traces::span;

const LIMITS: InboxLimits = InboxLimits { messages_max: 4_096, bytes_max: 4 << 20, subjects_max: 1 };
/// The most messages that are taken at a time.
const EVENTS_MAX: usize = 64;
/// The time between two tellings of everything.
const TELL_EACH: Duration = Duration::from_mins(1);

/// Everything that is needed to take revocations.
pub(crate) struct RevokingSetup {
    pub(crate) gate: Arc<Gate>,
    pub(crate) bus: Arc<dyn Backplane>,
    pub(crate) shards: Vec<mpsc::WeakSender<Order>>,
    /// The file that they are kept in, where there is one.
    pub(crate) file: Option<PathBuf>,
    /// The time that the other gateways have to tell this one what they know, once the bus is reached.
    pub(crate) wait: Duration,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
}

/// Takes revocations until it is told to stop.
pub(crate) async fn run(setup: RevokingSetup) {
    let stop = setup.stop.clone();
    let (interest, mut inbox) = setup.bus.inbox(LIMITS);
    if let Err(error) = interest.subscribe(&Subject::revocations(), 0) {
        tracing::error!(%error, "revocations cannot be heard");
        return;
    }
    let mut state = setup.bus.state();
    let other_keys = Arc::new(Notify::new());
    let told = Arc::clone(&other_keys);
    setup.gate.authenticator.watch_keys(move || told.notify_one());
    let mut revoking = Revoking {
        setup,
        failures: Seldom::default(),
        full: Seldom::default(),
        asked_at: None,
        waits_until: None,
    };
    revoking.on_state(&state.borrow_and_update().clone());
    let (mut events, began) = (Vec::new(), Instant::now());
    let mut tell = tokio::time::interval_at(began + TELL_EACH, TELL_EACH);
    loop {
        let waits_until = revoking.waits_until;
        tokio::select! {
            () = stop.cancelled() => return,
            _ = tell.tick() => revoking.tell(),
            () = other_keys.notified() => {
                revoking.order(|| Order::Recheck).await;
                // What concerns new API keys is kept for good from now on.
                revoking.save();
            }
            () = tokio::time::sleep_until(waits_until.unwrap_or(began)), if waits_until.is_some() => revoking.is_told(false),
            changed = state.changed() => {
                if changed.is_err() {
                    return;
                }
                revoking.on_state(&state.borrow_and_update().clone());
            }
            is_open = inbox.recv_batch(&mut events, EVENTS_MAX) => {
                for event in events.drain(..) {
                    match event {
                        BusEvent::Message { payload, .. } => revoking.hear(&payload).await,
                        // What was said meanwhile is said again.
                        BusEvent::Lost { .. } => revoking.ask(),
                        BusEvent::Disconnected | BusEvent::Reconnected { .. } => {}
                    }
                }
                if !is_open {
                    return;
                }
            }
        }
    }
}

struct Revoking {
    setup: RevokingSetup,
    failures: Seldom,
    /// When it was told last that revocations had no room.
    full: Seldom,
    /// The connection to the bus by which the others were asked.
    asked_at: Option<u64>,
    /// The end of the wait for what the others know; `None`: it did not begin, or is over.
    waits_until: Option<Instant>,
}

impl Revoking {
    async fn hear(&mut self, payload: &[u8]) {
        let gate = Arc::clone(&self.setup.gate);
        let message = match RevocationMessage::parse(payload) {
            Ok(message) => message,
            Err(why) => {
                gate.stats.malformed.fetch_add(1, Ordering::Relaxed);
                if let Some(times) = self.failures.now() {
                    tracing::warn!(why, times, "a message of revocations cannot be read");
                }
                return;
            }
        };
        let now = self.setup.clock.now();
        let RevocationMessage { is_whole, asks, .. } = message;
        let new = gate.authenticator.learn(message, now);
        if !new.is_empty() {
            gate.stats.revocations.fetch_add(new.len() as u64, Ordering::Relaxed);
            tracing::info!(target: audit::TARGET, count = new.len(), "tokens were revoked");
            let span = span!("revocation", count = new.len());
            let new: Arc<[Revocation]> = new.into();
            self.order(|| Order::Revoke(Arc::clone(&new))).instrument(span).await;
            self.save();
        }
        self.count();
        if is_whole {
            self.is_told(true);
        }
        if asks {
            self.tell();
            // What is told by one that waits itself may lack something.
            if !self.awaits() {
                self.publish(&RevocationMessage { is_whole: true, ..RevocationMessage::default() });
            }
        }
    }

    async fn order(&self, order: impl Fn() -> Order) {
        for shard in self.setup.shards.iter().filter_map(mpsc::WeakSender::upgrade) {
            let _ = shard.send(order()).await;
        }
    }

    fn awaits(&self) -> bool {
        self.setup.gate.stats.awaits_revocations.load(Ordering::Relaxed)
    }

    /// Ends the waiting for what other gateways know: one told it, or none did in time.
    fn is_told(&mut self, by_another: bool) {
        self.waits_until = None;
        if self.setup.gate.stats.awaits_revocations.swap(false, Ordering::Relaxed) && !by_another {
            tracing::info!(
                wait_ms = self.setup.wait.as_millis() as u64,
                "no other gateway told what was revoked: there is none, or all of them start just now"
            );
        }
    }

    /// Asks once by each connection to the bus: what was said before it, nobody heard here.
    fn on_state(&mut self, state: &BusState) {
        let generation = state.generation();
        if generation.is_some() && self.asked_at != generation {
            self.asked_at = generation;
            self.ask();
            if self.awaits() && self.waits_until.is_none() {
                self.waits_until = Some(Instant::now() + self.setup.wait);
            }
        }
    }

    /// Asks the other gateways for what they know, and tells what this one knows.
    fn ask(&mut self) {
        self.publish(&RevocationMessage { asks: true, ..RevocationMessage::default() });
    }

    fn tell(&mut self) {
        let mut revocations = self.setup.gate.authenticator.revocations();
        revocations.sweep(self.setup.clock.now() / 1_000_000_000);
        let messages = revocations.messages();
        drop(revocations);
        self.count();
        for message in messages {
            self.publish(&message);
        }
    }

    fn publish(&mut self, message: &RevocationMessage) {
        // While the bus is down nobody is told; it is said again afterwards.
        if let Err(error) = self.setup.bus.publish(&Subject::revocations(), Bytes::from(message.encode())) {
            tracing::debug!(%error, "revocations were not told");
        }
    }

    fn count(&mut self) {
        let stats = &self.setup.gate.stats;
        let revocations = self.setup.gate.authenticator.revocations();
        let (kept, LostRevocations { tokens, api_keys }) = (revocations.count(), revocations.lost());
        drop(revocations);
        stats.kept.store(kept as u64, Ordering::Relaxed);
        let counts = stats.lost.iter().zip([tokens, api_keys]);
        let before: u64 = counts.map(|(count, lost)| count.swap(lost, Ordering::Relaxed)).sum();
        if tokens + api_keys > before
            && let Some(times) = self.full.now()
        {
            tracing::error!(
                tokens,
                api_keys,
                times,
                "there are too many revocations, so the oldest ones count no more: take revoked API keys out of the file, \
                 and rotate the key of tokens where too many have to be revoked"
            );
        }
    }

    /// Writes all of them into the file, at once: a file that is half written would lose some.
    fn save(&mut self) {
        let Some(path) = &self.setup.file else { return };
        let messages = self.setup.gate.authenticator.revocations().messages();
        let lines: Vec<_> = messages.iter().map(RevocationMessage::encode).collect();
        let new = path.with_extension("new");
        let written = std::fs::write(&new, lines.join(&b'\n')).and_then(|()| std::fs::rename(&new, path));
        if let Err(error) = written
            && let Some(times) = self.failures.now()
        {
            tracing::error!(path = %path.display(), %error, times, "revocations cannot be kept in the file");
        }
    }
}
