//! A recording of Bitstamp (2022) through its normalizer: the books of the REST service, and the stream whose changes began before them. Switched
//! on by `TICKWIRE_DATA`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tickwire_feed::adapter::{FeedEvent, Levels, MarketBody};
use tickwire_feed::bitstamp::{Normalizer, Said, listings};
use tickwire_wire::{Channel, Instrument, Level};

fn lines(folder: &Path, file: &str) -> Vec<String> {
    let path = folder.join("other-venues").join(file);
    BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines().map(Result::unwrap).collect()
}

/// Returns the text behind the time of a response.
fn body(line: &str) -> Option<(&str, &str)> {
    let (url, rest) = line.split_once(" -> ")?;
    Some((url, rest.split_once(": ")?.1))
}

type Sides = (BTreeMap<i64, u64>, BTreeMap<i64, u64>);

fn apply((bids, asks): &mut Sides, levels: &Levels) {
    for (side, levels) in [(bids, &levels.bids), (asks, &levels.asks)] {
        for Level { price, size } in levels {
            if *size == 0 {
                side.remove(price)
            } else {
                side.insert(*price, *size)
            };
        }
    }
}

#[test]
fn a_recording_joins_its_books_and_none_is_crossed() {
    let Some(folder) = std::env::var_os("TICKWIRE_DATA") else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: TICKWIRE_DATA does not name the folder of recordings");
        }
        return;
    };
    let folder = Path::new(&folder);
    let mut normalizer = Normalizer::new(u64::MAX);
    let list = lines(folder, "BITSTAMP.0.gz");
    for listing in listings(body(&list[0]).unwrap().1).unwrap() {
        normalizer.instruments.define(&listing.definition);
    }
    let books: BTreeMap<String, String> = lines(folder, "BITSTAMP.http.0.0.gz")
        .iter()
        .filter_map(|line| body(line))
        .map(|(url, text)| (url.rsplit_once('/').unwrap().1.to_uppercase(), text.to_owned()))
        .collect();
    assert_eq!(books.len(), 10);
    let (mut changes, mut granted, mut events) = (0, 0, Vec::new());
    let (mut snapshots, mut told, mut trades, mut crossed) = (0, 0, 0, 0);
    let mut sides: BTreeMap<u32, Sides> = BTreeMap::new();
    for line in lines(folder, "BITSTAMP.ws.1.0.gz") {
        // What begins with the address was sent.
        let Some((_, text)) = line.split_once(": ").filter(|_| !line.starts_with("wss:")) else { continue };
        match normalizer.message(1_641_343_697_000_000_000, text, &mut events).unwrap() {
            Said::Data(Channel::Book, _) => changes += 1,
            Said::Subscribed(..) => granted += 1,
            Said::Data(Channel::Trade, _) => {}
            other => panic!("{other:?}"),
        }
        for (index, _) in normalizer.take_wanted() {
            let name = normalizer.instruments.name(index).unwrap().to_owned();
            let is_done = normalizer.snapshot(&name, 1_641_343_697_000_000_000, &books[&name], &mut events);
            assert!(is_done.unwrap(), "{name}");
        }
        for event in events.drain(..) {
            let FeedEvent::Market(event) = event else { panic!("{event:?}") };
            let sides = sides.entry(event.index).or_default();
            match event.body {
                MarketBody::BookSnapshot(levels) => {
                    apply(sides, &levels);
                    snapshots += 1;
                }
                MarketBody::BookDelta(levels) => {
                    apply(sides, &levels);
                    told += 1;
                }
                MarketBody::Trade(trade) => {
                    assert!(trade.size > 0);
                    trades += 1;
                }
                other => panic!("{other:?}"),
            }
            let best = sides.0.last_key_value().zip(sides.1.first_key_value());
            crossed += u64::from(best.is_some_and(|((bid, _), (ask, _))| bid >= ask));
        }
    }
    // The messages of the recording; 102 changes were in the books of the REST service before.
    assert_eq!((changes, granted, trades), (717, 20, 10));
    // One of the ten books has no change, so that it is not asked for.
    assert_eq!((snapshots, told, crossed), (9, 615, 0));
}

/// The texts by which a part of a message may be replaced.
const WILD: [&str; 10] =
    ["", "0", "-1", "1e999999999", "18446744073709551615", "null", "[]", "{", "\"", "0.30000000000000004"];

fn message(kind: u8, time: u64, price: u8, size: u8) -> String {
    let book = format!(
        r#"{{"timestamp":"1","microtimestamp":"{time}","bids":[["{price}.5","{size}"]],"asks":[["2{price}","1"]]}}"#
    );
    match kind {
        0 => format!(r#"{{"data":{book},"channel":"diff_order_book_ab","event":"data"}}"#),
        1 => book,
        _ => format!(
            r#"{{"data":{{"id":{size},"amount_str":"{size}","price_str":"{price}.5","type":1,"microtimestamp":"{time}"}},"channel":"live_trades_ab","event":"trade"}}"#
        ),
    }
}

proptest! {
    /// Whatever comes, in whatever order: nothing panics, levels are in order, and a change or a gap is of a book that there is.
    #[test]
    fn anything_makes_sense(
        steps in vec((0..3u8, 0..40u64, 1..9u8, 0..4u8, option::weighted(0.2, (0..200usize, 0..9usize, 0..WILD.len()))), 1..60)
    ) {
        let mut normalizer = Normalizer::new(10);
        let definition = Instrument { symbol: "AB".to_owned(), price_decimals: 1, size_decimals: 1, ..Instrument::default() };
        normalizer.instruments.define(&definition);
        let mut has_book = false;
        for (at, (kind, time, price, size, wild)) in steps.into_iter().enumerate() {
            let mut text = message(kind, time, price, size);
            if let Some((from, length, by)) = wild {
                let from = from.min(text.len());
                text.replace_range(from..(from + length).min(text.len()), WILD[by]);
            }
            let (now, mut events) = (1_700_000_000_000_000_000 + at as u64, Vec::new());
            let _ = match kind {
                1 => normalizer.snapshot("AB", now, &text, &mut events).is_ok(),
                _ => normalizer.message(now, &text, &mut events).is_ok(),
            };
            for event in events {
                let FeedEvent::Market(event) = event else { continue };
                match event.body {
                    MarketBody::BookSnapshot(levels) => {
                        prop_assert!(!has_book, "a gap says that the book before it was wrong");
                        prop_assert!(levels.bids.iter().chain(&levels.asks).all(|level| level.size > 0));
                        prop_assert!(levels.bids.is_sorted_by(|a, b| a.price > b.price));
                        prop_assert!(levels.asks.is_sorted_by(|a, b| a.price < b.price));
                        has_book = true;
                    }
                    MarketBody::BookDelta(_) => prop_assert!(has_book),
                    MarketBody::UpstreamGap { channel: Channel::Book, .. } => {
                        prop_assert!(has_book);
                        has_book = false;
                    }
                    _ => {}
                }
            }
        }
    }
}
