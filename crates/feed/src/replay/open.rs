//! The first reading of recordings, which finds what is in them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tickwire_wire::Instrument;

use super::findings::names;
use super::gzip::{self, Part};
use super::input::Input;
use super::reader::LineReader;
use super::timeline::{Step, Timeline};
use super::{ReplayConfig, ReplayError, ReplayProgress, Source, unreadable};
use crate::adapter::Fault;
use crate::binance::{Market, Scan};

/// The number of lines that are none, without any other one before, after which it is no recording.
const BAD_LINES_MAX: u64 = 1_000;

/// One recording, which can be opened again and again.
pub(super) struct Recording {
    input: Input,
    /// The members of the file, where it is packed and damaged.
    parts: Option<Vec<Part>>,
    /// The only symbol in it, if it has only one.
    pub(super) only_symbol: Option<String>,
}

/// The content of all recordings.
pub(super) struct Found {
    pub(super) market: Market,
    pub(super) definitions: Vec<Instrument>,
    pub(super) recordings: Vec<Recording>,
}

/// The outcome of the first reading of one recording.
struct FileScan {
    scan: Scan,
    lines: u64,
    bytes: u64,
    /// The times of the first and the last line.
    times: Option<(u64, u64)>,
    first_fault: Option<Fault>,
    is_damaged: bool,
}

impl Recording {
    fn timeline(&self, bytes_read: Arc<AtomicU64>) -> io::Result<Timeline> {
        let file = Arc::new(self.input.open()?);
        LineReader::new(self.input.path(), file, self.parts.as_deref(), bytes_read).map(Timeline::new)
    }
}

pub(super) fn open_all(
    recordings: &[Recording],
    progress: &ReplayProgress,
) -> Result<Vec<Source>, (PathBuf, io::Error)> {
    let open = |recording: &Recording| {
        let timeline = recording.timeline(progress.bytes_counter());
        let timeline = timeline.map_err(|error| (recording.input.path().to_owned(), error))?;
        Ok(Source { timeline, head: None })
    };
    recordings.iter().map(open).collect()
}

/// Reads all recordings once.
pub(super) fn find(
    config: &ReplayConfig,
    inputs: Vec<Input>,
    progress: &ReplayProgress,
) -> Result<Found, ReplayError> {
    let mut all = Scan::default();
    let (mut recordings, mut sure_markets) = (Vec::new(), Vec::new());
    let paths: Vec<_> = inputs.iter().map(|input| input.path().to_owned()).collect();
    for (input, path) in inputs.into_iter().zip(&paths) {
        let mut recording = Recording { input, parts: None, only_symbol: None };
        let mut found = scan(&recording).map_err(|source| unreadable(path, source))?;
        if found.is_damaged {
            let file = Arc::new(recording.input.open().map_err(|source| unreadable(path, source))?);
            recording.parts = Some(gzip::map(&file).map_err(|source| unreadable(path, source))?);
            found = scan(&recording).map_err(|source| unreadable(path, source))?;
        }
        let Some(times) = found.times else {
            return Err(match found.first_fault {
                Some(fault) => ReplayError::Foreign { path: path.clone(), reason: fault.reason },
                None => ReplayError::Empty(path.clone()),
            });
        };
        progress.found_file(found.bytes, found.lines, times);
        let mut symbols = found.scan.symbols();
        recording.only_symbol = symbols.next().map(str::to_owned).filter(|_| symbols.next().is_none());
        drop(symbols);
        let is_of_use = recording.only_symbol.is_some()
            || found.scan.symbols().next().is_some()
            || found.scan.has_nameless_snapshots()
            || found.scan.has_infos();
        if !is_of_use {
            return Err(nothing(config, path, &found));
        }
        sure_markets.extend(found.scan.sure_market().map(|(market, count)| (path, market, count)));
        found.scan.finish();
        all.merge(found.scan);
        recordings.push(recording);
    }
    let market = config.market.unwrap_or_else(|| all.market());
    if let Some((path, found, messages)) = sure_markets.into_iter().find(|(_, found, _)| *found != market) {
        let remedy = if config.market.is_some() {
            "name that venue, or none: the recording tells it"
        } else {
            "replay the files of each venue by themselves"
        };
        let (path, found, market) = (path.clone(), found.venue(), market.venue());
        return Err(ReplayError::OtherMarket { path, found, messages, market, remedy });
    }
    all.finish();
    let definitions = all.definitions();
    let Some(first) = definitions.first() else {
        let found =
            "depth snapshots or exchangeInfo only, and nothing that says of which symbol they are".to_owned();
        return Err(ReplayError::NoInstruments {
            venue: market.venue(),
            path: recordings.first().map_or_else(PathBuf::new, |recording| recording.input.path().to_owned()),
            found,
        });
    };
    if definitions.len() == 1 {
        for recording in &mut recordings {
            recording.only_symbol = Some(first.symbol.clone());
        }
    }
    tell(&all, market, progress);
    Ok(Found { market, definitions, recordings })
}

/// Scans one recording.
fn scan(recording: &Recording) -> io::Result<FileScan> {
    let bytes = Arc::new(AtomicU64::new(0));
    let mut timeline = recording.timeline(Arc::clone(&bytes))?;
    let mut found = FileScan {
        scan: Scan::default(),
        lines: 0,
        bytes: 0,
        times: None,
        first_fault: None,
        is_damaged: false,
    };
    loop {
        match timeline.read() {
            Step::Line(time) => {
                found.lines += 1;
                let times = found.times.get_or_insert((time, time));
                times.1 = time.max(times.0);
                if let (Err(error), None) = (found.scan.message(timeline.line().json()), &found.first_fault) {
                    found.first_fault = Some(timeline.fault(error.to_string()));
                }
            }
            Step::Bad(fault) => {
                found.lines += 1;
                found.first_fault.get_or_insert(fault);
                if found.times.is_none() && found.lines >= BAD_LINES_MAX {
                    break;
                }
            }
            Step::Damaged(fault) => {
                found.is_damaged = timeline.is_gzip();
                found.first_fault.get_or_insert(fault);
                // Nothing comes behind unknown damage: it is looked for, and all is read again.
            }
            Step::End => break,
        }
    }
    found.bytes = bytes.load(std::sync::atomic::Ordering::Relaxed);
    Ok(found)
}

/// Makes the error for a recording with lines, and nothing in them that could be played.
fn nothing(config: &ReplayConfig, path: &std::path::Path, found: &FileScan) -> ReplayError {
    let mut words = format!("{} lines", found.lines);
    let unused = kinds(&found.scan);
    if !unused.is_empty() {
        words = format!("{words}; messages that are not used: {}", names(&unused));
    }
    if let Some(fault) = &found.first_fault {
        words =
            format!("{words}; the first line that cannot be used is line {}: {}", fault.line, fault.reason);
    }
    let venue = config.market.unwrap_or_else(|| found.scan.market()).venue();
    ReplayError::NoInstruments { venue, path: path.to_owned(), found: words }
}

fn kinds(scan: &Scan) -> Vec<String> {
    scan.unused().map(|(kind, count)| format!("{count} of `{kind}`")).collect()
}

/// Logs what of the recordings is not used, and why.
fn tell(all: &Scan, market: Market, progress: &ReplayProgress) {
    let venue = market.venue();
    let aggregated: Vec<_> = all.aggregated().map(str::to_owned).collect();
    let unused = kinds(all);
    if !unused.is_empty() {
        tracing::warn!(venue, "messages that are not used: {}", names(&unused));
    }
    if all.doubled_aggregates() > 0 {
        let count = all.doubled_aggregates();
        tracing::warn!(venue, count, "aggTrade is not used: the recordings have the trades themselves");
    }
    if !aggregated.is_empty() {
        tracing::warn!(
            venue,
            "these have no trades but aggTrade, which stands for them; several executions count as one: {}",
            names(&aggregated)
        );
    }
    progress.find(|findings| {
        findings.unused_kinds = all.unused().map(|(kind, count)| (kind.to_owned(), count)).collect();
        findings.doubled_aggregates = all.doubled_aggregates();
        findings.aggregated = aggregated;
    });
}
