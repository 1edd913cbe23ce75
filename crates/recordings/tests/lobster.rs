//! LOBSTER: messages with the levels beside them, without, and the real file.

mod common;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use common::{Reading, data, read};
use proptest::prelude::*;
use tickwire_recordings::said::{FixedLevel, Said, What};
use tickwire_recordings::source::Place;
use tickwire_recordings::{Format, Hints, Recording, contents};
use tickwire_wire::{Side, TradingState};

const MESSAGES: &str = "\
34200.004241176,1,16113575,18,5853300,1
34200.5,4,16113575,8,5853300,1
34200.6,5,0,3,5853400,-1
34200.7,2,16113575,10,5853300,1
34201,7,0,0,-1,-1
34202,1,7,5,9000,1
";
const LEVELS: &str = "\
5859400,200,5853300,18,9999999999,0,5853000,150
5859400,200,5853300,10,9999999999,0,5853000,150
5859400,200,5853300,10,9999999999,0,5853000,150
5859400,200,5853000,150,9999999999,0,-9999999999,0
5859400,200,5853000,150,9999999999,0,-9999999999,0
5859400,200,5853000,150,9999999999,0,-9999999999,0
";

fn folder(messages: &str, levels: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("AAPL_2012-06-21_34200000_57600000_message_2.csv");
    std::fs::write(&path, messages).unwrap();
    if let Some(levels) = levels {
        std::fs::write(folder.path().join("AAPL_2012-06-21_34200000_57600000_orderbook_2.csv"), levels)
            .unwrap();
    }
    (folder, path)
}

fn brief(reading: &Reading) -> Vec<String> {
    let side = |side: &[FixedLevel]| {
        let level = |level: &FixedLevel| format!("{}x{}", level.price.mantissa, level.size.mantissa);
        side.iter().map(level).collect::<Vec<_>>().join(" ")
    };
    let brief = |said: &Said| match &said.what {
        What::Book(levels) => format!("book {} | {}", side(&levels.bids), side(&levels.asks)),
        What::Change(levels) => format!("change {} | {}", side(&levels.bids), side(&levels.asks)),
        What::Trade { price, size, aggressor, .. } => {
            format!("trade {} {} {aggressor:?}", price.mantissa, size.mantissa)
        }
        What::Status(status) => format!("{:?}", status.state()),
        other => format!("{other:?}"),
    };
    reading.said.iter().map(brief).collect()
}

#[test]
fn messages_and_the_levels_beside_them() {
    let (_folder, path) = folder(MESSAGES, Some(LEVELS));
    let reading = read(&path);
    assert_eq!(reading.faults, []);
    let expected = [
        "book 5853300x18 5853000x150 | 5859400x200".to_owned(),
        format!("trade 5853300 8 {:?}", Side::Sell),
        "change 5853300x10 | ".to_owned(),
        format!("trade 5853400 3 {:?}", Side::Buy),
        "change 5853300x0 | ".to_owned(),
        format!("{:?}", TradingState::Halted),
    ];
    assert_eq!(brief(&reading), expected);
    assert_eq!(reading.unused["orders beyond the best levels"], 1);
    // Midnight in New York is four hours behind in summer.
    assert_eq!(reading.said[0].event_time, 1_340_251_200_000_000_000 + 34_200_004_241_176);
    let contents =
        contents::read(&Recording::open(&path, &Hints::default()).unwrap(), &std::sync::Arc::default())
            .unwrap();
    assert_eq!((contents.format, contents.venue.as_str()), (Format::Lobster, "nasdaq"));
    let definition = &contents.instruments[0].definition;
    assert_eq!((definition.symbol.as_str(), definition.price_decimals), ("AAPL", 2));
}

#[test]
fn levels_stay_beside_their_messages_when_one_cannot_be_read() {
    for wrong in ["34200.6,9,0,3,5853400,-1", "noon,5,0,3,5853400,-1", "1"] {
        let messages = MESSAGES.replace("34200.6,5,0,3,5853400,-1", wrong);
        let (_folder, path) = folder(&messages, Some(LEVELS));
        let reading = read(&path);
        assert_eq!(reading.faults.len(), 1, "{:?}", reading.faults);
        assert!(brief(&reading).contains(&"change 5853300x0 | ".to_owned()));
        let at = reading
            .said
            .iter()
            .find(|said| matches!(&said.what, What::Change(levels) if levels.bids[0].size.mantissa == 0));
        assert_eq!(at.unwrap().event_time % 1_000_000_000_000 % 1_000_000_000, 700_000_000, "{wrong}");
    }
}

#[test]
fn without_levels_there_are_trades_only() {
    let (_folder, path) = folder(MESSAGES, None);
    let reading = read(&path);
    assert_eq!((reading.faults.len(), reading.said.len()), (0, 3));
    assert_eq!(reading.unused["orders of a book whose state is not known"], 3);
}

#[test]
fn what_does_not_fit_is_told_with_its_line() {
    for (messages, levels, line, reason) in [
        (MESSAGES.to_owned(), LEVELS.lines().next().unwrap().to_owned(), 2, "end before them"),
        (MESSAGES.lines().next().unwrap().to_owned(), LEVELS.to_owned(), 2, "the messages end"),
        (MESSAGES.replace("34200.6,5", "34200.6,9"), LEVELS.to_owned(), 3, "no type `9`"),
        (MESSAGES.to_owned(), LEVELS.replacen("5859400,200", "5859400,many", 1), 1, "no whole number"),
        (MESSAGES.replace("34200.7", "noon"), LEVELS.to_owned(), 4, "no time"),
    ] {
        let (_folder, path) = folder(&messages, Some(&levels));
        let reading = read(&path);
        let is_told = |(place, told): &(Place, String)| *place == Place::Line(line) && told.contains(reason);
        assert!(reading.faults.iter().any(is_told), "{reason}: {:?}", reading.faults);
    }
    let (folder, path) = folder(MESSAGES, None);
    let renamed = folder.path().join("messages.csv");
    std::fs::rename(path, &renamed).unwrap();
    let recording = Recording::open(&renamed, &Hints::default()).unwrap();
    let told = recording.source(std::sync::Arc::default()).err().unwrap().to_string();
    assert!(told.contains("name of the file"), "{told}");
}

#[test]
fn the_book_of_the_real_file_is_each_row_of_its_levels() {
    let Some(data) = data() else { return };
    let name = |kind: &str| format!("lobster/AAPL_2012-06-21_34200000_57600000_{kind}_10.csv.gz");
    let reading = read(&data.join(name("message")));
    // The manifest counts line ends, and the last row has none.
    assert_eq!((reading.faults.len(), reading.records), (0, 998 + 1));
    let of = |wanted: fn(&What) -> bool| reading.said.iter().filter(|said| wanted(&said.what)).count();
    assert_eq!(of(|what| matches!(what, What::Trade { .. })), 98 + 61);
    let rows = unpacked(&data.join(name("orderbook")));
    let rows: Vec<Vec<i64>> =
        rows.lines().map(|row| row.split(',').map(|number| number.parse().unwrap()).collect()).collect();
    assert_eq!(rows.len(), 999);
    // Each row that differs from the one before it is a statement.
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    let mut states = Vec::new();
    for said in &reading.said {
        let (What::Book(levels) | What::Change(levels)) = &said.what else { continue };
        for (side, levels) in sides.iter_mut().zip([&levels.bids, &levels.asks]) {
            for level in levels {
                let (price, size) = (level.price.mantissa, level.size.mantissa);
                if size == 0 {
                    side.remove(&price)
                } else {
                    side.insert(price, size)
                };
            }
        }
        states.push(sides.clone());
    }
    let book = |row: &Vec<i64>| {
        let side =
            |at: usize| row.chunks(4).map(|level| (level[at], level[at + 1])).collect::<BTreeMap<_, _>>();
        [side(2), side(0)]
    };
    let mut expected: Vec<_> = rows.iter().map(book).collect();
    expected.dedup();
    assert!(states == expected, "{} states of {}", states.len(), expected.len());
}

fn unpacked(path: &Path) -> String {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    text
}

proptest! {
    #[test]
    fn no_flipped_bit_panics(at in 0usize..10_000, bit in 0u8..8, cut in any::<bool>()) {
        let mut bytes = MESSAGES.as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        let mut source = Format::Lobster.source_of(bytes, None).unwrap();
        let mut entries = Vec::new();
        while source.read(&mut entries) {}
    }
}
