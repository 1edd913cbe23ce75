//! The next record of one subscription, whatever its channel.

use super::history::emit_from_history;
use super::reason::{Emitted, note_reason};
use super::record::emit_record;
use crate::engine::data::fanout::Noted;
use crate::engine::data::session::Session;
use crate::engine::data::topics::Topics;

/// The consequence of an emitted record.
pub(super) enum Next {
    /// The record counts for the rate of its subscription.
    Rated,
    /// Nothing follows.
    Other,
    /// The session lost what it may not lose: it gets nothing more.
    Last,
}

/// Emits the next record of one subscription.
#[inline]
pub(super) fn emit_next(
    session: &mut Session,
    topics: &mut Topics,
    index: u32,
    now: u64,
    noted: &mut Noted,
    out: &mut Vec<u8>,
) -> Next {
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else { return Next::Other };
    let Some(topic) = topics.get_mut(sub.topic) else {
        return Next::Other;
    };
    let (before, is_plain) = (sub.standing(), sub.is_plain());
    let has_rate = !is_plain && sub.rate().is_some();
    let emitted = if !is_plain && sub.backfill().is_some() {
        emit_from_history(session, index, topic, out)
    } else {
        emit_record(session, index, topic, out)
    };
    if let Some(code) = note_reason(session, topic, index, before, emitted, now) {
        noted.ends = Some(code);
        session.dirty.clear();
        return Next::Last;
    }
    if has_rate && matches!(emitted, Emitted::Record | Emitted::Snapshot) { Next::Rated } else { Next::Other }
}
