//! The pictures of runs.

use tickwire_measure::{Axis, Line, Picture, Row, TIME, Unit};

use crate::report::metric::{Topic, charts};
use crate::report::model::{Latency, Report, Saturation, SaturationStep, Second};

/// A shorter time is drawn as this long: there is no 0 on a logarithmic axis.
const NS_MIN: f64 = 1e3;

/// Makes the line of a histogram over 1/(1-q); its maximum stands at the number of values.
pub(crate) fn curve(name: &str, tint: usize, latency: &Latency) -> Line {
    let last = latency.summary.count.max(1) as f64;
    let points = latency.curve.iter().map(|point| ((1.0 / (1.0 - point.q)).min(last), point.ns as f64));
    Line { name: name.to_owned(), tint, points: points.collect() }
}

/// Makes the line of a metric of each second; it has no points where no second has it.
pub(crate) fn by_second(
    name: &str,
    tint: usize,
    report: &Report,
    read: &dyn Fn(&Second) -> Option<f64>,
) -> Line {
    let points = report.series.iter().map(|second| (second.at, read(second).unwrap_or(f64::NAN)));
    let mut points: Vec<_> = points.collect();
    if points.iter().all(|point| point.1.is_nan()) {
        points.clear();
    }
    Line { name: name.to_owned(), tint, points }
}

/// Makes a picture of percentile curves.
pub(crate) fn curves(title: &str, note: &'static str, lines: Vec<Line>) -> Picture {
    Picture::new(title, note, Axis { name: "percentile", unit: Unit::Nines, is_log: true }, TIME, lines)
}

/// Makes a picture of metrics of each second; times are drawn logarithmically.
pub(crate) fn over_time(title: &str, note: &'static str, unit: Unit, lines: Vec<Line>) -> Picture {
    let x = Axis { name: "seconds of measuring", unit: Unit::Number, is_log: false };
    Picture::new(title, note, x, Axis { name: "", unit, is_log: unit == Unit::Nanoseconds }, lines)
}

impl Report {
    /// Draws charts of each second; an event is marked with its number in the table of events.
    pub(crate) fn pictures(&self, topic: Topic) -> Vec<Picture> {
        let marks = self.events.iter().enumerate().map(|(at, event)| (event.at, (at + 1).to_string()));
        let marks: Vec<_> = marks.collect();
        let drawn = charts(&[self]).into_iter().filter(|chart| chart.topic == topic).map(|chart| {
            let lines = chart.series.iter().enumerate();
            let lines = lines.map(|(at, series)| by_second(series.label, at, self, &*series.read));
            let picture = over_time(&chart.title, chart.note, chart.unit, lines.collect());
            Picture { marks: marks.clone(), ..picture }
        });
        drawn.filter(|picture| !picture.lines.is_empty()).collect()
    }

    pub(crate) fn latency_pictures(&self) -> Vec<Picture> {
        let channels = self.by_channel.iter().filter(|_| self.by_channel.len() > 1);
        let all = [("all channels", &self.latency)];
        let lines = all.into_iter().chain(channels.map(|(name, latency)| (name.as_str(), latency)));
        let lines = lines.enumerate().map(|(at, (name, latency))| curve(name, at, latency));
        let note = "From the intended time to the read, of prompt readers; both axes logarithmic.";
        let hops = self.timings().into_iter().filter(|timing| timing.name.starts_with("hop."));
        let rows = hops.map(|timing| {
            let summary = &timing.latency.summary;
            let interval = [summary.p50_ns, summary.p90_ns, summary.p99_ns];
            let interval = interval.map(|ns| (ns as f64).max(NS_MIN));
            Row { name: timing.title.trim().to_owned(), tint: 0, interval }
        });
        let about_hops = "Hops from p50 to p99; the point is p90. Logarithmic.";
        let hops = Picture::new("Where the time goes", about_hops, TIME, TIME, Vec::new());
        let mut pictures = vec![curves("Percentiles of latency", note, lines.collect())];
        pictures.extend(self.pictures(Topic::Latency));
        pictures.push(Picture { rows: rows.collect(), ..hops });
        pictures
    }

    pub(crate) fn slow_reader_pictures(&self) -> Vec<Picture> {
        let lines = self.slow_readers().enumerate();
        let lines = lines.map(|(at, readers)| curve(&readers.kind, at, &readers.age));
        let ages = curves("Percentiles of age", "By kind of reader.", lines.collect());
        let ages = Some(ages).filter(|picture| !picture.lines.is_empty());
        self.pictures(Topic::SlowReaders).into_iter().chain(ages).collect()
    }
}

impl Saturation {
    pub(crate) fn picture(&self) -> Picture {
        let mut steps: Vec<_> = self.steps.iter().collect();
        steps.sort_by(|a, b| a.updates_per_second.total_cmp(&b.updates_per_second));
        let of = |name: &str, tint, read: fn(&SaturationStep) -> u64| Line {
            name: name.to_owned(),
            tint,
            points: steps.iter().map(|step| (step.updates_per_second, read(step) as f64)).collect(),
        };
        let lines = vec![
            of("p50", 0, |step| step.p50_ns),
            of("p99", 1, |step| step.p99_ns),
            of("max", 2, |step| step.max_ns),
        ];
        let x = Axis { name: "updates per second of the source", unit: Unit::Number, is_log: true };
        Picture::new("Latency by rate", "Each step of the search; both axes logarithmic.", x, TIME, lines)
    }
}
