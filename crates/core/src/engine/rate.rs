//! Requested rates and delivery windows: what may leave only at certain times, and the timer work that it takes.
//!
//! A subscription with a rate *rests* for one interval after each record that it was sent; a session with a delivery
//! window rests for one window after each write. Who rests is not marked as dirty, so an update for it costs the same
//! as for one that is behind. All that rest for the same time stand in one queue, which is sorted because each of them
//! joins it at the time of its sending: joining and leaving cost the same however many there are, and one timer, for
//! the earliest of the queues' heads, serves all.
//!
//! - The first update after silence leaves at once.
//! - A gap, a new sequence and a state after a loss end the rest of a subscription: what was held back leaves before
//!   them, in order, and what mends a book after them at once.
//! - Control messages know no windows. One that says that a feed is live opens them, so that it does not overtake what was
//!   told of losses before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Engine;
use super::decision::Decision;
use super::session::{Session, SessionKey};
use super::sub::{Sub, SubRef, Subscriber};
use super::topic::Stamp;
use crate::vocabulary::TopicId;

/// Slowest rate that is granted, in updates per second.
pub const RATE_MIN: f64 = 0.01;

/// Longest delivery window that a session may ask for, in milliseconds.
pub const WINDOW_MS_MAX: u16 = 1000;

const SECOND_NS: f64 = 1e9;

/// The rate that is granted when `asked` is asked for: 0 for 0, else between the smallest rate and `max`, rounded down
/// to three digits, so that there are few different ones and sessions share their queues.
pub(super) fn granted_rate(asked: f64, max: f64) -> f64 {
    if asked <= 0.0 || !asked.is_finite() {
        return 0.0;
    }
    if asked >= max {
        return max;
    }
    let rate = asked.max(RATE_MIN.min(max));
    let step = 10f64.powi(2 - rate.log10().floor() as i32);
    // The little more is for what is no exact binary fraction.
    (rate * step * (1.0 + f64::EPSILON)).floor() / step
}

fn interval_ns(per_second: f64) -> u64 {
    if per_second > 0.0 { (SECOND_NS / per_second).ceil() as u64 } else { 0 }
}

/// The rate of one subscription.
#[derive(Debug)]
pub(crate) struct Rate {
    /// 0: it had one before.
    interval_ns: u64,
    /// When it may be sent something again; 0 while it does not rest.
    due: u64,
    /// What arrived up to here belongs to the turn that began the rest: a turn of several keys may take several writes.
    horizon: Stamp,
    held_to: u64,
}

impl Rate {
    /// Updates a second; 0 for every one.
    pub(super) fn per_second(&self) -> f64 {
        if self.interval_ns == 0 { 0.0 } else { 1e9 / self.interval_ns as f64 }
    }

    /// Not resting. `None` for every update.
    pub(super) fn new(per_second: f64) -> Option<Box<Self>> {
        let interval_ns = interval_ns(per_second);
        (interval_ns > 0).then(|| Box::new(Self { interval_ns, due: 0, horizon: Stamp::MAX, held_to: 0 }))
    }

    /// Whether nothing new may be sent now.
    pub(super) fn rests(&self) -> bool {
        self.due > 0
    }

    pub(super) fn due(&self) -> u64 {
        self.due
    }

    /// Numbers up to here passed while it rested.
    pub(super) fn held_to(&self) -> u64 {
        self.held_to
    }

    /// The sequence starts again.
    pub(super) fn forget_held(&mut self) {
        self.held_to = 0;
    }

    /// Ends the rest, during which the numbers up to `held_to` passed.
    pub(super) fn wake(&mut self, held_to: u64) {
        self.due = 0;
        self.horizon = Stamp::MAX;
        self.held_to = held_to;
    }
}

impl Sub {
    /// What arrived up to here may be sent.
    pub(super) fn horizon(&self) -> Stamp {
        self.rate.as_ref().map_or(Stamp::MAX, |rate| rate.horizon)
    }

    pub(super) fn rests(&self) -> bool {
        self.rate.as_ref().is_some_and(|rate| rate.rests())
    }

    /// Ends the rest, if there is one, when the topic stood at `number` of `epoch`.
    pub(super) fn wake(&mut self, epoch: u64, number: u64) {
        let held_to = if self.epoch == epoch { number } else { u64::MAX };
        if let Some(rate) = self.rate.as_mut().filter(|rate| rate.rests()) {
            rate.wake(held_to);
        }
    }
}

/// The delivery window of one session.
#[derive(Debug, Default)]
pub(crate) struct DeliveryWindow {
    ms: u16,
    /// Nothing but control leaves.
    shut: bool,
    /// When it opens next; 0 where nothing was written since it opened last.
    due: u64,
}

impl DeliveryWindow {
    /// 0: none.
    pub(super) fn new(ms: u16) -> Self {
        Self { ms: ms.min(WINDOW_MS_MAX), ..Self::default() }
    }

    pub(super) fn ms(&self) -> u16 {
        self.ms
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut
    }

    /// So much waits that it is worth a write, and held back it would only look like slowness.
    pub(super) fn open_early(&mut self) {
        self.shut = false;
    }
}

/// Who rests, by when it ends.
#[derive(Debug)]
pub(crate) struct Queues<T> {
    /// By interval, in nanoseconds; none is empty, each is sorted.
    by_interval: BTreeMap<u64, VecDeque<(u64, T)>>,
    /// Due time and interval of each queue's head.
    heads: BTreeSet<(u64, u64)>,
    len: usize,
    /// Entries whose owner does not wait for them any more, about.
    stale: usize,
}

/// Stale entries that are not worth looking for.
const STALE_MIN: usize = 1024;

impl<T: Copy> Queues<T> {
    pub(super) fn new() -> Self {
        Self { by_interval: BTreeMap::new(), heads: BTreeSet::new(), len: 0, stale: 0 }
    }

    /// Adds one that rests from `now` on; returns when it is due.
    fn push(&mut self, interval: u64, now: u64, entry: T) -> u64 {
        let queue = self.by_interval.entry(interval).or_default();
        let due = queue.back().map_or(0, |(last, _)| *last).max(now.saturating_add(interval));
        if queue.is_empty() {
            self.heads.insert((due, interval));
        }
        queue.push_back((due, entry));
        self.len += 1;
        due
    }

    fn next_due(&self) -> Option<u64> {
        self.heads.first().map(|(due, _)| *due)
    }

    fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        let (due, interval) = *self.heads.first().filter(|(due, _)| *due <= now)?;
        self.heads.remove(&(due, interval));
        let queue = self.by_interval.get_mut(&interval)?;
        let popped = queue.pop_front();
        match queue.front() {
            Some((next, _)) => drop(self.heads.insert((*next, interval))),
            None => drop(self.by_interval.remove(&interval)),
        }
        self.len -= usize::from(popped.is_some());
        popped
    }

    /// One entry's owner waits for it no more.
    pub(super) fn leave(&mut self) {
        self.stale += 1;
    }

    /// Forgets entries that nobody waits for, once they are many: without that, clients that change their minds fast
    /// would fill the queues.
    fn sweep(&mut self, is_awaited: impl Fn(u64, &T) -> bool) {
        if self.stale < STALE_MIN + self.len / 2 {
            return;
        }
        self.by_interval.retain(|_, queue| {
            queue.retain(|(due, entry)| is_awaited(*due, entry));
            !queue.is_empty()
        });
        self.heads = self.by_interval.iter().map(|(interval, queue)| (queue[0].0, *interval)).collect();
        self.len = self.by_interval.values().map(VecDeque::len).sum();
        self.stale = 0;
    }
}

impl Engine {
    /// When [`Engine::on_timer`] has something to do, in nanoseconds since the Unix epoch.
    pub fn next_due(&self) -> Option<u64> {
        self.rates.next_due().into_iter().chain(self.windows.next_due()).min()
    }

    /// Lets go what rested until now: subscriptions with a rate, sessions with a delivery window.
    pub fn on_timer(&mut self, now: u64) {
        while let Some((due, at)) = self.rates.pop(now) {
            let sub = self.sessions.get_mut(at.session).and_then(|session| session.sub_mut(at.sub));
            match sub.filter(|sub| sub.rate.as_ref().is_some_and(|rate| rate.due() == due)) {
                Some(sub) => {
                    let Some(topic) = self.topics[sub.topic.0 as usize].as_deref() else { continue };
                    // The newest is not superseded yet.
                    sub.wake(topic.epoch, topic.sequence.saturating_sub(1));
                    if topic.stamp > sub.stamp {
                        self.mark(at);
                    }
                }
                None => self.rates.stale = self.rates.stale.saturating_sub(1),
            }
        }
        while let Some((due, key)) = self.windows.pop(now) {
            let Some(session) = self.sessions.get_mut(key).filter(|s| s.delivery.due == due) else {
                continue;
            };
            (session.delivery.due, session.delivery.shut) = (0, false);
            if session.has_work() {
                self.queue(key);
            }
        }
    }

    pub(super) fn sweep_rates(&mut self) {
        let sessions = &self.sessions;
        self.rates.sweep(|due, at| {
            let sub = sessions.get(at.session).and_then(|session| session.sub(at.sub));
            sub.is_some_and(|sub| sub.rate.as_ref().is_some_and(|rate| rate.due() == due))
        });
    }

    /// After a write: the subscriptions that were sent a record (`sent`), and the session, rest.
    pub(super) fn rest(&mut self, key: SessionKey, sent: &[u32], has_data: bool, now: u64) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        for index in sent {
            let Some(sub) = session.sub_mut(*index) else { continue };
            let Some(topic) = self.topics[sub.topic.0 as usize].as_deref() else { continue };
            let Some(rate) = &mut sub.rate else { continue };
            if rate.interval_ns == 0 || rate.due == now.saturating_add(rate.interval_ns) {
                continue;
            }
            if rate.rests() {
                self.rates.leave();
            } else {
                rate.horizon = topic.stamp;
            }
            rate.due = self.rates.push(rate.interval_ns, now, SubRef { session: key, sub: *index });
        }
        let Session { delivery, dirty, .. } = session;
        if has_data && delivery.ms > 0 {
            if delivery.due == 0 {
                delivery.due = self.windows.push(u64::from(delivery.ms) * 1_000_000, now, key);
            }
            // What is too much for one write goes on in the next.
            delivery.shut = dirty.is_empty();
        }
    }

    /// Changes the rate of a subscription, from now on: it does not rest any more, and rests for the new interval after
    /// what it is sent next.
    pub(super) fn set_sub_rate(&mut self, key: SessionKey, id: TopicId, per_second: f64) {
        let Some(topic) = self.topics[id.0 as usize].as_deref_mut() else { return };
        let Some(session) = self.sessions.get_mut(key) else { return };
        let Some(index) = session.by_topic.get(&id).copied() else { return };
        let Some(sub) = session.sub_mut(index) else { return };
        if sub.rate.as_ref().map_or(0.0, |rate| rate.per_second()).total_cmp(&per_second).is_ne() {
            session.decided(self.now, Decision::Rate { topic: id, max_rate: per_second });
        }
        let Some(sub) = session.sub_mut(index) else { return };
        let Some(rate) = &mut sub.rate else {
            sub.rate = Rate::new(per_second);
            topic.subscribers[sub.place as usize].has_rate = sub.rate.is_some();
            return;
        };
        let interval_ns = interval_ns(per_second);
        if std::mem::replace(&mut rate.interval_ns, interval_ns) == interval_ns {
            return;
        }
        if rate.rests() {
            self.rates.leave();
        }
        sub.wake(topic.epoch, topic.sequence.saturating_sub(1));
        if topic.stamp > sub.stamp {
            self.mark(SubRef { session: key, sub: index });
        }
    }

    /// Lets go what waits for a session's delivery window.
    pub(super) fn open_window(&mut self, key: SessionKey) {
        let Some(session) = self.sessions.get_mut(key).filter(|session| session.delivery.is_shut()) else {
            return;
        };
        session.delivery.open_early();
        if session.has_work() {
            self.queue(key);
        }
    }

    /// A topic starts again: nobody rests.
    pub(super) fn wake_all(&mut self, id: TopicId) {
        let Some(topic) = self.topics.get(id.0 as usize).and_then(Option::as_deref) else { return };
        for Subscriber { at, .. } in topic.subscribers.iter().filter(|subscriber| subscriber.has_rate) {
            let sub = self.sessions.get_mut(at.session).and_then(|session| session.sub_mut(at.sub));
            if let Some(sub) = sub.filter(|sub| sub.rests()) {
                self.rates.leave();
                sub.wake(topic.epoch, topic.sequence);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // Granting again what was granted changes nothing.
mod tests {
    use super::*;

    #[track_caller]
    fn check(asked: f64, granted: f64) {
        assert_eq!(granted_rate(asked, 1000.0), granted, "{asked}");
    }

    #[test]
    fn rates_are_clamped_and_few() {
        check(0.0, 0.0);
        check(-1.0, 0.0);
        check(f64::NAN, 0.0);
        check(1e-300, 0.01);
        check(0.01, 0.01);
        check(0.29, 0.29);
        check(1.0, 1.0);
        check(12.5, 12.5);
        check(33.333, 33.3);
        check(59.94, 59.9);
        check(999.9, 999.0);
        check(1000.0, 1000.0);
        check(1e300, 1000.0);
        assert_eq!(granted_rate(f64::INFINITY, 1000.0), 0.0, "refused before it comes here");
        assert_eq!(granted_rate(7.0, 3.33333), 3.33333, "a limit that has more digits");
        for hundredths in 1..100_000 {
            let rate = granted_rate(f64::from(hundredths) / 100.0, 1000.0);
            assert_eq!(granted_rate(rate, 1000.0), rate, "what was granted is granted again");
        }
    }

    #[test]
    fn queues_hand_out_what_is_due_and_nothing_else() {
        let mut queues = Queues::new();
        assert_eq!((queues.next_due(), queues.pop(u64::MAX)), (None, None));
        for (interval, now, name) in [(100, 0, 'a'), (10, 5, 'b'), (100, 7, 'c'), (10, 12, 'd')] {
            assert_eq!(queues.push(interval, now, name), now + interval);
        }
        assert_eq!(queues.next_due(), Some(15));
        assert_eq!(queues.pop(14), None);
        assert_eq!(queues.pop(15), Some((15, 'b')));
        assert_eq!(queues.next_due(), Some(22));
        let rest: Vec<_> = std::iter::from_fn(|| queues.pop(107)).map(|(_, name)| name).collect();
        assert_eq!(rest, ['d', 'a', 'c']);
        assert_eq!((queues.next_due(), queues.len), (None, 0));
    }

    #[test]
    fn clients_that_change_their_minds_do_not_fill_the_queues() {
        let mut queues = Queues::new();
        for now in 0..100_000 {
            queues.push(1_000_000, now, now);
            queues.leave();
            queues.sweep(|_, entry| *entry == 3);
            assert!(queues.len <= 2 * STALE_MIN + 1, "{} entries", queues.len);
        }
        assert_eq!(queues.pop(u64::MAX), Some((1_000_003, 3)));
    }
}
