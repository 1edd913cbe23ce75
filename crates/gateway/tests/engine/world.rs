//! The bus side of the model: what ingesters know, and what of it the engine was told.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tickwire_core::vocabulary::{Event, InstrumentInfo, TopicId, TopicState, Update};
use tickwire_wire::{
    Bar, Body, Book, BookState, Channel, Encoding, GapCause, Instrument, Record, Stat, TradingState,
};

use super::rig::{bus_update, level, quote, status, trade};

/// A record that the engine was told of, and the model's order of arrival.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) arrival: u64,
    pub(crate) record: Record,
}

/// One (instrument, channel).
#[derive(Debug)]
pub(crate) struct Truth {
    info: Arc<InstrumentInfo>,
    channel: Channel,
    /// The epoch at the ingester.
    epoch: u64,
    sequence: u64,
    book: BookState,
    newest: BTreeMap<u64, Record>,
    /// Whether the gateway wants it and is in step with the ingester.
    pub(crate) wanted: bool,
    pub(crate) live: bool,
    pub(crate) known_epoch: u64,
    pub(crate) known_sequence: u64,
    pub(crate) known_book: BookState,
    pub(crate) known_newest: BTreeMap<u64, Told>,
    /// The lossless records by epoch and sequence number.
    pub(crate) known_records: HashMap<(u64, u64), Told>,
    /// The highest sequence number of each epoch.
    pub(crate) ends: BTreeMap<u64, u64>,
    /// The arrival at which the engine was last told something.
    pub(crate) arrival: u64,
    /// The arrival at which the engine was last told of a loss.
    pub(crate) gap_arrival: u64,
    /// The losses of the known sequence: when the engine was told of each, and its last sequence number.
    pub(crate) gaps: Vec<(u64, u64)>,
    /// The last sequence number that it knew before that.
    pub(crate) before: u64,
    /// The time at which it was last told of a loss, or of a state.
    pub(crate) broken: u64,
}

impl Truth {
    pub(crate) fn symbol(&self) -> &str {
        &self.info.scale.symbol
    }
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) topics: BTreeMap<u32, Truth>,
    arrival: u64,
}

impl World {
    pub(crate) fn add(&mut self, info: &Arc<InstrumentInfo>) {
        for channel in Channel::ALL {
            let truth = Truth {
                info: Arc::clone(info),
                channel,
                epoch: 1,
                sequence: 0,
                book: BookState::new(),
                newest: BTreeMap::new(),
                wanted: false,
                live: false,
                known_epoch: 0,
                known_sequence: 0,
                known_book: BookState::new(),
                known_newest: BTreeMap::new(),
                known_records: HashMap::new(),
                ends: BTreeMap::new(),
                arrival: 0,
                gap_arrival: 0,
                gaps: Vec::new(),
                before: 0,
                broken: 0,
            };
            self.topics.insert(TopicId::new(info.index, channel).0, truth);
        }
    }

    pub(crate) fn topic(&mut self, id: TopicId) -> &mut Truth {
        self.topics.get_mut(&id.0).expect("a topic of an instrument that exists")
    }

    /// Publishes the next record of a topic.
    pub(crate) fn publish(&mut self, id: TopicId, a: u8, b: u8) -> Option<Event> {
        let record = self.topic(id).advance(a, b);
        self.pass_on(id, &record, a)
    }

    /// Makes the ingester miss something of its source: one sequence number stands for it.
    pub(crate) fn upstream_gap(&mut self, id: TopicId) -> Option<Event> {
        let truth = self.topic(id);
        truth.sequence += 1;
        truth.book.reset();
        let number = truth.sequence;
        self.gap(id, GapCause::Upstream, number, number)
    }

    /// Loses records between ingester and gateway.
    pub(crate) fn lose(&mut self, id: TopicId, count: u8, a: u8) -> Option<Event> {
        for at in 0..=count % 4 {
            self.topic(id).advance(a.wrapping_add(at), a);
        }
        let truth = self.topic(id);
        let is_counted = truth.channel.is_lossless() || truth.channel == Channel::Book;
        let (first, last) = (truth.known_sequence + 1, truth.sequence);
        if !truth.live || !is_counted || first > last {
            return None;
        }
        let event = self.gap(id, GapCause::Bus, first, last);
        let truth = self.topic(id);
        // A book is asked for again, a lossless channel goes on.
        truth.live = truth.channel != Channel::Book;
        event
    }

    /// Makes the ingester lose its sequence.
    pub(crate) fn restart(&mut self, id: TopicId) -> Option<Event> {
        let truth = self.topic(id);
        truth.epoch += 1;
        truth.sequence = 0;
        truth.book.reset();
        truth.newest.clear();
        if !truth.live {
            return None;
        }
        let (first, epoch) = (truth.known_sequence + 1, truth.epoch);
        truth.before = truth.known_sequence;
        truth.known_epoch = epoch;
        truth.known_sequence = 0;
        truth.known_newest.clear();
        truth.gaps.clear();
        truth.known_book.reset();
        truth.ends.insert(epoch, 0);
        let gap = Update::gap(Arc::clone(&truth.info), truth.channel, GapCause::Ingest, first, 0, epoch);
        let arrival = self.arrive(id);
        let truth = self.topic(id);
        (truth.gap_arrival, truth.broken) = (arrival, arrival);
        Some(Event::Update(Arc::new(gap)))
    }

    /// Returns the ingester's state, for a topic that is wanted.
    pub(crate) fn state(&mut self, id: TopicId) -> Option<Event> {
        let mut arrival = self.arrival;
        let truth = self.topic(id);
        if !truth.wanted || (truth.live && truth.channel.is_lossless()) {
            return None;
        }
        truth.live = true;
        let mut records = Vec::new();
        let before = std::mem::take(&mut truth.known_newest);
        truth.known_book.reset();
        let mut newest: Vec<_> = truth.newest.iter().collect();
        newest.sort_by_key(|(_, record)| record.sequence);
        arrival += 2;
        if truth.channel == Channel::Book {
            if truth.book.is_synced() {
                let record = truth.record(Body::Book(truth.book.to_snapshot()));
                records.push(Arc::new(Update::from_record(
                    Arc::clone(&truth.info),
                    truth.epoch,
                    record.sequence,
                    record,
                )));
            }
            truth.known_book = truth.book.clone();
        } else {
            for (key, record) in newest {
                arrival += 1;
                // A record that is told again keeps its place, unless a loss was told since.
                let is_it = |told: &&Told| told.record == *record && told.arrival > truth.gap_arrival;
                let known = before.get(key).filter(is_it).map(|told| told.arrival);
                let told = Told { arrival: known.unwrap_or(arrival), record: record.clone() };
                truth.known_newest.insert(*key, told);
                records.push(bus_update(&truth.info, Encoding::Proto, truth.epoch, record));
            }
        }
        records.reverse();
        truth.before = truth.known_sequence;
        truth.known_epoch = truth.epoch;
        truth.known_sequence = truth.sequence;
        (truth.arrival, truth.broken) = (arrival, arrival);
        truth.ends.insert(truth.epoch, truth.sequence);
        let state = TopicState { topic: id, epoch: truth.epoch, sequence: truth.sequence, records };
        self.arrival = arrival;
        Some(Event::State(Arc::new(state)))
    }

    /// Drops a topic that nobody at the gateway wants any more.
    pub(crate) fn drop_topic(&mut self, id: TopicId) {
        let truth = self.topic(id);
        (truth.wanted, truth.live) = (false, false);
        truth.ends.clear();
    }

    fn arrive(&mut self, id: TopicId) -> u64 {
        self.arrival += 1;
        let arrival = self.arrival;
        self.topic(id).arrival = arrival;
        arrival
    }

    fn gap(&mut self, id: TopicId, cause: GapCause, first: u64, last: u64) -> Option<Event> {
        let truth = self.topic(id);
        if !truth.live {
            return None;
        }
        truth.before = truth.known_sequence;
        // The records that a conflated channel lost on the bus before show as a jump only.
        truth.known_sequence = last;
        truth.known_book.reset();
        truth.ends.insert(truth.epoch, last);
        let gap = Update::gap(Arc::clone(&truth.info), truth.channel, cause, first, last, truth.epoch);
        let arrival = self.arrive(id);
        let truth = self.topic(id);
        (truth.gap_arrival, truth.broken) = (arrival, arrival);
        truth.gaps.push((arrival, truth.known_sequence));
        Some(Event::Update(Arc::new(gap)))
    }

    fn pass_on(&mut self, id: TopicId, record: &Record, a: u8) -> Option<Event> {
        if !self.topic(id).live {
            return None;
        }
        let arrival = self.arrive(id);
        let truth = self.topic(id);
        let told = Told { arrival, record: record.clone() };
        truth.before = truth.known_sequence;
        truth.known_sequence = record.sequence;
        truth.ends.insert(truth.epoch, record.sequence);
        match &record.body {
            Body::Book(book) => {
                truth.known_book.apply(record.sequence, book).expect("the ingester's changes apply");
            }
            Body::Trade(_) | Body::Status(_) | Body::Instrument(_) => {
                truth.known_records.insert((truth.epoch, record.sequence), told);
            }
            _ => {
                truth.known_newest.insert(key(record), told);
            }
        }
        let encoding = if a.is_multiple_of(2) { Encoding::Proto } else { Encoding::MsgPack };
        Some(Event::Update(bus_update(&truth.info, encoding, truth.epoch, record)))
    }
}

/// Returns the conflation key: of a bar, its interval.
pub(crate) fn key(record: &Record) -> u64 {
    if let Body::Bar(bar) = &record.body { bar.interval } else { 0 }
}

impl Truth {
    fn record(&self, body: Body) -> Record {
        let n = self.sequence;
        Record { instrument: self.info.id, sequence: n, event_time: 1_000 + n, receive_time: 1_005 + n, body }
    }

    fn advance(&mut self, a: u8, b: u8) -> Record {
        self.sequence += 1;
        let (price, size) = (i64::from(a) * 10, u64::from(b));
        let body = match self.channel {
            Channel::Trade => trade(price),
            Channel::Book => self.advance_book(a, b),
            Channel::Bar => Body::Bar(Bar {
                interval: u64::from(a % 3) + 1,
                close: price,
                volume: size,
                ..Bar::default()
            }),
            Channel::Stat => Body::Stat(Stat { last: Some(price), volume: size, ..Stat::default() }),
            Channel::Status => {
                status(if a.is_multiple_of(2) { TradingState::Open } else { TradingState::Halted })
            }
            Channel::Instrument => Body::Instrument(Instrument {
                venue: self.info.name.venue.clone(),
                symbol: self.info.name.symbol.clone(),
                price_decimals: self.info.scale.price_decimals,
                size_decimals: self.info.scale.size_decimals,
                tick_size: size,
                ..Instrument::default()
            }),
            _ => quote(price),
        };
        let record = self.record(body);
        if self.channel != Channel::Book {
            self.newest.insert(key(&record), record.clone());
        }
        record
    }

    fn advance_book(&mut self, a: u8, b: u8) -> Body {
        let (sequence, price) = (self.sequence, i64::from(a % 12));
        let one = level(if b.is_multiple_of(2) { price } else { 100 - price }, u64::from(b / 2 % 4));
        let is_snapshot = !self.book.is_synced() || b == 255;
        let mut book = Book { snapshot: is_snapshot, ..Book::default() };
        if is_snapshot {
            book.bids = (0..8).rev().map(|at| level(at, 1 + u64::from(b))).collect();
            book.asks = (90..98).map(|at| level(at, 1 + u64::from(a))).collect();
        } else if b.is_multiple_of(2) {
            book.bids.push(one);
        } else {
            book.asks.push(one);
        }
        self.book.apply(sequence, &book).expect("a change that follows");
        if a.is_multiple_of(2) {
            book.checksum = Some(self.book.checksum());
        }
        Body::Book(book)
    }
}
