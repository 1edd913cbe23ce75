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
        self.epoch_ns + self.origin.elapsed().as_nanos() as u64
    }
}
