//! The market of the matrix: instruments, what is published of them, and the responses of the hub.

use std::collections::HashMap;
use std::sync::Arc;

use tickwire_core::vocabulary::{
    Ended, Event, FeedStatus, InstrumentInfo, TopicInterest, TopicState, Update, VenueIndex,
};
use tickwire_wire::{
    Body, BookProof, BookState, Channel, Encoding, FeedState, Message, Record, Scale, SymbolName,
    TradingState, encode_message,
};

use super::super::rig::{EPOCH, change, level, quote, snapshot, status, trade};
use super::{HEARD, LISTED, Matrix, NAMES, VENUES};

/// One instrument: what was published of it, and when.
pub(super) struct Instrument {
    pub(super) info: Arc<InstrumentInfo>,
    /// When it ended.
    pub(super) over: Option<u64>,
    /// The time of each sequence number, by channel.
    pub(super) times: HashMap<Channel, Vec<u64>>,
    pub(super) last: HashMap<Channel, Body>,
    pub(super) book: BookState,
}

impl Instrument {
    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }
}

impl Matrix {
    pub(super) fn feed(&mut self, venue: usize, state: FeedState) {
        let since = if venue < HEARD { 0 } else { self.now };
        self.heard[venue].get_or_insert(since);
        let (venue, name) = (VenueIndex(venue as u16), VENUES[venue].into());
        let feed =
            FeedStatus { venue, name, state, since: self.now, reason: "".into(), proof: BookProof::Chain };
        self.engine.on_event(&Event::Feed(Arc::new(feed)), self.now);
    }

    pub(super) fn list(&mut self) {
        let index = self.instruments.len() as u32;
        let Some(name) = NAMES.get(index as usize) else { return };
        let name = SymbolName::parse(name).unwrap();
        let venue = VENUES.iter().position(|venue| *venue == name.venue).unwrap();
        if self.heard[venue].is_none() {
            self.feed(venue, FeedState::Live);
        }
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
        // Those that are there from the beginning are old.
        let listed = if (index as usize) < LISTED { 0 } else { self.now };
        let venue = VenueIndex(venue as u16);
        let info = Arc::new(InstrumentInfo { index, id: 100 + index, listed, venue, name, scale });
        let (times, last, book) = Default::default();
        self.instruments.push(Instrument { info: Arc::clone(&info), over: None, times, last, book });
        self.engine.on_event(&Event::Instrument(info), self.now);
    }

    pub(super) fn publish(&mut self, index: usize, channel: Channel, salt: u8) {
        let now = self.now;
        let one = &mut self.instruments[index];
        if one.is_over() {
            return;
        }
        let times = one.times.entry(channel).or_default();
        times.push(now);
        let number = times.len() as u64;
        let body = match channel {
            Channel::Quote => quote(number as i64),
            Channel::Trade => trade(number as i64),
            Channel::Book if number == 1 => {
                let bids: Vec<_> = (1..=5).rev().map(|price| level(price, 1)).collect();
                snapshot(&bids, &[level(11, 1), level(12, 1), level(13, 1), level(14, 1)])
            }
            Channel::Book => {
                let (price, size) = (i64::from(salt % 8), u64::from(salt / 8 % 3));
                change(&[level(price, size)], &[level(price + 10, 2 - size)])
            }
            _ => status(TradingState::Open),
        };
        if let Body::Book(book) = &body {
            one.book.apply(number, book).expect("it follows");
        }
        one.last.insert(channel, body.clone());
        let info = Arc::clone(&one.info);
        let (event_time, receive_time) = (now, now);
        let record = Record { instrument: info.id, sequence: number, event_time, receive_time, body };
        let mut bytes = Vec::new();
        encode_message(Encoding::Proto, &Message::Record(record), &info.scale, &mut bytes);
        let update = Update::from_bus(info, channel, EPOCH, (number, number), Encoding::Proto, &bytes);
        self.engine.on_event(&Event::Update(Arc::new(update.at(now))), now);
    }

    pub(super) fn end(&mut self, index: usize) {
        let Some(one) = self.instruments.get_mut(index).filter(|one| !one.is_over()) else { return };
        one.over = Some(self.now);
        let ended = Ended { instrument: index as u32, reason: "it expired".into(), may_retry: false };
        self.engine.on_event(&Event::Ended(Arc::new(ended)), self.now);
    }

    /// Answers as the hub does: with what the ingester knows, and when it received it.
    pub(super) fn answer(&mut self) {
        let interests: Vec<_> = self.engine.take_interests().collect();
        for interest in interests {
            let TopicInterest::Want(topic) = interest else { continue };
            let one = &self.instruments[topic.instrument_index() as usize];
            if one.is_over() {
                continue;
            }
            let channel = topic.channel();
            let times = one.times.get(&channel).map_or(&[][..], Vec::as_slice);
            let number = times.len() as u64;
            let body = match channel {
                Channel::Book if number > 0 => Some(Body::Book(one.book.to_snapshot())),
                // The state of trades says no more than their sequence number.
                Channel::Trade => None,
                _ => one.last.get(&channel).cloned(),
            };
            let record = body.zip(times.last()).map(|(body, at)| {
                let (instrument, sequence) = (one.info.id, number);
                let record = Record { instrument, sequence, event_time: *at, receive_time: *at, body };
                Arc::new(Update::from_record(Arc::clone(&one.info), EPOCH, number, record))
            });
            let state =
                TopicState { topic, epoch: EPOCH, sequence: number, records: record.into_iter().collect() };
            self.engine.on_event(&Event::State(Arc::new(state)), self.now);
        }
    }
}
