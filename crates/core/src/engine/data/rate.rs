//! The rate that one subscription was granted, and where it stands with it.

use super::entry::Stamp;
use crate::engine::policy::rate::interval_ns;

/// The rate of one subscription.
#[derive(Debug)]
pub(crate) struct Rate {
    /// 0: it had one before.
    pub(crate) interval_ns: u64,
    /// When it may be sent something again; 0 while it does not rest.
    pub(crate) due: u64,
    /// What arrived up to here belongs to the turn that began the rest: a turn of several keys may take several writes.
    pub(crate) horizon: Stamp,
    pub(crate) held_to: u64,
}

impl Rate {
    /// Updates a second; 0 for every one.
    pub(crate) fn per_second(&self) -> f64 {
        if self.interval_ns == 0 { 0.0 } else { 1e9 / self.interval_ns as f64 }
    }

    /// Not resting. `None` for every update.
    pub(crate) fn new(per_second: f64) -> Option<Box<Self>> {
        let interval_ns = interval_ns(per_second);
        (interval_ns > 0).then(|| Box::new(Self { interval_ns, due: 0, horizon: Stamp::MAX, held_to: 0 }))
    }

    /// Whether nothing new may be sent now.
    pub(crate) fn rests(&self) -> bool {
        self.due > 0
    }

    pub(crate) fn due(&self) -> u64 {
        self.due
    }

    /// Numbers up to here passed while it rested.
    pub(crate) fn held_to(&self) -> u64 {
        self.held_to
    }

    /// The sequence starts again.
    pub(crate) fn forget_held(&mut self) {
        self.held_to = 0;
    }

    /// Ends the rest, during which the numbers up to `held_to` passed.
    pub(crate) fn wake(&mut self, held_to: u64) {
        self.due = 0;
        self.horizon = Stamp::MAX;
        self.held_to = held_to;
    }
}
