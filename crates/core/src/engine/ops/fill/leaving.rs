//! Subscriptions to instruments that ended are over when nothing is owed to them any more.

use std::sync::Arc;

use tickwire_wire::{Ledger, Message, Subscribed};

use super::pending::pending_stamp;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::ops::leave::take_leave;
use crate::engine::ops::refusal::refusal_of_ended;
use crate::engine::ops::say::say;

/// Ends the subscriptions of a session that are over and have nothing owed to them any more. Returns whether there are
/// any.
pub(super) fn end_settled(fanout: &mut Fanout, key: SessionKey, now: u64) -> bool {
    let Some(session) = fanout.sessions.get_mut(key).filter(|session| !session.is_ending()) else {
        return false;
    };
    let topics = &fanout.topics;
    let is_settled = |index: &mut u32| {
        session
            .subs
            .get(*index as usize)
            .and_then(Option::as_ref)
            .is_none_or(|sub| sub.backfill().is_none() && pending_stamp(sub, topics).is_none())
    };
    let Some(seldom) = session.seldom.made() else { return false };
    let settled: Vec<_> = seldom.leaving.extract_if(.., is_settled).collect();
    if settled.is_empty() {
        return false;
    }
    let form = session.form;
    let (mut refusals, mut entries) = (Vec::new(), Vec::new());
    for sub in session.remove(&settled) {
        let id = sub.topic;
        if let Some(info) = fanout.topics.get(id).map(|topic| Arc::clone(&topic.info)) {
            refusals.push(refusal_of_ended(fanout, &info, id.channel()));
        }
        entries.extend(take_leave(fanout, key, &sub, &form, now));
    }
    say(fanout, key, &Message::Subscribed(Subscribed { refused: refusals, ..Subscribed::default() }));
    say(fanout, key, &Message::Ledger(Ledger { id: 0, entries }));
    true
}
