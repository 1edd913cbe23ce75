//! Pictures as SVG inside the page. Plotters draws them; the page's style gives its colours their light and dark shades, by
//! matching the attributes that Plotters writes.

use std::fmt::Write as _;
use std::ops::Range;

use maud::{Markup, PreEscaped, html};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

/// By tint: as drawn and on white, on black. Okabe and Ito's, told apart by colour-blind people too.
const TINTS: [(RGBColor, &str); 6] = [
    (RGBColor(0, 114, 178), "#56b4e9"),
    (RGBColor(213, 94, 0), "#ff9a4d"),
    (RGBColor(0, 138, 101), "#2fd0a0"),
    (RGBColor(178, 60, 130), "#f08cc4"),
    (RGBColor(138, 106, 0), "#e6c229"),
    (RGBColor(90, 80, 200), "#a79cff"),
];
const INK: RGBColor = RGBColor(17, 17, 17);
const SOFT: RGBColor = RGBColor(102, 102, 102);
const RULE: RGBColor = RGBColor(204, 204, 204);
/// Plotters takes 1.24 of it for a pixel.
const TEXT_SIZE: i32 = 15;

pub(crate) enum Scale {
    Linear,
    /// Linear, with labels at round numbers of KiB, MiB and so on.
    Binary,
    /// Of base 10; values at or below 0 are left out.
    Log,
}

pub(crate) struct Axis<'a> {
    pub(crate) scale: Scale,
    pub(crate) name: &'a str,
    pub(crate) format: &'a dyn Fn(f64) -> String,
}

pub(crate) struct Line {
    /// Empty: not among the keys.
    pub(crate) name: String,
    pub(crate) tint: usize,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A moment at which something happened.
pub(crate) struct Mark {
    pub(crate) at: f64,
    pub(crate) text: String,
}

/// Something in a row, from the top.
pub(crate) struct Bar {
    pub(crate) row: usize,
    /// Where in the row, and of how many.
    pub(crate) slot: (usize, usize),
    pub(crate) tint: usize,
    pub(crate) shape: Shape,
}

pub(crate) enum Shape {
    /// From 0 to here.
    Filled(f64),
    /// A point, with an interval where there is one.
    Interval(f64, Option<(f64, f64)>),
}

/// Rules of the page's style for what is drawn here.
pub(crate) fn style() -> String {
    let mut light = String::from(":root{");
    let mut dark = String::from("@media (prefers-color-scheme:dark){:root{");
    let mut rules = String::new();
    let mut rule = |color: RGBColor, value: &str| {
        let RGBColor(r, g, b) = color;
        let hex = format!("#{r:02X}{g:02X}{b:02X}");
        let _ = write!(rules, "svg [stroke=\"{hex}\"]{{stroke:{value}}}svg [fill=\"{hex}\"]{{fill:{value}}}");
    };
    for (at, (color, on_black)) in TINTS.into_iter().enumerate() {
        let RGBColor(r, g, b) = color;
        let _ = write!(light, "--tint{at}:rgb({r},{g},{b});");
        let _ = write!(dark, "--tint{at}:{on_black};");
        rule(color, &format!("var(--tint{at})"));
    }
    rule(INK, "var(--ink)");
    rule(SOFT, "var(--soft)");
    rule(RULE, "var(--rule)");
    format!("{light}}}{dark}}}}}{rules}")
}

/// A picture with its title, a note, and what its colours mean.
pub(crate) fn figure(title: &str, note: &str, keys: &[(usize, String)], drawing: &Markup) -> Markup {
    html! {
        figure {
            figcaption {
                b { (title) } " " (note)
                @if keys.len() > 1 {
                    ul { @for (tint, name) in keys {
                        li { i.key style={"background:var(--tint" (tint % TINTS.len()) ")"} {} (name) }
                    } }
                }
            }
            (drawing)
        }
    }
}

/// Lines with their title; a sentence where there is nothing to draw.
pub(crate) fn lines(title: &str, note: &str, x: &Axis, y: &Axis, lines: &[Line], marks: &[Mark]) -> Markup {
    let named = lines.iter().filter(|line| !line.name.is_empty());
    let keys: Vec<_> = named.map(|line| (line.tint, line.name.clone())).collect();
    let lines: Vec<_> = lines
        .iter()
        .map(|line| {
            let points = line.points.iter().map(|(px, py)| (x.place(*px), y.place(*py)));
            let points: Vec<_> = points.filter(|(px, py)| px.is_finite() && py.is_finite()).collect();
            (tint(line.tint), points)
        })
        .collect();
    let drawing = drawn((620, 300), |area| {
        let all = || lines.iter().flat_map(|(_, points)| points);
        let Some((x_range, x_ticks)) = x.range(all().map(|point| point.0)) else { return Ok(false) };
        let Some((y_range, y_ticks)) = y.range(all().map(|point| point.1)) else { return Ok(false) };
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(34)
            .x_label_area_size(38)
            .y_label_area_size(78)
            .build_cartesian_2d(Ticked::new(&x_range, x_ticks), Ticked::new(&y_range, y_ticks))?;
        chart
            .configure_mesh()
            .axis_style(SOFT)
            .bold_line_style(RULE)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", TEXT_SIZE, &SOFT))
            .axis_desc_style(("sans-serif", TEXT_SIZE, &SOFT))
            .x_desc(x.name)
            .x_label_formatter(&|at| x.label(*at))
            .y_label_formatter(&|at| y.label(*at))
            .draw()?;
        for mark in marks.iter().filter(|mark| x_range.contains(&x.place(mark.at))) {
            let at = x.place(mark.at);
            chart.draw_series([PathElement::new(vec![(at, y_range.start), (at, y_range.end)], SOFT)])?;
            let place = (at, y_range.end);
            let style = ("sans-serif", TEXT_SIZE).into_font().color(&INK);
            chart.draw_series([Text::new(mark.text.clone(), place, style)])?;
        }
        for (color, points) in &lines {
            chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?;
            if let [point] = points.as_slice() {
                chart.draw_series([Circle::new(*point, 3, color.filled())])?;
            }
        }
        Ok(true)
    });
    figure(title, note, &keys, &drawing)
}

/// Rows with bars or intervals; `rules` are drawn through all rows.
pub(crate) fn rows(width: u32, names: &[String], x: &Axis, bars: &[Bar], rules: &[f64]) -> Markup {
    let height = 60 + 34 * names.len() as u32;
    drawn((width, height.min(4000)), |area| {
        let values = bars.iter().flat_map(|bar| match bar.shape {
            Shape::Filled(value) => [0.0, value, value],
            Shape::Interval(value, None) => [value; 3],
            Shape::Interval(value, Some((low, high))) => [low, value, high],
        });
        let Some((x_range, x_ticks)) = x.range(values.chain(rules.iter().copied())) else { return Ok(false) };
        let count = names.len() as f64;
        let row_ticks: Vec<_> = (0..names.len()).map(|row| row as f64 + 0.5).collect();
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(34)
            .x_label_area_size(38)
            .y_label_area_size(230)
            .build_cartesian_2d(Ticked::new(&x_range, x_ticks), Ticked::new(&(count..0.0), row_ticks))?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .axis_style(SOFT)
            .bold_line_style(RULE)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", TEXT_SIZE, &SOFT))
            .axis_desc_style(("sans-serif", TEXT_SIZE, &SOFT))
            .x_desc(x.name)
            .x_label_formatter(&|at| x.label(*at))
            .y_label_formatter(&|at| names.get(at.max(0.0) as usize).cloned().unwrap_or_default())
            .draw()?;
        for at in rules {
            chart.draw_series([PathElement::new(vec![(*at, 0.0), (*at, count)], SOFT)])?;
        }
        for bar in bars {
            let (slot, slots) = bar.slot;
            let height = 0.8 / slots.max(1) as f64;
            let top = bar.row as f64 + 0.1 + slot as f64 * height;
            let (middle, color) = (top + height / 2.0, tint(bar.tint));
            match bar.shape {
                Shape::Filled(value) => {
                    let corners = [(0.0, top), (value, top + height * 0.9)];
                    chart.draw_series([Rectangle::new(corners, color.filled())])?;
                }
                Shape::Interval(value, interval) => {
                    if let Some((low, high)) = interval {
                        let ends = vec![(low, middle), (high, middle)];
                        chart.draw_series([PathElement::new(ends, color.stroke_width(3))])?;
                    }
                    chart.draw_series([Circle::new((value, middle), 5, color.filled())])?;
                }
            }
        }
        Ok(true)
    })
}

type Drawn = Result<bool, DrawingAreaErrorKind<std::io::Error>>;

fn drawn(size: (u32, u32), draw: impl Fn(&DrawingArea<SVGBackend<'_>, Shift>) -> Drawn) -> Markup {
    let mut svg = String::new();
    let outcome = {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        draw(&area).and_then(|is_drawn| area.present().map(|()| is_drawn))
    };
    match outcome {
        // Plotters escapes every text that it writes.
        Ok(true) => PreEscaped(svg),
        Ok(false) => html! { p.soft { "Nothing was measured." } },
        Err(error) => html! { p.bad { "This picture could not be drawn: " (error.to_string()) } },
    }
}

/// A range whose labels stand where we say.
struct Ticked {
    range: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ticked {
    fn new(range: &Range<f64>, ticks: Vec<f64>) -> Self {
        Self { range: range.clone().into(), ticks }
    }
}

impl Ranged for Ticked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.range.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.range()
    }
}

fn tint(number: usize) -> RGBColor {
    TINTS[number % TINTS.len()].0
}

impl Axis<'_> {
    /// Of a value on the axis; not finite where it has no place there.
    fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear | Scale::Binary => value,
            Scale::Log => value.log10(),
        }
    }

    fn label(&self, place: f64) -> String {
        match self.scale {
            Scale::Linear | Scale::Binary => (self.format)(place),
            Scale::Log => (self.format)(10_f64.powf(place)),
        }
    }

    /// Holds all places, with where to write labels; nothing where there are no places.
    fn range(&self, places: impl Iterator<Item = f64>) -> Option<(Range<f64>, Vec<f64>)> {
        let places = places.filter(|place| place.is_finite());
        let (low, high) = places
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| (low.min(place), high.max(place)));
        if !(high - low).is_finite() {
            return None;
        }
        match self.scale {
            Scale::Log => {
                let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
                let decades = low as i64..=high as i64;
                let steps: &[f64] = if high - low <= 2.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
                let ticks =
                    decades.flat_map(|decade| steps.iter().map(move |step| decade as f64 + step.log10()));
                Some((low..high, ticks.filter(|tick| *tick <= high).collect()))
            }
            Scale::Linear | Scale::Binary => {
                let (low, high) = (low.min(0.0), high.max(0.0));
                let span = if high > low { high - low } else { 1.0 };
                let range =
                    (if low < 0.0 { low - span * 0.05 } else { 0.0 })..high.max(low + span) + span * 0.05;
                let unit = match self.scale {
                    Scale::Binary => 1024_f64.powf(range.end.log(1024.0).floor().max(0.0)),
                    _ => 1.0,
                };
                let in_units = RangedCoordf64::from(range.start / unit..range.end / unit);
                let ticks = in_units.key_points(6_usize).into_iter().map(|tick| tick * unit).collect();
                Some((range, ticks))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis<'static> {
        Axis { scale, name: "x", format: &|value| format!("{value}") }
    }

    fn drawn(points: Vec<(f64, f64)>, mark: &str) -> String {
        let line = Line { name: "a".to_owned(), tint: 0, points };
        let marks = [Mark { at: 1.0, text: mark.to_owned() }];
        lines("title", "", &axis(Scale::Linear), &axis(Scale::Log), &[line], &marks).into_string()
    }

    #[test]
    fn a_line_has_all_its_points_and_text_is_escaped() {
        let page = drawn(vec![(0.0, 1.0), (1.0, 10.0), (2.0, 1000.0)], "<b onclick='x'>");
        let line = page.lines().find(|line| line.contains("stroke-width=\"2\"")).expect("a line");
        assert_eq!(line.matches(',').count(), 3, "{line}");
        assert!(page.contains("&lt;b onclick=&apos;x&apos;&gt;") && !page.contains("<b onclick"), "{page}");
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert!(drawn(vec![], "").contains("Nothing was measured"));
        assert!(drawn(vec![(0.0, 0.0), (f64::NAN, 1.0)], "").contains("Nothing was measured"));
        assert!(drawn(vec![(-1e308, 1.0), (1e308, 1.0)], "").contains("Nothing was measured"));
        assert!(drawn(vec![(0.0, 5.0)], "").contains("<circle"));
    }

    #[test]
    fn axes_hold_what_is_drawn_and_few_labels() {
        let (range, ticks) = axis(Scale::Log).range([0.3, 2.4].into_iter()).unwrap();
        assert_eq!((range, ticks), (0.0..3.0, vec![0.0, 1.0, 2.0, 3.0]));
        let (range, ticks) = axis(Scale::Linear).range([-3.0, 40.0].into_iter()).unwrap();
        assert!(
            range.start < -3.0 && range.end > 40.0 && (3..=8).contains(&ticks.len()),
            "{range:?} {ticks:?}"
        );
        assert!(axis(Scale::Linear).range([0.0, 0.0].into_iter()).is_some());
    }

    #[test]
    fn every_colour_has_a_shade_for_light_and_dark() {
        let style = style();
        for at in 0..TINTS.len() {
            assert_eq!(style.matches(&format!("--tint{at}:")).count(), 2);
        }
        assert!(style.contains("svg [stroke=\"#0072B2\"]{stroke:var(--tint0)}"));
    }
}
