//! Measurements: latencies in histograms and, with the feature `pictures`, values for people and pictures as SVG.

mod latencies;
#[cfg(feature = "pictures")]
mod picture;
#[cfg(feature = "pictures")]
mod unit;

pub use latencies::{HIGHEST, Latencies, Summary};
#[cfg(feature = "pictures")]
pub use picture::{Axis, Line, Picture, Row, TIME};
#[cfg(feature = "pictures")]
pub use unit::Unit;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
