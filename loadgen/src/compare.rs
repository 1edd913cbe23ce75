//! How runs differ: figure by figure, how sure that is, and whether anything is worse.

mod broken;
mod cautions;
mod grounds;
mod independent;
mod metric;
mod page;
mod statistics;
mod text;

use serde::Serialize;

use crate::cli::{CompareOptions, Files};
use crate::output;
use crate::report::model::Report;
use broken::BrokenAssertion;
use grounds::{Grounds, Sides};
use metric::{Metric, Unit, Worse};
use statistics::{Interval, by_ranks, by_seconds, change, median};

/// Fewer on a side tell nothing of how runs differ.
const RUNS_MIN: usize = 3;
/// Fewer on a side, and no interval between runs is a 95 % one.
const RUNS_ENOUGH: usize = 4;

/// What `--json` prints. Changes are shares of the first side's median: 0.1 is 10 % more.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) is_worse: bool,
    /// Why nothing is judged: runs that have no verdict themselves. Absent: everything is.
    pub(crate) refused: Option<String>,
    /// From here on a change counts.
    worse_by: f64,
    before: Vec<String>,
    after: Vec<String>,
    /// What limits how far this can be trusted; one line a kind.
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
    /// What the judgement rests on; absent where there is none.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Judgement {
    /// Beyond the bound, and the interval leaves no change out; or grossly so, where there is no interval.
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

/// Compares, and writes the page where one is asked for. Returns what to print, and the comparison.
///
/// # Errors
/// When one of the files is no report, several hold the same run, or the page cannot be written.
pub(crate) fn run(options: &CompareOptions) -> anyhow::Result<(String, Comparison)> {
    let (before, after) = (load(&options.before)?, load(&options.after)?);
    let files: Vec<_> = options.before.0.iter().chain(&options.after.0).collect();
    independent::check(&files, &before.iter().chain(&after).collect::<Vec<_>>())?;
    let mut comparison = compare(&before, &after, options.worse_by);
    if let Some(reason) = cautions::without_verdict(&before, &after) {
        if options.allow_bottleneck {
            comparison.cautions.insert(0, reason);
        } else {
            comparison.refuse(reason);
        }
    }
    comparison.before.clone_from(&options.before.names());
    comparison.after.clone_from(&options.after.names());
    if let Some(path) = &options.html {
        output::write(path, &page::page(&comparison, &before, &after))?;
    }
    let text = if options.json {
        serde_json::to_string_pretty(&comparison).expect("a comparison is plain data")
    } else {
        comparison.to_text()
    };
    Ok((text, comparison))
}

impl Comparison {
    /// Takes all judgements back: figures of a generator that could not keep up say nothing of the server.
    fn refuse(&mut self, reason: String) {
        for found in &mut self.differences {
            (found.judgement, found.grounds) = (Judgement::Shown, None);
        }
        self.is_worse = false;
        self.refused = Some(reason);
    }
}

fn load(files: &Files) -> anyhow::Result<Vec<Report>> {
    files.0.iter().map(|path| Report::load(path)).collect()
}

fn compare(before: &[Report], after: &[Report], worse_by: f64) -> Comparison {
    let metrics = metric::metrics(&before.iter().chain(after).collect::<Vec<_>>());
    let differences: Vec<_> =
        metrics.iter().map(|metric| difference(metric, before, after, worse_by)).collect();
    Comparison {
        is_worse: differences.iter().any(|difference| difference.judgement == Judgement::Worse),
        refused: None,
        worse_by,
        before: Vec::new(),
        after: Vec::new(),
        cautions: cautions::cautions(before, after),
        differences,
        broken_assertions: broken::assertions(before, after),
    }
}

fn difference(metric: &Metric, before: &[Report], after: &[Report], worse_by: f64) -> Difference {
    let values =
        |side: &[Report]| side.iter().filter_map(|report| (metric.value)(report)).collect::<Vec<_>>();
    let (a, b) = (values(before), values(after));
    let seconds = |side: &[Report]| {
        let read = metric.seconds.as_ref()?;
        let runs = side.iter().map(|report| report.series.iter().filter_map(read).collect::<Vec<_>>());
        Some(runs.filter(|run| !run.is_empty()).collect::<Vec<_>>())
    };
    let change = median(&a).zip(median(&b)).and_then(|(a, b)| change(a, b));
    let interval = match metric.worse {
        Worse::AnyMore => None,
        _ if a.len() >= RUNS_MIN && b.len() >= RUNS_MIN => by_ranks(&a, &b),
        _ => seconds(before).zip(seconds(after)).and_then(|(before, after)| by_seconds(&before, &after)),
    };
    let sides = || Sides {
        runs: [a.clone(), b.clone()],
        seconds: [before, after].map(|side| seconds(side).unwrap_or_default()),
    };
    let (judgement, grounds) = match metric.worse {
        _ if a.is_empty() || b.is_empty() => (Judgement::Absent, None),
        Worse::Shown => (Judgement::Shown, None),
        Worse::AnyMore => (any_more(&a, &b), Some(Grounds::Counted)),
        Worse::Higher | Worse::Lower => {
            let (judgement, grounds) = match (interval, change) {
                (Some(found), _) => {
                    (judge(metric.worse, change, (found.low, found.high), worse_by), Grounds::Interval)
                }
                (None, Some(change)) if metric.is_steady => {
                    (judge(metric.worse, Some(change), (change, change), worse_by), Grounds::Difference)
                }
                _ => grounds::without_interval(metric.worse, change, &sides(), worse_by),
            };
            (judgement, Some(grounds))
        }
    };
    Difference {
        name: metric.name.clone(),
        unit: metric.unit,
        before: Side::new(&a),
        after: Side::new(&b),
        change,
        interval,
        judgement,
        grounds,
    }
}

/// Of a change, and the bounds that it lies in.
fn judge(worse: Worse, change: Option<f64>, (low, high): (f64, f64), worse_by: f64) -> Judgement {
    let Some(change) = change else { return Judgement::Unclear };
    // From here on growth is for the worse.
    let (change, low, high) =
        if worse == Worse::Lower { (-change, -high, -low) } else { (change, low, high) };
    if change == 0.0 || low >= -worse_by && high <= worse_by {
        Judgement::Same
    } else if change > worse_by && low > 0.0 {
        Judgement::Worse
    } else if change < -worse_by && high < 0.0 {
        Judgement::Better
    } else {
        Judgement::Unclear
    }
}

/// Of what must not happen: the worst run of each side counts.
fn any_more(before: &[f64], after: &[f64]) -> Judgement {
    let worst = |side: &[f64]| side.iter().copied().fold(0.0, f64::max);
    match worst(after).total_cmp(&worst(before)) {
        std::cmp::Ordering::Less => Judgement::Better,
        std::cmp::Ordering::Equal => Judgement::Same,
        std::cmp::Ordering::Greater => Judgement::Worse,
    }
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
mod tests {
    use super::*;
    use crate::report::model::tests::sample;

    #[track_caller]
    fn check(before: &[Report], after: &[Report], expected: &[&str]) -> Comparison {
        let comparison = compare(before, after, 0.1);
        let worse = comparison.differences.iter().filter(|found| found.judgement == Judgement::Worse);
        let worse: Vec<_> = worse.map(|found| found.name.as_str()).collect();
        assert_eq!(worse, expected, "{}", comparison.to_text());
        assert_eq!(comparison.is_worse, !expected.is_empty());
        comparison
    }

    #[test]
    fn equal_reports_do_not_differ() {
        for runs in [1, 2, 5] {
            let side = vec![sample(); runs];
            let comparison = check(&side, &side, &[]);
            let other = comparison.differences.iter().find(|found| {
                !matches!(found.judgement, Judgement::Same | Judgement::Shown) || found.change != Some(0.0)
            });
            assert!(other.is_none(), "{other:?}");
        }
    }

    #[test]
    fn a_worse_figure_is_named() {
        let mut after = sample();
        after.latency.summary.p99_ns *= 2;
        after.series.iter_mut().for_each(|second| second.p99_ns *= 2);
        check(&[sample()], &[after.clone()], &["latency.p99 by second"]);
        check(&vec![sample(); 3], &vec![after; 3], &["latency.p99", "latency.p99 by second"]);

        let mut after = sample();
        after.series.iter_mut().for_each(|second| second.records /= 2);
        after.flow.records_per_second /= 2.0;
        check(&[sample()], &[after], &["deliveries by second"]);

        let mut after = sample();
        after.checks.lost = 1;
        check(&[sample()], &[after], &["lost"]);

        let mut after = sample();
        after.verdicts[0].held = false;
        let comparison = check(&[sample()], &[after], &["assertions broken"]);
        let text = comparison.to_text();
        assert!(text.contains("latency.p99: A no run; B run 1 (2.97ms, has to be at most 8ms)"), "{text}");

        let mut after = sample();
        after.readers[1].age.summary.p50_ns *= 3;
        check(&vec![sample(); 3], &vec![after; 3], &["age.throttled.p50"]);

        let mut after = sample();
        after.saturation.as_mut().unwrap().updates_per_second *= 0.8;
        check(&[sample()], &[after], &["saturation.updates_per_second"]);
    }

    #[test]
    fn better_is_not_worse_and_noise_is_unclear() {
        let with = |p99_ns| {
            let mut report = sample();
            report.latency.summary.p99_ns = p99_ns;
            report
        };
        let judgement = |before: &[u64], after: &[u64]| {
            let side = |values: &[u64]| values.iter().map(|ns| with(*ns)).collect::<Vec<_>>();
            let comparison = compare(&side(before), &side(after), 0.1);
            comparison.differences.into_iter().find(|found| found.name == "latency.p99").unwrap().judgement
        };
        let ms = 1_000_000;
        let [two, three, four] = [2 * ms, 3 * ms, 4 * ms];
        assert_eq!(judgement(&[two; 3], &[ms; 3]), Judgement::Better);
        assert_eq!(judgement(&[two, four, three], &[three, 5 * ms, four]), Judgement::Unclear);
        assert_eq!(judgement(&[100, 101, 102], &[104, 103, 102]), Judgement::Same);
        assert_eq!(judgement(&[100, 101, 102], &[114, 113, 115]), Judgement::Worse);
        // Two runs say nothing of how runs differ, unless the difference is gross.
        assert_eq!(judgement(&[100, 101], &[114, 113]), Judgement::Unclear);
        assert_eq!(judgement(&[100, 101], &[290, 310]), Judgement::Unclear);
        assert_eq!(judgement(&[100, 101], &[310, 320]), Judgement::Worse);
        assert_eq!(judgement(&[310, 320], &[100, 101]), Judgement::Better);
    }

    /// A run of a few seconds, with latencies and rates in each.
    fn short(p50_us: [u64; 4], records: [u64; 4]) -> Report {
        let mut report = sample();
        report.series.truncate(4);
        for (second, (us, records)) in report.series.iter_mut().zip(p50_us.into_iter().zip(records)) {
            (second.p50_ns, second.records) = (us * 1000, records);
        }
        report
    }

    #[test]
    fn gross_differences_of_short_runs_are_judged_and_others_are_not() {
        let calm = || short([340, 430, 360, 400], [1000, 990, 1010, 1000]);
        // A third more in every second: equal runs of 5 s differ as much.
        let judged = check(&[calm()], &[short([450, 530, 460, 500], [900; 4])], &[]);
        let text = judged.to_text();
        for part in ["short runs (4 s)", "no interval: 4 s of 10", "not shown to be worse"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let grown = short([2000, 1900, 880, 1500], [1000; 4]);
        let text = check(&[calm()], std::slice::from_ref(&grown), &["latency.p50 by second"]).to_text();
        assert!(text.contains("latency.p50 by second (4.5 times, no interval)"), "{text}");
        assert!(text.contains("gross: 4.5 times, no second among the other's"), "{text}");
        let better = compare(&[grown], &[calm()], 0.1);
        assert!(!better.is_worse && better.to_text().contains("better: latency.p50 by second"));
        // One second as before, and it may be chance.
        check(&[calm()], &[short([2000, 1900, 420, 1500], [1000; 4])], &[]);
        check(&[calm()], &[short([340, 430, 360, 400], [480; 4])], &["deliveries by second"]);
        // Who allows more is not told of less.
        assert!(!compare(&[calm()], &[short([2000; 4], [1000; 4])], 5.0).is_worse);
    }

    #[test]
    fn what_limits_trust_is_said() {
        let mut after = sample();
        after.machine.cores = 64;
        after.scenario.text = "other".to_owned();
        let mut before = sample();
        before.generator.doubts.push("all processors were 99 % busy".to_owned());
        after.readers.truncate(1);
        let comparison = check(&[before], &[after], &[]);
        let text = comparison.cautions.join("\n");
        for part in [
            "few runs (1 and 1)",
            "A run 1: all processors were 99 % busy",
            "differ in more than their figures: machine (",
            "; words of the scenario",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        let absent = comparison.differences.iter().find(|found| found.name == "age.throttled.p50").unwrap();
        assert_eq!((absent.judgement, absent.before.runs, absent.after.runs), (Judgement::Absent, 1, 0));
        assert!(compare(&vec![sample(); 4], &vec![sample(); 4], 0.1).cautions.is_empty());
    }
}
