//! Latencies: a histogram with fixed bounds, and what is read off it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

use crate::report::model::{Latency, Point};

/// Finer than a microsecond is noise of the clock.
const LOWEST_NS: u64 = 1_000;
/// What took longer counts as this long.
const HIGHEST_NS: u64 = 120_000_000_000;
const DIGITS: u8 = 3;
/// Points of a curve for each halving of the distance to 1.
const CURVE_STEPS: u32 = 5;

/// How long things took, in nanoseconds: to within 0.1 %, and half a microsecond.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    /// Ended before they began: the two clocks differ. Not in the histogram.
    backwards: u64,
}

/// Nanoseconds; all 0 where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Summary {
    pub(crate) count: u64,
    pub(crate) backwards: u64,
    pub(crate) min_ns: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) p9999_ns: u64,
    pub(crate) max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// As it travels between processes.
#[derive(Serialize, Deserialize)]
struct Sent {
    hdr: String,
    backwards: u64,
}

impl Serialize for Latencies {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Sent { hdr: self.to_base64(), backwards: self.backwards }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = Sent::deserialize(deserializer)?;
        Self::from_base64(&sent.hdr, sent.backwards)
            .ok_or_else(|| serde::de::Error::custom("not a histogram with the bounds of this program"))
    }
}

impl Latencies {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS);
        Self { histogram: histogram.expect("the bounds are right"), backwards: 0 }
    }

    /// From one time to another, both in nanoseconds since the Unix epoch.
    pub(crate) fn record(&mut self, from: u64, to: u64) {
        match to.checked_sub(from) {
            Some(took) => self.histogram.saturating_record(took),
            None => self.backwards += 1,
        }
    }

    /// Something that took so many nanoseconds, so many times.
    pub(crate) fn record_many(&mut self, took: u64, count: u64) {
        // None at all would still count as the largest.
        if count > 0 {
            self.histogram.saturating_record_n(took, count);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Takes in what another thread measured.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
        self.backwards += other.backwards;
    }

    /// Summary, curve, and the histogram itself.
    pub(crate) fn read_off(&self) -> Latency {
        if self.histogram.is_empty() {
            return Latency { summary: self.summary(), ..Latency::default() };
        }
        let mut curve: Vec<Point> = Vec::new();
        for step in self.histogram.iter_quantiles(CURVE_STEPS) {
            let (ns, q) = (step.value_iterated_to(), step.quantile_iterated_to());
            let count = curve.last().map_or(0, |point| point.count) + step.count_since_last_iteration();
            curve.push(Point { q, ns, count });
        }
        Latency { summary: self.summary(), curve, hdr: self.to_base64() }
    }

    /// HdrHistogram V2, not compressed.
    pub(crate) fn to_base64(&self) -> String {
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&self.histogram, &mut bytes).expect("memory takes all bytes");
        STANDARD.encode(bytes)
    }

    /// Nothing where it is not a histogram with these bounds.
    pub(crate) fn from_base64(text: &str, backwards: u64) -> Option<Self> {
        let bytes = STANDARD.decode(text).ok()?;
        let read: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).ok()?;
        let mut latencies = Self::new();
        latencies.histogram.add(&read).ok()?;
        latencies.backwards = backwards;
        Some(latencies)
    }

    pub(crate) fn summary(&self) -> Summary {
        let h = &self.histogram;
        if h.is_empty() {
            return Summary { backwards: self.backwards, ..Summary::default() };
        }
        Summary {
            count: h.len(),
            backwards: self.backwards,
            min_ns: h.min(),
            mean_ns: h.mean() as u64,
            p50_ns: h.value_at_quantile(0.5),
            p90_ns: h.value_at_quantile(0.9),
            p99_ns: h.value_at_quantile(0.99),
            p999_ns: h.value_at_quantile(0.999),
            p9999_ns: h.value_at_quantile(0.9999),
            max_ns: h.max(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Within 0.1 % and a microsecond.
    #[track_caller]
    fn check(got: u64, expected: u64) {
        assert!(got.abs_diff(expected) <= expected / 1000 + 1000, "{got} is not {expected}");
    }

    fn of(range: std::ops::RangeInclusive<u64>) -> Latencies {
        let mut latencies = Latencies::new();
        for milliseconds in range {
            latencies.record(5, 5 + milliseconds * MS);
        }
        latencies
    }

    #[test]
    fn quantiles_of_a_thousand_known_values() {
        let summary = of(1..=1000).summary();
        assert_eq!((summary.count, summary.backwards), (1000, 0));
        check(summary.min_ns, MS);
        check(summary.mean_ns, 500_500_000);
        check(summary.p50_ns, 500 * MS);
        check(summary.p90_ns, 900 * MS);
        check(summary.p99_ns, 990 * MS);
        check(summary.p999_ns, 999 * MS);
        check(summary.max_ns, 1000 * MS);
    }

    #[test]
    fn merged_parts_are_the_whole() {
        let mut merged = of(1..=300);
        merged.merge(&of(301..=1000));
        assert_eq!(merged.summary(), of(1..=1000).summary());
    }

    #[test]
    fn a_histogram_travels_as_text() {
        let mut latencies = of(1..=1000);
        latencies.record(7, 6);
        let read = latencies.read_off();
        let back = Latencies::from_base64(&read.hdr, read.summary.backwards).unwrap();
        assert_eq!(back.summary(), latencies.summary());
        assert!(Latencies::from_base64("bm90aGluZw==", 0).is_none());
        assert!(read.curve.windows(2).all(|two| two[0].q <= two[1].q && two[0].count <= two[1].count));
        assert_eq!(read.curve.last().map(|point| (point.q, point.count)), Some((1.0, 1000)));
    }

    #[test]
    fn one_stall_is_seen_at_the_top_and_not_at_the_median() {
        let mut latencies = of(1..=1);
        for _ in 0..998 {
            latencies.record(0, MS);
        }
        latencies.record(0, 5_000 * MS);
        let summary = latencies.summary();
        check(summary.p50_ns, MS);
        check(summary.p99_ns, MS);
        check(summary.max_ns, 5_000 * MS);
    }

    #[test]
    fn times_that_run_backwards_are_counted_and_not_measured() {
        let mut latencies = Latencies::new();
        latencies.record(7, 6);
        assert_eq!(latencies.summary(), Summary { backwards: 1, ..Summary::default() });
        latencies.merge(&latencies.clone());
        assert_eq!(latencies.summary().backwards, 2);
    }

    #[test]
    fn what_exceeds_the_range_counts_at_its_end() {
        let mut latencies = Latencies::new();
        latencies.record(0, u64::MAX);
        let summary = latencies.summary();
        assert_eq!(summary.count, 1);
        assert!(summary.max_ns >= HIGHEST_NS, "{summary:?}");
    }
}
