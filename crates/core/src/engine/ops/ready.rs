//! Which sessions have something to send: marks of subscriptions, and the list of sessions that are ready.

use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::{SessionKey, SubRef};

/// A subscription has something to send.
pub(crate) fn mark(fanout: &mut Fanout, subscriber: SubRef) {
    let Some(session) = fanout.sessions.get_mut(subscriber.session) else { return };
    session.dirty.mark(subscriber.sub);
    if !session.delivery.is_shut() {
        queue(fanout, subscriber.session);
    }
}

/// A session has something to send: it is ready, unless its socket takes nothing.
pub(crate) fn queue(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    if !session.queued && !session.is_held() && !session.is_over() {
        session.queued = true;
        fanout.ready.push(key);
    }
}
