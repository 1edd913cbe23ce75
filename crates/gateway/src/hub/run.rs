//! The task around the hub. It owns the inbox, sends snapshot requests and hands events to the shards in batches.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use prost::Message as _;
use tickwire_bus::{Backplane, BusEvent, BusState, Inbox, InboxLimits, Interest, Subject};
use tickwire_core::hub::{Action, FeedReport, Fetch, Hub, HubLimits, LookUp, Pieces};
use tickwire_core::schedule::{HubSchedule, TURN_EVENTS_MAX, by_shard};
use tickwire_core::vocabulary::{Event, TopicInterest};
use tickwire_wire::pb;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::clock::Clock;
use crate::gathering::Gathering;
use crate::timer::Timer;
use crate::traces::span;

const TICK: Duration = Duration::from_millis(50);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// The time that a bus takes from its waking until all that gathered is in the inbox.
const BUS_TURN: Duration = Duration::from_micros(150);

/// The way to one shard.
#[derive(Clone, Debug)]
pub(crate) struct ShardLink {
    pub(crate) events: mpsc::Sender<Vec<Event>>,
    /// The time before which no session of the shard wants the next events.
    pub(crate) gathering: Arc<Gathering>,
}

/// The counts and states of the hub that the admin listener shows.
#[derive(Debug, Default)]
pub(crate) struct HubStats {
    pub(crate) is_ready: AtomicBool,
    pub(crate) messages: AtomicU64,
    pub(crate) records: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) topics: AtomicU64,
    pub(crate) instruments: AtomicU64,
    pub(crate) foreign: AtomicU64,
    pub(crate) takeovers: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) over_limit: AtomicU64,
    pub(crate) feeds: std::sync::Mutex<Vec<FeedReport>>,
    pub(crate) bus: std::sync::Mutex<String>,
    /// The state of the bus's history; empty where there is no history.
    pub(crate) history: std::sync::Mutex<String>,
    /// The records that were found in the history.
    pub(crate) history_records: AtomicU64,
    /// The look-ups that the history did not answer.
    pub(crate) history_failures: AtomicU64,
}

/// Everything that the hub needs to run.
pub(crate) struct HubSetup {
    pub(crate) bus: Arc<dyn Backplane>,
    pub(crate) limits: HubLimits,
    pub(crate) inbox: InboxLimits,
    pub(crate) shards: Vec<ShardLink>,
    pub(crate) interests: mpsc::Receiver<(usize, TopicInterest)>,
    /// The way to the thread of look-ups, where the bus has a history.
    pub(crate) history: Option<mpsc::Sender<(Instant, LookUp)>>,
    pub(crate) stats: Arc<HubStats>,
    pub(crate) clock: Clock,
    pub(crate) stop: CancellationToken,
}

/// Runs the hub until it is cancelled or the bus is closed.
pub(crate) async fn run(setup: HubSetup) {
    let HubSetup { bus, limits, inbox, shards, mut interests, history, stats, clock, stop } = setup;
    let mut hub = Hub::new(limits);
    let (interest, mut inbox): (Interest, Inbox) = bus.inbox(inbox);
    let mut state = bus.state();
    let mut responses = FuturesUnordered::new();
    let mut turn = Vec::new();
    let mut ticks = tokio::time::interval(TICK);
    let (mut schedule, mut is_full) = (HubSchedule::default(), false);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    note_bus(&mut hub, &stats, &state.borrow_and_update().clone(), clock.now());
    let mut timer = Timer::new();
    // A single shard is on this thread, and says when it wants events.
    let only_shard = if let [shard] = &shards[..] { Some(Arc::clone(&shard.gathering)) } else { None };
    let wanted_from = || shards.iter().map(|shard| shard.gathering.until()).min().unwrap_or_default();
    let wanted_now = async || match &only_shard {
        Some(shard) => shard.ended().await,
        None => std::future::pending().await,
    };
    loop {
        let wake_at = schedule.wake_at().filter(|_| only_shard.is_none());
        let wake_in = wake_at.map(|at| Duration::from_nanos(at.saturating_sub(clock.now())));
        tokio::select! {
            () = stop.cancelled() => break,
            () = timer.wait(wake_in.unwrap_or_default()), if wake_in.is_some() => schedule.on_time(clock.now()),
            () = wanted_now() => schedule.take_now(),
            open = inbox.recv_batch_timed(&mut turn, TURN_EVENTS_MAX), if schedule.takes_messages() => {
                if !open {
                    tracing::warn!("the bus was closed");
                    break;
                }
                let now = clock.now();
                is_full = schedule.on_turn(turn.len(), wanted_from(), now);
                // The bus needs a moment, too, before what gathered is here.
                let gathers = schedule.wake_at().and_then(|at| Duration::from_nanos(at - now).checked_sub(BUS_TURN));
                if let Some(gathers) = gathers {
                    inbox.gather_until(std::time::Instant::now() + gathers);
                }
                for (at, event) in turn.drain(..) {
                    deliver(&mut hub, event, clock.at(at), now);
                }
            }
            Some((shard, interest)) = interests.recv() => {
                hub.on_interest(shard, interest);
                while let Ok((shard, interest)) = interests.try_recv() {
                    hub.on_interest(shard, interest);
                }
            }
            Some((target, response)) = responses.next(), if !responses.is_empty() => hub.on_response(target, response, clock.now()),
            Ok(()) = state.changed() => {
                note_bus(&mut hub, &stats, &state.borrow_and_update().clone(), clock.now());
            }
            _ = ticks.tick() => {
                hub.tick(clock.now());
                publish_stats(&hub, &stats, clock.now());
            }
        }
        hub.ask_due(clock.now());
        if schedule.is_ready(state.borrow().is_up(), clock.now()) {
            stats.is_ready.store(true, Ordering::Relaxed);
        }
        for action in hub.actions.drain(..) {
            match action {
                Action::Subscribe(subject, token) => {
                    if let Err(error) = interest.subscribe(&subject, token) {
                        tracing::error!(%subject, %error, "cannot subscribe on the bus");
                    }
                }
                Action::Unsubscribe(subject) => interest.unsubscribe(&subject),
                Action::LookUp(request) => {
                    let refused = match &history {
                        Some(history) => {
                            let asked = history.try_send((Instant::now(), request));
                            asked.err().map(|refused| refused.into_inner().1)
                        }
                        None => Some(request),
                    };
                    hub.events.extend(refused.map(|request| (1 << request.shard, request.nothing())));
                }
                Action::Ask(subject, ask, target) => {
                    let bus = Arc::clone(&bus);
                    let span =
                        span!("snapshot", subject = display(&subject), topics = topics(&ask), error = Empty);
                    let asking = async move {
                        let response = fetch(&*bus, &subject, ask, REQUEST_TIMEOUT).await;
                        if let Err(error) = &response {
                            Span::current().record("error", error.as_str());
                        }
                        (target, response)
                    };
                    responses.push(asking.instrument(span));
                }
            }
        }
        hand_over(&mut hub, &shards, &mut interests).await;
        if std::mem::take(&mut is_full) {
            // A shard on the same thread gets its turn, however much waits here.
            tokio::task::yield_now().await;
        }
    }
}

/// Returns how many topics a request asks for; 0 where it asks for the catalogue.
fn topics(ask: &pb::FeedRequest) -> usize {
    match &ask.request {
        Some(pb::feed_request::Request::Snapshots(snapshots)) => snapshots.topics.len(),
        _ => 0,
    }
}

/// Sends a snapshot request and returns the response, which may come in pieces where it does not fit into one message.
/// `timeout` is for each message.
///
/// # Errors
/// What the bus or the ingester says, or what is wrong with the response.
///
/// # Cancel safety
/// The request was sent in vain.
pub async fn fetch(
    bus: &dyn Backplane,
    subject: &Subject,
    mut ask: pb::FeedRequest,
    timeout: Duration,
) -> Result<pb::FeedResponse, String> {
    let mut pieces = Pieces::default();
    loop {
        let response = bus.request(subject, ask.encode_to_vec().into(), timeout).await;
        let response = pb::FeedResponse::decode(response.map_err(|error| error.to_string())?);
        match pieces.take(response.map_err(|error| format!("the response cannot be read: {error}"))?)? {
            Fetch::Whole(response) => return Ok(response),
            Fetch::Next(next) => ask = next,
        }
    }
}

/// Hands an event of the inbox to the hub. `arrived` is when it came into the inbox; both times are nanoseconds since the
/// Unix epoch.
pub fn deliver(hub: &mut Hub, event: BusEvent, arrived: u64, now: u64) {
    match event {
        BusEvent::Message { token, payload, .. } => hub.on_message(token, &payload, arrived, now),
        BusEvent::Lost { tokens, .. } => hub.on_lost(tokens),
        BusEvent::Disconnected => {}
        BusEvent::Reconnected { generation } => hub.on_connection(generation, now),
    }
}

/// Hands the hub's events to the shards. It waits for a shard that is behind: the inbox then fills and drops messages, which
/// is noticed, announced and repaired. Meanwhile it takes interests, because the shard may be waiting to hand one over.
async fn hand_over(
    hub: &mut Hub,
    shards: &[ShardLink],
    interests: &mut mpsc::Receiver<(usize, TopicInterest)>,
) {
    if hub.events.is_empty() {
        return;
    }
    let told = by_shard(&mut hub.events, shards.len());
    for (at, (shard, events)) in shards.iter().zip(told).enumerate() {
        if events.is_empty() {
            continue;
        }
        loop {
            tokio::select! {
                biased;
                room = shard.events.reserve() => {
                    match room {
                        Ok(room) => room.send(events),
                        Err(_) => tracing::debug!(shard = at, "a shard has ended"),
                    }
                    break;
                }
                Some((shard, interest)) = interests.recv() => hub.on_interest(shard, interest),
            }
        }
    }
}

fn note_bus(hub: &mut Hub, stats: &HubStats, state: &BusState, now: u64) {
    let (text, state): (String, Result<u64, Arc<str>>) = match state {
        BusState::Up { generation } => ("up".into(), Ok(*generation)),
        BusState::Connecting => ("connecting".into(), Err("the bus is not connected yet".into())),
        BusState::Down { reason } => {
            (format!("down: {reason}"), Err(format!("the bus is down: {reason}").into()))
        }
    };
    hub.on_bus_state(state, now);
    *stats.bus.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = text;
}

fn publish_stats(hub: &Hub, stats: &HubStats, now: u64) {
    let counts = hub.counts;
    stats.messages.store(counts.messages, Ordering::Relaxed);
    stats.records.store(counts.records, Ordering::Relaxed);
    stats.bytes.store(counts.bytes, Ordering::Relaxed);
    stats.malformed.store(counts.malformed, Ordering::Relaxed);
    stats.lost.store(counts.lost, Ordering::Relaxed);
    stats.topics.store(hub.topics() as u64, Ordering::Relaxed);
    stats.instruments.store(hub.instruments() as u64, Ordering::Relaxed);
    stats.foreign.store(counts.foreign, Ordering::Relaxed);
    stats.takeovers.store(counts.takeovers, Ordering::Relaxed);
    stats.ended.store(counts.ended, Ordering::Relaxed);
    stats.over_limit.store(counts.over_limit, Ordering::Relaxed);
    *stats.feeds.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = hub.feeds(now).collect();
}
