//! The fan-out engine of one shard: a state machine without socket, clock or task.
//!
//! Events from the bus side, commands from clients and the time go in; bytes for sockets and interests for topics come
//! out. It owns its sessions and topics outright, so there is no lock and no atomic per update.
//!
//! Invariants:
//! - Conflatable data is never queued. A subscription that is behind has a mark in its session's dirty ring; what is
//!   newest is read when the session is written to.
//! - Every number of a topic that passes a subscription is delivered, conflated, dropped or filtered: exactly once.
//! - Records of one instrument leave in the order of their arrival, whatever their channel.
//! - Control messages, pongs and close frames leave first and always fit.

mod backfill;
mod budget;
mod command;
mod decision;
mod dialect;
mod dirty;
mod encoded_log;
mod ending;
mod event;
mod fill;
mod framing;
mod grant;
mod index;
mod insight;
mod latency_sample;
mod opening;
mod own;
mod price;
mod principal;
mod rate;
mod resume;
mod session;
mod straight;
mod sub;
mod throughput;
mod tick;
mod topic;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use slotmap::SlotMap;
use tickwire_wire::{CloseCode, Encoding, Hello, Message, PROTOCOL_VERSION, SCHEMA};

pub use backfill::{BackfillLimits, PARTS_MAX as BACKFILL_PARTS_MAX};
pub use decision::{Decided, Decision, Fate, Held, Run};
pub use dialect::{Dialect, Loss, Request};
pub use framing::Framing;
pub use insight::{
    DetailQuery, Pressure, SessionDetail, SessionPage, SessionQuery, SessionRow, SessionState,
    SubscriptionRow, Survey,
};
pub use latency_sample::{LATENCY_SAMPLE_ONE_IN, LatencySample};
pub use opening::Opening;
pub use own::own_dialect;
pub use principal::{Entitlement, Pattern, Permit, Principal};
pub use rate::{RATE_MIN, WINDOW_MS_MAX};
pub use session::{Pace, SessionKey};
pub use sub::Account;
pub use window::{Freshness, Window};

use crate::vocabulary::{Ended, FeedStatus, Form, InstrumentInfo, TopicId, TopicInterest};
use budget::LogBudget;
use fill::Noted;
use index::{Index, Names, SessionId};
use price::Price;
use rate::Queues;
use session::{Ending, Session};
use sub::{Sub, SubRef};
use topic::{Stamp, Topic};

/// Limits that the engine keeps. Bytes, nanoseconds, counts.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineLimits {
    /// Subscriptions of one session.
    pub subscriptions_per_session: usize,
    /// Fastest rate that is granted where one is asked for, in updates per second.
    pub rate_max: f64,
    /// Bytes of one command.
    pub command_bytes: usize,
    /// Commands of one session in a second.
    pub commands_per_second: u32,
    /// Pressure above which trades are dropped.
    pub shed_bytes: usize,
    /// Pressure below which they flow again.
    pub shed_end_bytes: usize,
    /// Pressure above which the session is closed.
    pub close_bytes: usize,
    /// A conflating session whose client takes nothing for this long is closed.
    pub no_progress_ns: u64,
    /// A session for which something has waited for this long is a conflating one.
    pub conflating_after_ns: u64,
    /// A conflating session that was never held back for this long is a prompt one again.
    pub prompt_after_ns: u64,
    /// How old data may be when a client reads it; 0 sends without looking at what the client confirms.
    pub freshness_ns: u64,
    /// Bytes under way before a client confirmed anything.
    pub window_first_bytes: usize,
    /// Most bytes under way to one client.
    pub window_max_bytes: usize,
    /// A client that answered no ping for this long does not answer pings: its kernel's word is taken.
    pub unanswered_ns: u64,
    /// Longest silence of a session.
    pub heartbeat_ns: u64,
    /// A session that was not heard for this long is pinged, and closed after three times as long.
    pub ping_after_ns: u64,
    /// How long a `subscribe` waits for topics that this gateway does not hold yet.
    pub subscribe_timeout_ns: u64,
    /// How long a topic stays subscribed on the bus when nobody wants it any more.
    pub linger_ns: u64,
    /// Recent records that are kept of a topic.
    pub log_records_per_topic: usize,
    /// Bytes of these.
    pub log_bytes_per_topic: usize,
    /// All logs of the shard together.
    pub log_bytes: usize,
    /// What waits for single sessions, all of the shard together.
    pub private_bytes: usize,
    /// All sessions of the shard together.
    pub subscriptions: usize,
    /// Price levels of all books of the shard together, above which no further book is granted.
    pub book_levels: usize,
    /// Bytes that one write carries, about.
    pub write_bytes: usize,
}

/// Names that a client may use for each command of its rate: see [`Engine::price`].
const NAMES_PER_COMMAND: u32 = 40;
/// Names that it may use at once, in so many times its subscriptions.
const NAMES_AT_ONCE: u32 = 4;

impl EngineLimits {
    /// Levels of all books of a shard, at most: those that were granted may grow by a quarter more, then those that grow are
    /// given up.
    pub fn book_levels_max(&self) -> usize {
        self.book_levels.saturating_add(self.book_levels / 4)
    }

    /// Names that a client's commands may cost in a second.
    pub fn names_per_second(&self) -> u32 {
        self.commands_per_second.saturating_mul(NAMES_PER_COMMAND)
    }

    /// Names that they may cost at once, after a pause.
    pub fn names_at_once(&self) -> u32 {
        (self.subscriptions_per_session as u32).saturating_mul(NAMES_AT_ONCE)
    }

    fn freshness(&self) -> Freshness {
        Freshness {
            target_ns: self.freshness_ns,
            first_bytes: self.window_first_bytes,
            max_bytes: self.window_max_bytes,
            unanswered_ns: self.unanswered_ns,
        }
    }
}

/// What one `fill` handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The bytes end with a close frame: write them and end the connection.
    pub closed: bool,
    /// More is waiting.
    pub more: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    limits: EngineLimits,
    server: String,
    topics: Vec<Option<Box<Topic>>>,
    instruments: Vec<Option<Arc<InstrumentInfo>>>,
    /// By the venue's name.
    names: HashMap<String, Names>,
    feeds: Vec<Option<Arc<FeedStatus>>>,
    /// Instruments that ended, and that sessions still have.
    endings: HashMap<u32, Arc<Ended>>,
    sessions: SlotMap<SessionKey, Session>,
    /// Sessions with a delivery window.
    windowed: usize,
    ready: Vec<SessionKey>,
    interests: Vec<TopicInterest>,
    index: Index,
    /// Number of the next `subscribe` that has to wait.
    next_pending: u32,
    /// Of the last message of a client.
    price: Price,
    stamp: Stamp,
    /// Topics that nobody wants, and some that are wanted again, by when they are to be looked at.
    idle: BTreeSet<(u64, TopicId)>,
    /// Sessions found above a threshold while an update was handed out.
    overfull: Vec<SessionKey>,
    /// Subscriptions that rest for their rate.
    rates: Queues<SubRef>,
    /// Sessions that rest for their delivery window.
    windows: Queues<SessionKey>,
    noted: Noted,
    /// What the message at hand asks for.
    requests: Vec<Request>,
    /// Of sessions that ended.
    ended: Account,
    draining: bool,
    desk: backfill::Desk,
    /// The latest time that it was told.
    now: u64,
    logs: LogBudget,
    /// Sum over all sessions.
    private_bytes: usize,
    /// Sessions that hold much of it, by how much.
    heavy: BTreeSet<(usize, SessionKey)>,
    /// Granted, and asked for and not granted yet.
    subscribed: usize,
    asked: usize,
    /// Decisions for sessions that ended.
    decided: [u64; decision::KINDS.len()],
}

impl Engine {
    /// An engine without sessions and topics. `server` is name and version for the hello.
    pub fn new(limits: EngineLimits, server: impl Into<String>) -> Self {
        Self {
            limits,
            server: server.into(),
            topics: Vec::new(),
            instruments: Vec::new(),
            names: HashMap::new(),
            feeds: Vec::new(),
            endings: HashMap::new(),
            sessions: SlotMap::with_key(),
            windowed: 0,
            ready: Vec::new(),
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
            ended: Account::default(),
            draining: false,
            desk: backfill::Desk::default(),
            now: 0,
            logs: LogBudget::default(),
            private_bytes: 0,
            heavy: BTreeSet::new(),
            subscribed: 0,
            asked: 0,
            decided: [0; decision::KINDS.len()],
        }
    }

    /// Opens a session, greets it, and takes what it asked for before its first message.
    pub fn open(&mut self, opening: Opening, now: u64) -> SessionKey {
        self.now = now;
        let id = opening.id.clone();
        let session = Session::new(opening, self.limits.freshness(), now);
        let hello = Hello {
            session: id,
            protocol_version: PROTOCOL_VERSION,
            schema: SCHEMA.to_owned(),
            heartbeat_ms: (self.limits.heartbeat_ns / 1_000_000) as u32,
            limits: Some(tickwire_wire::Limits {
                subscriptions: session.principal.subscriptions_of(self.limits.subscriptions_per_session)
                    as u32,
                command_bytes: self.limits.command_bytes as u32,
                commands_per_second: self.limits.commands_per_second,
                shed_bytes: self.limits.shed_bytes as u64,
                close_bytes: self.limits.close_bytes as u64,
                max_rate: session.principal.rate_of(self.limits.rate_max),
            }),
            server: self.server.clone(),
            window_ms: session.delivery.ms().into(),
        };
        self.windowed += usize::from(session.delivery.ms() > 0);
        let name = Arc::clone(&session.id);
        let key = self.sessions.insert(session);
        self.index.by_id.insert(SessionId(name), key);
        self.say(key, &Message::Hello(hello));
        if self.draining {
            self.close(key, CloseCode::Draining);
        }
        self.begin(key, now);
        key
    }

    /// Forgets a session whose connection ended, and returns what became of its records.
    pub fn ended(&mut self, key: SessionKey, now: u64) -> Option<Account> {
        self.stop_waiting(key);
        let mut session = self.sessions.remove(key)?;
        self.weighed(key, session.private, 0);
        if self.index.by_id.get(&SessionId(Arc::clone(&session.id))) == Some(&key) {
            self.index.by_id.remove(&SessionId(Arc::clone(&session.id)));
        }
        for (venue, _) in &session.venues {
            self.index.sees_no_more(key, *venue);
        }
        for wildcard in &session.wildcards {
            self.index.wants_all_no_more(key, &wildcard.venue);
        }
        self.windowed -= usize::from(session.delivery.ms() > 0);
        for (all, count) in self.decided.iter_mut().zip(session.decisions.iter().flat_map(|d| d.counts())) {
            *all += count;
        }
        session.dirty.clear();
        let all: Vec<_> = (0..session.subs.len() as u32).collect();
        for sub in session.remove(&all) {
            self.detach(&sub, &session.form, now);
        }
        let totals = session.totals();
        self.ended = self.ended + totals;
        Some(totals)
    }

    /// Ends a session: it gets its ledger and a close frame as soon as its socket takes them.
    pub fn close(&mut self, key: SessionKey, code: CloseCode) {
        let Some(session) = self.sessions.get(key).filter(|session| !session.is_ending()) else { return };
        let ledger = self.ledger(session, 0);
        let Some(session) = self.sessions.get_mut(key) else { return };
        // Not by `say`: these bytes are reserved, whatever the pressure.
        session.dialect.say(&Message::Ledger(ledger), &mut session.control);
        session.ending = Ending::Asked(code);
        session.decided(self.now, Decision::Closing { code });
        session.dirty.clear();
        session.lossless_bytes = 0;
        self.stop_waiting(key);
        self.queue(key);
        self.note_session(key);
    }

    /// Why a session is being closed, if it is.
    pub fn closing(&self, key: SessionKey) -> Option<CloseCode> {
        match self.sessions.get(key)?.ending {
            Ending::No => None,
            Ending::Asked(code) | Ending::Told(code) => Some(code),
        }
    }

    /// Sessions that have something to send and a socket that takes it.
    pub fn take_ready(&mut self, into: &mut Vec<SessionKey>) {
        into.append(&mut self.ready);
    }

    /// Whether any session has something to send.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// What the engine wants from the bus side since it was last asked.
    pub fn take_interests(&mut self) -> std::vec::Drain<'_, TopicInterest> {
        self.interests.drain(..)
    }

    /// Whether there are times of records to be taken.
    pub fn has_latency_samples(&self) -> bool {
        !self.noted.latency_samples.is_empty()
    }

    /// Times of about one record in [`PASSAGE_ONE_IN`] that were handed over since they were last taken.
    pub fn take_latency_samples(&mut self) -> std::vec::Drain<'_, LatencySample> {
        self.noted.latency_samples.take()
    }

    /// Appends to `out` what a session is to be sent now, as whole frames. A blocked session gets nothing, except the last
    /// bytes of one that is being closed.
    pub fn fill(&mut self, key: SessionKey, now: u64, framing: &dyn Framing, out: &mut Vec<u8>) -> Filled {
        self.now = now;
        let budget = self.write_budget();
        let Some(session) = self.sessions.get_mut(key) else { return Filled::default() };
        session.queued = false;
        if session.is_over() || session.is_held() {
            return Filled::default();
        }
        let has_leaving = !session.leaving.is_empty();
        let has_data = fill::fill(session, &mut self.topics, (budget, now), &mut self.noted, framing, out);
        if has_leaving && self.part(key, now) {
            // The word that something ended goes behind what was owed.
            let Some(session) = self.sessions.get_mut(key) else { return Filled::default() };
            fill::fill(session, &mut self.topics, (0, now), &mut self.noted, framing, out);
        }
        let Some(session) = self.sessions.get_mut(key) else { return Filled::default() };
        if session.dirty.is_empty() {
            session.held = Held::default();
        }
        session.note_held(now);
        session.ease(self.limits.shed_end_bytes, now);
        let mut rated = std::mem::take(&mut self.noted.rated);
        self.rest(key, &rated, has_data, now);
        self.weigh_session(key);
        rated.clear();
        self.noted.rated = rated;
        if self.sessions.get(key).is_some_and(|session| session.turns.is_due()) {
            self.ask_backfills(key, now);
        }
        if let Some(code) = self.noted.ends.take() {
            self.close(key, code);
        }
        let Some(session) = self.sessions.get_mut(key) else { return Filled::default() };
        Filled { closed: session.is_over(), more: session.has_work() }
    }

    /// Tells what the kernel has not taken of what was filled. Above 0 the session is blocked: it is not ready again
    /// before 0 was told.
    pub fn unsent(&mut self, key: SessionKey, bytes: usize, now: u64) {
        self.now = now;
        let Some(session) = self.sessions.get_mut(key) else { return };
        if bytes > 0 {
            if session.blocked_since.is_none() {
                session.blocked_since = Some(now);
                session.progress_at = now;
            } else if bytes < session.unsent_bytes {
                session.progress_at = now;
            }
            session.unsent_bytes = bytes;
            session.note_held(now);
            self.weigh_session(key);
            return;
        }
        session.unsent_bytes = 0;
        session.blocked_since = None;
        session.note_held(now);
        session.ease(self.limits.shed_end_bytes, now);
        if session.has_work() {
            self.queue(key);
        }
        self.weigh_session(key);
    }

    /// Sessions whose clients do not answer pings: for these the shell is to tell what the kernel has not confirmed.
    pub fn wants_kernel_numbers(&self, into: &mut Vec<SessionKey>) {
        let silent = self.sessions.iter().filter(|(_, session)| session.window.wants_kernel_numbers());
        into.extend(silent.map(|(key, _)| key));
    }

    /// Tells how many bytes the client's kernel has not confirmed, what this process still holds included.
    pub fn kernel_unacknowledged(&mut self, key: SessionKey, bytes: usize, now: u64) {
        if let Some(session) = self.sessions.get_mut(key) {
            session.window.on_unacknowledged(bytes, now);
            self.reopen(key, now);
        }
    }

    /// The window of a session may have opened.
    fn reopen(&mut self, key: SessionKey, now: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.note_held(now);
        session.ease(self.limits.shed_end_bytes, now);
        if session.has_work() {
            self.queue(key);
        }
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Whether every session has a delivery window.
    pub fn has_windows_only(&self) -> bool {
        self.windowed == self.sessions.len()
    }

    /// Number of topics held.
    pub fn topics(&self) -> usize {
        self.topics.iter().flatten().count()
    }

    /// Topics whose records are put in an encoded log in this encoding. Looks at every topic.
    pub fn encoded_logs(&self, encoding: Encoding) -> usize {
        self.topics.iter().flatten().filter(|topic| topic.has_encoded_log(&Form::own(encoding))).count()
    }

    /// Bytes that the recent records of all topics take.
    pub fn log_bytes(&self) -> usize {
        self.logs.total()
    }

    /// What became of all records of all subscriptions, ended ones included.
    pub fn totals(&self) -> Account {
        self.sessions.values().fold(self.ended, |total, session| total + session.totals())
    }

    /// Bytes of all sessions that were handed over and not confirmed.
    pub fn in_flight(&self) -> usize {
        self.sessions.values().map(|session| session.window.in_flight()).sum()
    }

    /// Sum of the pressure of all sessions, in bytes, and how many are conflating.
    pub fn pressure(&self) -> (usize, usize) {
        let conflating = self.sessions.values().filter(|session| session.pace == Pace::Conflating).count();
        (self.sessions.values().map(Session::pressure).sum(), conflating)
    }

    fn say(&mut self, key: SessionKey, message: &Message) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if session.is_ending() {
            return;
        }
        session.dialect.say(message, &mut session.control);
        self.on_said(key);
    }

    /// Says what a dialect answers by itself.
    fn reply(&mut self, key: SessionKey, bytes: &[u8]) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.control.extend_from_slice(bytes);
        self.on_said(key);
    }

    /// Something was added to the control lane of a session.
    fn on_said(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.control.len() + session.unsent_bytes > self.limits.close_bytes {
            self.close(key, CloseCode::SlowConsumer);
        }
        self.queue(key);
        self.weigh_session(key);
    }

    fn queue(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if !session.queued && !session.is_held() && !session.is_over() {
            session.queued = true;
            self.ready.push(key);
        }
    }

    fn detach(&mut self, sub: &Sub, form: &Form, now: u64) {
        if sub.rests() {
            self.rates.leave();
        }
        self.subscribed -= 1;
        let Some(topic) = self.topics[sub.topic.0 as usize].as_deref_mut() else { return };
        topic.end_taking(form);
        topic.subscribers.swap_remove(sub.place as usize);
        if let Some(moved) = topic.subscribers.get(sub.place as usize).map(|moved| moved.at)
            && let Some(moved) = self.sessions.get_mut(moved.session).and_then(|s| s.sub_mut(moved.sub))
        {
            moved.place = sub.place;
        }
        if topic.subscribers.is_empty() {
            self.let_idle(sub.topic, now);
            self.let_go(sub.topic.instrument_index());
        }
    }
}
