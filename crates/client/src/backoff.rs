//! How long to wait before trying again.

use std::time::Duration;

/// Exponential back-off with full jitter, after M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog,
/// 2015): any time from zero to a ceiling that doubles with each attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub min: Duration,
    /// Ceiling that no wait exceeds, save what the gateway asked for itself.
    pub max: Duration,
}

impl Default for Backoff {
    /// 250 ms to 30 s.
    fn default() -> Self {
        Self { min: Duration::from_millis(250), max: Duration::from_secs(30) }
    }
}

impl Backoff {
    /// Waits below a ceiling that doubles from `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// Longest wait before attempt number `attempt`, counted from 0.
    pub fn ceiling(self, attempt: u32) -> Duration {
        self.min.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.max)
    }

    /// The wait before attempt number `attempt` for a random number in `0.0..1.0`.
    pub fn delay(self, attempt: u32, random: f64) -> Duration {
        self.ceiling(attempt).mul_f64(random.clamp(0.0, 1.0))
    }

    /// The wait, with a fresh random number.
    pub(crate) fn draw(self, attempt: u32) -> Duration {
        self.delay(attempt, rand::random())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ceilings_double_up_to_the_maximum() {
        let backoff = Backoff { min: Duration::from_millis(100), max: Duration::from_secs(1) };
        let ceilings: Vec<_> = (0..6).map(|n| backoff.ceiling(n).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1000, 1000]);
    }

    proptest! {
        #[test]
        fn waits_stay_within_bounds(
            min in 0u64..10_000, max in 0u64..100_000, attempt in any::<u32>(), random in 0.0f64..1.0,
        ) {
            let backoff = Backoff { min: Duration::from_millis(min), max: Duration::from_millis(max) };
            prop_assert!(backoff.delay(attempt, random) <= backoff.max);
            prop_assert!(backoff.delay(attempt, random) <= backoff.ceiling(attempt));
            prop_assert!(backoff.ceiling(attempt) <= backoff.ceiling(attempt.saturating_add(1)));
            prop_assert_eq!(backoff.delay(attempt, 0.0), Duration::ZERO);
        }
    }
}
