//! The records of one instrument that a session is to be sent, the oldest arrival first, whatever their channel.

use super::next::{Next, emit_next};
use super::pending::{oldest_pending, pending_stamp};
use super::straight::emit_usual;
use crate::engine::data::fanout::Noted;
use crate::engine::data::session::Session;
use crate::engine::data::topics::Topics;

/// Emits what the subscription and its siblings on the same instrument have pending, where that is not the usual case.
/// Returns whether this subscription still has something. It is apart from the usual case, whose registers it would take.
#[inline(never)]
pub(super) fn emit_instrument(
    session: &mut Session,
    topics: &mut Topics,
    index: u32,
    end: usize,
    now: u64,
    noted: &mut Noted,
    out: &mut Vec<u8>,
) -> bool {
    loop {
        let Some((_, oldest)) = oldest_pending(session, topics, index) else { return false };
        if out.len() >= end {
            return session.sub(index).is_some_and(|sub| pending_stamp(sub, topics).is_some());
        }
        match emit_next(session, topics, oldest, now, noted, out) {
            Next::Other => {}
            Next::Rated => noted.rated.push(oldest),
            Next::Last => return false,
        }
        // What follows may be usual again, and much.
        if session.sub(index).is_some_and(|sub| sub.channel().is_lossless())
            && let Some(is_left) = emit_usual(session, |id| topics.get(id), index, end, out)
        {
            return is_left;
        }
    }
}
