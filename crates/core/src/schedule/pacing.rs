//! The pacing of a shard: how long what is ready waits, so that one write carries more of it.
//!
//! A write costs the kernel 4 to 7 µs however little it carries, and a record in it 0.03 µs: so the number of writes
//! decides what a shard costs. A session is written to a *delay* after it became ready, the same delay for all: what comes
//! meanwhile leaves with the same write. No record waits longer, and the next delay of a session begins only with its next
//! record, so this takes fewer writes than rounds as long as the delay.
//!
//! The delay ends where more of it would save less of the core than it is worth. A session that is written to each `c` costs
//! `w / c`, where `w` is a write. A delay longer by `x` makes that `w / (c + x)`: it saves `w / c²` for each unit of delay. All
//! sessions together save the share of the core that writes take, times the mean of `1 / c` over all writes. Both are measured. That
//! holds where records come at random. Where they come in ticks that are farther apart than the delay, to wait saves nothing: so it is
//! measured, too, how many records came while others waited, and compared with how many would have come at random.
//!
//! What a millisecond is worth is a setting, times the square of the share of the core that is idle. The fuller the core
//! is, the longer everybody waits for it (waiting times grow with `1 / (1 - load)`), so the more a saving is worth beside delay.

use std::time::Duration;

/// The weight of what was just measured against what was before.
const NEW_WEIGHT: f64 = 0.5;
/// The weight of the delay that was just found against the one before it, where they are near to each other. What is measured
/// in 50 ms differs by a third from one time to the next, and each longer delay is in the highest percentiles of latency.
const NEAR_WEIGHT: f64 = 0.1;
/// Delays are near to each other whose ratio is below this.
const NEAR: f64 = 1.5;
/// The longest delay that is tried first where none was before. It at most doubles from one time to the next, so that it is known whether
/// waiting helps before the wait is long.
const FIRST_NS: f64 = 50_000.0;
/// Shorter delays are none: they would cost a timer and save next to nothing.
const DELAY_MIN_NS: f64 = 20_000.0;
/// The least share of the core that counts as idle. With none at all, no delay would be long enough.
const IDLE_MIN: f64 = 0.02;
/// The shortest time over which anything is measured.
const MEASURED_MIN_NS: u64 = 10_000_000;
/// A write that took this many times as long as writes usually do was interrupted, and counts as so many.
const INTERRUPTED: f64 = 3.0;
/// A record whose age at its write is below this part of the delay came while the session waited already.
const MEANWHILE: f64 = 0.75;
/// Fewer records say nothing about how they come.
const AGES_MIN: u64 = 16;
/// The load from which on a core begins to count as full.
const FULL_FROM: f64 = 0.7;
/// The part by which it is forgotten, each time, that waiting did not help, while nothing waits.
const FORGOTTEN: f64 = 0.02;

/// The settings of the pacing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pacing {
    /// The share of a core that it is worth to deliver everything a millisecond sooner, while the core is idle.
    pub worth: f64,
    /// The longest delay: how long an update may wait for others to share its write. 0 writes everything at once.
    pub wait_max: Duration,
    /// The count of shards that share one core, at least 1. What the others do is taken to be what this one does.
    pub shards_per_core: f64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { worth: 0.25, wait_max: Duration::from_millis(8), shards_per_core: 1.0 }
    }
}

/// The state of the pacing; see the module. Times are nanoseconds of one steady clock.
#[derive(Debug)]
pub(crate) struct Pacer {
    pacing: Pacing,
    delay_ns: f64,
    /// The usual time of a write; 0 before that is known.
    usual_ns: f64,
    /// The mean of `1 / c` over all writes.
    rate: f64,
    /// The writes that waiting saves, as a part of what it would save if records came at random.
    helps: f64,
    /// The time from which on `measured` was measured.
    since: u64,
    measured: Measured,
}

/// The sums that one delay is found from.
#[derive(Debug, Default)]
struct Measured {
    writes: u64,
    /// The time that the writes took.
    writing_ns: f64,
    /// The sum of `1 / c` over the writes.
    rates: f64,
    /// The records whose age was looked at.
    ages: u64,
    /// Those of them that came while their session waited.
    meanwhile: u64,
}

impl Pacer {
    pub(crate) fn new(pacing: Pacing, now: u64) -> Self {
        Self {
            pacing,
            delay_ns: 0.0,
            usual_ns: 0.0,
            rate: 0.0,
            helps: 1.0,
            since: now,
            measured: Measured::default(),
        }
    }

    /// Returns how long what is ready waits, in nanoseconds.
    pub(crate) fn delay_ns(&self) -> u64 {
        if self.delay_ns < DELAY_MIN_NS { 0 } else { self.delay_ns as u64 }
    }

    /// Notes a write that took the kernel `took_ns`, to a session that is usually written to each `cycle_ns`.
    pub(crate) fn on_write(&mut self, cycle_ns: u64, took_ns: u64) {
        let most = if self.usual_ns > 0.0 { self.usual_ns * INTERRUPTED } else { f64::INFINITY };
        self.measured.writes += 1;
        self.measured.writing_ns += (took_ns as f64).min(most);
        self.measured.rates += 1.0 / cycle_ns.max(1_000) as f64;
    }

    /// Notes that a record was written so long after it came to this gateway.
    pub(crate) fn on_age(&mut self, age_ns: u64) {
        self.measured.ages += 1;
        self.measured.meanwhile += u64::from((age_ns as f64) < MEANWHILE * self.delay_ns);
    }

    /// Finds the delay anew. `busy` is the share of a core that the shard took since it was last asked to, from 0 to 1.
    pub(crate) fn adjust(&mut self, busy: f64, now: u64) {
        let passed = now.saturating_sub(self.since) as f64;
        if passed < MEASURED_MIN_NS as f64 {
            return;
        }
        self.since = now;
        let measured = std::mem::take(&mut self.measured);
        self.learn_help(&measured);
        let wanted = if measured.writes == 0 { 0.0 } else { self.wanted_ns(&measured, busy, passed) };
        self.approach(wanted);
        if measured.writes > 0 {
            self.usual_ns = measured.writing_ns / measured.writes as f64;
            self.rate = measured.rates / measured.writes as f64;
        }
    }

    /// Returns whether sessions usually have something new within a quarter of the delay after each write.
    pub(crate) fn is_dense(&self) -> bool {
        self.delay_ns > DELAY_MIN_NS && self.rate * self.delay_ns > 0.8
    }

    fn approach(&mut self, wanted: f64) {
        let ratio = wanted.max(1.0) / self.delay_ns.max(1.0);
        let weight = if (1.0 / NEAR..NEAR).contains(&ratio) { NEAR_WEIGHT } else { NEW_WEIGHT };
        let next = self.delay_ns + weight * (wanted - self.delay_ns);
        self.delay_ns = next.min((2.0 * self.delay_ns).max(FIRST_NS));
    }

    /// Learns from the ages of records whether others come while some wait.
    fn learn_help(&mut self, measured: &Measured) {
        if self.delay_ns() == 0 {
            self.helps += FORGOTTEN * (1.0 - self.helps);
        } else if measured.ages >= AGES_MIN && measured.writes > 0 {
            let expected = MEANWHILE * (self.delay_ns * measured.rates / measured.writes as f64).min(1.0);
            let seen = measured.meanwhile as f64 / measured.ages as f64;
            self.helps += NEW_WEIGHT * ((seen / expected).min(1.0) - self.helps);
        }
    }

    /// Returns the delay at which more of it would save just what it is worth, as far as what was measured tells.
    fn wanted_ns(&self, measured: &Measured, busy: f64, passed: f64) -> f64 {
        let Pacing { worth, wait_max, shards_per_core } = self.pacing;
        let busy = (busy * shards_per_core).clamp(0.0, 1.0);
        let writing = (measured.writing_ns / passed * shards_per_core).min(busy);
        let rate = measured.rates / measured.writes as f64;
        let idle = (1.0 - busy).max(IDLE_MIN);
        // Where the core is nearly full, records are old because they waited for it, so their ages say nothing.
        let full = ((busy - FULL_FROM) / (1.0 - FULL_FROM)).max(0.0);
        let saved = writing * rate * self.helps.max(full);
        let worth = worth / 1e6 * idle * idle;
        // What is saved falls with the square of the time from one write to the next.
        let wanted = self.delay_ns + ((saved / worth).sqrt() - 1.0) / rate;
        if wanted.is_nan() { 0.0 } else { wanted.clamp(0.0, wait_max.as_nanos() as f64) }
    }
}

#[cfg(test)]
#[path = "pacing_tests.rs"]
mod tests;
