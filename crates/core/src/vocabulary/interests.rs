//! Interests: what the shards want of the hub.

use std::sync::Arc;

use super::ids::TopicId;
use super::update::Update;

/// An interest of the engine in something of the bus side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicInterest {
    /// The engine wants the topic's state and everything after it. Where it has the topic already, it wants the state again: it gave up what
    /// it had.
    Want(TopicId),
    /// Nobody here wants it any more.
    Drop(TopicId),
    /// The engine wants this looked up in the bus's history; the response is an
    /// [`Event::Backfill`](super::Event::Backfill).
    Backfill(BackfillAsk),
    /// Nobody here has anything of the instrument with this index, which ended: the index may be used again.
    LetGo(u32),
}

/// A part of history that a session needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillAsk {
    /// A number that tells its response from others of this engine.
    pub ticket: u64,
    /// The topic.
    pub topic: TopicId,
    /// The sequence.
    pub epoch: u64,
    /// First sequence number that is needed.
    pub first: u64,
    /// Last sequence number that is needed. A response may end before.
    pub last: u64,
    /// The cursor of the response before this one; 0 for the first part.
    pub cursor: u64,
}

/// The response to a [`BackfillAsk`].
#[derive(Clone, Debug)]
pub struct Backfilled {
    /// The ticket of the request.
    pub ticket: u64,
    /// Records and gaps of the asked sequence, in order, each sequence number once, all within what was asked.
    pub updates: Vec<Arc<Update>>,
    /// All sequence numbers up to here are settled: one that is not among `updates` cannot be had.
    pub upto: u64,
    /// The cursor for the next request.
    pub cursor: u64,
}
