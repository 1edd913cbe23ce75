//! The sessions whose API keys grant something else now, and when each of them is told.
//!
//! To tell one may take milliseconds, where it has all of a venue, and there may be thousands. So it is done in short turns, between
//! which the thread has as long for the rest of its work. Those go first whose keys grant less than before, because that has to
//! count within about a second: one that was not told in time is closed instead, which takes less, and may come back for what
//! its key grants now.

use tickwire_core::engine::SessionKey;

/// The time after which a turn ends, in nanoseconds.
const TURN_NS: u64 = 1_000_000;
/// The time for telling sessions that their keys grant less. Those that are left then are closed.
const LATE_NS: u64 = 800_000_000;

/// These sessions; see the module.
#[derive(Debug, Default)]
pub(super) struct Regrants {
    /// Those whose keys grant less.
    less: Vec<SessionKey>,
    others: Vec<SessionKey>,
    /// When those whose keys grant less are closed instead of told.
    late_at: u64,
    /// When the next turn may begin.
    turn_at: u64,
}

/// The next thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Regrant {
    /// Tell a session what its key grants now.
    Tell(SessionKey),
    /// Close it, because its key grants less.
    Close(SessionKey),
}

impl Regrants {
    /// Begins with these sessions, which are all whose keys grant something else now.
    pub(super) fn begin(&mut self, less: Vec<SessionKey>, others: Vec<SessionKey>, now: u64) {
        // What has to count soon since an earlier change does not wait longer for this one.
        if self.less.is_empty() {
            self.late_at = now.saturating_add(LATE_NS);
        }
        (self.less, self.others) = (less, others);
    }

    /// Returns when the next turn is due, where there is something left to do.
    pub(super) fn turn_at(&self) -> Option<u64> {
        let is_done = self.less.is_empty() && self.others.is_empty();
        (!is_done).then_some(self.turn_at)
    }

    /// Takes a turn. `now` reads the clock.
    pub(super) fn turn(&mut self, now: impl Fn() -> u64, mut act: impl FnMut(Regrant)) {
        let since = now();
        let mut at = since;
        while at.saturating_sub(since) < TURN_NS
            && let Some(next) = self.next(at)
        {
            act(next);
            at = now();
        }
        self.turn_at = at.saturating_add(at.saturating_sub(since));
    }

    fn next(&mut self, now: u64) -> Option<Regrant> {
        match self.less.pop() {
            Some(key) if now >= self.late_at => Some(Regrant::Close(key)),
            Some(key) => Some(Regrant::Tell(key)),
            None => self.others.pop().map(Regrant::Tell),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use slotmap::SlotMap;

    use super::*;

    const MS: u64 = 1_000_000;

    /// The outcome of a run in virtual time.
    #[derive(Debug, Default)]
    struct Run {
        told: usize,
        closed: usize,
        /// When what is less counted for every session.
        less_done: u64,
        all_done: u64,
        /// The time that turns took together, and the longest of them.
        turns: u64,
        longest: u64,
    }

    /// Tells sessions, each of which takes `tell` nanoseconds, or `close` where it is closed.
    fn run(less: usize, others: usize, tell: u64, close: u64) -> Run {
        let mut sessions = SlotMap::<SessionKey, ()>::with_key();
        let mut keys = |count: usize| (0..count).map(|_| sessions.insert(())).collect::<Vec<_>>();
        let (mut regrants, clock, mut run) = (Regrants::default(), Cell::new(5_000 * MS), Run::default());
        let begun = clock.get();
        regrants.begin(keys(less), keys(others), begun);
        while let Some(at) = regrants.turn_at() {
            // The rest of the thread's work has the time until then.
            clock.set(clock.get().max(at));
            let since = clock.get();
            regrants.turn(
                || clock.get(),
                |next| {
                    let (count, takes) = match next {
                        Regrant::Tell(_) => (&mut run.told, tell),
                        Regrant::Close(_) => (&mut run.closed, close),
                    };
                    *count += 1;
                    clock.set(clock.get() + takes);
                    if run.told + run.closed == less {
                        run.less_done = clock.get() - begun;
                    }
                },
            );
            let took = clock.get() - since;
            (run.turns, run.longest) = (run.turns + took, run.longest.max(took));
        }
        run.all_done = clock.get() - begun;
        run
    }

    #[test]
    fn what_is_less_counts_within_about_a_second_however_much_there_is() {
        let few = run(5_000, 5_000, 50_000, 20_000);
        assert_eq!((few.told, few.closed), (10_000, 0), "there is time to tell them all");
        assert!(few.less_done <= 500 * MS && few.all_done <= 1_000 * MS, "{few:?}");
        // To tell these would take 20 s of the thread.
        let many = run(10_000, 100, 2 * MS, 20_000);
        assert!(many.closed > 9_000 && many.told + many.closed == 10_100, "{many:?}");
        assert!((800 * MS..1_300 * MS).contains(&many.less_done), "{many:?}");
        // Who gets more is told, however long that takes.
        let more = run(0, 2_000, 2 * MS, 20_000);
        assert_eq!((more.told, more.closed), (2_000, 0));
    }

    #[test]
    fn the_rest_of_the_thread_has_half_of_the_time() {
        for (less, others, tell) in [(5_000, 5_000, 50_000), (10_000, 100, 2 * MS), (0, 1_000, 7 * MS)] {
            let run = run(less, others, tell, 20_000);
            assert!(run.turns <= run.all_done / 2 + run.longest, "{run:?}");
            assert!(run.longest < TURN_NS + tell, "{run:?}");
        }
    }

    #[test]
    fn another_change_is_no_reason_to_wait_longer() {
        let mut sessions = SlotMap::<SessionKey, ()>::with_key();
        let [first, second] = [sessions.insert(()), sessions.insert(())];
        let mut regrants = Regrants::default();
        regrants.begin(vec![first], vec![second], MS);
        regrants.begin(vec![first, second], Vec::new(), LATE_NS);
        assert_eq!(regrants.next(LATE_NS), Some(Regrant::Tell(second)));
        assert_eq!(regrants.next(LATE_NS + MS), Some(Regrant::Close(first)));
        assert_eq!((regrants.next(LATE_NS + MS), regrants.turn_at()), (None, None));
        regrants.begin(vec![first], Vec::new(), 2 * LATE_NS);
        assert_eq!(regrants.next(2 * LATE_NS + MS), Some(Regrant::Tell(first)));
    }
}
