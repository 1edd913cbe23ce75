//! Shedding: for sessions that are too far behind, what may be dropped is dropped and announced.

use tickwire_wire::CloseCode;

use super::close::close;
use crate::engine::data::decisions::Decision;
use crate::engine::data::entry::Stamp;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::Session;

/// Sheds what a session waits for, and closes the session where that is not enough.
pub(crate) fn shed_session(fanout: &mut Fanout, key: SessionKey) {
    if let Some(session) = fanout.sessions.get_mut(key).filter(|session| !session.shedding) {
        session.shedding = true;
        session.decided(fanout.now, Decision::Shedding { pressure: session.pressure() as u64 });
        for index in 0..session.subs.len() as u32 {
            let Some(sub) = session.sub(index).filter(|sub| sub.waiting_bytes() > 0) else { continue };
            let Some(topic) = fanout.topics.get(sub.topic) else { continue };
            if topic.channel.is_lossless() && !topic.channel.is_critical() {
                shed_sub(session, index, topic.stamp);
            }
        }
    }
    if fanout.sessions.get(key).is_some_and(|session| session.pressure() > fanout.limits.close_bytes) {
        close(fanout, key, CloseCode::SlowConsumer);
    }
}

/// Gives up the lossless records of one subscription up to a stamp. They will be announced.
pub(crate) fn shed_sub(session: &mut Session, index: u32, stamp: Stamp) {
    let Some(sub) = session.sub_mut(index) else { return };
    let settled = sub.shed(stamp);
    session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
}
