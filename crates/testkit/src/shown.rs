//! The values that a client has on its screen at each moment, and how old they are.

use std::collections::HashMap;

use hdrhistogram::Histogram;

/// The time between two looks, in nanoseconds.
const LOOK_NS: u64 = 50_000_000;

/// The newest value of each instrument, looked at at fixed times. A value that comes late or not at all is seen as age.
#[derive(Debug)]
pub struct Shown {
    /// The event time of the newest, and up to when it was looked at.
    newest: HashMap<u32, (u64, u64)>,
    ages: Histogram<u64>,
    from: u64,
    /// The number of values that were shown since then.
    pub values: u64,
}

impl Shown {
    /// Makes the screen of a client; ages count from a time on, in nanoseconds since the Unix epoch.
    ///
    /// # Panics
    /// It never panics, because the bounds of its histogram are good.
    pub fn new(from: u64) -> Self {
        let ages = Histogram::new_with_bounds(1_000, 1_000_000_000_000, 2).expect("good bounds");
        Self { newest: HashMap::new(), ages, from, values: 0 }
    }

    /// Takes a value that came.
    pub fn note(&mut self, instrument: u32, event_time: u64, now: u64) {
        let from = self.from;
        let (newest, looked) = self.newest.entry(instrument).or_insert((event_time, from));
        look(&mut self.ages, *newest, looked, now);
        *newest = event_time.max(*newest);
        self.values += u64::from(now >= from);
    }

    /// Returns the ages up to a time, in nanoseconds, and how many instruments were ever shown.
    #[must_use]
    pub fn ages(mut self, now: u64) -> (Histogram<u64>, usize) {
        for (newest, looked) in self.newest.values_mut() {
            look(&mut self.ages, *newest, looked, now);
        }
        (self.ages, self.newest.len())
    }
}

/// Counts the age of the newest at each fixed time from `looked` to `now`.
fn look(ages: &mut Histogram<u64>, newest: u64, looked: &mut u64, now: u64) {
    while *looked <= now {
        ages.saturating_record(looked.saturating_sub(newest).max(1_000));
        *looked += LOOK_NS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn what_does_not_come_grows_old() {
        let mut shown = Shown::new(1_000 * MS);
        shown.note(1, 900 * MS, 950 * MS);
        shown.note(1, 1_900 * MS, 2_000 * MS - 1);
        let (ages, instruments) = shown.ages(2_000 * MS);
        // From 1.00 s to 1.95 s the value of 0.90 s is seen, then there is one look at the value of 1.90 s.
        assert_eq!((instruments, ages.len()), (1, 21));
        assert!(ages.max().abs_diff(1_050 * MS) < 20 * MS, "{}", ages.max());
        assert!(ages.min().abs_diff(100 * MS) < 2 * MS, "{}", ages.min());
    }
}
