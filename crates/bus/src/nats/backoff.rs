//! The wait before the next attempt to connect: exponential, with full jitter, reset only by a stable connection.

use std::time::{Duration, Instant};

/// The age from which on a lost connection was not part of the trouble.
pub(super) const STABLE_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    /// The number of attempts that make one round: a round tries each server once.
    servers: u32,
    attempts: u32,
    connected_at: Option<Instant>,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration, servers: usize) -> Self {
        let servers = u32::try_from(servers.max(1)).unwrap_or(u32::MAX);
        Self { min, max, servers, attempts: 0, connected_at: None }
    }

    pub(super) fn connected(&mut self, now: Instant) {
        self.connected_at = Some(now);
    }

    /// Returns the wait before the next attempt; `share` in 0..1 is the jitter. The very first attempt does not wait.
    pub(super) fn next(&mut self, now: Instant, share: f64) -> Duration {
        if let Some(connected_at) = self.connected_at.take()
            && now.saturating_duration_since(connected_at) >= STABLE_AFTER
        {
            self.attempts = 1;
        }
        let ceiling = self.ceiling();
        self.attempts = self.attempts.saturating_add(1);
        ceiling.mul_f64(share.clamp(0.0, 1.0))
    }

    fn ceiling(&self) -> Duration {
        let Some(waited) = self.attempts.checked_sub(1) else { return Duration::ZERO };
        let round = (waited / self.servers).min(30);
        self.min.saturating_mul(1 << round).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn doubles_to_the_maximum_once_per_round_of_servers() {
        let mut backoff = Backoff::new(ms(50), ms(300), 2);
        let now = Instant::now();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(now, 1.0)).collect();
        assert_eq!(waits, [0, 50, 50, 100, 100, 200, 200, 300, 300].map(ms));
        assert_eq!(backoff.next(now, 0.5), ms(150), "full jitter");
    }

    #[test]
    fn only_a_stable_connection_resets_it() {
        let mut backoff = Backoff::new(ms(50), ms(300), 1);
        let now = Instant::now();
        for _ in 0..4 {
            backoff.next(now, 1.0);
        }
        backoff.connected(now);
        assert_eq!(backoff.next(now + ms(10), 1.0), ms(300), "flapping");
        backoff.connected(now);
        assert_eq!(backoff.next(now + STABLE_AFTER, 1.0), ms(50));
    }

    #[test]
    fn very_many_attempts_do_not_overflow() {
        let mut backoff = Backoff::new(ms(50), ms(300), 1);
        backoff.attempts = u32::MAX;
        assert_eq!(backoff.next(Instant::now(), 1.0), ms(300));
    }
}
