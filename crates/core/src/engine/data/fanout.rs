//! All that the engine of one shard holds. The files in `ops` say what is done with it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use slotmap::SlotMap;
use tickwire_wire::CloseCode;

use super::account::Account;
use super::backfill::Desk;
use super::decisions::KINDS;
use super::delays::Delays;
use super::depths::Depths;
use super::entry::Stamp;
use super::handed_in::HandedIn;
use super::index::{Index, Names};
use super::key::{SessionKey, SubRef};
use super::latency_samples::LatencySamples;
use super::log_budget::LogBudget;
use super::looks::Looks;
use super::queues::Queues;
use super::ready::Ready;
use super::session::Session;
use super::topics::Topics;
use crate::engine::dialect::Request;
use crate::engine::policy::limits::EngineLimits;
use crate::engine::policy::price::Price;
use crate::engine::watcher::CommandWatcher;
use crate::engine::window::Freshness;
use crate::vocabulary::{Ended, FeedStatus, InstrumentInfo, TopicId, TopicInterest, View};

/// An instrument that ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) ended: Arc<Ended>,
    /// The delayed views that have not shown its end yet, a bit for each.
    pub(crate) owed: u64,
}

/// The notes of a fill, beside the bytes.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Subscriptions with a rate that were sent a record.
    pub(crate) rated: Vec<u32>,
    /// The session lost something that its dialect has no word for, and is to be closed so.
    pub(crate) ends: Option<CloseCode>,
    pub(crate) latency_samples: LatencySamples,
}

/// The data of one engine; see the module.
#[derive(Debug)]
pub(crate) struct Fanout {
    pub(crate) limits: EngineLimits,
    /// The settings of the freshness windows of all sessions.
    pub(crate) freshness: Arc<Freshness>,
    pub(crate) server: String,
    pub(crate) topics: Topics,
    /// The delayed views, and what they wait for.
    pub(crate) delays: Delays,
    /// The shallow views of books.
    pub(crate) depths: Depths,
    /// Books that were given up because all books together were too large, with the time before which none of them is tried again.
    pub(crate) given_up: HashMap<TopicId, u64>,
    pub(crate) instruments: Vec<Option<Arc<InstrumentInfo>>>,
    /// The instruments of each venue, by the venue's name.
    pub(crate) names: HashMap<String, Names>,
    pub(crate) feeds: Vec<Option<Arc<FeedStatus>>>,
    /// Instruments that ended and that sessions still have.
    pub(crate) endings: HashMap<u32, Ending>,
    pub(crate) sessions: SlotMap<SessionKey, Session>,
    /// When the clock has to look at each of them.
    pub(crate) looks: Looks,
    /// Sessions with a delivery window.
    pub(crate) windowed: usize,
    pub(crate) ready: Ready,
    pub(crate) interests: Vec<TopicInterest>,
    pub(crate) index: Index,
    /// Number of the next `subscribe` that has to wait.
    pub(crate) next_pending: u32,
    /// The price of the last message of a client.
    pub(crate) price: Price,
    pub(crate) stamp: Stamp,
    /// Topics that nobody wants, and some that are wanted again, with the time at which each is looked at.
    pub(crate) idle: BTreeSet<(u64, TopicId)>,
    /// Sessions that were found above a threshold while an update was handed out.
    pub(crate) overfull: Vec<SessionKey>,
    /// Subscriptions that are throttled by their rates.
    pub(crate) rates: Queues<SubRef>,
    /// Sessions whose delivery windows are shut.
    pub(crate) windows: Queues<SessionKey>,
    pub(crate) noted: Noted,
    /// The requests of the message that is taken.
    pub(crate) requests: Vec<Request>,
    /// Whoever is told of commands.
    pub(crate) watcher: Option<Box<dyn CommandWatcher>>,
    /// The tokens that clients handed in.
    pub(crate) tokens: Vec<HandedIn>,
    /// The account of sessions that ended.
    pub(crate) ended: Account,
    pub(crate) draining: bool,
    pub(crate) desk: Desk,
    /// The latest time that the engine was told.
    pub(crate) now: u64,
    pub(crate) logs: LogBudget,
    /// The bytes that wait for single sessions, summed over all of them.
    pub(crate) private_bytes: usize,
    /// Sessions that hold much of that, ordered by how much.
    pub(crate) heavy: BTreeSet<(usize, SessionKey)>,
    /// Subscriptions that are granted, and those that are asked for and not granted yet.
    pub(crate) subscribed: usize,
    pub(crate) asked: usize,
    /// The counts of decisions of each kind for sessions that ended.
    pub(crate) decided: [u64; KINDS.len()],
}

impl Fanout {
    /// Begins without sessions and topics. `server` is name and version for the hello.
    pub(crate) fn new(limits: EngineLimits, server: String) -> Self {
        Self {
            freshness: Arc::new(limits.freshness()),
            server,
            topics: Topics::default(),
            delays: Delays::default(),
            depths: Depths::default(),
            given_up: HashMap::new(),
            instruments: Vec::new(),
            names: HashMap::new(),
            feeds: Vec::new(),
            endings: HashMap::new(),
            sessions: SlotMap::with_capacity_and_key(limits.sessions_expected),
            looks: Looks::with_capacity(limits.sessions_expected),
            limits,
            windowed: 0,
            ready: Ready::default(),
            interests: Vec::new(),
            index: Index::default(),
            next_pending: 0,
            price: Price::default(),
            stamp: 0,
            idle: BTreeSet::new(),
            overfull: Vec::new(),
            rates: Queues::new(),
            windows: Queues::new(),
            noted: Noted::default(),
            requests: Vec::new(),
            watcher: None,
            tokens: Vec::new(),
            ended: Account::default(),
            draining: false,
            desk: Desk::default(),
            now: 0,
            logs: LogBudget::default(),
            private_bytes: 0,
            heavy: BTreeSet::new(),
            subscribed: 0,
            asked: 0,
            decided: [0; KINDS.len()],
        }
    }

    /// Returns the delay of a view, in nanoseconds; 0 where it is not delayed.
    pub(crate) fn delay_ns(&self, view: View) -> u64 {
        self.delays.delay_ns(self.depths.base(view))
    }

    /// Returns the topic that a view is made of: of a shallow one, the whole book with the same delay; of a delayed one, the live
    /// topic.
    pub(crate) fn source(&self, id: TopicId) -> TopicId {
        if id.view().is_shallow() { id.seen_as(self.depths.base(id.view())) } else { id.live() }
    }
}
