//! Looks tell how late a thread reads: from when something may have been there to its read.
//!
//! The kernel does not say when bytes came. It is known that they came after the last look that took all that was ready, or, where
//! the thread slept, that nothing was ready before it woke. So what this gives is the most that they can have waited.

/// A wait for sockets that took less may not have been one: what was ready came while the thread was at work. Nanoseconds.
const SLEEP_MIN: u64 = 20_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    /// Whatever was ready by then has been looked at.
    seen: u64,
}

impl Looks {
    pub(super) fn new(now: u64) -> Self {
        Self { seen: now }
    }

    /// Returns since when at most something has been ready that the look of `woken` finds. The thread waited from `slept`, and had to be
    /// back at `due`.
    pub(super) fn since(self, slept: u64, due: u64, woken: u64) -> u64 {
        if woken.saturating_sub(slept) < SLEEP_MIN { self.seen.min(woken) } else { due.clamp(slept, woken) }
    }

    /// A look was worked through. One that is full may have left something out.
    pub(super) fn looked(&mut self, woken: u64, since: u64, is_full: bool) {
        self.seen = if is_full { since } else { woken };
    }
}

#[cfg(test)]
#[path = "../../tests/units/looks.rs"]
mod tests;
