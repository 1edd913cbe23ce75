//! A comparison is told to people.

use std::fmt::Write as _;

use tickwire_measure::{Axis, Line, Picture, Row, Unit};

use super::judgement::{GROSS_RUNS, GROSS_SECONDS, Grounds, Judgement};
use super::{Comparison, Difference, Side, Sides};
use crate::html::pictures::{by_second, curve, curves, over_time};
use crate::report::document::{Block, Document, Named, Tone, moment};
use crate::report::metric::charts;
use crate::report::model::Report;

/// Changes beyond it are drawn at the edge; the table has what they are.
const CHANGE_DRAWN_MAX: f64 = 1.0;

impl Comparison {
    pub(super) fn document(&self, sides: Sides<'_>) -> Document {
        let mut about = vec![("A", self.before.join(", ")), ("B", self.after.join(", "))];
        about.retain(|(_, files)| !files.is_empty());
        let mut about = vec![Block::Facts(about)];
        about.extend(self.cautions.iter().map(|caution| Block::Line(Tone::Caution, caution.clone())));
        let broken = self.broken_assertions.iter().map(|broken| Block::Line(Tone::Bad, broken.text()));
        let tone = match self.refused {
            Some(_) => Tone::Caution,
            None if self.is_worse => Tone::Bad,
            None => Tone::Good,
        };
        let mut pictures = vec![self.changes()];
        pictures.extend(Self::pictures(sides));
        Document {
            title: "Comparison of runs".to_owned(),
            about,
            outcome: (tone, self.conclusion()),
            reasons: Vec::new(),
            body: vec![
                Block::Pictures(pictures),
                Block::Section("Metrics", vec![self.table()]),
                Block::Section("Broken assertions", broken.collect()),
                Block::Folded("Runs", vec![self.runs(sides)]),
                Block::Folded("How this is judged", vec![Block::Line(Tone::Plain, how())]),
            ],
        }
    }

    fn table(&self) -> Block {
        let has_runs = self.differences.iter().any(|found| found.before.runs.max(found.after.runs) > 1);
        let [a, b] = if has_runs { ["A: median (range)", "B: median (range)"] } else { ["A", "B"] };
        let rows = self.differences.iter().map(|found| {
            let change = found.change.map_or("–".to_owned(), signed);
            row([
                ("metric", found.name.clone()),
                (a, found.before.show(found.unit)),
                (b, found.after.show(found.unit)),
                ("change", change),
                ("interval, or other grounds", found.grounds_text()),
                ("judgement", found.judgement.name().to_owned()),
            ])
        });
        Block::Table(rows.collect(), &[])
    }

    fn runs(&self, sides: Sides<'_>) -> Block {
        let files =
            self.before.iter().map(|file| ("A", file)).chain(self.after.iter().map(|file| ("B", file)));
        let rows = files.zip(sides.concat()).map(|((side, file), report)| {
            let run = format!("{} at {}", report.scenario.title(), report.scenario.server);
            row([
                ("side", side.to_owned()),
                ("file", file.clone()),
                ("run", run),
                ("began", moment(report.started_ns)),
            ])
        });
        Block::Table(rows.collect(), &[])
    }

    pub(super) fn conclusion(&self) -> String {
        if let Some(reason) = &self.refused {
            return format!(
                "NO JUDGEMENT: {reason}. Run again what has no verdict, with a free core, more --threads or a lower --rate; or take \
                 the risk with `compare --allow-bottleneck`"
            );
        }
        let of = |judgement: Judgement| {
            let found = self.differences.iter().filter(move |found| found.judgement == judgement);
            found.map(Difference::name_text).collect::<Vec<_>>()
        };
        let bound = self.worse_by * 100.0;
        let (worse, better, unclear) =
            (of(Judgement::Worse), of(Judgement::Better), of(Judgement::Unclear).len());
        let mut text = match worse.as_slice() {
            [] if unclear > 0 => format!("B is not shown to be worse than A by more than {bound} %"),
            [] => format!("B is no worse than A by more than {bound} %"),
            worse => format!("B is worse than A by more than {bound} %: {}", worse.join(", ")),
        };
        if !better.is_empty() {
            let _ = write!(text, "; better: {}", better.join(", "));
        }
        if unclear > 0 {
            let _ = write!(text, "; unclear: {unclear} (longer or more runs can tell)");
        }
        text
    }

    /// Draws every change that is judged, with its interval; what is equal without one has nothing to show.
    fn changes(&self) -> Picture {
        let drawn = |change: f64| change.clamp(-CHANGE_DRAWN_MAX, CHANGE_DRAWN_MAX);
        let judged = self.differences.iter().filter(|found| {
            !matches!(found.judgement, Judgement::Shown | Judgement::Absent)
                && (found.interval.is_some() || found.change != Some(0.0))
        });
        let rows = judged.filter_map(|found| {
            let change = found.change?;
            let (low, high) =
                found.interval.map_or((change, change), |interval| (interval.low, interval.high));
            let tint = usize::from(found.judgement == Judgement::Worse);
            Some(Row { name: found.name.clone(), tint, interval: [low, change, high].map(drawn) })
        });
        let note =
            "Of the medians, with intervals where there are some; up to ±100 %. Lines at 0 and at the bound.";
        let x = Axis { name: "change", unit: Unit::Share, is_log: false };
        let picture = Picture::new("Change from A to B", note, x, x, Vec::new());
        let rules = vec![-drawn(self.worse_by), 0.0, drawn(self.worse_by)];
        Picture { rows: rows.collect(), rules, ..picture }
    }

    /// Draws what is compared by second, and the percentiles, with a line for each run.
    fn pictures(sides: Sides<'_>) -> Vec<Picture> {
        // Only the first run of a side names it.
        let lines = |draw: &dyn Fn(&str, usize, &Report) -> Line| -> Vec<Line> {
            let runs = ["A", "B"].into_iter().zip(sides).enumerate().flat_map(|(tint, (name, side))| {
                side.iter()
                    .enumerate()
                    .map(move |(at, report)| (if at == 0 { name } else { "" }, tint, report))
            });
            runs.map(|(name, tint, report)| draw(name, tint, report)).collect()
        };
        let latencies = lines(&|name, tint, report| curve(name, tint, &report.latency));
        let note = "One line for each run; both axes logarithmic.";
        let mut pictures = vec![curves("Percentiles of latency", note, latencies)];
        for chart in charts(&sides.concat().iter().collect::<Vec<_>>()) {
            for series in chart.series.iter().filter(|series| !series.name.is_empty()) {
                let lines = lines(&|name, tint, report| by_second(name, tint, report, &*series.read));
                pictures.push(over_time(&series.name, chart.note, chart.unit, lines));
            }
        }
        pictures.retain(|picture| !picture.lines.is_empty());
        pictures
    }
}

impl Side {
    fn show(&self, unit: Unit) -> String {
        let (Some(median), Some(low), Some(high)) = (self.median, self.low, self.high) else {
            return "–".to_owned();
        };
        match self.runs {
            1 => unit.show(median),
            _ => format!("{} ({} to {})", unit.show(median), unit.show(low), unit.show(high)),
        }
    }
}

impl Difference {
    /// Returns its name, with what the judgement rests on where that is no interval.
    fn name_text(&self) -> String {
        let factor = self.grounds.and_then(Grounds::factor);
        factor.map_or_else(|| self.name.clone(), |factor| format!("{} ({factor}, no interval)", self.name))
    }

    /// Returns the interval, or what else the judgement rests on.
    fn grounds_text(&self) -> String {
        let Some(found) = self.interval else { return self.grounds.map(Grounds::text).unwrap_or_default() };
        let (low, high, level) = (signed(found.low), signed(found.high), found.level * 100.0);
        format!("{low} to {high} ({level:.0} %, {})", found.method.name())
    }
}

fn row<const N: usize>(cells: [(&str, String); N]) -> Named {
    cells.into_iter().map(|(name, cell)| (name.to_owned(), cell)).collect()
}

fn signed(change: f64) -> String {
    format!("{:+.1} %", change * 100.0)
}

fn how() -> String {
    format!(
        "“Ranks of runs”: quotients of all pairs of runs, cut by the exact distribution of Mann and Whitney's U. “Bootstrap of \
         seconds”: circular blocks of neighbouring seconds, 2,000 times; it knows nothing of how runs differ. “Gross”: no \
         interval, at least {GROSS_SECONDS} times as much or as little with no second of one side among the other's, or \
         {GROSS_RUNS} times where there are only whole runs. Metrics without a judgement are parts of those that have one, or \
         hang on few records."
    )
}
