//! Histograms.

use super::*;

const MS: u64 = 1_000_000;

/// Checks a value to within 0.1 % and a microsecond.
#[track_caller]
fn check(got: u64, expected: u64) {
    assert!(got.abs_diff(expected) <= expected / 1000 + 1000, "{got} is not {expected}");
}

fn of(range: std::ops::RangeInclusive<u64>) -> Latencies {
    let mut latencies = Latencies::default();
    for milliseconds in range {
        latencies.record(5, 5 + milliseconds * MS);
    }
    latencies
}

#[test]
fn quantiles_of_a_thousand_known_values() {
    let summary = of(1..=1000).summary();
    assert_eq!((summary.count, summary.backwards), (1000, 0));
    check(summary.min_ns, MS);
    check(summary.mean_ns, 500_500_000);
    check(summary.p50_ns, 500 * MS);
    check(summary.p90_ns, 900 * MS);
    check(summary.p99_ns, 990 * MS);
    check(summary.p999_ns, 999 * MS);
    check(summary.max_ns, 1000 * MS);
}

#[test]
fn merged_parts_are_the_whole() {
    let mut merged = of(1..=300);
    merged.merge(&of(301..=1000));
    assert_eq!(merged.summary(), of(1..=1000).summary());
}

#[test]
fn a_histogram_travels_as_text() {
    let mut latencies = of(1..=1000);
    latencies.record(7, 6);
    let sent = serde_json::to_value(&latencies).unwrap();
    assert_eq!(sent["hdr"], latencies.to_hdr());
    assert_eq!(serde_json::from_value::<Latencies>(sent).unwrap(), latencies);
    let nothing = Latencies::default();
    assert_eq!(
        serde_json::from_value::<Latencies>(serde_json::to_value(&nothing).unwrap()).unwrap(),
        nothing
    );
    let other = serde_json::json!({"hdr": "bm90aGluZw==", "backwards": 0});
    let error = serde_json::from_value::<Latencies>(other).unwrap_err().to_string();
    assert!(error.contains("not a histogram"), "{error}");
}

#[test]
fn one_stall_is_seen_at_the_top_and_not_at_the_median() {
    let mut latencies = of(1..=1);
    for _ in 0..998 {
        latencies.record(0, MS);
    }
    latencies.record(0, 5_000 * MS);
    let summary = latencies.summary();
    check(summary.p50_ns, MS);
    check(summary.p99_ns, MS);
    check(summary.max_ns, 5_000 * MS);
}

#[test]
fn times_that_run_backwards_are_counted_and_not_measured() {
    let mut latencies = Latencies::default();
    latencies.record(7, 6);
    assert_eq!(latencies.summary(), Summary { backwards: 1, ..Summary::default() });
    latencies.merge(&latencies.clone());
    assert_eq!(latencies.summary().backwards, 2);
}

#[test]
fn what_exceeds_the_range_counts_at_its_end() {
    let mut latencies = Latencies::default();
    latencies.record(0, u64::MAX);
    let summary = latencies.summary();
    assert_eq!(summary.count, 1);
    assert!(summary.max_ns >= HIGHEST.as_nanos() as u64, "{summary:?}");
}
