//! Captures of cryptofeed: each venue, what is missing, and the real files.

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{Reading, data, manifest, read};
use proptest::prelude::*;
use tickwire_recordings::said::{FixedLevel, FixedLevels, Said, What};
use tickwire_recordings::source::{Entry, Place};
use tickwire_recordings::{Format, Hints, Recording, contents};
use tickwire_wire::Channel;

/// Makes a capture of Kraken: a book with a snapshot, two changes that fit, and one that does not.
fn kraken() -> String {
    let first = crc32(concat!("10502", "1000000000", "10400", "500000000"));
    let second = crc32(concat!("10502", "1000000000", "10301", "100000000"));
    format!(
        "wss://ws.kraken.com <-> 1618678132.5\n\
        wss://ws.kraken.com <- 1618678132.6: {{\"event\":\"subscribe\"}}\n\
        1618678132.7: {{\"event\":\"heartbeat\"}}\n\
        1618678132.8: [1,{{\"a\":[[\"1.0\",\"1.0\",\"1618678132.0\"]],\"c\":\"1\"}},\"book-2\",\"A/B\"]\n\
        1618678133.0: [1,{{\"as\":[[\"10.502\",\"10.00000000\",\"1618678130.5\"]],\"bs\":[[\"10.400\",\"1.00000000\",\"1618678131.5\"]]}},\"book-2\",\"A/B\"]\n\
        1618678133.1: [1,{{\"b\":[[\"10.400\",\"5.00000000\",\"1618678132.5\"]],\"c\":\"{first}\"}},\"book-2\",\"A/B\"]\n\
        1618678133.2: [1,{{\"a\":[]}},{{\"b\":[[\"10.400\",\"0.00000000\",\"1618678132.6\"],[\"10.301\",\"0.00000000\",\"1618678132.6\"],[\"10.301\",\"1.00000000\",\"1618678132.7\"]],\"c\":\"{second}\"}},\"book-2\",\"A/B\"]\n\
        1618678133.3: [1,{{\"b\":[[\"10.301\",\"6.00000000\",\"1618678132.8\"]],\"c\":\"7\"}},\"book-2\",\"A/B\"]\n\
        1618678133.4: [2,[[\"10.4\",\"0.50\",\"1618678133.25\",\"s\",\"l\",\"\"]],\"trade\",\"A/B\"]\n\
        1618678133.5: [3,{{\"a\":[\"10.5\",35,\"35.7\"],\"b\":[\"10.4\",185,\"185.1\"]}},\"ticker\",\"A/B\"]\n\
        configuration: {{}}\n"
    )
}

/// Returns the CRC-32 of gzip, bit by bit.
fn crc32(text: &str) -> u32 {
    let step = |crc: u32, byte: u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    };
    !text.bytes().fold(!0, step)
}

fn entries(text: &str) -> Vec<Entry> {
    let mut source = Format::Cryptofeed.source_of(text.as_bytes().to_vec(), None).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    entries
}

fn brief(entries: &[Entry]) -> Vec<String> {
    let level = |level: &FixedLevel| format!("{}x{}", level.price.mantissa, level.size.mantissa);
    let side = |side: &[FixedLevel]| side.iter().map(level).collect::<Vec<_>>().join(" ");
    let levels = |levels: &FixedLevels| format!("{} | {}", side(&levels.bids), side(&levels.asks));
    let brief = |entry: &Entry| match entry {
        Entry::Said(said) => match &said.what {
            What::Book(all) => format!("book {}", levels(all)),
            What::Change(changed) => format!("change {}", levels(changed)),
            What::Trade { price, aggressor, id, .. } => {
                format!("trade {} {aggressor:?} {id}", price.mantissa)
            }
            What::Quote { bid, ask } => format!("quote {} {}", bid.is_some(), ask.is_some()),
            What::Gap { channel, count } => format!("{} gap {count:?}", channel.name()),
            other => format!("{other:?}"),
        },
        Entry::Unused(kind) => (*kind).to_owned(),
        Entry::Fault(place, reason) => format!("{place}: {reason}"),
    };
    entries.iter().map(brief).collect()
}

#[test]
fn a_book_of_kraken_is_what_its_checksums_say() {
    let entries = entries(&kraken());
    let expected = [
        "heartbeats",
        "changes of a book before its snapshot",
        "book 10400x100000000 | 10502x1000000000",
        "change 10400x500000000 | ",
        "change 10400x0 10301x0 10301x100000000 | ",
        "book gap None",
        "changes that do not fit their checksum",
        "trade 104 Sell 0",
        "quote true true",
    ];
    assert_eq!(brief(&entries), expected);
    let Entry::Said(Said { receive_time, event_time, .. }) = &entries[3] else { panic!("{entries:?}") };
    assert_eq!((*receive_time, *event_time), (1_618_678_133_100_000_000, 1_618_678_132_500_000_000));
}

const COINBASE: &str = r#"wss://ws-feed.pro.coinbase.com <-> 1618677816.8
1618677817.0: {"type":"subscriptions","channels":[]}
1618677817.1: {"type":"l2update","product_id":"A-B","changes":[["buy","1","1"]],"time":"2021-04-17T16:43:37.075687Z"}
1618677817.2: {"type":"snapshot","product_id":"A-B","asks":[["14.80","12.77"]],"bids":[["14.7","1"]]}
1618677817.3: {"type":"l2update","product_id":"A-B","changes":[["sell","14.80","0"],["buy","14.75","3"]],"time":"2021-04-17T16:43:37.075687Z"}
1618677817.4: {"type":"last_match","trade_id":7,"side":"sell","size":"0.04","price":"14.7","product_id":"A-B","time":"2021-04-17T16:43:30.244075Z"}
1618677817.5: {"type":"match","trade_id":8,"side":"sell","size":"0.04","price":"14.7","product_id":"A-B","time":"2021-04-17T16:43:38.244075Z"}
1618677817.6: {"type":"match","trade_id":11,"side":"buy","size":"0.04","price":"14.8","product_id":"A-B","time":"2021-04-17T16:43:38.244075Z"}
1618677817.7: {"type":"match","trade_id":11,"side":"buy","size":"0.04","price":"14.8","product_id":"A-B","time":"2021-04-17T16:43:38.244075Z"}
1618677817.8: {"type":"ticker","product_id":"A-B","best_bid":"1","best_ask":"2","time":"2021-04-17T16:43:38.244075Z"}
1618677817.9: {"type":"ticker","product_id":"A-B","best_bid":"1","best_bid_size":"1","best_ask":"2","best_ask_size":"1","time":"2021-04-17T16:43:38.244075Z"}
nonsense
"#;

#[test]
fn trades_of_coinbase_are_numbered_and_its_books_are_not() {
    let expected = [
        "responses to subscriptions",
        "changes of a book before its snapshot",
        "book 147x1 | 148x1277",
        "change 1475x3 | 148x0",
        "trades before the recording",
        "trade 147 Buy 8",
        "trade gap Some(2)",
        "trade 148 Sell 11",
        "repeated trades",
        "tickers without sizes",
        "quote true true",
        "book gap None",
    ];
    let said = brief(&entries(COINBASE));
    assert_eq!(said[..12], expected);
    assert!(matches!(&said[12..], [fault] if fault.starts_with("line 12: ")), "{said:?}");
}

#[test]
fn snapshots_of_binance_lie_beside_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let stream = folder.path().join("BINANCE.ws.1.0");
    let depth = |from: u64, to: u64, price: &str| {
        format!(
            r#"{{"stream":"ab@depth@100ms","data":{{"e":"depthUpdate","E":16339985{to},"s":"AB","U":{from},"u":{to},"b":[["{price}","2.0"]],"a":[]}}}}"#
        )
    };
    let lines = format!(
        "wss://stream.binance.com:9443/stream?streams=ab@depth@100ms <-> 1633998511.5\n\
        1633998512.1: {}\n1633998512.3: {}\nnonsense\n1633998512.4: {}\n",
        depth(10, 11, "1.5"),
        depth(12, 13, "1.6"),
        depth(14, 15, "1.7")
    );
    std::fs::write(&stream, lines).unwrap();
    let alone = read(&stream);
    assert!(!alone.said.iter().any(|said| matches!(said.what, What::Book(_))), "{:?}", alone.said);
    let fetched = "https://api.binance.com/api/v3/depth?symbol=AB&limit=1000 -> 1633998512.2: \
        {\"lastUpdateId\":11,\"bids\":[[\"1.5\",\"2.0\"]],\"asks\":[[\"1.9\",\"1.0\"]]}\n";
    std::fs::write(folder.path().join("BINANCE.http.0.0"), fetched).unwrap();
    std::fs::write(folder.path().join("BINANCE.ws.2.0"), "nonsense").unwrap();
    let reading = read(&stream);
    let books =
        reading.said.iter().filter(|said| matches!(said.what, What::Book(_) | What::Change(_))).count();
    assert_eq!((books, reading.records), (3, 3), "{:?}", reading.said);
    assert!(matches!(&reading.faults[..], [(Place::Line(4), _)]), "{:?}", reading.faults);
    let fetched = Recording::open(&folder.path().join("BINANCE.http.0.0"), &Hints::default()).unwrap();
    let told = fetched.source(std::sync::Arc::default()).err().unwrap().to_string();
    assert!(told.contains(".ws."), "{told}");
}

#[test]
fn another_venue_is_told() {
    let told = Format::Cryptofeed
        .source_of(b"wss://ws.bitstamp.net <-> 1.0\n1.0: {}\n".to_vec(), None)
        .err()
        .unwrap();
    assert!(told.contains("ws.bitstamp.net") && told.contains("coinbase"), "{told}");
}

/// Price and size of the best bid and the best offer.
type Best = [(i128, i128); 2];

/// The books of a recording.
#[derive(Default)]
struct Books {
    sides: BTreeMap<u32, [BTreeMap<i128, i128>; 2]>,
    states: u64,
    crossed: u64,
}

/// Returns a number in units of 10^-18.
fn fine(number: tickwire_recordings::said::Fixed) -> i128 {
    i128::from(number.mantissa) * 10i128.pow(18 - u32::from(number.decimals))
}

impl Books {
    fn take(&mut self, said: &Said) {
        let levels = match &said.what {
            What::Book(levels) => {
                self.sides.insert(said.symbol, Default::default());
                levels
            }
            What::Change(levels) => levels,
            _ => return,
        };
        let sides = self.sides.get_mut(&said.symbol).expect("a change of a known book");
        for (side, levels) in sides.iter_mut().zip([&levels.bids, &levels.asks]) {
            for level in levels {
                let (price, size) = (fine(level.price), fine(level.size));
                if size == 0 {
                    side.remove(&price)
                } else {
                    side.insert(price, size)
                };
            }
        }
        self.states += 1;
        let best = (sides[0].last_key_value(), sides[1].first_key_value());
        self.crossed += u64::from(matches!(best, (Some((bid, _)), Some((ask, _))) if bid >= ask));
    }
}

fn books(reading: &Reading) -> Books {
    let mut books = Books::default();
    reading.said.iter().for_each(|said| books.take(said));
    books
}

fn messages(folder: &Path, file: &str) -> (Reading, u64) {
    let reading = read(&folder.join(file));
    let messages = manifest(folder)[file].messages.unwrap();
    assert_eq!(reading.faults, [], "{file}");
    (reading, messages)
}

#[test]
fn every_checksum_of_the_real_capture_of_kraken_fits() {
    let Some(folder) = data() else { return };
    let (reading, count) = messages(&folder, "kraken/20210417/KRAKEN.ws.50.0.gz");
    assert_eq!(reading.records, count);
    let changes = reading.said.iter().filter(|said| matches!(said.what, What::Change(_))).count();
    let wholes = reading.said.iter().filter(|said| matches!(said.what, What::Book(_))).count();
    assert_eq!((changes, wholes), (4_269, 10), "{:?}", reading.unused);
    assert_eq!(books(&reading).crossed, 0);
    let (trades, count) = messages(&folder, "kraken/20210417/KRAKEN.ws.48.0.gz");
    assert_eq!(trades.records, count);
    assert!(trades.said.iter().all(|said| matches!(said.what, What::Trade { .. })) && trades.said.len() >= 8);
    let (tickers, _) = messages(&folder, "kraken/20210417/KRAKEN.ws.49.0.gz");
    assert_eq!(tickers.said.len(), 18);
}

#[test]
fn the_real_capture_of_coinbase() {
    let Some(folder) = data() else { return };
    let (reading, count) = messages(&folder, "coinbase/COINBASE.ws.28.0.part-a.gz");
    assert_eq!(reading.records, count);
    let of = |wanted: fn(&What) -> bool| reading.said.iter().filter(|said| wanted(&said.what)).count();
    assert_eq!(of(|what| matches!(what, What::Change(_))), 5_343);
    assert_eq!(
        (of(|what| matches!(what, What::Book(_))), of(|what| matches!(what, What::Trade { .. }))),
        (5, 73)
    );
    assert_eq!(of(|what| matches!(what, What::Gap { .. })), 0);
    let books = books(&reading);
    assert_eq!((books.states, books.crossed), (5_348, 0));
}

#[test]
fn the_real_capture_of_binance() {
    let Some(folder) = data() else { return };
    let file = folder.join("binance/cryptofeed-20211012/BINANCE.ws.1.0.gz");
    let reading = read(&file);
    assert_eq!((reading.faults.len(), reading.records), (0, 265), "{:?}", reading.faults);
    let mut books = Books::default();
    // A ticker comes as things happen, a change each 100 ms: the ticker is the best of the state before it or of one of the next.
    let mut waiting = Vec::<(u32, Best, u8)>::new();
    let (mut same, mut quotes) = (0, 0);
    for said in &reading.said {
        books.take(said);
        if let (What::Quote { bid: Some(bid), ask: Some(ask) }, true) =
            (&said.what, books.sides.contains_key(&said.symbol))
        {
            quotes += 1;
            waiting.push((said.symbol, [bid, ask].map(|level| (fine(level.price), fine(level.size))), 3));
        }
        waiting.retain_mut(|(symbol, [bid, ask], left)| {
            let sides = &books.sides[symbol];
            let best = (sides[0].last_key_value(), sides[1].first_key_value());
            let is_same = best == (Some((&bid.0, &bid.1)), Some((&ask.0, &ask.1)));
            same += u64::from(is_same);
            *left -= u8::from(*symbol == said.symbol && !matches!(said.what, What::Quote { .. }));
            !is_same && *left > 0
        });
    }
    assert_eq!(
        reading
            .said
            .iter()
            .filter(|said| matches!(said.what, What::Gap { channel: Channel::Book, .. }))
            .count(),
        0
    );
    assert!(books.crossed == 0 && books.states > 100 && books.sides.len() == 4);
    assert!(quotes > 20 && same * 2 > quotes, "{same} of {quotes} tickers are the book's best");
    let contents =
        contents::read(&Recording::open(&file, &Hints::default()).unwrap(), &std::sync::Arc::default())
            .unwrap();
    assert_eq!((contents.venue.as_str(), contents.instruments.len()), ("binance", 4));
}

proptest! {
    #[test]
    fn no_flipped_bit_panics(at in 0usize..10_000, bit in 0u8..8, cut in any::<bool>(), is_kraken in any::<bool>()) {
        let mut bytes = if is_kraken { kraken().into_bytes() } else { COINBASE.as_bytes().to_vec() };
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        if let Ok(mut source) = Format::Cryptofeed.source_of(bytes, None) {
            let mut entries = Vec::new();
            while source.read(&mut entries) {}
        }
    }
}
