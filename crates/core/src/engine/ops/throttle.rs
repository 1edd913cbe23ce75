//! Requested rates and delivery windows: some records may leave only at certain times.
//!
//! A subscription with a rate is *throttled* for one interval after each record that it was sent; the delivery window
//! of a session is *shut* for its length after each write. A throttled subscription is not marked as dirty, so an
//! update for it costs the same as for one that is behind.
//!
//! - The first update after silence leaves at once.
//! - A gap, a new sequence and a state after a loss end the throttling of a subscription: what waited leaves before
//!   them, in order, and what mends a book leaves after them at once.
//! - Control messages know no windows. One that says that a feed is live opens them, so that it does not overtake the
//!   losses before it.

use super::ready::{mark, queue};
use crate::engine::data::decisions::Decision;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SessionKey, SubRef, Subscriber};
use crate::engine::data::rate::Rate;
use crate::engine::data::session::Session;
use crate::engine::policy::rate::interval_ns;
use crate::vocabulary::TopicId;

/// The grain of delays, in grains of windows: nobody notices it in a delay of seconds.
const DELAY_GRAINS: u64 = 10;

/// Returns when a throttled subscription, a session with a delivery window or a delayed view has something to do, in nanoseconds
/// since the Unix epoch.
pub(crate) fn next_due(fanout: &Fanout) -> Option<u64> {
    let [rates, windows] = [fanout.rates.next_due(), fanout.windows.next_due()];
    rates.into_iter().chain(windows).chain(fanout.delays.next_due()).min()
}

/// Returns the same on a grid of these grains, one for rates and one for delivery windows.
pub(crate) fn next_due_within(fanout: &Fanout, rate_grain: u64, window_grain: u64) -> Option<u64> {
    let rates = fanout.rates.next_due().map(|due| due.next_multiple_of(rate_grain));
    let windows = fanout.windows.next_due().map(|due| due.next_multiple_of(window_grain));
    let delays = fanout.delays.next_due().map(|due| due.next_multiple_of(window_grain * DELAY_GRAINS));
    rates.into_iter().chain(windows).chain(delays).min()
}

/// Lets those go on that waited until now: throttled subscriptions, and sessions with a delivery window.
pub(crate) fn on_timer(fanout: &mut Fanout, now: u64) {
    while let Some((due, at)) = fanout.rates.pop(now) {
        let sub = fanout.sessions.get_mut(at.session).and_then(|session| session.sub_mut(at.sub));
        match sub.filter(|sub| sub.rate().is_some_and(|rate| rate.due() == due)) {
            Some(sub) => {
                let Some(topic) = fanout.topics.get(sub.topic) else { continue };
                // The newest record is still to be sent, so it has not passed the subscription.
                sub.release(topic.epoch, topic.sequence.saturating_sub(1));
                if topic.stamp > sub.stamp {
                    mark(fanout, at);
                }
            }
            None => fanout.rates.passed_by(),
        }
    }
    while let Some((due, key)) = fanout.windows.pop(now) {
        let Some(session) = fanout.sessions.get_mut(key).filter(|s| s.delivery.due == due) else {
            continue;
        };
        (session.delivery.due, session.delivery.shut) = (0, false);
        if session.has_work() {
            queue(fanout, key);
        }
    }
}

pub(crate) fn sweep_rates(fanout: &mut Fanout) {
    let sessions = &fanout.sessions;
    fanout.rates.sweep(|due, at| {
        let sub = sessions.get(at.session).and_then(|session| session.sub(at.sub));
        sub.is_some_and(|sub| sub.rate().is_some_and(|rate| rate.due() == due))
    });
}

/// Throttles, after a write, the subscriptions with a rate that were `sent` a record, and shuts the session's
/// delivery window.
pub(crate) fn throttle(fanout: &mut Fanout, key: SessionKey, sent: &[u32], has_data: bool, now: u64) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    for index in sent {
        let Some(sub) = session.sub_mut(*index) else { continue };
        let Some(topic) = fanout.topics.get(sub.topic) else { continue };
        let Some(rate) = sub.rate_mut() else { continue };
        if rate.interval_ns == 0 || rate.due == now.saturating_add(rate.interval_ns) {
            continue;
        }
        if rate.is_throttled() {
            fanout.rates.leave();
        } else {
            rate.horizon = topic.stamp;
        }
        rate.due = fanout.rates.push(rate.interval_ns, now, SubRef { session: key, sub: *index });
    }
    let Session { delivery, dirty, .. } = session;
    if has_data && delivery.ms > 0 {
        if delivery.due == 0 {
            delivery.due = fanout.windows.push(u64::from(delivery.ms) * 1_000_000, now, key);
        }
        // Records that were too many for one write leave with the next one, so the window stays open for them.
        delivery.shut = dirty.is_empty();
    }
}

/// Changes the rate of a subscription from now on. It is not throttled any more, until its next record throttles it for the
/// new interval.
pub(crate) fn set_sub_rate(fanout: &mut Fanout, key: SessionKey, id: TopicId, per_second: f64) {
    let Some(topic) = fanout.topics.get_mut(id) else { return };
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let Some(index) = session.place_of(id) else { return };
    let Some(sub) = session.sub_mut(index) else { return };
    if sub.rate().map_or(0.0, Rate::per_second).total_cmp(&per_second).is_ne() {
        session.decided(fanout.now, Decision::Rate { topic: id, max_rate: per_second });
    }
    let Some(sub) = session.sub_mut(index) else { return };
    let Some(rate) = sub.rate_mut() else {
        sub.set_rate(Rate::new(per_second));
        topic.subscribers[sub.place()].has_rate = sub.rate().is_some();
        return;
    };
    let interval_ns = interval_ns(per_second);
    if std::mem::replace(&mut rate.interval_ns, interval_ns) == interval_ns {
        return;
    }
    if rate.is_throttled() {
        fanout.rates.leave();
    }
    sub.release(topic.epoch, topic.sequence.saturating_sub(1));
    if topic.stamp > sub.stamp {
        mark(fanout, SubRef { session: key, sub: index });
    }
}

/// Opens a session's delivery window before its time.
pub(crate) fn open_window(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key).filter(|session| session.delivery.is_shut()) else {
        return;
    };
    session.delivery.open_early();
    if session.has_work() {
        queue(fanout, key);
    }
}

/// Ends the throttling of all subscriptions to a topic, which starts again.
pub(crate) fn release_all(fanout: &mut Fanout, id: TopicId) {
    let Some(topic) = fanout.topics.get(id) else { return };
    for Subscriber { at, .. } in topic.subscribers.iter().filter(|subscriber| subscriber.has_rate) {
        let sub = fanout.sessions.get_mut(at.session).and_then(|session| session.sub_mut(at.sub));
        if let Some(sub) = sub.filter(|sub| sub.is_throttled()) {
            fanout.rates.leave();
            sub.release(topic.epoch, topic.sequence);
        }
    }
}
