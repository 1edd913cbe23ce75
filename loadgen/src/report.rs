//! What came of a run.

pub(crate) mod assemble;
pub(crate) mod files;
pub(crate) mod model;
mod text;
mod verdict;
