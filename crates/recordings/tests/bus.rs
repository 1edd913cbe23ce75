//! Recordings of the bus: what is said of them, and that a book that is said to be whole is right, whatever is missing.

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;
use tickwire_recordings::Format;
use tickwire_recordings::bus::{Content, Note, Recorded, Writer};
use tickwire_recordings::said::{FixedLevels, What};
use tickwire_recordings::source::Entry;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Body, Book, Channel, Encoding, FeedState, Instrument, Level, Message, Quote, Record, Scale, Subject,
    Trade, encode_message, pb,
};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_767_600_000 * SECOND;
const EPOCH: u64 = 77;

/// A recording that is being made.
struct Recording {
    writer: Writer<Vec<u8>>,
    now: u64,
    heartbeats: u64,
}

impl Recording {
    fn begin() -> Self {
        let mut writer = Writer::new(Vec::new()).unwrap();
        writer.note(START, &Note::Begin { venue: "sim".into(), file: 1, by: "a test".into() }).unwrap();
        Self { writer, now: START, heartbeats: 0 }
    }

    fn message(&mut self, subject: &Subject, payload: &[u8]) {
        self.now += 1_000_000;
        let content = Content::Message { subject: subject.as_str(), payload };
        self.writer.write(&Recorded { time: self.now, content }).unwrap();
    }

    fn heartbeat(&mut self, epoch: u64, positions: &[(Channel, u64)]) {
        self.heartbeats += 1;
        let position = |(channel, sequence): &(Channel, u64)| pb::Position {
            instrument: 5,
            channel: *channel as i32,
            sequence: *sequence,
            ..pb::Position::default()
        };
        let heartbeat = pb::FeedHeartbeat {
            venue: "sim".into(),
            epoch,
            state: FeedState::Live as i32,
            time: self.now,
            positions: positions.iter().map(position).collect(),
            number: self.heartbeats,
            uptime_ns: self.now - START + SECOND,
            ..pb::FeedHeartbeat::default()
        };
        self.message(&Subject::heartbeat("sim").unwrap(), &heartbeat.encode_to_vec());
    }

    fn record(&mut self, epoch: u64, sequence: u64, body: Body) {
        let record = record(sequence, body);
        let header = BusHeader {
            encoding: Encoding::MsgPack,
            channel: record.channel(),
            instrument: 5,
            epoch,
            first_sequence: sequence,
            last_sequence: sequence,
            publish_time: record.receive_time,
        };
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        encode_message(Encoding::MsgPack, &Message::Record(record), &Scale::default(), &mut bytes);
        self.message(&Subject::data("sim", header.channel.name(), "A").unwrap(), &bytes);
    }

    fn respond(&mut self, request: pb::feed_request::Request, response: &pb::FeedResponse) {
        let subject = Subject::request("sim", EPOCH).unwrap();
        let request = pb::FeedRequest { request: Some(request) }.encode_to_vec();
        let payload = response.encode_to_vec();
        let content = Content::Response { subject: subject.as_str(), request: &request, payload: &payload };
        self.writer.write(&Recorded { time: self.now, content }).unwrap();
    }

    fn catalogue(&mut self) {
        let definition = Instrument {
            venue: "sim".into(),
            symbol: "A".into(),
            price_decimals: 2,
            size_decimals: 3,
            tick_size: 5,
            ..Instrument::default()
        };
        let frame = frame(vec![record(1, Body::Instrument(definition))]);
        let response = pb::FeedResponse { epoch: EPOCH, frame, ..pb::FeedResponse::default() };
        self.respond(pb::feed_request::Request::Catalogue(pb::Catalogue {}), &response);
    }

    fn snapshot(&mut self, sequence: u64, book: &BTreeMap<i64, u64>) {
        let topics = vec![pb::Topic { channel: Channel::Book as i32, symbol: "A".into() }];
        let bids = book.iter().rev().map(|(price, size)| Level { price: *price, size: *size }).collect();
        let body = Body::Book(Book { snapshot: true, bids, ..Book::default() });
        let snapshots = vec![pb::Snapshot {
            sequence,
            frame: frame(vec![record(sequence, body)]),
            ..pb::Snapshot::default()
        }];
        let response = pb::FeedResponse { epoch: EPOCH, snapshots, ..pb::FeedResponse::default() };
        self.respond(pb::feed_request::Request::Snapshots(pb::Snapshots { topics }), &response);
    }

    fn end(self) -> Vec<u8> {
        self.writer.end(self.now).unwrap()
    }
}

/// Makes a record whose event time is its number.
fn record(sequence: u64, body: Body) -> Record {
    Record { instrument: 5, sequence, event_time: sequence, receive_time: START + sequence, body }
}

fn frame(records: Vec<Record>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        encode_message(Encoding::Proto, &Message::Record(record), &Scale::default(), &mut bytes);
    }
    bytes
}

fn change(price: i64, size: u64) -> Body {
    Body::Book(Book { bids: vec![Level { price, size }], ..Book::default() })
}

fn read(bytes: Vec<u8>) -> Vec<Entry> {
    let mut source = Format::Bus.source_of(bytes, None).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    entries
}

/// Returns what was said, as channel, event time and the size of a gap.
fn brief(entries: &[Entry]) -> Vec<String> {
    entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Said(said) => Some(match &said.what {
                What::Gap { channel, count } => format!("{} gap {count:?}", channel.name()),
                What::Book(_) => format!("book {}", said.event_time),
                What::Change(_) => format!("change {}", said.event_time),
                What::Trade { .. } => format!("trade {}", said.event_time),
                What::Quote { .. } => format!("quote {}", said.event_time),
                other => format!("{other:?}"),
            }),
            Entry::Fault(place, reason) => Some(format!("{place}: {reason}")),
            Entry::Unused(_) => None,
        })
        .collect()
}

#[test]
fn records_are_said_in_their_order_and_what_is_missing_is_told() {
    let mut recording = Recording::begin();
    let trade = |price| Body::Trade(Trade { price, size: 1, ..Trade::default() });
    recording.record(EPOCH, 6, trade(1));
    recording.heartbeat(EPOCH, &[]);
    recording.record(EPOCH, 7, trade(1));
    recording.catalogue();
    recording.record(EPOCH, 8, trade(1));
    recording.record(EPOCH, 11, trade(1));
    recording.record(EPOCH, 11, trade(1));
    recording.record(EPOCH + 1, 12, trade(1));
    recording.record(EPOCH, 12, change(100, 1));
    recording.snapshot(11, &BTreeMap::from([(100, 5), (90, 1)]));
    recording.record(EPOCH, 13, change(90, 0));
    recording.record(EPOCH, 1, Body::Quote(Quote { bid: Some(Level { price: 5, size: 1 }), ask: None }));
    recording.heartbeat(EPOCH, &[(Channel::Trade, 14), (Channel::Book, 13)]);
    let entries = read(recording.end());
    let expected = [
        "trade 8",
        "trade gap Some(2)",
        "trade 11",
        "book 11",
        "change 12",
        "change 13",
        "quote 1",
        "trade gap Some(3)",
    ];
    assert_eq!(brief(&entries), expected);
}

#[test]
fn another_run_is_a_gap_on_everything() {
    let mut recording = Recording::begin();
    recording.heartbeat(EPOCH, &[]);
    recording.catalogue();
    recording.record(EPOCH, 3, change(100, 1));
    recording.snapshot(3, &BTreeMap::from([(100, 1)]));
    recording.now += 2 * SECOND;
    recording.heartbeat(EPOCH + 1, &[]);
    recording.record(EPOCH, 4, change(100, 2));
    assert_eq!(brief(&read(recording.end())), ["book 3", "book gap None"]);
}

#[test]
fn a_file_without_an_end_says_so() {
    let mut recording = Recording::begin();
    recording.heartbeat(EPOCH, &[]);
    let mut bytes = recording.end();
    assert_eq!(brief(&read(bytes.clone())), [""; 0]);
    bytes.truncate(bytes.len() - 45);
    let said = brief(&read(bytes));
    assert!(matches!(&said[..], [fault] if fault.contains("is cut")), "{said:?}");
    let no_begin = Writer::new(Vec::new()).unwrap().end(START).unwrap();
    assert!(Format::Bus.source_of(no_begin, None).is_err());
}

/// The fate of a change on its way to the recorder.
#[derive(Clone, Copy, Debug)]
enum Way {
    Comes,
    IsLost,
    ComesTwice,
    /// It comes, and the recorder is told the state behind it.
    WithState,
    /// A heartbeat comes behind it.
    WithHeartbeat,
}

fn way() -> impl Strategy<Value = Way> {
    prop_oneof![
        6 => Just(Way::Comes),
        2 => Just(Way::IsLost),
        1 => Just(Way::ComesTwice),
        2 => Just(Way::WithState),
        1 => Just(Way::WithHeartbeat),
    ]
}

fn apply(book: &mut BTreeMap<i64, u64>, levels: &FixedLevels) {
    for level in &levels.bids {
        let (price, size) = (level.price.mantissa, level.size.mantissa as u64);
        if size == 0 {
            book.remove(&price)
        } else {
            book.insert(price, size)
        };
    }
}

proptest! {
    #[test]
    fn a_book_that_is_said_to_be_whole_is_right(
        changes in prop::collection::vec((0i64..5, 0u64..3, way()), 1..60),
    ) {
        let mut recording = Recording::begin();
        recording.heartbeat(EPOCH, &[]);
        recording.catalogue();
        let (mut truth, mut states) = (BTreeMap::new(), vec![BTreeMap::new()]);
        for (at, (price, size, way)) in changes.iter().enumerate() {
            let sequence = at as u64 + 1;
            if *size == 0 { truth.remove(price) } else { truth.insert(*price, *size) };
            states.push(truth.clone());
            let times = match way { Way::IsLost => 0, Way::ComesTwice => 2, _ => 1 };
            for _ in 0..times {
                recording.record(EPOCH, sequence, change(*price, *size));
            }
            match way {
                Way::WithState => recording.snapshot(sequence, &truth),
                Way::WithHeartbeat => recording.heartbeat(EPOCH, &[(Channel::Book, sequence)]),
                _ => {}
            }
        }
        let entries = read(recording.end());
        let mut book = None;
        let mut said = 0;
        for entry in &entries {
            let Entry::Said(entry) = entry else { continue };
            match &entry.what {
                What::Book(levels) => {
                    let mut all = BTreeMap::new();
                    apply(&mut all, levels);
                    book = Some(all);
                }
                What::Change(levels) => apply(book.as_mut().expect("a change of a whole book"), levels),
                What::Gap { channel: Channel::Book, .. } => {
                    book = None;
                    continue;
                }
                other => prop_assert!(false, "{other:?}"),
            }
            said += 1;
            prop_assert_eq!(book.as_ref(), Some(&states[entry.event_time as usize]), "at {}", entry.event_time);
        }
        let asked = changes.iter().filter(|(_, _, way)| matches!(way, Way::WithState)).count();
        prop_assert!(said > 0 || asked == 0, "a state that came is said");
    }

    #[test]
    fn damage_is_told_and_nothing_breaks(at in 8usize..2_000, bit in 0u8..8, cut in any::<bool>()) {
        let mut recording = Recording::begin();
        recording.heartbeat(EPOCH, &[]);
        recording.catalogue();
        for sequence in 1..20 {
            recording.record(EPOCH, sequence, change(sequence as i64, 1));
        }
        recording.snapshot(19, &BTreeMap::from([(1, 1)]));
        let mut bytes = recording.end();
        let at = at.min(bytes.len() - 1);
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if let Ok(mut source) = Format::Bus.source_of(bytes, None) {
            let mut entries = Vec::new();
            while source.read(&mut entries) {}
            prop_assert!(entries.iter().any(|entry| matches!(entry, Entry::Fault(..))), "{entries:?}");
        }
    }
}
