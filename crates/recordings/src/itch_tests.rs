//! Messages made by hand.

use std::io::{BufReader, Cursor};

use proptest::prelude::*;

use super::*;
use crate::iex::tests::{TIME as PACKET_TIME, pcap};
use crate::itch_file::{ItchCapture, ItchFile};
use crate::said::{FixedLevel, FixedLevels};
use crate::source::Source as _;

const MIDNIGHT: u64 = 1_580_360_400_000_000_000;
const TIME: u64 = 34_200_000_000_001;

/// Makes a message of a type: the common head, fields at their offsets, and zeros for the rest.
fn message(kind: u8, fields: &[(usize, &[u8])]) -> Vec<u8> {
    let mut bytes = vec![0; length(kind).unwrap()];
    bytes[0] = kind;
    bytes[1..3].copy_from_slice(&7u16.to_be_bytes());
    bytes[5..11].copy_from_slice(&TIME.to_be_bytes()[2..]);
    for (at, field) in fields {
        bytes[*at..*at + field.len()].copy_from_slice(field);
    }
    bytes
}

fn add(id: u64, side: u8, size: u32, price: u32) -> Vec<u8> {
    let (id, size, price) = (id.to_be_bytes(), size.to_be_bytes(), price.to_be_bytes());
    message(b'A', &[(11, &id), (19, &[side]), (20, &size), (24, b"ABC     "), (32, &price)])
}

fn reduce(kind: u8, id: u64, size: u32) -> Vec<u8> {
    let (id, size, id_of_match) = (id.to_be_bytes(), size.to_be_bytes(), 9u64.to_be_bytes());
    let fields: [(usize, &[u8]); 3] = [(11, &id), (19, &size), (23, &id_of_match)];
    message(kind, if kind == b'X' { &fields[..2] } else { &fields })
}

fn replace(id: u64, new: u64, size: u32, price: u32) -> Vec<u8> {
    let (id, new) = (id.to_be_bytes(), new.to_be_bytes());
    message(b'U', &[(11, &id), (19, &new), (27, &size.to_be_bytes()), (31, &price.to_be_bytes())])
}

fn delete(id: u64) -> Vec<u8> {
    message(b'D', &[(11, &id.to_be_bytes())])
}

fn begin() -> Vec<u8> {
    message(b'S', &[(11, b"O")])
}

fn file(messages: &[Vec<u8>]) -> Vec<u8> {
    messages
        .iter()
        .flat_map(|message| [&(message.len() as u16).to_be_bytes()[..], message].concat())
        .collect()
}

fn read(bytes: &[u8]) -> Vec<Entry> {
    let content = BufReader::new(Box::new(Cursor::new(bytes.to_vec())) as Box<dyn std::io::Read + Send>);
    let mut source = ItchFile::new(content, "2020-01-30".parse().ok()).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    entries
}

fn said(what: What) -> Entry {
    let time = MIDNIGHT + TIME;
    Entry::Said(Said { symbol: 0, receive_time: time, event_time: time, what })
}

fn level(price: i64, size: i64) -> FixedLevel {
    FixedLevel { price: Fixed::new(price, 4), size: Fixed::new(size, 0) }
}

fn bid(price: i64, size: i64) -> FixedLevels {
    FixedLevels { bids: vec![level(price, size)], asks: vec![] }
}

fn trade(price: i64, size: i64, aggressor: Side) -> Entry {
    let (price, size) = (Fixed::new(price, 4), Fixed::new(size, 0));
    said(What::Trade { price, size, aggressor, id: 9, id_text: String::new() })
}

#[test]
fn orders_become_levels_and_trades() {
    let with_price = |printed: &[u8]| {
        let [id, id_of_match] = [2u64.to_be_bytes(), 9u64.to_be_bytes()];
        let (size, price) = (1u32.to_be_bytes(), 99u32.to_be_bytes());
        message(b'C', &[(11, &id), (19, &size), (23, &id_of_match), (31, printed), (32, &price)])
    };
    let change = |levels| said(What::Change(levels));
    let steps = [
        (begin(), vec![Entry::Unused("system event")]),
        (add(1, b'B', 10, 100), vec![said(What::Book(bid(100, 10)))]),
        (reduce(b'E', 1, 4), vec![trade(100, 4, Side::Sell), change(bid(100, 6))]),
        (reduce(b'X', 1, 1), vec![change(bid(100, 5))]),
        (
            replace(1, 2, 7, 101),
            vec![change(FixedLevels { bids: vec![level(100, 0), level(101, 7)], asks: vec![] })],
        ),
        (with_price(b"Y"), vec![trade(99, 1, Side::Sell), change(bid(101, 6))]),
        (with_price(b"N"), vec![Entry::Unused("executions that are not printed"), change(bid(101, 5))]),
        (delete(2), vec![change(bid(101, 0))]),
    ];
    let messages: Vec<_> = steps.iter().map(|(message, _)| message.clone()).collect();
    let expected: Vec<_> = steps.into_iter().flat_map(|(_, entries)| entries).collect();
    assert_eq!(read(&file(&messages)), expected);
}

#[test]
fn each_other_message_becomes_what_it_says() {
    let name: (usize, &[u8]) = (11, b"ABC     ");
    let [id, size, price] = [&9u64.to_be_bytes()[..], &5u32.to_be_bytes(), &100u32.to_be_bytes()];
    let cross = |size: u64| {
        message(b'Q', &[(11, &size.to_be_bytes()), (19, b"ABC     "), (27, price), (31, id), (39, b"O")])
    };
    let state = |state: TradingState| said(What::Status(Status { state: state as i32, reason: "T1".into() }));
    let action = |code: &[u8]| message(b'H', &[name, (19, code), (21, b"T1  ")]);
    let hidden = message(b'P', &[(20, size), (24, b"ABC     "), (32, price), (36, id)]);
    let mut cases = vec![
        (message(b'R', &[name, (21, size)]), Entry::Unused("stock directory")),
        (action(b"T"), state(TradingState::Open)),
        (action(b"H"), state(TradingState::Halted)),
        (action(b"P"), state(TradingState::Halted)),
        (action(b"Q"), state(TradingState::PreOpen)),
        (action(b"Z"), Entry::Fault(Place::Byte(0), "there is no trading state 0x5a".into())),
        (hidden, trade(100, 5, Side::Unknown)),
        (cross(5), trade(100, 5, Side::Unknown)),
        (cross(0), Entry::Unused("crosses without executions")),
        (add(1, b'B', 5, 100), Entry::Unused("changes of books that are not known")),
        (delete(1), Entry::Unused("messages of orders that are not known")),
        (add(1, b'?', 5, 100), Entry::Fault(Place::Byte(0), "there is no side 0x3f".into())),
        (add(1, b'B', 5, 0), Entry::Fault(Place::Byte(0), "0 ten-thousandths are no price".into())),
    ];
    let unused = [
        (b'Y', "short sale restriction"),
        (b'L', "market participant position"),
        (b'V', "circuit breaker levels"),
        (b'W', "circuit breaker status"),
        (b'K', "quotation period of a new issue"),
        (b'J', "auction collar"),
        (b'h', "operational halt"),
        (b'B', "broken trade"),
        (b'I', "order imbalance"),
        (b'N', "retail price improvement"),
        (b'O', "direct listing price discovery"),
    ];
    cases.extend(unused.map(|(kind, what)| (message(kind, &[]), Entry::Unused(what))));
    for (message, entry) in cases {
        assert_eq!(read(&file(std::slice::from_ref(&message))), [entry], "{message:?}");
    }
}

#[test]
fn an_order_that_is_not_known_breaks_its_book() {
    let entries = read(&file(&[begin(), add(1, b'B', 5, 100), delete(2), add(3, b'B', 5, 100)]));
    let expected = [
        Entry::Fault(Place::Byte(14 + 38), "there is no order 2".into()),
        said(What::Gap { channel: Channel::Book, count: None }),
        Entry::Unused("changes of books that are not known"),
    ];
    assert_eq!(entries[2..], expected);
}

#[test]
fn a_file_may_end_at_every_byte() {
    let messages = [begin(), add(1, b'B', 5, 100), reduce(b'E', 1, 2), delete(1)];
    let whole_file = file(&messages);
    let whole = read(&whole_file);
    for length in 0..whole_file.len() {
        let entries = read(&whole_file[..length]);
        let is_cut = !(0..messages.len()).any(|count| file(&messages[..count]).len() == length);
        let before = entries.len() - usize::from(is_cut);
        assert_eq!(entries[..before], whole[..before], "{length}");
        let end = entries[before..].first().map(
            |entry| matches!(entry, Entry::Fault(_, reason) if reason == "the file ends within a message"),
        );
        assert_eq!(end, is_cut.then_some(true), "{length}");
    }
}

#[test]
fn no_flipped_bit_panics_and_what_came_before_is_said() {
    let messages = [begin(), add(1, b'B', 5, 100), reduce(b'E', 1, 2), replace(1, 2, 3, 99), delete(2)];
    let whole_file = file(&messages);
    let whole = read(&whole_file);
    for bit in 0..whole_file.len() * 8 {
        let mut damaged = whole_file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let count = (0..messages.len()).rfind(|count| file(&messages[..*count]).len() <= bit / 8).unwrap();
        let before = read(&file(&messages[..count])).len();
        assert_eq!(read(&damaged)[..before], whole[..before], "{bit}");
    }
}

/// Makes a packet of MoldUDP64.
fn packet(first: u64, count: u16, messages: &[Vec<u8>]) -> Vec<u8> {
    [b"000000001A", &first.to_be_bytes()[..], &count.to_be_bytes(), &file(messages)].concat()
}

fn read_capture(packets: &[Vec<u8>]) -> Vec<Entry> {
    let content = BufReader::new(Box::new(Cursor::new(pcap(packets))) as Box<dyn std::io::Read + Send>);
    let mut source = ItchCapture::new(content).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    entries
}

#[test]
fn holes_of_a_session_are_gaps_and_repetitions_are_passed_over() {
    let first = packet(1, 2, &[begin(), add(1, b'B', 5, 100)]);
    let packets = [
        first.clone(),
        first,
        packet(2, 2, &[add(1, b'B', 5, 100), add(2, b'B', 5, 100)]),
        packet(4, 0, &[]),
        packet(6, 1, &[add(3, b'B', 5, 100)]),
        packet(7, u16::MAX, &[]),
    ];
    let receive_time = PACKET_TIME * 1_000_000_000 + 7_000;
    // It is the 13th of September 2020 in New York, four hours behind.
    let midnight = 1_599_969_600_000_000_000;
    let said = |event_time, what| Entry::Said(Said { symbol: 0, receive_time, event_time, what });
    let gap = |channel| said(receive_time, What::Gap { channel, count: None });
    let expected = [
        Entry::Unused("system event"),
        said(midnight + TIME, What::Book(bid(100, 5))),
        Entry::Unused("repeated messages"),
        Entry::Unused("repeated messages"),
        said(midnight + TIME, What::Change(bid(100, 10))),
        Entry::Unused("heartbeats"),
        Entry::Fault(Place::Packet(5), "2 messages are missing".into()),
        gap(Channel::Book),
        gap(Channel::Trade),
        Entry::Unused("changes of books that are not known"),
        Entry::Unused("ends of a session"),
    ];
    assert_eq!(read_capture(&packets), expected);
}

#[test]
fn captures_and_files_are_told_by_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let format = |bytes: &[u8]| {
        let path = folder.path().join("recording");
        std::fs::write(&path, bytes).unwrap();
        crate::Recording::open(&path, &crate::Hints::default()).ok().map(|it| {
            (it.format(), it.source(std::sync::Arc::default()).err().map(|error| error.to_string()))
        })
    };
    let (kind, error) = format(&file(&[begin(), add(1, b'B', 5, 100)])).unwrap();
    assert_eq!(kind, crate::Format::Itch);
    assert!(error.unwrap().contains("--date 2020-01-30"));
    let mold = packet(1, 1, &[begin()]);
    assert_eq!(format(&pcap(&[mold])), Some((crate::Format::Itch, None)));
    let tops = crate::iextp::tests::segment(1, &[]);
    assert_eq!(format(&pcap(&[tops])), Some((crate::Format::Iex, None)));
    assert_eq!(format(&pcap(&[b"hello".to_vec()])), None);
}

proptest! {
    /// Messages in any order: a reader of the changes has what a plain map of orders gives, until the first contradiction.
    #[test]
    fn levels_are_the_sums_of_the_orders(steps in prop::collection::vec((0u8..4, 1u64..6, 1u32..9, 95u32..105), 0..60)) {
        let (mut messages, mut open) = (vec![begin()], std::collections::BTreeMap::<u64, (bool, u32, u32)>::new());
        for (n, (kind, id, size, price)) in steps.into_iter().enumerate() {
            let is_bid = price < 100;
            match (kind, open.get(&id).copied()) {
                (0, None) => {
                    open.insert(id, (is_bid, size, price));
                    messages.push(add(id, if is_bid { b'B' } else { b'S' }, size, price));
                }
                (1, Some((side, has, at))) => {
                    let by = size.min(has);
                    if by == has { open.remove(&id); } else { open.insert(id, (side, has - by, at)); }
                    messages.push(reduce(if n % 2 == 0 { b'E' } else { b'X' }, id, by));
                }
                (2, Some(_)) => {
                    open.remove(&id);
                    messages.push(delete(id));
                }
                (3, Some((side, ..))) => {
                    open.remove(&id);
                    let new = 100 + n as u64;
                    open.insert(new, (side, size, price));
                    messages.push(replace(id, new, size, price));
                }
                _ => {}
            }
        }
        let mut told = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
        for entry in read(&file(&messages)) {
            prop_assert!(!matches!(entry, Entry::Fault(..)));
            let Entry::Said(Said { what: What::Book(levels) | What::Change(levels), .. }) = entry else { continue };
            for (side, levels) in told.iter_mut().zip([levels.bids, levels.asks]) {
                for level in levels { side.insert(level.price.mantissa, level.size.mantissa); }
                side.retain(|_, size| *size > 0);
            }
        }
        let mut sums = [std::collections::BTreeMap::new(), std::collections::BTreeMap::new()];
        for (is_bid, size, price) in open.values() {
            *sums[usize::from(!is_bid)].entry(i64::from(*price)).or_default() += i64::from(*size);
        }
        prop_assert_eq!(told, sums);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }
}
