//! The picture of `docs/benchmarks.md`: ages with the window and without, for each path and reader.

use std::path::Path;

use plotters::prelude::*;
use tickwire_testkit::age_at;

use super::paths::{Cell, Seen};

const WIDTH: u32 = 1_000;
const ROW: u32 = 16;
const ON: RGBColor = RGBColor(0xc2, 0x41, 0x0c);
const OFF: RGBColor = RGBColor(0x64, 0x74, 0x8b);

/// Draws it: a line from the median to the 99th percentile, with a dot at each; time on a logarithmic scale.
pub(crate) fn draw(cells: &[Cell], file: &Path) {
    let rows = cells.len() as f64;
    let root = SVGBackend::new(file, (WIDTH, ROW * (cells.len() as u32 * 2) + 90)).into_drawing_area();
    root.fill(&WHITE).unwrap();
    let caption =
        "age of the newest value shown, p50 to p99, in seconds: with the window (red), without (grey)";
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, ("sans-serif", 14))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(260)
        .build_cartesian_2d((0.02..60.0).log_scale(), 0.0..rows)
        .unwrap();
    let name = |at: &f64| {
        let cell = cells.get((rows - at.floor() - 1.0) as usize);
        cell.map_or(String::new(), |cell| format!("{}, {}", cell.path, cell.reader))
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|seconds| format!("{seconds}"))
        .light_line_style(WHITE)
        .draw()
        .unwrap();
    for (at, cell) in cells.iter().enumerate() {
        let middle = rows - at as f64 - 0.5;
        let place = chart.backend_coord(&(0.02, middle));
        let style = ("sans-serif", 12).into_font().color(&BLACK);
        root.draw(&Text::new(name(&middle), (10, place.1 - 6), style)).unwrap();
        for (seen, color, height) in [(&cell.on, ON, middle + 0.2), (&cell.off, OFF, middle - 0.2)] {
            let seconds = |seen: &Seen, quantile| age_at(&seen.ages, quantile).as_secs_f64().max(0.02);
            let ends = [0.5, 0.99].map(|quantile| (seconds(seen, quantile), height));
            chart.draw_series(LineSeries::new(ends, color.stroke_width(2))).unwrap();
            chart.draw_series(ends.map(|end| Circle::new(end, 3, color.filled()))).unwrap();
        }
    }
    root.present().unwrap();
}
