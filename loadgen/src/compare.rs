//! This tells how runs differ: metric by metric, how sure that is, and whether anything is worse.

mod cautions;
mod content;
mod judgement;
mod statistics;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::bail;
use serde::Serialize;

use crate::cli::CompareOptions;
use crate::report::document::moment;
use crate::report::median;
use crate::report::metric::{Metric, Unit, Worse, metrics};
use crate::report::model::Report;
use crate::{html, output};
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
    check_independent(&files, &before.iter().chain(&after).collect::<Vec<_>>())?;
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

/// Checks that the runs are different ones: a run that stands there twice is no second measurement.
///
/// # Errors
/// When several files hold the same run, on one side or both; the text names them.
fn check_independent(files: &[&PathBuf], reports: &[&Report]) -> anyhow::Result<()> {
    let mut runs: BTreeMap<_, (&Report, Vec<String>)> = BTreeMap::new();
    for (report, file) in reports.iter().zip(files) {
        // No two runs begin to measure in the same nanosecond, at the same server, with the same seed, whatever their files are
        // called. Reports that do not say when they began are told apart by what they hold.
        let began = (report.started_ns, report.scenario.seed, report.scenario.url.clone());
        let content = if report.started_ns == 0 { report.to_json() } else { String::new() };
        runs.entry((began, content)).or_insert((report, Vec::new())).1.push(file.display().to_string());
    }
    let twice = runs.values().filter(|(_, files)| files.len() > 1).map(|(report, files)| {
        let (title, began) = (report.scenario.title(), moment(report.started_ns));
        let seed = report.scenario.seed;
        format!("{} (the run of {title} that began {began}, seed {seed})", files.join(" and "))
    });
    let twice: Vec<_> = twice.collect();
    if !twice.is_empty() {
        bail!(
            "the same run is given several times: {}. Judgements hold of runs that know nothing of each other: give each run \
             once, and for more runs, run again",
            twice.join("; ")
        );
    }
    Ok(())
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
        broken_assertions: broken_assertions(sides),
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

/// An assertion that did not hold in a run of either side.
#[derive(Debug, Default, Serialize)]
struct BrokenAssertion {
    name: String,
    /// Each run that broke it says what it measured; empty: it held there, or was not asserted.
    before: Vec<BrokenRun>,
    after: Vec<BrokenRun>,
}

#[derive(Debug, Serialize)]
struct BrokenRun {
    /// Runs count from 1, in the order of the command line.
    run: usize,
    measured: String,
    limit: String,
}

/// Returns all that broke, by name.
fn broken_assertions([before, after]: Sides<'_>) -> Vec<BrokenAssertion> {
    let mut all: BTreeMap<&str, BrokenAssertion> = BTreeMap::new();
    let runs = before.iter().enumerate().chain(after.iter().enumerate());
    for (place, (at, report)) in runs.enumerate() {
        for verdict in report.verdicts.iter().filter(|verdict| !verdict.held) {
            let found = all.entry(&verdict.name).or_default();
            found.name.clone_from(&verdict.name);
            let side = if place < before.len() { &mut found.before } else { &mut found.after };
            let (measured, limit) = (verdict.measured.clone(), verdict.limit.clone());
            side.push(BrokenRun { run: at + 1, measured, limit });
        }
    }
    all.into_values().collect()
}

impl BrokenAssertion {
    /// Returns `latency.p99: A no run; B run 1 (9 ms, has to be at most 8 ms)`.
    fn text(&self) -> String {
        let [a, b] = [&self.before, &self.after].map(|runs| {
            let text =
                |run: &BrokenRun| format!("run {} ({}, has to be {})", run.run, run.measured, run.limit);
            let runs = runs.iter().map(text).collect::<Vec<_>>().join(", ");
            if runs.is_empty() { "no run".to_owned() } else { runs }
        });
        format!("{}: A {a}; B {b}", self.name)
    }
}

#[cfg(test)]
#[path = "../tests/units/compare.rs"]
mod tests;
