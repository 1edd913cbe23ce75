//! Pictures as SVG inside the page, drawn by Plotters.

use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::combinators::{IntoLogRange as _, LogCoord};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::report::metric::Unit;
use crate::report::model::{Latency, Report, Second};

/// Okabe and Ito's colours, which colour-blind people tell apart. The page's style inverts them on black.
const TINTS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 138, 101),
    RGBColor(178, 60, 130),
    RGBColor(138, 106, 0),
    RGBColor(90, 80, 200),
];
const SOFT: RGBColor = RGBColor(102, 102, 102);
const RULE: RGBColor = RGBColor(210, 210, 210);
const TEXT: (&str, i32) = ("sans-serif", 15);
/// Pixels.
const HEIGHT: u32 = 300;
const ROW_HEIGHT: u32 = 28;
const ROWS_HEIGHT_MAX: u32 = 4000;

/// A picture with its title, and a sentence on what it shows: lines, or intervals in rows.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) title: String,
    pub(crate) note: &'static str,
    pub(crate) x: Axis,
    /// This is the axis of the lines.
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    /// Moments at which something happened.
    pub(crate) marks: Vec<(f64, String)>,
    /// The first row is at the top.
    pub(crate) rows: Vec<Row>,
    /// Values at which a line goes through all rows.
    pub(crate) rules: Vec<f64>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// Its base is 10; what has no place there is left out.
    pub(crate) is_log: bool,
}

/// Times on a logarithmic axis.
pub(crate) const TIME: Axis = Axis { name: "", unit: Unit::Nanoseconds, is_log: true };

#[derive(Debug)]
pub(crate) struct Line {
    /// Empty: it is not among the keys.
    pub(crate) name: String,
    pub(crate) tint: usize,
    /// The line is broken where a value is not finite.
    pub(crate) points: Vec<(f64, f64)>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) tint: usize,
    /// Its begin, a point in it, and its end.
    pub(crate) interval: [f64; 3],
}

impl Line {
    /// Makes the line of a histogram over 1/(1-q); its maximum stands at the number of values.
    pub(crate) fn curve(name: &str, tint: usize, latency: &Latency) -> Self {
        let last = latency.summary.count.max(1) as f64;
        let points = latency.curve.iter().map(|point| ((1.0 / (1.0 - point.q)).min(last), point.ns as f64));
        Self { name: name.to_owned(), tint, points: points.collect() }
    }

    /// Makes the line of a metric of each second; it has no points where no second has it.
    pub(crate) fn by_second(
        name: &str,
        tint: usize,
        report: &Report,
        read: &dyn Fn(&Second) -> Option<f64>,
    ) -> Self {
        let points = report.series.iter().map(|second| (second.at, read(second).unwrap_or(f64::NAN)));
        let mut points: Vec<_> = points.collect();
        if points.iter().all(|point| point.1.is_nan()) {
            points.clear();
        }
        Self { name: name.to_owned(), tint, points }
    }
}

impl Picture {
    pub(crate) fn new(title: &str, note: &'static str, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        let title = title.to_owned();
        let mut picture = Self { title, note, x, y, lines, marks: vec![], rows: vec![], rules: vec![] };
        picture.lines.retain(|line| !line.points.is_empty());
        picture
    }

    /// Makes a picture of percentile curves.
    pub(crate) fn curves(title: &str, note: &'static str, lines: Vec<Line>) -> Self {
        Self::new(title, note, Axis { name: "percentile", unit: Unit::Nines, is_log: true }, TIME, lines)
    }

    /// Makes a picture of metrics of each second; times are drawn logarithmically.
    pub(crate) fn by_second(title: &str, note: &'static str, unit: Unit, lines: Vec<Line>) -> Self {
        let x = Axis { name: "seconds of measuring", unit: Unit::Number, is_log: false };
        Self::new(title, note, x, Axis { name: "", unit, is_log: unit == Unit::Nanoseconds }, lines)
    }

    /// Returns what its colours mean, where there are several.
    pub(crate) fn keys(&self) -> Vec<(RGBColor, &str)> {
        let named = self.lines.iter().filter(|line| !line.name.is_empty());
        let keys: Vec<_> = named.map(|line| (tint(line.tint), line.name.as_str())).collect();
        if keys.len() > 1 { keys } else { Vec::new() }
    }

    pub(crate) fn is_wide(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Draws it; a sentence stands where there is nothing to draw.
    pub(crate) fn to_svg(&self) -> Markup {
        let rows_height = (60 + ROW_HEIGHT * self.rows.len() as u32).min(ROWS_HEIGHT_MAX);
        let height = if self.rows.is_empty() { HEIGHT } else { rows_height };
        let mut svg = String::new();
        match self.draw(SVGBackend::with_string(&mut svg, (if self.is_wide() { 900 } else { 620 }, height))) {
            // Plotters escapes every text that it writes.
            Ok(true) => PreEscaped(svg),
            Ok(false) => html! { p.soft { "Nothing was measured." } },
            Err(error) => html! { p.bad { "This picture could not be drawn: " (error.to_string()) } },
        }
    }

    /// Returns false where there is nothing to draw.
    fn draw(&self, backend: SVGBackend<'_>) -> Result<bool, DrawingAreaErrorKind<std::io::Error>> {
        let area = backend.into_drawing_area();
        let has_place = |(x, y): &(f64, f64)| self.x.has(*x) && self.y.has(*y);
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let ends = self.rows.iter().flat_map(|row| row.interval).chain(self.rules.iter().copied());
        let x = self.x.scale(points().map(|point| point.0).chain(ends));
        let (y, labels_width) = match self.rows.len() {
            0 => (self.y.scale(points().filter(has_place).map(|point| point.1)), 78),
            count => (Some(Scale::Rows(count, (count as f64..0.0).into())), 290),
        };
        let (Some(x), Some(y)) = (x, y) else { return Ok(false) };
        let Range { start: from, end: to } = y.range();
        let mut chart = ChartBuilder::on(&area)
            .margin(8)
            .margin_right(34)
            .x_label_area_size(38)
            .y_label_area_size(labels_width)
            .build_cartesian_2d(x, y)?;
        let row = |at: f64| self.rows.get(at as usize).map_or(String::new(), |row| row.name.clone());
        chart
            .configure_mesh()
            .axis_style(SOFT)
            .bold_line_style(RULE)
            .light_line_style(TRANSPARENT)
            .label_style((TEXT.0, TEXT.1, &SOFT))
            .x_labels(if self.x.unit == Unit::Nines { 5 } else { 8 })
            .y_labels(7)
            .x_desc(self.x.name)
            .x_label_formatter(&|at| self.x.unit.tick(*at))
            .y_label_formatter(&|at| if self.rows.is_empty() { self.y.unit.tick(*at) } else { row(*at) })
            .draw()?;
        let upright = |at: f64| PathElement::new([(at, from), (at, to)], SOFT);
        chart.draw_series(self.rules.iter().map(|at| upright(*at)))?;
        chart.draw_series(self.marks.iter().map(|(at, _)| upright(*at)))?;
        chart.draw_series(self.marks.iter().map(|(at, text)| Text::new(text.clone(), (*at, to), TEXT)))?;
        for line in &self.lines {
            for joined in line.points.split(|point| !has_place(point)) {
                let series = LineSeries::new(joined.iter().copied(), tint(line.tint).stroke_width(2));
                chart.draw_series(series.point_size(if joined.len() == 1 { 3 } else { 0 }))?;
            }
        }
        chart.draw_series(self.rows.iter().enumerate().map(|(at, row)| {
            let ([low, value, high], style) = (row.interval, tint(row.tint).filled().stroke_width(2));
            ErrorBar::new_horizontal(at as f64 + 0.5, low, value, high, style, 9)
        }))?;
        area.present().map(|()| true)
    }
}

fn tint(number: usize) -> RGBColor {
    TINTS[number % TINTS.len()]
}

impl Axis {
    fn has(&self, value: f64) -> bool {
        value.is_finite() && (value > 0.0 || !self.is_log)
    }

    /// Returns a scale that holds all values; None where there are none that it can hold.
    fn scale(&self, values: impl Iterator<Item = f64>) -> Option<Scale> {
        let values = values.filter(|value| self.has(*value));
        let (low, high) = values
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if !(high - low).is_finite() {
            return None;
        }
        if self.is_log {
            let low = low.log10().floor();
            let range = 10_f64.powf(low)..10_f64.powf(high.log10().ceil().max(low + 1.0));
            return Some(Scale::Log(range.log_scale().into()));
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        let room = if high > low { (high - low) * 0.05 } else { 1.0 };
        let range = if low < 0.0 { low - room } else { 0.0 }..high + room;
        Some(Scale::Linear(range.clone().into(), self.unit.suiting(range.end).0))
    }
}

/// A scale says where values and labels stand.
enum Scale {
    /// Labels stand at round numbers of a unit that is worth so much.
    Linear(RangedCoordf64, f64),
    Log(LogCoord<f64>),
    /// There are so many rows, from the top.
    Rows(usize, RangedCoordf64),
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        match self {
            Self::Linear(coord, _) | Self::Rows(_, coord) => coord.map(value, limit),
            Self::Log(coord) => coord.map(value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        let Range { start, end } = self.range();
        match self {
            Self::Linear(_, worth) => {
                let in_units = RangedCoordf64::from(start / worth..end / worth);
                in_units.key_points(hint).into_iter().map(|at| at * worth).collect()
            }
            Self::Log(coord) => {
                // One or two decades have labels at 1, 2 and 5.
                let mut points =
                    coord.key_points(if end / start < 101.0 { 40 } else { hint.max_num_points() });
                let first_digit = |at: f64| (at / 10_f64.powf(at.log10().floor())).round() as u32;
                points.retain(|at| [1, 2, 5, 10].contains(&first_digit(*at)));
                points.dedup();
                points
            }
            Self::Rows(count, _) => (0..*count).map(|row| row as f64 + 0.5).collect(),
        }
    }

    fn range(&self) -> Range<f64> {
        match self {
            Self::Linear(coord, _) | Self::Rows(_, coord) => coord.range(),
            Self::Log(coord) => coord.range(),
        }
    }
}
