//! The state of the connection, known in one place: reason, back-off, and who is to be told.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Event, Server, ServerError};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::backoff::Waits;
use super::envelope::ENVELOPE_BYTES;
use super::inbox::NatsInbox;
use super::words::without_secrets;
use crate::backplane::BusState;
use crate::inbox::{BusEvent, LostCause};

/// The largest message that a server is taken to accept before the first connection: its default.
const MESSAGE_BYTES_GUESS: usize = 1 << 20;

/// The least that a server must take: one that takes less is reported as an error of its configuration.
const MESSAGE_BYTES_LEAST: usize = 4_096;

/// Shorter waits than this are not worth stopping the thread.
const GATHER_MIN: Duration = Duration::from_micros(100);

/// The longest time that the thread stops, whatever the consumer wants: requests and responses wait meanwhile.
const GATHER_MAX: Duration = Duration::from_millis(20);

pub(super) struct Link {
    state: watch::Sender<BusState>,
    is_up: AtomicBool,
    is_closed: AtomicBool,
    waits: Mutex<Waits>,
    inboxes: Mutex<Vec<Weak<NatsInbox>>>,
    is_interest_changed: AtomicBool,
    /// A signal that wakes the pump for changed interest.
    pub(super) interest: Notify,
    /// The inboxes that are to be drained and that the bus thread does not have yet.
    new_inboxes: Mutex<Vec<Arc<NatsInbox>>>,
    client: OnceLock<Client>,
    complaints: AtomicU64,
}

impl Link {
    pub(super) fn new(waits: Waits) -> Self {
        Self {
            state: watch::Sender::new(BusState::Connecting),
            is_up: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            waits: Mutex::new(waits),
            inboxes: Mutex::default(),
            is_interest_changed: AtomicBool::new(false),
            interest: Notify::new(),
            new_inboxes: Mutex::default(),
            client: OnceLock::new(),
            complaints: AtomicU64::new(0),
        }
    }

    pub(super) fn set_client(&self, client: Client) {
        let _ = self.client.set(client);
        self.refresh();
    }

    /// Returns the client, once there is one.
    pub(super) fn client(&self) -> Option<&Client> {
        self.client.get()
    }

    pub(super) fn state(&self) -> watch::Receiver<BusState> {
        self.state.subscribe()
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// Returns the largest payload that the server takes beside the envelope, as the client knows it now. Responses go
    /// without an envelope and get no more, so that one limit holds for all that a process sends.
    pub(super) fn payload_max(&self) -> usize {
        self.client.get().map_or(MESSAGE_BYTES_GUESS, Client::max_payload).saturating_sub(ENVELOPE_BYTES)
    }

    pub(super) fn add_inbox(&self, inbox: &Arc<NatsInbox>) {
        let mut inboxes = lock(&self.inboxes);
        inboxes.retain(|inbox| inbox.strong_count() > 0);
        inboxes.push(Arc::downgrade(inbox));
        drop(inboxes);
        lock(&self.new_inboxes).push(Arc::clone(inbox));
        self.interest.notify_one();
    }

    pub(super) fn take_new_inboxes(&self) -> Vec<Arc<NatsInbox>> {
        std::mem::take(&mut lock(&self.new_inboxes))
    }

    pub(super) fn inboxes(&self) -> Vec<Arc<NatsInbox>> {
        lock(&self.inboxes).iter().filter_map(Weak::upgrade).collect()
    }

    /// Lets what comes gather in the socket as long as no inbox wants it: to wake for each message costs more than the message. It
    /// stops the thread, so what is handed over meanwhile waits, too.
    pub(super) fn gather(&self) {
        let until =
            lock(&self.inboxes).iter().filter_map(Weak::upgrade).map(|inbox| inbox.gathers_until()).min();
        let wait =
            until.flatten().map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        if wait >= GATHER_MIN {
            #[expect(
                clippy::disallowed_methods,
                reason = "the thread is to stop, with all that it would do"
            )]
            std::thread::sleep(wait.min(GATHER_MAX));
        }
    }

    pub(super) fn interest_changed(&self) {
        self.is_interest_changed.store(true, Ordering::Release);
        self.interest.notify_one();
    }

    /// Notes what [`interest_changed`](Self::interest_changed) notes, when the pump is woken by something else anyway.
    pub(super) fn interest_remains(&self) {
        self.is_interest_changed.store(true, Ordering::Release);
    }

    pub(super) fn take_interest_changed(&self) -> bool {
        self.is_interest_changed.swap(false, Ordering::AcqRel)
    }

    /// Returns the wait before the next attempt to connect.
    pub(super) fn next_wait(&self) -> Duration {
        lock(&self.waits).next(Instant::now(), rand::random::<f64>())
    }

    /// Takes over what the client says about its connection. Events only hasten this: they may be lost.
    pub(super) fn refresh(&self) {
        let Some(client) = self.client.get() else { return };
        if self.is_closed() {
            return;
        }
        let generation = client.statistics().connects.load(Ordering::Relaxed);
        let is_connected = client.connection_state() == State::Connected;
        let is_changed = self.state.send_if_modified(|state| {
            match (is_connected, state.generation()) {
                (true, known) if known != Some(generation) => *state = BusState::Up { generation },
                (false, Some(_)) => *state = BusState::Down { reason: "connection lost".into() },
                _ => return false,
            }
            // This comes before anyone is told, so that whoever waits for `Up` can publish.
            self.is_up.store(is_connected, Ordering::Release);
            true
        });
        if !is_changed {
            return;
        }
        if is_connected {
            lock(&self.waits).connected(Instant::now());
            info!(generation, payload_max = self.payload_max(), "bus up");
            if let Some(complaint) = too_small(client.max_payload()) {
                warn!("{complaint}");
            }
            self.interest.notify_one();
        } else {
            warn!(reason = "connection lost", "bus down");
        }
        for inbox in self.inboxes() {
            inbox.poke();
        }
    }

    /// Says why the last round of attempts to connect failed, once for each reason. It is called before each round.
    pub(super) fn attempts_failed(&self, servers: &[Server]) {
        self.refresh();
        let Some(reason) = reason(servers) else { return };
        let is_changed = !self.is_closed()
            && self.state.send_if_modified(|state| match state {
                BusState::Up { .. } => false,
                BusState::Down { reason: known } if **known == *reason => false,
                _ => {
                    *state = BusState::Down { reason: reason.as_str().into() };
                    true
                }
            });
        if is_changed {
            warn!(reason, "bus down");
        }
    }

    pub(super) fn on_event(&self, event: &Event) {
        self.refresh();
        match event {
            Event::SlowConsumer(_) => self.lost_upstream("queue overflow"),
            Event::ServerError(ServerError::SlowConsumer(_)) => self.lost_upstream("dropped by the server"),
            Event::ServerError(error) if self.is_worth_a_line() => warn!(%error, "the NATS server complains"),
            Event::LameDuckMode => info!("the NATS server is about to go down"),
            _ => {}
        }
    }

    fn lost_upstream(&self, what: &str) {
        if self.is_worth_a_line() {
            warn!(what, "messages lost");
        }
        for inbox in self.inboxes() {
            inbox.queue.note(BusEvent::Lost { tokens: None, messages: None, cause: LostCause::Upstream });
        }
    }

    /// Notes that a message was accepted, and that the server of a new connection takes less than the one before it.
    pub(super) fn refused_by_client(&self, what: &str, bytes: usize) {
        if self.is_worth_a_line() {
            warn!(
                what,
                bytes,
                payload_max = self.payload_max(),
                "this is too large for the server and was dropped"
            );
        }
    }

    /// Returns whether a complaint is logged. Complaints may come by the thousand: each time that their number has
    /// doubled is enough.
    fn is_worth_a_line(&self) -> bool {
        (self.complaints.fetch_add(1, Ordering::Relaxed) + 1).is_power_of_two()
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.is_up.store(false, Ordering::Release);
        self.state.send_replace(BusState::Down { reason: "closed".into() });
        for inbox in self.inboxes() {
            inbox.queue.close();
        }
    }
}

/// Returns what is wrong with a server that takes messages of so many bytes, if anything is.
fn too_small(max_payload: usize) -> Option<String> {
    (max_payload < MESSAGE_BYTES_LEAST).then(|| {
        format!(
            "the NATS server takes messages of {max_payload} bytes at most, and Tickwire needs \
             {MESSAGE_BYTES_LEAST}: books, catalogues and heartbeats will be missing; raise `max_payload` in its \
             configuration (its own default is 1048576)"
        )
    })
}

/// Runs `work` unless the connection breaks; returns `None` then, or when it is down already and `work` has to wait.
pub(super) async fn while_up<T>(link: &Link, work: impl Future<Output = T>) -> Option<T> {
    let mut state = link.state();
    tokio::select! {
        biased;
        done = work => Some(done),
        _ = state.wait_for(|state| !state.is_up()) => None,
    }
}

/// Returns why each server could not be reached, in stable order, without secrets; `None` when none failed.
fn reason(servers: &[Server]) -> Option<String> {
    let failed: BTreeMap<_, _> = servers
        .iter()
        .filter_map(|server| {
            let error = server.last_error.as_deref()?;
            Some((without_secrets(server.addr.as_url_str()), explain(error)))
        })
        .collect();
    if failed.is_empty() {
        return None;
    }
    let reasons: Vec<_> = failed.into_iter().map(|(server, error)| format!("{server}: {error}")).collect();
    Some(reasons.join("; "))
}

fn explain(error: &str) -> String {
    let lower = error.to_lowercase();
    if lower.contains("authorization violation") {
        "authorization violation: check user and password, token, nkey seed or credentials file".to_owned()
    } else if lower.contains("certificate") {
        format!("{error}: check tls.ca_file, and tls.cert_file with tls.key_file")
    } else {
        error.to_owned()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_takes_too_little_is_told_what_to_change() {
        assert_eq!(too_small(1 << 20), None);
        assert_eq!(too_small(MESSAGE_BYTES_LEAST), None);
        let complaint = too_small(MESSAGE_BYTES_LEAST - 1).unwrap();
        for part in ["4095", "4096", "`max_payload`"] {
            assert!(complaint.contains(part), "{complaint}");
        }
    }
}
