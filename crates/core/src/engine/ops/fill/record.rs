//! The next record that a topic has for one subscription, in the unusual cases too, and gaps for records that it is not sent.
//! Each function settles in the account what it writes, so account and stream say the same.

use std::sync::Arc;

use tickwire_wire::{Body, Channel, GapCause};

use super::reason::Emitted;
use crate::engine::data::entry::Entry;
use crate::engine::data::session::Session;
use crate::engine::data::sub::Sub;
use crate::engine::data::topic::Topic;
use crate::vocabulary::{Form, Update};

/// Emits the next record of a subscription that waits for no history.
#[inline]
pub(super) fn emit_record(
    session: &mut Session,
    index: u32,
    topic: &mut Topic,
    out: &mut Vec<u8>,
) -> Emitted {
    let form = &session.form;
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else {
        return Emitted::Nothing;
    };
    if topic.channel == Channel::Book {
        emit_book(sub, topic, form, out)
    } else if topic.is_lossless {
        let settled = emit_lossless(sub, topic, form, out);
        session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
        Emitted::Logged
    } else {
        emit_latest(sub, topic, form, out)
    }
}

/// Emits what changed in a book, or a gap where that came first.
fn emit_book(sub: &mut Sub, topic: &mut Topic, form: &Form, out: &mut Vec<u8>) -> Emitted {
    let next = topic.next_after(sub.announced_to());
    if let Some(gap) = next.filter(|entry| entry.is_gap).cloned() {
        announce_gap(sub, topic, &gap, form, out);
        sub.stamp = gap.stamp;
        return Emitted::Gap;
    }
    follow_epoch(sub, topic, topic.epoch, form, out);
    let changes = topic.book_changes(sub.stamp);
    sub.stamp = topic.stamp;
    let Some(update) = changes else { return Emitted::Nothing };
    out.extend_from_slice(update.bytes(form));
    sub.deliver(update.last);
    if update.is_snapshot() { Emitted::Snapshot } else { Emitted::Record }
}

/// Emits the next logged record, or announces those that are shed. Returns how many of the waiting bytes do not wait any more.
fn emit_lossless(sub: &mut Sub, topic: &Topic, form: &Form, out: &mut Vec<u8>) -> usize {
    let mut logged = topic.log_after(sub.stamp);
    let Some(entry) = logged.next() else { return sub.settle_all() };
    let update = &entry.update;
    let is_shed = sub.is_shed(entry.stamp) && !update.is_gap();
    // The bytes of shed records do not count as waiting any more. Bytes of records that were cut off the log while they waited
    // still count, so the last record settles all that is left.
    let settled = match logged.next() {
        None => sub.settle_all(),
        Some(_) if sub.is_shed(entry.stamp) => 0,
        Some(_) => sub.settle(update.bytes(form).len()),
    };
    if update.last != 0 {
        follow_epoch(sub, topic, update.epoch, form, out);
    }
    if is_shed {
        // Without a gap between them, they are of one sequence, so one announcement is enough. Only entries are looked at, because
        // the records themselves would be further cache misses.
        let run =
            topic.log_after(sub.stamp).take_while(|entry| entry.stamp <= sub.shed_to() && !entry.is_gap);
        let end = run.last().unwrap_or(entry);
        announce_shed(sub, topic, end.update.last, form, out);
        sub.stamp = end.stamp;
        return settled;
    }
    sub.stamp = entry.stamp;
    if update.first > sub.sent + 1 && (update.last != 0 || sub.epoch == entry.epoch_before) {
        // The subscription lagged by more than the log holds, so records that it was to be sent were cut off.
        announce_shed(sub, topic, update.first - 1, form, out);
    }
    if update.is_gap() {
        announce_gap(sub, topic, entry, form, out);
    } else {
        out.extend_from_slice(update.bytes(form));
        sub.deliver(update.last);
    }
    settled
}

/// Emits the newest record of one key, or a gap where that came first.
fn emit_latest(sub: &mut Sub, topic: &Topic, form: &Form, out: &mut Vec<u8>) -> Emitted {
    let gap = topic.next_after(sub.announced_to());
    let latest = topic.latest_after(sub.stamp);
    if let Some(gap) = gap.filter(|gap| latest.is_none_or(|latest| gap.stamp < latest.stamp)) {
        announce_gap(sub, topic, gap, form, out);
        sub.stamp = gap.stamp;
        return Emitted::Gap;
    }
    let Some(entry) = latest else {
        sub.stamp = topic.stamp;
        return Emitted::Nothing;
    };
    follow_epoch(sub, topic, entry.update.epoch, form, out);
    out.extend_from_slice(entry.update.bytes(form));
    sub.deliver(entry.update.last);
    sub.stamp = entry.stamp;
    Emitted::Record
}

/// Announces a new sequence, where the gap that announced it was cut off the log.
fn follow_epoch(sub: &mut Sub, topic: &Topic, epoch: u64, form: &Form, out: &mut Vec<u8>) {
    if sub.epoch != epoch {
        write_gap(topic, GapCause::Ingest, (sub.sent + 1, 0), epoch, form, out);
        sub.begin_sequence(epoch);
    }
}

/// Announces that the sequence numbers up to `to` are not sent, and goes on after them.
fn announce_shed(sub: &mut Sub, topic: &Topic, to: u64, form: &Form, out: &mut Vec<u8>) {
    write_gap(topic, GapCause::Shed, (sub.sent + 1, to), sub.epoch, form, out);
    sub.announce(sub.sent + 1, to);
}

/// Announces the part of a logged gap that concerns this subscription.
fn announce_gap(sub: &mut Sub, topic: &Topic, entry: &Entry, form: &Form, out: &mut Vec<u8>) {
    let gap = &entry.update;
    if gap.last != 0 {
        follow_epoch(sub, topic, gap.epoch, form, out);
        if gap.first > sub.sent {
            out.extend_from_slice(gap.bytes(form));
        } else if gap.last > sub.sent {
            // The client resumed in the middle of the gap.
            let cause = match &gap.record().body {
                Body::Gap(gap) => gap.cause(),
                _ => GapCause::Unknown,
            };
            write_gap(topic, cause, (sub.sent + 1, gap.last), gap.epoch, form, out);
        }
        sub.announce(gap.first, gap.last);
    } else if sub.epoch == entry.epoch_before {
        // The sequence starts again: records of the old one that waited are superseded, and new ones count from 1.
        out.extend_from_slice(gap.bytes(form));
        sub.superseded(gap.first.saturating_sub(1));
        sub.begin_sequence(gap.epoch);
    } else {
        // The gap ends a sequence of which this subscription was sent nothing.
        follow_epoch(sub, topic, gap.epoch, form, out);
    }
}

/// Writes a gap that is made for one subscription alone.
pub(super) fn write_gap(
    topic: &Topic,
    cause: GapCause,
    (first, last): (u64, u64),
    epoch: u64,
    form: &Form,
    out: &mut Vec<u8>,
) {
    let gap = Update::gap(Arc::clone(&topic.info), topic.channel, cause, first, last, epoch);
    out.extend_from_slice(gap.bytes(form));
}
