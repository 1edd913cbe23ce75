//! Plain CSV with a mapping.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::data;
use proptest::prelude::*;
use tickwire_recordings::said::{FixedLevel, Said, What};
use tickwire_recordings::source::Entry;
use tickwire_recordings::{Format, Hints, Map, Recording, contents};

const TRADES: &str = r#"
venue = "nyse"
kind = "trade"
symbol = { column = "ticker" }
price_decimals = 4
[time]
column = "ms"
unit = "ms"
since = "2013-10-07"
zone = "America/New_York"
[columns]
price = "price"
size = "size"
side = "side"
id = "id"
"#;
const HISTDATA: &str = r#"
venue = "fx"
kind = "quote"
header = false
symbol = "EURUSD"
[time]
column = 1
format = "%Y%m%d %H%M%S%f"
zone = "-05:00"
[columns]
bid_price = 2
ask_price = 3
"#;
const TRUEFX: &str = r#"
venue = "fx"
kind = "quote"
symbol = "USDJPY"
[time]
column = "timestamp"
format = "%Y-%m-%d %H:%M:%S%.f%:z"
[columns]
bid_price = "bid"
ask_price = "ask"
"#;
const CHANGES: &str = r#"
venue = "x"
kind = "change"
header = false
delimiter = ";"
symbol = { column = 2 }
buy = ["+"]
sell = ["-"]
[time]
column = 1
unit = "s"
[columns]
side = 3
price = 4
size = 5
"#;

/// Reads a file with a mapping: the venue, and all entries.
fn read(path: &Path, map: &str) -> (String, Vec<Entry>) {
    let map = map.parse::<Map>().unwrap();
    let hints = Hints { map: Some(Arc::new(map)), ..Hints::default() };
    let recording = Recording::open(path, &hints).unwrap();
    assert_eq!(recording.format(), Format::Csv);
    let venue = contents::read(&recording, &Arc::default()).unwrap().venue;
    let mut source = recording.source(Arc::default()).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    (venue, entries)
}

fn read_text(text: &str, map: &str) -> Vec<Entry> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    read(file.path(), map).1
}

fn brief(entries: &[Entry]) -> Vec<String> {
    let side = |side: &[FixedLevel]| {
        let level = |level: &FixedLevel| {
            format!("{}e-{}x{}", level.price.mantissa, level.price.decimals, level.size.mantissa)
        };
        side.iter().map(level).collect::<Vec<_>>().join(" ")
    };
    let brief = |entry: &Entry| match entry {
        Entry::Said(Said { symbol, event_time, what, .. }) => {
            let what = match what {
                What::Trade { price, size, aggressor, id, id_text } => {
                    format!(
                        "trade {}e-{} {} {aggressor:?} {id}{id_text}",
                        price.mantissa, price.decimals, size.mantissa
                    )
                }
                What::Quote { bid, ask } => {
                    format!("quote {} {}", side(bid.as_slice()), side(ask.as_slice()))
                }
                What::Book(levels) => format!("book {} | {}", side(&levels.bids), side(&levels.asks)),
                What::Change(levels) => format!("change {} | {}", side(&levels.bids), side(&levels.asks)),
                What::Gap { .. } => "gap".to_owned(),
                other => format!("{other:?}"),
            };
            format!("{symbol} {event_time} {what}")
        }
        Entry::Unused(kind) => (*kind).to_owned(),
        Entry::Fault(place, reason) => format!("{place}: {reason}"),
    };
    entries.iter().map(brief).collect()
}

#[test]
fn trades_by_names_of_columns() {
    let rows = "ms,ticker,price,size,side,id\n34200000,AIG,487500,100,B,7\n34200000.5,IBM,1870000,5,?,x7\n1,AIG,a,1,B,1\n1\n";
    // Midnight in New York is four hours behind in October.
    let midnight = 1_381_118_400_000_000_000u64;
    let said = brief(&read_text(rows, TRADES));
    let expected = [
        format!("0 {} trade 487500e-4 100 Buy 7", midnight + 34_200_000_000_000),
        format!("1 {} trade 1870000e-4 5 Unknown 0x7", midnight + 34_200_000_500_000),
    ];
    assert_eq!(said[..2], expected);
    assert!(
        said[2].starts_with("line 4: `a`") && said[3].starts_with("line 5: the row has 1 columns"),
        "{said:?}"
    );
}

#[test]
fn quotes_by_numbers_of_columns() {
    let said =
        brief(&read_text("20200101 170000065,1.121200,1.121720,0\n20200101 170010447,0,1.5,0\n", HISTDATA));
    let expected =
        ["0 1577916000065000000 quote 11212e-4x0 112172e-5x0", "0 1577916010447000000 quote  15e-1x0"];
    assert_eq!(said, expected);
    let said =
        brief(&read_text("timestamp,bid,ask\n2013-01-01 22:00:00.295000+00:00,86.655,86.728\n", TRUEFX));
    assert_eq!(said, ["0 1357077600295000000 quote 86655e-3x0 86728e-3x0"]);
}

#[test]
fn changes_of_books_that_are_empty_at_first() {
    let said = brief(&read_text("1;A;+;10;2\n2;A;-;11;3\n3;A;+;10;0\n4;A;x;1;1\n5;A;+;9;1\n", CHANGES));
    let expected = [
        "0 1000000000 book 10e-0x2 | ",
        "0 2000000000 change  | 11e-0x3",
        "0 3000000000 change 10e-0x0 | ",
        "0 3000000000 gap",
        "line 4: `x` is no word for a side: name it in `buy` or `sell`",
        "changes of books that are not known",
    ];
    assert_eq!(said, expected);
}

#[test]
fn a_mapping_is_checked_as_a_whole() {
    let wrong = r#"
venue = "no venue"
kind = "trade"
header = false
delimiter = "||"
symbol = ""
price_decimals = 19
[time]
column = "ts"
zone = "Mars"
[columns]
price = 0
bid_price = 1
"#;
    let told = wrong.parse::<Map>().err().unwrap();
    for part in [
        "venue",
        "delimiter",
        "symbol",
        "price_decimals",
        "\"ts\"",
        "Mars",
        "either unit or format",
        "columns.size is missing",
        "columns.bid_price has no meaning",
        "the first one is 1",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    for (text, reason) in [
        ("venue = 1", "venue"),
        (&TRADES.replace("side =", "sides ="), "sides"),
        (&TRADES.replace("\"ms\"\nsince", "\"h\"\nsince"), "time.unit"),
        (&TRADES.replace("America/New_York", "+600000:00"), "time.zone"),
    ] {
        let told = text.parse::<Map>().err().unwrap();
        assert!(told.contains(reason), "{told}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "a,b\n1,2\n").unwrap();
    let hints = Hints { map: Some(Arc::new(TRUEFX.parse().unwrap())), ..Hints::default() };
    let told =
        Recording::open(file.path(), &hints).unwrap().source(Arc::default()).err().unwrap().to_string();
    assert!(told.contains("\"timestamp\", \"bid\", \"ask\""), "{told}");
    assert!(Map::read(Path::new("/nowhere.toml")).err().unwrap().contains("/nowhere.toml"));
}

#[test]
fn real_quotes_of_currencies() {
    let Some(folder) = data() else { return };
    for (file, map, count, first) in [
        (
            "fx/histdata-like_eurusd_quote_tick_data.csv.gz",
            HISTDATA,
            9_500,
            "0 1577916000065000000 quote 11212e-4x0 112172e-5x0",
        ),
        ("fx/truefx_usdjpy-ticks.csv.gz", TRUEFX, 1_000, "0 1357077600295000000 quote 86655e-3x0 86728e-3x0"),
    ] {
        let (venue, entries) = read(&folder.join(file), map);
        assert_eq!((venue.as_str(), entries.len()), ("fx", count), "{file}");
        assert!(entries.iter().all(|entry| matches!(entry, Entry::Said(_))), "{file}");
        assert_eq!(brief(&entries[..1]), [first]);
    }
}

proptest! {
    #[test]
    fn no_flipped_bit_panics(at in 0usize..200, bit in 0u8..8) {
        let mut bytes = b"1;A;+;10;2\n2;A;-;11;3\n3;A;+;10;0\n".to_vec();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        read(file.path(), CHANGES);
    }
}
