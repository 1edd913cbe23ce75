//! A record as a topic keeps it, and the order in which records arrived.

use std::sync::Arc;

use crate::vocabulary::Update;

/// Order of arrival at the shard, over all topics.
pub(crate) type Stamp = u64;

/// The cost of an entry beside its bytes.
const ENTRY_OVERHEAD: usize = 256;

/// A record and when it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) update: Arc<Update>,
    /// The sequence that was in force before it.
    pub(crate) epoch_before: u64,
    /// Whether it announces a loss. It is kept here, because the record itself is a cache line further.
    pub(crate) is_gap: bool,
    /// The bytes that it costs in the log. They are kept here, because a record grows when it is encoded once more.
    pub(crate) bytes: usize,
}

impl Entry {
    pub(crate) fn new(stamp: Stamp, update: &Arc<Update>, epoch_before: u64) -> Self {
        let bytes = update.source_bytes() + ENTRY_OVERHEAD;
        Self { stamp, update: Arc::clone(update), epoch_before, is_gap: update.is_gap(), bytes }
    }
}
