//! Whether a difference is for the worse, and what that judgement rests on.

use serde::Serialize;

use super::statistics::{Interval, SECONDS_MIN};
use crate::report::median;
use crate::report::metric::{Metric, Worse};

/// A metric has to grow (or fall) so many times to be judged without an interval, where no second of one side is among
/// the other's. Equal runs of 5 s on a machine with nothing else to do differ by up to a half, apart in every second.
pub(super) const GROSS_SECONDS: f64 = 2.0;
/// The same, where there are only whole runs: a few of them lie apart by chance.
pub(super) const GROSS_RUNS: f64 = 3.0;
/// Seconds of a side, and fewer are as good as none.
const APART_MIN: usize = 3;

/// A metric is judged as it is because of this.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub(super) enum Grounds {
    /// The interval.
    Interval,
    /// The difference alone: the metric hardly varies between equal runs.
    Difference,
    /// Any more of what must not happen is worse.
    Counted,
    /// No interval, and so many times as much or as little that it needs none.
    Gross { times: f64, of_seconds: bool },
    /// Equal on both sides.
    Equal,
    /// No interval, and no gross difference. Seconds of the shortest run; absent for metrics of whole runs.
    TooFew { seconds: Option<usize> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Judgement {
    /// The change is beyond the bound, and the interval leaves no change out; or grossly so, where there is no interval.
    Worse,
    Better,
    /// Within the bound, and so is the interval.
    Same,
    /// Neither can be said, or there is no interval to say it by; more runs can tell.
    Unclear,
    /// Is not judged.
    Shown,
    /// One side did not measure it.
    Absent,
}

/// A and B measured these.
pub(super) struct Values {
    pub(super) runs: [Vec<f64>; 2],
    /// These are by run; empty where the metric has none.
    pub(super) seconds: [Vec<Vec<f64>>; 2],
}

pub(super) fn judge(
    metric: &Metric,
    change: Option<f64>,
    interval: Option<Interval>,
    values: &Values,
    worse_by: f64,
) -> (Judgement, Option<Grounds>) {
    if values.runs.iter().any(Vec::is_empty) {
        return (Judgement::Absent, None);
    }
    let bounds = interval.map(|found| (found.low, found.high));
    let (judgement, grounds) = match metric.worse {
        Worse::Shown | Worse::Never => return (Judgement::Shown, None),
        // The worst run of each side counts.
        Worse::AnyMore => {
            let [a, b] = values.runs.each_ref().map(|runs| runs.iter().copied().fold(0.0, f64::max));
            (by_size(b - a, 0.0), Grounds::Counted)
        }
        Worse::Higher | Worse::Lower => match (change, bounds) {
            (Some(change), Some(bounds)) => (within(metric, change, bounds, worse_by), Grounds::Interval),
            (None, Some(_)) => (Judgement::Unclear, Grounds::Interval),
            (Some(change), None) if metric.is_steady => {
                (within(metric, change, (change, change), worse_by), Grounds::Difference)
            }
            _ => without_interval(metric, change, values, worse_by),
        },
    };
    (judgement, Some(grounds))
}

/// Judges growth for the worse.
fn by_size(growth: f64, bound: f64) -> Judgement {
    match growth {
        growth if growth > bound => Judgement::Worse,
        growth if growth < -bound => Judgement::Better,
        _ => Judgement::Same,
    }
}

/// Judges a change, and the bounds that it lies in.
fn within(metric: &Metric, change: f64, (low, high): (f64, f64), worse_by: f64) -> Judgement {
    let is_sure = if change > 0.0 { low > 0.0 } else { high < 0.0 };
    let growth = if metric.worse == Worse::Lower { -change } else { change };
    match by_size(growth, worse_by) {
        _ if change == 0.0 || low >= -worse_by && high <= worse_by => Judgement::Same,
        Judgement::Same => Judgement::Unclear,
        found if is_sure => found,
        _ => Judgement::Unclear,
    }
}

fn without_interval(
    metric: &Metric,
    change: Option<f64>,
    values: &Values,
    worse_by: f64,
) -> (Judgement, Grounds) {
    let has_seconds = values.seconds.iter().all(|side| !side.is_empty());
    let seconds = values.seconds.iter().flatten().map(Vec::len).min().filter(|_| has_seconds);
    let too_few = (Judgement::Unclear, Grounds::TooFew { seconds });
    let Some(change) = change else { return too_few };
    if change == 0.0 {
        return (Judgement::Same, Grounds::Equal);
    }
    let all = values.seconds.each_ref().map(|side| side.concat());
    let of_seconds = all.iter().all(|side| side.len() >= APART_MIN);
    let ([a, b], least) = if of_seconds { (&all, GROSS_SECONDS) } else { (&values.runs, GROSS_RUNS) };
    let (lower, higher) = if change > 0.0 { (a, b) } else { (b, a) };
    match apart(lower, higher) {
        Some(times) if times >= least && change.abs() > worse_by => {
            (within(metric, change, (change, change), worse_by), Grounds::Gross { times, of_seconds })
        }
        _ => too_few,
    }
}

/// Returns how many times the lower side's median the higher side's is, where no value is among the other side's.
fn apart(lower: &[f64], higher: &[f64]) -> Option<f64> {
    let highest = lower.iter().copied().reduce(f64::max)?;
    let lowest = higher.iter().copied().reduce(f64::min)?;
    let times = median(higher)? / median(lower)?;
    (lowest > highest).then_some(times)
}

impl Grounds {
    /// Stands where an interval would.
    pub(super) fn text(self) -> String {
        match self {
            Self::Interval | Self::Equal => String::new(),
            Self::Difference => "the difference alone".to_owned(),
            Self::Counted => "any more is worse".to_owned(),
            Self::Gross { of_seconds, .. } => {
                let of = if of_seconds { "second" } else { "run" };
                format!("gross: {}, no {of} among the other's", self.factor().unwrap_or_default())
            }
            Self::TooFew { seconds: Some(seconds) } if seconds < SECONDS_MIN => {
                format!("no interval: {seconds} s of {SECONDS_MIN}")
            }
            Self::TooFew { seconds: Some(_) } => "no interval: nothing to divide by".to_owned(),
            Self::TooFew { seconds: None } => format!("no interval: takes {} runs a side", super::RUNS_MIN),
        }
    }

    /// Returns `4.5 times`, of a gross difference.
    pub(super) fn factor(self) -> Option<String> {
        match self {
            Self::Gross { times, .. } if times < 1000.0 => Some(format!("{times:.1} times")),
            Self::Gross { .. } => Some("1000 times or more".to_owned()),
            _ => None,
        }
    }
}

impl Judgement {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Worse => "WORSE",
            Self::Better => "better",
            Self::Same => "same",
            Self::Unclear => "unclear",
            Self::Shown => "",
            Self::Absent => "on one side only",
        }
    }
}
