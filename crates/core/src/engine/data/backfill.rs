//! Returning sessions may need records of the bus's history. [`Backfill`] belongs to a subscription, [`Turns`] to a
//! session, [`Desk`] to the engine.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::key::SubRef;
use crate::vocabulary::Update;

/// Most parts of one session that are asked for or kept at the same time.
pub const PARTS_MAX: usize = 4;

/// The limits of going back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackfillLimits {
    /// Most sequence numbers that one resumed subscription is sent from history; those before are announced as a gap.
    pub records_max: u64,
    /// The longest time that a part may take to come, in nanoseconds. It is below the 5 s after which clients stop
    /// waiting by themselves.
    pub timeout_ns: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The next part is asked for when the session's turn comes.
    Queued,
    Asked,
    /// `records` are to be sent, then everything up to `upto` is settled.
    Here,
}

/// The part of history that a subscription still needs.
#[derive(Debug)]
pub(crate) struct Backfill {
    pub(crate) stage: Stage,
    pub(crate) ticket: u64,
    /// Whether it counts among the session's parts.
    pub(crate) is_active: bool,
    pub(crate) records: VecDeque<Arc<Update>>,
    pub(crate) upto: u64,
    /// The log has what comes behind this sequence number.
    pub(crate) last: u64,
    pub(crate) cursor: u64,
    /// The count of sequence numbers that may still be added to `last`.
    pub(crate) spare: u64,
}

impl Backfill {
    /// Goes back from `last`, as far as the limit allows. Returns it with the sequence number behind which it starts.
    pub(crate) fn new(behind: u64, last: u64, limits: BackfillLimits) -> (Box<Self>, u64) {
        let start = behind.max(last.saturating_sub(limits.records_max));
        let backfill = Self {
            stage: Stage::Queued,
            ticket: 0,
            is_active: false,
            records: VecDeque::new(),
            upto: start,
            last,
            cursor: 0,
            spare: limits.records_max - (last - start),
        };
        (Box::new(backfill), start)
    }

    /// Returns whether the subscription can go on.
    pub(crate) fn is_here(&self) -> bool {
        self.stage == Stage::Here
    }

    pub(crate) fn give_up(&mut self) {
        self.stage = Stage::Here;
        self.upto = self.last;
    }
}

/// The parts of one session: their count, and the subscriptions that wait for their turn.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) active: usize,
    pub(crate) queue: VecDeque<u32>,
}

impl Turns {
    /// No parts, and nobody who waits.
    pub(crate) const NONE: Self = Self { active: 0, queue: VecDeque::new() };

    /// Returns whether there are no parts, and nobody waits.
    pub(crate) fn is_none(&self) -> bool {
        self.active == 0 && self.queue.is_empty()
    }

    /// Notes that a subscription needs its next part.
    pub(crate) fn queue(&mut self, sub: u32) {
        self.queue.push_back(sub);
    }

    /// Forgets a subscription that ended. Returns whether it may be in the queue: see [`Turns::sweep`].
    pub(crate) fn forget(&mut self, backfill: Option<&Backfill>) -> bool {
        let Some(backfill) = backfill else { return false };
        self.active -= usize::from(backfill.is_active);
        backfill.stage == Stage::Queued
    }

    /// Takes those that ended out of the queue.
    pub(crate) fn sweep(&mut self, is_there: impl Fn(u32) -> bool) {
        self.queue.retain(|index| is_there(*index));
    }

    /// Returns whether a subscription waits and there is room for its part.
    pub(crate) fn is_due(&self) -> bool {
        self.active < PARTS_MAX && !self.queue.is_empty()
    }
}

/// The requests for history that are open.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) limits: Option<BackfillLimits>,
    pub(crate) tickets: u64,
    /// The subscription that waits for each ticket. It may have ended.
    pub(crate) open: HashMap<u64, SubRef>,
    /// Deadlines of the requests, those included that have a response. They are in order, because each request may
    /// take the same time.
    pub(crate) due: VecDeque<(u64, u64)>,
}
