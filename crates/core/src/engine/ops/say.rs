//! Control messages for one session. They leave before its data.

use tickwire_wire::{CloseCode, Message, Notice};

use super::close::{close, weigh_session};
use super::ready::queue;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;

/// The first room of a control lane.
const CONTROL_BYTES: usize = 64;

/// Puts a message into the control lane of a session.
pub(crate) fn say(fanout: &mut Fanout, key: SessionKey, message: &Message) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    if session.is_ending() {
        return;
    }
    if session.control.capacity() == 0 {
        // A heartbeat fits, so an idle session's grows once.
        session.control.reserve(CONTROL_BYTES);
    }
    session.dialect.say(message, &mut session.control);
    on_said(fanout, key);
}

/// Puts what a dialect answers by itself into the control lane of a session.
pub(crate) fn reply(fanout: &mut Fanout, key: SessionKey, bytes: &[u8]) {
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    session.control.extend_from_slice(bytes);
    on_said(fanout, key);
}

/// Sends what was added to the control lane of a session, and closes the session where that is too much.
fn on_said(fanout: &mut Fanout, key: SessionKey) {
    let Some(session) = fanout.sessions.get(key) else { return };
    if session.control.len() + session.unsent_bytes > fanout.limits.close_bytes {
        close(fanout, key, CloseCode::SlowConsumer);
    }
    queue(fanout, key);
    weigh_session(fanout, key);
}

/// Tells a session how it is served from now on.
pub(crate) fn notify(fanout: &mut Fanout, key: SessionKey, code: &str, message: &str) {
    let Some(session) = fanout.sessions.get(key) else { return };
    let totals = session.totals();
    let notice = Notice {
        code: code.to_owned(),
        message: message.to_owned(),
        conflated: totals.conflated,
        dropped: totals.dropped,
        retry_after_ms: 0,
    };
    say(fanout, key, &Message::Notice(notice));
}
