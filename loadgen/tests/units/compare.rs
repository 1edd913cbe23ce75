//! Comparisons.

mod statistics;

use std::path::PathBuf;

use super::cautions::cautions;
use super::*;
use crate::report::tests::sample;

/// Returns the text as a terminal has it; pictures are not in it, and so no run is needed.
fn said(comparison: &Comparison) -> String {
    comparison.document([&[], &[]]).to_text()
}

#[track_caller]
fn check(before: &[Report], after: &[Report], expected: &[&str]) -> Comparison {
    let comparison = compare([before, after], 0.1);
    let worse = comparison.differences.iter().filter(|found| found.judgement == Judgement::Worse);
    let worse: Vec<_> = worse.map(|found| found.name.as_str()).collect();
    assert_eq!(worse, expected, "{}", said(&comparison));
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
fn a_worse_metric_is_named() {
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
    let text = said(&comparison);
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
        let comparison = compare([&side(before), &side(after)], 0.1);
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

/// Makes a run of a few seconds, with latencies and rates in each.
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
    let text = said(&judged);
    for part in ["short runs (4 s)", "no interval: 4 s of 10", "not shown to be worse"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let grown = short([2000, 1900, 880, 1500], [1000; 4]);
    let text = said(&check(&[calm()], std::slice::from_ref(&grown), &["latency.p50 by second"]));
    assert!(text.contains("latency.p50 by second (4.5 times, no interval)"), "{text}");
    assert!(text.contains("gross: 4.5 times, no second among the other's"), "{text}");
    let better = compare([&[grown], &[calm()]], 0.1);
    assert!(!better.is_worse && said(&better).contains("better: latency.p50 by second"));
    // One second as before, and it may be chance.
    check(&[calm()], &[short([2000, 1900, 420, 1500], [1000; 4])], &[]);
    check(&[calm()], &[short([340, 430, 360, 400], [480; 4])], &["deliveries by second"]);
    // Who allows more is not told of less.
    assert!(!compare([&[calm()], &[short([2000; 4], [1000; 4])]], 5.0).is_worse);
}

#[test]
fn what_limits_trust_is_said() {
    let mut after = sample();
    after.machine.cores = 64;
    after.scenario.text = "other".to_owned();
    let mut before = sample();
    before.generator.cautions.push("all processors were 99 % busy".to_owned());
    after.readers.truncate(1);
    let comparison = check(&[before], &[after], &[]);
    let text = comparison.cautions.join("\n");
    for part in [
        "few runs (1 and 1)",
        "A run 1: all processors were 99 % busy",
        "differ in more than their results: machine (",
        "; words of the scenario",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let absent = comparison.differences.iter().find(|found| found.name == "age.throttled.p50").unwrap();
    assert_eq!((absent.judgement, absent.before.runs, absent.after.runs), (Judgement::Absent, 1, 0));
    assert!(compare([&vec![sample(); 4], &vec![sample(); 4]], 0.1).cautions.is_empty());
}

fn with_cautions(texts: &[&str]) -> Report {
    let mut report = sample();
    report.generator.cautions = texts.iter().map(|text| (*text).to_owned()).collect();
    report
}

#[test]
fn a_kind_of_caution_is_one_line_that_names_its_runs() {
    let before = [
        with_cautions(&["all processors were 93 % busy", "it read up to 5.5 ms late (p99)"]),
        with_cautions(&[]),
        with_cautions(&["all processors were 99 % busy"]),
    ];
    let after = vec![with_cautions(&["it read up to 12.0 ms late (p99)"]); 3];
    let mut found = cautions([&before, &after]);
    assert!(found.remove(0).starts_with("few runs (3 and 3)"));
    assert_eq!(
        found,
        [
            "A run 1, 3: all processors were 93 to 99 % busy",
            "A run 1; B all 3 runs: it read up to 5.5 to 12.0 ms late (p99)",
        ]
    );
}

#[test]
fn all_that_differs_is_one_line() {
    let mut after = sample();
    (after.machine.cores, after.sessions.asked, after.scenario.text) = (64, 7, "other".to_owned());
    let found = cautions([&vec![sample(); 4], &vec![after; 4]]);
    assert_eq!(found.len(), 1, "{found:?}");
    for part in ["number of sessions (500 and 7)", "machine (", "64 × ", "; words of the scenario"] {
        assert!(found[0].contains(part), "{part} is not in {}", found[0]);
    }
    assert_eq!(cautions([&vec![sample(); 4], &vec![sample(); 4]]), [""; 0]);
}

#[track_caller]
fn check_range(first: &str, second: &str, expected: &str) {
    let found = cautions([&vec![with_cautions(&[first]); 4], &vec![with_cautions(&[second]); 4]]);
    assert_eq!(found, [format!("A all 4 runs; B all 4 runs: {expected}")]);
}

#[test]
fn numbers_are_told_from_words() {
    check_range("none", "none", "none");
    check_range(
        "a thread took 93 % of a core. 7 of 8.",
        "a thread took 9 % of a core. 7 of 8.",
        "a thread took 9 to 93 % of a core. 7 of 8.",
    );
    check_range(
        "up to 5.25 ms (p99), v1.2 → 3",
        "up to 5.5 ms (p99), v1.2 → 30",
        "up to 5.25 to 5.5 ms (p99), v1.2 → 3 to 30",
    );
}

fn began(started_ns: u64, seed: u64, url: &str) -> Report {
    let mut report = sample();
    report.started_ns = started_ns;
    report.scenario.seed = seed;
    report.scenario.url = url.to_owned();
    report
}

#[track_caller]
fn check_named(reports: &[Report], expected: Option<&str>) {
    let files: Vec<_> = (1..=reports.len()).map(|at| PathBuf::from(format!("{at}.json"))).collect();
    let outcome = check_independent(&files.iter().collect::<Vec<_>>(), &reports.iter().collect::<Vec<_>>());
    let error = outcome.err().map(|error| error.to_string());
    match (expected, &error) {
        (Some(part), Some(error)) => assert!(error.contains(part), "{part} is not in: {error}"),
        (expected, found) => assert_eq!(expected, found.as_deref()),
    }
}

#[test]
fn a_run_is_known_by_when_where_and_with_which_seed_it_began() {
    let a = || began(5, 1, "ws://a/");
    check_named(&[a(), began(6, 1, "ws://a/"), began(5, 2, "ws://a/"), began(5, 1, "ws://b/")], None);
    // As somebody who renames it, or formats it, or takes something out of it, has it.
    let mut edited = a();
    edited.machine.cpu = "?".to_owned();
    check_named(&[a(), began(6, 1, ""), edited], Some("1.json and 3.json (the run of dashboard (my.toml)"));
    check_named(&[a(), began(6, 1, ""), a(), began(6, 1, "")], Some("; 2.json and 4.json"));
    let old = |p99_ns| {
        let mut report = began(0, 1, "");
        report.latency.summary.p99_ns = p99_ns;
        report
    };
    check_named(&[old(1), old(2)], None);
    check_named(&[old(1), old(2), old(1)], Some("1.json and 3.json"));
}

#[test]
fn both_sides_are_drawn_and_texts_stay_texts() {
    let hostile = "<script>alert(1)</script>";
    let mut after = sample();
    after.readers[1].kind = hostile.to_owned();
    after.scenario.server = hostile.to_owned();
    after.latency.summary.p99_ns *= 4;
    after.verdicts[0].held = false;
    let (before, after) = (vec![sample(); 3], vec![after; 3]);
    let mut comparison = compare([&before, &after], 0.1);
    comparison.after = vec![hostile.to_owned()];
    let page = html::page(&comparison.document([&before, &after]));
    assert!(!page.contains("<script"), "a text became markup");
    assert!(page.contains("B is worse than A by more than 10 %: latency.p99, assertions broken"));
    assert!(page.contains("latency.p99: A no run; B run 1 (2.97ms"));
    for title in [
        "Change from A to B",
        "Percentiles of latency",
        "latency.p99 by second",
        "deliveries by second",
        "server.memory by second",
    ] {
        let (_, after) = page.split_once(&format!("<b>{title}</b>")).unwrap_or_else(|| panic!("no {title}"));
        assert!(after.split_once("</figure>").unwrap().0.contains("<svg"), "{title} is not drawn");
    }
    let (_, over_time) = page.split_once("<b>latency.p99 by second</b>").unwrap();
    let (figure, _) = over_time.split_once("</figure>").unwrap();
    for tint in ["#0072B2", "#D55E00"] {
        let lines = figure.lines().filter(|line| line.contains("polyline") && line.contains(tint));
        assert_eq!(lines.count(), 3, "three runs in {tint}");
    }
}

#[test]
fn columns_are_no_wider_than_what_is_in_them_and_counts_are_whole() {
    let mut after = sample();
    after.checks.lost = 1;
    let text = said(&compare([&[sample()], &[after]], 0.1));
    let line = text.lines().find(|line| line.starts_with(" lost ")).unwrap();
    let cells: Vec<_> = line.split_whitespace().collect();
    assert_eq!(cells, ["lost", "0", "1", "–", "any", "more", "is", "worse", "WORSE"]);
    assert!(
        text.lines().filter(|line| !line.starts_with("caution")).all(|line| line.chars().count() < 130),
        "{text}"
    );
}
