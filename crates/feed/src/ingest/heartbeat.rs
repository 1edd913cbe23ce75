//! The heartbeats of an ingester: what it says about itself, whether or not the market moves.

use std::time::Duration;

use prost::Message as _;
use tickwire_wire::pb::BookProof;
use tickwire_wire::{FeedState, Position, pb};

use super::publisher::BusSink;
use super::sequencer::Sequencer;
use crate::adapter::SourceState;
use crate::verification::Verification;

/// The time between two heartbeats of an ingester.
pub const HEARTBEAT_PERIOD: Duration = Duration::from_millis(500);
/// The most positions in one heartbeat, where the bus takes messages of that length.
pub const HEARTBEAT_POSITIONS_MAX: usize = 2_048;
/// The most bytes that a position takes.
const POSITION_BYTES_MAX: usize = 32;
/// The most bytes that a heartbeat takes beside its positions.
const HEARTBEAT_BYTES_MAX: usize = 768;
/// The most bytes of the reason in a heartbeat; what is longer is cut.
const REASON_BYTES_MAX: usize = 256;

/// The condition of the feed: why it is, or is not, live. The first that holds counts: stopped, paused, lost, stalled,
/// what the source says.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    pub(crate) is_stopped: bool,
    pub(crate) is_paused: bool,
    pub(crate) lost: Option<String>,
    pub(crate) stalled: Option<Duration>,
    pub(crate) source: Option<SourceState>,
}

impl Condition {
    /// Returns state and reason, as the heartbeat says them.
    pub(crate) fn state(&self) -> (FeedState, String) {
        let stale = |reason: &str| (FeedState::Stale, reason.to_owned());
        if self.is_stopped {
            return stale("ingester stopped");
        }
        if self.is_paused {
            return stale("paused");
        }
        if let Some(reason) = &self.lost {
            return stale(reason);
        }
        match &self.source {
            Some(SourceState::Ended) => stale("source ended"),
            Some(SourceState::Stale { reason }) => stale(reason),
            None => stale("starting"),
            Some(SourceState::Live) => match self.stalled {
                Some(silence) => stale(&format!("no data for {} s", silence.as_secs())),
                None => (FeedState::Live, String::new()),
            },
        }
    }
}

/// The content of a heartbeat about the run as a whole.
#[derive(Debug)]
pub(crate) struct RunStatus {
    pub(crate) state: FeedState,
    pub(crate) reason: String,
    pub(crate) time: u64,
    pub(crate) number: u64,
    pub(crate) uptime_ns: u64,
    pub(crate) last: bool,
    /// The proof of the source's books, where it says one.
    pub(crate) verification: Option<Verification>,
    /// The number of the lease by which the run publishes; 0 for none.
    pub(crate) lease: u64,
}

/// Makes the heartbeats that are due now: one, or several when many positions moved lately.
pub(crate) fn heartbeats<O: BusSink>(sequencer: &mut Sequencer<O>, status: &RunStatus) -> Vec<Vec<u8>> {
    let moved = std::mem::take(&mut sequencer.publisher.moved);
    let epoch = sequencer.publisher.epoch;
    let mut positions = Vec::with_capacity(moved.len());
    for (index, channel) in moved {
        let Some(Some(instrument)) = sequencer.instruments.get_mut(index as usize) else { continue };
        let id = instrument.id;
        let sequence = instrument.sequence_mut(channel);
        if sequence.last == 0 {
            // It moved as a channel of an instrument that ended.
            continue;
        }
        sequence.heartbeats_due = sequence.heartbeats_due.saturating_sub(1);
        if sequence.heartbeats_due > 0 {
            sequencer.publisher.moved.push((index, channel));
        }
        let sequence = sequence.last;
        positions.push(Position { instrument: id, channel: channel.into(), epoch, sequence });
    }
    let reason = &status.reason[..status.reason.floor_char_boundary(REASON_BYTES_MAX)];
    let heartbeat = |positions: &[Position]| {
        let heartbeat = pb::FeedHeartbeat {
            venue: sequencer.venue.clone(),
            epoch,
            state: status.state.into(),
            reason: reason.to_owned(),
            time: status.time,
            positions: positions.to_vec(),
            number: status.number,
            catalogue: sequencer.catalogue,
            uptime_ns: status.uptime_ns,
            last: status.last,
            book_proof: status.verification.map_or(BookProof::Unknown, |told| told.proof.code()).into(),
            verification: status.verification.map(|told| told.to_string()).unwrap_or_default(),
            lease: status.lease,
        };
        heartbeat.encode_to_vec()
    };
    if positions.is_empty() {
        return vec![heartbeat(&[])];
    }
    let room = sequencer.publisher.bus.payload_max().saturating_sub(HEARTBEAT_BYTES_MAX) / POSITION_BYTES_MAX;
    positions.chunks(room.clamp(1, HEARTBEAT_POSITIONS_MAX)).map(heartbeat).collect()
}
