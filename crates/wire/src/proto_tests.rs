//! The quick way to read a record and the general one agree.

use super::*;
use crate::pb::{Stat, Trade};

fn record(body: Body) -> Vec<u8> {
    let record =
        Record { instrument: 300, sequence: 70_000, event_time: 1 << 60, receive_time: 1 << 59, body };
    let mut bytes = Vec::new();
    encode(&Message::Record(record), &mut bytes);
    bytes
}

fn samples() -> Vec<Vec<u8>> {
    let level = |price, size| Some(Level { price, size });
    let quotes = [
        Quote { bid: level(1_000_000, 5), ask: level(1_000_003, 700) },
        Quote { bid: None, ask: level(-3, 1) },
        Quote { bid: level(i64::MIN, u64::MAX), ask: None },
        Quote::default(),
    ];
    let trade = Trade { price: -5, size: 9, id: 77, aggressor: 2, ..Trade::default() };
    let named = Trade { id_text: "x-1".to_owned(), ..trade.clone() };
    let trades = [trade, Trade::default(), named].map(Body::Trade);
    let others = trades.into_iter().chain([Body::Stat(Stat::default())]);
    quotes.map(Body::Quote).into_iter().chain(others).map(record).collect()
}

/// Checks that what is read the quick way is what the general one reads.
#[track_caller]
fn check(bytes: &[u8]) {
    let mut rest = bytes;
    if let Some(record) = frequent(&mut rest) {
        let used = bytes.len() - rest.len();
        assert_eq!(decode(bytes), Ok((Some(Message::Record(record)), used)), "{bytes:?}");
    }
    assert!(rest.len() < bytes.len() || rest == bytes);
}

#[test]
fn quotes_and_trades_are_read_quickly_and_others_are_not() {
    let quick: Vec<_> = samples().iter().map(|bytes| frequent(&mut bytes.as_slice()).is_some()).collect();
    assert_eq!(quick, [true, true, true, true, true, true, false, false]);
    for bytes in samples() {
        check(&bytes);
    }
}

#[test]
fn bytes_that_are_not_as_usual_mean_the_same_either_way() {
    for bytes in samples() {
        for end in 0..bytes.len() {
            check(&bytes[..end]);
        }
        for at in 0..bytes.len() {
            for byte in 0..=255 {
                let mut changed = bytes.clone();
                changed[at] = byte;
                check(&changed);
                changed.insert(at, byte);
                check(&changed);
            }
        }
        check(&[&bytes[..], &bytes].concat());
    }
}
