//! The pacing of a shard: when the next round of writing may begin.
//!
//! A write costs 4 to 7 µs however little it carries, and a record in it 0.03 µs: so the number of writes decides
//! what a shard costs. Rounds of writing have a share of the core, saved up to some milliseconds: while they take
//! less, each begins as soon as something is due, so the first update after silence leaves at once. Where more is due
//! than the share writes, rounds wait and each write carries more. (This is a token bucket in the form of the generic
//! cell rate algorithm of ITU-T I.371: it keeps one number, the time up to which the share is spent.)

use std::time::Duration;

/// Shorter waits are not slept: the runtime's timers count milliseconds. What is due is written after the next batch
/// of events.
const SLEEP_MIN_NS: u64 = 300_000;

/// A cost that is more than that of any round, and little enough to be added to a time.
const COST_MAX_NS: f64 = 3.6e12;

/// The settings of the pacing: how long a shard waits between rounds of writing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// The time that a shard waits for each time that writing took, once it used more than its share. 0 writes as
    /// fast as it can; 1 spends at most about half of a core on writing before updates begin to share writes.
    pub ratio: f64,
    /// The longest wait, which is also how much of an unused share is saved, in nanoseconds. An update is not kept
    /// longer than this and the time that a round takes.
    pub wait_max: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { ratio: 1.5, wait_max: Duration::from_millis(2) }
    }
}

/// The state of the pacing; see the module. Times are nanoseconds of one steady clock.
#[derive(Debug)]
pub(crate) struct Pacer {
    pacing: Pacing,
    /// The time up to which the share of the core is spent.
    spent_to: u64,
}

impl Pacer {
    pub(crate) fn new(pacing: Pacing, now: u64) -> Self {
        Self { pacing, spent_to: now }
    }

    /// Notes that a round is over. Returns how many nanoseconds to wait before the next; 0 where it is not worth
    /// sleeping.
    pub(crate) fn wait_after(&mut self, began: u64, ended: u64) -> u64 {
        let Pacing { ratio, wait_max } = self.pacing;
        let wait_max = wait_max.as_nanos() as u64;
        let cost = ended.saturating_sub(began) as f64 * (1.0 + ratio);
        let cost = if cost.is_finite() { cost.clamp(0.0, COST_MAX_NS) } else { COST_MAX_NS } as u64;
        self.spent_to =
            (self.spent_to.max(began) + cost).min(ended.saturating_add(wait_max.saturating_mul(2)));
        let wait = self.spent_to.saturating_sub(ended.saturating_add(wait_max));
        if wait < SLEEP_MIN_NS { 0 } else { wait }
    }
}

#[cfg(test)]
#[path = "pacing_tests.rs"]
mod tests;
