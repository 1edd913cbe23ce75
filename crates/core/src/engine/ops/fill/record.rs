//! The next record of a subscription, in the unusual cases too.

use std::sync::Arc;

use tickwire_wire::Encoding;

use super::gap::{announce_shed, emit_gap, follow_epoch};
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;
use crate::vocabulary::Update;

/// Returns the record that it was, where it was no gap.
pub(crate) fn emit_book(
    sub: &mut Sub,
    topic: &mut Topic,
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Option<Arc<Update>> {
    let next = topic.next_after(sub.stamp.max(sub.since));
    if let Some(gap) = next.filter(|entry| entry.is_gap).cloned() {
        emit_gap(sub, topic, &gap, encoding, out);
        sub.stamp = gap.stamp;
        return None;
    }
    follow_epoch(sub, topic, topic.epoch, encoding, out);
    let changes = topic.book_changes(sub.stamp);
    if let Some(update) = &changes {
        out.extend_from_slice(update.bytes(encoding));
        sub.deliver(update.last);
    }
    sub.stamp = topic.stamp;
    changes
}

/// Emits the next logged record, or announces those that are shed; returns how many waiting bytes that settles.
pub(crate) fn emit_lossless(sub: &mut Sub, topic: &Topic, encoding: Encoding, out: &mut Vec<u8>) -> usize {
    let mut logged = topic.log_after(sub.stamp);
    let Some(entry) = logged.next() else { return std::mem::take(&mut sub.waiting_bytes) };
    let update = &entry.update;
    let is_shed = entry.stamp <= sub.shed_to && !update.is_gap();
    // What was shed is settled already; what was cut off the log while it waited is settled with the last record.
    let settled = match logged.next() {
        None => sub.waiting_bytes,
        Some(_) if entry.stamp <= sub.shed_to => 0,
        Some(_) => update.bytes(encoding).len().min(sub.waiting_bytes),
    };
    sub.waiting_bytes -= settled;
    if update.last != 0 {
        follow_epoch(sub, topic, update.epoch, encoding, out);
    }
    if is_shed {
        // Without a gap between them they are of one sequence. The records themselves are cache lines further.
        let run = topic.log_after(sub.stamp).take_while(|entry| entry.stamp <= sub.shed_to && !entry.is_gap);
        let end = run.last().unwrap_or(entry);
        announce_shed(sub, topic, end.update.last, encoding, out);
        sub.stamp = end.stamp;
        return settled;
    }
    sub.stamp = entry.stamp;
    if update.first > sub.sent + 1 && (update.last != 0 || sub.epoch == entry.epoch_before) {
        // The log was cut behind this subscription's back: it lagged by more than the log holds.
        announce_shed(sub, topic, update.first - 1, encoding, out);
    }
    if update.is_gap() {
        emit_gap(sub, topic, entry, encoding, out);
    } else {
        out.extend_from_slice(update.bytes(encoding));
        sub.deliver(update.last);
    }
    settled
}

/// Emits the newest of one key, or a gap where that came first. Returns whether it was a record.
pub(crate) fn emit_latest(sub: &mut Sub, topic: &Topic, encoding: Encoding, out: &mut Vec<u8>) -> bool {
    let gap = topic.next_after(sub.stamp.max(sub.since));
    let latest = topic.latest_after(sub.stamp);
    if let Some(gap) = gap.filter(|gap| latest.is_none_or(|latest| gap.stamp < latest.stamp)) {
        emit_gap(sub, topic, gap, encoding, out);
        sub.stamp = gap.stamp;
        return false;
    }
    let Some(entry) = latest else {
        sub.stamp = topic.stamp;
        return false;
    };
    follow_epoch(sub, topic, entry.update.epoch, encoding, out);
    out.extend_from_slice(entry.update.bytes(encoding));
    sub.deliver(entry.update.last);
    sub.stamp = entry.stamp;
    true
}
