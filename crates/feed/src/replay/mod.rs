//! Plays recordings of Binance's streams as if they happened now.
//!
//! All files play together in the order of their recorded times, so that parts of one recording follow each other and
//! recordings of several symbols run side by side.
//!
//! # Times
//! The unit of a recorded time is told by its size, line by line. Event and receive times are passed on as recorded,
//! unless [`ReplayConfig::times`] asks for now. In a loop each pass is shifted by the length of the recording, so that
//! times always increase; sequence numbers go on, books begin anew with the snapshot in the recording.

mod findings;
mod gzip;
mod input;
mod open;
mod progress;
mod reader;
mod timeline;

use std::io;
use std::path::{Path, PathBuf};

use tickwire_wire::Instrument;
use tokio::time::sleep;

pub use self::findings::Findings;
use self::findings::names;
pub use self::input::Input;
use self::open::{Recording, open_all};
pub use self::progress::{Progress, ReplayProgress};
use self::reader::CUT;
use self::timeline::{Step, TimeAnomaly, Timeline};
use crate::adapter::{Adapter, AdapterError, FeedEvent, Flow, SourceState};
use crate::binance::{Market, Normalizer};
use crate::clock::{Clock, Pace, Pacer};

/// The number of lines per call: a few milliseconds of work at the most usual sizes.
const LINES_MAX: usize = 256;
/// The most files that play together.
pub const FILES_MAX: usize = 64;
/// The time between two passes of a loop, in nanoseconds.
const LOOP_PAUSE: u64 = 1_000_000_000;

/// The configuration of a replay.
#[derive(Clone, Debug)]
pub struct ReplayConfig {
    /// The market where it was recorded; `None` takes what the recordings tell, all of them together.
    pub market: Option<Market>,
    /// The recordings, 1 to [`FILES_MAX`]. A path that is no file, such as a pipe, is read to its end before it plays;
    /// `-` is the standard input.
    pub files: Vec<PathBuf>,
    /// The pace of playing.
    pub pace: Pace,
    /// The number of passes.
    pub passes: Passes,
    /// The times that the events carry.
    pub times: Times,
    /// The clock that the pace is kept by.
    pub clock: Clock,
}

/// The number of times that a recording plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    /// The recording plays once; then the source has ended.
    Once,
    /// The recording plays again and again.
    Endless,
}

/// The times that the events carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The times are those of the recording.
    Recorded,
    /// The times are now: recorded times are shifted to when the event is played. The delay between event and receipt
    /// stays.
    Rebased,
}

/// The reason why nothing can be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The list of files is empty.
    #[error("there is no file to replay; name 1 to {FILES_MAX} recordings")]
    NoFiles,
    /// There are more files than a replay takes.
    #[error("{0} files to replay are too many; name {FILES_MAX} at most")]
    TooManyFiles(usize),
    /// The speed is zero, negative or no number.
    #[error("speed {0} is not above 0; write 1 for real time, 10 for ten times as fast")]
    Speed(f64),
    /// The system does not let the file be read.
    #[error("cannot read `{path}`: {source}; check the name and the rights")]
    Unreadable {
        /// The path of the file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The file has no bytes.
    #[error("`{0}` is empty; a recording has lines of `<nanoseconds since 1970> <json>`, plain or gzip")]
    Empty(PathBuf),
    /// The file is something else.
    #[error(
        "`{path}` is not a recording: {reason}; a recording has lines of `<nanoseconds since 1970> <json>`, plain or \
         gzip"
    )]
    Foreign {
        /// The path of the file.
        path: PathBuf,
        /// A text that says what was found at its beginning.
        reason: String,
    },
    /// Nothing in the file can be replayed.
    #[error("there are no trades, quotes or depth of {venue} in `{path}`: {found}")]
    NoInstruments {
        /// The venue that was looked for.
        venue: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// A text that says what is in it instead.
        found: String,
    },
    /// The recording is of spot and was taken as one of futures, or the reverse.
    #[error(
        "`{path}` is of {found}, as its {messages} messages of depth tell, and not of {market}; {remedy}"
    )]
    OtherMarket {
        /// The path of the file.
        path: PathBuf,
        /// The market that it is of.
        found: &'static str,
        /// The number of changes of depth that tell that.
        messages: u64,
        /// The market that the configuration names.
        market: &'static str,
        /// A text that says what to do.
        remedy: &'static str,
    },
}

/// A source that plays recordings.
pub struct Replay {
    config: ReplayConfig,
    market: Market,
    definitions: Vec<Instrument>,
    normalizer: Normalizer,
    recordings: Vec<Recording>,
    sources: Vec<Source>,
    pacer: Pacer,
    progress: ReplayProgress,
    /// The nanoseconds that are added to the recorded times, because of the passes before this one.
    shift: u64,
    is_started: bool,
    /// The lines that were played in this pass.
    lines: u64,
    /// Whether the end of this pass was told.
    is_finished: bool,
}

struct Source {
    timeline: Timeline,
    /// The time of the line that is read but not played.
    head: Option<u64>,
}

impl Replay {
    /// Reads the recordings once to find their instruments, scales, market and length; this takes as long as
    /// decompressing and parsing them, and for a pipe as long as it brings something. Damage does not hinder: it is
    /// reported when it is played.
    ///
    /// # Errors
    /// Returns an error when a file cannot be read, when nothing in it can be used, or when the files are of several
    /// markets.
    pub fn open(config: ReplayConfig) -> Result<Self, ReplayError> {
        let input = |path: &PathBuf| Input::prepare(path).map_err(|source| unreadable(path, source));
        if config.files.len() > FILES_MAX {
            return Err(ReplayError::TooManyFiles(config.files.len()));
        }
        let inputs = config.files.iter().map(input).collect::<Result<_, _>>()?;
        Self::open_inputs(config, inputs)
    }

    /// Does what [`Replay::open`] does, for inputs that are prepared already; [`ReplayConfig::files`] is not looked at.
    ///
    /// # Errors
    /// Returns the errors of [`Replay::open`].
    pub fn open_inputs(config: ReplayConfig, inputs: Vec<Input>) -> Result<Self, ReplayError> {
        if inputs.is_empty() {
            return Err(ReplayError::NoFiles);
        }
        if inputs.len() > FILES_MAX {
            return Err(ReplayError::TooManyFiles(inputs.len()));
        }
        if let Pace::Speed(speed) = config.pace
            && !(speed > 0.0 && speed.is_finite())
        {
            return Err(ReplayError::Speed(speed));
        }
        let progress = ReplayProgress::default();
        let found = open::find(&config, inputs, &progress)?;
        let mut normalizer = Normalizer::new(found.market, &found.definitions);
        for symbol in progress.findings().aggregated {
            normalizer.use_aggregates(&symbol);
        }
        let sources = open_all(&found.recordings, &progress);
        Ok(Self {
            normalizer,
            market: found.market,
            definitions: found.definitions,
            sources: sources.map_err(|(path, source)| unreadable(&path, source))?,
            recordings: found.recordings,
            pacer: Pacer::new(config.pace),
            shift: 0,
            is_started: false,
            lines: 0,
            is_finished: false,
            progress,
            config,
        })
    }

    /// Returns the instruments in the recordings, in the order of their names.
    pub fn definitions(&self) -> &[Instrument] {
        &self.definitions
    }

    /// Returns the market where they were recorded.
    pub fn market(&self) -> Market {
        self.market
    }

    /// Returns a handle to how far the replay is, from now on.
    pub fn progress(&self) -> ReplayProgress {
        self.progress.clone()
    }

    /// Reads ahead where needed; returns the source whose line is the next, and its time.
    fn next_line(&mut self, events: &mut Vec<FeedEvent>) -> Option<(usize, u64)> {
        for source in &mut self.sources {
            while source.head.is_none() {
                match source.timeline.read() {
                    Step::Line(time) => source.head = Some(time),
                    Step::Bad(fault) => {
                        self.progress.passed_over();
                        if source.timeline.is_bad_cut() {
                            self.progress.find(|findings| findings.damaged_parts += 1);
                        }
                        events.push(FeedEvent::Fault(fault));
                    }
                    Step::Damaged(fault) => {
                        self.progress.find(|findings| findings.damaged_parts += 1);
                        events.push(FeedEvent::Fault(fault));
                    }
                    Step::End => break,
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
        let only_symbol = self.recordings[at].only_symbol.as_deref();
        let line = source.timeline.line();
        if let Err(error) = self.normalizer.message(recorded, line.json(), only_symbol, events) {
            let mut reason = error.to_string();
            if line.is_cut() {
                self.progress.find(|findings| findings.damaged_parts += 1);
                reason = format!("{reason}; {CUT}");
            }
            events.push(FeedEvent::Fault(source.timeline.fault(reason)));
        }
        if let Some(anomaly) = source.timeline.anomaly() {
            self.log_anomaly(at, anomaly);
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
                event.shift(offset);
            }
        }
        self.lines += 1;
        self.progress.played(recorded);
    }

    /// Counts what is odd with the time of a line; the first, second, fourth and so on goes into the log.
    fn log_anomaly(&self, at: usize, anomaly: TimeAnomaly) {
        let words = match anomaly {
            TimeAnomaly::Replaced { read } => {
                format!(
                    "the receive time {read} ns fits to no other line: the time of the line before stands for it"
                )
            }
            TimeAnomaly::Back { by } => {
                format!("receive times go back by {by:?} here; they are played on from here")
            }
            TimeAnomaly::Silence { of } => format!("nothing was received for {of:?}: this is passed over"),
        };
        let mut count = 0;
        self.progress.find(|findings| {
            let counter = match anomaly {
                TimeAnomaly::Replaced { .. } => &mut findings.replaced_times,
                TimeAnomaly::Back { .. } => &mut findings.steps_back,
                TimeAnomaly::Silence { .. } => &mut findings.silences,
            };
            *counter += 1;
            count = *counter;
        });
        if count.is_power_of_two() {
            tracing::warn!(venue = self.market.venue(), count, "{}", self.sources[at].timeline.fault(words));
        }
    }

    /// Passes on what the normalizer has to say, to the log and to the summary.
    fn report(&mut self) {
        for words in self.normalizer.take_notes() {
            tracing::warn!(venue = self.market.venue(), "{words}");
        }
        let normalizer = &self.normalizer;
        self.progress.find(|findings| {
            findings.counts = normalizer.counts();
            findings.unused_changes = normalizer.unused_changes();
            let is_same = findings.waiting_books.iter().map(String::as_str).eq(normalizer.wanting_snapshot());
            if !is_same {
                findings.waiting_books = normalizer.wanting_snapshot().map(str::to_owned).collect();
            }
        });
    }

    /// Ends a pass: what waits still is told.
    fn finish(&mut self, events: &mut Vec<FeedEvent>) {
        self.is_finished = true;
        let from = events.len();
        self.normalizer.finish(events);
        let last = self.progress.get().recorded_time;
        let now = self.config.clock.now();
        let shifted = last.saturating_add(self.shift);
        let time = if self.config.times == Times::Rebased { self.pacer.place(shifted, now) } else { shifted };
        for event in &mut events[from..] {
            if let FeedEvent::Market(event) = event {
                (event.event_time, event.receive_time) = (time, time);
            }
        }
        let normalizer = &self.normalizer;
        self.progress.find(|findings| {
            findings.silent = normalizer.silent().map(str::to_owned).collect();
            findings.bookless = normalizer.bookless().map(str::to_owned).collect();
        });
        self.report();
        let waiting: Vec<_> = self.normalizer.wanting_snapshot().collect();
        // In a loop, each pass ends so.
        if !waiting.is_empty() && self.progress.get().pass.is_power_of_two() {
            tracing::warn!(
                venue = self.market.venue(),
                unused_changes = self.normalizer.unused_changes(),
                "the recording ended, and the book waits for a snapshot still: {}",
                names(&waiting)
            );
        }
    }

    fn restart(&mut self) -> Result<(), AdapterError> {
        if self.lines == 0 {
            // A new beginning would come back here at once, for ever.
            return Err(AdapterError("no line of the recordings can be played".to_owned()));
        }
        self.shift = self.shift.saturating_add(self.progress.span()).saturating_add(LOOP_PAUSE);
        self.normalizer.restart();
        self.progress.start_pass();
        (self.lines, self.is_finished) = (0, false);
        self.sources = open_all(&self.recordings, &self.progress)
            .map_err(|(path, source)| AdapterError(unreadable(&path, source).to_string()))?;
        Ok(())
    }

    /// Plays a bounded number of lines.
    async fn turn(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        for _ in 0..LINES_MAX {
            let Some((at, recorded)) = self.next_line(events) else {
                if !events.is_empty() {
                    return Ok(Flow::More);
                }
                if !self.is_finished {
                    self.finish(events);
                    continue;
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

impl Adapter for Replay {
    fn venue(&self) -> &'static str {
        self.market.venue()
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
        let flow = self.turn(events).await;
        self.report();
        flow
    }
}

fn unreadable(path: &Path, source: io::Error) -> ReplayError {
    ReplayError::Unreadable { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
