//! The intervals of bars: which may be asked for, and where they begin.

use std::str::FromStr;

/// A second, in nanoseconds.
pub(crate) const SECOND: u64 = 1_000_000_000;
/// A day, in nanoseconds.
pub(crate) const DAY: u64 = 86_400 * SECOND;

/// The most intervals of bars: a topic of a gateway has room for twice as many newest bars, which are a running one and a correction of each.
pub const BAR_INTERVALS_MAX: usize = 16;

/// The length of bars: whole seconds, up to a day.
///
/// Intervals are counted from midnight UTC. Where a day is not a multiple of one, the last interval of each day is shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BarInterval(u64);

/// The fault of an interval of bars, or of several together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarIntervalError {
    /// It is not a number with a unit.
    #[error("`{0}` is no interval: write a whole number and `s`, `m`, `h` or `d`, as 1s, 5m, 1h, 1d")]
    Form(String),
    /// It is too short or too long.
    #[error("`{0}` is too short or too long: bars have 1s to 1d")]
    Range(String),
    /// Two texts name the same interval.
    #[error("`{0}` and `{1}` are the same interval: leave one of them out")]
    Twice(String, String),
    /// There are too many.
    #[error("{0} intervals are too many: leave {BAR_INTERVALS_MAX} of them")]
    Count(usize),
}

impl FromStr for BarInterval {
    type Err = BarIntervalError;

    fn from_str(text: &str) -> Result<Self, BarIntervalError> {
        let form = || BarIntervalError::Form(text.to_owned());
        let unit = text.chars().next_back().ok_or_else(form)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(form()),
        };
        let digits = &text[..text.len() - 1];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let range = || BarIntervalError::Range(text.to_owned());
        let count: u64 = digits.parse().map_err(|_| range())?;
        let seconds = count.checked_mul(seconds).filter(|seconds| (1..=86_400).contains(seconds));
        seconds.map(|seconds| Self(seconds * SECOND)).ok_or_else(range)
    }
}

impl BarInterval {
    /// Returns its length in nanoseconds.
    pub(crate) const fn nanoseconds(self) -> u64 {
        self.0
    }

    /// Returns when the interval began that a time is in.
    pub(crate) const fn begin(self, time: u64) -> u64 {
        let of_day = time % DAY;
        time - of_day % self.0
    }

    /// Returns when the interval ends that begins at this time.
    pub(crate) const fn end(self, begin: u64) -> u64 {
        let midnight = (begin - begin % DAY).saturating_add(DAY);
        let end = begin.saturating_add(self.0);
        if end < midnight { end } else { midnight }
    }
}

/// The intervals of which an ingester makes bars, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarIntervals(Vec<BarInterval>);

impl Default for BarIntervals {
    fn default() -> Self {
        Self(vec![BarInterval(SECOND), BarInterval(60 * SECOND)])
    }
}

impl BarIntervals {
    /// Reads intervals, as `1s`, `5m`, `1h`, `1d`. None at all are fine: there are no bars then.
    ///
    /// # Errors
    /// Returns every fault, in the order of the texts.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, Vec<BarIntervalError>> {
        let (mut intervals, mut errors) = (Vec::<(BarInterval, &str)>::new(), Vec::new());
        for text in texts.iter().map(AsRef::as_ref) {
            match text.parse::<BarInterval>() {
                Ok(interval) => match intervals.iter().find(|(known, _)| *known == interval) {
                    Some((_, before)) => {
                        errors.push(BarIntervalError::Twice((*before).to_owned(), text.to_owned()));
                    }
                    None => intervals.push((interval, text)),
                },
                Err(error) => errors.push(error),
            }
        }
        if texts.len() > BAR_INTERVALS_MAX {
            errors.push(BarIntervalError::Count(texts.len()));
        }
        if errors.is_empty() {
            Ok(Self(intervals.into_iter().map(|(interval, _)| interval).collect()))
        } else {
            Err(errors)
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = BarInterval> {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_whole_seconds_up_to_a_day() {
        let seconds =
            |text: &str| text.parse::<BarInterval>().map(|interval| interval.nanoseconds() / SECOND);
        for (text, expected) in
            [("1s", 1), ("7s", 7), ("90s", 90), ("5m", 300), ("4h", 14_400), ("1d", 86_400)]
        {
            assert_eq!(seconds(text), Ok(expected));
        }
        for text in ["", "s", "1", "1ms", "+1s", "1.5m", "1 m", "1w", "5é", "１s"] {
            assert_eq!(seconds(text), Err(BarIntervalError::Form(text.to_owned())));
        }
        for text in ["0s", "86401s", "25h", "2d", "99999999999999999999d", "18446744073709551615d"] {
            assert_eq!(seconds(text), Err(BarIntervalError::Range(text.to_owned())));
        }
    }

    #[test]
    fn all_faults_of_a_list_are_told() {
        assert_eq!(BarIntervals::parse(&["1s", "1m"]), Ok(BarIntervals::default()));
        assert_eq!(BarIntervals::parse::<&str>(&[]).unwrap().iter().count(), 0);
        let errors = BarIntervals::parse(&["1m", "2d", "60s", "x"]).unwrap_err();
        let twice = BarIntervalError::Twice("1m".to_owned(), "60s".to_owned());
        let (range, form) =
            (BarIntervalError::Range("2d".to_owned()), BarIntervalError::Form("x".to_owned()));
        assert_eq!(errors, [range, twice, form]);
        let many = |count: usize| (1..=count).map(|n| format!("{n}s")).collect::<Vec<_>>();
        assert_eq!(BarIntervals::parse(&many(BAR_INTERVALS_MAX)).unwrap().iter().count(), BAR_INTERVALS_MAX);
        assert_eq!(BarIntervals::parse(&many(17)), Err(vec![BarIntervalError::Count(17)]));
    }

    #[test]
    fn every_interval_begins_anew_at_midnight() {
        let seven: BarInterval = "7s".parse().unwrap();
        let midnight = 20_000 * DAY;
        assert_eq!(seven.begin(midnight), midnight);
        assert_eq!(seven.begin(midnight + 13 * SECOND), midnight + 7 * SECOND);
        // 86,400 is 12,342 times 7 and 6 more.
        assert_eq!(seven.begin(midnight - 1), midnight - 6 * SECOND);
        assert_eq!(seven.end(midnight - 6 * SECOND), midnight);
        assert_eq!(seven.end(midnight), midnight + 7 * SECOND);
        let day: BarInterval = "1d".parse().unwrap();
        assert_eq!((day.begin(midnight + DAY - 1), day.end(midnight)), (midnight, midnight + DAY));
    }
}
