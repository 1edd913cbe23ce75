//! What is compared, and which way is worse.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::html::quantity;
use crate::latency::Summary;
use crate::report::model::{Age, Report, Second};

type OfRun = Box<dyn Fn(&Report) -> Option<f64>>;
type OfSecond = Box<dyn Fn(&Second) -> Option<f64>>;
/// A name, and how to read its figure.
type Named<T, F> = (&'static str, fn(&T) -> F);

pub(super) struct Metric {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) worse: Worse,
    /// Of each run, None where it was not measured; one entry for each report of a side.
    pub(super) value: OfRun,
    /// Differs little between equal runs: judged by the difference alone where there is no interval.
    pub(super) is_steady: bool,
    /// Of each second, where the value is their median.
    pub(super) seconds: Option<OfSecond>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Nanoseconds,
    Bytes,
    Share,
    Number,
    /// Whole, of what must not happen.
    Count,
}

/// Which change is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worse {
    Higher,
    Lower,
    /// Of what must not happen: any more than before.
    AnyMore,
    /// Shown, and not judged: parts of what is judged, or the tail of few records.
    Shown,
}

impl Unit {
    pub(super) fn show(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => quantity::time(value),
            Self::Bytes => quantity::bytes(value),
            Self::Share => quantity::percent(value),
            Self::Number => quantity::number(value),
            // The median of an even number of runs may lie between two.
            Self::Count => quantity::plain(value),
        }
    }
}

impl Metric {
    fn new(
        name: impl Into<String>,
        unit: Unit,
        worse: Worse,
        value: impl Fn(&Report) -> Option<f64> + 'static,
    ) -> Self {
        Self { name: name.into(), unit, worse, value: Box::new(value), is_steady: false, seconds: None }
    }

    fn steady(self) -> Self {
        Self { is_steady: true, ..self }
    }

    /// The median over the seconds.
    fn seconds(
        name: impl Into<String>,
        unit: Unit,
        worse: Worse,
        second: impl Fn(&Second) -> Option<f64> + Clone + 'static,
    ) -> Self {
        let each = second.clone();
        let value = move |report: &Report| {
            let seconds: Vec<_> = report.series.iter().filter_map(&each).collect();
            super::statistics::median(&seconds)
        };
        Self { seconds: Some(Box::new(second)), ..Self::new(name, unit, worse, value) }
    }
}

/// All that these reports hold.
pub(super) fn metrics(reports: &[&Report]) -> Vec<Metric> {
    use Unit::{Bytes, Count, Nanoseconds, Number, Share};
    use Worse::{AnyMore, Higher, Lower, Shown};
    let mut all = Vec::new();
    quantiles(&mut all, "latency", Higher, |report| Some(report.latency.summary));
    all.push(Metric::seconds("latency.p50 by second", Nanoseconds, Higher, |second| {
        read(second, second.p50_ns)
    }));
    all.push(Metric::seconds("latency.p99 by second", Nanoseconds, Higher, |second| {
        read(second, second.p99_ns)
    }));
    let server = |name: &str, unit, worse, figure: fn(&crate::report::model::Server) -> f64| {
        Metric::new(name, unit, worse, move |report| report.server.as_ref().map(figure))
    };
    all.extend([
        Metric::new("deliveries_per_second", Number, Lower, |report| Some(report.flow.records_per_second)),
        Metric::seconds("deliveries by second", Number, Lower, |second| Some(second.records as f64)),
        Metric::new("delivered_share", Share, Lower, |report| {
            (report.flow.delivered_share > 0.0).then_some(report.flow.delivered_share)
        })
        .steady(),
        Metric::new("bytes_per_second", Bytes, Shown, |report| Some(report.flow.bytes_per_second)),
        Metric::new("messages_per_second", Number, Shown, |report| Some(report.flow.messages_per_second)),
        server("server.cpu_seconds_per_million", Number, Higher, |server| server.cpu_seconds_per_million),
        Metric::seconds("server.cpu by second", Share, Higher, |second| second.server_cpu),
        server("server.memory_max", Bytes, Higher, |server| server.resident_bytes_max as f64).steady(),
        server("server.bytes_per_session", Bytes, Higher, |server| server.bytes_per_session),
        server("server.growth_per_second", Bytes, Shown, |server| server.growth_per_second),
        Metric::seconds("pressure by second", Bytes, Shown, |second| {
            second.pressure_bytes.map(|bytes| bytes as f64)
        }),
    ]);
    let kinds: BTreeSet<_> = reports
        .iter()
        .flat_map(|report| &report.readers)
        .map(|readers| readers.kind.clone())
        .filter(|kind| kind != "prompt")
        .collect();
    for kind in kinds {
        let of = kind.clone();
        quantiles(&mut all, &format!("age.{kind}"), Higher, move |report| {
            report.readers.iter().find(|readers| readers.kind == of).map(|readers| readers.age.summary)
        });
        let ages: [Named<Age, u64>; 2] = [("p50", |age| age.p50_ns), ("p99", |age| age.p99_ns)];
        for (quantile, read) in ages {
            let (kind, name) = (kind.clone(), format!("age.{kind}.{quantile} by second"));
            all.push(Metric::seconds(name, Nanoseconds, Higher, move |second| {
                second.ages.get(&kind).map(|age| read(age) as f64).filter(|ns| *ns > 0.0)
            }));
        }
    }
    let mut hops: Vec<(String, String)> = Vec::new();
    for hop in reports.iter().flat_map(|report| &report.hops) {
        if !hops.iter().any(|(from, to)| (from, to) == (&hop.from, &hop.to)) {
            hops.push((hop.from.clone(), hop.to.clone()));
        }
    }
    for (from, to) in hops {
        quantiles(&mut all, &format!("hop.{from}-{to}"), Shown, move |report| {
            let hop = report.hops.iter().find(|hop| hop.from == from && hop.to == to);
            hop.map(|hop| hop.latency.summary)
        });
    }
    quantiles(&mut all, "reconnect", Higher, |report| Some(report.sessions.reconnect.summary));
    quantiles(&mut all, "generator.lag", Shown, |report| Some(report.generator.lag.summary));
    let saturation = |name: &str, figure: fn(&crate::report::model::Saturation) -> f64| {
        Metric::new(name, Number, Lower, move |report| report.saturation.as_ref().map(figure)).steady()
    };
    all.push(saturation("saturation.updates_per_second", |found| found.updates_per_second));
    all.push(saturation("saturation.deliveries_per_second", |found| found.deliveries_per_second));
    let counts: [Named<Report, u64>; 7] = [
        ("lost", |report| report.checks.lost),
        ("out_of_order", |report| report.checks.out_of_order),
        ("duplicates", |report| report.checks.duplicates),
        ("broken", |report| report.checks.broken.values().map(|noted| noted.count).sum()),
        ("sessions.not_opened", |report| report.sessions.not_opened.count),
        ("sessions.ended_early", |report| report.sessions.ended_early.count),
        ("assertions broken", |report| report.verdicts.iter().filter(|verdict| !verdict.held).count() as u64),
    ];
    all.extend(
        counts
            .map(|(name, count)| Metric::new(name, Count, AnyMore, move |report| Some(count(report) as f64))),
    );
    all.retain(|metric| reports.iter().any(|report| (metric.value)(report).is_some()));
    all
}

/// The judgement is of p50 and p99; beyond, few records decide.
fn quantiles(
    all: &mut Vec<Metric>,
    name: &str,
    worse: Worse,
    summary: impl Fn(&Report) -> Option<Summary> + Clone + 'static,
) {
    let quantiles: [(Worse, Named<Summary, u64>); 5] = [
        (worse, ("p50", |summary| summary.p50_ns)),
        (Worse::Shown, ("p90", |summary| summary.p90_ns)),
        (worse, ("p99", |summary| summary.p99_ns)),
        (Worse::Shown, ("p999", |summary| summary.p999_ns)),
        (Worse::Shown, ("max", |summary| summary.max_ns)),
    ];
    all.extend(quantiles.map(|(worse, (quantile, read))| {
        let summary = summary.clone();
        Metric::new(format!("{name}.{quantile}"), Unit::Nanoseconds, worse, move |report| {
            summary(report).filter(|summary| summary.count > 0).map(|summary| read(&summary) as f64)
        })
    }));
}

/// A second without records has no latency.
fn read(second: &Second, ns: u64) -> Option<f64> {
    (second.records > 0 && ns > 0).then_some(ns as f64)
}
