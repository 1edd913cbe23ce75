//! The next record of one subscription, whatever its channel.

use super::history::emit_from_history;
use super::reason::{Emitted, note_reason};
use super::record::emit_record;
use crate::engine::data::session::Session;
use crate::engine::data::topic::Topics;

/// Emits the next record of one subscription. Returns whether that counts for a rate of it.
#[inline]
pub(super) fn emit_next(
    session: &mut Session,
    topics: &mut Topics,
    index: u32,
    now: u64,
    out: &mut Vec<u8>,
) -> bool {
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else { return false };
    let Some(topic) = topics.get_mut(sub.topic.0 as usize).and_then(Option::as_deref_mut) else {
        return false;
    };
    let (before, has_rate) = (sub.standing(), sub.rate.is_some());
    let emitted = if sub.backfill.is_some() {
        emit_from_history(session, index, topic, out)
    } else {
        emit_record(session, index, topic, out)
    };
    note_reason(session, topic, index, before, emitted, now);
    has_rate && matches!(emitted, Emitted::Record | Emitted::Snapshot)
}
