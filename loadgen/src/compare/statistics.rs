//! Intervals say how sure a difference is.
//!
//! All changes are shares of the first side: 0.1 is 10 % more.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use statrs::statistics::{Data, OrderStatistics as _};

use crate::report::median;

/// An interval lies between 2.5 % and 97.5 % of resamples.
pub(super) const LEVEL: f64 = 0.95;
const RESAMPLES: usize = 2_000;
/// Fewer have too few blocks to resample.
pub(super) const SECONDS_MIN: usize = 10;

/// The change lies in this interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
    /// Such an interval holds the change so often, 0 to 1.
    pub(super) level: f64,
    pub(super) method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    /// It is between runs: quotients of all pairs of runs, cut by the exact distribution of Mann and Whitney's U (Hodges and
    /// Lehmann 1963). Assumes nothing of the shape, and that runs are independent.
    Ranks,
    /// It is within runs: circular block bootstrap (Politis and Romano 1992) of the median over seconds, blocks of n^(1/3)
    /// seconds. Knows nothing of how runs differ from one another.
    Seconds,
}

impl Method {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ranks => "ranks of runs",
            Self::Seconds => "bootstrap of seconds",
        }
    }
}

/// Returns None where there is nothing to divide by.
pub(super) fn change(before: f64, after: f64) -> Option<f64> {
    if before.total_cmp(&after).is_eq() {
        return Some(0.0);
    }
    (before > 0.0 && after >= 0.0).then(|| after / before - 1.0)
}

/// Takes one value for each run. None for less than two runs a side, or where a quotient does not exist.
pub(super) fn by_ranks(before: &[f64], after: &[f64]) -> Option<Interval> {
    if before.len() < 2 || after.len() < 2 {
        return None;
    }
    let pairs = before.iter().flat_map(|before| after.iter().map(|after| change(*before, *after)));
    let (cut, level) = cut(before.len(), after.len());
    Some(interval(pairs.collect::<Option<Vec<_>>>()?, cut, level, Method::Ranks))
}

/// Leaves off so many changes at each end.
fn interval(changes: Vec<f64>, cut: usize, level: f64, method: Method) -> Interval {
    let count = changes.len();
    let mut changes = Data::new(changes);
    let (low, high) = (changes.order_statistic(cut + 1), changes.order_statistic(count - cut));
    Interval { low, high, level, method }
}

/// Returns how many pairs to leave off at each end for an interval of at least `LEVEL`, and its level; none, and a lower one, where
/// the runs are too few for it.
pub(super) fn cut(before: usize, after: usize) -> (usize, f64) {
    let ways = ways(before, after);
    let all: f64 = ways.iter().sum();
    let (mut below, mut best) = (0.0, None);
    for (u, count) in ways.iter().enumerate().take(before * after / 2) {
        below += count;
        let level = 1.0 - 2.0 * below / all;
        if u > 0 && level < LEVEL {
            break;
        }
        best = Some((u, level));
    }
    best.unwrap_or((0, 0.0))
}

/// Returns in how many orders of the two sides U comes to its index.
pub(super) fn ways(before: usize, after: usize) -> Vec<f64> {
    // Mann and Whitney's recurrence, as the product of (1 - x^(after+i)) / (1 - x^i).
    let mut ways = vec![0.0; before * after + 1];
    ways[0] = 1.0;
    for i in 1..=before {
        for u in (after + i..ways.len()).rev() {
            ways[u] -= ways[u - after - i];
        }
        for u in i..ways.len() {
            ways[u] += ways[u - i];
        }
    }
    ways
}

/// Takes the seconds of each run. None where a run has few seconds.
pub(super) fn by_seconds(before: &[Vec<f64>], after: &[Vec<f64>]) -> Option<Interval> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    if before.iter().chain(after).any(|run| run.len() < SECONDS_MIN) {
        return None;
    }
    // Always the same: who compares twice reads the same results.
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut side = |runs: &[Vec<f64>]| {
        let medians: Vec<_> = runs.iter().filter_map(|run| median(&resample(run, &mut random))).collect();
        median(&medians)
    };
    let changes = (0..RESAMPLES).map(|_| change(side(before)?, side(after)?));
    let cut = (RESAMPLES as f64 * (1.0 - LEVEL) / 2.0) as usize;
    Some(interval(changes.collect::<Option<Vec<_>>>()?, cut, LEVEL, Method::Seconds))
}

/// Draws blocks of neighbouring seconds, because what happens in one second lasts into the next.
fn resample(run: &[f64], random: &mut ChaCha8Rng) -> Vec<f64> {
    let block = (run.len() as f64).cbrt().ceil() as usize;
    let mut sample = Vec::with_capacity(run.len() + block);
    while sample.len() < run.len() {
        let from = random.random_range(0..run.len());
        sample.extend((0..block).map(|at| run[(from + at) % run.len()]));
    }
    sample.truncate(run.len());
    sample
}
