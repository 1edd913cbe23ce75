//! A few lines on a terminal that say how it goes; elsewhere a plain line for each phase, and one now and then.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::board::Counts;
use crate::report::metric::Unit;
use crate::report::model::Second;
use crate::run::watch::Watch;

const SHOW_PERIOD: Duration = Duration::from_millis(200);
/// Elsewhere than on a terminal.
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// Progress goes to standard error.
pub(crate) struct Progress {
    phase: String,
    shown: Option<Instant>,
    /// Hidden elsewhere than on a terminal.
    line: ProgressBar,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        line.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is right"));
        line.enable_steady_tick(Duration::from_millis(250));
        Self { phase: String::new(), line, shown: None }
    }

    /// Returns whether it is time to show something.
    fn is_due(&mut self, phase: &str, now: Instant) -> bool {
        let period = if self.line.is_hidden() { LINE_PERIOD } else { SHOW_PERIOD };
        let is_early = self.shown.is_some_and(|shown| now.saturating_duration_since(shown) < period);
        if is_early && self.phase == phase {
            return false;
        }
        (self.phase, self.shown) = (phase.to_owned(), Some(now));
        true
    }

    /// Shows lines: on a terminal in place of those before them, elsewhere as one line.
    fn show(&self, lines: &[String]) {
        if self.line.is_hidden() {
            self.note(&lines.join("; "));
        } else {
            self.line.set_message(lines.join("\n  "));
        }
    }

    pub(crate) fn opening(&mut self, counts: Counts, asked: u64) {
        let is_open = counts.opened + counts.not_opened >= asked;
        let phase = if is_open { "warming up" } else { "opening" };
        if self.is_due(phase, Instant::now()) {
            self.show(&[format!("{phase}: {} of {asked} sessions", counts.opened)]);
        }
    }

    pub(crate) fn measuring(&mut self, counts: Counts, left: Duration, watch: &Watch) {
        if self.is_due("measuring", Instant::now()) {
            self.show(&measuring(counts, left, watch));
        }
    }

    pub(crate) fn phase(&mut self, phase: &str, counts: Counts) {
        if self.is_due(phase, Instant::now()) {
            self.show(&[format!("{phase}: {} sessions", counts.live)]);
        }
    }

    /// Writes a line that stays.
    pub(crate) fn note(&self, text: &str) {
        if self.line.is_hidden() {
            let _ = writeln!(std::io::stderr(), "{text}");
        } else {
            self.line.println(text);
        }
    }

    pub(crate) fn end(self) {
        self.line.finish_and_clear();
    }
}

/// Returns what the last second brought and what the whole, each with its name.
fn measuring(counts: Counts, left: Duration, watch: &Watch) -> Vec<String> {
    let mut first = format!("measuring, {:.0} s left: {} sessions", left.as_secs_f64(), counts.live);
    if let Some(pressure) = watch.pressure {
        let _ = write!(first, ", pressure now {}", Unit::Bytes.show(pressure as f64));
    }
    if counts.violations > 0 {
        let _ = write!(first, ", {} BROKEN", counts.violations);
    }
    let results = |name: &str, second: &Second| {
        let Second { records, bytes, p50_ns, p99_ns, p999_ns, max_ns, .. } = *second;
        let times = [("p50", p50_ns), ("p99", p99_ns), ("p99.9", p999_ns), ("max", max_ns)];
        let times = times.map(|(of, ns)| format!("{of} {}", Unit::Nanoseconds.show(ns as f64)));
        format!("{name}: {records} records/s, {}/s, {}", Unit::Bytes.show(bytes as f64), times.join(", "))
    };
    let last = watch.last().map(|second| results("last second", &second));
    let whole = watch.sum().map(|(sum, count)| {
        let average = Second { records: sum.records / count, bytes: sum.bytes / count, ..sum };
        results(&format!("all {count} s so far"), &average)
    });
    std::iter::once(first).chain(last).chain(whole).collect()
}

#[cfg(test)]
#[path = "../tests/units/progress.rs"]
mod tests;
