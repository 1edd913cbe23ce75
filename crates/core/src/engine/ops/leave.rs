//! Subscriptions that end are taken out of their topics and their sessions.

use tickwire_wire::LedgerEntry;

use super::ledger::ledger_entry;
use super::release::{let_go, let_idle};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::index::Seen;
use crate::engine::data::key::SessionKey;
use crate::engine::data::sub::Sub;
use crate::vocabulary::Form;

/// Takes a subscription that its session does not have any more out of its topic.
pub(crate) fn detach(fanout: &mut Fanout, sub: &Sub, form: &Form, now: u64) {
    if sub.is_throttled() {
        fanout.rates.leave();
    }
    fanout.subscribed -= 1;
    fanout.index.holders.give_back(sub.topic.view());
    let Some(topic) = fanout.topics.get_mut(sub.topic) else { return };
    topic.end_taking(form);
    topic.subscribers.swap_remove(sub.place());
    if let Some(moved) = topic.subscribers.get(sub.place()).map(|moved| moved.at)
        && let Some(moved) = fanout.sessions.get_mut(moved.session).and_then(|s| s.sub_mut(moved.sub))
    {
        moved.set_place(sub.place());
    }
    if topic.subscribers.is_empty() {
        let_idle(fanout, sub.topic, now);
        let_go(fanout, sub.topic.instrument_index());
    }
}

/// Forgets a subscription that its session does not have any more. Returns its final account.
pub(crate) fn take_leave(
    fanout: &mut Fanout,
    key: SessionKey,
    sub: &Sub,
    form: &Form,
    now: u64,
) -> Option<LedgerEntry> {
    let session = fanout.sessions.get_mut(key)?;
    session.lossless_bytes = session.lossless_bytes.saturating_sub(sub.waiting_bytes());
    let topic = fanout.topics.get(sub.topic);
    let entry = topic.map(|topic| ledger_entry(sub, topic));
    if let Some(venue) = topic.map(|topic| topic.info.venue)
        && let seen = (Seen { venue, view: fanout.depths.base(sub.topic.view()) })
        && session.leave_venue(seen)
    {
        fanout.index.sees_no_more(key, seen);
    }
    detach(fanout, sub, form, now);
    entry
}
