//! Times of the venue as they stand in messages.

use serde_json::value::RawValue;

use crate::number::Number;

/// A time of the venue, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stamp {
    At(u64),
    /// The message has none.
    None,
    /// The text that stands there is no time of these decades.
    Odd,
}

impl Stamp {
    /// Reads the first that is a time.
    pub(crate) fn read(places: [Option<&RawValue>; 2]) -> Self {
        let stamp = |raw: &RawValue| {
            let time = Number::read("time", raw).ok().and_then(|number| number.exact.nanoseconds());
            time.map_or(Self::Odd, Self::At)
        };
        let mut best = Self::None;
        for place in places.into_iter().flatten() {
            best = stamp(place);
            if best != Self::Odd {
                break;
            }
        }
        best
    }

    pub(crate) fn or(self, receive_time: u64) -> u64 {
        if let Self::At(time) = self { time } else { receive_time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_where_they_are_ones() {
        #[track_caller]
        fn check(time: &str, event: &str, expected: Stamp) {
            let [time, event] = [time, event].map(|text| serde_json::from_str::<&RawValue>(text).unwrap());
            assert_eq!(Stamp::read([Some(time), Some(event)]), expected);
        }
        let at = Stamp::At(1_700_000_000_001_000_000);
        check("1700000000001", "1600000000000", at);
        check("1700000000001000000", "0", at);
        check("\"x\"", "1700000000001.0", at);
        check("0", "\"x\"", Stamp::Odd);
        assert_eq!(Stamp::read([None, None]), Stamp::None);
    }
}
