//! One subscription: how far it is, and its account of every sequence number.

use std::num::NonZeroU32;

use tickwire_wire::Channel;

use super::account::Account;
use super::backfill::Backfill;
use super::entry::Stamp;
use super::rate::Rate;
use crate::vocabulary::TopicId;

/// One subscription. A delivery to one of many thousands of subscriptions costs a cache miss or two, so all that it reads is in
/// one cache line; what most subscriptions never have stands apart.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Sub {
    /// Every record that arrived up to this stamp was sent or accounted for.
    pub(crate) stamp: Stamp,
    /// The last sequence number that was sent or accounted for, in the sequence of `epoch`.
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    /// The difference between the account's `published` and `sent`. It is the count of sequence numbers in earlier epochs,
    /// less the sequence number after which the subscription began. It wraps where that would be negative.
    passed_before: u64,
    /// The parts that it seldom has.
    unusual: Option<Box<Unusual>>,
    pub(crate) topic: TopicId,
    /// The session's next subscription to the same instrument. All of them form a ring.
    pub(crate) sibling: u32,
    /// The lower halves of two counts; [`Unusual`] has the upper ones.
    delivered: u32,
    conflated: u32,
    /// The bytes of lossless records that wait to be sent. A session that waits for more than a gibibyte is closed.
    waiting: u32,
    /// The place of this subscription among the topic's subscribers, and one more.
    place: NonZeroU32,
}

/// The parts of a subscription that most subscriptions do not have.
#[derive(Debug)]
struct Unusual {
    /// The granted rate; `None` where every update is wanted.
    rate: Option<Rate>,
    /// The part of the bus's history that is still to be sent before the topic's log. The log waits meanwhile.
    backfill: Option<Box<Backfill>>,
    /// The upper halves of these counts.
    delivered: u64,
    conflated: u64,
    dropped: u64,
    filtered: u64,
    /// Gaps that arrived up to this stamp were announced before the subscription began.
    since: Stamp,
    /// Lossless records that arrived up to this stamp will not be sent but announced as shed.
    shed_to: Stamp,
    /// Whether the next heartbeat has to tell the position of its topic, though that did not change.
    is_untold: bool,
}

impl Unusual {
    const NONE: Self = Self {
        rate: None,
        backfill: None,
        delivered: 0,
        conflated: 0,
        dropped: 0,
        filtered: 0,
        since: 0,
        shed_to: 0,
        is_untold: false,
    };
}

/// The state of a subscription between two records, so that it can be compared with a later state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    pub(crate) stamp: Stamp,
    pub(crate) sent: u64,
    pub(crate) epoch: u64,
    /// The lower half of the count.
    conflated: u32,
    pub(crate) dropped: u64,
}

// A subscription takes one cache line, also in a list where some have ended (`None`). Idle sessions consist of little else.
const _: () = assert!(size_of::<Option<Sub>>() == 64);

/// Adds to a count whose lower half is in `low`. Returns what the upper half grows by.
#[inline]
fn add(low: &mut u32, more: u64) -> u64 {
    let sum = u64::from(*low) + more;
    *low = sum as u32;
    sum - u64::from(*low)
}

impl Sub {
    /// Begins a subscription whose first sequence number is the one after `sent`.
    pub(crate) fn new(topic: TopicId, epoch: u64, sent: u64, stamp: Stamp) -> Self {
        Self {
            stamp,
            sent,
            epoch,
            passed_before: sent.wrapping_neg(),
            unusual: None,
            topic,
            sibling: 0,
            delivered: 0,
            conflated: 0,
            waiting: 0,
            place: NonZeroU32::MIN,
        }
    }

    /// Lets the subscription begin after another sequence number, before anything was sent.
    pub(crate) fn begin_behind(&mut self, sent: u64) {
        (self.sent, self.passed_before) = (sent, sent.wrapping_neg());
    }

    #[inline]
    fn unusual(&self) -> &Unusual {
        static NONE: Unusual = Unusual::NONE;
        self.unusual.as_deref().unwrap_or(&NONE)
    }

    /// Returns it to write to it, made where it was not there. It stands apart from what is done for each record.
    #[cold]
    #[inline(never)]
    fn unusual_mut(&mut self) -> &mut Unusual {
        self.unusual.get_or_insert_with(|| Box::new(Unusual::NONE))
    }

    /// Returns the channel of its topic.
    #[inline]
    pub(crate) fn channel(&self) -> Channel {
        self.topic.channel()
    }

    /// Returns its place among the topic's subscribers.
    pub(crate) fn place(&self) -> usize {
        self.place.get() as usize - 1
    }

    pub(crate) fn set_place(&mut self, place: usize) {
        self.place = NonZeroU32::MIN.saturating_add(place as u32);
    }

    /// Returns whether it has neither a rate nor anything of the bus's history to be sent.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.unusual.as_ref().is_none_or(|unusual| unusual.rate.is_none() && unusual.backfill.is_none())
    }

    /// Returns the granted rate; `None` where every update is wanted.
    pub(crate) fn rate(&self) -> Option<&Rate> {
        self.unusual.as_ref()?.rate.as_ref()
    }

    pub(crate) fn rate_mut(&mut self) -> Option<&mut Rate> {
        self.unusual.as_mut()?.rate.as_mut()
    }

    pub(crate) fn set_rate(&mut self, rate: Option<Rate>) {
        if rate.is_some() || self.rate().is_some() {
            self.unusual_mut().rate = rate;
        }
    }

    /// Returns the part of the bus's history that is still to be sent before the topic's log.
    pub(crate) fn backfill(&self) -> Option<&Backfill> {
        self.unusual.as_ref()?.backfill.as_deref()
    }

    pub(crate) fn backfill_mut(&mut self) -> Option<&mut Backfill> {
        self.unusual.as_mut()?.backfill.as_deref_mut()
    }

    pub(crate) fn take_backfill(&mut self) -> Option<Box<Backfill>> {
        self.unusual.as_mut()?.backfill.take()
    }

    pub(crate) fn set_backfill(&mut self, backfill: Box<Backfill>) {
        self.unusual_mut().backfill = Some(backfill);
    }

    /// Returns the stamp up to which everything was sent, or gaps were announced before the subscription began.
    pub(crate) fn announced_to(&self) -> Stamp {
        self.stamp.max(self.unusual().since)
    }

    /// Notes that gaps up to a stamp were announced before the subscription began.
    pub(crate) fn begin_after_gaps(&mut self, since: Stamp) {
        self.unusual_mut().since = since;
    }

    /// Lets the next heartbeat tell the position of its topic.
    pub(crate) fn leave_untold(&mut self) {
        self.unusual_mut().is_untold = true;
    }

    /// Returns whether the next heartbeat has to tell the position of its topic, and notes that it does.
    pub(crate) fn take_untold(&mut self) -> bool {
        self.unusual.as_mut().is_some_and(|unusual| std::mem::take(&mut unusual.is_untold))
    }

    /// Returns the stamp up to which lossless records will be announced as shed.
    pub(crate) fn shed_to(&self) -> Stamp {
        self.unusual().shed_to
    }

    /// Returns whether a lossless record that arrived at a stamp will be announced as shed.
    #[inline]
    pub(crate) fn is_shed(&self, stamp: Stamp) -> bool {
        self.unusual.as_ref().is_some_and(|unusual| stamp <= unusual.shed_to)
    }

    /// Gives up the lossless records that arrived up to a stamp. Returns how many bytes wait no more.
    pub(crate) fn shed(&mut self, to: Stamp) -> usize {
        self.unusual_mut().shed_to = to;
        self.settle_all()
    }

    /// Returns how many bytes of lossless records wait to be sent.
    #[inline]
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.waiting as usize
    }

    /// Notes that so many bytes more wait.
    #[inline]
    pub(crate) fn wait_for(&mut self, bytes: usize) {
        self.waiting += bytes as u32;
    }

    /// Notes that so many bytes wait no more, or all where these are fewer. Returns how many these are.
    #[inline]
    pub(crate) fn settle(&mut self, bytes: usize) -> usize {
        let settled = bytes.min(self.waiting as usize);
        self.waiting -= settled as u32;
        settled
    }

    /// Notes that no bytes wait any more. Returns how many waited.
    #[inline]
    pub(crate) fn settle_all(&mut self) -> usize {
        std::mem::take(&mut self.waiting) as usize
    }

    /// Returns what became of the sequence numbers that passed. `published` is counted apart from the other counts, so that
    /// their sum can be checked against it.
    pub(crate) fn account(&self) -> Account {
        let unusual = self.unusual();
        Account {
            published: self.passed_before.wrapping_add(self.sent),
            delivered: unusual.delivered + u64::from(self.delivered),
            conflated: unusual.conflated + u64::from(self.conflated),
            dropped: unusual.dropped,
            filtered: unusual.filtered,
        }
    }

    fn add_delivered(&mut self, more: u64) {
        let upper = add(&mut self.delivered, more);
        if upper > 0 {
            self.unusual_mut().delivered += upper;
        }
    }

    fn add_conflated(&mut self, more: u64) {
        let upper = add(&mut self.conflated, more);
        if upper > 0 {
            self.unusual_mut().conflated += upper;
        }
    }

    /// Settles the sequence numbers up to `to` by one delivered record.
    #[inline]
    pub(crate) fn deliver(&mut self, to: u64) {
        if to == self.sent + 1 && self.delivered < u32::MAX {
            // Nothing was passed over.
            self.delivered += 1;
            self.sent = to;
        } else {
            self.deliver_beyond(to);
        }
    }

    #[inline(never)]
    fn deliver_beyond(&mut self, to: u64) {
        if to > self.sent {
            self.superseded(to - 1);
            self.add_delivered(1);
            self.sent = to;
        }
    }

    /// Settles the next `count` sequence numbers by as many delivered records.
    pub(crate) fn deliver_next(&mut self, count: u64) {
        self.add_delivered(count);
        self.sent += count;
    }

    /// Settles the sequence numbers up to `to` as superseded. Those that passed while the subscription was throttled count
    /// as filtered, the others as conflated.
    pub(crate) fn superseded(&mut self, to: u64) {
        let passed = to.saturating_sub(self.sent);
        let throttled_to = self.rate().map_or(0, Rate::throttled_to);
        let filtered = throttled_to.min(to).saturating_sub(self.sent);
        if filtered > 0 {
            self.unusual_mut().filtered += filtered;
        }
        self.add_conflated(passed - filtered);
        self.sent += passed;
    }

    /// Settles the sequence numbers `first` to `last` as announced in a gap, and those before `first` as superseded.
    pub(crate) fn announce(&mut self, first: u64, last: u64) {
        self.superseded(first.saturating_sub(1).min(last));
        let dropped = last.saturating_sub(self.sent);
        if dropped > 0 {
            self.unusual_mut().dropped += dropped;
        }
        self.sent += dropped;
    }

    /// Begins a new sequence.
    pub(crate) fn begin_sequence(&mut self, epoch: u64) {
        self.passed_before = self.passed_before.wrapping_add(self.sent);
        (self.epoch, self.sent) = (epoch, 0);
        if let Some(rate) = self.rate_mut() {
            rate.forget_throttled();
        }
    }

    /// Returns the present state, so that it can be told later what became of the sequence numbers after it.
    pub(crate) fn standing(&self) -> Standing {
        let Self { stamp, sent, epoch, conflated, .. } = *self;
        Standing { stamp, sent, epoch, conflated, dropped: self.unusual().dropped }
    }

    /// Returns how many sequence numbers were announced in gaps since then.
    pub(crate) fn dropped_since(&self, before: Standing) -> u64 {
        self.unusual().dropped - before.dropped
    }

    /// Returns how many sequence numbers were superseded since then: fewer than four billion.
    pub(crate) fn conflated_since(&self, before: Standing) -> u64 {
        self.conflated.wrapping_sub(before.conflated).into()
    }

    /// Returns the stamp up to which records may be sent.
    pub(crate) fn horizon(&self) -> Stamp {
        self.rate().map_or(Stamp::MAX, |rate| rate.horizon)
    }

    pub(crate) fn is_throttled(&self) -> bool {
        self.rate().is_some_and(Rate::is_throttled)
    }

    /// Ends the throttling of the subscription, when the topic stands at `sequence` of `epoch`.
    pub(crate) fn release(&mut self, epoch: u64, sequence: u64) {
        let throttled_to = if self.epoch == epoch { sequence } else { u64::MAX };
        if let Some(rate) = self.rate_mut().filter(|rate| rate.is_throttled()) {
            rate.release(throttled_to);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_go_on_beyond_what_their_lower_halves_hold() {
        let mut sub = Sub::new(TopicId::new(1, Channel::Trade), 7, 100, 0);
        let most = u64::from(u32::MAX);
        for (more, total) in [(most, most), (1, most + 1), (3 * most, 4 * most + 1)] {
            sub.deliver_next(more);
            assert_eq!(sub.account(), Account { published: total, delivered: total, ..Account::NONE });
        }
        let before = sub.account();
        sub.superseded(sub.sent + 2 * most + 5);
        sub.deliver(sub.sent + 1);
        let expected = Account {
            published: before.published + 2 * most + 6,
            delivered: before.delivered + 1,
            conflated: 2 * most + 5,
            ..Account::NONE
        };
        assert_eq!(sub.account(), expected);
    }

    #[test]
    fn what_is_taken_away_is_gone() {
        let mut sub = Sub::new(TopicId::new(1, Channel::Trade), 7, 100, 0);
        sub.set_rate(None);
        assert!(sub.unusual.is_none() && sub.is_plain());
        sub.wait_for(30);
        assert_eq!((sub.settle(20), sub.settle(20), sub.settle(20)), (20, 10, 0));
        sub.wait_for(7);
        assert_eq!((sub.shed(9), sub.waiting_bytes(), sub.shed_to()), (7, 0, 9));
        sub.set_rate(Rate::new(10.0));
        assert!(!sub.is_plain() && !sub.take_untold());
        sub.leave_untold();
        assert!(sub.take_untold() && !sub.take_untold());
        sub.set_rate(None);
        assert!(sub.is_plain() && sub.rate().is_none());
        for place in [0, 1, 77] {
            sub.set_place(place);
            assert_eq!(sub.place(), place);
        }
    }
}
