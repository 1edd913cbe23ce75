//! All metrics of a run are described here, each once: its name, its unit, which change is for the worse, and how it is read from a
//! report. Texts, pages, assertions and comparisons go by these lists.

use std::collections::BTreeSet;
use std::rc::Rc;

pub(crate) use tickwire_measure::Unit;

use tickwire_measure::Summary;

use super::median;
use super::model::{Age, Hop, Latency, Report, Second};

/// Returns the unit that the name of a field tells.
pub(crate) fn unit_of(field: &str) -> Unit {
    let has = |part| field.contains(part);
    match field {
        _ if field.ends_with("_ns") => Unit::Nanoseconds,
        _ if has("share") || has("busy") || field == "server_cpu" => Unit::Share,
        _ if has("bytes") || field == "growth_per_second" => Unit::Bytes,
        "pid" | "seed" | "number" => Unit::Name,
        _ => Unit::Number,
    }
}

/// This says which change of a metric is for the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worse {
    Higher,
    Lower,
    /// The metric counts what must not happen: any more than before is worse.
    AnyMore,
    /// The metric is compared and not judged: it is a part of another one, or few records decide it.
    Shown,
    /// The metric is not compared.
    Never,
}

/// A value of a summary: its name in assertions and comparisons, its name for people, and how it is read.
type Quantile = (&'static str, &'static str, fn(&Summary) -> u64);

pub(crate) const QUANTILES: [Quantile; 7] = [
    ("min", "min", |summary| summary.min_ns),
    ("p50", "p50", |summary| summary.p50_ns),
    ("p90", "p90", |summary| summary.p90_ns),
    ("p99", "p99", |summary| summary.p99_ns),
    ("p999", "p99.9", |summary| summary.p999_ns),
    ("p9999", "p99.99", |summary| summary.p9999_ns),
    ("max", "max", |summary| summary.max_ns),
];

/// Something that took time, and was measured many times.
pub(crate) struct Timing<'a> {
    /// Its name in assertions and comparisons.
    pub(crate) name: String,
    /// Its name for people; it begins with spaces where it is a part of the one before it.
    pub(crate) title: String,
    pub(crate) worse: Worse,
    pub(crate) latency: &'a Latency,
}

fn timing<'a>(name: &str, title: &str, worse: Worse, latency: &'a Latency) -> Timing<'a> {
    Timing { name: name.to_owned(), title: title.to_owned(), worse, latency }
}

fn of_channel<'a>(of: &str, channel: &str, latency: &'a Latency) -> Timing<'a> {
    timing(&format!("{of}.{channel}"), &format!("  of channel {channel}"), Worse::Never, latency)
}

impl Report {
    /// Returns all timings of this run, with those that measured nothing.
    pub(crate) fn timings(&self) -> Vec<Timing<'_>> {
        use Worse::{Higher, Never, Shown};
        let mut all = vec![timing("latency", "intended → read", Higher, &self.latency)];
        let channels = self.by_channel.iter().filter(|_| self.by_channel.len() > 1);
        all.extend(channels.map(|(channel, latency)| of_channel("latency", channel, latency)));
        let hops = self.hops.iter();
        all.extend(hops.map(|hop| timing(&format!("hop.{}", hop.name()), &hop.title(), Shown, &hop.latency)));
        for readers in self.slow_readers() {
            let name = format!("age.{}", readers.kind);
            let title = format!("age at {} readers ({})", readers.kind, readers.sessions);
            all.push(timing(&name, &title, Higher, &readers.age));
            all.extend(readers.by_channel.iter().map(|(channel, age)| of_channel(&name, channel, age)));
        }
        all.extend([
            timing("open", "open a session", Never, &self.sessions.open),
            timing("first", "subscribe → first record", Higher, &self.sessions.first),
            timing("reconnect", "lost → open again", Higher, &self.sessions.reconnect),
            timing("generator.lag", "generator's own lag", Shown, &self.generator.lag),
            timing("generator.source_lag", "source's lag", Never, &self.generator.source_lag),
        ]);
        all
    }

    /// Returns a timing by its name; what is not there measured nothing.
    pub(crate) fn timing(&self, name: &str) -> Summary {
        let found = self.timings().into_iter().find(|timing| timing.name == name);
        found.map_or(Summary::default(), |timing| timing.latency.summary)
    }
}

impl Hop {
    /// Returns its name for people: a part of another hop is marked, and what is counted is named.
    fn title(&self) -> String {
        let mark = if self.part_of.is_empty() { "  " } else { "  · " };
        let of = match (self.of.as_str(), self.sampled_one_in) {
            ("", _) => String::new(),
            (of, 0 | 1) => format!(" (all {of})"),
            (of, one_in) => format!(" (1 in {one_in} {of})"),
        };
        format!("{mark}{} → {}{of}", self.from, self.to)
    }
}

type OfRun = Box<dyn Fn(&Report) -> Option<f64>>;
type OfSecond = Rc<dyn Fn(&Second) -> Option<f64>>;

/// A chart is about this, and stands in the section of a page that has its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    Latency,
    Throughput,
    SlowReaders,
    Server,
}

/// Metrics of each second that are drawn together.
pub(crate) struct Chart {
    pub(crate) topic: Topic,
    pub(crate) title: String,
    pub(crate) note: &'static str,
    pub(crate) unit: Unit,
    pub(crate) series: Vec<Series>,
}

/// A metric of each second.
pub(crate) struct Series {
    /// Its name in the chart of a run.
    pub(crate) label: &'static str,
    /// Its name in comparisons, which compare the median over the seconds.
    pub(crate) name: String,
    pub(crate) worse: Worse,
    /// Reads it from a second; None where it was not measured.
    pub(crate) read: OfSecond,
}

#[derive(Default)]
struct Charts(Vec<Chart>);

impl Charts {
    fn chart(&mut self, topic: Topic, title: &str, note: &'static str, unit: Unit) {
        self.0.push(Chart { topic, title: title.to_owned(), note, unit, series: Vec::new() });
    }

    /// Adds a metric to the last chart; `name` is empty where it is not compared.
    fn line<F>(&mut self, label: &'static str, name: &str, worse: Worse, read: F)
    where
        F: Fn(&Second) -> Option<f64> + 'static,
    {
        let series = Series { label, name: name.to_owned(), worse, read: Rc::new(read) };
        self.0.last_mut().expect("a chart comes first").series.push(series);
    }
}

/// Returns all charts of these reports.
pub(crate) fn charts(reports: &[&Report]) -> Vec<Chart> {
    use Topic::{Latency, Server, SlowReaders, Throughput};
    use Unit::{Bytes, Nanoseconds, Number, Share};
    use Worse::{Higher, Lower, Never, Shown};
    // A second without records has no latency.
    let time = |ns: u64| (ns > 0).then_some(ns as f64);
    let whole = |count: u64| Some(count as f64);
    let mut all = Charts::default();
    all.chart(Latency, "Latency over time", "Of prompt readers, by second; logarithmic.", Nanoseconds);
    all.line("p50", "latency.p50 by second", Higher, move |s| time(s.p50_ns));
    all.line("p99", "latency.p99 by second", Higher, move |s| time(s.p99_ns));
    all.line("p99.9", "", Never, move |s| time(s.p999_ns));
    all.line("max", "", Never, move |s| time(s.max_ns));
    all.chart(Throughput, "Throughput over time", "Delivered in each second.", Number);
    all.line("records", "deliveries by second", Lower, move |s| whole(s.records));
    all.line("messages", "", Never, move |s| whole(s.messages));
    all.chart(Throughput, "Bytes over time", "Read in each second, of WebSocket messages.", Bytes);
    all.line("bytes", "", Never, move |s| whole(s.bytes));
    all.chart(Throughput, "Offered updates", "Per second, by the source's plan.", Number);
    all.line("offered", "", Never, |s| (s.offered > 0.0).then_some(s.offered));
    all.chart(Throughput, "Sessions", "Open at the end of each second.", Number);
    all.line("sessions", "", Never, move |s| whole(s.sessions));
    all.chart(Throughput, "Pressure", "Bytes that the gateway has not seen confirmed, all sessions.", Bytes);
    all.line("pressure", "pressure by second", Shown, move |s| whole(s.pressure_bytes?));
    all.chart(Server, "Memory of the server", "Resident.", Bytes);
    all.line("resident", "server.memory by second", Shown, move |s| whole(s.server_resident_bytes?));
    all.chart(Server, "CPU", "Shares of one core; of the generator, its busiest thread.", Share);
    all.line("server", "server.cpu by second", Higher, |s| s.server_cpu);
    all.line("generator", "", Never, |s| Some(s.generator_cpu));
    let kinds = reports.iter().flat_map(|report| &report.series).flat_map(|second| second.ages.keys());
    for kind in kinds.collect::<BTreeSet<_>>() {
        let title = format!("Age at {kind} readers over time");
        let note = "Of what the program gets, when it gets it; logarithmic.";
        all.chart(SlowReaders, &title, note, Nanoseconds);
        let of = |read: fn(&Age) -> u64| {
            let kind = kind.clone();
            move |s: &Second| time(read(s.ages.get(&kind)?))
        };
        all.line("p50", &format!("age.{kind}.p50 by second"), Higher, of(|age| age.p50_ns));
        all.line("p99", &format!("age.{kind}.p99 by second"), Higher, of(|age| age.p99_ns));
        all.line("max", "", Never, of(|age| age.max_ns));
    }
    all.0
}

/// A metric is compared.
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) worse: Worse,
    /// The difference alone is judged where there is no interval.
    pub(crate) is_steady: bool,
    /// Reads it from a run; None where it was not measured.
    pub(crate) value: OfRun,
    /// Reads it from a second, where the value is the median over the seconds.
    pub(crate) seconds: Option<OfSecond>,
}

/// A metric with one value for each run: its name, its unit, which change is for the worse, and how it is read.
type Scalar = (&'static str, Unit, Worse, fn(&Report) -> Option<f64>);

pub(crate) const SCALARS: [Scalar; 17] = {
    use Unit::{Bytes, Count, Number, Share};
    use Worse::{AnyMore, Higher, Lower, Shown};
    [
        ("deliveries_per_second", Number, Lower, |r| Some(r.flow.records_per_second)),
        ("delivered_share", Share, Lower, |r| Some(r.flow.delivered_share).filter(|share| *share > 0.0)),
        ("bytes_per_second", Bytes, Shown, |r| Some(r.flow.bytes_per_second)),
        ("messages_per_second", Number, Shown, |r| Some(r.flow.messages_per_second)),
        ("server.cpu_seconds_per_million", Number, Higher, |r| {
            Some(r.server.as_ref()?.cpu_seconds_per_million)
        }),
        ("server.memory_max", Bytes, Higher, |r| Some(r.server.as_ref()?.resident_bytes_max as f64)),
        ("server.bytes_per_session", Bytes, Higher, |r| Some(r.server.as_ref()?.bytes_per_session)),
        ("server.growth_per_second", Bytes, Shown, |r| Some(r.server.as_ref()?.growth_per_second)),
        ("saturation.updates_per_second", Number, Lower, |r| Some(r.saturation.as_ref()?.updates_per_second)),
        ("saturation.deliveries_per_second", Number, Lower, |r| {
            Some(r.saturation.as_ref()?.deliveries_per_second)
        }),
        ("lost", Count, AnyMore, |r| Some(r.checks.lost as f64)),
        ("out_of_order", Count, AnyMore, |r| Some(r.checks.out_of_order as f64)),
        ("duplicates", Count, AnyMore, |r| Some(r.checks.duplicates as f64)),
        ("broken", Count, AnyMore, |r| {
            Some(r.checks.broken.values().map(|noted| noted.count).sum::<u64>() as f64)
        }),
        ("sessions.not_opened", Count, AnyMore, |r| Some(r.sessions.not_opened.count as f64)),
        ("sessions.ended_early", Count, AnyMore, |r| Some(r.sessions.ended_early.count as f64)),
        ("assertions broken", Count, AnyMore, |r| {
            Some(r.verdicts.iter().filter(|verdict| !verdict.held).count() as f64)
        }),
    ]
};
/// These, and what a search found, differ little between equal runs: where there is no interval, the difference alone is judged.
const STEADY: [&str; 2] = ["delivered_share", "server.memory_max"];

/// Returns all that is compared of these reports; what is judged comes first.
pub(crate) fn metrics(reports: &[&Report]) -> Vec<Metric> {
    let mut all: Vec<Metric> = Vec::new();
    let mut add = |name: String, unit, worse, value: OfRun, seconds| {
        let is_steady = STEADY.contains(&name.as_str()) || name.starts_with("saturation.");
        let is_measured = || reports.iter().any(|report| value(report).is_some());
        if worse != Worse::Never && !all.iter().any(|metric| metric.name == name) && is_measured() {
            all.push(Metric { name, unit, worse, is_steady, value, seconds });
        }
    };
    for timing in reports.iter().flat_map(|report| report.timings()) {
        for (quantile, _, read) in QUANTILES {
            // Beyond p99 few records decide.
            let worse = match quantile {
                "p50" | "p99" => timing.worse,
                "p90" | "p999" | "max" if timing.worse != Worse::Never => Worse::Shown,
                _ => Worse::Never,
            };
            let of = timing.name.clone();
            let value = move |report: &Report| {
                let summary = report.timing(&of);
                (summary.count > 0).then(|| read(&summary) as f64)
            };
            let name = format!("{}.{quantile}", timing.name);
            add(name, Unit::Nanoseconds, worse, Box::new(value), None);
        }
    }
    for chart in charts(reports) {
        for series in chart.series {
            let read = Rc::clone(&series.read);
            let value =
                move |report: &Report| median(&report.series.iter().filter_map(&*read).collect::<Vec<_>>());
            add(series.name, chart.unit, series.worse, Box::new(value), Some(series.read));
        }
    }
    for (name, unit, worse, read) in SCALARS {
        add(name.to_owned(), unit, worse, Box::new(read), None);
    }
    all.sort_by_key(|metric| metric.worse == Worse::Shown);
    all
}
