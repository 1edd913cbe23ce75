//! Looks up records that resuming sessions missed. It has a thread of its own, so that neither hub nor shards wait for it.

use std::cmp::Ordering;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tickwire_bus::{Backplane, History, HistoryError, Recall, Recalled, Subject};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Body, GapCause};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::run::{HubStats, ShardLink};
use crate::traces::span;
use tickwire_core::hub::{LookUp, read_message};
use tickwire_core::vocabulary::{BackfillAsk, Event, Update};

/// The most look-ups that wait for one under way to end. Further ones get an empty response at once.
pub(crate) const LOOKUPS_WAITING_MAX: usize = 4096;
/// The most look-ups under way.
const LOOKUPS_MAX: usize = 32;
/// The most bytes of bus messages in one response, about.
const PART_BYTES: usize = 32 << 10;
const PART_MESSAGES: usize = 1024;
/// The bytes that one part takes in memory, generously: records are small, and each has its own head.
pub(crate) const PART_MEMORY: usize = 8 * PART_BYTES;
/// The number of times that records which are missing at the end are looked for again: the history may not have yet what was
/// published just now.
const TAIL_TRIES: usize = 3;
/// The pause before each of these tries.
const TAIL_PAUSE: Duration = Duration::from_millis(100);

/// Everything that the thread of look-ups needs to run.
pub(crate) struct HistorySetup {
    pub(crate) bus: Arc<dyn Backplane>,
    pub(crate) requests: mpsc::Receiver<(Instant, LookUp)>,
    pub(crate) shards: Vec<ShardLink>,
    pub(crate) timeout: Duration,
    pub(crate) stats: Arc<HubStats>,
    pub(crate) stop: CancellationToken,
}

/// Answers look-ups until it is cancelled.
pub(crate) async fn run(setup: HistorySetup) {
    let HistorySetup { bus, mut requests, shards, timeout, stats, stop } = setup;
    let Some(history) = bus.history() else { return };
    let mut state = history.state();
    let mut lookups = FuturesUnordered::new();
    loop {
        let told = state.borrow_and_update().to_string();
        *stats.history.lock().unwrap_or_else(PoisonError::into_inner) = told;
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = state.changed() => {}
            Some(()) = lookups.next(), if !lookups.is_empty() => {}
            Some((asked, request)) = requests.recv(), if lookups.len() < LOOKUPS_MAX => {
                let (shards, stats) = (&shards, &stats);
                let span = span!(
                    "lookup",
                    symbol = display(&request.info.scale.symbol),
                    channel = request.ask.topic.channel().name(),
                    first = request.ask.first,
                    last = request.ask.last
                );
                let looking = async move {
                    let event = look_up(history, &request, asked + timeout, stats).await;
                    let _ = shards[request.shard].events.send(vec![event]).await;
                };
                lookups.push(looking.instrument(span));
            }
        }
    }
}

/// Returns the records that one request asks for, or as many of them as the history has.
async fn look_up(history: &dyn History, request: &LookUp, deadline: Instant, stats: &HubStats) -> Event {
    let mut part = Part { request, updates: Vec::new(), next: request.ask.first };
    let mut cursor = request.ask.cursor;
    for pause in (0..TAIL_TRIES).map(Some).chain([None]) {
        let Some(recall) = recall(request, cursor).filter(|_| Instant::now() < deadline) else { break };
        let found = tokio::time::timeout_at(deadline, history.recall(recall)).await;
        let found = found.unwrap_or(Err(HistoryError::Unavailable("no response in time".into())));
        let Recalled { messages, more, cursor: reached } = match found {
            Ok(found) => found,
            Err(error) => {
                let failures = stats.history_failures.fetch_add(1, Relaxed) + 1;
                if failures.is_power_of_two() {
                    let symbol = &request.info.scale.symbol;
                    tracing::warn!(%symbol, %error, failures, "the history did not answer a look-up");
                }
                break;
            }
        };
        for message in &messages {
            part.take(message);
        }
        cursor = reached;
        if more || part.next > request.ask.last {
            stats.history_records.fetch_add(part.updates.len() as u64, Relaxed);
            return request.respond(part.updates, part.next - 1, cursor);
        }
        if pause.is_some() {
            tokio::time::sleep_until((Instant::now() + TAIL_PAUSE).min(deadline)).await;
        }
    }
    stats.history_records.fetch_add(part.updates.len() as u64, Relaxed);
    request.respond(part.updates, request.ask.last, cursor)
}

fn recall(request: &LookUp, cursor: u64) -> Option<Recall> {
    let LookUp { ask, info, .. } = request;
    let BackfillAsk { epoch, first, last, .. } = *ask;
    let subject = Subject::data(&info.name.venue, ask.topic.channel().name(), &info.name.symbol).ok()?;
    // Epochs have no order, so the place of another epoch's message says nothing.
    let place = move |payload: &[u8]| {
        let (header, _) = BusHeader::parse(payload).ok().filter(|(header, _)| header.epoch == epoch)?;
        Some(match header {
            header if header.last_sequence < first => Ordering::Less,
            header if header.first_sequence > last => Ordering::Greater,
            _ => Ordering::Equal,
        })
    };
    Some(Recall {
        subject,
        place: Arc::new(place),
        cursor,
        messages_max: PART_MESSAGES,
        bytes_max: PART_BYTES,
    })
}

struct Part<'a> {
    request: &'a LookUp,
    updates: Vec<Arc<Update>>,
    /// The first sequence number that is not there yet.
    next: u64,
}

impl Part<'_> {
    /// Takes the new records of a message. A message that is damaged, or is about something else, is skipped: its sequence numbers
    /// are then missing.
    fn take(&mut self, message: &[u8]) {
        let LookUp { ask, info, source, .. } = self.request;
        let Ok((header, records)) = BusHeader::parse(message) else { return };
        let channel = ask.topic.channel();
        if header.epoch != ask.epoch || header.instrument != *source || header.channel != channel {
            return;
        }
        let mut read = Vec::new();
        if let Err(reason) = read_message(info, *source, channel, &header, (0, records), &mut read) {
            tracing::debug!(symbol = %info.scale.symbol, reason, "a message of the history is damaged");
            return;
        }
        for update in read {
            let (first, last) = (update.first.max(self.next), update.last.min(ask.last));
            if first > last {
                continue;
            }
            let is_whole = (first, last) == (update.first, update.last);
            self.updates.push(if is_whole { update } else { Arc::new(self.cut(&update, first, last)) });
            self.next = last + 1;
        }
    }

    /// Returns the part of a gap that lies between two sequence numbers.
    fn cut(&self, update: &Update, first: u64, last: u64) -> Update {
        let cause = match &update.record().body {
            Body::Gap(gap) => gap.cause(),
            _ => GapCause::Resume,
        };
        let info = Arc::clone(&self.request.info);
        Update::gap(info, update.topic.channel(), cause, first, last, update.epoch)
    }
}
