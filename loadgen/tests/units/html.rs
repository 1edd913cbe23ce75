//! Pages and pictures.

use super::pictures::curve;
use crate::report::model::{Noted, Report, SessionAccount};
use crate::report::tests::sample;

fn page(report: &Report) -> String {
    super::page(&report.document())
}

#[test]
fn the_page_has_every_picture_and_table() {
    let page = page(&sample());
    for title in [
        "Percentiles of latency",
        "Latency over time",
        "Where the time goes",
        "Throughput over time",
        "Bytes over time",
        "Offered updates",
        "Sessions",
        "Pressure",
        "Age at throttled readers over time",
        "Percentiles of age",
        "Latency by rate",
        "Memory of the server",
        "CPU",
    ] {
        let (_, after) = page.split_once(&format!("<b>{title}</b>")).unwrap_or_else(|| panic!("no {title}"));
        let (figure, _) = after.split_once("</figure>").unwrap();
        assert!(figure.contains("<svg"), "{title} is not drawn:\n{figure}");
    }
    for text in [
        "gateway_write → read",
        "latency.p99",
        "at most 8ms",
        "25,000",
        "exact",
        "gateway restarted",
        "2026-01-05T14:30:00Z",
        "shard-0",
        "a processor",
        "name = &quot;dashboard&quot;",
        "p99 134ms is above 100ms",
    ] {
        assert!(page.contains(text), "{text} is not on the page");
    }
    // Lines: 4 latencies by second, 20 seconds each, and the hops' bars.
    let (_, over_time) = page.split_once("Latency over time").unwrap();
    let (figure, _) = over_time.split_once("</figure>").unwrap();
    let lines: Vec<_> = figure.lines().filter(|line| line.contains("stroke-width=\"2\"")).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines.iter().all(|line| line.matches(',').count() == 20), "{lines:?}");
}

#[test]
fn hostile_texts_stay_texts() {
    let hostile = || "</svg></style><script>alert(1)</script>\"'&<img src=x>".to_owned();
    let noted = || Noted { count: 1, first: vec![hostile()] };
    let mut report = sample();
    report.refused = Some(hostile());
    report.scenario.name = hostile();
    report.scenario.about = hostile();
    report.scenario.text = hostile();
    report.scenario.url = hostile();
    report.scenario.server = hostile();
    report.machine.cpu = hostile();
    report.versions.server = hostile();
    report.generator.cautions = vec![hostile()];
    report.events[0].text = hostile();
    report.hops[0].from = hostile();
    report.readers[1].kind = hostile();
    report.verdicts[0].measured = hostile();
    report.checks.broken.insert(hostile(), noted());
    report.checks.sessions = vec![SessionAccount { reader: hostile(), ..SessionAccount::default() }];
    report.sessions.ended_early = noted();
    report.by_channel.insert(hostile(), report.latency.clone());
    report.saturation.as_mut().unwrap().limited_by = hostile();
    for second in &mut report.series {
        let age = second.ages["throttled"];
        second.ages.insert(hostile(), age);
    }
    let page = page(&report);
    assert!(!page.contains("<script") && !page.contains("<img"), "a text became markup");
    assert_eq!(page.matches("</style>").count(), 1);
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(page.matches("&lt;script&gt;").count() >= 18);
}

#[test]
fn the_page_loads_nothing() {
    let page = page(&sample());
    assert!(page.contains("default-src 'none'"));
    let page = page.replace("http://www.w3.org/2000/svg", "").replace("http-equiv", "");
    for word in ["http:", "https:", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(word), "{word}");
    }
}

#[test]
fn an_empty_report_is_a_page_too() {
    let page = page(&Report::default());
    assert!(page.contains("Nothing was measured.") && page.contains("--server-pid"), "{page}");
}

#[test]
fn a_curve_ends_at_the_maximum() {
    let report = sample();
    let line = curve("all", 0, &report.latency);
    let (nines, ns) = *line.points.last().unwrap();
    assert_eq!((nines, ns), (report.latency.summary.count as f64, report.latency.summary.max_ns as f64));
    assert!(line.points.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 <= two[1].1));
}
