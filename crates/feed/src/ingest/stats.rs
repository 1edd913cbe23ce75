//! What an ingester did so far, for metrics and progress.

use std::sync::{Arc, Mutex, PoisonError};

use tickwire_wire::{Channel, FeedState};

/// Counters since the start of the ingester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that got a number.
    pub records: u64,
    /// Of them by channel, in the order of [`Channel::ALL`]; gaps are not among these.
    pub channels: [u64; Channel::COUNT],
    /// Bus messages that the bus took.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bus messages that the bus refused.
    pub refused_messages: u64,
    /// Sequence numbers in them.
    pub missed_numbers: u64,
    /// Lines or messages of the source that could not be used.
    pub faults: u64,
    /// Event times that were not believed, and replaced by the time of receipt.
    pub replaced_times: u64,
    /// Gaps between the venue and here.
    pub upstream_gaps: u64,
    /// Input that repeated what was already said.
    pub repeats: u64,
    /// Changes that came while there was no book to change.
    pub orphan_changes: u64,
    /// Changes after which the best bid was not below the best ask.
    pub crossed_books: u64,
    /// Requests of gateways that were answered.
    pub responses: u64,
    /// Responses that the bus refused.
    pub refused_responses: u64,
    /// Heartbeats that the bus refused.
    pub refused_heartbeats: u64,
}

impl Tally {
    /// Records of one channel.
    pub fn channel(&self, channel: Channel) -> u64 {
        (channel as usize).checked_sub(1).map_or(0, |at| self.channels[at])
    }
}

/// How an ingester is doing, as of its last turn.
#[derive(Clone, Debug, Default)]
pub struct IngestReport {
    /// Counters.
    pub tally: Tally,
    /// Instruments that are defined.
    pub instruments: usize,
    /// As the last heartbeat said.
    pub state: FeedState,
    /// Why it is not live.
    pub reason: String,
    /// The last fault of the source, for people.
    pub last_fault: Option<String>,
}

/// A handle to the figures of a running ingester. Cheap to clone and to read; written once per turn.
#[derive(Clone, Debug, Default)]
pub struct IngestStats(Arc<Mutex<IngestReport>>);

impl IngestStats {
    /// The figures now.
    pub fn report(&self) -> IngestReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut IngestReport)) {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
