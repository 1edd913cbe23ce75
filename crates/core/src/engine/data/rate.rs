//! The rate that one subscription was granted, and the time until which this rate throttles it.

use super::entry::Stamp;
use crate::engine::policy::rate::interval_ns;

/// The rate of one subscription.
#[derive(Debug)]
pub(crate) struct Rate {
    /// The time from one record to the next, in nanoseconds; 0 where the subscription had a rate before.
    pub(crate) interval_ns: u64,
    /// When the subscription may be sent something again; 0 while it is not throttled.
    pub(crate) due: u64,
    /// While the subscription is throttled, only records that arrived up to this stamp may be sent. They belong to the turn that
    /// the throttling followed: a topic with several conflation keys may need several writes for one turn.
    pub(crate) horizon: Stamp,
    /// The last sequence number that passed while the subscription was throttled.
    pub(crate) throttled_to: u64,
}

impl Rate {
    /// Returns the rate in updates per second; 0 where every update is wanted.
    pub(crate) fn per_second(&self) -> f64 {
        if self.interval_ns == 0 { 0.0 } else { 1e9 / self.interval_ns as f64 }
    }

    /// Makes a rate that does not throttle the subscription yet; `None` where every update is wanted.
    pub(crate) fn new(per_second: f64) -> Option<Self> {
        let interval_ns = interval_ns(per_second);
        (interval_ns > 0).then_some(Self { interval_ns, due: 0, horizon: Stamp::MAX, throttled_to: 0 })
    }

    /// Returns whether the rate holds new records back now.
    pub(crate) fn is_throttled(&self) -> bool {
        self.due > 0
    }

    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Returns the last sequence number that passed while the subscription was throttled.
    pub(crate) fn throttled_to(&self) -> u64 {
        self.throttled_to
    }

    /// Forgets which sequence numbers passed, because the sequence starts again.
    pub(crate) fn forget_throttled(&mut self) {
        self.throttled_to = 0;
    }

    /// Ends the throttling. While it lasted, the sequence numbers up to `throttled_to` passed.
    pub(crate) fn release(&mut self, throttled_to: u64) {
        self.due = 0;
        self.horizon = Stamp::MAX;
        self.throttled_to = throttled_to;
    }
}
