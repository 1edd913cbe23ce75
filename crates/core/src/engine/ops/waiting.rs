//! Pending subscribes are given up.

use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::vocabulary::TopicId;

/// Gives up what a session waits for, because it ends.
pub(crate) fn stop_waiting(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let Some(seldom) = session.seldom.made() else { return };
    seldom.asked = 0;
    for (number, pending) in std::mem::take(&mut seldom.pending) {
        fanout.asked -= pending.waiting.len();
        forget_waiter(fanout, key, number, &pending.waiting);
    }
}

pub(crate) fn forget_waiter(fanout: &mut Fanout, key: SessionKey, number: u32, topics: &[TopicId]) {
    for topic in topics {
        fanout.index.waits_no_more(key, number, *topic);
    }
}
