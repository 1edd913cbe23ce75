//! Pictures as SVG, drawn by Plotters.

use std::error::Error;
use std::ops::Range;

use plotters::coord::ranged1d::{BoldPoints, DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::Unit;

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
/// An axis has about so many labels.
const LABELS: usize = 8;

/// A picture with its title, and a sentence on what it shows: lines, or intervals in rows.
#[derive(Debug)]
pub struct Picture {
    /// Its title, which stands outside of what is drawn.
    pub title: String,
    /// A sentence on what it shows, which stands there as well.
    pub note: &'static str,
    /// The axis along the lower edge.
    pub x: Axis,
    /// This is the axis of the lines.
    pub y: Axis,
    /// Lines, which may be broken.
    pub lines: Vec<Line>,
    /// Moments at which something happened.
    pub marks: Vec<(f64, String)>,
    /// The first row is at the top.
    pub rows: Vec<Row>,
    /// Values at which a line goes through all rows.
    pub rules: Vec<f64>,
}

/// An axis of a picture.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// The name of what it shows.
    pub name: &'static str,
    /// The unit of its values.
    pub unit: Unit,
    /// Its base is 10; what has no place there is left out.
    pub is_log: bool,
}

/// Times on a logarithmic axis.
pub const TIME: Axis = Axis { name: "", unit: Unit::Nanoseconds, is_log: true };

/// A line of a picture.
#[derive(Debug)]
pub struct Line {
    /// Empty: it is not among the keys.
    pub name: String,
    /// The number of its colour.
    pub tint: usize,
    /// The line is broken where a value is not finite.
    pub points: Vec<(f64, f64)>,
}

/// An interval in a row of its own.
#[derive(Debug)]
pub struct Row {
    /// It stands before the row.
    pub name: String,
    /// The number of its colour.
    pub tint: usize,
    /// Its begin, a point in it, and its end.
    pub interval: [f64; 3],
}

impl Picture {
    /// Makes a picture of lines; those without points are left out.
    pub fn new(title: &str, note: &'static str, x: Axis, y: Axis, lines: Vec<Line>) -> Self {
        let title = title.to_owned();
        let mut picture = Self { title, note, x, y, lines, marks: vec![], rows: vec![], rules: vec![] };
        picture.lines.retain(|line| !line.points.is_empty());
        picture
    }

    /// Returns what its colours mean, as red, green and blue, where there are several.
    pub fn keys(&self) -> Vec<([u8; 3], &str)> {
        let named = self.lines.iter().filter(|line| !line.name.is_empty());
        let rgb = |RGBColor(red, green, blue)| [red, green, blue];
        let keys: Vec<_> = named.map(|line| (rgb(tint(line.tint)), line.name.as_str())).collect();
        if keys.len() > 1 { keys } else { Vec::new() }
    }

    /// Returns whether it takes more room than others.
    pub fn is_wide(&self) -> bool {
        !self.rules.is_empty()
    }

    /// Draws it; `None` where there is nothing to draw. Every text is escaped.
    ///
    /// # Errors
    /// When Plotters cannot draw it.
    pub fn to_svg(&self) -> Result<Option<String>, impl Error + use<>> {
        let rows_height = (60 + ROW_HEIGHT * self.rows.len() as u32).min(ROWS_HEIGHT_MAX);
        let height = if self.rows.is_empty() { HEIGHT } else { rows_height };
        let mut svg = String::new();
        let size = (if self.is_wide() { 900 } else { 620 }, height);
        let is_drawn = self.draw(SVGBackend::with_string(&mut svg, size));
        is_drawn.map(|is_drawn| is_drawn.then_some(svg))
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
            count => {
                let middles = (0..count).map(|row| row as f64 + 0.5).collect();
                (Some(Scale { coord: (count as f64..0.0).into(), labels: middles }), 290)
            }
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
            .x_desc(self.x.name)
            .x_label_formatter(&|at| self.x.label(*at))
            .y_label_formatter(&|at| if self.rows.is_empty() { self.y.label(*at) } else { row(*at) })
            .draw()?;
        let upright = |at: f64| PathElement::new([(self.x.place(at), from), (self.x.place(at), to)], SOFT);
        chart.draw_series(self.rules.iter().map(|at| upright(*at)))?;
        chart.draw_series(self.marks.iter().map(|(at, _)| upright(*at)))?;
        chart.draw_series(self.marks.iter().map(|(at, text)| Text::new(text.clone(), (*at, to), TEXT)))?;
        for line in &self.lines {
            for joined in line.points.split(|point| !has_place(point)) {
                let places = joined.iter().map(|(x, y)| (self.x.place(*x), self.y.place(*y)));
                let series = LineSeries::new(places, tint(line.tint).stroke_width(2));
                chart.draw_series(series.point_size(if joined.len() == 1 { 3 } else { 0 }))?;
            }
        }
        chart.draw_series(self.rows.iter().enumerate().map(|(at, row)| {
            let ([low, value, high], style) = (row.interval, tint(row.tint).filled().stroke_width(2));
            let [low, value, high] = [low, value, high].map(|end| self.x.place(end));
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

    /// Returns where a value stands: at its logarithm where the axis is logarithmic.
    fn place(&self, value: f64) -> f64 {
        if self.is_log { value.log10() } else { value }
    }

    fn label(&self, place: f64) -> String {
        self.unit.tick(if self.is_log { 10_f64.powf(place) } else { place })
    }

    /// Returns a scale that holds all values, with labels at round ones; None where there are none that it can hold.
    fn scale(&self, values: impl Iterator<Item = f64>) -> Option<Scale> {
        let places = values.filter(|value| self.has(*value)).map(|value| self.place(value));
        let (low, high) = places
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        if !(high - low).is_finite() {
            return None;
        }
        if self.is_log {
            let low = low.floor();
            let high = high.ceil().max(low + 1.0);
            // One or two decades have labels at 1, 2 and 5.
            let digits: &[f64] = if high - low < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
            // Percentiles near 1 have many digits.
            let labels = if self.unit == Unit::Nines { LABELS / 2 } else { LABELS };
            let decades = (low as i32..=high as i32).step_by(1 + (high - low) as usize / labels);
            let labels =
                decades.flat_map(|decade| digits.iter().map(move |digit| f64::from(decade) + digit.log10()));
            let labels = labels.filter(|place| *place <= high).collect();
            return Some(Scale { coord: (low..high).into(), labels });
        }
        let (low, high) = (low.min(0.0), high.max(0.0));
        let room = if high > low { (high - low) * 0.05 } else { 1.0 };
        let range = if low < 0.0 { low - room } else { 0.0 }..high + room;
        let worth = self.unit.suiting(range.end).0;
        let in_units = RangedCoordf64::from(range.start / worth..range.end / worth);
        let labels = in_units.key_points(BoldPoints(LABELS)).into_iter().map(|at| at * worth);
        Some(Scale { coord: range.into(), labels: labels.collect() })
    }
}

/// A linear scale with labels at these places.
struct Scale {
    coord: RangedCoordf64,
    labels: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.coord.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.labels.clone()
    }

    fn range(&self) -> Range<f64> {
        self.coord.range()
    }
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod tests;
