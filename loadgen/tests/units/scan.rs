//! The scan sees what the codec sees, and fails by an error alone.

use tickwire_wire::{
    Batch, Body, Book, Encoding, Gap, Level, Message, Quote, Record, Scale, Trade, encode_message,
};

use super::*;

fn record(sequence: u64, body: Body) -> Record {
    let (event_time, receive_time) = (1_767_623_400_123_456_789, 1_767_623_400_123_000_000 + sequence);
    Record { instrument: 70_000, sequence, event_time, receive_time, body }
}

fn quote(bid: i64) -> Body {
    let side = |price| Some(Level { price, size: 1_000 });
    Body::Quote(Quote { bid: side(bid), ask: side(bid + 2) })
}

fn encoded(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        encode_message(Encoding::Proto, message, &Scale::default(), &mut bytes);
    }
    bytes
}

#[test]
fn it_sees_what_the_codec_sees() {
    let levels = vec![Level { price: 7, size: 8 }];
    let book = |snapshot, first_sequence| {
        Body::Book(Book {
            snapshot,
            first_sequence,
            bids: levels.clone(),
            asks: levels.clone(),
            checksum: None,
        })
    };
    let gap = Gap { channel: 2, cause: 3, first_sequence: 4, last_sequence: 9, epoch: 0 };
    let records = [
        record(1, quote(-5)),
        record(300, Body::Trade(Trade { price: 9, size: 1, ..Trade::default() })),
        record(7, book(true, 0)),
        record(1 << 40, book(false, 17)),
        record(9, Body::Gap(gap)),
        record(0, Body::Bar(tickwire_wire::Bar::default())),
    ];
    let mut messages: Vec<_> = records.iter().cloned().map(Message::Record).collect();
    messages.push(Message::Sent(77));
    let bytes = encoded(&messages);
    let mut seen = Vec::new();
    assert_eq!(scan(&bytes, |item| seen.push(item)), Ok(Some(77)));
    assert_eq!(sent_time(&bytes), Some(77));
    assert_eq!(seen.len(), records.len());
    for (record, item) in records.iter().zip(seen) {
        match item {
            Item::Market(found) => {
                assert_eq!(found.channel, record.channel() as u8);
                assert_eq!((found.instrument, found.sequence), (record.instrument, record.sequence));
                assert_eq!((found.event_time, found.receive_time), (record.event_time, record.receive_time));
                if let Body::Book(book) = &record.body {
                    assert_eq!(
                        (found.is_snapshot, found.first_sequence),
                        (book.snapshot, book.first_sequence)
                    );
                }
            }
            Item::Other(bytes) => {
                let read: Vec<_> = Batch::new(Encoding::Proto, bytes).map(Result::unwrap).collect();
                assert_eq!(read, [Message::Record(record.clone())]);
            }
        }
    }
}

#[test]
fn quotes_that_differ_look_different() {
    let of = |bid| {
        let mut found = None;
        let bytes = encoded(&[Message::Record(record(1, quote(bid)))]);
        scan(&bytes, |item| found = Some(item)).unwrap();
        let Some(Item::Market(market)) = found else { panic!("{found:?}") };
        market.quote
    };
    assert_eq!(of(5), of(5));
    assert_ne!(of(5), of(6));
}

#[test]
fn no_bytes_make_it_fail_otherwise_than_by_an_error() {
    let bytes = encoded(&[Message::Record(record(1, quote(5))), Message::Sent(9)]);
    for cut in 0..bytes.len() {
        let _ = scan(&bytes[..cut], |_| {});
        for bit in 0..8 {
            let mut wrong = bytes.clone();
            wrong[cut] ^= 1 << bit;
            let _ = scan(&wrong, |_| {});
        }
    }
    assert_eq!(
        scan(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], |_| {}),
        Err(Malformed)
    );
    assert_eq!(scan(&[0x0b], |_| {}), Err(Malformed));
}
