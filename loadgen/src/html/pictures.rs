//! The pictures of one run's report.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::chart::{self, Axis, Bar, Line, Mark, Scale, Shape};
use super::quantity::{bytes, number, percent, plain, time};
use crate::report::model::{Age, Hop, Latency, Report, Second};

const NS: Axis<'_> = Axis { scale: Scale::Log, name: "", format: &time };
const QUANTILES: Axis<'_> = Axis { scale: Scale::Log, name: "percentile", format: &label };
const SECONDS: Axis<'_> = Axis { scale: Scale::Linear, name: "seconds of measuring", format: &plain };
const PER_SECOND: Axis<'_> = Axis { scale: Scale::Linear, name: "", format: &plain };
const BYTES: Axis<'_> = Axis { scale: Scale::Binary, name: "", format: &bytes };
const SHARE: Axis<'_> = Axis { scale: Scale::Linear, name: "", format: &percent };

/// Of 1/(1-q).
/// Beyond the first million every second one: more have no room beside each other.
fn label(nines: f64) -> String {
    let decade = nines.log10().round() as i32;
    if decade >= 6 && decade % 2 == 0 { String::new() } else { quantile(nines) }
}

fn quantile(nines: f64) -> String {
    let share = 100.0 - 100.0 / nines;
    let places = (nines.log10().ceil() as usize).saturating_sub(2).min(12);
    format!("{share:.places$} %")
}

/// Of a histogram, over 1/(1-q); the maximum stands at the number of values.
pub(crate) fn curve(name: &str, tint: usize, latency: &Latency) -> Line {
    let last = latency.summary.count.max(1) as f64;
    let points = latency.curve.iter().map(|point| {
        let nines = if point.q < 1.0 { 1.0 / (1.0 - point.q) } else { last };
        (nines.min(last), point.ns as f64)
    });
    Line { name: name.to_owned(), tint, points: points.collect() }
}

/// Percentile curves on one picture.
pub(crate) fn curves(title: &str, note: &str, lines: &[Line]) -> Markup {
    chart::lines(title, note, &QUANTILES, &NS, lines, &[])
}

/// Times of each second on one picture.
pub(crate) fn times(title: &str, note: &str, lines: &[Line], marks: &[Mark]) -> Markup {
    chart::lines(title, note, &SECONDS, &NS, lines, marks)
}

/// A figure of each second; the line is broken where it is absent, and has no points where it always is.
pub(crate) fn series(
    name: &str,
    tint: usize,
    report: &Report,
    figure: impl Fn(&Second) -> Option<f64>,
) -> Line {
    let points = report.series.iter().map(|second| (second.at, figure(second).unwrap_or(f64::NAN)));
    let mut points: Vec<_> = points.collect();
    if points.iter().all(|point| point.1.is_nan()) {
        points.clear();
    }
    Line { name: name.to_owned(), tint, points }
}

pub(super) fn latency(report: &Report) -> Markup {
    let mut lines = vec![curve("all channels", 0, &report.latency)];
    if report.by_channel.len() > 1 {
        let channels = report.by_channel.iter().enumerate();
        lines.extend(channels.map(|(at, (name, latency))| curve(name, at + 1, latency)));
    }
    let seconds = [
        series("p50", 0, report, |second| Some(second.p50_ns as f64)),
        series("p99", 1, report, |second| Some(second.p99_ns as f64)),
        series("p99.9", 2, report, |second| Some(second.p999_ns as f64)),
        series("max", 3, report, |second| Some(second.max_ns as f64)),
    ];
    html! {
        (curves("Percentiles of latency", "From the intended time to the read, of prompt readers; both axes logarithmic.", &lines))
        (times("Latency over time", "Of prompt readers, by second; logarithmic.", &seconds, &marks(report)))
        (hops(report))
    }
}

fn hops(report: &Report) -> Markup {
    let names: Vec<_> = report.hops.iter().map(Hop::title).collect();
    let mut bars = Vec::new();
    for (row, hop) in report.hops.iter().enumerate() {
        let summary = &hop.latency.summary;
        for (slot, ns) in [summary.p50_ns, summary.p90_ns, summary.p99_ns].into_iter().enumerate() {
            bars.push(Bar { row, slot: (slot, 3), tint: slot, shape: Shape::Filled(ns as f64) });
        }
    }
    let axis = Axis { scale: Scale::Linear, name: "", format: &time };
    let keys = ["p50", "p90", "p99"].map(str::to_owned);
    let keys: Vec<_> = keys.into_iter().enumerate().collect();
    let note = "Each hop begins where the one before it ends; parts of one (·) are as the gateway tells them. Percentiles of hops do not add up to those of the whole.";
    chart::figure("Where the time goes", note, &keys, &chart::rows(620, &names, &axis, &bars, &[]))
}

pub(super) fn flow(report: &Report) -> Markup {
    let delivered = [
        series("records", 0, report, |second| Some(second.records as f64)),
        series("messages", 1, report, |second| Some(second.messages as f64)),
    ];
    let draw = |title: &str, note: &str, axis: &Axis, line: Line| {
        chart::lines(title, note, &SECONDS, axis, &[line], &marks(report))
    };
    let offered = series("offered", 2, report, |second| Some(second.offered));
    let is_offered = offered.points.iter().any(|point| point.1 > 0.0);
    let pressure = series("pressure", 4, report, |second| second.pressure_bytes.map(|bytes| bytes as f64));
    html! {
        (chart::lines("Throughput over time", "Delivered in each second.", &SECONDS, &PER_SECOND, &delivered, &marks(report)))
        (draw("Bytes over time", "Read in each second, of WebSocket messages.", &BYTES, series("bytes", 1, report, |second| Some(second.bytes as f64))))
        @if is_offered { (draw("Offered updates", "Per second, by the source's plan.", &PER_SECOND, offered)) }
        (draw("Sessions", "Open at the end of each second.", &PER_SECOND, series("sessions", 3, report, |second| Some(second.sessions as f64))))
        @if !pressure.points.is_empty() { (draw("Pressure", "Bytes that the gateway has not seen confirmed, all sessions.", &BYTES, pressure)) }
    }
}

pub(super) fn server(report: &Report) -> Markup {
    let memory =
        series("resident", 0, report, |second| second.server_resident_bytes.map(|bytes| bytes as f64));
    let mut shares = vec![series("server", 0, report, |second| second.server_cpu)];
    shares.retain(|line| !line.points.is_empty());
    shares.push(series("generator, busiest thread", 1, report, |second| Some(second.generator_cpu)));
    html! {
        @if !memory.points.is_empty() {
            (chart::lines("Memory of the server", "Resident.", &SECONDS, &BYTES, &[memory], &marks(report)))
        }
        (chart::lines("CPU", "Shares of one core.", &SECONDS, &SHARE, &shares, &marks(report)))
    }
}

/// Age of what slow readers get, a picture for each kind, and their percentile curves.
pub(super) fn slow_readers(report: &Report) -> Option<Markup> {
    let kinds: BTreeSet<_> = report.series.iter().flat_map(|second| second.ages.keys()).collect();
    let slow = || report.readers.iter().filter(|readers| readers.kind != "prompt");
    if kinds.is_empty() && slow().next().is_none() {
        return None;
    }
    let whole = slow().enumerate().map(|(at, readers)| curve(&readers.kind, at, &readers.age));
    let whole: Vec<_> = whole.filter(|line| !line.points.is_empty()).collect();
    let age = |kind: &str, name: &str, tint, read: fn(&Age) -> u64| {
        series(name, tint, report, move |second| second.ages.get(kind).map(|age| read(age) as f64))
    };
    Some(html! {
        @for kind in kinds {
            @let lines = [
                age(kind, "p50", 0, |age| age.p50_ns),
                age(kind, "p99", 1, |age| age.p99_ns),
                age(kind, "max", 3, |age| age.max_ns),
            ];
            (times(&format!("Age at {kind} readers over time"), "Of what the program gets, when it gets it.", &lines, &marks(report)))
        }
        @if !whole.is_empty() { (curves("Percentiles of age", "By kind of reader.", &whole)) }
    })
}

pub(super) fn saturation(report: &Report) -> Option<Markup> {
    let found = report.saturation.as_ref()?;
    let mut steps: Vec<_> = found.steps.iter().collect();
    steps.sort_by(|a, b| a.updates_per_second.total_cmp(&b.updates_per_second));
    let axis = Axis { scale: Scale::Log, name: "updates per second of the source", format: &number };
    let line = |name: &str, tint, read: fn(&crate::report::model::SaturationStep) -> u64| {
        let points = steps.iter().map(|step| (step.updates_per_second, read(step) as f64));
        Line { name: name.to_owned(), tint, points: points.collect() }
    };
    let lines = [
        line("p50", 0, |step| step.p50_ns),
        line("p99", 1, |step| step.p99_ns),
        line("max", 3, |step| step.max_ns),
    ];
    Some(chart::lines(
        "Latency by rate",
        "Each step of the search; both axes logarithmic.",
        &axis,
        &NS,
        &lines,
        &[],
    ))
}

fn marks(report: &Report) -> Vec<Mark> {
    let events = report.events.iter().enumerate();
    // What a number means is told in the table of events: texts would lie over each other.
    events.map(|(at, event)| Mark { at: event.at, text: format!("{}", at + 1) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::tests::sample;

    #[test]
    fn percentiles_are_named_as_people_name_them() {
        for (nines, expected) in
            [(1.0, "0 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %"), (1e5, "99.999 %")]
        {
            assert_eq!((quantile(nines), label(nines)), (expected.to_owned(), expected.to_owned()));
        }
        assert_eq!((label(1e6), label(1e7)), (String::new(), "99.99999 %".to_owned()));
    }

    #[test]
    fn a_curve_ends_at_the_maximum() {
        let report = sample();
        let line = curve("all", 0, &report.latency);
        let (nines, ns) = *line.points.last().unwrap();
        assert_eq!((nines, ns), (report.latency.summary.count as f64, report.latency.summary.max_ns as f64));
        assert!(line.points.windows(2).all(|two| two[0].0 <= two[1].0 && two[0].1 <= two[1].1));
    }
}
