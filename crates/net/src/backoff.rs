//! The wait before something is tried again.

use std::time::Duration;

/// Exponential back-off with full jitter, after M. Brooker, "Exponential Backoff and Jitter" (AWS Architecture Blog,
/// 2015): any time from zero to a ceiling that doubles with each attempt.
///
/// Libraries were looked at: `backon` and `exponential-backoff` add some jitter to a wait that they double, so that clients
/// which were cut off together come back nearly together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// Ceiling of the first wait.
    pub min: Duration,
    /// Ceiling that no wait exceeds.
    pub max: Duration,
}

impl Default for Backoff {
    /// Returns a back-off whose ceiling grows from 250 ms to 30 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(250), Duration::from_secs(30))
    }
}

impl Backoff {
    /// Waits below a ceiling that doubles from `min` to `max`.
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max }
    }

    /// Returns the longest wait before attempt number `attempt`, counted from 0.
    pub fn ceiling(self, attempt: u32) -> Duration {
        self.min.saturating_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX)).min(self.max)
    }

    /// Returns the wait before attempt number `attempt` for a random number in `0.0..1.0`.
    pub fn delay(self, attempt: u32, random: f64) -> Duration {
        self.ceiling(attempt).mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Counts the attempts to connect. Only a connection that held for a while begins the count anew: one that is cut off at once
/// again and again must not be tried ever faster.
#[derive(Clone, Debug)]
pub struct Attempts {
    backoff: Backoff,
    stable_after: Duration,
    servers: u32,
    count: u32,
}

impl Attempts {
    /// No attempt has been made yet. A connection that held for `stable_after` was not part of the trouble.
    pub fn new(backoff: Backoff, stable_after: Duration) -> Self {
        Self { backoff, stable_after, servers: 1, count: 0 }
    }

    /// So many servers are tried in turn: the ceiling doubles when each of them was tried once.
    #[must_use]
    pub fn in_rounds_of(self, servers: usize) -> Self {
        Self { servers: u32::try_from(servers.max(1)).unwrap_or(u32::MAX), ..self }
    }

    /// Returns the wait before the next attempt, for a random number in `0.0..1.0`. `up_for` is how long the connection held
    /// that ended; `None` where it did not come about.
    pub fn next(&mut self, up_for: Option<Duration>, random: f64) -> Duration {
        if up_for.is_some_and(|up_for| up_for >= self.stable_after) {
            self.count = 0;
        }
        let wait = self.ceiling().mul_f64(random.clamp(0.0, 1.0));
        self.count = self.count.saturating_add(1);
        wait
    }

    /// Returns the longest wait before the next attempt, unless a stable connection comes before it.
    pub fn ceiling(&self) -> Duration {
        self.backoff.ceiling(self.count / self.servers)
    }
}
