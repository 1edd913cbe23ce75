//! The report for people, as a terminal has it.

use super::super::model::{Latency, Report, SaturationStep, Verdict};
use super::sample;

#[track_caller]
fn check(report: &Report, parts: &[&str]) {
    let text = report.document().to_text();
    for part in parts {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn it_says_what_a_reader_looks_for() {
    let mut report = sample();
    report.sessions.reconnects = 3;
    check(
        &report,
        &[
            "dashboard (my.toml) at Tickwire\n",
            "Began 2026-01-05T14:30:00Z, measured 20.0 s",
            "url ws://127.0.0.1:7400/v1/stream",
            "records per second 25,000",
            "delivered share 99.8 %",
            "age at throttled readers (50)",
            "cpu seconds per million 12.4",
            "source cpu seconds 0.40",
            "shard-0 5.10, hub 1.10 CPU seconds",
            "1,002 of 501,002 due: latency and age are of those that came",
            "1,000 conflated (a newer value took the place), 3 reconnects",
            "(1 in 8 records)",
            "(all records)",
            "read → decoded is not in intended → read",
            "machine busy others 2.00 %",
            "rustc 2 %, process 99",
            "shed: announced 2, numbers 40",
            "gateway restarted",
            "passed: 1 assertion holds: latency.p99",
        ],
    );
    let text = report.document().to_text();
    assert!(!text.contains("lossless") && !text.contains("name = "), "{text}");
    // By the ledgers of the sample, 499 of 500.
    let ledger = text.lines().find(|line| line.starts_with(" throttled ")).unwrap();
    let cells: Vec<_> = ledger.split_whitespace().collect();
    assert_eq!(cells, ["throttled", "25,000", "500,000", "499,000", "1,000", "0", "0", "99.8", "%", "exact"]);
}

#[test]
fn channels_of_slow_readers_are_told_apart_and_nothing_measured_is_no_time() {
    let mut report = sample();
    let age = report.latency.clone();
    report.readers[1].by_channel = ["quote", "trade"].map(|name| (name.to_owned(), age.clone())).into();
    check(&report, &["   of channel trade  ", "\ntrade: lossless, so that at slow"]);
    report.readers[1].age = Latency::default();
    let text = report.document().to_text();
    let line = text.lines().find(|line| line.contains("age at throttled readers (50)")).unwrap();
    assert_eq!(line.split_whitespace().skip(5).collect::<Vec<_>>(), ["0", "–", "–", "–", "–"]);
}

#[test]
fn the_outcome_is_the_last_line_and_names_what_holds_and_what_does_not() {
    let mut report = sample();
    let named = |name: &str| Verdict { name: name.to_owned(), held: true, ..Verdict::default() };
    report.verdicts = ["broken.lost", "broken.order", "latency.p99", "delivered_share"].map(named).to_vec();
    let ends = |report: &Report, expected: &str| {
        let text = report.document().to_text();
        assert!(text.ends_with(expected), "{text}");
    };
    ends(&report, "\npassed: 4 assertions hold: nothing broken (lost, order), latency.p99, delivered_share");
    report.verdicts.truncate(1);
    ends(&report, "\npassed: 1 assertion holds: nothing broken (lost)");
    report.verdicts = sample().verdicts;
    report.verdicts[0].hint = Some("the window is in it".to_owned());
    check(&report, &["NOT JUDGED: latency.p99 is 2.97ms; the window is in it"]);
    (report.verdicts[0].held, report.passed) = (false, false);
    let expected = "BROKEN: latency.p99 is 2.97ms, and has to be at most 8ms\n  the window is in it\nFAILED: 1 of 1 assertions broken";
    ends(&report, expected);
    report.refused = Some("too slow".to_owned());
    report.generator.cautions = vec!["it read late".to_owned()];
    ends(&report, "\nNO VERDICT: too slow");
    check(&report, &["\ncaution: it read late\n"]);
}

#[test]
fn every_rate_that_was_tried_is_named() {
    let mut report = sample();
    let step = |rate, held, reason: &str| SaturationStep {
        updates_per_second: rate,
        deliveries_per_second: rate * 10.0,
        delivered_share: 0.995,
        p99_ns: 4_200_000,
        held,
        reason: reason.to_owned(),
        ..SaturationStep::default()
    };
    report.saturation.as_mut().unwrap().steps =
        vec![step(100.0, true, ""), step(200.0, false, "p99 of 134.0 ms is above 100.0 ms")];
    let text = report.document().to_text();
    let line = |rate: &str| {
        let found = text.lines().find(|line| line.trim_start().starts_with(rate)).unwrap();
        found.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("100 "), "100 1,000 99.5 % 0.00 µs 4.20 ms 0.00 µs – yes");
    assert!(line("200 ").ends_with("– no p99 of 134.0 ms is above 100.0 ms"), "{text}");
    check(&report, &["limited by p99 134ms is above 100ms"]);
}

/// A field that is added to the model shows without another line of code.
#[test]
fn every_value_of_the_model_has_a_name_and_a_value() {
    let text = sample().document().to_text();
    for part in ["machine", "versions", "sessions", "flow", "server"] {
        let all = serde_json::to_value(sample()).unwrap();
        for (field, value) in all[part].as_object().unwrap() {
            let label = field.trim_end_matches("_ns").replace('_', " ");
            assert!(
                !(value.is_number()) || text.contains(&format!("{label} ")),
                "{part}.{field} is not in\n{text}"
            );
        }
    }
}
