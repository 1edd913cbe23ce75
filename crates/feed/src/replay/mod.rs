//! Plays recordings of Binance's streams as if they happened now.
//!
//! All files play together in the order of their recorded times, so that parts of one recording follow each other and
//! recordings of several symbols run side by side.
//!
//! # Times
//! Event and receive times are passed on as recorded, unless [`ReplayConfig::times`] asks for now. In a loop each pass
//! is shifted by the length of the recording, so that times always increase; sequence numbers go on, books begin anew
//! with the snapshot in the recording.

mod progress;
mod reader;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tickwire_wire::Instrument;
use tokio::time::sleep;

pub use self::progress::{Progress, ReplayProgress};
use self::reader::{CUT, LineReader, Taken};
use crate::adapter::{Adapter, AdapterError, FeedEvent, Flow, SourceState};
use crate::binance::{Market, Normalizer, Scan};
use crate::clock::{Clock, Pace, Pacer};

/// Lines per call: a few milliseconds of work at the most usual sizes.
const LINES_MAX: usize = 256;
/// Files that play together.
pub const FILES_MAX: usize = 64;
/// Between two passes of a loop, in nanoseconds.
const LOOP_PAUSE: u64 = 1_000_000_000;

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// Where it was recorded.
    pub market: Market,
    /// The recordings, 1 to [`FILES_MAX`].
    pub files: Vec<PathBuf>,
    /// How fast.
    pub pace: Pace,
    /// How often.
    pub passes: Passes,
    /// Which times the events carry.
    pub times: Times,
    /// What the pace is kept by.
    pub clock: Clock,
}

/// How often a recording plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// Then the source has ended.
    Once,
    /// Again and again.
    Endless,
}

/// Which times the events carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Those of the recording.
    Recorded,
    /// Now: recorded times are shifted to when the event is played. The delay between event and receipt stays.
    Rebased,
}

/// Why nothing can be replayed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ReplayError {
    #[error("no file to replay; name 1 to {FILES_MAX} recordings")]
    NoFiles,
    #[error("{0} files to replay are too many; name {FILES_MAX} at most")]
    TooManyFiles(usize),
    #[error("speed {0} is not above 0; write 1 for real time, 10 for ten times as fast")]
    Speed(f64),
    #[error("cannot read `{path}`: {source}; check the name and the rights")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("`{0}` is empty; a recording has lines of `<nanoseconds since 1970> <json>`, plain or gzip")]
    Empty(PathBuf),
    #[error(
        "`{path}` is not a recording: {reason}; a recording has lines of `<nanoseconds since 1970> <json>`, plain or \
         gzip"
    )]
    Foreign { path: PathBuf, reason: String },
    #[error("no trades, quotes or depth of {venue} in `{path}`; is it of another venue?")]
    NoInstruments { venue: &'static str, path: PathBuf },
}

/// Plays recordings.
pub struct Replay {
    config: ReplayConfig,
    definitions: Vec<Instrument>,
    normalizer: Normalizer,
    sources: Vec<Source>,
    /// Of each file: the only symbol in it, if it has only one.
    only_symbols: Vec<Option<String>>,
    pacer: Pacer,
    progress: ReplayProgress,
    /// Added to the recorded times, because of the passes before this one.
    shift: u64,
    is_started: bool,
}

struct Source {
    reader: LineReader,
    file: usize,
    /// The time of the line that is read but not played.
    head: Option<u64>,
}

impl Replay {
    /// Reads the recordings once to find their instruments, scales and length; this takes as long as decompressing
    /// and parsing them. Damage further inside does not hinder: it is reported when it is played.
    ///
    /// # Errors
    /// When a file cannot be read or is not a recording of this market.
    pub fn open(config: ReplayConfig) -> Result<Self, ReplayError> {
        if config.files.is_empty() {
            return Err(ReplayError::NoFiles);
        }
        if config.files.len() > FILES_MAX {
            return Err(ReplayError::TooManyFiles(config.files.len()));
        }
        if let Pace::Speed(speed) = config.pace
            && !(speed > 0.0 && speed.is_finite())
        {
            return Err(ReplayError::Speed(speed));
        }
        let progress = ReplayProgress::default();
        let mut all = Scan::default();
        let mut only_symbols = Vec::new();
        for path in &config.files {
            let scan = scan(path, config.market, &progress)?;
            let mut symbols = scan.symbols().map(str::to_owned);
            only_symbols.push(symbols.next().filter(|_| symbols.next().is_none()));
            drop(symbols);
            all.merge(scan);
        }
        let definitions = all.definitions();
        Ok(Self {
            normalizer: Normalizer::new(config.market, &definitions),
            sources: open_all(&config, &progress).map_err(|(path, source)| unreadable(&path, source))?,
            pacer: Pacer::new(config.pace),
            shift: 0,
            is_started: false,
            definitions,
            only_symbols,
            progress,
            config,
        })
    }

    /// The instruments in the recordings, in the order of their names.
    pub fn definitions(&self) -> &[Instrument] {
        &self.definitions
    }

    /// How far the replay is, from now on.
    pub fn progress(&self) -> ReplayProgress {
        self.progress.clone()
    }

    /// Reads ahead where needed; returns the source whose line is the next, and its time.
    fn next_line(&mut self, events: &mut Vec<FeedEvent>) -> Option<(usize, u64)> {
        for source in &mut self.sources {
            while source.head.is_none() {
                match source.reader.read() {
                    Taken::Line(time) => source.head = Some(time),
                    Taken::Bad(fault) => {
                        self.progress.passed_over();
                        events.push(FeedEvent::Fault(fault));
                    }
                    Taken::Damaged(fault) => events.push(FeedEvent::Fault(fault)),
                    Taken::End => break,
                }
                if events.len() >= LINES_MAX * 4 {
                    break;
                }
            }
        }
        let heads = self.sources.iter().enumerate().filter_map(|(at, source)| Some((at, source.head?)));
        heads.min_by_key(|(_, time)| *time)
    }

    fn play(&mut self, at: usize, recorded: u64, now: u64, events: &mut Vec<FeedEvent>) {
        let source = &mut self.sources[at];
        source.head = None;
        let from = events.len();
        let only_symbol = self.only_symbols[source.file].as_deref();
        let (reader, text) = (&source.reader, source.reader.json());
        if let Err(error) = self.normalizer.message(recorded, text, only_symbol, events) {
            let reason = if reader.is_cut() { format!("{error}; {CUT}") } else { error.to_string() };
            events.push(FeedEvent::Fault(reader.fault(reason)));
        }
        let offset = match self.config.times {
            Times::Recorded => i128::from(self.shift),
            Times::Rebased => {
                i128::from(self.pacer.place(recorded.saturating_add(self.shift), now)) - i128::from(recorded)
            }
        };
        let offset = i64::try_from(offset).unwrap_or(0);
        for event in &mut events[from..] {
            if let FeedEvent::Market(event) = event {
                event.event_time = event.event_time.saturating_add_signed(offset);
                event.receive_time = event.receive_time.saturating_add_signed(offset);
            }
        }
        self.progress.played(recorded);
    }

    fn restart(&mut self) -> Result<(), AdapterError> {
        self.shift = self.shift.saturating_add(self.progress.span()).saturating_add(LOOP_PAUSE);
        self.normalizer.restart();
        self.progress.start_pass();
        self.sources = open_all(&self.config, &self.progress)
            .map_err(|(path, source)| AdapterError(unreadable(&path, source).to_string()))?;
        Ok(())
    }
}

impl Adapter for Replay {
    fn venue(&self) -> &'static str {
        self.config.market.venue()
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if !self.is_started {
            self.is_started = true;
            let define = |(index, definition): (u32, &Instrument)| FeedEvent::Define {
                index,
                definition: definition.clone(),
            };
            events.extend((0..).zip(&self.definitions).map(define));
            events.push(FeedEvent::Source(SourceState::Live));
        }
        for _ in 0..LINES_MAX {
            let Some((at, recorded)) = self.next_line(events) else {
                if !events.is_empty() {
                    return Ok(Flow::More);
                }
                match self.config.passes {
                    Passes::Once => {
                        events.push(FeedEvent::Source(SourceState::Ended));
                        return Ok(Flow::Ended);
                    }
                    Passes::Endless => self.restart()?,
                }
                continue;
            };
            let now = self.config.clock.now();
            let wait = self.pacer.wait(recorded.saturating_add(self.shift), now);
            if !wait.is_zero() {
                if !events.is_empty() {
                    return Ok(Flow::More);
                }
                // Nothing is taken before the wait is over, so that it can be given up.
                sleep(wait).await;
                continue;
            }
            self.play(at, recorded, now, events);
        }
        Ok(Flow::More)
    }
}

fn open_all(config: &ReplayConfig, progress: &ReplayProgress) -> Result<Vec<Source>, (PathBuf, io::Error)> {
    let open = |(file, path): (usize, &PathBuf)| {
        let reader =
            LineReader::open(path, progress.bytes_counter()).map_err(|error| (path.clone(), error))?;
        Ok(Source { reader, file, head: None })
    };
    config.files.iter().enumerate().map(open).collect()
}

/// Goes through a file once.
fn scan(path: &Path, market: Market, progress: &ReplayProgress) -> Result<Scan, ReplayError> {
    let mut reader =
        LineReader::open(path, Arc::new(AtomicU64::new(0))).map_err(|source| unreadable(path, source))?;
    let mut scan = Scan::default();
    let mut lines = 0;
    loop {
        match reader.read() {
            Taken::Line(time) => {
                progress.found(time);
                scan.message(reader.json());
            }
            Taken::Bad(fault) | Taken::Damaged(fault) if lines == 0 => {
                return Err(ReplayError::Foreign { path: path.to_owned(), reason: fault.reason });
            }
            Taken::Bad(_) => {}
            Taken::Damaged(_) | Taken::End => break,
        }
        lines += 1;
    }
    if lines == 0 {
        return Err(ReplayError::Empty(path.to_owned()));
    }
    scan.finish();
    if scan.symbols().next().is_none() {
        return Err(ReplayError::NoInstruments { venue: market.venue(), path: path.to_owned() });
    }
    progress.found_file(path.metadata().map_or(0, |metadata| metadata.len()), lines);
    Ok(scan)
}

fn unreadable(path: &Path, source: io::Error) -> ReplayError {
    ReplayError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
