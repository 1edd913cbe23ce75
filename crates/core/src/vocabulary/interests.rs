//! What the shards want of the hub.

use std::sync::Arc;

use super::ids::TopicId;
use super::update::Update;

/// What the engine wants from the bus side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicInterest {
    /// Send me its state and everything after it.
    Want(TopicId),
    /// Nobody here wants it any more.
    Drop(TopicId),
    /// Look this up in the bus's history; answer with [`Event::Backfill`](super::Event::Backfill).
    Backfill(BackfillAsk),
    /// Nobody here has anything of the instrument with this index, which ended: the index may be used again.
    LetGo(u32),
}

/// A part of history that a session needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillAsk {
    /// Tells its response from others of this engine.
    pub ticket: u64,
    /// Of which topic.
    pub topic: TopicId,
    /// In which sequence.
    pub epoch: u64,
    /// First number that is needed.
    pub first: u64,
    /// Last number that is needed. A response may end before.
    pub last: u64,
    /// What the response before this one said; 0 for the first part.
    pub cursor: u64,
}

/// The response to a [`BackfillAsk`].
#[derive(Clone, Debug)]
pub struct Backfilled {
    /// Of the request.
    pub ticket: u64,
    /// Records and gaps of the asked sequence, by number, each number once, all within what was asked.
    pub updates: Vec<Arc<Update>>,
    /// All numbers up to here are answered: one that is not among `updates` cannot be had.
    pub upto: u64,
    /// For the next request.
    pub cursor: u64,
}
