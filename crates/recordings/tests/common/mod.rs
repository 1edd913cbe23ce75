#![allow(dead_code)]
//! The tests on real recordings share this.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickwire_recordings::said::Said;
use tickwire_recordings::source::{Entry, Place, Symbol};
use tickwire_recordings::{Hints, Recording};

/// Returns the folder of the recordings.
pub(crate) fn data() -> Option<PathBuf> {
    std::env::var_os("TICKWIRE_DATA").map(PathBuf::from)
}

/// The facts of a file in the manifest.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) format: String,
    pub(crate) messages: Option<u64>,
    pub(crate) schema: Option<String>,
}

/// Reads the manifest, by file.
pub(crate) fn manifest(folder: &Path) -> BTreeMap<String, Stats> {
    let text = std::fs::read_to_string(folder.join("MANIFEST.json")).unwrap();
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let entry = |entry: &serde_json::Value| {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let stats = &entry["stats"];
        let stats = Stats {
            format: text(&entry["format"]).unwrap_or_default(),
            messages: stats["messages"].as_u64().or_else(|| stats["rows"].as_u64()),
            schema: text(&stats["schema"]),
        };
        (text(&entry["file"]).unwrap(), stats)
    };
    list.iter().map(entry).collect()
}

/// A whole recording.
pub(crate) struct Reading {
    pub(crate) records: u64,
    pub(crate) said: Vec<Said>,
    pub(crate) unused: BTreeMap<&'static str, u64>,
    pub(crate) faults: Vec<(Place, String)>,
    pub(crate) symbols: Vec<Symbol>,
}

/// Reads a whole recording.
pub(crate) fn read(path: &Path) -> Reading {
    let recording = Recording::open(path, &Hints::default()).unwrap();
    let mut source = recording.source(Arc::default()).unwrap();
    let mut reading = Reading {
        records: 0,
        said: Vec::new(),
        unused: BTreeMap::new(),
        faults: Vec::new(),
        symbols: Vec::new(),
    };
    let mut entries = Vec::new();
    loop {
        let goes_on = source.read(&mut entries);
        for entry in entries.drain(..) {
            match entry {
                Entry::Said(said) => reading.said.push(said),
                Entry::Unused(kind) => *reading.unused.entry(kind).or_default() += 1,
                Entry::Fault(place, reason) => reading.faults.push((place, reason)),
            }
        }
        if !goes_on {
            break;
        }
    }
    reading.records = source.records();
    reading.symbols = source.symbols().to_vec();
    reading
}
