//! The picture of `docs/benchmarks.md`: ages with the window and without, for each path and reader.

use std::path::Path;

use tickwire_measure::{Picture, Row, TIME};
use tickwire_testkit::age_at;

use super::paths::{Cell, Seen};

/// Draws it: a line from the median to the 99th percentile, with a point at the 90th.
pub(crate) fn draw(cells: &[Cell], file: &Path) {
    let row = |cell: &Cell, seen: &Seen, window: &str, tint| {
        let interval = [0.5, 0.9, 0.99].map(|quantile| age_at(&seen.ages, quantile).as_nanos() as f64);
        Row { name: format!("{}, {}, {window}", cell.path, cell.reader), tint, interval }
    };
    let rows =
        cells.iter().flat_map(|cell| [row(cell, &cell.on, "window", 1), row(cell, &cell.off, "none", 0)]);
    let title = "age of the newest value shown, p50 to p99, with the window and without";
    let picture = Picture { rows: rows.collect(), ..Picture::new(title, "", TIME, TIME, Vec::new()) };
    std::fs::write(file, picture.to_svg().unwrap().unwrap_or_default()).unwrap();
}
