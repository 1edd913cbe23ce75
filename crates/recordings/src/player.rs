//! Plays recordings as a source of the ingester: several files, merged by their receive times.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tickwire_feed::adapter::{Adapter, AdapterError, Fault, FeedEvent, Flow, MarketEvent, SourceState};
use tickwire_feed::replay::{Passes, Times};
use tickwire_feed::{Clock, Pace, Pacer};
use tickwire_wire::Instrument;
use tokio::time::sleep;

use crate::contents::{self, Contents};
use crate::format::{Recording, RecordingError};
use crate::said::Said;
use crate::scaled::Instruments;
use crate::source::{Entry, Source};

/// The statements of one turn: a few milliseconds of work.
const STATEMENTS_MAX: usize = 512;
/// The most files that play together.
const FILES_MAX: usize = 256;
/// The time between two passes of a loop, in nanoseconds.
const LOOP_PAUSE: u64 = 1_000_000_000;

/// The configuration of a player.
#[derive(Clone, Debug)]
pub struct PlayerConfig {
    /// The pace of playing.
    pub pace: Pace,
    /// The number of passes.
    pub passes: Passes,
    /// The times that the events carry.
    pub times: Times,
    /// The receive time to begin at, in nanoseconds since the Unix epoch: what held then is said first.
    pub from: Option<u64>,
    /// The receive time to end before.
    pub to: Option<u64>,
    /// The clock that the pace is kept by.
    pub clock: Clock,
}

/// The reason why recordings cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum PlayerError {
    /// A recording cannot be read.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// There is nothing to play.
    #[error("there is no file to play; name 1 to {FILES_MAX} recordings")]
    NoFiles,
    /// There are too many files.
    #[error("{0} files to play are too many; name {FILES_MAX} at most")]
    TooManyFiles(usize),
    /// The speed is zero, negative or no number.
    #[error("speed {0} is not above 0; write 1 for real time, 10 for ten times as fast")]
    Speed(f64),
    /// The files are of several venues.
    #[error(
        "`{path}` is of {found}, and the files before it are of {venue}: one ingester publishes one venue; play them by \
         themselves, or name one venue for all with --venue"
    )]
    Venues {
        /// The path of the first file of another venue.
        path: PathBuf,
        /// Its venue.
        found: String,
        /// The venue of the files before it.
        venue: String,
    },
    /// There is nothing in a file that could be played.
    #[error("nothing in `{path}` can be played{found}")]
    Nothing {
        /// The path of the file.
        path: PathBuf,
        /// A text that says what is in it instead.
        found: String,
    },
    /// The part that is asked for has nothing in it.
    #[error(
        "the recordings have nothing from {from} to {to} nanoseconds since 1970: they reach from {first} to {last}"
    )]
    Range {
        /// The beginning that was asked for.
        from: u64,
        /// The end that was asked for.
        to: u64,
        /// The first time.
        first: u64,
        /// The last time.
        last: u64,
    },
}

/// Reads a receive time: `2024-08-08T23:55:00Z`, or nanoseconds since 1970. Returns `None` where it is neither.
pub fn receive_time(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| {
        let time = humantime::parse_rfc3339_weak(text).ok()?;
        u64::try_from(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()).ok()
    })
}

/// A source that plays recordings.
pub struct Player {
    config: PlayerConfig,
    venue: String,
    recordings: Vec<Recording>,
    instruments: Instruments,
    tracks: Vec<Track>,
    pacer: Pacer,
    progress: PlayerProgress,
    /// The nanoseconds that are added to the recorded times, because of the passes before this one.
    shift: u64,
    is_started: bool,
    /// Whether the beginning that was asked for is reached.
    is_at_beginning: bool,
    /// The statements that were played in this pass.
    played: u64,
}

/// A file that plays.
struct Track {
    path: String,
    source: Box<dyn Source>,
    /// The player's instrument for each of the source's.
    instruments: Vec<u32>,
    entries: std::vec::IntoIter<Entry>,
    /// The statement that is read and not played.
    next: Option<Said>,
    is_over: bool,
}

/// A handle to how far a player is. It is cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PlayerProgress(Arc<Counters>);

/// The progress of a player.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// The number of passes begun, from 1.
    pub pass: u64,
    /// The statements that were played in this pass.
    pub statements: u64,
    /// The statements in all files.
    pub statements_total: u64,
    /// The recorded time of the last one; 0 before the first.
    pub time: u64,
    /// The recorded times of the first and last one that are to be played.
    pub times: (u64, u64),
}

#[derive(Debug, Default)]
struct Counters {
    passes: AtomicU64,
    statements: AtomicU64,
    time: AtomicU64,
    faults: AtomicU64,
    whole: Mutex<(u64, (u64, u64))>,
}

impl PlayerProgress {
    /// Returns how far it is now.
    pub fn get(&self) -> Played {
        let (statements_total, times) = *self.0.whole.lock().unwrap_or_else(PoisonError::into_inner);
        Played {
            pass: self.0.passes.load(Ordering::Relaxed) + 1,
            statements: self.0.statements.load(Ordering::Relaxed),
            statements_total,
            time: self.0.time.load(Ordering::Relaxed),
            times,
        }
    }

    /// Counts something of a file that could not be used, and returns it as an event.
    fn fault(&self, path: &str, reason: String) -> FeedEvent {
        self.0.faults.fetch_add(1, Ordering::Relaxed);
        FeedEvent::Fault(Fault { source: path.to_owned(), line: 0, reason })
    }

    /// Returns the number of places that could not be read or used so far.
    pub fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::Relaxed)
    }
}

impl Player {
    /// Reads the recordings once to find their instruments, scales and length, and gets ready to play them. Returns what
    /// was found, file by file, too; `bytes` counts what is taken from the disk meanwhile.
    ///
    /// # Errors
    /// A file cannot be read, nothing in it can be played, or the files are of several venues.
    pub fn open(
        recordings: Vec<Recording>,
        config: PlayerConfig,
        bytes: &Arc<AtomicU64>,
    ) -> Result<(Self, Vec<Contents>), PlayerError> {
        if recordings.is_empty() {
            return Err(PlayerError::NoFiles);
        }
        if recordings.len() > FILES_MAX {
            return Err(PlayerError::TooManyFiles(recordings.len()));
        }
        if let Pace::Speed(speed) = config.pace
            && !(speed > 0.0 && speed.is_finite())
        {
            return Err(PlayerError::Speed(speed));
        }
        let mut contents = Vec::<Contents>::new();
        for recording in &recordings {
            let next = contents::read(recording, bytes)?;
            if let Some(first) = contents.first().filter(|first| first.venue != next.venue) {
                let (path, found, venue) = (recording.path().to_owned(), next.venue, first.venue.clone());
                return Err(PlayerError::Venues { path, found, venue });
            }
            contents.push(next);
        }
        if let Some((recording, contents)) =
            recordings.iter().zip(&contents).find(|(_, contents)| contents.instruments.is_empty())
        {
            let found = contents.first_faults.first().map(|(place, reason)| format!("; {place}: {reason}"));
            let path = recording.path().to_owned();
            return Err(PlayerError::Nothing { path, found: found.unwrap_or_default() });
        }
        let times = span(&contents, &config)?;
        let instruments =
            Instruments::of(contents.iter().flat_map(|it| &it.instruments).map(|it| &it.definition));
        let progress = PlayerProgress::default();
        let total = contents.iter().map(|contents| contents.statements).sum();
        *progress.0.whole.lock().unwrap_or_else(PoisonError::into_inner) = (total, times);
        let tracks = tracks(&recordings)?;
        let player = Self {
            is_at_beginning: config.from.is_none(),
            pacer: Pacer::new(config.pace),
            config,
            venue: contents[0].venue.clone(),
            recordings,
            instruments,
            tracks,
            progress,
            shift: 0,
            is_started: false,
            played: 0,
        };
        Ok((player, contents))
    }

    /// Returns the instruments, in the order of their numbers.
    pub fn definitions(&self) -> &[Instrument] {
        self.instruments.definitions()
    }

    /// Returns a handle to how far it is.
    pub fn progress(&self) -> PlayerProgress {
        self.progress.clone()
    }

    /// Reads ahead where needed; returns the track whose statement is the next, and its time.
    fn next_track(&mut self, events: &mut Vec<FeedEvent>) -> Option<(usize, u64)> {
        for track in &mut self.tracks {
            while track.next.is_none() && !(track.is_over && track.entries.as_slice().is_empty()) {
                let Some(entry) = track.entries.next() else {
                    track.refill();
                    continue;
                };
                match entry {
                    Entry::Said(said) => track.next = Some(said),
                    Entry::Unused(_) => {}
                    Entry::Fault(place, reason) => {
                        events.push(self.progress.fault(&track.path, format!("{place}: {reason}")));
                    }
                }
            }
        }
        let heads = self
            .tracks
            .iter()
            .enumerate()
            .filter_map(|(at, track)| Some((at, track.next.as_ref()?.receive_time)));
        heads.min_by_key(|(_, time)| *time)
    }

    /// Plays the next statement of a track.
    fn play(&mut self, at: usize, recorded: u64, now: u64, events: &mut Vec<FeedEvent>) {
        let track = &mut self.tracks[at];
        let Some(said) = track.next.take() else { return };
        let Some(index) = track.instrument(said.symbol, &self.instruments) else { return };
        let event = match self.instruments.event(index, said) {
            Ok(event) => event,
            Err(reason) => return events.push(self.progress.fault(&track.path, reason)),
        };
        self.played += 1;
        self.progress.0.statements.fetch_add(1, Ordering::Relaxed);
        self.progress.0.time.store(recorded, Ordering::Relaxed);
        if self.is_at_beginning {
            self.push(event, recorded, now, events);
        } else {
            self.instruments.keep(event);
        }
    }

    /// Says an event at the times that were asked for.
    fn push(&mut self, mut event: MarketEvent, recorded: u64, now: u64, events: &mut Vec<FeedEvent>) {
        let offset = match self.config.times {
            Times::Recorded => i128::from(self.shift),
            Times::Rebased => {
                i128::from(self.pacer.place(recorded.saturating_add(self.shift), now)) - i128::from(recorded)
            }
        };
        event.shift(i64::try_from(offset).unwrap_or(0));
        events.push(FeedEvent::Market(event));
    }

    /// Says what held at the beginning that was asked for.
    fn begin(&mut self, from: u64, now: u64, events: &mut Vec<FeedEvent>) {
        self.is_at_beginning = true;
        for event in self.instruments.take_kept(from) {
            self.push(event, from, now, events);
        }
    }

    fn restart(&mut self) -> Result<(), AdapterError> {
        if self.played == 0 {
            // A new beginning would come back here at once, for ever.
            return Err(AdapterError("no statement of the recordings can be played".to_owned()));
        }
        let (first, last) = self.progress.get().times;
        self.shift = self.shift.saturating_add(last - first).saturating_add(LOOP_PAUSE);
        self.progress.0.passes.fetch_add(1, Ordering::Relaxed);
        self.progress.0.statements.store(0, Ordering::Relaxed);
        self.played = 0;
        self.is_at_beginning = self.config.from.is_none();
        self.tracks = tracks(&self.recordings).map_err(|error| AdapterError(error.to_string()))?;
        Ok(())
    }

    async fn turn(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        let before = events.len();
        for _ in 0..STATEMENTS_MAX {
            let next = self.next_track(events);
            let next = next.filter(|(_, time)| self.config.to.is_none_or(|to| *time < to));
            let now = self.config.clock.now();
            if let Some(from) = self.config.from.filter(|_| !self.is_at_beginning)
                && next.is_none_or(|(_, time)| time >= from)
            {
                self.begin(from, now, events);
            }
            let Some((at, recorded)) = next else {
                if events.len() > before {
                    return Ok(Flow::More);
                }
                if self.config.passes == Passes::Once {
                    events.push(FeedEvent::Source(SourceState::Ended));
                    return Ok(Flow::Ended);
                }
                self.restart()?;
                continue;
            };
            if self.is_at_beginning {
                let wait = self.pacer.wait(recorded.saturating_add(self.shift), now);
                if !wait.is_zero() {
                    if events.len() > before {
                        return Ok(Flow::More);
                    }
                    // Nothing is taken before the wait is over, so that it can be given up.
                    sleep(wait).await;
                    continue;
                }
            }
            self.play(at, recorded, now, events);
        }
        Ok(Flow::More)
    }
}

impl Adapter for Player {
    fn venue(&self) -> &str {
        &self.venue
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if !std::mem::replace(&mut self.is_started, true) {
            let definitions = (0..).zip(self.instruments.definitions().iter().cloned());
            events.extend(definitions.map(|(index, definition)| FeedEvent::Define { index, definition }));
            events.push(FeedEvent::Source(SourceState::Live));
        }
        self.turn(events).await
    }
}

impl Track {
    fn refill(&mut self) {
        let mut entries = Vec::new();
        self.is_over = !self.source.read(&mut entries);
        self.entries = entries.into_iter();
    }

    /// Returns the player's number of an instrument of the source.
    fn instrument(&mut self, symbol: u32, all: &Instruments) -> Option<u32> {
        let symbols = self.source.symbols();
        for symbol in symbols.get(self.instruments.len()..)? {
            self.instruments.push(all.find(&symbol.name)?);
        }
        self.instruments.get(symbol as usize).copied()
    }
}

fn tracks(recordings: &[Recording]) -> Result<Vec<Track>, RecordingError> {
    let track = |recording: &Recording| {
        Ok(Track {
            path: recording.path().display().to_string(),
            source: recording.source(Arc::default())?,
            instruments: Vec::new(),
            entries: Vec::new().into_iter(),
            next: None,
            is_over: false,
        })
    };
    recordings.iter().map(track).collect()
}

/// Returns the times of the first and last statement that are to be played.
fn span(contents: &[Contents], config: &PlayerConfig) -> Result<(u64, u64), PlayerError> {
    let times = || contents.iter().filter_map(|contents| contents.times);
    let first = times().map(|times| times.0).min().unwrap_or(0);
    let last = times().map(|times| times.1).max().unwrap_or(0);
    let (from, to) = (config.from.unwrap_or(first), config.to.unwrap_or(u64::MAX));
    if from > last || to <= first || from >= to {
        return Err(PlayerError::Range { from, to, first, last });
    }
    Ok((from.max(first), last.min(to)))
}
