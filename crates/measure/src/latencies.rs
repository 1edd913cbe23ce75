//! Latencies: a histogram with fixed bounds, and what is read off it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};
use serde::{Deserialize, Serialize};

/// Finer than a microsecond is noise of the clock.
const LOWEST_NS: u64 = 1_000;
/// A longer time counts as this long.
pub const HIGHEST: Duration = Duration::from_secs(120);
const DIGITS: u8 = 3;

/// This holds how long things took, in nanoseconds: to within 0.1 %, and half a microsecond.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub struct Latencies {
    histogram: Histogram<u64>,
    /// Ended before they began: the two clocks differ. Not in the histogram.
    backwards: u64,
}

/// A summary is read off a histogram; it is all 0 where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// The number of values.
    pub count: u64,
    /// Ended before they began: the two clocks differ. Not in the rest.
    pub backwards: u64,
    /// The shortest.
    pub min_ns: u64,
    /// The mean.
    pub mean_ns: u64,
    /// The median.
    pub p50_ns: u64,
    /// The 90th percentile.
    pub p90_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The 99.9th percentile.
    pub p999_ns: u64,
    /// The 99.99th percentile.
    pub p9999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

/// Latencies as they are sent.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Written {
    backwards: u64,
    hdr: String,
}

impl From<Latencies> for Written {
    fn from(from: Latencies) -> Self {
        Self { backwards: from.backwards, hdr: from.to_hdr() }
    }
}

impl TryFrom<Written> for Latencies {
    type Error = &'static str;

    fn try_from(from: Written) -> Result<Self, Self::Error> {
        if from.hdr.is_empty() {
            return Ok(Self { backwards: from.backwards, ..Self::default() });
        }
        let bytes = STANDARD.decode(from.hdr).unwrap_or_default();
        let read = Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()).ok();
        let histogram = read.filter(|read| Self::default().histogram.add(read).is_ok());
        let histogram = histogram.ok_or("not a histogram with the bounds of this program")?;
        Ok(Self { histogram, backwards: from.backwards })
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::with_digits(DIGITS)
    }
}

impl Latencies {
    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, HIGHEST.as_nanos() as u64, digits);
        Self { histogram: histogram.expect("the bounds are right"), backwards: 0 }
    }

    /// Returns one that is right to within 1 %, a tenth as large, where there are many.
    pub fn coarse() -> Self {
        Self::with_digits(DIGITS - 1)
    }

    /// Takes in what began and ended at these nanoseconds of the Unix epoch.
    #[inline]
    pub fn record(&mut self, from: u64, to: u64) {
        self.record_n(from, to, 1);
    }

    /// Takes in several that came together.
    #[inline]
    pub fn record_n(&mut self, from: u64, to: u64, count: u64) {
        match to.checked_sub(from) {
            Some(took) => self.record_many(took, count),
            None => self.backwards += count,
        }
    }

    /// Takes in what took so many nanoseconds, so many times.
    #[inline]
    pub fn record_many(&mut self, took: u64, count: u64) {
        // None at all would still count as the largest.
        if count > 0 {
            self.histogram.saturating_record_n(took, count);
        }
    }

    /// Returns whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// Takes in what another thread measured.
    ///
    /// # Panics
    /// Panics where the other one is finer.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
        self.backwards += other.backwards;
    }

    /// Reads it off.
    pub fn summary(&self) -> Summary {
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

    /// Returns the histogram, for curves and buckets.
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.histogram
    }

    /// Writes the histogram as HdrHistogram V2, not compressed, in Base64; empty where there is none.
    ///
    /// # Panics
    /// Never: memory takes all bytes.
    pub fn to_hdr(&self) -> String {
        let mut bytes = Vec::new();
        if !self.is_empty() {
            V2Serializer::new().serialize(&self.histogram, &mut bytes).expect("memory takes all bytes");
        }
        STANDARD.encode(bytes)
    }
}

#[cfg(test)]
#[path = "latencies_tests.rs"]
mod tests;
