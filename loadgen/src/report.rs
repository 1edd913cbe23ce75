//! What came of a run.

pub(crate) mod assemble;
pub(crate) mod files;
pub(crate) mod model;
mod outcome;
mod text;
mod verdict;
