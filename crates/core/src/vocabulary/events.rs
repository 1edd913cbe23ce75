//! What the hub tells the shards.

use std::sync::Arc;

use tickwire_wire::FeedState;

use super::ids::{InstrumentInfo, TopicId, VenueIndex};
use super::interests::Backfilled;
use super::update::Update;

/// The state of a venue's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// Dense index.
    pub venue: VenueIndex,
    /// Its name.
    pub name: Arc<str>,
    /// Live, stale or down.
    pub state: FeedState,
    /// Nanoseconds since the Unix epoch.
    pub since: u64,
    /// Why, where it is not live.
    pub reason: Arc<str>,
}

/// Where a topic starts, or starts again after a loss.
#[derive(Clone, Debug)]
pub struct TopicState {
    /// Of which topic.
    pub topic: TopicId,
    /// Sequence in force.
    pub epoch: u64,
    /// Last number that `records` contain.
    pub sequence: u64,
    /// The last record, or one for each conflation key, or a book snapshot; nothing where nothing happened yet.
    pub records: Vec<Arc<Update>>,
}

/// The end of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its dense index.
    pub instrument: u32,
    /// Why, for clients.
    pub reason: Arc<str>,
    /// An instrument of the same name was defined anew.
    pub may_retry: bool,
}

/// From the bus side to a shard. For each topic, in order and without holes: the numbers of an `Update` follow on the
/// number before, unless a gap record or a `State` says otherwise.
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
    /// An instrument ended: nothing more of it comes, and no new subscription is granted. Answer with
    /// [`TopicInterest::LetGo`](super::TopicInterest::LetGo) when nobody has it any more.
    Ended(Arc<Ended>),
    /// A topic that was asked for cannot be had now.
    Unavailable {
        /// Which.
        topic: TopicId,
        /// Why, for the client.
        reason: Arc<str>,
        /// There is no such instrument.
        is_unknown: bool,
    },
    /// What was found in history; to one shard.
    Backfill(Arc<Backfilled>),
}
