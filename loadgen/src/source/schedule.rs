//! When each update is due: nanoseconds since the source began.

use std::time::Duration;

use crate::scenario::Shape;

/// Updates that are due closer together than this share a timer: one costs some microseconds of a core, more than all else
/// that a source does for an update.
const TOGETHER_NS: u64 = 50_000;

#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    shape: Shape,
    at: f64,
}

impl Schedule {
    pub(crate) fn new(shape: Shape) -> Self {
        let mut schedule = Self { shape, at: 0.0 };
        schedule.skip_silence();
        schedule
    }

    /// When the next update is due; None: never.
    pub(crate) fn due(&self) -> Option<u64> {
        self.at.is_finite().then_some(self.at as u64)
    }

    /// How long to sleep before the next update; 0: it is due. None: there is none. By up to 50 µs longer where the rate is
    /// beyond 20,000 a second.
    pub(crate) fn pause(&self, now: u64) -> Option<u64> {
        let wait = self.due()?.saturating_sub(now);
        let is_dense = self.stretch().0 * TOGETHER_NS as f64 > 1e9;
        Some(if wait > 0 && is_dense { wait.max(TOGETHER_NS) } else { wait })
    }

    /// The next update is done.
    pub(crate) fn advance(&mut self) {
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
    pub(crate) fn set_rate(&mut self, rate: f64, from: u64) {
        self.shape = Shape::Fixed(rate);
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

    /// Updates per second now, and until when; there is always an end that is later than now.
    fn stretch(&self) -> (f64, f64) {
        let ns = |time: Duration| time.as_nanos() as f64;
        match &self.shape {
            Shape::Fixed(rate) => (*rate, f64::INFINITY),
            Shape::Bursty { rate, burst, every, lasting } => {
                let (every, lasting) = (ns(*every), ns(*lasting).min(ns(*every)));
                let (round, within) = place(self.at, every);
                // The burst ends each round, so that a run begins quietly.
                let quiet = every - lasting;
                if within < quiet { (*rate, round + quiet) } else { (*burst, round + every) }
            }
            Shape::Stepped(steps) => {
                let total: f64 = steps.iter().map(|(lasting, _)| ns(*lasting)).sum();
                if steps.iter().all(|(_, rate)| *rate <= 0.0) {
                    return (0.0, f64::INFINITY);
                }
                let (round, within) = place(self.at, total);
                let mut end = 0.0;
                for (lasting, rate) in steps {
                    end += ns(*lasting);
                    if within < end {
                        return (*rate, round + end);
                    }
                }
                (0.0, round + total)
            }
        }
    }
}

/// Begin of the round that `at` is in, and how far into it. What is less than half a nanosecond before a round's end
/// counts to the next one, so that rounding never stands still.
fn place(at: f64, length: f64) -> (f64, f64) {
    let rounds = ((at + 0.5) / length).floor();
    (rounds * length, (at - rounds * length).max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn updates_close_together_share_a_timer() {
        let pause = |rate, now| {
            let mut schedule = Schedule::new(Shape::Fixed(rate));
            schedule.advance();
            schedule.pause(now)
        };
        assert_eq!((pause(1_000.0, 0), pause(1_000.0, 990_000)), (Some(MS), Some(10_000)));
        assert_eq!((pause(100_000.0, 0), pause(100_000.0, 10_000)), (Some(50_000), Some(0)));
        assert_eq!(pause(0.0, 0), None);
    }

    fn dues(shape: Shape, count: usize) -> Vec<u64> {
        let mut schedule = Schedule::new(shape);
        let mut next = || {
            let due = schedule.due();
            schedule.advance();
            due
        };
        (0..count).map_while(|_| next()).collect()
    }

    #[test]
    fn an_even_rate_is_even() {
        assert_eq!(dues(Shape::Fixed(1000.0), 4), [0, MS, 2 * MS, 3 * MS]);
        assert_eq!(dues(Shape::Fixed(0.0), 4), [0; 0]);
        let many = dues(Shape::Fixed(3000.0), 30_001);
        assert!(many[30_000].abs_diff(10_000 * MS) < 1000, "{}", many[30_000]);
    }

    #[test]
    fn steps_and_bursts_have_as_many_as_their_rates_say() {
        let second = Duration::from_secs(1);
        let stepped = Shape::Stepped(vec![(second, 10.0), (second, 0.0), (second, 100.0)]);
        let within = |from: u64, to: u64, dues: &[u64]| {
            dues.iter().filter(|due| (from * 1000 * MS..to * 1000 * MS).contains(due)).count()
        };
        let all = dues(stepped, 300);
        assert_eq!((within(0, 1, &all), within(1, 2, &all)), (10, 0));
        assert!(within(2, 3, &all).abs_diff(100) <= 1 && within(3, 4, &all).abs_diff(10) <= 1, "{all:?}");
        let bursty =
            Shape::Bursty { rate: 100.0, burst: 1000.0, every: second, lasting: Duration::from_millis(100) };
        let all = dues(bursty, 2000);
        let quiet = all.iter().filter(|due| **due < 900 * MS).count();
        let burst = all.iter().filter(|due| (900 * MS..1000 * MS).contains(due)).count();
        assert!(quiet.abs_diff(90) <= 1 && burst.abs_diff(100) <= 1, "{quiet} {burst}");
        assert!(all.windows(2).all(|two| two[0] <= two[1]));
    }

    #[test]
    fn a_new_rate_holds_from_then_on() {
        let mut schedule = Schedule::new(Shape::Fixed(1.0));
        schedule.set_rate(1000.0, 500 * MS);
        assert_eq!(schedule.due(), Some(500 * MS));
        schedule.advance();
        assert_eq!(schedule.due(), Some(501 * MS));
    }
}
