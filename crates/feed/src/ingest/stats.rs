//! Statistics of an ingester so far, for metrics and progress.

use std::sync::{Arc, Mutex, PoisonError};

use tickwire_wire::{Channel, FeedState};

/// The counters since the start of the ingester.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The records that got a sequence number.
    pub records: u64,
    /// The records by channel, in the order of [`Channel::ALL`]; gaps are not among these.
    pub channels: [u64; Channel::COUNT],
    /// The bus messages that the bus took.
    pub messages: u64,
    /// The bytes of these messages.
    pub bytes: u64,
    /// The bus messages that the bus refused.
    pub refused_messages: u64,
    /// The sequence numbers in refused messages.
    pub missed_numbers: u64,
    /// The lines or messages of the source that could not be used.
    pub faults: u64,
    /// The event times that were not believed, and replaced by the time of receipt.
    pub replaced_times: u64,
    /// The gaps between the venue and here.
    pub upstream_gaps: u64,
    /// The input that repeated what was already said.
    pub repeats: u64,
    /// The changes that came while there was no book to change.
    pub orphan_changes: u64,
    /// The changes after which the best bid was not below the best ask.
    pub crossed_books: u64,
    /// The books that were cut, because they had too many levels on a side: each once from one snapshot to the next.
    pub cut_books: u64,
    /// The requests of gateways that were answered.
    pub responses: u64,
    /// The responses that the bus refused.
    pub refused_responses: u64,
    /// The heartbeats that the bus refused.
    pub refused_heartbeats: u64,
}

impl Tally {
    /// Returns the records of one channel.
    pub fn channel(&self, channel: Channel) -> u64 {
        (channel as usize).checked_sub(1).map_or(0, |at| self.channels[at])
    }
}

/// The report of an ingester, as of its last turn.
#[derive(Clone, Debug, Default)]
pub struct IngestReport {
    /// The counters.
    pub tally: Tally,
    /// The number of instruments that are defined.
    pub instruments: usize,
    /// The state that the last heartbeat said.
    pub state: FeedState,
    /// The reason why it is not live.
    pub reason: String,
    /// The last fault of the source, for people.
    pub last_fault: Option<String>,
}

/// A handle to the report of a running ingester. It is cheap to clone and to read; it is written once per turn.
#[derive(Clone, Debug, Default)]
pub struct IngestStats(Arc<Mutex<IngestReport>>);

impl IngestStats {
    /// Returns the report as of now.
    pub fn report(&self) -> IngestReport {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut IngestReport)) {
        update(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
