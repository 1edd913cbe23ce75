//! The progress of a delayed view of one topic.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::vocabulary::Update;

/// The progress of a delayed view of one topic.
#[derive(Debug)]
pub(crate) struct Late {
    /// The place in the order from which on it was queued for this view. Before it are things of an earlier view of the same topic.
    pub(crate) from: u64,
    /// When its first state is old enough, in nanoseconds since the Unix epoch; 0 while no state is known.
    pub(crate) starts_at: u64,
    /// The bytes that its queued records count for.
    pub(crate) bytes: usize,
    /// Whether its records are not queued now, because there was no room for them.
    pub(crate) is_cut: bool,
    /// While it is cut and the bus has a history: when a record was last queued, from which the ones before it are looked up.
    pub(crate) marked_at: u64,
    /// Epoch and sequence number of that record.
    pub(crate) marked: (u64, u64),
    /// The hole that is being filled from the history.
    pub(crate) hole: Option<Box<Hole>>,
}

/// Sequence numbers of a view for which there was no room, and which are looked up in the bus's history.
#[derive(Debug)]
pub(crate) struct Hole {
    /// The ticket of the request that is open.
    pub(crate) ticket: u64,
    /// The last sequence number of it.
    pub(crate) last: u64,
    /// The time until which the open request may take, in nanoseconds.
    pub(crate) deadline: u64,
    /// The records behind it that have become old enough.
    pub(crate) waiting: VecDeque<Arc<Update>>,
}

impl Late {
    /// Begins a view that knows nothing yet. What it is to know is queued from this place on.
    pub(crate) fn new(from: u64) -> Self {
        Self { from, starts_at: 0, bytes: 0, is_cut: false, marked_at: 0, marked: (0, 0), hole: None }
    }
}
