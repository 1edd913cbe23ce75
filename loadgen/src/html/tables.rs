//! The tables of one run's report.

use maud::{Markup, html};

use super::quantity::{bytes, count, number, percent, time};
use crate::latency::Summary;
use crate::processes::named;
use crate::report::model::{Accounts, Noted, Report};

/// Names and figures, two columns.
fn facts(facts: &[(&str, String)]) -> Markup {
    html! { .scroll { table { @for (name, figure) in facts { tr { th { (name) } td { (figure) } } } } } }
}

/// A head, and rows whose first cell is a name and whose others are figures.
pub(crate) fn table(caption: &str, head: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        .scroll { table {
            @if !caption.is_empty() { caption { (caption) } }
            tr { @for (at, name) in head.iter().enumerate() { th.right[at > 0] { (name) } } }
            @for row in rows {
                tr { @for (at, cell) in row.iter().enumerate() { td.right[at > 0] { (cell) } } }
            }
        } }
    }
}

pub(super) fn tiles(report: &Report) -> Markup {
    let summary = &report.latency.summary;
    let mut tiles = vec![
        ("delivered per second", number(report.flow.records_per_second)),
        ("p50", time(summary.p50_ns as f64)),
        ("p99", time(summary.p99_ns as f64)),
        ("p99.9", time(summary.p999_ns as f64)),
        ("max", time(summary.max_ns as f64)),
        ("sessions open", format!("{} of {}", count(report.sessions.opened), count(report.sessions.asked))),
    ];
    if let Some(server) = &report.server {
        tiles.push(("CPU seconds per million", number(server.cpu_seconds_per_million)));
        tiles.push(("server's memory at most", bytes(server.resident_bytes_max as f64)));
    }
    html! { .tiles { @for (name, figure) in tiles { div { b { (figure) } span.soft { (name) } } } } }
}

pub(super) fn verdicts(report: &Report) -> Markup {
    html! {
        .scroll { table {
            tr { th { "assertion" } th { "has to be" } th { "is" } th { "" } }
            @for verdict in &report.verdicts {
                tr {
                    td { (verdict.name) } td { (verdict.limit) }
                    td { (verdict.measured) @if let Some(hint) = &verdict.hint { " " span.soft { (hint) } } }
                    td { @if verdict.held && verdict.hint.is_some() { b { "not judged" } } @else if verdict.held { b.good { "holds" } } @else { b.bad { "BROKEN" } } }
                }
            }
        } }
    }
}

pub(super) fn latencies(report: &Report) -> Markup {
    let row = |name: String, summary: &Summary| {
        let times = [
            summary.min_ns,
            summary.p50_ns,
            summary.p90_ns,
            summary.p99_ns,
            summary.p999_ns,
            summary.p9999_ns,
            summary.max_ns,
        ];
        let mut row = vec![name, count(summary.count)];
        row.extend(times.map(|ns| if summary.count > 0 { time(ns as f64) } else { "–".to_owned() }));
        row
    };
    let mut rows = vec![row("intended → read".to_owned(), &report.latency.summary)];
    rows.extend(
        report.by_channel.iter().map(|(name, latency)| row(format!("channel {name}"), &latency.summary)),
    );
    for hop in &report.hops {
        let sampled = match (hop.sampled_one_in, hop.of.as_str()) {
            (0 | 1, "") => String::new(),
            (0 | 1, of) => format!(" (all {of})"),
            (one_in, of) => format!(" (1 in {one_in} {of})"),
        };
        rows.push(row(format!("{}{sampled}", hop.title()), &hop.latency.summary));
    }
    let slow = report.readers.iter().filter(|readers| readers.kind != "prompt");
    for readers in slow {
        rows.push(row(format!("age at {} readers", readers.kind), &readers.age.summary));
        let channels = readers.by_channel.iter();
        rows.extend(
            channels.map(|(name, age)| row(format!("age at {} readers, {name}", readers.kind), &age.summary)),
        );
    }
    let others = [
        ("open a session", &report.sessions.open),
        ("lost → open again", &report.sessions.reconnect),
        ("own lag", &report.generator.lag),
        ("lag of the source", &report.generator.source_lag),
    ];
    let others = others.into_iter().filter(|(_, latency)| latency.summary.count > 0);
    rows.extend(others.map(|(name, latency)| row(name.to_owned(), &latency.summary)));
    table("", &["time", "values", "min", "p50", "p90", "p99", "p99.9", "p99.99", "max"], &rows)
}

pub(super) fn ledger(report: &Report) -> Markup {
    let row = |name: &str, accounts: &Accounts| {
        let parts = [accounts.delivered, accounts.conflated, accounts.dropped, accounts.filtered];
        let sum: i128 = parts.into_iter().map(i128::from).sum();
        let figures = [
            accounts.checked,
            accounts.published,
            accounts.delivered,
            accounts.conflated,
            accounts.dropped,
            accounts.filtered,
        ];
        let mut row = vec![name.to_owned()];
        row.extend(figures.map(count));
        let off = sum - i128::from(accounts.published);
        row.push(if off == 0 { "exact".to_owned() } else { format!("{off:+} records") });
        row
    };
    let checks = &report.checks;
    let mut rows: Vec<_> = report
        .readers
        .iter()
        .map(|readers| row(&format!("{} readers", readers.kind), &readers.accounts))
        .collect();
    rows.push(row("all", &checks.accounts));
    let head = ["", "entries", "published", "delivered", "conflated", "dropped", "filtered", "sum"];
    let gaps = checks.gaps.iter();
    let gaps: Vec<_> =
        gaps.map(|(cause, gaps)| vec![cause.clone(), count(gaps.announced), count(gaps.numbers)]).collect();
    let sessions = checks.sessions.iter().map(|session| {
        let accounts = &session.accounts;
        vec![
            format!("{} ({}, {})", session.number, session.reader, session.encoding),
            count(session.subscriptions),
            count(accounts.published),
            count(accounts.delivered),
            count(accounts.conflated),
            count(accounts.dropped),
            count(accounts.filtered),
            count(session.gaps),
            count(session.violations),
        ]
    });
    let sessions: Vec<_> = sessions.collect();
    let session_head = [
        "session",
        "subscriptions",
        "published",
        "delivered",
        "conflated",
        "dropped",
        "filtered",
        "gaps",
        "broken",
    ];
    html! {
        (table("published = delivered + conflated + dropped + filtered, as the gateway's ledger has it", &head, &rows))
        (facts(&[
            ("lost", count(checks.lost)),
            ("out of order", count(checks.out_of_order)),
            ("twice", count(checks.duplicates)),
            ("conflating notices", count(checks.conflating_notices)),
            ("last values", format!("{} compared, {} wrong", count(checks.final_values), count(checks.final_values_wrong.count))),
            ("connections with a ledger", count(checks.ledgers)),
            ("connections without (cut, lost, half-open)", count(checks.ledgers_missing)),
        ]))
        @if !gaps.is_empty() { (table("Announced gaps", &["cause", "gaps", "numbers"], &gaps)) }
        @for (rule, noted) in &checks.broken { (self::noted(&format!("Broken: {rule}"), noted)) }
        (noted("Wrong last values", &checks.final_values_wrong))
        (noted("Refused", &checks.refused))
        (noted("Sessions that did not open", &report.sessions.not_opened))
        (noted("Sessions that ended early", &report.sessions.ended_early))
        @if !sessions.is_empty() { details { summary { "Sessions: the worst, and some others" } (table("", &session_head, &sessions)) } }
    }
}

fn noted(name: &str, noted: &Noted) -> Markup {
    html! {
        @if noted.count > 0 {
            h3.bad { (name) ": " (count(noted.count)) }
            ul { @for line in &noted.first { li { (line) } } }
        }
    }
}

pub(super) fn events(report: &Report) -> Markup {
    let rows = report.events.iter().enumerate();
    let rows =
        rows.map(|(at, event)| vec![(at + 1).to_string(), format!("{:.1} s", event.at), event.text.clone()]);
    table("Events, by their numbers in the pictures", &["", "at", "what"], &rows.collect::<Vec<_>>())
}

pub(super) fn saturation(report: &Report) -> Option<Markup> {
    let found = report.saturation.as_ref()?;
    let rows = found.steps.iter().map(|step| {
        vec![
            number(step.updates_per_second),
            number(step.deliveries_per_second),
            percent(step.delivered_share),
            time(step.p50_ns as f64),
            time(step.p99_ns as f64),
            time(step.max_ns as f64),
            step.server_cpu.map_or("–".to_owned(), percent),
            if step.held { "holds".to_owned() } else { step.reason.clone() },
        ]
    });
    let head = ["updates/s", "deliveries/s", "delivered", "p50", "p99", "max", "server's CPU", "bounds"];
    Some(html! {
        p { b { (number(found.updates_per_second)) " updates/s, " (number(found.deliveries_per_second)) " deliveries/s" } "; then: " (found.limited_by) }
        (table("", &head, &rows.collect::<Vec<_>>()))
    })
}

pub(super) fn server(report: &Report) -> Option<Markup> {
    let server = report.server.as_ref()?;
    let threads =
        server.cpu_by_thread.iter().map(|(name, seconds)| vec![name.clone(), format!("{seconds:.2} s")]);
    Some(html! {
        (facts(&[
            ("process", format!("{} ({})", server.command, server.pid)),
            ("CPU", format!("{:.2} s; the source in the same process {:.2} s more", server.cpu_seconds, server.source_cpu_seconds)),
            ("CPU per million deliveries", format!("{:.2} s", server.cpu_seconds_per_million)),
            ("memory", format!("{} before, {} with sessions open, {} at the end, {} at most", bytes(server.resident_bytes_before as f64), bytes(server.resident_bytes_open as f64), bytes(server.resident_bytes_end as f64), bytes(server.resident_bytes_max as f64))),
            ("memory of a session", bytes(server.bytes_per_session)),
            ("growth", format!("{}/s", bytes(server.growth_per_second))),
        ]))
        (table("CPU by thread", &["thread", "time"], &threads.collect::<Vec<_>>()))
    })
}

pub(super) fn plan(report: &Report) -> Markup {
    let scenario = &report.scenario;
    let rate = match scenario.updates_per_second {
        0.0 => "of the running ingester".to_owned(),
        rate => format!("{} updates/s over {} symbols", number(rate), count(scenario.symbols)),
    };
    html! {
        @if scenario.is_unverified {
            p { strong { "The server's certificate was not verified (sessions.tls.insecure): anybody may have answered." } }
        }
        (facts(&[
            ("scenario", scenario.name.clone()),
            ("server", format!("{} ({}) at {}", scenario.server, scenario.kind, scenario.url)),
            ("source", rate),
            ("sessions", format!("{}, {} subscriptions", count(report.sessions.asked), count(report.sessions.subscriptions))),
            ("seed", scenario.seed.to_string()),
            ("read by", format!("{} processes with {} threads", scenario.processes, scenario.threads)),
        ]))
        details { summary { "The whole scenario, flags included" } pre { (scenario.text) } }
    }
}

pub(super) fn machine(report: &Report) -> Markup {
    let (machine, versions, own, clock) =
        (&report.machine, &report.versions, &report.generator, &report.clock);
    let ms = |ns: f64| ns / 1e6;
    let shares: Vec<_> = own.cpu_share.iter().map(|share| percent(*share)).collect();
    facts(&[
        (
            "machine",
            format!("{} cores, {}, {}", machine.cores, machine.cpu, bytes(machine.memory_bytes as f64)),
        ),
        ("system", machine.system.clone()),
        (
            "versions",
            format!(
                "tickwire-loadgen {}, protocol {}, schema {}; server: {}",
                versions.loadgen, versions.protocol, versions.schema, versions.server
            ),
        ),
        (
            "clock",
            if clock.is_same_host {
                "one host, one clock".to_owned()
            } else {
                format!(
                    "the server's is {:+.3} ms from ours, to within {:.3} ms; taken out",
                    ms(clock.offset_ns as f64),
                    ms(clock.error_ns as f64)
                )
            },
        ),
        (
            "generator's threads",
            format!(
                "{} of a core; waited {} of the time for a processor",
                shares.join(", "),
                percent(own.waited_share)
            ),
        ),
        ("machine busy", own.machine_busy.map_or("not known".to_owned(), percent)),
        (
            "other programs",
            own.machine_busy_others.map_or("not known".to_owned(), |share| {
                format!("{}: {}", percent(share), named(&own.others))
            }),
        ),
        (
            "generator's memory",
            format!("{}, {} a session", bytes(own.resident_bytes as f64), bytes(own.bytes_per_session)),
        ),
    ])
}
