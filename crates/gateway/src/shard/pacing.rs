//! When the next round of writing may begin.
//!
//! A write costs 4 to 7 µs however little it carries, and a record in it 0.03 µs: so the number of writes decides what
//! a shard costs. After a round that took T the shard waits for a multiple of T while more records become due. Where
//! little is due a round is short and so is the wait: the first update after silence leaves at once. Where rounds are
//! long, waits are long too and each write carries more.

use std::time::Duration;

/// Waits below this are not slept: the runtime's timers count milliseconds. What is due is written after the next batch
/// of events.
const SLEEP_MIN: Duration = Duration::from_micros(300);

/// How long to wait between rounds of writing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// Wait after a round, as a multiple of what the round took. 0 writes as fast as it can; 1 spends at most about half
    /// of a core on writing before updates begin to share writes.
    pub ratio: f64,
    /// Longest wait. With it, and with what a round takes, an update is not kept longer than their sum.
    pub wait_max: Duration,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { ratio: 1.5, wait_max: Duration::from_millis(4) }
    }
}

impl Pacing {
    /// The wait after a round that took so long; zero where it is not worth sleeping.
    pub(crate) fn wait_after(&self, took: Duration) -> Duration {
        let wait = Duration::try_from_secs_f64(took.as_secs_f64() * self.ratio).unwrap_or(self.wait_max);
        let wait = wait.min(self.wait_max);
        if wait < SLEEP_MIN { Duration::ZERO } else { wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ratio: f64, wait_max_us: u64, took_us: u64, expected_us: u64) {
        let pacing = Pacing { ratio, wait_max: Duration::from_micros(wait_max_us) };
        assert_eq!(pacing.wait_after(Duration::from_micros(took_us)), Duration::from_micros(expected_us));
    }

    #[test]
    fn waits() {
        check(1.5, 4000, 0, 0);
        check(1.5, 4000, 199, 0);
        check(1.5, 4000, 200, 300);
        check(1.5, 4000, 2000, 3000);
        check(1.5, 4000, 3000, 4000);
        check(1.5, 4000, 10_000_000, 4000);
        check(1.5, 0, 10_000_000, 0);
        check(0.0, 4000, 10_000_000, 0);
        check(-1.0, 4000, 5000, 4000);
        check(f64::INFINITY, 4000, 5000, 4000);
    }
}
