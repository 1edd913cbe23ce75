//! What came of a run.

mod first;
pub(crate) mod model;

pub(crate) use first::{Own, Report};
