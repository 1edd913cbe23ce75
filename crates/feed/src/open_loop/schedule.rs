//! The schedule of a source: when each update is due, in nanoseconds since the source began.

use std::time::Duration;

use super::Step;

/// Updates that are due closer together than this share a timer: one costs some microseconds of a core, more than all else
/// that a source does for an update.
const TOGETHER_NS: u64 = 50_000;

#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// One rate after the other, and from the first again.
    rates: Vec<Step>,
    /// The length of a tick in nanoseconds: what is due within it comes at its end. 0 where each update comes by itself.
    tick_ns: f64,
    at: f64,
}

impl Schedule {
    pub(super) fn new(rates: Vec<Step>, tick: Duration) -> Self {
        let mut schedule = Self { rates, tick_ns: tick.as_nanos() as f64, at: 0.0 };
        schedule.skip_silence();
        schedule
    }

    /// Returns when the next update is due; None: never.
    pub(super) fn due(&self) -> Option<u64> {
        let at = if self.tick_ns > 0.0 { (self.at / self.tick_ns).ceil() * self.tick_ns } else { self.at };
        at.is_finite().then_some(at as u64)
    }

    /// Returns how long to sleep before the next update; 0: it is due. None: there is none. It is up to 50 µs longer where the rate
    /// is beyond 20,000 a second.
    pub(super) fn pause(&self, now: u64) -> Option<u64> {
        let wait = self.due()?.saturating_sub(now);
        let is_dense = self.stretch().0 * TOGETHER_NS as f64 > 1e9;
        Some(if wait > 0 && is_dense { wait.max(TOGETHER_NS) } else { wait })
    }

    /// The next update is done: what is behind it is next.
    pub(super) fn advance(&mut self) {
        // A part of an update may fall into each stretch of an even rate.
        let mut left = 1.0;
        while left > 0.0 && self.at.is_finite() {
            let (rate, end) = self.stretch();
            let done = (end - self.at) * rate / 1e9;
            if done >= left {
                self.at += left * 1e9 / rate;
                return self.skip_silence();
            }
            left -= done;
            self.at = end;
        }
    }

    /// Goes on at an even rate from a moment on.
    pub(super) fn set_rate(&mut self, rate: f64, from: u64) {
        self.rates = vec![Step { lasting: Duration::ZERO, rate }];
        self.at = from as f64;
        self.skip_silence();
    }

    fn skip_silence(&mut self) {
        while self.at.is_finite() {
            let (rate, end) = self.stretch();
            if rate > 0.0 {
                return;
            }
            self.at = end;
        }
    }

    /// Returns the updates per second now, and until when; there is always an end that is later than now.
    fn stretch(&self) -> (f64, f64) {
        if let [step] = &*self.rates {
            return (step.rate, f64::INFINITY);
        }
        if self.rates.iter().all(|step| step.rate <= 0.0 || step.lasting.is_zero()) {
            return (0.0, f64::INFINITY);
        }
        let ns = |step: &Step| step.lasting.as_nanos() as f64;
        let total: f64 = self.rates.iter().map(ns).sum();
        // What is less than half a nanosecond before a round's end counts to the next one, so that rounding never stands still.
        let round = ((self.at + 0.5) / total).floor() * total;
        let (within, mut end) = ((self.at - round).max(0.0), 0.0);
        for step in &self.rates {
            end += ns(step);
            if within < end {
                return (step.rate, round + end);
            }
        }
        (0.0, round + total)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
