//! One subscription: how far it is, and its account of every sequence number.

use tickwire_wire::Channel;

use super::account::Account;
use super::backfill::Backfill;
use super::entry::Stamp;
use super::rate::Rate;
use crate::vocabulary::TopicId;

/// One subscription. The fields are in order of use: each delivery to thousands of these is a cache miss or two, so
/// what it reads is in the first line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sub {
    /// Everything that arrived up to here was sent or accounted for.
    pub(crate) stamp: Stamp,
    /// Last sequence number that was sent or accounted for, in the sequence of `epoch`.
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    /// Its rate; `None` where every update is wanted.
    pub(crate) rate: Option<Box<Rate>>,
    /// The part of history that it needs before its log; the log waits meanwhile.
    pub(crate) backfill: Option<Box<Backfill>>,
    delivered: u64,
    pub(crate) topic: TopicId,
    /// The channel of its topic.
    pub(crate) channel: Channel,
    /// Next subscription of the session to the same instrument: a ring.
    pub(crate) sibling: u32,
    /// Its place among the topic's subscribers.
    pub(crate) place: u32,
    /// Added to `sent`, this is how many sequence numbers passed: those of earlier sequences, less the one behind
    /// which it began. It wraps.
    passed_before: u64,
    conflated: u64,
    dropped: u64,
    filtered: u64,
    /// Bytes of lossless records that wait.
    pub(crate) waiting_bytes: usize,
    /// Gaps that arrived up to here were announced before it began.
    pub(crate) since: Stamp,
    /// Lossless records that arrived up to here will not be sent but announced as shed.
    pub(crate) shed_to: Stamp,
    /// The topic's last change when a heartbeat told of it.
    pub(crate) told: Stamp,
}

/// The standing of a subscription, between two records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) stamp: Stamp,
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    pub(crate) conflated: u64,
    pub(crate) dropped: u64,
}

// It has two cache lines, the place for a subscription that ended included.
const _: () = assert!(size_of::<Option<Sub>>() == 128);

impl Sub {
    /// Begins a subscription whose first sequence number is the one behind `sent`.
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

    /// Lets it begin behind another sequence number, before anything was sent.
    pub(crate) fn begin_behind(&mut self, sent: u64) {
        (self.sent, self.passed_before) = (sent, sent.wrapping_neg());
    }

    /// Returns what became of the sequence numbers that passed. How many those are is counted apart from what became
    /// of them.
    pub(crate) fn account(&self) -> Account {
        Account {
            published: self.passed_before.wrapping_add(self.sent),
            delivered: self.delivered,
            conflated: self.conflated,
            dropped: self.dropped,
            filtered: self.filtered,
        }
    }

    /// Settles the sequence numbers up to `to` by one delivered record.
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

    /// Settles the next `count` sequence numbers by as many delivered records.
    pub(crate) fn deliver_next(&mut self, count: u64) {
        self.delivered += count;
        self.sent += count;
    }

    /// Settles the sequence numbers up to `to` as superseded: as filtered, as far as they passed while the
    /// subscription was throttled.
    pub(crate) fn superseded(&mut self, to: u64) {
        let passed = to.saturating_sub(self.sent);
        let throttled_to = self.rate.as_ref().map_or(0, |rate| rate.throttled_to());
        let filtered = throttled_to.min(to).saturating_sub(self.sent);
        self.filtered += filtered;
        self.conflated += passed - filtered;
        self.sent += passed;
    }

    /// Settles the sequence numbers `first` to `last` as announced; what lies before was superseded.
    pub(crate) fn announce(&mut self, first: u64, last: u64) {
        self.superseded(first.saturating_sub(1).min(last));
        let dropped = last.saturating_sub(self.sent);
        self.dropped += dropped;
        self.sent += dropped;
    }

    /// Begins a new sequence.
    pub(crate) fn begin_sequence(&mut self, epoch: u64) {
        self.passed_before = self.passed_before.wrapping_add(self.sent);
        (self.epoch, self.sent) = (epoch, 0);
        if let Some(rate) = &mut self.rate {
            rate.forget_throttled();
        }
    }

    /// Returns where it stands now, so that it can be told what becomes of the next sequence numbers.
    pub(crate) fn standing(&self) -> Standing {
        let Self { stamp, sent, epoch, conflated, dropped, .. } = *self;
        Standing { stamp, sent, epoch, conflated, dropped }
    }

    /// Returns up to which arrival records may be sent.
    pub(crate) fn horizon(&self) -> Stamp {
        self.rate.as_ref().map_or(Stamp::MAX, |rate| rate.horizon)
    }

    pub(crate) fn is_throttled(&self) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.is_throttled())
    }

    /// The subscription is not throttled any more; the topic stands at `sequence` of `epoch`.
    pub(crate) fn release(&mut self, epoch: u64, sequence: u64) {
        let throttled_to = if self.epoch == epoch { sequence } else { u64::MAX };
        if let Some(rate) = self.rate.as_mut().filter(|rate| rate.is_throttled()) {
            rate.release(throttled_to);
        }
    }
}
