//! The progress of a replay: it is written by the replay and read by whoever draws it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::findings::Findings;

/// A handle to the progress of a replay. It is cheap to clone and to read.
#[derive(Clone, Debug, Default)]
pub struct ReplayProgress(Arc<Counters>);

/// The progress of a replay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The number of passes begun, from 1.
    pub pass: u64,
    /// The lines played, or passed over, in this pass.
    pub lines: u64,
    /// The lines in all files.
    pub lines_total: u64,
    /// The bytes read in this pass, as they lie on the disk; some are ahead of the lines.
    pub bytes: u64,
    /// The bytes of all files.
    pub bytes_total: u64,
    /// The recorded time of the last line that was played; 0 before the first.
    pub recorded_time: u64,
    /// The recorded time of the first line.
    pub first_time: u64,
    /// The recorded time of the last line.
    pub last_time: u64,
}

#[derive(Debug, Default)]
struct Counters {
    passes_done: AtomicU64,
    lines: AtomicU64,
    lines_total: AtomicU64,
    bytes: Arc<AtomicU64>,
    bytes_total: AtomicU64,
    recorded_time: AtomicU64,
    /// The time of the first line as `u64::MAX` minus the time, so that 0 means none yet.
    first_time_inverted: AtomicU64,
    last_time: AtomicU64,
    findings: Mutex<Findings>,
}

impl ReplayProgress {
    /// Returns the progress as of now.
    pub fn get(&self) -> Progress {
        let counters = &*self.0;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Progress {
            pass: load(&counters.passes_done) + 1,
            lines: load(&counters.lines),
            lines_total: load(&counters.lines_total),
            bytes: load(&counters.bytes),
            bytes_total: load(&counters.bytes_total),
            recorded_time: load(&counters.recorded_time),
            first_time: match load(&counters.first_time_inverted) {
                0 => 0,
                inverted => u64::MAX - inverted,
            },
            last_time: load(&counters.last_time),
        }
    }

    /// Returns what the replay found besides records, as of its last turn.
    pub fn findings(&self) -> Findings {
        self.0.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn find(&self, update: impl FnOnce(&mut Findings)) {
        update(&mut self.0.findings.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn bytes_counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.bytes)
    }

    pub(crate) fn found_file(&self, bytes: u64, lines: u64, times: (u64, u64)) {
        self.0.bytes_total.fetch_add(bytes, Ordering::Relaxed);
        self.0.lines_total.fetch_add(lines, Ordering::Relaxed);
        self.0.first_time_inverted.fetch_max(u64::MAX - times.0, Ordering::Relaxed);
        self.0.last_time.fetch_max(times.1, Ordering::Relaxed);
    }

    pub(crate) fn passed_over(&self) {
        self.0.lines.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn played(&self, time: u64) {
        self.passed_over();
        self.0.recorded_time.store(time, Ordering::Relaxed);
    }

    pub(crate) fn start_pass(&self) {
        self.0.passes_done.fetch_add(1, Ordering::Relaxed);
        self.0.lines.store(0, Ordering::Relaxed);
        self.0.bytes.store(0, Ordering::Relaxed);
    }

    /// Returns the time from the first to the last line, in nanoseconds.
    pub(crate) fn span(&self) -> u64 {
        let progress = self.get();
        progress.last_time.saturating_sub(progress.first_time)
    }
}
