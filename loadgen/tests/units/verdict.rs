//! Assertions.

use super::super::model::{Noted, Report, Second};
use super::super::verdict::verdicts;
use super::sample;

#[track_caller]
fn check(bounds: &str, change: impl FnOnce(&mut Report), broken: &[&str]) {
    let scenario = crate::scenario::tests::scenario(bounds);
    let mut report = sample();
    change(&mut report);
    let verdicts = verdicts(&report, &scenario);
    let names: Vec<_> =
        verdicts.iter().filter(|verdict| !verdict.held).map(|verdict| &*verdict.name).collect();
    assert_eq!(names, broken);
}

#[test]
fn every_assertion_can_hold_and_break() {
    check("", |_| {}, &[]);
    check("[assert.latency]\np50 = \"5ms\"\np99 = \"8ms\"\nmax = \"1s\"", |_| {}, &[]);
    check(
        "[assert.latency]\np50 = \"1ms\"\np99 = \"2ms\"\nmax = \"2ms\"",
        |_| {},
        &["latency.p50", "latency.p99", "latency.max"],
    );
    check("[assert.age.throttled]\np50 = \"10ms\"\np99 = \"100ms\"", |_| {}, &["age.throttled.p50"]);
    check("[assert.age.stalled]\nmax = \"1h\"", |_| {}, &["age.stalled.max"]);
    check("[assert.hop.read-decoded]\nmax = \"1us\"", |_| {}, &["hop.read-decoded.max"]);
    check("[assert]\ndelivered_share = 0.999\ndeliveries_per_second = 24000", |_| {}, &["delivered_share"]);
    check("[assert]\nconflated_share = 0.001\nlost = 0\ndropped = 0", |_| {}, &["conflated_share"]);
    check(
        "[assert]\ngrowth_kib_per_second = 3\ncpu_seconds_per_million = 13",
        |_| {},
        &["growth_kib_per_second"],
    );
    check("[assert]\nresident_mib = 10\nkib_per_session = 9", |_| {}, &["resident_mib"]);
    check("[assert]\nresident_mib = 10", |report| report.server = None, &["resident_mib"]);
}

/// The sample's memory grows by 4 KiB/s, its logs as well; here, by 100 in the first 30 s.
fn growing(report: &mut Report) {
    let memory = |at: u64| (40 << 20) + 100 * 1024 * at.min(30) + 1024 * at.saturating_sub(30);
    let second = report.series[0].clone();
    let seconds = (1..=60_u64).map(|at| Second {
        at: at as f64,
        server_resident_bytes: Some(memory(at)),
        ..second.clone()
    });
    (report.series, report.seconds) = (seconds.collect(), 60.0);
}

#[test]
fn growth_counts_from_when_what_is_bounded_is_full() {
    let bound = "[assert]\ngrowth_kib_per_second = 2\n";
    check(bound, growing, &["growth_kib_per_second"]);
    check(&format!("{bound}growth_after = \"30s\""), growing, &[]);
    check(&format!("{bound}growth_after = \"20s\""), growing, &["growth_kib_per_second"]);
    check(
        &format!("{bound}growth_after = \"30s\""),
        |report| report.server = None,
        &["growth_kib_per_second"],
    );
}

#[track_caller]
fn check_growth(fields: &str, change: fn(&mut Report), held: bool, hint: &str) {
    let scenario = crate::scenario::tests::scenario(&format!("assert.growth_kib_per_second = 2\n{fields}"));
    let mut report = sample();
    change(&mut report);
    let verdicts = verdicts(&report, &scenario);
    let found = verdicts.iter().find(|verdict| verdict.name == "growth_kib_per_second").unwrap();
    assert_eq!(found.held, held, "{found:?}");
    assert!(found.hint.as_ref().unwrap().contains(hint), "{found:?}");
}

#[test]
fn growth_that_is_not_judged_or_that_logs_explain_is_named() {
    check_growth("", |_| {}, false, "logs of recent records grew by 4.0 KiB/s");
    check_growth("assert.growth_after = \"50s\"", growing, true, "60 s were measured");
}

#[track_caller]
fn check_window(fields: &str, held: bool, limit: &str, hint: Option<&str>) {
    let scenario = crate::scenario::tests::scenario(&format!("{fields}\n[assert.latency]\np50 = \"1ms\"\n"));
    let verdicts = verdicts(&sample(), &scenario);
    let found = verdicts.iter().find(|verdict| verdict.name == "latency.p50").unwrap();
    assert_eq!((found.held, found.limit.as_str()), (held, limit));
    match (hint, &found.hint) {
        (Some(part), Some(hint)) => assert!(hint.contains(part), "{hint}"),
        (expected, found) => assert_eq!(expected, found.as_deref()),
    }
}

/// p50 of the sample is 1.5 ms.
#[test]
fn a_window_that_was_asked_for_is_allowed_for_or_named() {
    let window = "sessions.window = \"16ms\"";
    check_window("", false, "at most 1.000 ms", None);
    check_window(window, false, "at most 1.000 ms", Some("window of 16.000 ms"));
    check_window("sessions.max_rate = 10", false, "at most 1.000 ms", Some("up to 100.000 ms"));
    let beyond = format!("{window}\nassert.beyond_window = true");
    check_window(&beyond, true, "at most 17.000 ms (1.000 ms beyond the window of 16.000 ms)", None);
}

#[test]
fn what_every_scenario_asserts() {
    let broken = |rule: &'static str| {
        move |report: &mut Report| {
            report.checks.broken.insert(rule.to_owned(), Noted { count: 1, first: Vec::new() });
        }
    };
    check("", broken("lost"), &["broken.lost"]);
    check("", broken("final"), &["broken.final"]);
    check("", |report| report.sessions.ended_early.count = 2, &["sessions.ended_early"]);
    check("[assert]\nended_early = 2", |report| report.sessions.ended_early.count = 2, &[]);
    check("", |report| report.sessions.not_opened.count = 1, &["sessions.not_opened"]);
}
