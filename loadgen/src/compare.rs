//! This tells how runs differ: metric by metric, how sure that is, and whether anything is worse.

mod broken;
mod cautions;
mod content;
mod independent;
mod judgement;
mod statistics;

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::CompareOptions;
use crate::report::metric::{Metric, Unit, Worse, metrics};
use crate::report::model::Report;
use crate::report::statistics::median;
use crate::{html, output};
use broken::BrokenAssertion;
use judgement::{Grounds, Judgement, Values};
use statistics::{Interval, by_ranks, by_seconds, change};

/// Fewer on a side tell nothing of how runs differ.
const RUNS_MIN: usize = 3;
/// Fewer on a side, and no interval between runs is a 95 % one.
const RUNS_ENOUGH: usize = 4;

/// Runs of A and of B.
type Sides<'a> = [&'a [Report]; 2];

/// `--json` prints this. Changes are shares of the first side's median: 0.1 is 10 % more.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) is_worse: bool,
    /// This says why nothing is judged: runs that have no verdict themselves. Absent: everything is.
    pub(crate) refused: Option<String>,
    /// A change counts from here on.
    worse_by: f64,
    before: Vec<String>,
    after: Vec<String>,
    /// These limit how far this can be trusted; each kind has one line.
    cautions: Vec<String>,
    differences: Vec<Difference>,
    /// Assertions that broke in a run of either side.
    broken_assertions: Vec<BrokenAssertion>,
}

#[derive(Debug, Serialize)]
struct Difference {
    name: String,
    unit: Unit,
    before: Side,
    after: Side,
    /// Absent where there is nothing to divide by.
    change: Option<f64>,
    /// Absent where there are too few runs, and too few seconds to resample.
    interval: Option<Interval>,
    judgement: Judgement,
    /// The judgement rests on this; absent where there is none.
    grounds: Option<Grounds>,
}

/// All runs of a side; absent where none measured it.
#[derive(Debug, Serialize)]
struct Side {
    median: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    runs: usize,
}

/// Compares, and writes the page where one is asked for. Returns what to print, and the comparison.
///
/// # Errors
/// When one of the files is no report, several hold the same run, or the page cannot be written.
pub(crate) fn run(options: &CompareOptions) -> anyhow::Result<(String, Comparison)> {
    let load =
        |files: &[PathBuf]| files.iter().map(|path| Report::load(path)).collect::<anyhow::Result<Vec<_>>>();
    let (before, after) = (load(&options.before)?, load(&options.after)?);
    let sides: Sides<'_> = [&before, &after];
    let files: Vec<_> = options.before.iter().chain(&options.after).collect();
    independent::check(&files, &before.iter().chain(&after).collect::<Vec<_>>())?;
    let mut comparison = compare(sides, options.worse_by);
    match cautions::without_verdict(sides) {
        Some(reason) if options.allow_bottleneck => comparison.cautions.insert(0, reason),
        Some(reason) => comparison.refuse(reason),
        None => {}
    }
    let names = |files: &[PathBuf]| files.iter().map(|path| path.display().to_string()).collect();
    (comparison.before, comparison.after) = (names(&options.before), names(&options.after));
    let document = comparison.document(sides);
    if let Some(path) = &options.html {
        output::write(path, &html::page(&document))?;
    }
    let json = || serde_json::to_string_pretty(&comparison).expect("a comparison is plain data");
    Ok((if options.json { json() } else { document.to_text() }, comparison))
}

impl Comparison {
    /// Takes all judgements back: results of a generator that could not keep up say nothing of the server.
    fn refuse(&mut self, reason: String) {
        for found in &mut self.differences {
            (found.judgement, found.grounds) = (Judgement::Shown, None);
        }
        self.is_worse = false;
        self.refused = Some(reason);
    }
}

fn compare(sides: Sides<'_>, worse_by: f64) -> Comparison {
    let reports: Vec<_> = sides.into_iter().flatten().collect();
    let differences = metrics(&reports).into_iter().map(|metric| difference(&metric, sides, worse_by));
    let differences: Vec<_> = differences.collect();
    Comparison {
        is_worse: differences.iter().any(|difference| difference.judgement == Judgement::Worse),
        refused: None,
        worse_by,
        before: Vec::new(),
        after: Vec::new(),
        cautions: cautions::cautions(sides),
        differences,
        broken_assertions: broken::assertions(sides),
    }
}

fn difference(metric: &Metric, sides: Sides<'_>, worse_by: f64) -> Difference {
    let runs = sides.map(|side| side.iter().filter_map(&metric.value).collect::<Vec<_>>());
    let seconds = sides.map(|side| {
        let read = metric.seconds.as_ref();
        let runs = side.iter().filter_map(|report| Some(report.series.iter().filter_map(&**read?).collect()));
        runs.filter(|run: &Vec<f64>| !run.is_empty()).collect::<Vec<_>>()
    });
    let [a, b] = &runs;
    let change = median(a).zip(median(b)).and_then(|(a, b)| change(a, b));
    let interval = match metric.worse {
        Worse::AnyMore => None,
        _ if a.len().min(b.len()) >= RUNS_MIN => by_ranks(a, b),
        _ => by_seconds(&seconds[0], &seconds[1]),
    };
    let (before, after) = (Side::new(a), Side::new(b));
    let (judgement, grounds) =
        judgement::judge(metric, change, interval, &Values { runs, seconds }, worse_by);
    let (name, unit) = (metric.name.clone(), metric.unit);
    Difference { name, unit, before, after, change, interval, judgement, grounds }
}

impl Side {
    fn new(values: &[f64]) -> Self {
        Self {
            median: median(values),
            low: values.iter().copied().reduce(f64::min),
            high: values.iter().copied().reduce(f64::max),
            runs: values.len(),
        }
    }
}

#[cfg(test)]
#[path = "../tests/units/compare.rs"]
mod tests;
