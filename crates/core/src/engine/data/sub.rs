//! One subscription: how far it is, and its account of every sequence number.

use tickwire_wire::Channel;

use super::account::Account;
use super::backfill::Backfill;
use super::entry::Stamp;
use super::rate::Rate;
use crate::vocabulary::TopicId;

/// One subscription. The fields stand in order of use. A delivery to one of many thousands of subscriptions costs a cache
/// miss or two, so the fields that it reads are in the first cache line.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sub {
    /// Every record that arrived up to this stamp was sent or accounted for.
    pub(crate) stamp: Stamp,
    /// The last sequence number that was sent or accounted for, in the sequence of `epoch`.
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    /// The granted rate; `None` where every update is wanted.
    pub(crate) rate: Option<Box<Rate>>,
    /// The part of the bus's history that is still to be sent before the topic's log. The log waits meanwhile.
    pub(crate) backfill: Option<Box<Backfill>>,
    delivered: u64,
    pub(crate) topic: TopicId,
    /// The channel of its topic.
    pub(crate) channel: Channel,
    /// The session's next subscription to the same instrument. All of them form a ring.
    pub(crate) sibling: u32,
    /// The place of this subscription among the topic's subscribers.
    pub(crate) place: u32,
    /// The difference between the account's `published` and `sent`. It is the count of sequence numbers in earlier epochs,
    /// less the sequence number after which the subscription began. It wraps where that would be negative.
    passed_before: u64,
    conflated: u64,
    dropped: u64,
    filtered: u64,
    /// The bytes of lossless records that wait to be sent.
    pub(crate) waiting_bytes: usize,
    /// Gaps that arrived up to this stamp were announced before the subscription began.
    pub(crate) since: Stamp,
    /// Lossless records that arrived up to this stamp will not be sent but announced as shed.
    pub(crate) shed_to: Stamp,
    /// The stamp of the topic's last change that a heartbeat told the client of.
    pub(crate) told: Stamp,
}

/// The state of a subscription between two records, so that it can be compared with a later state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) stamp: Stamp,
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    pub(crate) conflated: u64,
    pub(crate) dropped: u64,
}

// A subscription takes two cache lines, also in a list where some have ended (`None`).
const _: () = assert!(size_of::<Option<Sub>>() == 128);

impl Sub {
    /// Begins a subscription whose first sequence number is the one after `sent`.
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

    /// Lets the subscription begin after another sequence number, before anything was sent.
    pub(crate) fn begin_behind(&mut self, sent: u64) {
        (self.sent, self.passed_before) = (sent, sent.wrapping_neg());
    }

    /// Returns what became of the sequence numbers that passed. `published` is counted apart from the other counts, so that
    /// their sum can be checked against it.
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

    /// Settles the sequence numbers up to `to` as superseded. Those that passed while the subscription was throttled count
    /// as filtered, the others as conflated.
    pub(crate) fn superseded(&mut self, to: u64) {
        let passed = to.saturating_sub(self.sent);
        let throttled_to = self.rate.as_ref().map_or(0, |rate| rate.throttled_to());
        let filtered = throttled_to.min(to).saturating_sub(self.sent);
        self.filtered += filtered;
        self.conflated += passed - filtered;
        self.sent += passed;
    }

    /// Settles the sequence numbers `first` to `last` as announced in a gap, and those before `first` as superseded.
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

    /// Returns the present state, so that it can be told later what became of the sequence numbers after it.
    pub(crate) fn standing(&self) -> Standing {
        let Self { stamp, sent, epoch, conflated, dropped, .. } = *self;
        Standing { stamp, sent, epoch, conflated, dropped }
    }

    /// Returns the stamp up to which records may be sent.
    pub(crate) fn horizon(&self) -> Stamp {
        self.rate.as_ref().map_or(Stamp::MAX, |rate| rate.horizon)
    }

    pub(crate) fn is_throttled(&self) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.is_throttled())
    }

    /// Ends the throttling of the subscription, when the topic stands at `sequence` of `epoch`.
    pub(crate) fn release(&mut self, epoch: u64, sequence: u64) {
        let throttled_to = if self.epoch == epoch { sequence } else { u64::MAX };
        if let Some(rate) = self.rate.as_mut().filter(|rate| rate.is_throttled()) {
            rate.release(throttled_to);
        }
    }
}
