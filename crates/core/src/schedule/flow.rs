//! The density of events: whether something comes within each delay.

/// The least count of events within a delay, at the mean, that makes a flow dense: one comes within nearly each delay then. What comes
/// behind a round is gathered for the next one from the beginning.
const DENSE: f64 = 6.0;
/// The shortest time over which events are counted.
const COUNTED_MIN_NS: u64 = 10_000_000;
/// The weight of what was counted against what was before.
const NEW_WEIGHT: f64 = 0.5;

/// The usual count of events in a time.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    since: u64,
    /// The events since then.
    events: u64,
    /// The usual count of events in a nanosecond.
    rate: f64,
}

impl Flow {
    /// Notes that so many events came.
    pub(crate) fn on_events(&mut self, events: usize) {
        self.events += events as u64;
    }

    /// Finds the usual count anew.
    pub(crate) fn adjust(&mut self, now: u64) {
        let passed = now.saturating_sub(self.since);
        if passed >= COUNTED_MIN_NS {
            let rate = std::mem::take(&mut self.events) as f64 / passed as f64;
            self.rate += NEW_WEIGHT * (rate - self.rate);
            self.since = now;
        }
    }

    /// Returns whether something comes within each such time, in nanoseconds.
    pub(crate) fn is_dense(&self, time: u64) -> bool {
        self.rate * time as f64 >= DENSE
    }
}
