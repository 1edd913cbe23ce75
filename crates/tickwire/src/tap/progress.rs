//! The progress of a recording, on standard error.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use super::recorder::Recorder;

/// A line that refreshes in place; nothing where nobody would see it.
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows itself only on a terminal that nothing else is drawn on.
    pub(super) fn start(is_free: bool) -> Self {
        let is_shown = is_free && std::io::stderr().is_terminal();
        Self(is_shown.then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
                bar.set_style(style);
            }
            bar
        }))
    }

    pub(super) fn show(&self, recorder: &Recorder) {
        if let Some(bar) = &self.0 {
            bar.set_message(summary(recorder));
            bar.tick();
        }
    }

    /// Writes a line above it.
    pub(super) fn line(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| crate::printing::complain(line)),
            None => crate::printing::complain(line),
        }
    }

    /// Removes itself and says what the recording came to.
    pub(super) fn end(&self, recorder: &Recorder, elapsed: Duration) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
        let (summary, took) = (summary(recorder), HumanDuration(elapsed));
        crate::printing::complain(format_args!("{}: {summary} in {took}", recorder.path().display()));
    }
}

fn summary(recorder: &Recorder) -> String {
    format!("{} records, {}", HumanCount(recorder.records()), HumanBytes(recorder.bytes()))
}
