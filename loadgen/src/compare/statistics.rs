//! How sure a difference is.
//!
//! All changes are shares of the first side: 0.1 is 10 % more.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Between 2.5 % and 97.5 % of resamples.
const LEVEL: f64 = 0.95;
const RESAMPLES: usize = 2_000;
/// Fewer have too few blocks to resample.
pub(super) const SECONDS_MIN: usize = 10;

/// Where the change lies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Interval {
    pub(super) low: f64,
    pub(super) high: f64,
    /// How often such an interval holds the change, 0 to 1.
    pub(super) level: f64,
    pub(super) method: Method,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Method {
    /// Between runs: quotients of all pairs of runs, cut by the exact distribution of Mann and Whitney's U (Hodges and
    /// Lehmann 1963). Assumes nothing of the shape, and that runs are independent.
    Ranks,
    /// Within runs: circular block bootstrap (Politis and Romano 1992) of the median over seconds, blocks of n^(1/3)
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

/// Nothing for no values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    if values.len() % 2 == 1 { Some(upper) } else { Some(f64::midpoint(values[middle - 1], upper)) }
}

/// Nothing where there is nothing to divide by.
pub(super) fn change(before: f64, after: f64) -> Option<f64> {
    if before.total_cmp(&after).is_eq() {
        return Some(0.0);
    }
    (before > 0.0 && after >= 0.0).then(|| after / before - 1.0)
}

/// From one value for each run. Nothing for less than two runs a side, or where a quotient does not exist.
pub(super) fn by_ranks(before: &[f64], after: &[f64]) -> Option<Interval> {
    if before.len() < 2 || after.len() < 2 {
        return None;
    }
    let pairs = before.iter().flat_map(|before| after.iter().map(|after| change(*before, *after)));
    let mut pairs = pairs.collect::<Option<Vec<_>>>()?;
    pairs.sort_by(f64::total_cmp);
    let (cut, level) = cut(before.len(), after.len());
    Some(Interval { low: pairs[cut], high: pairs[pairs.len() - 1 - cut], level, method: Method::Ranks })
}

/// How many pairs to leave off at each end for an interval of at least `LEVEL`, and its level; none, and a lower one, where
/// the runs are too few for it.
fn cut(before: usize, after: usize) -> (usize, f64) {
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

/// In how many orders of the two sides U comes to its index.
fn ways(before: usize, after: usize) -> Vec<f64> {
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

/// From the seconds of each run. Nothing where a run has few seconds.
pub(super) fn by_seconds(before: &[Vec<f64>], after: &[Vec<f64>]) -> Option<Interval> {
    if before.is_empty() || after.is_empty() {
        return None;
    }
    if before.iter().chain(after).any(|run| run.len() < SECONDS_MIN) {
        return None;
    }
    // Always the same: who compares twice reads the same figures.
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut side = |runs: &[Vec<f64>]| {
        let medians: Vec<_> = runs.iter().filter_map(|run| median(&resample(run, &mut random))).collect();
        median(&medians)
    };
    let mut changes = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        changes.push(change(side(before)?, side(after)?)?);
    }
    changes.sort_by(f64::total_cmp);
    let out = (RESAMPLES as f64 * (1.0 - LEVEL) / 2.0) as usize;
    let (low, high) = (changes[out], changes[RESAMPLES - 1 - out]);
    Some(Interval { low, high, level: LEVEL, method: Method::Seconds })
}

/// Blocks of neighbouring seconds, because what happens in one second lasts into the next.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn the_distribution_of_u_is_the_tables() {
        assert_eq!(ways(2, 2), [1.0, 1.0, 2.0, 1.0, 1.0]);
        assert_eq!(ways(4, 4).iter().sum::<f64>() as u64, 70);
        // Critical values of U at 5 %, two-sided: 0 for 4 and 4, 2 for 5 and 5, 23 for 10 and 10.
        for (runs, critical) in [(4, 0), (5, 2), (10, 23)] {
            let (cut, level) = cut(runs, runs);
            assert_eq!(cut, critical, "{runs}");
            assert!(level >= LEVEL, "{runs}: {level}");
        }
    }

    #[test]
    fn few_runs_give_a_lower_level_and_say_so() {
        assert_eq!(by_ranks(&[1.0], &[1.0, 2.0]), None);
        let two = by_ranks(&[100.0, 110.0], &[120.0, 130.0]).unwrap();
        assert!((two.level - 2.0 / 3.0).abs() < 1e-9 && two.low > 0.0, "{two:?}");
        let three = by_ranks(&[100.0, 105.0, 110.0], &[100.0, 104.0, 111.0]).unwrap();
        assert!((three.level - 0.9).abs() < 1e-9 && three.low < 0.0 && three.high > 0.0, "{three:?}");
        assert_eq!(by_ranks(&[0.0, 1.0], &[1.0, 1.0]), None);
    }

    /// Seconds around a value that swing slowly, as real ones do.
    fn seconds(around: f64) -> Vec<f64> {
        (0..60).map(|at| around * (1.0 + 0.05 * (f64::from(at) / 4.0).sin())).collect()
    }

    #[test]
    fn the_bootstrap_sees_a_shift_and_no_shift() {
        let same = by_seconds(&[seconds(10.0)], &[seconds(10.0)]).unwrap();
        assert!(same.low <= 0.0 && same.high >= 0.0 && same.high - same.low < 0.2, "{same:?}");
        let shifted = by_seconds(&[seconds(10.0)], &[seconds(15.0)]).unwrap();
        assert!(shifted.low > 0.3 && shifted.low < 0.5 && shifted.high > 0.5, "{shifted:?}");
        assert_eq!(by_seconds(&[seconds(10.0)], &[vec![1.0; 5]]), None);
    }
}
