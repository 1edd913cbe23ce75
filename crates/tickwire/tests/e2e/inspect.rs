//! Recordings of vendors: what `inspect` says of them, and how they play through the bus.

#[path = "../../../recordings/tests/common/encoded.rs"]
mod encoded;

use std::path::{Path, PathBuf};

use dbn::enums::Schema;
use tickwire_testkit::Program;

use crate::replay::RECORDING;
use crate::world::{TICKWIRE, nats, recording};

const SECOND: u64 = 1_000_000_000;
/// 2026-01-05T10:00:00Z.
const START: u64 = 1_767_607_200 * SECOND;

/// Writes five trades, a second apart, of prices from 10 to 10.4.
fn trades(folder: &Path) -> PathBuf {
    let path = folder.join("trades.dbn");
    let trade = |n: u64| encoded::trade(5, START + n * SECOND, 10_000_000_000 + n as i64 * 100_000_000);
    let trades: Vec<_> = (0..5).map(trade).collect();
    std::fs::write(&path, encoded::encoded(Schema::Trades, START, &trades)).unwrap();
    path
}

/// Runs a command to its end: status, and what it said.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let mut program = Program::start(TICKWIRE, arguments);
    (program.ended().code(), program.output())
}

fn inspected(files: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output =
        std::process::Command::new(TICKWIRE).args([&["inspect", "--json"], files].concat()).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn recordings_of_any_format_are_inspected() {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw.txt");
    std::fs::write(&raw, RECORDING).unwrap();
    let trades = trades(folder.path());
    let (raw, trades) = (raw.to_str().unwrap(), trades.to_str().unwrap());
    let (status, told) = inspected(&[raw, trades]);
    assert_eq!(status, Some(0), "{told}");
    let of = |at: usize| {
        let file = &told[at];
        let facts = [&file["format"], &file["venue"], &file["records"], &file["faults"]];
        (facts.map(ToString::to_string).join(" "), file["instruments"][0]["statements"].to_string())
    };
    let first = (r#""binance" "binance" 6 0"#.to_owned(), r#"{"book":3,"quote":1,"trade":2}"#.to_owned());
    assert_eq!(of(0), first);
    assert_eq!(of(1), (r#""dbn" "test-set" 5 0"#.to_owned(), r#"{"trade":5}"#.to_owned()));
    assert_eq!(told[1]["instruments"][0]["price_decimals"], 1);
    assert_eq!(told[1]["first"], "2026-01-05T10:00:00.000000000Z");
    let (status, words) = run(&["inspect", trades]);
    assert_eq!(status, Some(0), "{words}");
    assert!(words.contains("5 records make 5 statements about 1 instruments"), "{words}");

    let bytes = std::fs::read(trades).unwrap();
    std::fs::write(trades, &bytes[..bytes.len() - 1]).unwrap();
    let (status, words) = run(&["inspect", trades]);
    assert_eq!(status, Some(3), "{words}");
    assert!(words.contains("the file ends within a record") && words.contains("byte "), "{words}");
}

#[test]
fn a_part_of_a_recording_of_a_vendor_is_played() {
    let nats = nats();
    let folder = tempfile::tempdir().unwrap();
    let trades = trades(folder.path());
    let play = |more: &[&str]| {
        let file = trades.to_str().unwrap();
        let always = ["ingest", "replay", file, "--speed", "0", "--json", "--bus", &nats.url()];
        let mut program = Program::start(TICKWIRE, &[&always, more].concat());
        let status = program.ended().code();
        let summary: serde_json::Value =
            serde_json::from_str(&program.line_with("\"records\"")).unwrap_or_default();
        (status, summary["channels"]["trade"].clone(), program.output())
    };
    let (status, count, output) = play(&[]);
    assert_eq!((status, count), (Some(0), 5.into()), "{output}");
    let (status, count, output) = play(&["--from", "2026-01-05T10:00:02Z", "--to", "2026-01-05T10:00:04Z"]);
    assert_eq!((status, count), (Some(0), 2.into()), "{output}");
    let bytes = std::fs::read(&trades).unwrap();
    std::fs::write(&trades, &bytes[..bytes.len() - 1]).unwrap();
    let (status, count, output) = play(&[]);
    assert_eq!((status, count), (Some(3), 4.into()), "{output}");
}

#[test]
fn what_is_said_of_recordings_is_checked_at_the_start() {
    let settings = ["--from", "yesterday", "--to", "1", "--format", "reel", "--venue", "A B"];
    let (status, words) = run(&[&["ingest", "replay", "x"], &settings[..]].concat());
    assert_eq!(status, Some(2), "{words}");
    for part in ["`yesterday` is no time", "there is no format `reel`; known: ", "`A B` cannot name a venue"]
    {
        assert!(words.contains(part), "{part}: {words}");
    }
}

#[test]
fn a_day_of_orders_is_played() {
    let Some(file) = recording("databento/nautilus/esh4-glbx-mdp3-20231225.mbo.dbn.zst") else { return };
    let nats = nats();
    let arguments =
        ["ingest", "replay", file.to_str().unwrap(), "--speed", "0", "--json", "--bus", &nats.url()];
    let mut program = Program::start(TICKWIRE, &arguments);
    assert_eq!(program.ended().code(), Some(0), "{}", program.output());
    let summary: serde_json::Value = serde_json::from_str(&program.line_with("\"records\"")).unwrap();
    assert_eq!((&summary["channels"]["trade"], &summary["upstream_gaps"]), (&2_973.into(), &0.into()));
}
