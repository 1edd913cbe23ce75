//! Recorded streams, as `tickwire tap --record` writes them.

use proptest::prelude::*;
use tickwire_recordings::Format;
use tickwire_recordings::said::What;
use tickwire_recordings::source::{Entry, Place, Source};
use tickwire_wire::{
    Body, Book, Channel, Encoding, Gap, Granted, Hello, Level, Message, Notice, Quote, Record, Scale,
    Subscribed, Trade, encode_message,
};

const START: u64 = 1_767_600_000_000_000_000;

fn granted(instrument: u32, symbol: &str, price_decimals: u32) -> Granted {
    let symbol = symbol.to_owned();
    Granted { instrument, symbol, price_decimals, size_decimals: 0, ..Granted::default() }
}

fn subscribed(granted: Vec<Granted>) -> Message {
    Message::Subscribed(Subscribed { granted, ..Subscribed::default() })
}

fn record(instrument: u32, time: u64, body: Body) -> Message {
    let (event_time, receive_time) = (START + time, START + time + 1);
    Message::Record(Record { instrument, sequence: time, event_time, receive_time, body })
}

fn trade(price: i64) -> Body {
    Body::Trade(Trade { price, size: 2, ..Trade::default() })
}

fn bytes(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        encode_message(Encoding::Proto, message, &Scale::default(), &mut bytes);
    }
    bytes
}

fn read(source: &mut dyn Source) -> Vec<Entry> {
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    entries
}

fn stream() -> Vec<Message> {
    let level = |price, size| Level { price, size };
    let gap = Gap { channel: Channel::Trade as i32, first_sequence: 3, last_sequence: 5, ..Gap::default() };
    let broken = Notice {
        code: "book_broken".into(),
        message: "sim:A: a change is missing".into(),
        ..Notice::default()
    };
    vec![
        Message::Hello(Hello::default()),
        subscribed(vec![granted(1, "sim:A", 2), granted(2, "other:B", 0)]),
        record(1, 1, trade(1_005)),
        record(2, 2, trade(7)),
        record(1, 6, Body::Gap(gap)),
        record(1, 7, Body::Book(Book { snapshot: true, bids: vec![level(900, 1)], ..Book::default() })),
        record(1, 8, Body::Book(Book { bids: vec![level(901, 1)], ..Book::default() })),
        Message::Notice(broken),
        Message::Hello(Hello::default()),
        subscribed(vec![granted(2, "sim:A", 2)]),
        record(2, 9, Body::Quote(Quote { bid: Some(level(901, 1)), ask: None })),
    ]
}

#[test]
fn a_stream_is_said_for_one_venue() {
    let mut source = Format::Stream.source_of(bytes(&stream()), None).unwrap();
    let entries = read(source.as_mut());
    let said = entries.iter().map(|entry| match entry {
        Entry::Said(said) => {
            assert_eq!(said.symbol, 0);
            match &said.what {
                What::Trade { price, .. } => format!("trade {}e-{}", price.mantissa, price.decimals),
                What::Gap { channel, count } => format!("{} gap {count:?}", channel.name()),
                What::Book(levels) => format!("book of {}", levels.bids.len()),
                What::Change(levels) => format!("change of {}", levels.bids.len()),
                What::Quote { bid, ask } => format!("quote {} {}", bid.is_some(), ask.is_some()),
                other => format!("{other:?}"),
            }
        }
        Entry::Unused(kind) => (*kind).to_owned(),
        Entry::Fault(place, reason) => format!("{place}: {reason}"),
    });
    let expected = [
        "trade 1005e-2",
        "records of other venues",
        "trade gap Some(3)",
        "book of 1",
        "change of 1",
        "book gap None",
        "quote true false",
    ];
    assert_eq!(said.collect::<Vec<_>>(), expected);
    assert_eq!((source.symbols()[0].name.as_str(), source.symbols().len()), ("A", 1));
}

#[test]
fn damage_is_told_with_its_place() {
    let whole = bytes(&stream());
    let cut = &whole[..whole.len() - 1];
    let last = bytes(&stream()[..10]).len() as u64;
    let entries = read(Format::Stream.source_of(cut.to_vec(), None).unwrap().as_mut());
    assert!(matches!(entries.last(), Some(Entry::Fault(Place::Byte(at), _)) if *at == last), "{entries:?}");
    let mut unknown = stream();
    unknown.push(record(9, 10, trade(1)));
    let entries = read(Format::Stream.source_of(bytes(&unknown), None).unwrap().as_mut());
    assert!(
        matches!(entries.last(), Some(Entry::Fault(Place::Byte(at), _)) if *at == whole.len() as u64),
        "{entries:?}"
    );
    for (messages, expected) in
        [(&stream()[..1], "subscribes to nothing"), (&stream()[1..], "Hello"), (&[][..], "empty")]
    {
        let reason = Format::Stream.source_of(bytes(messages), None).err().unwrap();
        assert!(reason.contains(expected), "{reason}");
    }
}

proptest! {
    #[test]
    fn no_flipped_bit_panics(at in 0usize..1_000, bit in 0u8..8) {
        let mut bytes = bytes(&stream());
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(mut source) = Format::Stream.source_of(bytes, None) {
            read(source.as_mut());
        }
    }
}
