//! A recording of Bitstamp (2022) through its normalizer: the books of the REST service, and the stream whose changes began before them. Switched
//! on by `TICKWIRE_DATA`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tickwire_feed::adapter::{FeedEvent, Levels, MarketBody};
use tickwire_feed::bitstamp::{Normalizer, Said, listings};
use tickwire_wire::{Channel, Level};

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
    assert_eq!((snapshots, told, crossed), (10, 615, 0));
}
