//! The rate that one subscription was granted, and until when it is throttled by it.

use super::entry::Stamp;
use crate::engine::policy::rate::interval_ns;

/// The rate of one subscription.
#[derive(Debug)]
pub(crate) struct Rate {
    /// The time from one record to the next, in nanoseconds; 0 where the subscription had a rate before.
    pub(crate) interval_ns: u64,
    /// When the subscription may be sent something again; 0 while it is not throttled.
    pub(crate) due: u64,
    /// The last arrival that belongs to the turn after which the subscription was throttled: a turn of several keys
    /// may take several writes.
    pub(crate) horizon: Stamp,
    pub(crate) throttled_to: u64,
}

impl Rate {
    /// Returns the updates a second; 0 for every one.
    pub(crate) fn per_second(&self) -> f64 {
        if self.interval_ns == 0 { 0.0 } else { 1e9 / self.interval_ns as f64 }
    }

    /// Makes a rate by which the subscription is not throttled yet; `None` where every update is wanted.
    pub(crate) fn new(per_second: f64) -> Option<Box<Self>> {
        let interval_ns = interval_ns(per_second);
        (interval_ns > 0)
            .then(|| Box::new(Self { interval_ns, due: 0, horizon: Stamp::MAX, throttled_to: 0 }))
    }

    /// Returns whether nothing new may be sent now.
    pub(crate) fn is_throttled(&self) -> bool {
        self.due > 0
    }

    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Returns up to which sequence number records passed while the subscription was throttled.
    pub(crate) fn throttled_to(&self) -> u64 {
        self.throttled_to
    }

    /// Forgets what passed: the sequence starts again.
    pub(crate) fn forget_throttled(&mut self) {
        self.throttled_to = 0;
    }

    /// The subscription is not throttled any more; while it was, the sequence numbers up to `throttled_to` passed.
    pub(crate) fn release(&mut self, throttled_to: u64) {
        self.due = 0;
        self.horizon = Stamp::MAX;
        self.throttled_to = throttled_to;
    }
}
