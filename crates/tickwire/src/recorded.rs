//! Recordings as a source: Binance's raw streams by the player that knows such files, everything else by the player of all formats.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow};
use tickwire_feed::binance::Market;
use tickwire_feed::replay::{Passes, Replay, ReplayConfig, ReplayProgress, Times};
use tickwire_feed::{Clock, Pace};
use tickwire_recordings::contents::Contents;
use tickwire_recordings::{Format, Hints, Player, PlayerConfig, PlayerProgress, Recording};
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The period at which a bar is drawn anew.
const DRAW_PERIOD: Duration = Duration::from_millis(100);

/// A source that plays recordings.
pub(crate) enum Recorded {
    /// Raw streams of Binance.
    Binance(Box<Replay>),
    /// Anything else, or several formats together, with what the first reading found in each file.
    Any(Box<Player>, Vec<(PathBuf, Contents)>),
}

/// A handle to how far a source is.
#[derive(Clone)]
pub(crate) enum RecordedProgress {
    Binance(ReplayProgress),
    Any(PlayerProgress),
}

/// The progress of a source: in lines where Binance's streams play, in statements else.
pub(crate) struct At {
    pub(crate) done: u64,
    pub(crate) total: u64,
    pub(crate) pass: u64,
    /// The recorded time of the last one that was played, and of the last one that there is, in nanoseconds.
    pub(crate) time: u64,
    pub(crate) end: u64,
}

impl RecordedProgress {
    pub(crate) fn get(&self) -> At {
        match self {
            Self::Binance(progress) => {
                let at = progress.get();
                let (time, end) = (at.recorded_time, at.last_time);
                At { done: at.lines, total: at.lines_total, pass: at.pass, time, end }
            }
            Self::Any(progress) => {
                let at = progress.get();
                let (time, end) = (at.time, at.times.1);
                At { done: at.statements, total: at.statements_total, pass: at.pass, time, end }
            }
        }
    }
}

impl Recorded {
    pub(crate) fn progress(&self) -> RecordedProgress {
        match self {
            Self::Binance(replay) => RecordedProgress::Binance(replay.progress()),
            Self::Any(player, _) => RecordedProgress::Any(player.progress()),
        }
    }
}

impl Adapter for Recorded {
    fn venue(&self) -> &str {
        match self {
            Self::Binance(replay) => replay.venue(),
            Self::Any(player, _) => player.venue(),
        }
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        match self {
            Self::Binance(replay) => replay.next(events).await,
            Self::Any(player, _) => player.next(events).await,
        }
    }
}

/// Opens recordings, as configured; returns `None` where it was asked to stop before they were read.
pub(crate) async fn open(
    config: &Config,
    files: Vec<PathBuf>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Recorded>> {
    let raw = &config.raw.ingest.replay;
    let settings = PlayerConfig {
        pace: if raw.speed == 0.0 { Pace::FlatOut } else { Pace::Speed(raw.speed) },
        passes: if raw.looped { Passes::Endless } else { Passes::Once },
        times: if raw.rebase { Times::Rebased } else { Times::Recorded },
        from: config.part.0,
        to: config.part.1,
        clock: Clock::system(),
    };
    let hints = config.hints.clone();
    let open = tokio::task::spawn_blocking(move || open_now(&files, &hints, settings));
    tokio::select! {
        opened = open => Ok(Some(opened??)),
        () = stop.cancelled() => Ok(None),
    }
}

fn open_now(files: &[PathBuf], hints: &Hints, settings: PlayerConfig) -> anyhow::Result<Recorded> {
    let recordings = files.iter().map(|path| Recording::open(path, hints)).collect::<Result<Vec<_>, _>>()?;
    let is_binance = !recordings.is_empty() && recordings.iter().all(|it| it.format() == Format::Binance);
    if is_binance && (settings.from, settings.to) == (None, None) {
        let PlayerConfig { pace, passes, times, clock, .. } = settings;
        let market = hints.venue.as_deref().map(market).transpose()?;
        let config = ReplayConfig { market, files: Vec::new(), pace, passes, times, clock };
        let inputs = recordings.iter().map(|recording| recording.input().clone()).collect();
        return Ok(Recorded::Binance(Box::new(Replay::open_inputs(config, inputs)?)));
    }
    let paths: Vec<_> = recordings.iter().map(|recording| recording.path().to_owned()).collect();
    let bytes = Arc::default();
    let bar = Reading::show(&bytes, total_bytes(&recordings));
    let opened = Player::open(recordings, settings, &bytes);
    drop(bar);
    let (player, contents) = opened?;
    Ok(Recorded::Any(Box::new(player), paths.into_iter().zip(contents).collect()))
}

fn market(venue: &str) -> anyhow::Result<Market> {
    Market::from_venue(venue).ok_or_else(|| {
        let known = Market::ALL.map(Market::venue).join(", ");
        anyhow::anyhow!("recordings of venue `{venue}` cannot be replayed; known: {known}")
    })
}

/// Returns the bytes of all files, as they lie on the disk.
pub(crate) fn total_bytes(recordings: &[Recording]) -> u64 {
    let bytes = |recording: &Recording| recording.input().open().and_then(|file| file.metadata());
    recordings.iter().filter_map(|recording| bytes(recording).ok()).map(|metadata| metadata.len()).sum()
}

/// A bar that shows how much of the files was read, until it is dropped; nothing where there is no terminal.
pub(crate) struct Reading {
    bar: ProgressBar,
    is_over: Arc<AtomicBool>,
    task: Option<std::thread::JoinHandle<()>>,
}

impl Reading {
    pub(crate) fn show(bytes: &Arc<AtomicU64>, total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let template = "reading {wide_bar} {percent:>3} %  {bytes}/{total_bytes}  {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let (drawn, bytes, over) = (bar.clone(), Arc::clone(bytes), Arc::clone(&is_over));
        let task = std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                drawn.set_position(bytes.load(Ordering::Relaxed));
                std::thread::park_timeout(DRAW_PERIOD);
            }
        });
        Self { bar, is_over, task: Some(task) }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(task) = self.task.take() {
            task.thread().unpark();
            let _ = task.join();
        }
        self.bar.finish_and_clear();
    }
}
