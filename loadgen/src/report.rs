//! A report says what came of a run.

pub(crate) mod assemble;
mod cautions;
mod content;
pub(crate) mod document;
pub(crate) mod files;
pub(crate) mod metric;
pub(crate) mod model;
pub(crate) mod statistics;
mod verdict;

#[cfg(test)]
#[path = "../tests/units/report.rs"]
pub(crate) mod tests;
