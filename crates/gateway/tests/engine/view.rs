//! The view that a client has of what it reads, and whether it may be so.

use std::collections::{BTreeMap, HashMap};

use tickwire_wire::{
    Batch, Body, BookState, Channel, Encoding, Gap, GapCause, Granted, Ledger, LedgerEntry, Message, Record,
    Scale, Subscribed, encode_message,
};

use super::pace::Pace;
use super::world::{Told, Truth, World, key};
use tickwire_core::vocabulary::{Event, TopicId};

/// The position where a client left off: epoch and sequence number.
pub(crate) type Position = (u64, u64);

/// One subscription, by what the client read.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) granted: Position,
    /// The time at which the engine granted it, in the model's order of arrival.
    pub(crate) granted_at: u64,
    pub(crate) at: Position,
    /// The position to which gaps of the cause `resume` lead, from where the client left off.
    resumed: Option<Position>,
    delivered: u64,
    conflated: u64,
    dropped: u64,
    /// The sequence numbers of a sequence whose end it was not told.
    uncounted: u64,
    pub(crate) book: BookState,
    /// The arrival of the newest record that it has, for each key.
    newest: HashMap<u64, u64>,
    pub(crate) records: u64,
    pace: Pace,
    /// The superseded records that the rate held back.
    filtered: u64,
    /// The changes of the rate whose responses are still to come.
    unanswered: u32,
    /// Whether it was told that its instrument ended: the account follows.
    has_ended: bool,
}

/// Everything that one session read.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) views: BTreeMap<u32, View>,
    /// The newest arrival that was read, for each instrument.
    order: HashMap<u32, u64>,
    pub(crate) resume: HashMap<u32, Position>,
    pub(crate) ledgers: u64,
    pub(crate) last_is_ledger: bool,
    /// Whether a lossless channel was granted at some time.
    pub(crate) had_lossless: bool,
}

impl Reader {
    pub(crate) fn read(&mut self, message: &Message, encoding: Encoding, world: &mut World, now: u64) {
        self.last_is_ledger = matches!(message, Message::Ledger(_))
            || (self.last_is_ledger && matches!(message, Message::Sent(_)));
        match message {
            Message::Record(record) => self.record(record, encoding, world, now),
            Message::Subscribed(response) => self.granted(response, world),
            Message::Ledger(ledger) => self.ledger(ledger, world),
            Message::Heartbeat(_) | Message::Hello(_) | Message::Notice(_) | Message::Sent(_) => {}
            Message::Error(error) => assert_eq!(error.code, "rate_limit", "{error:?}"),
            other => panic!("this check does not know {other:?}"),
        }
    }

    fn granted(&mut self, response: &Subscribed, world: &mut World) {
        for refused in response.refused.iter().filter(|refused| refused.code == "ended") {
            assert_eq!((response.id, response.granted.len()), (0, 0), "{response:?}");
            let is_it = |(id, _): &(&u32, &mut View)| {
                let id = TopicId(**id);
                id.channel() as i32 == refused.channel && *world.topic(id).symbol() == *refused.symbol
            };
            let (_, view) = self.views.iter_mut().find(is_it).expect("a subscription that ended was granted");
            assert!(!std::mem::replace(&mut view.has_ended, true), "{refused:?} twice");
        }
        for granted in &response.granted {
            let id = topic_of(granted.instrument, granted.channel);
            self.had_lossless |= id.channel().is_lossless();
            assert!(!id.channel().is_lossless() || granted.max_rate == 0.0, "{granted:?}");
            if response.id == RATE_SET {
                let view = self.views.get_mut(&id.0).expect("a rate of what was granted");
                match view.unanswered.checked_sub(1) {
                    Some(left) => view.unanswered = left,
                    None => view.pace.set(granted.max_rate),
                }
                continue;
            }
            let resumed = self.resume.remove(&id.0).filter(|_| granted.channel().is_lossless());
            let view = View::new(granted, resumed, world.topic(id).arrival);
            assert!(self.views.insert(id.0, view).is_none(), "granted twice: {granted:?}");
        }
    }

    /// Takes what the engine is about to be told.
    pub(crate) fn told(&mut self, event: &Event, world: &mut World, now: u64) {
        let (id, is_broken) = match event {
            Event::Update(update) => (update.topic, update.is_gap()),
            Event::State(state) => (state.topic, true),
            Event::Ended(ended) => {
                // The records that a rate held back leave before the end.
                for (id, view) in &mut self.views {
                    if TopicId(*id).instrument_index() == ended.instrument {
                        let truth = world.topic(TopicId(*id));
                        truth.broken = u64::MAX;
                        view.pace.broken(truth.known_sequence);
                    }
                }
                return;
            }
            _ => return,
        };
        let Some(view) = self.views.get_mut(&id.0) else { return };
        let truth = world.topic(id);
        if is_broken {
            view.pace.broken(truth.before);
        } else {
            view.pace.advanced(truth.before, truth.known_sequence, now);
        }
    }

    pub(crate) fn timer(&mut self, now: u64) {
        self.views.values_mut().for_each(|view| view.pace.timer(now));
    }

    /// Takes another rate that the client asks for.
    pub(crate) fn set_rate(&mut self, id: TopicId, asked: f64) {
        if let Some(view) = self.views.get_mut(&id.0).filter(|_| !id.channel().is_lossless()) {
            view.unanswered += 1;
            view.pace.set(asked);
        }
    }

    fn record(&mut self, record: &Record, encoding: Encoding, world: &mut World, now: u64) {
        let id = topic_of(record.instrument, record.channel() as i32);
        let view = self.views.get_mut(&id.0).unwrap_or_else(|| panic!("never granted: {record:?}"));
        let truth = world.topic(id);
        assert!(!view.has_ended, "{record:?} comes behind its end");
        if let Body::Gap(gap) = &record.body {
            view.gap(gap, id.channel(), truth);
            return;
        }
        assert!(
            view.resumed
                .is_none_or(|at| at == view.granted || at.0 == view.granted.0 && at.1 > view.granted.1),
            "resumed at {:?}, granted {:?}",
            view.resumed,
            view.granted
        );
        view.records += 1;
        view.pace.record(key(record), truth.arrival, truth.broken, now);
        let arrival = match id.channel() {
            Channel::Book => view.book(record, truth),
            channel if channel.is_lossless() => view.lossless(record, encoding, truth),
            _ => view.newest(record, encoding, truth),
        };
        if arrival > view.granted_at {
            let order = self.order.entry(id.instrument_index()).or_default();
            // A record that a rate held back comes when it may.
            assert!(
                arrival >= *order || view.pace.was_rated,
                "{record:?} arrived before what was sent before it"
            );
            *order = arrival.max(*order);
        }
    }

    /// Checks that the gateway's account equals the client's.
    fn ledger(&mut self, ledger: &Ledger, world: &mut World) {
        self.ledgers += 1;
        for entry in &ledger.entries {
            let id = topic_of(entry.instrument, entry.channel);
            let view = self.views.get(&id.0).unwrap_or_else(|| panic!("an account of nothing: {entry:?}"));
            let LedgerEntry { published, delivered, conflated, dropped, filtered, .. } = *entry;
            assert_eq!(published, delivered + conflated + dropped + filtered, "{entry:?}");
            assert_eq!(
                (delivered, conflated + filtered, dropped),
                (view.delivered, view.conflated, view.dropped),
                "{:?}: gateway and client differ in delivered, superseded, dropped",
                id.channel()
            );
            // A bar that was superseded before it was its key's turn to leave may be counted as either.
            if id.channel() != Channel::Bar || !view.pace.was_rated {
                assert_eq!(filtered, view.filtered, "{:?}: held back by the rate", id.channel());
            }
        }
        let ended = self.views.values().filter(|view| view.has_ended).count();
        if ended > 0 {
            // This is the account of what ended, directly behind the word that it did; nothing was owed any more.
            assert_eq!((ledger.id, ledger.entries.len()), (0, ended));
            for (id, view) in self.views.extract_if(.., |_, view| view.has_ended) {
                view.assert_converged(TopicId(id), world.topic(TopicId(id)));
            }
        } else if ledger.id == UNSUBSCRIBED {
            for entry in &ledger.entries {
                self.views.remove(&topic_of(entry.instrument, entry.channel).0);
            }
        } else {
            assert_eq!(ledger.entries.len(), self.views.len(), "{ledger:?}");
        }
    }
}

/// The id of `unsubscribe` commands in a schedule.
pub(crate) const UNSUBSCRIBED: u64 = 99;

/// The id of `set_rate` commands in a schedule.
pub(crate) const RATE_SET: u64 = 3;

pub(crate) fn topic_of(instrument: u32, channel: i32) -> TopicId {
    TopicId::new(instrument - 100, Channel::try_from(channel).expect("a channel"))
}

impl View {
    fn new(granted: &Granted, resumed: Option<Position>, granted_at: u64) -> Self {
        let at = (granted.epoch, granted.sequence);
        let mut pace = Pace::default();
        pace.granted(granted.max_rate);
        Self {
            pace,
            filtered: 0,
            unanswered: 0,
            has_ended: false,
            granted: at,
            granted_at,
            at,
            resumed,
            delivered: 0,
            conflated: 0,
            dropped: 0,
            uncounted: 0,
            book: BookState::new(),
            newest: HashMap::new(),
            records: 0,
        }
    }

    pub(crate) fn published(&self) -> u64 {
        self.delivered + self.conflated + self.dropped
    }

    fn deliver(&mut self, to: u64) {
        if to > self.at.1 {
            self.supersede(to - 1);
            self.delivered += 1;
            self.at.1 = to;
        }
    }

    fn supersede(&mut self, to: u64) {
        self.conflated += to.saturating_sub(self.at.1);
        self.filtered += self.pace.filtered(self.at.1 + 1, to);
    }

    fn gap(&mut self, gap: &Gap, channel: Channel, truth: &Truth) {
        let (first, last) = (gap.first_sequence, gap.last_sequence);
        if gap.cause() == GapCause::Resume {
            let at = self.resumed.as_mut().expect("a gap of a client that resumed");
            assert_eq!(first, at.1 + 1);
            *at = if last == 0 { (gap.epoch, 0) } else { (at.0, last) };
            assert_eq!(gap.epoch, at.0);
            return;
        }
        let is_lossless = channel.is_lossless();
        if gap.cause() == GapCause::Shed {
            assert!(is_lossless, "{channel:?} shed");
        }
        if last == 0 {
            assert!(gap.epoch > self.at.0);
            if is_lossless {
                assert_eq!(first, self.at.1 + 1, "sequence numbers before a new sequence were passed over");
            }
            // Where the log was cut across a change of sequence, nobody knows any more how far the old one went.
            for (epoch, end) in truth.ends.range(self.at.0..gap.epoch) {
                let told = if *epoch == self.at.0 { (first - 1).max(self.at.1) } else { 0 };
                self.uncounted += end - told;
            }
            self.supersede(first - 1);
            self.pace.renumber();
            self.at = (gap.epoch, 0);
        } else {
            assert_eq!(gap.epoch, self.at.0, "{gap:?}");
            assert!(first <= last && first > self.at.1, "{gap:?} at {:?}", self.at);
            if is_lossless {
                assert_eq!(first, self.at.1 + 1);
            }
            self.supersede(first - 1);
            self.dropped += last + 1 - first;
            self.at.1 = last;
        }
        assert!(self.at <= (truth.known_epoch, truth.known_sequence));
        self.book.reset();
    }

    fn book(&mut self, record: &Record, truth: &Truth) -> u64 {
        let Body::Book(book) = &record.body else { panic!("not a book: {record:?}") };
        if !book.snapshot {
            let first = if book.first_sequence == 0 { record.sequence } else { book.first_sequence };
            assert_eq!(first, self.at.1 + 1, "a change that does not follow");
        }
        self.book.apply(record.sequence, book).expect("it applies");
        assert_eq!(self.book, truth.known_book, "the book at {}", record.sequence);
        assert_eq!(
            (self.at.0, record.sequence),
            (truth.known_epoch, truth.known_sequence),
            "not the newest book"
        );
        self.deliver(record.sequence);
        truth.arrival
    }

    fn lossless(&mut self, record: &Record, encoding: Encoding, truth: &Truth) -> u64 {
        if record.sequence <= self.at.1 {
            assert!(
                record.channel().is_critical() && self.records == 1 && self.at == self.granted,
                "{record:?} twice"
            );
            return 0;
        }
        assert_eq!(record.sequence, self.at.1 + 1, "a hole that was not announced");
        let told =
            &truth.known_records.get(&(self.at.0, record.sequence)).expect("a record that was published");
        assert_eq!(*record, through(encoding, told));
        self.deliver(record.sequence);
        if told.arrival <= self.granted_at { 0 } else { told.arrival }
    }

    fn newest(&mut self, record: &Record, encoding: Encoding, truth: &Truth) -> u64 {
        assert_eq!(self.at.0, truth.known_epoch, "a record of a sequence that was not announced");
        let told = &truth.known_newest.get(&key(record)).expect("a record that was published");
        assert_eq!(*record, through(encoding, told), "not the newest of its key");
        let before = self.newest.insert(key(record), told.arrival);
        assert!(before.is_none_or(|before| before < told.arrival), "{record:?} twice");
        self.deliver(record.sequence);
        told.arrival
    }

    /// Checks that after everything was read, the client has what the engine has.
    pub(crate) fn assert_converged(&self, id: TopicId, truth: &Truth) {
        let known = (truth.known_epoch, truth.known_sequence);
        assert_eq!(self.at, known, "{:?}: not everything came", id.channel());
        let mut published = 0;
        for (epoch, end) in truth.ends.range(self.granted.0..) {
            published += if *epoch == self.granted.0 { end - self.granted.1 } else { *end };
        }
        assert_eq!(
            self.published() + self.uncounted,
            published,
            "{:?}: sequence numbers that passed",
            id.channel()
        );
        if id.channel() == Channel::Book && truth.known_book.is_synced() {
            assert_eq!(self.book, truth.known_book);
        }
        for (key, told) in &truth.known_newest {
            if !id.channel().is_lossless() && id.channel() != Channel::Book {
                // The state before a gap is no state for who came after it.
                let came_after = |last: u64| self.granted.0 == truth.known_epoch && self.granted.1 >= last;
                let is_lost = truth.gaps.iter().any(|(at, last)| told.arrival < *at && came_after(*last));
                assert_eq!(
                    self.newest.get(key),
                    Some(&told.arrival).filter(|_| !is_lost),
                    "{:?}: the newest of key {key}",
                    id.channel()
                );
            }
        }
    }
}

/// Returns the record as it reads after it was written in this encoding.
fn through(encoding: Encoding, told: &Told) -> Record {
    let scale = Scale { symbol: "sim:A".to_owned(), price_decimals: 2, size_decimals: 3 };
    let mut bytes = Vec::new();
    encode_message(encoding, &Message::Record(told.record.clone()), &scale, &mut bytes);
    match Batch::new(encoding, &bytes).next() {
        Some(Ok(Message::Record(mut record))) => {
            // The JSON encoding writes the instrument's name into its definition.
            if let (Body::Instrument(read), Body::Instrument(original)) =
                (&mut record.body, &told.record.body)
            {
                read.symbol.clone_from(&original.symbol);
            }
            record
        }
        other => panic!("{other:?}"),
    }
}
