//! Words for the log: each once, and not too many in a while.

use std::time::Duration;

use crate::limits::{Rate, Window};

/// The words that are told in a minute. A venue that refuses everything would fill the log with the same.
const NOTES_A_MINUTE: u32 = 20;

#[derive(Debug)]
pub(super) struct Notes {
    window: Window,
    words: Vec<String>,
    left_out: u64,
}

impl Default for Notes {
    fn default() -> Self {
        let window = Window::new(Rate::new(NOTES_A_MINUTE, Duration::from_secs(60)));
        Self { window, words: Vec::new(), left_out: 0 }
    }
}

impl Notes {
    /// Tells words, unless there were too many; then it is told later how many.
    pub(super) fn tell(&mut self, now: Duration, words: String) {
        if self.window.ready_at(now, 1, 0) > now {
            self.left_out += 1;
            return;
        }
        self.window.take(now, 1);
        self.words.push(match std::mem::take(&mut self.left_out) {
            0 => words,
            left_out => format!("{words} ({left_out} like this were not told before)"),
        });
    }

    /// Takes the words since the last call.
    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_words_are_counted_and_not_told() {
        let mut notes = Notes::default();
        for n in 0..25 {
            notes.tell(Duration::from_secs(1), n.to_string());
        }
        assert_eq!(notes.take().len(), 20);
        notes.tell(Duration::from_secs(61), "more".to_owned());
        assert_eq!(notes.take(), ["more (5 like this were not told before)"]);
    }
}
