//! Books of Kraken, recorded, against the checksums that the venue sent. The recording is of version 1 of the API, whose
//! checksum is of the same digits; its messages are written down as version 2 has them. Switched on by `TICKWIRE_DATA`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tickwire_feed::adapter::{FeedEvent, MarketBody};
use tickwire_feed::kraken::{Normalizer, Said};
use tickwire_wire::{Channel, Instrument};

/// Returns the digits of the best ten levels of a snapshot, for its checksum, which version 1 does not send.
fn digits(levels: &Value) -> String {
    let digits = |text: &Value| {
        let text = text.as_str().unwrap().replace('.', "");
        text.trim_start_matches('0').to_owned()
    };
    let levels = levels.as_array().unwrap().iter().take(10);
    levels.map(|level| digits(&level[0]) + &digits(&level[1])).collect()
}

fn levels(levels: &Value) -> String {
    let level = |level: &Value| {
        format!(r#"{{"price":{},"qty":{}}}"#, level[0].as_str().unwrap(), level[1].as_str().unwrap())
    };
    levels.as_array().map(|levels| levels.iter().map(level).collect::<Vec<_>>().join(",")).unwrap_or_default()
}

#[test]
fn all_checksums_of_the_venue_are_right() {
    let Some(folder) = std::env::var_os("TICKWIRE_DATA") else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: TICKWIRE_DATA does not name the folder of recordings");
        }
        return;
    };
    let path = Path::new(&folder).join("kraken/20210417/KRAKEN.ws.50.0.gz");
    let mut normalizer = Normalizer::new(1_000);
    let mut indexes = BTreeMap::new();
    let (mut snapshots, mut changes) = (0, 0);
    for line in BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines() {
        let line = line.unwrap();
        let Some((_, text)) = line.split_once(": [") else { continue };
        let message: Vec<Value> = serde_json::from_str(&format!("[{text}")).unwrap();
        let (symbol, parts) = (message.last().unwrap().as_str().unwrap(), &message[1..message.len() - 2]);
        let part = |name: &str| parts.iter().find_map(|part| part.get(name)).unwrap_or(&Value::Null);
        let (kind, bids, asks, checksum) = if part("as").is_array() {
            let price = part("as")[0][0].as_str().unwrap();
            let definition = Instrument {
                symbol: symbol.to_owned(),
                price_decimals: price.split_once('.').unwrap().1.len() as u32,
                size_decimals: 8,
                ..Instrument::default()
            };
            indexes.insert(symbol.to_owned(), normalizer.instruments.define(&definition));
            let checksum = crc32fast::hash((digits(part("as")) + &digits(part("bs"))).as_bytes());
            ("snapshot", levels(part("bs")), levels(part("as")), checksum.to_string())
        } else {
            ("update", levels(part("b")), levels(part("a")), part("c").as_str().unwrap().to_owned())
        };
        let text = format!(
            r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{symbol}","bids":[{bids}],"asks":[{asks}],"checksum":{checksum}}}]}}"#
        );
        let mut events = Vec::new();
        let said = normalizer.message(1_700_000_000_000_000_000, &text, &mut events).unwrap();
        assert_eq!(said, Said::Data(Channel::Book, symbol.to_owned()), "{line}");
        for event in events {
            let FeedEvent::Market(event) = event else { panic!("{event:?}") };
            assert_eq!(event.index, indexes[symbol]);
            match event.body {
                MarketBody::BookSnapshot(_) => snapshots += 1,
                MarketBody::BookDelta(_) => changes += 1,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(snapshots, 10);
    assert!(changes > 4_000, "{changes}");
}
