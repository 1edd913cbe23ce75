//! Recordings of the bus: made of a real bus, in files that rotate, looked at and played again.

use std::path::{Path, PathBuf};

use tickwire_recordings::said::{Said, What};
use tickwire_recordings::source::Entry;
use tickwire_recordings::{Hints, Recording};
use tickwire_testkit::{NatsServer, Program, Relay};
use tickwire_wire::Channel;

use crate::world::{TICKWIRE, nats, until};

fn ingester(nats: &NatsServer) -> Program {
    let bus = nats.url();
    Program::start(TICKWIRE, &["ingest", "sim", "--instruments", "3", "--rate", "2000", "--bus", &bus])
}

/// Returns the files of a folder whose names end so, by their number.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending))
        .collect();
    let number = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        let (_, rest) = name.rsplit_once("Z-").unwrap();
        rest.split('.').next().unwrap().parse::<u64>().unwrap()
    };
    files.sort_by_key(number);
    files
}

fn inspected(files: &[PathBuf]) -> (Option<i32>, Vec<serde_json::Value>) {
    let output =
        std::process::Command::new(TICKWIRE).args(["inspect", "--json"]).args(files).output().unwrap();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

/// Returns the sum of a number over all instruments of a file.
fn sum(file: &serde_json::Value, number: impl Fn(&serde_json::Value) -> u64) -> u64 {
    file["instruments"].as_array().unwrap().iter().map(number).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_file_explains_itself_and_nothing_is_missing() {
    let nats = nats();
    let mut ingester = ingester(&nats);
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().to_str().unwrap();
    let bus = nats.url();
    let arguments = ["record", into, "--bus", &bus, "--rotate-bytes", "100KiB", "--zstd", "--json"];
    let mut recorder = Program::start(TICKWIRE, &arguments);
    assert!(until(|| async { files(folder.path(), ".twbus.zst").len() >= 3 }).await, "{}", recorder.output());
    recorder.terminate();
    let status = recorder.ended().code();
    assert_eq!(status, Some(0), "{}", recorder.output());
    assert!(files(folder.path(), ".part").is_empty());
    let all = files(folder.path(), ".twbus.zst");
    let (status, told) = inspected(&all);
    assert_eq!(status, Some(0), "{told:#?}");
    for (at, file) in told.iter().enumerate() {
        assert_eq!((&file["format"], &file["venue"]), (&"bus".into(), &"sim".into()));
        assert_eq!(file["instruments"].as_array().unwrap().len(), 3, "{file:#}");
        assert_eq!(file["gaps"], 0, "{file:#}");
        let books = sum(file, |instrument| instrument["statements"]["book"].as_u64().unwrap_or(0));
        // The last file may have ended before anything came.
        assert!(books > 0 || at + 1 == told.len(), "{file:#}");
    }

    // They play as any other recording.
    ingester.kill();
    let names: Vec<_> = all.iter().map(|path| path.to_str().unwrap()).collect();
    let always = ["ingest", "replay", "--speed", "0", "--json", "--bus", &bus];
    let mut player = Program::start(TICKWIRE, &[&always, &names[..]].concat());
    assert_eq!(player.ended().code(), Some(0), "{}", player.output());
    assert!(player.line_with("\"records\"").bytes().any(|byte| byte.is_ascii_digit() && byte > b'0'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_that_is_killed_leaves_what_it_had() {
    let nats = nats();
    let _ingester = ingester(&nats);
    let folder = tempfile::tempdir().unwrap();
    let bus = nats.url();
    let mut recorder = Program::start(
        TICKWIRE,
        &["record", folder.path().to_str().unwrap(), "--bus", &bus, "--venue", "sim"],
    );
    let has_some = || async {
        files(folder.path(), ".part").first().is_some_and(|path| path.metadata().unwrap().len() > 50_000)
    };
    assert!(until(has_some).await, "{}", recorder.output());
    recorder.kill();
    let (status, told) = inspected(&files(folder.path(), ".part"));
    assert_eq!((status, &told[0]["faults"]), (Some(3), &1.into()), "{told:#?}");
    assert!(sum(&told[0], |instrument| instrument["statements"]["trade"].as_u64().unwrap_or(0)) > 0);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let nats = nats();
    let _ingester = ingester(&nats);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let bus = nats.url();
    let mut recorder = Program::start(TICKWIRE, &["record", file.to_str().unwrap(), "--bus", &bus]);
    assert_eq!(recorder.ended().code(), Some(1), "{}", recorder.output());
    assert!(recorder.output().contains("cannot be made"), "{}", recorder.output());
    let into = folder.path().to_str().unwrap();
    let mut recorder = Program::start(TICKWIRE, &["record", into, "--bus", &bus, "--venue", ""]);
    assert_eq!(recorder.ended().code(), Some(1), "{}", recorder.output());
    assert!(recorder.output().contains("--venue"), "{}", recorder.output());
}

/// Reads a recording to its end.
fn statements(path: &Path) -> Vec<Said> {
    let recording = Recording::open(path, &Hints::default()).unwrap();
    let mut source = recording.source(std::sync::Arc::default()).unwrap();
    let mut entries = Vec::new();
    while source.read(&mut entries) {}
    let said = |entry| match entry {
        Entry::Said(said) => Some(said),
        Entry::Fault(place, reason) => panic!("{place}: {reason}"),
        Entry::Unused(_) => None,
    };
    entries.into_iter().filter_map(said).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passed_in_an_outage_is_a_gap_and_books_come_anew() {
    let nats = nats();
    let _ingester = ingester(&nats);
    let relay = Relay::start(([127, 0, 0, 1], nats.port()).into()).await;
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().to_str().unwrap();
    let bus = format!("nats://{}", relay.address());
    let mut recorder = Program::start(TICKWIRE, &["record", into, "--bus", &bus]);
    let size = || files(folder.path(), ".part").first().map_or(0, |path| path.metadata().unwrap().len());
    assert!(until(|| async { size() > 50_000 }).await, "{}", recorder.output());
    relay.cut();
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    relay.lead_to(([127, 0, 0, 1], nats.port()).into());
    let before = size();
    assert!(until(|| async { size() > before + 300_000 }).await, "{}", recorder.output());
    recorder.terminate();
    assert_eq!(recorder.ended().code(), Some(0), "{}", recorder.output());
    let said = statements(&files(folder.path(), ".twbus")[0]);
    for symbol in 0..3 {
        let of_book =
            said.iter().filter(|said| said.symbol == symbol && said.what.channel() == Channel::Book);
        let kinds: Vec<_> = of_book
            .map(|said| match &said.what {
                What::Gap { .. } => 'g',
                What::Book(_) => 'b',
                _ => 'c',
            })
            .collect();
        let gap = kinds.iter().rposition(|kind| *kind == 'g').unwrap_or_else(|| panic!("{symbol}: no gap"));
        assert_eq!(kinds.get(gap + 1), Some(&'b'), "{symbol}: the book comes as a whole");
        assert!(kinds[..gap].contains(&'c') && kinds[gap + 1..].contains(&'c'), "{symbol}");
    }
    let trades = |said: &&Said| matches!(said.what, What::Gap { channel: Channel::Trade, count: Some(_) });
    assert!(said.iter().any(|said| trades(&said)), "trades of the outage are counted");
}
