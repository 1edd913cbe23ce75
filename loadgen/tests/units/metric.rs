//! Metrics: what is listed of a report.

use super::super::metric::{Unit, charts, metrics, unit_of};
use super::sample;

#[test]
fn a_field_tells_its_unit() {
    for (field, expected) in [
        ("p99_ns", Unit::Nanoseconds),
        ("delivered_share", Unit::Share),
        ("machine_busy", Unit::Share),
        ("resident_bytes_max", Unit::Bytes),
        ("pid", Unit::Name),
        ("records_per_second", Unit::Number),
    ] {
        assert_eq!(unit_of(field), expected, "{field}");
    }
}

#[test]
fn every_metric_has_one_name_and_the_sample_has_it() {
    let report = sample();
    let all = metrics(&[&report]);
    let mut names: Vec<_> = all.iter().map(|metric| metric.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all.len());
    for name in
        ["latency.p99", "hop.read-decoded.max", "age.throttled.p50 by second", "lost", "server.memory_max"]
    {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    let charts = charts(&[&report]);
    let is_read = |chart: &super::super::metric::Chart| {
        chart.series.iter().all(|series| report.series.iter().all(|second| (series.read)(second).is_some()))
    };
    assert_eq!((charts.len(), charts.iter().all(is_read)), (9, true));
}
