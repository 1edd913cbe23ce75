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

use super::heartbeat::{RunStatus, heartbeats};
use super::publisher::{BusSink, HEARTBEATS_PER_MOVE, Publisher, RUN_BYTES_MAX, RUN_RECORDS_MAX};
use super::respond::{Responder, TOPICS_PER_REQUEST_MAX};
use super::sequencer::Sequencer;
use super::{BOOK_LEVELS_MAX, HEARTBEAT_POSITIONS_MAX};
use crate::adapter::{FeedEvent, Levels, MarketBody, MarketEvent};
use crate::sim::{Sim, SimConfig};
use crate::verification::{Checked, Loss, Proof, Snapshots, Verification};

const EPOCH: u64 = 1_000;
const NATS_PAYLOAD_MAX: usize = 1 << 20;

/// A bus that keeps what it takes, or refuses.
#[derive(Clone, Default)]
struct FakeBus(Arc<Mutex<FakeBusState>>);

#[derive(Default)]
struct FakeBusState {
    is_full: bool,
    /// The largest payload; 0 stands for the one that NATS has.
    payload_max: usize,
    messages: Vec<(String, Bytes)>,
}

impl FakeBusState {
    fn payload_max(&self) -> usize {
        if self.payload_max == 0 { NATS_PAYLOAD_MAX } else { self.payload_max }
    }
}

impl FakeBus {
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

impl BusSink for FakeBus {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        let mut bus = self.0.lock().unwrap();
        if bus.is_full {
            return Err(PublishError::Full);
        }
        assert!(payload.len() <= bus.payload_max(), "{} bytes for {subject}", payload.len());
        bus.messages.push((subject.as_str().to_owned(), payload));
        Ok(())
    }

    fn payload_max(&self) -> usize {
        self.0.lock().unwrap().payload_max()
    }
}

/// Reads a bus message and checks what must hold for every one.
fn read(subject: &str, bytes: &[u8]) -> (BusHeader, Vec<Record>) {
    let (header, rest) = BusHeader::parse(bytes).unwrap();
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

fn sequencer(encoding: Encoding) -> (Sequencer<FakeBus>, FakeBus) {
    let bus = FakeBus::default();
    let publisher = Publisher::new(bus.clone(), EPOCH, encoding);
    (Sequencer::new("sim".to_owned(), publisher), bus)
}

/// Makes one instrument, `A/B`, with its definition already published.
fn one_instrument() -> (Sequencer<FakeBus>, FakeBus) {
    let (mut sequencer, bus) = sequencer(Encoding::Proto);
    sequencer.define(0, definition("A/B")).unwrap();
    sequencer.end_turn();
    let [record] = bus.take_records().try_into().unwrap();
    assert_eq!((record.instrument, record.sequence), (id(&sequencer, 0), 1));
    (sequencer, bus)
}

fn id(sequencer: &Sequencer<FakeBus>, index: usize) -> u32 {
    sequencer.instruments[index].as_ref().unwrap().id
}

fn definition(symbol: &str) -> Instrument {
    Instrument { symbol: symbol.to_owned(), price_decimals: 2, size_decimals: 3, ..Instrument::default() }
}

fn happens(sequencer: &mut Sequencer<FakeBus>, body: MarketBody) {
    sequencer.event(MarketEvent { index: 0, event_time: 5_000, receive_time: 5_010, body }).unwrap();
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

/// Makes a request as a gateway does: what does not fit into one message is fetched in pieces.
fn request(
    responder: &mut Responder,
    sequencer: &Sequencer<FakeBus>,
    request: pb::feed_request::Request,
) -> pb::FeedResponse {
    let mut raw = |request: pb::feed_request::Request| {
        let ask = pb::FeedRequest { request: Some(request) }.encode_to_vec();
        let response = responder.respond(sequencer, &ask, FeedState::Live, 0);
        assert!(response.len() <= sequencer.publisher.bus.payload_max());
        pb::FeedResponse::decode(response.as_slice()).unwrap()
    };
    let response = raw(request);
    let Some(parts) = response.parts else { return response };
    let piece = |index| raw(pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index })).piece;
    let whole: Vec<u8> = (0..parts.count).flat_map(piece).collect();
    assert_eq!(whole.len() as u64, parts.bytes);
    pb::FeedResponse::decode(whole.as_slice()).unwrap()
}

fn ask_all(sequencer: &Sequencer<FakeBus>, topics: &[(Channel, &str)]) -> pb::FeedResponse {
    let topic = |(channel, symbol): &(Channel, &str)| pb::Topic {
        channel: (*channel).into(),
        symbol: (*symbol).to_owned(),
    };
    let topics = topics.iter().map(topic).collect();
    request(
        &mut Responder::default(),
        sequencer,
        pb::feed_request::Request::Snapshots(pb::Snapshots { topics }),
    )
}

fn ask(sequencer: &Sequencer<FakeBus>, channel: Channel, symbol: &str) -> pb::Snapshot {
    let mut response = ask_all(sequencer, &[(channel, symbol)]);
    assert_eq!((response.epoch, response.error.as_str(), response.state()), (EPOCH, "", FeedState::Live));
    response.snapshots.pop().unwrap()
}

fn records_of(frame: &[u8]) -> Vec<Record> {
    let records = Batch::new(Encoding::Proto, frame).map(|message| match message.unwrap() {
        Message::Record(record) => record,
        other => panic!("not a record: {other:?}"),
    });
    records.collect()
}

#[test]
fn consecutive_records_of_a_channel_share_a_message_and_keep_their_order() {
    let (mut sequencer, bus) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3), bid(7, 1)] {
        happens(&mut sequencer, body);
    }
    assert_eq!(bus.take_records().last().unwrap().channel(), Channel::Trade, "the last run is still open");
    happens(&mut sequencer, bid(6, 1));
    sequencer.end_turn();
    let (header, records) = bus.take().pop().unwrap();
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Book, 3, 4));
    assert_eq!((header.epoch, records.len()), (EPOCH, 2));
}

#[test]
fn order_across_channels_holds() {
    let (mut sequencer, bus) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let channels: Vec<_> = bus.take().iter().map(|(header, _)| header.channel).collect();
    // The quote comes from the book, as long as the venue gives none.
    assert_eq!(channels, [Channel::Trade, Channel::Book, Channel::Quote, Channel::Book, Channel::Trade]);
}

#[test]
fn runs_are_bounded() {
    let (mut sequencer, bus) = one_instrument();
    for id in 0..200 {
        happens(&mut sequencer, trade(id));
    }
    sequencer.end_turn();
    let counts: Vec<_> = bus.take().iter().map(|(_, records)| records.len()).collect();
    assert_eq!(counts, [64, 64, 64, 8]);
    let levels = |side: i64| (1..=1_000).map(|n| level(side * n * 1_000_000, 1 << 40)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: levels(-1), asks: levels(1) }));
    for _ in 0..10 {
        happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: levels(-1), asks: vec![] }));
    }
    sequencer.end_turn();
    for (header, _) in bus.take() {
        assert!(header.last_sequence - header.first_sequence < (RUN_BYTES_MAX / 1_000) as u64);
    }
}

#[test]
fn the_largest_book_fits_into_a_message_of_nats() {
    for encoding in [Encoding::Proto, Encoding::MsgPack] {
        let (mut sequencer, bus) = sequencer(encoding);
        sequencer.define(0, definition("A/B")).unwrap();
        // The steps are so wide that every price takes the most bytes.
        let step = i64::MAX / (BOOK_LEVELS_MAX as i64 * 2);
        let side = |sign: i64| {
            let price = |n: usize| sign * (i64::MAX - step * (BOOK_LEVELS_MAX * 2 - n) as i64);
            (0..BOOK_LEVELS_MAX + 500).map(|n| level(price(n), u64::MAX)).collect()
        };
        happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
        sequencer.end_turn();
        let largest = bus.0.lock().unwrap().messages.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
        assert!(largest > NATS_PAYLOAD_MAX / 2, "{largest} bytes: not the worst case");
        let records = bus.take_records();
        let book = records.iter().find_map(|record| match &record.body {
            Body::Book(book) => Some(book),
            _ => None,
        });
        assert_eq!(book.unwrap().asks.len(), BOOK_LEVELS_MAX);
        let records = records_of(&ask(&sequencer, Channel::Book, "A/B").frame);
        assert!(matches!(&records[0].body, Body::Book(book) if book.asks.len() == BOOK_LEVELS_MAX));
    }
}

#[test]
fn a_book_that_grows_too_deep_loses_its_far_levels_with_everyone() {
    let (mut sequencer, bus) = one_instrument();
    let bids = (0..BOOK_LEVELS_MAX as i64).map(|n| level(1_000_000 - n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids, asks: vec![] }));
    happens(&mut sequencer, bid(1_000_001, 5));
    sequencer.end_turn();
    let mut book = BookState::new();
    for record in bus.take_records() {
        if let Body::Book(body) = &record.body {
            book.apply(record.sequence, body).unwrap();
        }
    }
    assert_eq!(book.bids().len(), BOOK_LEVELS_MAX);
    assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
}

#[test]
fn a_book_that_was_cut_ends_where_it_was_cut() {
    let (mut sequencer, bus) = one_instrument();
    let bids = (0..BOOK_LEVELS_MAX as i64 + 10).map(|n| level(1_000_000 - n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids, asks: vec![level(2_000_000, 1)] }));
    assert_eq!(sequencer.publisher.tally.cut_books, 1);
    let worst = 1_000_001 - BOOK_LEVELS_MAX as i64;
    sequencer.end_turn();
    let before = sequencer.publisher.tally.channel(Channel::Book);
    // The ten that were dropped do not come back one by one, when there is room again: others would be missing.
    happens(&mut sequencer, bid(worst - 5, 7));
    assert_eq!(sequencer.publisher.tally.channel(Channel::Book), before, "nothing is told of it");
    for n in 0..20 {
        happens(&mut sequencer, bid(1_000_000 - n, 0));
    }
    happens(&mut sequencer, bid(worst - 5, 8));
    happens(&mut sequencer, bid(worst, 9));
    let worst_bid =
        |sequencer: &Sequencer<FakeBus>| sequencer.instruments[0].as_ref().unwrap().book.bids().next_back();
    assert_eq!(worst_bid(&sequencer), Some(level(worst, 9)));
    // A side of which nothing is left is not empty: it is not known.
    let removed = (0..BOOK_LEVELS_MAX as i64).map(|n| level(1_000_000 - n, 0)).collect();
    sequencer.end_turn();
    bus.take();
    happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: removed, asks: vec![] }));
    sequencer.end_turn();
    assert!(!sequencer.instruments[0].as_ref().unwrap().book.is_synced());
    let is_gap = |record: &Record| matches!(record.body, Body::Gap(_)) && record.sequence > 0;
    assert!(bus.take_records().iter().any(is_gap));
    // A snapshot is taken as a whole again.
    let all = Levels { bids: vec![level(worst - 5, 1)], asks: vec![level(2_000_000, 1)] };
    happens(&mut sequencer, MarketBody::BookSnapshot(all));
    assert_eq!(worst_bid(&sequencer), Some(level(worst - 5, 1)));
    assert_eq!(sequencer.publisher.tally.cut_books, 1);
}

#[test]
fn upstream_gaps_use_up_numbers() {
    let (mut sequencer, bus) = one_instrument();
    let gap = |channel, count| MarketBody::UpstreamGap { channel, count };
    happens(&mut sequencer, snapshot());
    for body in [trade(1), gap(Channel::Trade, Some(7)), trade(9), gap(Channel::Book, None), bid(8, 1)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let messages = bus.take();
    let (header, records) = &messages[3];
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Trade, 2, 8));
    let Body::Gap(gap) = &records[0].body else { panic!("{records:?}") };
    assert_eq!((gap.cause(), gap.first_sequence, gap.last_sequence), (GapCause::Upstream, 2, 8));
    assert_eq!(messages[4].1[0].sequence, 9);
    let (header, _) = &messages[5];
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Book, 2, 2));
    assert_eq!(messages[6].0.channel, Channel::Quote, "it was made from the book");
    assert_eq!(messages.len(), 7, "a change of a broken book is not published");
    let broken = ask(&sequencer, Channel::Book, "A/B");
    assert!(matches!(records_of(&broken.frame)[0].body, Body::Gap(_)));
    assert_eq!(broken.sequence, 2);
    happens(&mut sequencer, snapshot());
    sequencer.end_turn();
    let records = bus.take_records();
    assert!(matches!(&records[0].body, Body::Book(book) if book.snapshot && records[0].sequence == 3));
    assert_eq!(channels(&records[1..]), [(Channel::Quote, 3, false)]);
}

#[test]
fn a_gap_that_no_market_can_have_takes_one_number() {
    let (mut sequencer, bus) = one_instrument();
    for (channel, count) in [(Channel::Trade, u64::MAX), (Channel::Trade, 0), (Channel::Unknown, 3)] {
        happens(&mut sequencer, MarketBody::UpstreamGap { channel, count: Some(count) });
    }
    sequencer.end_turn();
    let ranges: Vec<_> =
        bus.take().iter().map(|(header, _)| (header.first_sequence, header.last_sequence)).collect();
    assert_eq!(ranges, [(1, 1), (2, 2)]);
}

#[test]
fn responses_say_where_each_channel_stands() {
    let (mut sequencer, _bus) = one_instrument();
    assert!(ask(&sequencer, Channel::Quote, "A/B").frame.is_empty());
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, bid(10, 4));
    happens(&mut sequencer, trade(1));
    let halted = Status { state: TradingState::Halted.into(), reason: "why".to_owned() };
    happens(&mut sequencer, MarketBody::Status(halted.clone()));
    sequencer.tick(1 << 60);
    let state_of = |channel| {
        let snapshot = ask(&sequencer, channel, "A/B");
        assert_eq!(snapshot.error, "");
        (records_of(&snapshot.frame), snapshot.sequence)
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
fn check_error(response: &pb::FeedResponse, expected: &str) {
    assert!(response.error.contains(expected), "{}", response.error);
    assert_eq!(response.epoch, EPOCH);
}

#[test]
fn requests_without_a_response_say_why() {
    let (sequencer, _bus) = one_instrument();
    let response =
        ask_all(&sequencer, &[(Channel::Quote, "NOPE"), (Channel::Unknown, "A/B"), (Channel::Trade, "A/B")]);
    let errors: Vec<_> = response.snapshots.iter().map(|s| (s.error.as_str(), s.is_unknown)).collect();
    let expected = [("unknown symbol `NOPE` at venue `sim`", true), ("unknown channel", false), ("", false)];
    assert_eq!(errors, expected, "one bad topic never spoils the others");
    let mut responder = Responder::default();
    let mut raw = |bytes: &[u8]| {
        pb::FeedResponse::decode(responder.respond(&sequencer, bytes, FeedState::Live, 0).as_slice()).unwrap()
    };
    check_error(&raw(b"\xff\xff"), "not a request");
    check_error(&raw(b""), "there is no request in it");
    let topics = vec![pb::Topic::default(); TOPICS_PER_REQUEST_MAX + 1];
    let many = pb::feed_request::Request::Snapshots(pb::Snapshots { topics });
    check_error(&raw(&pb::FeedRequest { request: Some(many) }.encode_to_vec()), "name 64 at most");
    let part = pb::feed_request::Request::Part(pb::Part { ticket: 9, index: 0 });
    check_error(&raw(&pb::FeedRequest { request: Some(part) }.encode_to_vec()), "not kept any more");
    let catalogue = pb::FeedRequest { request: Some(pb::feed_request::Request::Catalogue(pb::Catalogue {})) };
    let definitions = records_of(&raw(&catalogue.encode_to_vec()).frame);
    assert!(
        matches!(&definitions[..], [Record { body: Body::Instrument(i), .. }] if i.symbol == "A/B" && i.venue == "sim")
    );
}

#[test]
fn definitions_are_published_when_they_change_and_refused_when_they_are_wrong() {
    let (mut sequencer, bus) = one_instrument();
    sequencer.define(0, definition("A/B")).unwrap();
    sequencer.define(0, Instrument { tick_size: 5, ..definition("A/B") }).unwrap();
    sequencer.end_turn();
    let [record] = bus.take_records().try_into().unwrap();
    assert_eq!((record.sequence, record.instrument), (2, id(&sequencer, 0)));
    let mut refused = |index, definition| sequencer.define(index, definition).unwrap_err();
    assert!(refused(1, definition("")).contains("empty"));
    assert!(refused(1, definition(&"x".repeat(129))).contains("longer than 128"));
    assert!(refused(65_536, definition("X")).contains("more than 65536 instruments at the same time"));
    assert!(refused(1, definition("A/B")).contains("another instrument has this name"));
    let long = Instrument { base: "x".repeat(65), ..definition("X") };
    assert!(refused(1, long).contains("longer than 64 bytes"));
    let too_fine = Instrument { size_decimals: 19, ..definition("X") };
    assert!(refused(1, too_fine).contains("more than 18 decimals"));
}

#[test]
fn heartbeats_carry_what_moved_in_bounded_messages() {
    let (mut sequencer, _bus) = sequencer(Encoding::Proto);
    let count = HEARTBEAT_POSITIONS_MAX as u32 + 5;
    for index in 0..count {
        sequencer.define(index, definition(&format!("S{index}"))).unwrap();
    }
    sequencer.end_turn();
    let verification = Verification {
        proof: Proof::Nothing,
        checked: Checked::Never,
        loss: Loss::Unknown,
        snapshots: Snapshots::InBand,
    };
    let next = |sequencer: &mut Sequencer<FakeBus>| -> Vec<pb::FeedHeartbeat> {
        let status = RunStatus {
            state: FeedState::Stale,
            reason: "why".to_owned(),
            time: 7,
            number: 3,
            uptime_ns: 11,
            last: false,
            verification: Some(verification),
        };
        let heartbeats = heartbeats(sequencer, &status);
        heartbeats.iter().map(|heartbeat| pb::FeedHeartbeat::decode(heartbeat.as_slice()).unwrap()).collect()
    };
    for _ in 0..HEARTBEATS_PER_MOVE {
        let counts: Vec<_> = next(&mut sequencer).iter().map(|heartbeat| heartbeat.positions.len()).collect();
        assert_eq!(counts, [HEARTBEAT_POSITIONS_MAX, 5]);
    }
    happens(&mut sequencer, trade(1));
    happens(&mut sequencer, trade(2));
    for _ in 0..HEARTBEATS_PER_MOVE {
        let [heartbeat] = next(&mut sequencer).try_into().unwrap();
        assert_eq!(
            (heartbeat.venue.as_str(), heartbeat.state(), heartbeat.reason.as_str()),
            ("sim", FeedState::Stale, "why")
        );
        assert_eq!((heartbeat.epoch, heartbeat.time, heartbeat.positions.len()), (EPOCH, 7, 1));
        assert_eq!(heartbeat.book_proof(), pb::BookProof::Unverifiable);
        assert_eq!(heartbeat.verification, "unverifiable");
        assert_eq!((heartbeat.number, heartbeat.uptime_ns, heartbeat.catalogue), (3, 11, u64::from(count)));
        assert_eq!(
            (heartbeat.positions[0].instrument, heartbeat.positions[0].sequence),
            (id(&sequencer, 0), 2)
        );
    }
    let [quiet] = next(&mut sequencer).try_into().unwrap();
    assert!(quiet.positions.is_empty());
}

#[test]
fn what_the_bus_refused_is_announced_before_anything_else() {
    let (mut sequencer, bus) = one_instrument();
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, trade(1));
    sequencer.end_turn();
    bus.take();
    bus.set_full(true);
    for body in [trade(2), trade(3), bid(8, 3)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    sequencer.tick(1);
    bus.set_full(false);
    happens(&mut sequencer, trade(4));
    sequencer.end_turn();
    let [(gap_header, gap), (next, _)] = bus.take().try_into().unwrap();
    assert_eq!((gap_header.first_sequence, gap_header.last_sequence), (2, 3));
    assert!(matches!(&gap[0].body, Body::Gap(gap) if gap.cause() == GapCause::Ingest));
    assert_eq!((next.first_sequence, next.channel), (4, Channel::Trade));
    sequencer.tick(2);
    let records = bus.take_records();
    assert!(
        records.iter().any(|r| matches!(&r.body, Body::Book(book) if book.snapshot && book.bids.len() == 2))
    );
    assert!(sequencer.publisher.tally.missed_numbers >= 3);
}

/// A follower of the bus as a gateway would be.
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
                Body::Bar(_) => {
                    let key = record.conflation_key();
                    self.values.insert((record.instrument, Channel::Bar, key), record);
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
    /// Checks that whatever the bus refuses, and when, who follows it ends with the ingester's state, and every
    /// sequence number of a lossless channel is accounted for.
    #[test]
    fn followers_converge_whatever_the_bus_refuses(
        seed in any::<u64>(),
        turns in prop::collection::vec((any::<bool>(), 1usize..20), 1..60),
    ) {
        let (mut sequencer, bus) = sequencer(Encoding::MsgPack);
        let config = SimConfig { seed, instruments: 3, halts_per_hour: 3_600.0, ..SimConfig::default() };
        let mut sim = Sim::new(config).unwrap();
        let mut mirror = Mirror::default();
        let mut events = Vec::new();
        let mut now = EPOCH;
        for (is_full, steps) in turns.into_iter().chain([(false, 1)]) {
            bus.set_full(is_full);
            (0..steps).for_each(|_| { sim.next_event(&mut events); });
            for event in events.drain(..) {
                match event {
                    FeedEvent::Define { index, definition } => sequencer.define(index, definition).unwrap(),
                    FeedEvent::Market(event) => sequencer.event(event).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
            sequencer.end_turn();
            now += 1_000_000_000;
            sequencer.tick(now);
            bus.take().into_iter().for_each(|(header, records)| mirror.take(header, records));
        }
        for state in sequencer.instruments.iter().flatten() {
            prop_assert_eq!(&mirror.books[&state.id], &state.book);
            for channel in Channel::ALL {
                let published = state.sequence(channel).last;
                let seen = mirror.last.get(&(state.id, channel)).copied().unwrap_or(0);
                prop_assert_eq!(seen, published, "{:?}", channel);
                if channel == Channel::Book { continue; }
                for record in state.last_records(channel) {
                    let key = record.conflation_key();
                    prop_assert_eq!(&mirror.values[&(state.id, channel, key)], &record);
                }
            }
        }
    }
}

#[test]
fn an_empty_change_still_is_a_record() {
    let (mut sequencer, bus) = one_instrument();
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, MarketBody::BookDelta(Levels::default()));
    sequencer.end_turn();
    let last = bus.take_records().pop().unwrap();
    let Body::Book(Book { snapshot: false, checksum: Some(_), .. }) = last.body else { panic!("{last:?}") };
}

fn channels(records: &[Record]) -> Vec<(Channel, u64, bool)> {
    records.iter().map(|r| (r.channel(), r.sequence, matches!(r.body, Body::Gap(_)))).collect()
}

#[test]
fn a_quote_that_comes_from_the_book_is_lost_with_it() {
    let (mut sequencer, bus) = one_instrument();
    let broken = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, broken.clone());
    sequencer.end_turn();
    let expected = [
        (Channel::Book, 1, false),
        (Channel::Quote, 1, false),
        (Channel::Book, 2, true),
        (Channel::Quote, 2, true),
    ];
    assert_eq!(channels(&bus.take_records()), expected);
    let state = ask(&sequencer, Channel::Quote, "A/B");
    assert_eq!((state.sequence, state.frame.len()), (2, 0), "nobody is told a quote of a broken book");
    happens(&mut sequencer, snapshot());
    sequencer.end_turn();
    assert_eq!(channels(&bus.take_records()), [(Channel::Book, 3, false), (Channel::Quote, 3, false)]);
    // The venue's own quotes are no worse for it.
    happens(&mut sequencer, MarketBody::Quote(Quote { bid: Some(level(9, 1)), ask: None }));
    happens(&mut sequencer, broken);
    sequencer.end_turn();
    assert_eq!(channels(&bus.take_records()), [(Channel::Quote, 4, false), (Channel::Book, 4, true)]);
    assert!(!ask(&sequencer, Channel::Quote, "A/B").frame.is_empty());
}

#[test]
fn what_was_lost_of_a_conflated_channel_leaves_no_state() {
    let (mut sequencer, _bus) = one_instrument();
    happens(&mut sequencer, MarketBody::Quote(Quote { bid: Some(level(9, 1)), ask: None }));
    happens(&mut sequencer, MarketBody::UpstreamGap { channel: Channel::Quote, count: Some(1) });
    let state = ask(&sequencer, Channel::Quote, "A/B");
    assert_eq!((state.sequence, state.frame.len()), (2, 0));
}

#[test]
fn missing_trades_make_bars_and_statistics_incomplete() {
    let (mut sequencer, bus) = one_instrument();
    happens(&mut sequencer, trade(1));
    happens(&mut sequencer, MarketBody::UpstreamGap { channel: Channel::Trade, count: Some(3) });
    sequencer.tick(1 << 60);
    let records = bus.take_records();
    let is_incomplete = |record: &Record| match &record.body {
        Body::Bar(bar) => Some(bar.incomplete),
        Body::Stat(stat) => Some(stat.incomplete),
        _ => None,
    };
    assert_eq!(records.iter().filter_map(is_incomplete).collect::<Vec<_>>(), [true, true, true]);
}

#[test]
fn one_wrong_time_is_replaced_and_harms_no_bar() {
    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;
    let (mut sequencer, bus) = sequencer(Encoding::Proto);
    for (index, symbol) in ["A", "B"].into_iter().enumerate() {
        sequencer.define(index as u32, definition(symbol)).unwrap();
    }
    let mut told = Vec::new();
    for step in 0..100_u64 {
        let receive_time = START + step * SECOND / 10;
        let wild = match step {
            33 => receive_time + 3_600 * SECOND,
            34 => receive_time + 60 * SECOND,
            35 => u64::MAX,
            36 => 5,
            _ => receive_time - 20_000_000,
        };
        for (index, event_time) in [(0, wild), (1, receive_time - 20_000_000)] {
            let event = MarketEvent { index, event_time, receive_time, body: trade(step) };
            told.extend(sequencer.event(event).err().map(|error| error.to_string()));
        }
        sequencer.tick(receive_time);
    }
    sequencer.source_ended();
    sequencer.tick(START + 20 * SECOND);
    assert_eq!((told.len(), sequencer.publisher.tally.replaced_times), (4, 4));
    assert!(told[0].contains("is 3600 s ahead of its receipt") && told[3].contains("before its receipt"));
    let records = bus.take_records();
    let mut trades = records.iter().filter(|record| record.channel() == Channel::Trade);
    assert!(trades.all(|trade| trade.event_time.abs_diff(trade.receive_time) < SECOND));
    for index in 0..2 {
        let of = |record: &&Record| record.instrument == id(&sequencer, index);
        let closed = records.iter().filter(of).filter_map(|record| match &record.body {
            Body::Bar(bar) if bar.interval == SECOND && bar.closed => {
                Some((bar.open_time, bar.trades, bar.correction))
            }
            _ => None,
        });
        let closed: Vec<_> = closed.collect();
        // The first trade was 20 ms before the second began.
        let expected: Vec<_> = (0..11)
            .map(|second| {
                let trades = match second {
                    0 => 1,
                    10 => 9,
                    _ => 10,
                };
                (START - SECOND + second * SECOND, trades, false)
            })
            .collect();
        if index == 1 {
            assert_eq!(closed, expected);
        } else {
            // The replaced times moved a trade by 20 ms at most.
            assert_eq!(
                closed.iter().map(|(open, ..)| open).collect::<Vec<_>>(),
                expected.iter().map(|(open, ..)| open).collect::<Vec<_>>()
            );
            assert_eq!(closed.iter().map(|(_, trades, _)| trades).sum::<u32>(), 100);
        }
    }
}

#[test]
fn an_instrument_ends_in_words_and_its_number_is_not_used_again() {
    let (mut sequencer, bus) = one_instrument();
    let first = id(&sequencer, 0);
    happens(&mut sequencer, trade(1));
    sequencer.end(0);
    let records = bus.take_records();
    let Body::Instrument(last) = &records.last().unwrap().body else { panic!("{records:?}") };
    assert!(last.ended && last.symbol == "A/B");
    // Behind it a gateway knows whether something was lost: trades, bars, statistics and this definition have ended so far.
    let of = |channel: Channel| last.last_sequences[channel as usize - 1];
    assert_eq!((of(Channel::Trade), of(Channel::Quote), of(Channel::Instrument)), (1, 0, 2));
    for channel in Channel::ALL {
        let newest =
            records.iter().filter(|record| record.channel() == channel).map(|record| record.sequence).max();
        assert!(newest.is_none_or(|newest| newest == of(channel)), "{channel:?}: {records:?}");
    }
    assert_eq!(sequencer.ends.back(), records.last(), "the catalogue tells the end, too");
    assert!(ask(&sequencer, Channel::Trade, "A/B").is_unknown);
    happens(&mut sequencer, trade(2));
    sequencer.end_turn();
    assert!(bus.take_records().is_empty(), "nothing follows");
    // The same name again, and another scale of a name that is there, get other numbers.
    sequencer.define(0, definition("A/B")).unwrap();
    let second = id(&sequencer, 0);
    sequencer.define(0, Instrument { price_decimals: 4, ..definition("A/B") }).unwrap();
    let third = id(&sequencer, 0);
    sequencer.end_turn();
    assert!(first != second && second != third && third != first);
    let states: Vec<_> = bus
        .take_records()
        .iter()
        .map(|record| match &record.body {
            Body::Instrument(i) => (record.instrument, record.sequence, i.ended),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(states, [(second, 3, false), (second, 4, true), (third, 5, false)], "sequences go on");
    let state = sequencer.instruments[0].as_ref().unwrap();
    assert_eq!(state.sequence(Channel::Trade).last, 1, "also where nothing was published anew");
    assert_eq!(sequencer.catalogue, 5, "each change counts");
}

#[test]
fn nothing_that_can_outgrow_a_message_is_one_message() {
    for payload_max in [BusHeader::PAYLOAD_LEAST, 10_000, NATS_PAYLOAD_MAX] {
        for encoding in [Encoding::Proto, Encoding::MsgPack] {
            let (mut sequencer, bus) = sequencer(encoding);
            bus.0.lock().unwrap().payload_max = payload_max;
            for index in 0..1_500 {
                sequencer.define(index, definition(&format!("{}{index}", "X".repeat(120)))).unwrap();
            }
            let side = |sign: i64| (0..2_000).map(|n| level(sign * (i64::MAX / 2 + n), u64::MAX)).collect();
            for _ in 0..3 {
                happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
                happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: side(-1), asks: side(1) }));
            }
            let text = "ä".repeat(5_000);
            for id in 0..200 {
                let name = Trade { price: 1, size: 1, id, id_text: text.clone(), ..Trade::default() };
                happens(&mut sequencer, MarketBody::Trade(name));
            }
            let status = Status { state: TradingState::Halted.into(), reason: text.clone() };
            happens(&mut sequencer, MarketBody::Status(status));
            sequencer.end_turn();
            let status = RunStatus {
                state: FeedState::Stale,
                reason: text,
                time: 7,
                number: 1,
                uptime_ns: 1,
                last: false,
                verification: None,
            };
            assert!(
                heartbeats(&mut sequencer, &status).iter().all(|heartbeat| heartbeat.len() <= payload_max)
            );
            let mut book = BookState::new();
            for (_, records) in bus.take() {
                for record in records {
                    if let Body::Book(body) = &record.body {
                        book.apply(record.sequence, body).expect("each part follows on the one before");
                    }
                }
            }
            assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
            // The state that the bus refused meanwhile is mended in parts, too.
            bus.set_full(true);
            happens(&mut sequencer, bid(1, 1));
            sequencer.end_turn();
            bus.set_full(false);
            sequencer.tick(1);
            for record in bus.take_records() {
                if let Body::Book(body) = &record.body {
                    book.apply(record.sequence, body).unwrap();
                }
            }
            assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
            let catalogue = pb::feed_request::Request::Catalogue(pb::Catalogue {});
            let response = request(&mut Responder::default(), &sequencer, catalogue);
            assert_eq!((records_of(&response.frame).len(), response.catalogue), (1_500, 1_500));
            let symbol = format!("{}0", "X".repeat(120));
            let [Record { body: Body::Book(answered), .. }] =
                &records_of(&ask(&sequencer, Channel::Book, &symbol).frame)[..]
            else {
                panic!("a book")
            };
            assert_eq!(answered.bids.len(), book.bids().len());
        }
    }
}

#[test]
fn a_response_in_pieces_is_the_state_of_one_moment_and_is_not_kept_for_ever() {
    let (mut sequencer, bus) = one_instrument();
    bus.0.lock().unwrap().payload_max = BusHeader::PAYLOAD_LEAST;
    let side = |sign: i64| (1..2_000).map(|n| level(sign * n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
    let before = sequencer.instruments[0].as_ref().unwrap().sequence(Channel::Book).last;
    let mut responder = Responder::default();
    let ask = |responder: &mut Responder, sequencer: &Sequencer<FakeBus>, request, now| {
        let ask = pb::FeedRequest { request: Some(request) }.encode_to_vec();
        pb::FeedResponse::decode(responder.respond(sequencer, &ask, FeedState::Live, now).as_slice()).unwrap()
    };
    let topics = vec![pb::Topic { channel: Channel::Book.into(), symbol: "A/B".to_owned() }];
    let book = pb::feed_request::Request::Snapshots(pb::Snapshots { topics });
    let parts = ask(&mut responder, &sequencer, book, 0).parts.unwrap();
    let mut whole = Vec::new();
    for index in 0..parts.count {
        happens(&mut sequencer, bid(-1, 7));
        let part = pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index });
        whole.extend(ask(&mut responder, &sequencer, part, 1).piece);
    }
    let response = pb::FeedResponse::decode(whole.as_slice()).unwrap();
    assert_eq!(response.snapshots[0].sequence, before, "before the changes");
    let part = pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index: 0 });
    let late = ask(&mut responder, &sequencer, part, 11_000_000_000);
    assert!(late.error.contains("not kept any more"), "{late:?}");
}
