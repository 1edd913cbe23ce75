//! A report says what came of a run.

pub(crate) mod assemble;
mod cautions;
mod content;
pub(crate) mod document;
pub(crate) mod files;
pub(crate) mod metric;
pub(crate) mod model;
mod verdict;

use statrs::statistics::{Data, OrderStatistics as _, Statistics as _};

/// Returns None for no values.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| Data::new(values.to_vec()).median())
}

/// Returns growth per unit of x, by least squares; 0 for less than three points.
pub(crate) fn slope(points: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (x, y): (Vec<_>, Vec<_>) = points.unzip();
    let spread = (&x).variance();
    if x.len() < 3 || spread == 0.0 { 0.0 } else { (&x).covariance(&y) / spread }
}

#[cfg(test)]
#[path = "../tests/units/report.rs"]
pub(crate) mod tests;
