//! One subscription: how far it is, and its account of every number.

use tickwire_wire::Channel;

use super::account::Account;
use super::backfill::Backfill;
use super::entry::Stamp;
use super::rate::Rate;
use crate::vocabulary::TopicId;

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
    /// What arrived up to here may be sent.
    pub(crate) fn horizon(&self) -> Stamp {
        self.rate.as_ref().map_or(Stamp::MAX, |rate| rate.horizon)
    }

    pub(crate) fn rests(&self) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.rests())
    }

    /// Ends the rest, if there is one, when the topic stood at `number` of `epoch`.
    pub(crate) fn wake(&mut self, epoch: u64, number: u64) {
        let held_to = if self.epoch == epoch { number } else { u64::MAX };
        if let Some(rate) = self.rate.as_mut().filter(|rate| rate.rests()) {
            rate.wake(held_to);
        }
    }
}
