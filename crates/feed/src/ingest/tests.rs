use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use tickwire_bus::{PublishError, Subject};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Batch, Body, Book, BookState, Channel, Encoding, FeedState, GapCause, Instrument, Level, Message, Quote,
    Record, Status, Trade, TradingState, pb,
};

use super::beat::beats;
use super::publisher::{BEATS_PER_MOVE, Outlet, Publisher, RUN_BYTES_MAX, RUN_RECORDS_MAX};
use super::sequencer::Sequencer;
use super::{BEAT_POSITIONS_MAX, BOOK_LEVELS_MAX, answer};
use crate::adapter::{FeedEvent, Levels, MarketBody, MarketEvent};
use crate::sim::{Sim, SimConfig};

const EPOCH: u64 = 1_000;
const NATS_PAYLOAD_MAX: usize = 1 << 20;

/// Keeps what it takes, or refuses.
#[derive(Clone, Default)]
struct Shelf(Arc<Mutex<ShelfState>>);

#[derive(Default)]
struct ShelfState {
    is_full: bool,
    messages: Vec<(String, Bytes)>,
}

impl Shelf {
    fn set_full(&self, is_full: bool) {
        self.0.lock().unwrap().is_full = is_full;
    }

    fn take(&self) -> Vec<(BusHeader, Vec<Record>)> {
        let messages = std::mem::take(&mut self.0.lock().unwrap().messages);
        messages.iter().map(|(subject, bytes)| read(subject, bytes)).collect()
    }

    fn take_records(&self) -> Vec<Record> {
        self.take().into_iter().flat_map(|(_, records)| records).collect()
    }
}

impl Outlet for Shelf {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        let mut shelf = self.0.lock().unwrap();
        if shelf.is_full {
            return Err(PublishError::Full);
        }
        shelf.messages.push((subject.as_str().to_owned(), payload));
        Ok(())
    }
}

/// Reads a bus message and checks what must hold for every one.
fn read(subject: &str, bytes: &[u8]) -> (BusHeader, Vec<Record>) {
    let (header, rest) = BusHeader::parse(bytes).unwrap();
    assert!(bytes.len() <= NATS_PAYLOAD_MAX);
    assert!(subject.starts_with(&format!("tw.v1.sim.{}.", header.channel.name())), "{subject}");
    let mut records = Vec::new();
    for part in header.split(rest) {
        let (_, last, bytes) = part.unwrap();
        for message in Batch::new(header.encoding, bytes) {
            let Message::Record(record) = message.unwrap() else { panic!("not a record") };
            assert_eq!((record.instrument, record.sequence), (header.instrument, last));
            assert_eq!(record.channel(), header.channel);
            records.push(record);
        }
    }
    assert_eq!(records.last().unwrap().sequence, header.last_sequence);
    assert!(records.len() <= RUN_RECORDS_MAX);
    (header, records)
}

fn sequencer(encoding: Encoding) -> (Sequencer<Shelf>, Shelf) {
    let shelf = Shelf::default();
    let publisher = Publisher::new(shelf.clone(), EPOCH, encoding);
    (Sequencer::new("sim".to_owned(), 100, publisher), shelf)
}

/// One instrument, `A/B`, with its definition already published.
fn one_instrument() -> (Sequencer<Shelf>, Shelf) {
    let (mut sequencer, shelf) = sequencer(Encoding::Proto);
    sequencer.define(0, definition("A/B")).unwrap();
    sequencer.end_turn();
    let [record] = shelf.take_records().try_into().unwrap();
    assert_eq!((record.instrument, record.sequence), (101, 1));
    (sequencer, shelf)
}

fn definition(symbol: &str) -> Instrument {
    Instrument { symbol: symbol.to_owned(), price_decimals: 2, size_decimals: 3, ..Instrument::default() }
}

fn happens(sequencer: &mut Sequencer<Shelf>, body: MarketBody) {
    sequencer.event(MarketEvent { index: 0, event_time: 5_000, receive_time: 5_010, body });
}

fn trade(id: u64) -> MarketBody {
    MarketBody::Trade(Trade { price: 10, size: 1, id, ..Trade::default() })
}

fn level(price: i64, size: u64) -> Level {
    Level { price, size }
}

fn snapshot() -> MarketBody {
    MarketBody::BookSnapshot(Levels { bids: vec![level(9, 1)], asks: vec![level(11, 2)] })
}

fn bid(price: i64, size: u64) -> MarketBody {
    MarketBody::BookDelta(Levels { bids: vec![level(price, size)], asks: vec![] })
}

fn ask(sequencer: &Sequencer<Shelf>, channel: Channel, symbol: &str) -> pb::Answer {
    let topic = pb::Topic { channel: channel.into(), symbol: symbol.to_owned() };
    let question = pb::Ask { question: Some(pb::ask::Question::Snapshot(topic)) };
    let answer = answer::answer(sequencer, &question.encode_to_vec(), FeedState::Live);
    pb::Answer::decode(answer.as_slice()).unwrap()
}

fn records_of(answer: &pb::Answer) -> Vec<Record> {
    let bytes = answer.frame.as_ref().unwrap().encode_to_vec();
    let records = Batch::new(Encoding::Proto, &bytes).map(|message| match message.unwrap() {
        Message::Record(record) => record,
        other => panic!("not a record: {other:?}"),
    });
    records.collect()
}

#[test]
fn consecutive_records_of_a_channel_share_a_message_and_keep_their_order() {
    let (mut sequencer, shelf) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3), bid(7, 1)] {
        happens(&mut sequencer, body);
    }
    assert_eq!(shelf.take_records().last().unwrap().channel(), Channel::Trade, "the last run is still open");
    happens(&mut sequencer, bid(6, 1));
    sequencer.end_turn();
    let (header, records) = shelf.take().pop().unwrap();
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Book, 3, 4));
    assert_eq!((header.epoch, records.len()), (EPOCH, 2));
}

#[test]
fn order_across_channels_holds() {
    let (mut sequencer, shelf) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let channels: Vec<_> = shelf.take().iter().map(|(header, _)| header.channel).collect();
    // The quote comes from the book, as long as the venue gives none.
    assert_eq!(channels, [Channel::Trade, Channel::Book, Channel::Quote, Channel::Book, Channel::Trade]);
}

#[test]
fn runs_are_bounded() {
    let (mut sequencer, shelf) = one_instrument();
    for id in 0..200 {
        happens(&mut sequencer, trade(id));
    }
    sequencer.end_turn();
    let counts: Vec<_> = shelf.take().iter().map(|(_, records)| records.len()).collect();
    assert_eq!(counts, [64, 64, 64, 8]);
    let levels = |side: i64| (1..=1_000).map(|n| level(side * n * 1_000_000, 1 << 40)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: levels(-1), asks: levels(1) }));
    for _ in 0..10 {
        happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: levels(-1), asks: vec![] }));
    }
    sequencer.end_turn();
    for (header, _) in shelf.take() {
        assert!(header.last_sequence - header.first_sequence < (RUN_BYTES_MAX / 1_000) as u64);
    }
}

#[test]
fn the_largest_book_fits_into_a_message_of_nats() {
    for encoding in [Encoding::Proto, Encoding::MsgPack] {
        let (mut sequencer, shelf) = sequencer(encoding);
        sequencer.define(0, definition("A/B")).unwrap();
        // Steps so wide that every price takes the most bytes.
        let step = i64::MAX / (BOOK_LEVELS_MAX as i64 * 2);
        let side = |sign: i64| {
            let price = |n: usize| sign * (i64::MAX - step * (BOOK_LEVELS_MAX * 2 - n) as i64);
            (0..BOOK_LEVELS_MAX + 500).map(|n| level(price(n), u64::MAX)).collect()
        };
        happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
        sequencer.end_turn();
        let largest = shelf.0.lock().unwrap().messages.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
        assert!(largest > NATS_PAYLOAD_MAX / 2, "{largest} bytes: not the worst case");
        let records = shelf.take_records();
        let book = records.iter().find_map(|record| match &record.body {
            Body::Book(book) => Some(book),
            _ => None,
        });
        assert_eq!(book.unwrap().asks.len(), BOOK_LEVELS_MAX);
        let question = ask(&sequencer, Channel::Book, "A/B");
        assert!(question.encoded_len() < NATS_PAYLOAD_MAX);
    }
}

#[test]
fn a_book_that_grows_too_deep_loses_its_far_levels_with_everyone() {
    let (mut sequencer, shelf) = one_instrument();
    let bids = (0..BOOK_LEVELS_MAX as i64).map(|n| level(1_000_000 - n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids, asks: vec![] }));
    happens(&mut sequencer, bid(1_000_001, 5));
    sequencer.end_turn();
    let mut book = BookState::new();
    for record in shelf.take_records() {
        if let Body::Book(body) = &record.body {
            book.apply(record.sequence, body).unwrap();
        }
    }
    assert_eq!(book.bids().len(), BOOK_LEVELS_MAX);
    assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
}

#[test]
fn upstream_gaps_use_up_numbers() {
    let (mut sequencer, shelf) = one_instrument();
    let gap = |channel, count| MarketBody::UpstreamGap { channel, count };
    happens(&mut sequencer, snapshot());
    for body in [trade(1), gap(Channel::Trade, Some(7)), trade(9), gap(Channel::Book, None), bid(8, 1)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let messages = shelf.take();
    let (header, records) = &messages[3];
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Trade, 2, 8));
    let Body::Gap(gap) = &records[0].body else { panic!("{records:?}") };
    assert_eq!((gap.cause(), gap.first_sequence, gap.last_sequence), (GapCause::Upstream, 2, 8));
    assert_eq!(messages[4].1[0].sequence, 9);
    let (header, _) = &messages[5];
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Book, 2, 2));
    assert_eq!(messages.len(), 6, "a change of a broken book is not published");
    let broken = ask(&sequencer, Channel::Book, "A/B");
    assert!(matches!(records_of(&broken)[0].body, Body::Gap(_)));
    assert_eq!(broken.sequence, 2);
    happens(&mut sequencer, snapshot());
    sequencer.end_turn();
    let [record] = shelf.take_records().try_into().unwrap();
    assert!(matches!(&record.body, Body::Book(book) if book.snapshot && record.sequence == 3));
}

#[test]
fn a_gap_that_no_market_can_have_takes_one_number() {
    let (mut sequencer, shelf) = one_instrument();
    for (channel, count) in [(Channel::Trade, u64::MAX), (Channel::Trade, 0), (Channel::Unknown, 3)] {
        happens(&mut sequencer, MarketBody::UpstreamGap { channel, count: Some(count) });
    }
    sequencer.end_turn();
    let ranges: Vec<_> =
        shelf.take().iter().map(|(header, _)| (header.first_sequence, header.last_sequence)).collect();
    assert_eq!(ranges, [(1, 1), (2, 2)]);
}

#[test]
fn answers_say_where_each_channel_stands() {
    let (mut sequencer, _shelf) = one_instrument();
    assert!(records_of(&ask(&sequencer, Channel::Quote, "A/B")).is_empty());
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, bid(10, 4));
    happens(&mut sequencer, trade(1));
    let halted = Status { state: TradingState::Halted.into(), reason: "why".to_owned() };
    happens(&mut sequencer, MarketBody::Status(halted.clone()));
    sequencer.tick(1 << 60);
    let state_of = |channel| {
        let answer = ask(&sequencer, channel, "A/B");
        assert_eq!((answer.epoch, answer.error.as_str(), answer.state()), (EPOCH, "", FeedState::Live));
        (records_of(&answer), answer.sequence)
    };
    let (books, sequence) = state_of(Channel::Book);
    let Body::Book(book) = &books[0].body else { panic!("{books:?}") };
    assert_eq!((sequence, books[0].sequence, book.snapshot), (2, 2, true));
    assert_eq!(book.bids, [level(10, 4), level(9, 1)]);
    let (quotes, sequence) = state_of(Channel::Quote);
    let quote = Quote { bid: Some(level(10, 4)), ask: Some(level(11, 2)) };
    assert_eq!((sequence, &quotes[0].body), (2, &Body::Quote(quote)));
    assert_eq!(state_of(Channel::Trade), (vec![], 1));
    assert_eq!(state_of(Channel::Status).0[0].body, Body::Status(halted));
    assert_eq!(state_of(Channel::Instrument).1, 1);
    assert_eq!(state_of(Channel::Stat).0.len(), 1);
    let intervals: Vec<_> = state_of(Channel::Bar).0.into_iter().map(|record| record.body).collect();
    assert!(
        matches!(&intervals[..], [Body::Bar(a), Body::Bar(b)] if a.interval == 1_000_000_000 && b.interval == 60_000_000_000)
    );
}

#[track_caller]
fn check_error(answer: &pb::Answer, expected: &str) {
    assert!(answer.error.contains(expected), "{}", answer.error);
    assert_eq!(answer.epoch, EPOCH);
}

#[test]
fn questions_without_an_answer_say_why() {
    let (sequencer, _shelf) = one_instrument();
    check_error(&ask(&sequencer, Channel::Quote, "NOPE"), "unknown symbol `NOPE` at venue `sim`");
    check_error(&ask(&sequencer, Channel::Unknown, "A/B"), "unknown channel");
    let raw = |bytes: &[u8]| {
        pb::Answer::decode(answer::answer(&sequencer, bytes, FeedState::Live).as_slice()).unwrap()
    };
    check_error(&raw(b"\xff\xff"), "not a question");
    check_error(&raw(b""), "no question in it");
    let catalogue = pb::Ask { question: Some(pb::ask::Question::Catalogue(pb::Catalogue {})) };
    let definitions = records_of(&raw(&catalogue.encode_to_vec()));
    assert!(
        matches!(&definitions[..], [Record { body: Body::Instrument(i), .. }] if i.symbol == "A/B" && i.venue == "sim")
    );
}

#[test]
fn definitions_are_published_when_they_change_and_refused_when_they_are_wrong() {
    let (mut sequencer, shelf) = one_instrument();
    sequencer.define(0, definition("A/B")).unwrap();
    sequencer.define(0, Instrument { tick_size: 5, ..definition("A/B") }).unwrap();
    sequencer.end_turn();
    let [record] = shelf.take_records().try_into().unwrap();
    assert_eq!((record.sequence, record.instrument), (2, 101));
    let mut refused = |index, definition| sequencer.define(index, definition).unwrap_err();
    assert!(refused(1, definition("")).contains("empty"));
    assert!(refused(1, definition(&"x".repeat(129))).contains("longer than 128"));
    assert!(refused(16_383, definition("X")).contains("more than 16383 instruments"));
    let too_fine = Instrument { size_decimals: 19, ..definition("X") };
    assert!(refused(1, too_fine).contains("more than 18 decimals"));
}

#[test]
fn beats_carry_what_moved_in_bounded_messages() {
    let (mut sequencer, _shelf) = sequencer(Encoding::Proto);
    let count = BEAT_POSITIONS_MAX as u32 + 5;
    for index in 0..count {
        sequencer.define(index, definition(&format!("S{index}"))).unwrap();
    }
    sequencer.end_turn();
    let next = |sequencer: &mut Sequencer<Shelf>| -> Vec<pb::Beat> {
        let beats = beats(sequencer, FeedState::Stale, "why", 7);
        beats.iter().map(|beat| pb::Beat::decode(beat.as_slice()).unwrap()).collect()
    };
    for _ in 0..BEATS_PER_MOVE {
        let counts: Vec<_> = next(&mut sequencer).iter().map(|beat| beat.positions.len()).collect();
        assert_eq!(counts, [BEAT_POSITIONS_MAX, 5]);
    }
    happens(&mut sequencer, trade(1));
    happens(&mut sequencer, trade(2));
    for _ in 0..BEATS_PER_MOVE {
        let [beat] = next(&mut sequencer).try_into().unwrap();
        assert_eq!(
            (beat.venue.as_str(), beat.state(), beat.reason.as_str()),
            ("sim", FeedState::Stale, "why")
        );
        assert_eq!((beat.epoch, beat.time, beat.positions.len()), (EPOCH, 7, 1));
        assert_eq!((beat.positions[0].instrument, beat.positions[0].sequence), (101, 2));
    }
    let [quiet] = next(&mut sequencer).try_into().unwrap();
    assert!(quiet.positions.is_empty());
}

#[test]
fn what_the_bus_refused_is_announced_before_anything_else() {
    let (mut sequencer, shelf) = one_instrument();
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, trade(1));
    sequencer.end_turn();
    shelf.take();
    shelf.set_full(true);
    for body in [trade(2), trade(3), bid(8, 3)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    sequencer.tick(1);
    shelf.set_full(false);
    happens(&mut sequencer, trade(4));
    sequencer.end_turn();
    let [(gap_header, gap), (next, _)] = shelf.take().try_into().unwrap();
    assert_eq!((gap_header.first_sequence, gap_header.last_sequence), (2, 3));
    assert!(matches!(&gap[0].body, Body::Gap(gap) if gap.cause() == GapCause::Ingest));
    assert_eq!((next.first_sequence, next.channel), (4, Channel::Trade));
    sequencer.tick(2);
    let records = shelf.take_records();
    assert!(
        records.iter().any(|r| matches!(&r.body, Body::Book(book) if book.snapshot && book.bids.len() == 2))
    );
    assert!(sequencer.publisher.tally.missed_numbers >= 3);
}

/// Follows the bus as a gateway would.
#[derive(Default)]
struct Mirror {
    last: HashMap<(u32, Channel), u64>,
    books: HashMap<u32, BookState>,
    values: HashMap<(u32, Channel, u64), Record>,
}

impl Mirror {
    fn take(&mut self, header: BusHeader, records: Vec<Record>) {
        let last = self.last.entry((header.instrument, header.channel)).or_default();
        if header.channel.is_lossless() {
            assert_eq!(header.first_sequence, *last + 1, "{:?} is contiguous", header.channel);
        } else {
            assert!(header.first_sequence > *last);
        }
        *last = header.last_sequence;
        for record in records {
            match &record.body {
                Body::Book(book) => {
                    let _ = self.books.entry(record.instrument).or_default().apply(record.sequence, book);
                }
                Body::Bar(bar) => {
                    self.values.insert((record.instrument, Channel::Bar, bar.interval), record);
                }
                Body::Gap(_) => {}
                _ => {
                    self.values.insert((record.instrument, header.channel, 0), record);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever the bus refuses, and when: who follows it ends with the ingester's state, and every number of a
    /// lossless channel is accounted for.
    #[test]
    fn followers_converge_whatever_the_bus_refuses(
        seed in any::<u64>(),
        turns in prop::collection::vec((any::<bool>(), 1usize..20), 1..60),
    ) {
        let (mut sequencer, shelf) = sequencer(Encoding::MsgPack);
        let config = SimConfig { seed, instruments: 3, halts_per_hour: 3_600.0, ..SimConfig::default() };
        let mut sim = Sim::new(config).unwrap();
        let mut mirror = Mirror::default();
        let mut events = Vec::new();
        let mut now = EPOCH;
        for (is_full, steps) in turns.into_iter().chain([(false, 1)]) {
            shelf.set_full(is_full);
            (0..steps).for_each(|_| { sim.next_event(&mut events); });
            for event in events.drain(..) {
                match event {
                    FeedEvent::Define { index, definition } => sequencer.define(index, definition).unwrap(),
                    FeedEvent::Market(event) => sequencer.event(event),
                    other => panic!("{other:?}"),
                }
            }
            sequencer.end_turn();
            now += 1_000_000_000;
            sequencer.tick(now);
            shelf.take().into_iter().for_each(|(header, records)| mirror.take(header, records));
        }
        for state in sequencer.instruments.iter().flatten() {
            prop_assert_eq!(&mirror.books[&state.id], &state.book);
            for channel in Channel::ALL {
                let published = state.numbering(channel).sequence;
                let seen = mirror.last.get(&(state.id, channel)).copied().unwrap_or(0);
                prop_assert_eq!(seen, published, "{:?}", channel);
                if channel == Channel::Book { continue; }
                for record in state.last_records(channel) {
                    let key = if let Body::Bar(bar) = &record.body { bar.interval } else { 0 };
                    prop_assert_eq!(&mirror.values[&(state.id, channel, key)], &record);
                }
            }
        }
    }
}

#[test]
fn an_empty_change_still_is_a_record() {
    let (mut sequencer, shelf) = one_instrument();
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, MarketBody::BookDelta(Levels::default()));
    sequencer.end_turn();
    let last = shelf.take_records().pop().unwrap();
    let Body::Book(Book { snapshot: false, checksum: Some(_), .. }) = last.body else { panic!("{last:?}") };
}
