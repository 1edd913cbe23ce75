//! The data of the hub, and the actions that it wants done on the bus.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use tickwire_wire::pb::BookProof;
use tickwire_wire::{FeedState, Subject, pb};

use super::follow::Out;
use super::instruments::Instruments;
use super::lookup::LookUp;
use super::topics::Topics;
use super::venue::Venue;
use super::waiting::Room;
use crate::vocabulary::{TopicId, Update, VenueIndex};

/// The token that heartbeats come with.
pub const HEARTBEATS: u64 = u64::MAX;

/// The bit in the token that the instrument definitions of a venue come with. The other bits are the venue's index.
pub const DEFINITIONS: u64 = 1 << 40;

/// The mask of shards that stands for all of them.
pub(super) const ALL_SHARDS: u64 = u64::MAX;

/// An action that the hub wants done on the bus.
#[derive(Clone, Debug)]
pub enum Action {
    /// Subscribe to this; messages come back with the token.
    Subscribe(Subject, u64),
    /// Nobody wants this subject any more.
    Unsubscribe(Subject),
    /// Ask the ingester; the response comes back with this target.
    Ask(Subject, pb::FeedRequest, Target),
    /// Look something up in the bus's history.
    LookUp(LookUp),
}

/// The target of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The catalogue of a venue, with the epoch of the run that is asked.
    Catalogue(VenueIndex, u64),
    /// Topics, with the number of their batch and the epoch of the run that is asked.
    Topics(u64, u64),
}

/// The counts of the hub, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HubCounts {
    /// Messages of topics.
    pub messages: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of these messages.
    pub bytes: u64,
    /// Messages that could not be read, or are not what they say.
    pub malformed: u64,
    /// Messages of runs of an ingester that are not followed.
    pub foreign: u64,
    /// Sequence numbers that were lost on the bus.
    pub lost: u64,
    /// Changes to another run of a venue's ingester.
    pub takeovers: u64,
    /// Definitions that were refused because the gateway knows as many instruments as it may.
    pub over_limit: u64,
    /// Instruments that ended.
    pub ended: u64,
}

/// The state of a feed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedReport {
    /// The venue's name.
    pub venue: String,
    /// The state that shards were told last.
    pub state: FeedState,
    /// The reason why it is not live.
    pub reason: String,
    /// The epoch of the run that is followed; 0 for none.
    pub epoch: u64,
    /// Other runs that claim the venue at the same time.
    pub rivals: usize,
    /// The proof of the books of the run that is followed.
    pub proof: BookProof,
    /// The same in words; empty where its source does not say.
    pub verification: String,
    /// Instruments of the venue.
    pub instruments: usize,
}

/// Limits of the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HubLimits {
    /// The count of shards, at most 64.
    pub shards: usize,
    /// Most venues that are followed.
    pub venues: usize,
    /// Most instruments of all venues.
    pub instruments: usize,
    /// Most topics that are followed at the same time.
    pub topics: usize,
    /// Most bytes of all records that wait for the states of their topics.
    pub waiting_bytes: usize,
    /// An ingester that is not heard for this long is down.
    pub feed_down_ns: u64,
}

/// The topics in order of the time at which something is to be done about them. A topic in it may have nothing to do any more.
pub(super) type Queue = BinaryHeap<Reverse<(u64, TopicId)>>;

/// The topics of one request, each with its ticket, in the order of the request.
pub(super) type Batch = Vec<(TopicId, u64)>;

/// The state of a hub; see the module.
#[derive(Debug)]
pub struct Hub {
    pub(super) limits: HubLimits,
    pub(super) venues: Vec<Venue>,
    pub(super) instruments: Instruments,
    pub(super) topics: Topics,
    /// The requests about topics that are under way, by their number.
    pub(super) batches: HashMap<u64, Batch>,
    /// The room for records that wait until the states of their topics are known.
    pub(super) room: Room,
    /// Requests that are still to be made.
    pub(super) requests: Queue,
    /// Pending gaps that are still to be decided.
    pub(super) pending_gap_deadlines: Queue,
    /// The count of topics that the requests under way are about.
    pub(super) asking: usize,
    pub(super) tickets: u64,
    /// The reason why the bus is not there, while it is not.
    pub(super) bus_down: Option<Arc<str>>,
    /// Number of the connection to the bus that all topics were compared on; 0 before the first.
    pub(super) generation: u64,
    /// Counts of all that happened since the start.
    pub counts: HubCounts,
    /// Actions that are to be done on the bus. The driver of the hub takes them out.
    pub actions: Vec<Action>,
    /// Events that the shards are to be told. The driver of the hub takes them out.
    pub events: Out,
    /// Records of one message.
    pub(super) scratch: Vec<Arc<Update>>,
}

impl Hub {
    /// Makes a hub that knows nothing yet.
    pub fn new(limits: HubLimits) -> Self {
        Self {
            limits,
            venues: Vec::new(),
            instruments: Instruments::default(),
            topics: Topics::default(),
            batches: HashMap::new(),
            room: Room::new(limits.waiting_bytes),
            requests: Queue::new(),
            pending_gap_deadlines: Queue::new(),
            asking: 0,
            tickets: 0,
            bus_down: None,
            generation: 0,
            counts: HubCounts::default(),
            actions: vec![Action::Subscribe(Subject::heartbeats_all(), HEARTBEATS)],
            events: Vec::new(),
            scratch: Vec::new(),
        }
    }
}
