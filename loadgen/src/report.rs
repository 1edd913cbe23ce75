//! What came of a run.

pub(crate) mod assemble;
mod doubts;
pub(crate) mod files;
pub(crate) mod model;
mod outcome;
mod text;
mod verdict;
