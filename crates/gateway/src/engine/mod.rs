//! The fan-out engine of one shard: a state machine without socket, clock or task.
//!
//! Events from the bus side, commands from clients and the time go in; bytes for sockets and wishes for topics come
//! out. It owns its sessions and topics outright, so there is no lock and no atomic per update.
//!
//! Invariants:
//! - Conflatable data is never queued. A subscription that is behind has a mark in its session's dirty ring; what is
//!   newest is read when the session is written to.
//! - Every number of a topic that passes a subscription is delivered, conflated, dropped or filtered: exactly once.
//! - Records of one instrument leave in the order of their arrival, whatever their channel.
//! - Control messages, pongs and close frames leave first and always fit.

mod command;
mod fill;
mod session;
mod tick;
mod topic;
mod update;

use std::collections::HashMap;
use std::sync::Arc;

use slotmap::SlotMap;
use tickwire_wire::{
    Channel, CloseCode, Encoding, Heartbeat, Hello, Message, PROTOCOL_VERSION, Position, SCHEMA, Scale,
    encode_message,
};

pub use session::{Account, Pace, SessionKey};
pub use update::{Event, FeedStatus, InstrumentInfo, TopicId, TopicState, Update, VenueIndex, gap_record};

use session::{Ending, Session, Sub, SubRef};
use topic::{LogLimits, Stamp, Topic};

/// Limits that the engine keeps. Bytes, nanoseconds, counts.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub struct EngineLimits {
    pub subscriptions_per_session: usize,
    pub command_bytes: usize,
    pub commands_per_second: u32,
    /// Pressure above which trades are dropped; below half of it they flow again.
    pub shed_bytes: usize,
    /// Pressure above which the session is closed.
    pub close_bytes: usize,
    /// A socket that takes nothing for this long ends its session.
    pub no_progress_ns: u64,
    /// A socket that takes nothing for this long makes its session a conflating one.
    pub conflating_after_ns: u64,
    /// A conflating session that was never blocked for this long is a prompt one again.
    pub prompt_after_ns: u64,
    pub heartbeat_ns: u64,
    /// A session that was not heard for this long is pinged, and closed after three times as long.
    pub ping_after_ns: u64,
    /// How long a `subscribe` waits for topics that this gateway does not hold yet.
    pub subscribe_timeout_ns: u64,
    /// How long a topic stays subscribed on the bus when nobody wants it any more.
    pub linger_ns: u64,
    pub log_records_per_topic: usize,
    pub log_bytes_per_topic: usize,
    /// Bytes that one write carries, about.
    pub write_bytes: usize,
}

/// What the engine wants from the bus side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Send me its state and everything after it.
    Want(TopicId),
    /// Nobody here wants it any more.
    Drop(TopicId),
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
    /// Venue name, then symbol, to the instrument's index.
    names: HashMap<String, HashMap<String, u32>>,
    feeds: Vec<Option<Arc<FeedStatus>>>,
    sessions: SlotMap<SessionKey, Session>,
    ready: Vec<SessionKey>,
    wishes: Vec<Wish>,
    /// Sessions with a `subscribe` that waits for the topic.
    waiters: HashMap<TopicId, Vec<SessionKey>>,
    stamp: Stamp,
    /// Of sessions that ended.
    ended: Account,
    draining: bool,
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
            sessions: SlotMap::with_key(),
            ready: Vec::new(),
            wishes: Vec::new(),
            waiters: HashMap::new(),
            stamp: 0,
            ended: Account::default(),
            draining: false,
        }
    }

    /// Opens a session and greets it. `id` names it in answers and logs.
    pub fn open(&mut self, id: String, encoding: Encoding, now: u64) -> SessionKey {
        let hello = Hello {
            session: id,
            protocol_version: PROTOCOL_VERSION,
            schema: SCHEMA.to_owned(),
            heartbeat_ms: (self.limits.heartbeat_ns / 1_000_000) as u32,
            limits: Some(tickwire_wire::Limits {
                subscriptions: self.limits.subscriptions_per_session as u32,
                command_bytes: self.limits.command_bytes as u32,
                commands_per_second: self.limits.commands_per_second,
                shed_bytes: self.limits.shed_bytes as u64,
                close_bytes: self.limits.close_bytes as u64,
            }),
            server: self.server.clone(),
        };
        let key = self.sessions.insert(Session::new(encoding, now));
        self.say(key, &Message::Hello(hello));
        if self.draining {
            self.close(key, CloseCode::Draining);
        }
        key
    }

    /// Forgets a session whose connection ended, and returns what became of its records.
    pub fn ended(&mut self, key: SessionKey, now: u64) -> Option<Account> {
        let mut session = self.sessions.remove(key)?;
        for index in 0..session.subs.len() as u32 {
            if let Some(sub) = session.remove(index) {
                self.detach(&sub, now);
            }
        }
        let totals = session.totals();
        self.ended = sum(self.ended, totals);
        Some(totals)
    }

    /// Ends a session: it gets its ledger and a close frame as soon as its socket takes them.
    pub fn close(&mut self, key: SessionKey, code: CloseCode) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.is_ending() {
            return;
        }
        let ledger = self.ledger(session, 0);
        self.say(key, &Message::Ledger(ledger));
        if let Some(session) = self.sessions.get_mut(key) {
            session.ending = Ending::Asked(code);
            session.dirty.clear();
        }
        self.queue(key);
    }

    /// Why a session is being closed, if it is.
    pub fn closing(&self, key: SessionKey) -> Option<CloseCode> {
        match self.sessions.get(key)?.ending {
            Ending::No => None,
            Ending::Asked(code) | Ending::Told(code) => Some(code),
        }
    }

    /// Takes what the bus side has to say.
    pub fn on_event(&mut self, event: &Event, now: u64) {
        match event {
            Event::Update(update) => self.on_update(update),
            Event::State(state) => self.on_state(state, now),
            Event::Instrument(info) => self.on_instrument(info, now),
            Event::Feed(feed) => self.on_feed(feed, now),
            Event::Unavailable { topic, .. } => self.resolve_waiters(*topic, now),
        }
    }

    fn on_update(&mut self, update: &Arc<Update>) {
        let Some(topic) = self.topics.get_mut(update.topic.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        if !topic.live {
            return;
        }
        self.stamp += 1;
        let limits =
            LogLimits { records: self.limits.log_records_per_topic, bytes: self.limits.log_bytes_per_topic };
        topic.append(update, self.stamp, limits);
        let is_lossless = topic.channel.is_lossless();
        let is_critical = topic.channel.is_critical();
        for subscriber in &topic.subscribers {
            let Some(session) = self.sessions.get_mut(subscriber.session) else { continue };
            let Some(sub) = session.subs[subscriber.sub as usize].as_mut() else { continue };
            if !sub.dirty {
                sub.dirty = true;
                session.dirty.push_back(subscriber.sub);
            }
            if is_lossless {
                let bytes = update.bytes(session.encoding).len();
                sub.waiting_bytes += bytes;
                session.lossless_bytes += bytes;
                if session.shedding && !is_critical && !update.is_gap() {
                    shed(session, subscriber.sub, self.stamp, update.last);
                }
            }
            if !session.queued && session.blocked_since.is_none() && !session.is_over() {
                session.queued = true;
                self.ready.push(subscriber.session);
            }
        }
        if is_lossless {
            self.relieve(update.topic);
        }
    }

    /// Sheds and closes sessions of a lossless topic that are above their thresholds.
    fn relieve(&mut self, topic: TopicId) {
        let subscribers = match &self.topics[topic.0 as usize] {
            Some(topic) => topic.subscribers.len(),
            None => return,
        };
        for at in 0..subscribers {
            let Some(key) = self.topics[topic.0 as usize].as_ref().and_then(|t| t.subscribers.get(at)) else {
                return;
            };
            let key = key.session;
            let Some(session) = self.sessions.get(key) else { continue };
            let pressure = session.pressure();
            if pressure > self.limits.shed_bytes && !session.shedding {
                self.shed_all(key);
            }
            if pressure > self.limits.close_bytes {
                self.close(key, CloseCode::SlowConsumer);
            }
        }
    }

    /// Gives up everything that a session still waits for on channels that may be dropped.
    fn shed_all(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        session.shedding = true;
        for index in 0..session.subs.len() as u32 {
            let Some(sub) = session.sub(index) else { continue };
            let Some(topic) = self.topics[sub.topic.0 as usize].as_deref() else { continue };
            // A gap that waits must itself be told; what comes before and after it is shed when it was.
            let sheddable = topic.channel.is_lossless()
                && !topic.channel.is_critical()
                && sub.waiting_bytes > 0
                && !topic.log_after(sub.stamp).any(|entry| entry.update.is_gap());
            if sheddable {
                shed(session, index, topic.stamp, topic.sequence);
            }
        }
    }

    fn on_state(&mut self, state: &TopicState, now: u64) {
        let Some(topic) = self.topics.get_mut(state.topic.0 as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        self.stamp += 1;
        topic.restart(state, self.stamp);
        if !topic.channel.is_lossless() {
            let subscribers = topic.subscribers.clone();
            for subscriber in subscribers {
                if let Some(sub) =
                    self.sessions.get_mut(subscriber.session).and_then(|s| s.sub_mut(subscriber.sub))
                {
                    sub.needs_snapshot = true;
                }
                self.mark(subscriber);
            }
        }
        self.resolve_waiters(state.topic, now);
    }

    fn on_instrument(&mut self, info: &Arc<InstrumentInfo>, now: u64) {
        let index = info.index as usize;
        if self.instruments.len() <= index {
            self.instruments.resize(index + 1, None);
            self.topics.resize_with((index + 1) * 8, || None);
        }
        let is_new = self.instruments[index].replace(Arc::clone(info)).is_none();
        for channel in Channel::ALL {
            if let Some(topic) = &mut self.topics[TopicId::new(info.index, channel).0 as usize] {
                topic.info = Arc::clone(info);
            }
        }
        let symbols = self.names.entry(info.name.venue.clone()).or_default();
        symbols.insert(info.name.symbol.clone(), info.index);
        if is_new {
            self.extend_wildcards(info, now);
        }
    }

    fn on_feed(&mut self, feed: &Arc<FeedStatus>, now: u64) {
        let index = usize::from(feed.venue.0);
        if self.feeds.len() <= index {
            self.feeds.resize(index + 1, None);
        }
        self.names.entry(feed.name.to_string()).or_default();
        self.feeds[index] = Some(Arc::clone(feed));
        let concerned: Vec<_> = self
            .sessions
            .iter()
            .filter(|(_, s)| s.venues.iter().any(|(v, _)| *v == feed.venue))
            .map(|(k, _)| k)
            .collect();
        for key in concerned {
            self.beat(key, now);
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
    pub fn take_wishes(&mut self) -> std::vec::Drain<'_, Wish> {
        self.wishes.drain(..)
    }

    /// Appends to `out` what a session of [`Engine::take_ready`] is to be sent now, as whole WebSocket frames.
    pub fn fill(&mut self, key: SessionKey, now: u64, out: &mut Vec<u8>) -> Filled {
        let Some(session) = self.sessions.get_mut(key) else { return Filled::default() };
        session.queued = false;
        if session.is_over() {
            return Filled::default();
        }
        fill::fill(session, &mut self.topics, self.limits.write_bytes, now, out);
        if session.shedding && session.pressure() < self.limits.shed_bytes / 2 {
            session.shedding = false;
        }
        Filled { closed: session.is_over(), more: session.has_work() }
    }

    /// Tells what the kernel has not taken of what was filled. Above 0 the session is blocked: it is not ready again
    /// before 0 was told.
    pub fn unsent(&mut self, key: SessionKey, bytes: usize, now: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        if bytes > 0 {
            if bytes != session.unsent_bytes || session.blocked_since.is_none() {
                session.blocked_since = Some(now);
            }
            session.unsent_bytes = bytes;
            return;
        }
        session.unsent_bytes = 0;
        if session.blocked_since.take().is_some() {
            session.unblocked_at = now;
        }
        if session.has_work() {
            self.queue(key);
        }
    }

    /// Number of sessions.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Number of topics held.
    pub fn topics(&self) -> usize {
        self.topics.iter().flatten().count()
    }

    /// Bytes that the recent records of all topics take.
    pub fn log_bytes(&self) -> usize {
        self.topics.iter().flatten().map(|topic| topic.log_bytes()).sum()
    }

    /// What became of all records of all subscriptions, ended ones included.
    pub fn totals(&self) -> Account {
        self.sessions.values().fold(self.ended, |total, session| sum(total, session.totals()))
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
        encode_message(session.encoding, message, &Scale::default(), &mut session.control);
        if session.control.len() + session.unsent_bytes > self.limits.close_bytes {
            session.ending = Ending::Asked(CloseCode::SlowConsumer);
        }
        self.queue(key);
    }

    fn queue(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let forced = matches!(session.ending, Ending::Asked(_));
        if !session.queued && (session.blocked_since.is_none() || forced) {
            session.queued = true;
            self.ready.push(key);
        }
    }

    fn mark(&mut self, subscriber: SubRef) {
        let Some(session) = self.sessions.get_mut(subscriber.session) else { return };
        let Some(sub) = session.subs[subscriber.sub as usize].as_mut() else { return };
        if !sub.dirty {
            sub.dirty = true;
            session.dirty.push_back(subscriber.sub);
        }
        self.queue(subscriber.session);
    }

    /// Tells feed states, and positions that moved since the heartbeat before.
    fn beat(&mut self, key: SessionKey, now: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let mut positions = Vec::new();
        for sub in session.subs.iter_mut().flatten() {
            let Some(topic) = self.topics[sub.topic.0 as usize].as_deref() else { continue };
            if sub.told != topic.sequence {
                sub.told = topic.sequence;
                let (instrument, channel) = (topic.info.id, topic.channel as i32);
                positions.push(Position {
                    instrument,
                    channel,
                    epoch: topic.epoch,
                    sequence: topic.sequence,
                });
            }
        }
        let feeds =
            session.venues.iter().filter_map(|(venue, _)| self.feeds.get(usize::from(venue.0))?.as_deref());
        let feeds = feeds.map(|feed| tickwire_wire::Feed {
            venue: feed.name.to_string(),
            state: feed.state as i32,
            since: feed.since,
            reason: feed.reason.to_string(),
        });
        let heartbeat = Heartbeat { time: now, feeds: feeds.collect(), positions };
        self.say(key, &Message::Heartbeat(heartbeat));
    }

    fn detach(&mut self, sub: &Sub, now: u64) {
        let Some(topic) = self.topics[sub.topic.0 as usize].as_deref_mut() else { return };
        topic.subscribers.swap_remove(sub.place as usize);
        if let Some(moved) = topic.subscribers.get(sub.place as usize).copied()
            && let Some(moved) = self.sessions.get_mut(moved.session).and_then(|s| s.sub_mut(moved.sub))
        {
            moved.place = sub.place;
        }
        if topic.subscribers.is_empty() {
            topic.idle_since = Some(now);
        }
    }
}

/// Gives up the records of one subscription up to a stamp and a number; they will be announced.
fn shed(session: &mut Session, index: u32, stamp: Stamp, to: u64) {
    let Some(sub) = session.sub_mut(index) else { return };
    sub.shed_to = to;
    sub.stamp = stamp;
    let settled = std::mem::take(&mut sub.waiting_bytes);
    session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
}

fn sum(a: Account, b: Account) -> Account {
    Account {
        published: a.published + b.published,
        delivered: a.delivered + b.delivered,
        conflated: a.conflated + b.conflated,
        dropped: a.dropped + b.dropped,
        filtered: a.filtered + b.filtered,
    }
}
