//! The speed at which recordings are read, on one core: `cargo run --release -p tickwire-recordings --example reading_speed -- FILE...`
//!
//! Each file is read several times, and the fastest time of each counts: unpacking alone, for DBN the reference decoder alone, then everything
//! up to statements, books among it.
#![allow(clippy::print_stdout)]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dbn::decode::dbn::Decoder;
use tickwire_recordings::{Format, Hints, Recording};

/// The times that each is read.
const TIMES: usize = 5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!(
        "{:<44} {:>10} {:>9} {:>12} {:>12} {:>12}",
        "file", "records", "ns each", "records/s", "unpack ns", "reference ns"
    );
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let recording = Recording::open(&path, &Hints::default())?;
        let mut records = 0;
        let read = fastest(|| {
            let mut source = recording.source(Arc::default())?;
            let mut entries = Vec::new();
            while source.read(&mut entries) {
                entries.clear();
            }
            records = source.records();
            Ok(())
        })?;
        let each = |time: Duration| time.as_nanos() as f64 / records.max(1) as f64;
        let unpack = fastest(|| {
            let mut content = recording.content()?;
            let mut buffer = vec![0; 64 << 10];
            while content.read(&mut buffer)? > 0 {}
            Ok(())
        })?;
        let reference =
            (recording.format() == Format::Dbn).then(|| fastest(|| decode(&recording))).transpose()?;
        let reference = reference.map_or_else(|| "-".to_owned(), |time| format!("{:.0}", each(time)));
        let name = path.file_name().map_or(path.as_path(), Path::new).display().to_string();
        let rate = records as f64 / read.as_secs_f64();
        println!(
            "{name:<44} {records:>10} {:>9.0} {rate:>12.0} {:>12.0} {reference:>12}",
            each(read),
            each(unpack)
        );
    }
    Ok(())
}

fn decode(recording: &Recording) -> Result<(), Box<dyn std::error::Error>> {
    let mut decoder = Decoder::new(recording.content()?)?;
    while let Some(record) = decoder.decode_ref()? {
        std::hint::black_box(record.as_enum()?);
    }
    Ok(())
}

fn fastest(
    mut run: impl FnMut() -> Result<(), Box<dyn std::error::Error>>,
) -> Result<Duration, Box<dyn std::error::Error>> {
    let mut best = Duration::MAX;
    for _ in 0..TIMES {
        let began = Instant::now();
        run()?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}
