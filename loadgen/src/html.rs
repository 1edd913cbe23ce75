//! A report as a page for a browser: one file, nothing loaded from elsewhere.
//!
//! Every text goes through Maud or Plotters, and both escape it. The page forbids the browser to load anything or to run
//! scripts, so that a report from elsewhere can be looked at without care.

pub(crate) mod chart;
pub(crate) mod pictures;
pub(crate) mod quantity;
pub(crate) mod tables;

use std::path::Path;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::HtmlOptions;
use crate::output;
use crate::report::model::Report;

/// Writes the page; returns where it is, or the page itself where it goes to `-`.
///
/// # Errors
/// When the file is no report, or the page cannot be written.
pub(crate) fn run(options: &HtmlOptions) -> anyhow::Result<String> {
    let report = Report::load(&options.report)?;
    if options.out == Path::new("-") {
        return Ok(page(&report));
    }
    output::write(&options.out, &page(&report))?;
    Ok(format!("wrote {}", options.out.display()))
}

/// One run.
pub(crate) fn page(report: &Report) -> String {
    let scenario = &report.scenario;
    let body = html! {
        h1 { (scenario.title()) " " span.soft { "at " (scenario.server) } }
        p { (scenario.about) }
        p.soft { "Began " (moment(report.started_ns)) ", measured " (format!("{:.1}", report.seconds)) " s" }
        (outcome(report))
        (tables::tiles(report))
        h2 { "Assertions" } (tables::verdicts(report))
        h2 { "Latency" }
        .pictures { (pictures::latency(report)) }
        (tables::latencies(report))
        @if !report.events.is_empty() { (tables::events(report)) }
        h2 { "Throughput" } .pictures { (pictures::flow(report)) }
        @if let Some(pictures) = pictures::slow_readers(report) {
            h2 { "Slow readers" } .pictures { (pictures) }
        }
        @if let (Some(picture), Some(table)) = (pictures::saturation(report), tables::saturation(report)) {
            h2 { "Saturation" } .pictures { (picture) } (table)
        }
        h2 { "Ledger and order" } (tables::ledger(report))
        h2 { "Server" }
        .pictures { (pictures::server(report)) }
        @match tables::server(report) {
            Some(table) => (table),
            None => p.soft { "The server's process is not known; --server-pid or --spawn tells it." },
        }
        h2 { "Plan" } (tables::plan(report))
        h2 { "Machine" } (tables::machine(report))
    };
    document(&format!("{} at {}", scenario.title(), scenario.server), &body)
}

fn outcome(report: &Report) -> Markup {
    let broken = report.verdicts.iter().filter(|verdict| !verdict.held).count();
    html! {
        @match &report.refused {
            Some(reason) => .verdict.doubt { b.doubt { "No verdict" } ": " (reason) },
            None if report.passed => .verdict.good { b.good { "Passed" } ": " (report.verdicts.len()) " assertions hold" },
            None => .verdict.bad { b.bad { "Failed" } ": " (broken) " of " (report.verdicts.len()) " assertions are broken" },
        }
        @for doubt in &report.generator.doubts { p.doubt { "Doubt: " (doubt) } }
    }
}

/// Of nanoseconds of the Unix epoch.
pub(crate) fn moment(ns: u64) -> String {
    let whole_seconds = OffsetDateTime::from_unix_timestamp((ns / 1_000_000_000) as i64);
    whole_seconds.ok().and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_else(|| format!("{ns} ns"))
}

/// A whole page.
pub(crate) fn document(title: &str, body: &Markup) -> String {
    let policy = "default-src 'none'; style-src 'unsafe-inline'";
    let style = format!("{}{}", include_str!("html/style.css"), chart::style());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width,initial-scale=1";
                title { (title) }
                style { (PreEscaped(style)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::sample;
    use crate::report::model::{Noted, SessionAccount};

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
            let (_, after) =
                page.split_once(&format!("<b>{title}</b>")).unwrap_or_else(|| panic!("no {title}"));
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
        report.generator.doubts = vec![hostile()];
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
}
