//! A line on a terminal that says how it goes; elsewhere a line for each phase.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget};
use tokio::time::Instant;

use crate::worker::{Counts, Phase};

/// On standard error.
pub(crate) struct Progress {
    is_terminal: bool,
    phase: Option<Phase>,
    line: ProgressBar,
    before: Option<(Instant, Counts)>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let line = ProgressBar::with_draw_target(None, target);
        line.enable_steady_tick(Duration::from_millis(250));
        Self { is_terminal, phase: None, line, before: None }
    }

    pub(crate) fn show(&mut self, phase: Phase, left: Duration, sessions: usize, counts: Counts) {
        if !self.is_terminal && self.phase.replace(phase) == Some(phase) {
            return;
        }
        let now = Instant::now();
        let (then, before) = self.before.replace((now, counts)).unwrap_or((now, counts));
        let seconds = (now - then).as_secs_f64().max(0.001);
        let per_second = |now: u64, before: u64| (now - before) as f64 / seconds;
        let records = per_second(counts.records, before.records);
        let megabytes = per_second(counts.bytes, before.bytes) / 1e6;
        let phase = match phase {
            Phase::Open => "opening".to_owned(),
            Phase::Measure => format!("measuring, {:.0} s left", left.as_secs_f64()),
            Phase::Finish => "asking for ledgers".to_owned(),
        };
        if !self.is_terminal {
            let _ = writeln!(std::io::stderr(), "{phase}: {} of {sessions} sessions", counts.opened);
            return;
        }
        self.line.set_message(format!(
            "{phase}: {} of {sessions} sessions, {records:.0} records/s, {megabytes:.1} MB/s, {} violations",
            counts.opened, counts.violations
        ));
    }

    pub(crate) fn end(self) {
        self.line.finish_and_clear();
    }
}
