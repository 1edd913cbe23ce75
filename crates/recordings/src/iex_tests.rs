//! Captures made by hand.

use std::io::{BufReader, Cursor};

use super::*;
use crate::iextp::tests::segment;
use crate::said::FixedLevels;

/// The time of all packets, in seconds.
pub(crate) const TIME: u64 = 1_600_000_000;

fn message(kind: u8, flags: u8, fields: &[&[u8]]) -> Vec<u8> {
    let head = [&[kind, flags][..], &1_500_000_000_000_000_001i64.to_le_bytes(), b"ZIEXT   "].concat();
    [&head[..], &fields.concat()].concat()
}

fn quote_of(bid: (u32, i64), ask: (u32, i64)) -> Vec<u8> {
    let sizes = [bid.0.to_le_bytes(), ask.0.to_le_bytes()];
    message(b'Q', 0, &[&sizes[0], &bid.1.to_le_bytes(), &ask.1.to_le_bytes(), &sizes[1]])
}

fn trade_of(price: i64) -> Vec<u8> {
    message(b'T', 0, &[&100u32.to_le_bytes(), &price.to_le_bytes(), &429_974i64.to_le_bytes()])
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let lengths = [payload.len() as u16 + 28, payload.len() as u16 + 8].map(u16::to_be_bytes);
    let ethernet = [&[1; 6][..], &[2; 6], &[8, 0]].concat();
    let ip =
        [&[0x45, 0][..], &lengths[0], &[0, 0, 0x40, 0, 64, 17, 0, 0, 23, 226, 155, 132, 233, 215, 21, 4]];
    let udp = [&[0x28, 0x8a, 0x28, 0x8a][..], &lengths[1], &[0, 0]];
    [ethernet, ip.concat(), udp.concat(), payload.to_vec()].concat()
}

/// Makes a capture of datagrams.
pub(crate) fn pcap(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut file = 0xa1b2_c3d4u32.to_le_bytes().to_vec();
    file.extend([2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 1, 0, 0, 0]);
    for segment in segments {
        let packet = packet(segment);
        for field in [TIME as u32, 7, packet.len() as u32, packet.len() as u32] {
            file.extend(field.to_le_bytes());
        }
        file.extend(packet);
    }
    file
}

fn read(file: &[u8]) -> Option<Vec<Entry>> {
    let content: Content = BufReader::new(Box::new(Cursor::new(file.to_vec())));
    let mut source = IexSource::new(content).ok()?;
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    Some(entries)
}

fn said(what: What) -> Entry {
    let (receive_time, event_time) = (TIME * 1_000_000_000 + 7_000, 1_500_000_000_000_000_001);
    Entry::Said(Said { symbol: 0, receive_time, event_time, what })
}

fn of(price: i64) -> Entry {
    said(What::Trade {
        price: Fixed::new(price, 4),
        size: Fixed::new(100, 0),
        aggressor: Side::Unknown,
        id: 429_974,
        id_text: String::new(),
    })
}

#[test]
fn each_message_becomes_what_it_says() {
    let level = |price, size| Some(FixedLevel { price: Fixed::new(price, 4), size: Fixed::new(size, 0) });
    let state = |state: TradingState| said(What::Status(Status { state: state as i32, reason: "T1".into() }));
    let fault = |reason: &str| Entry::Fault(Place::Packet(1), reason.to_owned());
    let status = |code| message(b'H', code, &[b"T1  "]);
    let cases = [
        (
            quote_of((9700, 990_500), (1000, 990_700)),
            said(What::Quote { bid: level(990_500, 9700), ask: level(990_700, 1000) }),
        ),
        (quote_of((0, 0), (1000, 990_700)), said(What::Quote { bid: None, ask: level(990_700, 1000) })),
        (quote_of((5, 0), (0, 0)), fault("0 ten-thousandths are no price")),
        (trade_of(990_500), of(990_500)),
        (trade_of(-1), fault("-1 ten-thousandths are no price")),
        (status(b'T'), state(TradingState::Open)),
        (status(b'H'), state(TradingState::Halted)),
        (status(b'O'), state(TradingState::Halted)),
        (status(b'P'), state(TradingState::PreOpen)),
        (status(b'Z'), fault("there is no trading status 0x5a")),
        (message(b'D', 0, &[&100u32.to_le_bytes(), &[0; 9]]), Entry::Unused("security directory")),
        (message(b'B', 0, &[]), Entry::Unused("trade break")),
        (message(b'O', b'N', &[]), Entry::Unused("operational halt status")),
        (message(b'P', 0, &[]), Entry::Unused("short sale price test status")),
        (message(b'A', 0, &[]), Entry::Unused("auction information")),
        (message(b'X', 0, &[]), Entry::Unused("official price")),
        (vec![b'S', b'O'], Entry::Unused("system event")),
        (vec![b'?'], fault("there is no message of type 0x3f")),
        (vec![], fault("a message is empty")),
        (vec![b'T', 0], fault("a message `T` of 2 bytes is too short")),
    ];
    for (message, entry) in cases {
        assert_eq!(
            read(&pcap(&[segment(1, std::slice::from_ref(&message))])),
            Some(vec![entry]),
            "{message:?}"
        );
    }
}

#[test]
fn a_directory_tells_the_lot() {
    let file = pcap(&[segment(1, &[message(b'D', 0, &[&100u32.to_le_bytes(), &[0; 9]])])]);
    let mut source = IexSource::new(BufReader::new(Box::new(Cursor::new(file)))).unwrap();
    assert!(!source.read(&mut Vec::new()));
    let lot = Some(Fixed::new(100, 0));
    assert_eq!(source.symbols(), [Symbol { name: "ZIEXT".into(), lot, ..Symbol::default() }]);
}

#[test]
fn what_is_missing_is_a_gap_and_what_is_repeated_is_passed_over() {
    let (first, third) = (segment(1, &[trade_of(1)]), segment(3, &[trade_of(3)]));
    let overlap = segment(3, &[trade_of(3), trade_of(4)]);
    let entries = read(&pcap(&[first, third.clone(), third, overlap, segment(5, &[])])).unwrap();
    let gap = |channel| {
        let event_time = 1_500_000_000_000_000_000;
        let receive_time = TIME * 1_000_000_000 + 7_000;
        let what = What::Gap { channel, count: None };
        Entry::Said(Said { symbol: 0, receive_time, event_time, what })
    };
    let expected = [
        of(1),
        Entry::Fault(Place::Packet(2), "1 messages are missing".into()),
        gap(Channel::Quote),
        gap(Channel::Trade),
        of(3),
        Entry::Unused("repeated messages"),
        Entry::Unused("repeated messages"),
        of(4),
        Entry::Unused("heartbeats"),
    ];
    assert_eq!(entries, expected);
}

fn level_of(kind: u8, flags: u8, price: i64, size: u32) -> Vec<u8> {
    message(kind, flags, &[&size.to_le_bytes(), &price.to_le_bytes()])
}

/// Makes a segment of DEEP.
fn deep_segment(first: i64, messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = segment(first, messages);
    bytes[2..4].copy_from_slice(&0x8004u16.to_le_bytes());
    bytes
}

#[test]
fn levels_of_an_event_are_told_together() {
    let level = |price, size| FixedLevel { price: Fixed::new(price, 4), size: Fixed::new(size, 0) };
    let levels = |bids: &[(i64, i64)], asks: &[(i64, i64)]| FixedLevels {
        bids: bids.iter().map(|(price, size)| level(*price, *size)).collect(),
        asks: asks.iter().map(|(price, size)| level(*price, *size)).collect(),
    };
    let messages = [
        level_of(BUY, 0, 100, 5),
        level_of(BUY, 0, 90, 0),
        level_of(SELL, 1, 101, 7),
        level_of(BUY, 0, 100, 4),
        level_of(BUY, 1, 100, 3),
    ];
    let (book, change) = (levels(&[(100, 5)], &[(101, 7)]), levels(&[(100, 3)], &[]));
    let expected = [said(What::Book(book)), said(What::Change(change))];
    assert_eq!(read(&pcap(&[deep_segment(1, &messages)])).unwrap(), expected);
    // Who comes later does not know the levels before.
    let later = read(&pcap(&[deep_segment(7, &messages)])).unwrap();
    assert_eq!(later, vec![Entry::Unused("price levels of books that are not known"); 5]);
    assert!(is_segment(&deep_segment(1, &messages)));
}

#[test]
fn a_book_with_a_hole_is_not_known_any_more() {
    let update = |size| level_of(BUY, 1, 100, size);
    let mut cut = deep_segment(2, &[update(2), update(3)]);
    cut.truncate(cut.len() - 1);
    for second in [deep_segment(3, &[update(2)]), cut] {
        let entries =
            read(&pcap(&[deep_segment(1, &[update(1)]), second, deep_segment(4, &[update(4)])])).unwrap();
        let gaps = entries.iter().filter(|entry| {
            matches!(entry, Entry::Said(Said { what: What::Gap { channel: Channel::Book, .. }, .. }))
        });
        assert_eq!(gaps.count(), 1, "{entries:?}");
        let last = entries.last().unwrap();
        assert_eq!(*last, Entry::Unused("price levels of books that are not known"));
    }
}

#[test]
fn a_capture_may_end_at_every_byte() {
    let segments = [segment(1, &[trade_of(1), trade_of(2)]), segment(3, &[trade_of(3)])];
    let file = pcap(&segments);
    let ends = [24, 24 + 16 + packet(&segments[0]).len(), file.len()];
    let whole = read(&file).unwrap();
    assert_eq!(whole, [of(1), of(2), of(3)]);
    for length in 0..=file.len() {
        let Some(entries) = read(&file[..length]) else {
            assert!(length < 24, "{length}");
            continue;
        };
        let packets = ends.iter().filter(|end| **end <= length).count() - 1;
        let before = [0, 2, 3][packets];
        assert_eq!(entries[..before], whole[..before], "{length}");
        let cut = Entry::Fault(Place::Packet(packets as u64 + 1), "the file ends within a packet".into());
        let rest: &[Entry] = if ends.contains(&length) { &[] } else { &[cut] };
        assert_eq!(&entries[before..], rest, "{length}");
    }
}

#[test]
fn no_flipped_bit_panics() {
    let file = pcap(&[segment(1, &[trade_of(1), quote_of((1, 2), (3, 4))]), segment(3, &[trade_of(3)])]);
    for bit in 0..file.len() * 8 {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let entries = read(&damaged);
        assert!(bit / 8 < 24 || entries.is_some(), "{bit}");
    }
}
