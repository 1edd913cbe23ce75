//! What is known of a session that uses its window.

use super::doubt::{Check, Round, Shape, Trials};

/// What is known of a session that uses its window. Most never do: it is made when half of the window is used.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) round: Round,
    /// How what was sent in the round before came back.
    pub(super) shape: Shape,
    /// One long message came late, which says nothing yet: nothing grows until a round has told how it came back.
    pub(super) is_wary: bool,
    /// Longest time and the next to it without an answer though one was due, of this stretch; the latter of the one before.
    pub(super) gaps: [u64; 3],
    /// The last two times between answers that did not come together.
    pub(super) beats: [u64; 2],
    /// What is being tried.
    pub(super) check: Option<Check>,
    /// The reader is slow: there is a queue before it.
    pub(super) slow: Option<Slow>,
}

/// The window that a slow reader was proven with, and what else was tried.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slow {
    /// The smallest window that is known to have made the delay shorter.
    pub(super) proven: usize,
    pub(super) trials: Trials,
    /// When twice the window may be tried again, and how often that was in vain.
    pub(super) next_try: u64,
    pub(super) tries: u8,
    /// A delay was longer than the window explains: the newest probe then, and the shortest such delay.
    pub(super) beyond: Option<(u64, u64)>,
}

impl Course {
    /// An answer came so long after the one before it, and not with it.
    pub(super) fn note_beat(&mut self, gap: u64) {
        self.beats = [gap, self.beats[0]];
    }

    /// The shorter of the last two: answers come no more often than this.
    pub(super) fn beat(&self) -> u64 {
        self.beats[0].min(self.beats[1])
    }

    /// Nothing was confirmed for so long, though something was under way.
    pub(super) fn note_gap(&mut self, gap: u64) {
        let [longest, next, _] = &mut self.gaps;
        if gap > *longest {
            (*longest, *next) = (gap, *longest);
        } else {
            *next = (*next).max(gap);
        }
    }
}
