//! Events: what the hub tells the shards.

use std::sync::Arc;

use tickwire_wire::{BookProof, FeedState};

use super::ids::{InstrumentInfo, TopicId, VenueIndex};
use super::interests::Backfilled;
use super::update::Update;

/// The state of a venue's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// Its dense index.
    pub venue: VenueIndex,
    /// Its name.
    pub name: Arc<str>,
    /// Live, stale or down.
    pub state: FeedState,
    /// The time since which it is so, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// The reason why it is not live, where it is not.
    pub reason: Arc<str>,
    /// The proof of its books, as its ingester declares it.
    pub proof: BookProof,
}

/// The state from which a topic starts, or starts again after a loss.
#[derive(Clone, Debug)]
pub struct TopicState {
    /// The topic that starts.
    pub topic: TopicId,
    /// The current sequence.
    pub epoch: u64,
    /// The last sequence number that `records` contain.
    pub sequence: u64,
    /// The last record, or one for each conflation key, or a book snapshot; nothing where nothing happened yet.
    pub records: Vec<Arc<Update>>,
}

/// The end of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its dense index.
    pub instrument: u32,
    /// The reason why it ended, for clients.
    pub reason: Arc<str>,
    /// Whether an instrument of the same name was defined anew.
    pub may_retry: bool,
}

/// An event from the bus side for a shard. For each topic events come in order and without holes: the sequence
/// numbers of an `Update` follow on the one before, unless a gap record or a `State` says otherwise.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new instrument, or one whose definition changed.
    Instrument(Arc<InstrumentInfo>),
    /// A feed came into a state.
    Feed(Arc<FeedStatus>),
    /// A topic starts, or starts again.
    State(Arc<TopicState>),
    /// The next record of a topic.
    Update(Arc<Update>),
    /// An instrument ended: nothing more of it comes, and no new subscription is granted. The engine responds with
    /// [`TopicInterest::LetGo`](super::TopicInterest::LetGo) when nobody has it any more.
    Ended(Arc<Ended>),
    /// A topic that was asked for cannot be had now.
    Unavailable {
        /// The topic.
        topic: TopicId,
        /// The reason why it cannot be had, for the client.
        reason: Arc<str>,
        /// Whether there is no such instrument.
        is_unknown: bool,
    },
    /// A part of history that one shard asked for.
    Backfill(Arc<Backfilled>),
}
