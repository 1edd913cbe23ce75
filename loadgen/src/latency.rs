//! Latencies: a histogram with fixed bounds, and what is read off it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

pub(crate) use crate::report::model::Summary;
use crate::report::model::{Latency, Point};

/// Finer than a microsecond is noise of the clock.
const LOWEST_NS: u64 = 1_000;
/// A longer time counts as this long.
const HIGHEST_NS: u64 = 120_000_000_000;
const DIGITS: u8 = 3;
/// Points of a curve for each halving of the distance to 1.
const CURVE_STEPS: u32 = 5;

/// This holds how long things took, in nanoseconds: to within 0.1 %, and half a microsecond.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "Latency", try_from = "Latency")]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    /// Ended before they began: the two clocks differ. Not in the histogram.
    backwards: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::with_digits(DIGITS)
    }
}

/// Reads it off: summary, curve, and the histogram itself, as HdrHistogram V2, not compressed.
impl From<Latencies> for Latency {
    fn from(from: Latencies) -> Self {
        let summary = from.summary();
        if from.is_empty() {
            return Self { summary, ..Self::default() };
        }
        let mut curve: Vec<Point> = Vec::new();
        for step in from.histogram.iter_quantiles(CURVE_STEPS) {
            let (ns, q) = (step.value_iterated_to(), step.quantile_iterated_to());
            let count = curve.last().map_or(0, |point| point.count) + step.count_since_last_iteration();
            curve.push(Point { q, ns, count });
        }
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&from.histogram, &mut bytes).expect("memory takes all bytes");
        Self { summary, curve, hdr: STANDARD.encode(bytes) }
    }
}

impl TryFrom<Latency> for Latencies {
    type Error = &'static str;

    fn try_from(from: Latency) -> Result<Self, Self::Error> {
        let backwards = from.summary.backwards;
        if from.hdr.is_empty() {
            return Ok(Self { backwards, ..Self::default() });
        }
        let bytes = STANDARD.decode(from.hdr).unwrap_or_default();
        let read = Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()).ok();
        let histogram = read.filter(|read| Self::default().histogram.add(read).is_ok());
        let histogram = histogram.ok_or("not a histogram with the bounds of this program")?;
        Ok(Self { histogram, backwards })
    }
}

impl Latencies {
    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, digits);
        Self { histogram: histogram.expect("the bounds are right"), backwards: 0 }
    }

    /// Returns one that is right to within 1 %, a tenth as large: there are many, for each second.
    pub(crate) fn coarse() -> Self {
        Self::with_digits(DIGITS - 1)
    }

    /// Takes in what began and ended at these nanoseconds of the Unix epoch.
    pub(crate) fn record(&mut self, from: u64, to: u64) {
        self.record_n(from, to, 1);
    }

    /// Takes in several that came together.
    pub(crate) fn record_n(&mut self, from: u64, to: u64, count: u64) {
        match to.checked_sub(from) {
            Some(took) => self.record_many(took, count),
            None => self.backwards += count,
        }
    }

    /// Takes in what took so many nanoseconds, so many times.
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

    pub(crate) fn summary(&self) -> Summary {
        let (h, backwards) = (&self.histogram, self.backwards);
        if h.is_empty() {
            return Summary { backwards, ..Summary::default() };
        }
        Summary {
            count: h.len(),
            backwards,
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
#[path = "../tests/units/latency.rs"]
mod tests;
