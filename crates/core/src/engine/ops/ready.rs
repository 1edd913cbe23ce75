//! Sessions that have something to send: marks of subscriptions, and the list of sessions that are ready.

use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SessionKey, SubRef};

/// Marks a subscription that has something to send.
pub(crate) fn mark(fanout: &mut Fanout, subscriber: SubRef) {
    let Some(session) = fanout.sessions.get_mut(subscriber.session) else { return };
    session.dirty.mark(subscriber.sub);
    if !session.delivery.is_shut() {
        queue(fanout, subscriber.session);
    }
}

/// Lets the clock look at a session at each tick again: something happened to it.
pub(crate) fn watch(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    if std::mem::take(&mut session.is_quiet) {
        fanout.looks.always(key);
    }
}

/// Puts a session that has something to send into the ready list, unless its socket is blocked.
pub(crate) fn queue(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    if !session.queued && !session.is_blocked() && !session.is_over() {
        session.queued = true;
        fanout.ready.push(key, fanout.now);
    }
}
