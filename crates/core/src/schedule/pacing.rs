//! When the next round of writing may begin.
//!
//! A write costs 4 to 7 µs however little it carries, and a record in it 0.03 µs: so the number of writes decides what
//! a shard costs. Rounds of writing have a share of the core, saved up to some milliseconds: while they take less, each
//! begins as soon as something is due, so the first update after silence leaves at once. Where more is due than the share
//! writes, rounds wait and each write carries more. (A token bucket, in the form of the generic cell rate algorithm of
//! ITU-T I.371: one number, the time up to which the share is spent.)

use std::time::Duration;

/// Waits below this are not slept: the runtime's timers count milliseconds. What is due is written after the next batch
/// of events.
const SLEEP_MIN_NS: u64 = 300_000;

/// More than any round costs, and little enough to be added to a time.
const COST_MAX_NS: f64 = 3.6e12;

/// How long to wait between rounds of writing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// Wait for each time that writing took, once more than the share was used. 0 writes as fast as it can; 1 spends
    /// at most about half of a core on writing before updates begin to share writes.
    pub ratio: f64,
    /// Longest wait, and how much of unused share is saved. With it, and with what a round takes, an update is not kept
    /// longer than their sum.
    pub wait_max: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { ratio: 1.5, wait_max: Duration::from_millis(2) }
    }
}

/// See the module. Times are nanoseconds of one steady clock.
#[derive(Debug)]
pub(crate) struct Pacer {
    pacing: Pacing,
    /// The share of the core is spent up to then.
    spent_to: u64,
}

impl Pacer {
    pub(crate) fn new(pacing: Pacing, now: u64) -> Self {
        Self { pacing, spent_to: now }
    }

    /// A round is over: nanoseconds to wait before the next; 0 where it is not worth sleeping.
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
mod tests {
    use super::*;

    const US: u64 = 1_000;
    const MS: u64 = 1_000 * US;

    /// Rounds of `took` that begin when they may, and not more often than one each `every`: the mean wait and the longest
    /// after each had its effect, in microseconds.
    fn waits(pacing: Pacing, took: u64, every: u64) -> (u64, u64) {
        let (mut now, mut pacer) = (MS, Pacer::new(pacing, MS));
        let (mut sum, mut longest) = (0, 0);
        for round in 0..1_000 {
            let wait = pacer.wait_after(now, now + took);
            if round >= 500 {
                (sum, longest) = (sum + wait, longest.max(wait));
            }
            now = (now + took + wait).max(now + every);
        }
        (sum / 500 / US, longest / US)
    }

    fn pacing(ratio: f64, wait_max_ms: u64) -> Pacing {
        Pacing { ratio, wait_max: Duration::from_millis(wait_max_ms) }
    }

    #[test]
    fn within_its_share_writing_never_waits() {
        for (took, every) in [(100, 1_000), (390, 1_000), (1_500, 4_000)] {
            assert_eq!(waits(Pacing::default(), took * US, every * US), (0, 0), "{took} of each {every} us");
        }
    }

    #[test]
    fn beyond_it_rounds_wait_for_a_multiple_of_what_they_take() {
        for took in [200, 700, 1_300] {
            let (mean, _) = waits(Pacing::default(), took * US, 0);
            let expected = took * 3 / 2;
            assert!(mean.abs_diff(expected) < expected / 20, "{took}: {mean}");
        }
    }

    #[test]
    fn no_wait_is_longer_than_the_longest() {
        assert_eq!(waits(Pacing::default(), 3 * MS, 0), (2_000, 2_000));
        assert_eq!(waits(Pacing::default(), 10_000 * MS, 0), (2_000, 2_000));
        for ratio in [f64::INFINITY, f64::NAN] {
            assert_eq!(waits(pacing(ratio, 4), 5 * MS, 0).1, 4_000, "{ratio}");
        }
    }

    #[test]
    fn without_a_ratio_or_a_longest_wait_it_does_not_wait() {
        assert_eq!(waits(pacing(0.0, 4), 5 * MS, 0), (0, 0));
        assert_eq!(waits(pacing(1.5, 0), 5 * MS, 0), (0, 0));
    }

    #[test]
    fn what_is_saved_is_bounded() {
        let start = MS;
        let mut pacer = Pacer::new(Pacing::default(), start);
        let late = start + 60_000 * MS;
        assert_eq!(pacer.wait_after(late, late + MS), 0);
        assert_eq!(pacer.wait_after(late + MS, late + 5 * MS / 2), 7 * MS / 4);
    }
}
