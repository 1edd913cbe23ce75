//! The sums of an export.

/// The result of an export.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// The files.
    pub files: u64,
    /// The rows in all files, gaps among them.
    pub rows: u64,
    /// The gaps.
    pub gaps: u64,
    /// The events that are missing, where gaps know how many.
    pub missing: u64,
    /// The gaps of unknown size.
    pub unknown_gaps: u64,
    /// The places of the recordings that could not be read.
    pub faults: u64,
}
