//! A thread has things to do later.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Something is due at a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Connect,
    /// It subscribes together with the others.
    Subscribe,
    /// The opening took too long.
    Late,
    /// A throttled reader may read again.
    Read,
    Stall,
    Resume,
    /// A slow program works off what it has.
    Work,
    Receipt,
    Storm(u8),
    /// The ledger took too long.
    NoLedger,
    /// A ping to see how far the server's clock is from ours.
    Probe,
}

/// A due time in nanoseconds since the Unix epoch, the session's place, and what.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<(u64, u32, Due)>>);

impl Timers {
    pub(crate) fn add(&mut self, due: u64, slot: usize, what: Due) {
        self.0.push(Reverse((due, slot as u32, what)));
    }

    pub(crate) fn next(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((due, ..))| *due)
    }

    /// Returns what is due by now, the earliest first.
    pub(crate) fn pop(&mut self, now: u64) -> Option<(u64, usize, Due)> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((due, slot, what))| (due, slot as usize, what))
    }
}

#[cfg(test)]
#[path = "../../tests/units/timers.rs"]
mod tests;
