//! The comparison as a page for a browser.

use maud::html;

use super::{Comparison, Difference, Judgement};
use crate::html::chart::{self, Axis, Bar, Line, Scale, Shape};
use crate::html::pictures::{curve, curves, series, times};
use crate::html::quantity::{bytes, plain};
use crate::html::{document, moment};
use crate::report::model::{Report, Second};

/// Changes beyond it are drawn at the edge; the table has the figures.
const CHANGE_DRAWN_MAX: f64 = 1.0;

pub(super) fn page(comparison: &Comparison, before: &[Report], after: &[Report]) -> String {
    let judged = |found: &&Difference| !matches!(found.judgement, Judgement::Shown | Judgement::Absent);
    // What is equal without an interval has nothing to show.
    let has_shape = |found: &&Difference| found.interval.is_some() || found.change != Some(0.0);
    let judged: Vec<_> = comparison.differences.iter().filter(judged).filter(has_shape).collect();
    let sides = [("A", 0, before, &comparison.before), ("B", 1, after, &comparison.after)];
    // Only the first run of a side names it.
    let lines = |draw: &dyn Fn(&str, usize, &Report) -> Line| -> Vec<Line> {
        let runs = sides.iter().flat_map(|(name, tint, reports, _)| {
            reports
                .iter()
                .enumerate()
                .map(move |(at, report)| (if at == 0 { *name } else { "" }, *tint, report))
        });
        runs.map(|(name, tint, report)| draw(name, tint, report))
            .filter(|line| !line.points.is_empty())
            .collect()
    };
    let by_second = |figure: fn(&Second) -> Option<f64>| {
        lines(&move |name, tint, report| series(name, tint, report, figure))
    };
    let seconds = Axis { scale: Scale::Linear, name: "seconds of measuring", format: &plain };
    let per_second = Axis { scale: Scale::Linear, name: "", format: &plain };
    let memory = Axis { scale: Scale::Binary, name: "", format: &bytes };
    let resident = by_second(|second| second.server_resident_bytes.map(|bytes| bytes as f64));
    let mut kinds: Vec<_> =
        before.iter().chain(after).flat_map(|report| &report.readers).map(|readers| &readers.kind).collect();
    kinds.sort();
    kinds.dedup();
    let body = html! {
        h1 { "Comparison of runs" }
        @for (name, _, reports, files) in &sides {
            p { b { (name) } " " (files.join(", ")) }
            @for report in *reports {
                p.soft { (report.scenario.name) " at " (report.scenario.server) ", " (moment(report.started_ns)) }
            }
        }
        @let (is_worse, is_refused) = (comparison.is_worse, comparison.refused.is_some());
        .verdict.good[!is_worse && !is_refused].bad[is_worse].doubt[is_refused] { b { (comparison.conclusion()) } }
        @for caution in &comparison.cautions { p.doubt { "Caution: " (caution) } }
        .pictures {
            figure.wide {
                figcaption { b { "Change from A to B" } " Of the medians, with intervals where there are some; up to ±100 %. Lines at 0 and at the bound." }
                (changes(&judged, comparison.worse_by))
            }
            (curves("Percentiles of latency", "One line for each run; both axes logarithmic.", &lines(&|name, tint, report| curve(name, tint, &report.latency))))
            (times("p50 over time", "By second; logarithmic.", &by_second(|second| Some(second.p50_ns as f64)), &[]))
            (times("p99 over time", "By second; logarithmic.", &by_second(|second| Some(second.p99_ns as f64)), &[]))
            (chart::lines("Throughput over time", "Records delivered in each second.", &seconds, &per_second, &by_second(|second| Some(second.records as f64)), &[]))
            @if !resident.is_empty() { (chart::lines("Memory of the server", "Resident.", &seconds, &memory, &resident, &[])) }
            @for kind in kinds.iter().filter(|kind| kind.as_str() != "prompt") {
                @let ages = lines(&|name, tint, report| series(name, tint, report, |second| second.ages.get(kind.as_str()).map(|age| age.p99_ns as f64)));
                @if !ages.is_empty() { (times(&format!("p99 of age at {kind} readers"), "By second; logarithmic.", &ages, &[])) }
            }
        }
        h2 { "Figures" }
        .scroll { table {
            tr { th { "" } th { "A: median (range)" } th { "B: median (range)" } th.right { "change" } th { "interval, or other grounds" } th { "" } }
            @for found in &comparison.differences {
                tr {
                    td { (found.name) } td { (found.before.show(found.unit)) } td { (found.after.show(found.unit)) }
                    td.right { (found.change_text()) } td { (found.grounds_text()) }
                    td { b.good[found.judgement == Judgement::Better].bad[found.judgement == Judgement::Worse] { (found.judgement.name()) } }
                }
            }
        } }
        @if !comparison.broken_assertions.is_empty() {
            h2 { "Broken assertions" }
            @for broken in &comparison.broken_assertions { p { (broken.text()) } }
        }
        p.soft { "“Ranks of runs”: quotients of all pairs of runs, cut by the exact distribution of Mann and Whitney's U. “Bootstrap of seconds”: circular blocks of neighbouring seconds, 2,000 times; it knows nothing of how runs differ. “Gross”: no interval, at least twice as much or as little with no second of one side among the other's, or three times where there are only whole runs. Figures without a judgement are parts of those that have one, or hang on few records." }
    };
    document("Comparison of runs", &body)
}

fn changes(judged: &[&Difference], worse_by: f64) -> maud::Markup {
    let drawn = |change: f64| change.clamp(-CHANGE_DRAWN_MAX, CHANGE_DRAWN_MAX) * 100.0;
    let found: Vec<_> = judged.iter().filter_map(|found| Some((found, found.change?))).collect();
    let names: Vec<_> = found.iter().map(|(found, _)| found.name.clone()).collect();
    let bars = found.iter().enumerate().map(|(row, (found, change))| Bar {
        row,
        slot: (0, 1),
        tint: usize::from(found.judgement == Judgement::Worse),
        shape: Shape::Interval(
            drawn(*change),
            found.interval.map(|interval| (drawn(interval.low), drawn(interval.high))),
        ),
    });
    let axis = Axis { scale: Scale::Linear, name: "change", format: &|change| format!("{change:+} %") };
    let rules = [-drawn(worse_by), 0.0, drawn(worse_by)];
    chart::rows(900, &names, &axis, &bars.collect::<Vec<_>>(), &rules)
}

#[cfg(test)]
mod tests {
    use super::super::compare;
    use super::*;
    use crate::report::model::tests::sample;

    #[test]
    fn both_sides_are_drawn_and_texts_stay_texts() {
        let hostile = "<script>alert(1)</script>";
        let mut after = sample();
        after.readers[1].kind = hostile.to_owned();
        after.scenario.server = hostile.to_owned();
        after.latency.summary.p99_ns *= 4;
        after.verdicts[0].held = false;
        let (before, after) = (vec![sample(); 3], vec![after; 3]);
        let mut comparison = compare(&before, &after, 0.1);
        comparison.after = vec![hostile.to_owned()];
        let page = page(&comparison, &before, &after);
        assert!(!page.contains("<script"), "a text became markup");
        assert!(page.contains("B is worse than A by more than 10 %: latency.p99, assertions broken"));
        assert!(page.contains("latency.p99: A no run; B run 1 (2.97ms"));
        for title in [
            "Change from A to B",
            "Percentiles of latency",
            "p99 over time",
            "Throughput over time",
            "Memory of the server",
        ] {
            let (_, after) =
                page.split_once(&format!("<b>{title}</b>")).unwrap_or_else(|| panic!("no {title}"));
            assert!(after.split_once("</figure>").unwrap().0.contains("<svg"), "{title} is not drawn");
        }
        let (_, over_time) = page.split_once("<b>p99 over time</b>").unwrap();
        let (figure, _) = over_time.split_once("</figure>").unwrap();
        for tint in ["#0072B2", "#D55E00"] {
            let lines = figure.lines().filter(|line| line.contains("polyline") && line.contains(tint));
            assert_eq!(lines.count(), 3, "three runs in {tint}");
        }
    }
}
