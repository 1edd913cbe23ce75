//! What a judgement rests on, and how to judge where there is no interval.

use serde::Serialize;

use super::Judgement;
use super::metric::Worse;
use super::statistics::{SECONDS_MIN, median};

/// How many times a figure has to grow (or fall) to be judged without an interval, where no second of one side is among
/// the other's. Equal runs of 5 s on a machine with nothing else to do differ by up to a half, apart in every second.
pub(super) const GROSS_SECONDS: f64 = 2.0;
/// The same, where there are only figures of whole runs: a few of them lie apart by chance.
pub(super) const GROSS_RUNS: f64 = 3.0;
/// Seconds of a side, and fewer are as good as none.
const APART_MIN: usize = 3;

/// Why a figure is judged as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub(super) enum Grounds {
    /// The interval.
    Interval,
    /// The difference alone: the figure hardly varies between equal runs.
    Difference,
    /// Any more of what must not happen is worse.
    Counted,
    /// No interval, and so many times as much or as little that it needs none.
    Gross { times: f64, of_seconds: bool },
    /// Equal on both sides.
    Equal,
    /// No interval, and no gross difference. Seconds of the shortest run; absent for figures of whole runs.
    TooFew { seconds: Option<usize> },
}

/// Values of the two sides, A and B.
pub(super) struct Sides {
    pub(super) runs: [Vec<f64>; 2],
    /// By run; empty where the figure has none.
    pub(super) seconds: [Vec<Vec<f64>>; 2],
}

/// Of a figure that grows or falls for the worse.
pub(super) fn without_interval(
    worse: Worse,
    change: Option<f64>,
    sides: &Sides,
    worse_by: f64,
) -> (Judgement, Grounds) {
    let has_seconds = sides.seconds.iter().all(|side| !side.is_empty());
    let seconds = sides.seconds.iter().flatten().map(Vec::len).min().filter(|_| has_seconds);
    let too_few = (Judgement::Unclear, Grounds::TooFew { seconds });
    let Some(change) = change else { return too_few };
    if change == 0.0 {
        return (Judgement::Same, Grounds::Equal);
    }
    let all = sides.seconds.each_ref().map(|side| side.concat());
    let of_seconds = all.iter().all(|side| side.len() >= APART_MIN);
    let ([a, b], least) = if of_seconds { (&all, GROSS_SECONDS) } else { (&sides.runs, GROSS_RUNS) };
    let (lower, higher) = if change > 0.0 { (a, b) } else { (b, a) };
    let Some(times) = apart(lower, higher).filter(|times| *times >= least && change.abs() > worse_by) else {
        return too_few;
    };
    let is_worse = (change > 0.0) == (worse == Worse::Higher);
    let judgement = if is_worse { Judgement::Worse } else { Judgement::Better };
    (judgement, Grounds::Gross { times, of_seconds })
}

/// How many times the lower side's median the higher side's is, where no value is among the other side's.
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

    /// `4.5 times`, of a gross difference.
    pub(super) fn factor(self) -> Option<String> {
        match self {
            Self::Gross { times, .. } if times < 1000.0 => Some(format!("{times:.1} times")),
            Self::Gross { .. } => Some("1000 times or more".to_owned()),
            _ => None,
        }
    }
}
