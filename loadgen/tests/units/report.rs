//! The model of a report, its files, and what is computed for it.

mod cautions;
mod content;
mod metric;
mod sample;
mod verdict;

use tickwire_measure::Latencies;

use super::model::{Latency, Report};
use super::{median, slope};
pub(crate) use sample::sample;

#[test]
fn json_is_read_back_as_it_was() {
    let report = sample();
    let read: Report = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!(read, report);
}

#[test]
fn what_is_missing_or_unknown_does_not_hinder_reading() {
    let read: Report = serde_json::from_str(r#"{"format":1,"later":{"x":1}}"#).unwrap();
    assert_eq!(read, Report { format: 1, ..Report::default() });
}

/// Field names stand in files that people keep.
#[test]
fn cautions_are_read_and_written_under_their_old_name() {
    let read: Report = serde_json::from_str(r#"{"format":1,"generator":{"doubts":["late"]}}"#).unwrap();
    assert_eq!(read.generator.cautions, ["late"]);
    assert!(read.to_json().contains(r#""doubts": ["#));
}

#[test]
fn all_files_are_there_and_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let report = sample();
    report.write(directory.path()).unwrap();
    assert_eq!(Report::load(&directory.path().join("report.json")).unwrap(), report);
    let text = std::fs::read_to_string(directory.path().join("latency.hgrm")).unwrap();
    assert!(text.contains("1/(1-Percentile)") && text.contains("#[Total count    =         2901]"), "{text}");
    let last = text.lines().rfind(|line| line.contains("1.000000000000")).unwrap();
    assert!(last.trim_start().starts_with("3.0"), "{last}");
    assert!(directory.path().join("age-throttled.hgrm").is_file());
}

#[test]
fn a_leak_has_a_slope() {
    let line = (0..10).map(|at| (f64::from(at), 100.0 + 3.0 * f64::from(at)));
    assert!((slope(line) - 3.0).abs() < 1e-9);
    assert!(slope([(1.0, 5.0), (2.0, 9.0)].into_iter()) == 0.0);
    assert!(slope([(1.0, 5.0); 3].into_iter()) == 0.0);
}

#[test]
fn medians_of_odd_and_even() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    assert_eq!(median(&[]), None);
}

#[test]
fn a_curve_ends_at_the_last_value() {
    let mut latencies = Latencies::default();
    for ms in 1..=1000 {
        latencies.record(5, 5 + ms * 1_000_000);
    }
    let read = Latency::from(latencies.clone());
    assert_eq!((read.summary, read.hdr), (latencies.summary(), latencies.to_hdr()));
    assert!(read.curve.windows(2).all(|two| two[0].q <= two[1].q && two[0].count <= two[1].count));
    assert_eq!(read.curve.last().map(|point| (point.q, point.count)), Some((1.0, 1000)));
    assert_eq!(Latency::from(Latencies::default()), Latency::default());
}
