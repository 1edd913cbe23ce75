//! The clock of a gateway, read by its loops only.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since the Unix epoch that never go back: the wall clock at start, continued by the monotonic one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    epoch_ns: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { origin: Instant::now(), epoch_ns: epoch.as_nanos() as u64 }
    }

    pub(crate) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// A time that was read elsewhere; the clock's start where it was before.
    pub(crate) fn at(&self, instant: Instant) -> u64 {
        self.epoch_ns + instant.saturating_duration_since(self.origin).as_nanos() as u64
    }
}
