//! When the next attempt to connect may be made.

use std::time::{Duration, Instant};

use tickwire_net::{Attempts, Backoff};

/// A connection that held this long was not part of the trouble.
const STABLE_AFTER: Duration = Duration::from_secs(5);

/// Counts the attempts at all servers; the very first one does not wait.
#[derive(Debug)]
pub(super) struct Waits {
    attempts: Attempts,
    is_begun: bool,
    connected_at: Option<Instant>,
}

impl Waits {
    pub(super) fn new(backoff: Backoff, servers: usize) -> Self {
        let attempts = Attempts::new(backoff, STABLE_AFTER).in_rounds_of(servers);
        Self { attempts, is_begun: false, connected_at: None }
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// Returns the wait before the next attempt, for a random number in `0.0..1.0`.
    pub(super) fn next(&mut self, now: Instant, random: f64) -> Duration {
        if !std::mem::replace(&mut self.is_begun, true) {
            return Duration::ZERO;
        }
        let up_for = self.connected_at.take().map(|at| now.saturating_duration_since(at));
        self.attempts.next(up_for, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_first_attempt_is_free_and_only_a_stable_connection_starts_anew() {
        let mut waits = Waits::new(Backoff::new(ms(50), ms(300)), 2);
        let now = Instant::now();
        let first: Vec<_> = (0..9).map(|_| waits.next(now, 1.0)).collect();
        assert_eq!(first, [0, 50, 50, 100, 100, 200, 200, 300, 300].map(ms));
        waits.connected(now);
        assert_eq!(waits.next(now + ms(10), 1.0), ms(300), "flapping");
        waits.connected(now);
        assert_eq!(waits.next(now + STABLE_AFTER, 1.0), ms(50));
    }
}
