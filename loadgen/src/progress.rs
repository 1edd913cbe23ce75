//! A few lines on a terminal that say how it goes; elsewhere a plain line for each phase, and one now and then.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::model::Second;
use crate::run::watch::Watch;
use crate::workers::Counts;

const SHOW_PERIOD: Duration = Duration::from_millis(200);
/// Elsewhere than on a terminal.
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// On standard error.
pub(crate) struct Progress {
    is_terminal: bool,
    phase: String,
    line: ProgressBar,
    shown: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let target = if is_terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let line = ProgressBar::with_draw_target(None, target);
        line.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is right"));
        line.enable_steady_tick(Duration::from_millis(250));
        Self { is_terminal, phase: String::new(), line, shown: None }
    }

    /// Whether it is time to show something.
    fn is_due(&mut self, phase: &str, now: Instant) -> bool {
        let is_new = self.phase != phase;
        if is_new {
            phase.clone_into(&mut self.phase);
        }
        let period = if self.is_terminal { SHOW_PERIOD } else { LINE_PERIOD };
        let is_due = is_new || self.shown.is_none_or(|shown| now.saturating_duration_since(shown) >= period);
        if is_due {
            self.shown = Some(now);
        }
        is_due
    }

    fn show(&self, text: &str) {
        if self.is_terminal {
            self.line.set_message(text.to_owned());
        } else {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    pub(crate) fn opening(&mut self, counts: Counts, asked: u64) {
        let is_open = counts.opened + counts.not_opened >= asked;
        let phase = if is_open { "warming up" } else { "opening" };
        if self.is_due(phase, Instant::now()) {
            self.show(&format!("{phase}: {} of {asked} sessions", counts.opened));
        }
    }

    pub(crate) fn measuring(&mut self, counts: Counts, left: Duration, watch: &Watch) {
        if !self.is_due("measuring", Instant::now()) {
            return;
        }
        let lines = measuring(counts, left, watch);
        self.show(&lines.join(if self.is_terminal { "\n  " } else { "; " }));
    }

    pub(crate) fn phase(&mut self, phase: &str, counts: Counts) {
        if self.is_due(phase, Instant::now()) {
            self.show(&format!("{phase}: {} sessions", counts.live));
        }
    }

    /// A line that stays.
    pub(crate) fn note(&self, text: &str) {
        if self.is_terminal {
            self.line.println(text);
        } else {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    pub(crate) fn end(self) {
        self.line.finish_and_clear();
    }
}

/// What the last second brought and what the whole, each with its name.
fn measuring(counts: Counts, left: Duration, watch: &Watch) -> Vec<String> {
    let mut first = format!("measuring, {:.0} s left: {} sessions", left.as_secs_f64(), counts.live);
    if let Some(pressure) = watch.pressure {
        let _ = write!(first, ", pressure now {:.0} KiB", pressure as f64 / 1024.0);
    }
    if counts.violations > 0 {
        let _ = write!(first, ", {} BROKEN", counts.violations);
    }
    let figures = |name: &str, second: &Second| {
        let ms = |ns: u64| ns as f64 / 1e6;
        format!(
            "{name}: {} records/s, {:.1} MB/s, p50 {:.2}  p99 {:.2}  p99.9 {:.2}  max {:.2} ms",
            second.records,
            second.bytes as f64 / 1e6,
            ms(second.p50_ns),
            ms(second.p99_ns),
            ms(second.p999_ns),
            ms(second.max_ns)
        )
    };
    let last = watch.last().map(|second| figures("last second", &second));
    let whole = watch.so_far().map(|(second, count)| figures(&format!("all {count} s so far"), &second));
    std::iter::once(first).chain(last).chain(whole).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::SecondPart;

    #[tokio::test]
    async fn what_is_of_the_last_second_and_what_of_all_is_named() {
        let mut watch = Watch::new(None, None, 1);
        let from = crate::clock::now();
        let part = |at, records| SecondPart { at: Some((from, at)), records, ..SecondPart::default() };
        watch.look(&[part(0, 100), part(1, 200)], (from, from + 10_000_000_000), 0.0).await;
        watch.pressure = Some(2048);
        let lines = measuring(Counts { live: 3, ..Counts::default() }, Duration::from_secs(8), &watch);
        let starts = [
            "measuring, 8 s left: 3 sessions, pressure now 2 KiB",
            "last second: 200 records/s",
            "all 2 s so far: 150 records/s",
        ];
        assert_eq!(lines.len(), 3);
        assert!(lines.iter().zip(starts).all(|(line, start)| line.starts_with(start)), "{lines:?}");
    }

    #[test]
    fn elsewhere_than_on_a_terminal_there_is_a_line_for_each_phase_and_one_now_and_then() {
        let mut progress = Progress { is_terminal: false, ..Progress::new() };
        let began = Instant::now();
        let mut due = |phase, seconds| progress.is_due(phase, began + Duration::from_secs(seconds));
        assert!(due("opening", 0) && !due("opening", 9) && due("opening", 10) && !due("opening", 11));
        assert!(due("measuring", 12) && !due("measuring", 21) && due("measuring", 22));
    }
}
