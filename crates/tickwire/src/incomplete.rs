//! The error of commands that read recordings to their end, and could not use all of them.

/// Recordings were read to their end, and not all that is in them could be used.
#[derive(Debug, thiserror::Error)]
#[error("{what} is over, but {reason}")]
pub(crate) struct Incomplete {
    what: &'static str,
    reason: String,
}

impl Incomplete {
    pub(crate) fn new(what: &'static str, reason: String) -> Self {
        Self { what, reason }
    }
}
