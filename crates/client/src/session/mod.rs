//! The meaning of a connection: a plain state machine without socket or clock. Messages, requests and `now` go in; events
//! for the program and commands for the gateway come out.

mod books;
mod commands;
mod instruments;
mod ledgers;
mod pending_gaps;
mod records;
mod requests;
mod responses;
mod wanted;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tickwire_wire::{
    Channel, Command, Encoding, Feed, FeedState, Heartbeat, Hello, Identity, Ledger, Limits, Message,
};
use tokio::time::Instant;

use self::instruments::Instruments;
pub(crate) use self::instruments::{Instrument, LastQuote};
use self::ledgers::EndedAccount;
use self::requests::Requests;
use self::wanted::Wanted;
use crate::error::Disconnect;
use crate::event::{Event, State};

/// The counts of what went wrong so far, and of what was thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Times that a session was opened.
    pub connects: u64,
    /// Records handed to the program.
    pub records: u64,
    /// Gaps handed to the program.
    pub gaps: u64,
    /// Gaps that the gateway should have announced and did not, and grants that contradict each other.
    pub violations: u64,
    /// Records that the program had already.
    pub duplicates: u64,
    /// Records of something that is not subscribed (any more), of a number that was not granted on this connection, or
    /// of a book that is broken.
    pub ignored: u64,
    /// Times that a book did not agree with its records.
    pub broken_books: u64,
    /// Differences between the gateway's ledgers and what came.
    pub ledger_faults: u64,
}

/// The part of the configuration that the session needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionSettings {
    pub(crate) encoding: Encoding,
    pub(crate) subscriptions_max: usize,
    pub(crate) command_timeout: Duration,
}

pub(crate) struct Session {
    settings: SessionSettings,
    /// None: there is no connection.
    limits: Option<Limits>,
    hello: Option<Arc<Hello>>,
    /// The gateway's last word on whom the session belongs to.
    identity: Option<Identity>,
    instruments: Instruments,
    feeds: HashMap<Arc<str>, Feed>,
    wanted: Wanted,
    requests: Requests,
    /// Lossless subscriptions to which the gateway owes records.
    owed: Vec<(u32, Channel)>,
    /// Send time at which it was last looked at.
    looked_at: Option<u64>,
    /// Send time of the last message with something that was owed since a reconnect.
    filled_at: u64,
    /// There is such a thing in the message that is being read.
    is_filling: bool,
    /// The gateway says that this session reads too slowly.
    is_held_back: bool,
    /// Subscriptions that ended, until their ledger comes.
    ended: Vec<EndedAccount>,
    /// The message before this one, when it was a ledger that nobody asked for.
    unasked: Option<Ledger>,
    /// The reason why nothing more of this connection can be understood.
    fault: Option<Disconnect>,
    draining: Option<Duration>,
    /// The gateway says that the token will end.
    is_expiring: bool,
    next_tick: Option<Instant>,
    events: VecDeque<Event>,
    commands: Vec<Command>,
    counters: Counters,
}

impl Session {
    pub(crate) fn new(settings: SessionSettings) -> Self {
        Self {
            settings,
            limits: None,
            hello: None,
            identity: None,
            instruments: Instruments::default(),
            feeds: HashMap::new(),
            wanted: Wanted::default(),
            requests: Requests::default(),
            owed: Vec::new(),
            looked_at: None,
            filled_at: 0,
            is_filling: false,
            is_held_back: false,
            ended: Vec::new(),
            unasked: None,
            fault: None,
            draining: None,
            is_expiring: false,
            next_tick: None,
            events: VecDeque::new(),
            commands: Vec::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn connected(&mut self, address: String, hello: Hello, now: Instant) {
        self.limits = Some(hello.limits.unwrap_or_default());
        let hello = Arc::new(hello);
        self.hello = Some(Arc::clone(&hello));
        self.counters.connects += 1;
        self.event(Event::State(State::Connected { address, hello }));
        self.subscribe_all(now);
    }

    /// Returns how long the gateway asked to stay away, if it did.
    pub(crate) fn disconnected(&mut self) -> Option<Duration> {
        (self.limits, self.hello, self.identity) = (None, None, None);
        self.instruments.disconnected();
        self.feeds.clear();
        self.owed.clear();
        (self.looked_at, self.filled_at, self.is_filling, self.is_held_back) = (None, 0, false, false);
        self.ended.clear();
        (self.unasked, self.fault, self.is_expiring) = (None, None, false);
        self.commands.clear();
        self.requests.disconnected();
        self.wanted.disconnected();
        self.next_tick = None;
        self.draining.take()
    }

    /// There will be no further connection.
    pub(crate) fn end(&mut self) {
        self.requests.end();
    }

    pub(crate) fn hello(&self) -> Option<&Hello> {
        self.hello.as_deref()
    }

    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.limits.is_some()
    }

    /// The gateway closed the session: a ledger just before that has every subscription.
    pub(crate) fn closed(&mut self) {
        if let Some(ledger) = self.unasked.take() {
            self.check_missing(&ledger);
        }
    }

    /// Why the connection has to end, when what came cannot be understood.
    pub(crate) fn take_fault(&mut self) -> Option<Disconnect> {
        self.fault.take()
    }

    pub(crate) fn message(&mut self, message: Message, now: Instant) {
        if self.fault.is_some() {
            return;
        }
        if !matches!(message, Message::Sent(_)) {
            self.unasked = None;
        }
        match message {
            Message::Record(record) => self.record(record, now),
            Message::Subscribed(subscribed) => self.subscribed(subscribed, now),
            Message::Heartbeat(heartbeat) => self.heartbeat(heartbeat),
            Message::Ledger(ledger) => self.ledger(ledger),
            Message::Error(error) => self.error(error, now),
            Message::Identity(identity) => self.identified(identity),
            Message::Notice(notice) => {
                match notice.code.as_str() {
                    "draining" => {
                        self.draining = Some(Duration::from_millis(u64::from(notice.retry_after_ms)));
                    }
                    "token_expiring" => self.is_expiring = true,
                    "conflating" => self.is_held_back = true,
                    "conflating_ended" => self.is_held_back = false,
                    _ => {}
                }
                self.event(Event::Notice(notice));
            }
            Message::Sent(time) => self.sent(time),
            // `Hello` was looked at when the connection was opened.
            _ => {}
        }
    }

    /// Returns whether the gateway said, since this was last asked, that the token will end.
    pub(crate) fn take_expiring(&mut self) -> bool {
        std::mem::take(&mut self.is_expiring)
    }

    /// Something is to be done at this time.
    pub(crate) fn next_tick(&self) -> Option<Instant> {
        self.next_tick
    }

    fn tick_by(&mut self, at: Instant) {
        self.next_tick = Some(self.next_tick.map_or(at, |tick| tick.min(at)));
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        self.next_tick = None;
        if self.is_connected() {
            self.repair_books(now);
            self.expire(now);
            self.retry_refused(now);
        }
    }

    /// Another request may come in.
    pub(crate) fn has_room_for_requests(&mut self) -> bool {
        self.requests.has_room()
    }

    pub(crate) fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    pub(crate) fn event(&mut self, event: Event) {
        match &event {
            Event::Record(_) => self.counters.records += 1,
            Event::Gap(_) => self.counters.gaps += 1,
            _ => {}
        }
        self.events.push_back(event);
    }

    pub(crate) fn events(&mut self) -> &mut VecDeque<Event> {
        &mut self.events
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    pub(crate) fn instrument(&self, symbol: &str) -> Option<&Instrument> {
        self.instruments.get(symbol)
    }

    pub(crate) fn symbols(&self) -> impl Iterator<Item = &str> {
        self.instruments.iter().map(|instrument| instrument.scale.symbol.as_str())
    }

    /// There is a connection, and nothing is known to be wrong with the venue's feed.
    pub(crate) fn is_venue_live(&self, venue: &str) -> bool {
        self.is_connected() && self.feeds.get(venue).is_none_or(|feed| feed.state() == FeedState::Live)
    }

    fn heartbeat(&mut self, heartbeat: Heartbeat) {
        for feed in heartbeat.feeds {
            let venue: Arc<str> = feed.venue.as_str().into();
            let says = |feed: &Feed| (feed.state, feed.book_proof);
            let is_new = self.feeds.get(&venue).is_none_or(|known| says(known) != says(&feed));
            if is_new {
                let (state, since, reason) = (feed.state(), feed.since, feed.reason.clone());
                let (venue, book_proof) = (venue.clone(), feed.book_proof());
                self.event(Event::State(State::Feed { venue, state, since, reason, book_proof }));
            }
            self.feeds.insert(venue, feed);
        }
        for position in heartbeat.positions {
            let channel = position.channel();
            let id = position.instrument;
            let instrument = self.instruments.granted_mut(id, channel);
            let Some(subscription) = instrument.and_then(|instrument| instrument.granted_mut(id, channel))
            else {
                continue;
            };
            let tracked = &mut subscription.tracked;
            let was_owed = tracked.is_owed();
            tracked.heartbeat(position.epoch, position.sequence);
            if tracked.is_owed() && !was_owed {
                self.owe(id, channel, false);
            }
        }
    }
}
