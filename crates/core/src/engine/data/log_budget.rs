//! The sum of all logs of a shard, and which topics have one.

use crate::vocabulary::TopicId;

/// The sum of all logs of a shard, and where they are.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    pub(crate) total: usize,
    /// Price levels of all books.
    pub(crate) levels: usize,
    /// Topics whose logs were not empty when they were last weighed.
    pub(crate) topics: Vec<TopicId>,
    /// The place where the last search for a long log stopped.
    pub(crate) hand: usize,
}

impl LogBudget {
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn levels(&self) -> usize {
        self.levels
    }
}

/// The bytes and levels that a topic counts for, and its place among those that count.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weighed {
    pub(crate) bytes: usize,
    pub(crate) levels: usize,
    pub(crate) place: Option<u32>,
}
