//! One subscription: how far it is, and its account of every number.

use tickwire_wire::{Channel, LedgerEntry};

use super::backfill::Backfill;
use super::rate::Rate;
use super::session::SessionKey;
use super::topic::{Stamp, Topic};
use crate::vocabulary::TopicId;

/// Where a subscription is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SubRef {
    pub(crate) session: SessionKey,
    pub(crate) sub: u32,
}

/// A subscription as its topic sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscriber {
    pub(crate) at: SubRef,
    /// It may rest. Kept here, because an update for one that has no rate need not touch it.
    pub(crate) has_rate: bool,
}

/// What became of the numbers that passed a subscription: the first is the sum of the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Sequence numbers that passed since the subscription began.
    pub published: u64,
    /// Records that were handed over.
    pub delivered: u64,
    /// Sequence numbers that a newer record superseded before they could be sent.
    pub conflated: u64,
    /// Sequence numbers that were announced in gaps.
    pub dropped: u64,
    /// Sequence numbers that were superseded while the rate of the subscription held them back.
    pub filtered: u64,
}

impl std::ops::Add for Account {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            published: self.published + other.published,
            delivered: self.delivered + other.delivered,
            conflated: self.conflated + other.conflated,
            dropped: self.dropped + other.dropped,
            filtered: self.filtered + other.filtered,
        }
    }
}

/// In order of use: each delivery to thousands of these is a cache miss or two, so what it reads is in the first line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sub {
    /// Everything that arrived up to here was sent or accounted for.
    pub(crate) stamp: Stamp,
    /// Last number that was sent or accounted for, in the sequence of `epoch`.
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    /// `None` where every update is wanted.
    pub(crate) rate: Option<Box<Rate>>,
    /// What it needs from history before its log; the log waits.
    pub(crate) backfill: Option<Box<Backfill>>,
    delivered: u64,
    pub(crate) topic: TopicId,
    /// Of its topic.
    pub(crate) channel: Channel,
    /// Next subscription of the session to the same instrument: a ring.
    pub(crate) sibling: u32,
    /// Its place among the topic's subscribers.
    pub(crate) place: u32,
    /// What to add to `sent` for how many numbers passed: what passed in earlier sequences, less where it began. It wraps.
    passed_before: u64,
    conflated: u64,
    dropped: u64,
    filtered: u64,
    /// Bytes of lossless records that wait.
    pub(crate) waiting_bytes: usize,
    /// Gaps that arrived up to here were before its time.
    pub(crate) since: Stamp,
    /// Lossless records that arrived up to here will not be sent but announced as shed.
    pub(crate) shed_to: Stamp,
    /// When what a heartbeat told of it had changed last.
    pub(crate) told: Stamp,
}

// Two cache lines, the place for a subscription that ended included.
const _: () = assert!(size_of::<Option<Sub>>() == 128);

impl Sub {
    /// A subscription whose first number is the one behind `sent`.
    pub(crate) fn new(topic: TopicId, epoch: u64, sent: u64, stamp: Stamp) -> Self {
        Self {
            stamp,
            sent,
            epoch,
            rate: None,
            backfill: None,
            delivered: 0,
            topic,
            channel: topic.channel(),
            sibling: 0,
            place: 0,
            passed_before: sent.wrapping_neg(),
            conflated: 0,
            dropped: 0,
            filtered: 0,
            waiting_bytes: 0,
            since: 0,
            shed_to: 0,
            told: 0,
        }
    }

    /// It begins behind another number, and before anything was sent.
    pub(crate) fn begin_behind(&mut self, sent: u64) {
        (self.sent, self.passed_before) = (sent, sent.wrapping_neg());
    }

    /// What became of the numbers that passed. How many that were is counted apart from what became of them.
    pub(crate) fn account(&self) -> Account {
        Account {
            published: self.passed_before.wrapping_add(self.sent),
            delivered: self.delivered,
            conflated: self.conflated,
            dropped: self.dropped,
            filtered: self.filtered,
        }
    }

    /// Numbers up to `to` are settled by one delivered record.
    #[inline]
    pub(crate) fn deliver(&mut self, to: u64) {
        if to > self.sent {
            if to > self.sent + 1 {
                self.superseded(to - 1);
            }
            self.delivered += 1;
            self.sent = to;
        }
    }

    /// The next `count` numbers are settled by as many delivered records.
    pub(crate) fn deliver_next(&mut self, count: u64) {
        self.delivered += count;
        self.sent += count;
    }

    /// Numbers up to `to` were superseded: by the rate as far as they passed while the subscription rested.
    pub(crate) fn superseded(&mut self, to: u64) {
        let passed = to.saturating_sub(self.sent);
        let held_to = self.rate.as_ref().map_or(0, |rate| rate.held_to());
        let filtered = held_to.min(to).saturating_sub(self.sent);
        self.filtered += filtered;
        self.conflated += passed - filtered;
        self.sent += passed;
    }

    /// Numbers `first` to `last` are settled by announcing them; what lies before was superseded.
    pub(crate) fn announce(&mut self, first: u64, last: u64) {
        self.superseded(first.saturating_sub(1).min(last));
        let dropped = last.saturating_sub(self.sent);
        self.dropped += dropped;
        self.sent += dropped;
    }

    /// The sequence starts again.
    pub(crate) fn renumber(&mut self, epoch: u64) {
        self.passed_before = self.passed_before.wrapping_add(self.sent);
        (self.epoch, self.sent) = (epoch, 0);
        if let Some(rate) = &mut self.rate {
            rate.forget_held();
        }
    }
}

/// What became of one subscription's numbers, for the client. What still waits is not part of any of them.
pub(crate) fn ledger_entry(sub: &Sub, topic: &Topic) -> LedgerEntry {
    let account = sub.account();
    LedgerEntry {
        instrument: topic.info.id,
        channel: topic.channel as i32,
        symbol: topic.info.scale.symbol.clone(),
        published: account.published,
        delivered: account.delivered,
        conflated: account.conflated,
        dropped: account.dropped,
        filtered: account.filtered,
    }
}
