//! The latency of records on their way: from the ingester into this gateway, and from there to the call that hands them to
//! a socket.

use std::sync::PoisonError;

use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::stats::Stats;
use tickwire_core::engine::{LATENCY_SAMPLE_ONE_IN, LatencySample, Pace};
use tickwire_measure::{HIGHEST, Latencies, Summary};

/// The upper ends of the metric's buckets, in seconds.
const BUCKETS: [f64; 15] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0];
const NAMES: [(&str, &str); 2] = [("ingester", "gateway_in"), ("gateway_in", "gateway_write")];
const PACES: [(Pace, &str); 2] = [(Pace::Prompt, "prompt"), (Pace::Conflating, "conflating")];

/// The response to `/v1/hops`. The difference of two of them is what happened between them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldHops {
    /// One of so many records is counted.
    pub sampled_one_in: u32,
    /// Each hop, of sessions of each pace.
    pub hops: Vec<HopCounts>,
}

/// A gateway tells this of a hop since it started. Times are nanoseconds, right within 1 %.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HopCounts {
    /// It begins here: `ingester` or `gateway_in`.
    pub from: String,
    /// It ends here: `gateway_in` or `gateway_write`.
    pub to: String,
    /// The pace of the sessions: `prompt` or `conflating`.
    pub sessions: String,
    /// The records that were measured.
    pub count: u64,
    /// The records whose hop ended before it began, because two clocks differ; they are not in the rest.
    pub backwards: u64,
    /// The median.
    pub p50_ns: u64,
    /// The 99th percentile.
    pub p99_ns: u64,
    /// The 99.9th percentile.
    pub p999_ns: u64,
    /// The longest time.
    pub max_ns: u64,
    /// Times, and how many records took that long.
    pub counts: Vec<(u64, u64)>,
}

/// One hop of the records of sessions of one pace.
#[derive(Clone, Debug)]
struct Hop {
    /// The times that the records took, right within 1 %.
    took: Latencies,
    sum_ns: u64,
}

impl Default for Hop {
    fn default() -> Self {
        Self { took: Latencies::coarse(), sum_ns: 0 }
    }
}

impl Hop {
    fn record(&mut self, from: u64, to: u64) {
        self.took.record(from, to);
        self.sum_ns += to.saturating_sub(from).min(HIGHEST.as_nanos() as u64);
    }

    fn merge(&mut self, other: &Self) {
        self.took.merge(&other.took);
        self.sum_ns += other.sum_ns;
    }

    fn told(&self, (from, to): (&str, &str), sessions: &str) -> HopCounts {
        let Summary { count, backwards, p50_ns, p99_ns, p999_ns, max_ns, .. } = self.took.summary();
        let counts = self.took.histogram().iter_recorded();
        let counts =
            counts.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect();
        let (from, to, sessions) = (from.to_owned(), to.to_owned(), sessions.to_owned());
        HopCounts { from, to, sessions, count, backwards, p50_ns, p99_ns, p999_ns, max_ns, counts }
    }

    /// Returns the metric's buckets: the upper end in seconds, and how many records lie in each.
    fn buckets(&self) -> Vec<(f64, u64)> {
        let (took, mut before) = (self.took.histogram(), 0);
        let mut buckets: Vec<_> = BUCKETS
            .iter()
            .map(|end| {
                let upto = took.count_between(0, (end * 1e9) as u64);
                let count = upto - before;
                before = upto;
                (*end, count)
            })
            .collect();
        buckets.push((f64::MAX, took.len() - before));
        buckets
    }
}

/// The hops of all records, by the pace of the session; see the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hops([[Hop; NAMES.len()]; PACES.len()]);

impl Hops {
    pub(crate) fn add(&mut self, latency_sample: &LatencySample) {
        let at = PACES.iter().position(|(pace, _)| *pace == latency_sample.pace).unwrap_or_default();
        let [bus, inside] = &mut self.0[at];
        bus.record(latency_sample.received, latency_sample.arrived);
        inside.record(latency_sample.arrived, latency_sample.written);
    }

    /// Adds up the hops of all shards.
    pub(crate) fn of(stats: &Stats) -> Self {
        let mut all = Self::default();
        for shard in &stats.shards {
            let hops = shard.hops.lock().unwrap_or_else(PoisonError::into_inner);
            let pairs = all.0.iter_mut().flatten().zip(hops.0.iter().flatten());
            pairs.for_each(|(all, hop)| all.merge(hop));
        }
        all
    }

    fn each(&self) -> impl Iterator<Item = (&Hop, (&'static str, &'static str), &'static str)> {
        let paces = self.0.iter().zip(PACES);
        paces.flat_map(|(hops, (_, sessions))| {
            hops.iter().zip(NAMES).map(move |(hop, name)| (hop, name, sessions))
        })
    }

    /// Returns the response to `/v1/hops`.
    pub(crate) fn to_json(&self) -> Value {
        let hops = self.each().map(|(hop, name, sessions)| hop.told(name, sessions)).collect();
        json!(ToldHops { sampled_one_in: LATENCY_SAMPLE_ONE_IN, hops })
    }

    /// Writes the metric of this name.
    pub(crate) fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (hop, (from, to), sessions) in self.each() {
            let name = format!("{from}-{to}");
            let labels = [("hop", name.as_str()), ("sessions", sessions)];
            let mut of = family.encode_family(&labels)?;
            let sum = hop.sum_ns as f64 / 1e9;
            of.encode_histogram::<[(&str, &str); 0]>(sum, hop.took.histogram().len(), &hop.buckets(), None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency_sample(received: u64, arrived: u64, written: u64, pace: Pace) -> LatencySample {
        LatencySample { received, arrived, written, pace }
    }

    #[test]
    fn hops_are_told_apart_by_the_pace_of_the_session() {
        let mut hops = Hops::default();
        for _ in 0..3 {
            hops.add(&latency_sample(1_000_000, 1_500_000, 3_500_000, Pace::Prompt));
        }
        hops.add(&latency_sample(1_000_000, 900_000, 9_900_000, Pace::Conflating));
        let told = hops.to_json();
        let of = |at: usize, what: &str| told["hops"][at][what].as_u64().unwrap();
        assert_eq!((of(0, "count"), of(1, "count"), of(2, "count"), of(3, "count")), (3, 3, 0, 1));
        assert_eq!((of(2, "backwards"), of(2, "p50_ns")), (1, 0), "one clock was ahead of the other");
        assert!(of(0, "p99_ns").abs_diff(500_000) <= 5_000 && of(1, "p99_ns").abs_diff(2_000_000) <= 20_000);
        let counts = told["hops"][1]["counts"].as_array().unwrap();
        assert_eq!((counts.len(), &counts[0][1]), (1, &json!(3)));
    }

    #[test]
    fn each_record_is_in_one_bucket_of_the_metric() {
        let mut hops = Hops::default();
        for took in [50_000, 150_000, 40_000_000, 90_000_000_000] {
            hops.add(&latency_sample(1, 1, 1 + took, Pace::Prompt));
        }
        let buckets = hops.0[0][1].buckets();
        let filled: Vec<_> = buckets.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [&(0.0001, 1), &(0.0002, 1), &(0.05, 1), &(f64::MAX, 1)]);
    }
}
