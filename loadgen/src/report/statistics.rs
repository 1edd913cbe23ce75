//! Many values come to one.

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
