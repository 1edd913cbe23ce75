//! The outcome of a look at files that may have changed.

/// The outcome of a look at files that may have changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// They are as they were.
    Same,
    /// Their new content is in use.
    Replaced,
    /// They cannot be used, for this reason, and what they held before stays in use.
    Kept(String),
}
