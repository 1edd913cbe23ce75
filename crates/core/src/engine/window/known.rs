//! The facts about a session that uses its window.

use super::doubt::{Check, Round, Shape, Trials};

/// The facts about a session that uses its window. Most never do: it is made when half of the window is used.
#[derive(Debug, Default)]
pub(super) struct Course {
    pub(super) round: Round,
    /// The shape of the last round.
    pub(super) shape: Shape,
    /// One long message came late, which says nothing yet: nothing grows until a round has told how it came back.
    pub(super) is_wary: bool,
    /// Times without a receipt though one was due: the longest and the second longest of this stretch of 10 s, and the second
    /// longest of the stretch before. The second longest counts, because one alone may be chance.
    pub(super) gaps: [u64; 3],
    /// The last two silences: times without a receipt of at least a freshness target, though one was due.
    pub(super) silences: [u64; 2],
    /// The time at which the last one ended.
    pub(super) silence_ended: u64,
    /// The path's delay was learned by a trial, and is not confirmed yet.
    pub(super) sequel: Option<Sequel>,
    /// The last two times between receipts that did not come together.
    pub(super) intervals: [u64; 2],
    /// The trial that is going on.
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

/// The round after a trial. The path's delay is no longer than the longest in there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequel {
    /// The newest probe when the trial was over.
    pub(super) since: u64,
    /// The probe that ends the round; 0: it has not begun.
    pub(super) end: u64,
    pub(super) longest: u64,
}

impl Course {
    /// Notes that a receipt came so long after the one before it, and not with it.
    pub(super) fn note_interval(&mut self, gap: u64) {
        self.intervals = [gap, self.intervals[0]];
    }

    /// Returns the shorter of the last two: receipts come no more often than this.
    pub(super) fn interval(&self) -> u64 {
        self.intervals[0].min(self.intervals[1])
    }

    /// Notes that a silence of so long ended now.
    pub(super) fn note_silence(&mut self, gap: u64, now: u64) {
        (self.silences, self.silence_ended) = ([gap, self.silences[0]], now);
    }

    /// Returns whether most of the delay of what was sent at `time` is one silence of a new kind: more than twice as long as
    /// the one before and as the path's delay. A reader may have stood still for once, so such a delay says little about
    /// the bytes under way. The next silence of a path is as long again, and no pause.
    pub(super) fn is_pause(&self, time: u64, delay: u64, path: u64) -> bool {
        let [last, before] = self.silences;
        last.min(self.silence_ended.saturating_sub(time)) > delay / 2 && last / 2 > before.max(path)
    }

    /// Notes that nothing was confirmed for so long, though something was under way.
    pub(super) fn note_gap(&mut self, gap: u64) {
        let [longest, next, _] = &mut self.gaps;
        if gap > *longest {
            (*longest, *next) = (gap, *longest);
        } else {
            *next = (*next).max(gap);
        }
    }
}
