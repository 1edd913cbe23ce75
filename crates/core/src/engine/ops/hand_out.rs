//! Records that arrived are marked for the subscriptions that take them.

use super::shed::{shed_session, shed_sub};
use crate::engine::data::entry::Stamp;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SubRef, Subscriber};
use crate::engine::data::queues::Queues;
use crate::engine::data::session::Session;
use crate::vocabulary::{Form, TopicId, Update};

/// Marks all subscriptions that take a conflatable record. It stands apart from [`hand_out_each`], because nothing
/// that a mark does not need is to stand in this loop.
#[inline(never)]
pub(crate) fn hand_out_newest(fanout: &mut Fanout, id: TopicId, arrival: &Arrival) {
    let Fanout { topics, sessions, rates, ready, .. } = fanout;
    let Some(topic) = topics.get(id) else { return };
    for Subscriber { at, has_rate } in &topic.subscribers {
        let Some(session) = sessions.get_mut(at.session) else { continue };
        if session.is_ending() || (*has_rate && arrival.is_throttled(session, at.sub, rates)) {
            continue;
        }
        session.dirty.mark(at.sub);
        if session.may_be_queued() {
            session.queued = true;
            ready.push(at.session, arrival.since);
        }
    }
}

/// Marks all subscriptions that take a record of a lossless channel, and counts its bytes as owed to them.
#[inline(never)]
pub(crate) fn hand_out_each(fanout: &mut Fanout, id: TopicId, update: &Update, arrival: &Arrival) {
    let Fanout { topics, sessions, rates, ready, overfull, limits, .. } = fanout;
    let Some(topic) = topics.get(id) else { return };
    let least = limits.shed_bytes.min(limits.close_bytes);
    // The form of the subscriber before, and the length in it: most have the same.
    let (mut slot, mut bytes) = (u8::MAX, 0);
    for Subscriber { at, has_rate } in &topic.subscribers {
        let Some(session) = sessions.get_mut(at.session) else { continue };
        if session.is_ending() || (*has_rate && arrival.is_throttled(session, at.sub, rates)) {
            continue;
        }
        session.dirty.mark(at.sub);
        if session.form.slot() != slot {
            (slot, bytes) = (session.form.slot(), length_in(update, &session.form));
        }
        let Some(sub) = session.subs.get_mut(at.sub as usize).and_then(Option::as_mut) else { continue };
        sub.wait_for(bytes);
        session.lossless_bytes += bytes;
        if session.shedding && arrival.is_sheddable {
            shed_sub(session, at.sub, arrival.stamp);
        }
        if session.lossless_bytes >= limits.write_bytes {
            session.delivery.open_early();
        }
        let pressure = session.pressure();
        if pressure > least && (pressure > limits.close_bytes || !session.shedding) {
            overfull.push(at.session);
        }
        if session.may_be_queued() {
            session.queued = true;
            ready.push(at.session, arrival.since);
        }
    }
    while let Some(key) = fanout.overfull.pop() {
        shed_session(fanout, key);
    }
}

/// Returns the length of a record in a form. It is apart from the loop that asks for it, where it would stand in the way.
#[inline(never)]
fn length_in(update: &Update, form: &Form) -> usize {
    update.bytes(form).len()
}

/// A record that just arrived, as far as that does not depend on who takes it.
pub(crate) struct Arrival {
    pub(crate) is_gap: bool,
    /// Whether a session that sheds does without it.
    pub(crate) is_sheddable: bool,
    /// Epoch and sequence number of its topic before it.
    pub(crate) stood: (u64, u64),
    pub(crate) stamp: Stamp,
    pub(crate) now: u64,
    /// When it came to this gateway.
    pub(crate) since: u64,
}

impl Arrival {
    /// Returns whether a subscription is throttled by its rate. It is not any more when it is due, and in front of a
    /// gap.
    #[inline(never)]
    fn is_throttled(&self, session: &mut Session, sub: u32, rates: &mut Queues<SubRef>) -> bool {
        let Some(sub) = session.sub_mut(sub) else { return false };
        let Some(rate) = sub.rate().filter(|rate| rate.is_throttled()) else { return false };
        if !self.is_gap && self.now < rate.due() {
            return true;
        }
        rates.leave();
        sub.release(self.stood.0, self.stood.1);
        false
    }
}
