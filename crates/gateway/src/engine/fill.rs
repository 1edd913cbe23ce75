//! Emptying an outbox: what is newest at this moment, in the order of arrival per instrument, into one WebSocket message.

use fastwebsockets::{Frame, OpCode, Payload};
use tickwire_wire::{Channel, CloseCode, Encoding, GapCause, encode_sent_time};

use super::session::{Ending, Session, Sub};
use super::topic::{Stamp, Topic};
use super::update::{TopicId, Update};

/// Longest head of a WebSocket frame from a server.
pub(crate) const HEAD_BYTES_MAX: usize = 10;

/// Topics by id.
pub(crate) type Topics = [Option<Box<Topic>>];

/// Appends what the session is owed, up to about `budget` bytes, as whole WebSocket frames. Control first: it always
/// fits, whatever the budget.
pub(crate) fn fill(session: &mut Session, topics: &mut Topics, budget: usize, now: u64, out: &mut Vec<u8>) {
    if let Some(payload) = session.pong.take() {
        write_frame(OpCode::Pong, &payload, out);
    }
    if std::mem::take(&mut session.ping_due) {
        write_frame(OpCode::Ping, &now.to_le_bytes(), out);
    }
    let head = out.len();
    out.resize(head + HEAD_BYTES_MAX, 0);
    out.append(&mut session.control);
    while out.len() - head < budget {
        let Some(index) = session.dirty.pop_front() else { break };
        if emit_instrument(session, topics, index, head + budget, out) {
            session.dirty.push_back(index);
        } else if let Some(sub) = session.sub_mut(index) {
            sub.dirty = false;
        }
    }
    if out.len() > head + HEAD_BYTES_MAX {
        encode_sent_time(session.encoding, now, out);
        close_frame_head(session, head, out);
        session.wrote = now;
    } else {
        out.truncate(head);
    }
    if let Ending::Asked(code) = session.ending {
        write_close(code, out);
        session.ending = Ending::Told(code);
    }
}

/// Emits what the subscription and its siblings on the same instrument have pending, oldest arrival first. Returns
/// whether this subscription still has something.
fn emit_instrument(
    session: &mut Session,
    topics: &mut Topics,
    index: u32,
    end: usize,
    out: &mut Vec<u8>,
) -> bool {
    loop {
        let Some((_, oldest)) = oldest_pending(session, topics, index) else { return false };
        if out.len() >= end {
            return session.sub(index).is_some_and(|sub| pending(sub, topics).is_some());
        }
        emit(session, topics, oldest, out);
    }
}

/// Of the subscriptions to the same instrument, the one whose next record arrived first.
fn oldest_pending(session: &Session, topics: &Topics, index: u32) -> Option<(Stamp, u32)> {
    let mut oldest: Option<(Stamp, u32)> = None;
    let mut at = index;
    loop {
        let sub = session.sub(at)?;
        if let Some(stamp) = pending(sub, topics)
            && oldest.is_none_or(|(known, _)| stamp < known)
        {
            oldest = Some((stamp, at));
        }
        at = sub.sibling;
        if at == index {
            return oldest;
        }
    }
}

fn topic_of(topics: &Topics, topic: TopicId) -> Option<&Topic> {
    topics.get(topic.0 as usize).and_then(Option::as_deref)
}

/// Arrival of the record that the subscription is to be sent next.
fn pending(sub: &Sub, topics: &Topics) -> Option<Stamp> {
    let topic = topic_of(topics, sub.topic)?;
    if sub.shed_to > sub.sent {
        return Some(sub.stamp);
    }
    let logged = topic.log_after(sub.stamp).next().map(|entry| entry.stamp);
    if topic.channel == Channel::Book {
        let is_gap = topic.log_after(sub.stamp).next().is_some_and(|entry| entry.update.is_gap());
        if is_gap {
            return logged;
        }
        let wants = sub.needs_snapshot || logged.is_some() || !topic.log_reaches(sub.stamp);
        return (wants && topic.book.is_synced()).then_some(topic.stamp);
    }
    if topic.channel.is_lossless() {
        return logged;
    }
    let after = |stamp: Stamp| sub.needs_snapshot || stamp > sub.stamp;
    let latest = topic.latest.iter().map(|(_, entry)| entry.stamp).filter(|stamp| after(*stamp)).min();
    match (logged, latest) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Emits the next record of one subscription.
fn emit(session: &mut Session, topics: &mut Topics, index: u32, out: &mut Vec<u8>) {
    let encoding = session.encoding;
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else { return };
    let Some(topic) = topics.get_mut(sub.topic.0 as usize).and_then(Option::as_deref_mut) else { return };
    if sub.shed_to > sub.sent {
        emit_shed(sub, topic, encoding, out);
        return;
    }
    if topic.channel == Channel::Book {
        emit_book(sub, topic, encoding, out);
    } else if topic.channel.is_lossless() {
        let settled = emit_lossless(sub, topic, encoding, out);
        session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
    } else {
        emit_latest(sub, topic, encoding, out);
    }
}

fn emit_book(sub: &mut Sub, topic: &mut Topic, encoding: Encoding, out: &mut Vec<u8>) {
    let next = topic.log_after(sub.stamp).next().cloned();
    if let Some(gap) = next.filter(|entry| entry.update.is_gap()) {
        emit_gap(sub, &gap.update, encoding, out);
        sub.stamp = gap.stamp;
        sub.needs_snapshot = true;
        return;
    }
    let update =
        if sub.needs_snapshot { topic.book_snapshot() } else { topic.book_changes(sub.sent, sub.stamp) };
    if let Some(update) = update {
        out.extend_from_slice(update.bytes(encoding));
        sub.deliver(update.last);
        sub.needs_snapshot = false;
    }
    sub.stamp = topic.stamp;
}

/// Emits the next logged record; returns how many waiting bytes that settles.
fn emit_lossless(sub: &mut Sub, topic: &Topic, encoding: Encoding, out: &mut Vec<u8>) -> usize {
    let mut logged = topic.log_after(sub.stamp);
    let Some(entry) = logged.next() else { return std::mem::take(&mut sub.waiting_bytes) };
    let update = &entry.update;
    sub.stamp = entry.stamp;
    // What was cut off the log while it waited is settled with the last record.
    let settled = match logged.next() {
        Some(_) => update.bytes(encoding).len().min(sub.waiting_bytes),
        None => sub.waiting_bytes,
    };
    sub.waiting_bytes -= settled;
    if update.is_gap() {
        emit_gap(sub, update, encoding, out);
        return settled;
    }
    if update.epoch != sub.epoch {
        // The record that announced the new numbering was cut off the log.
        write_gap(topic, GapCause::Shed, sub.sent + 1, 0, encoding, out);
        (sub.epoch, sub.sent) = (update.epoch, 0);
    }
    if update.first > sub.sent + 1 {
        // The log was cut behind this subscription's back: it lagged by more than the log holds.
        write_gap(topic, GapCause::Shed, sub.sent + 1, update.first - 1, encoding, out);
        sub.announce(sub.sent + 1, update.first - 1);
    }
    out.extend_from_slice(update.bytes(encoding));
    sub.deliver(update.last);
    settled
}

fn emit_latest(sub: &mut Sub, topic: &Topic, encoding: Encoding, out: &mut Vec<u8>) {
    if let Some(gap) = topic.log_after(sub.stamp).next() {
        emit_gap(sub, &gap.update, encoding, out);
        sub.stamp = gap.stamp;
        return;
    }
    for (_, entry) in &topic.latest {
        if sub.needs_snapshot || entry.stamp > sub.stamp {
            out.extend_from_slice(entry.update.bytes(encoding));
        }
    }
    // Bars of several intervals leave together and are counted by what was written; the rest was superseded.
    let written =
        topic.latest.iter().filter(|(_, e)| e.stamp > sub.stamp && e.update.last > sub.sent).count() as u64;
    let passed = topic.sequence.saturating_sub(sub.sent);
    if passed > 0 {
        let delivered = written.min(passed);
        sub.account.published += passed;
        sub.account.delivered += delivered;
        sub.account.conflated += passed - delivered;
        sub.sent = topic.sequence;
    }
    sub.needs_snapshot = false;
    sub.stamp = topic.stamp;
}

/// Announces what was shed, and goes on behind it.
fn emit_shed(sub: &mut Sub, topic: &Topic, encoding: Encoding, out: &mut Vec<u8>) {
    write_gap(topic, GapCause::Shed, sub.sent + 1, sub.shed_to, encoding, out);
    sub.announce(sub.sent + 1, sub.shed_to);
    sub.shed_to = 0;
}

fn emit_gap(sub: &mut Sub, gap: &Update, encoding: Encoding, out: &mut Vec<u8>) {
    out.extend_from_slice(gap.bytes(encoding));
    if gap.last == 0 {
        // The numbering starts again: what follows is counted from 1.
        (sub.epoch, sub.sent) = (gap.epoch, 0);
    } else {
        sub.announce(gap.first, gap.last);
    }
}

fn write_gap(topic: &Topic, cause: GapCause, first: u64, last: u64, encoding: Encoding, out: &mut Vec<u8>) {
    let gap = Update::gap(std::sync::Arc::clone(&topic.info), topic.channel, cause, first, last, topic.epoch);
    out.extend_from_slice(gap.bytes(encoding));
}

/// Puts the frame head right in front of its payload and moves both to where the head's room began.
fn close_frame_head(session: &Session, head: usize, out: &mut Vec<u8>) {
    let opcode = if session.encoding.is_text() { OpCode::Text } else { OpCode::Binary };
    let start = head + HEAD_BYTES_MAX;
    let mut bytes = [0; 16];
    let length = Frame::new(true, opcode, None, Payload::Borrowed(&out[start..])).fmt_head(&mut bytes);
    out.drain(head..start - length);
    out[head..head + length].copy_from_slice(&bytes[..length]);
}

fn write_frame(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let mut bytes = [0; 16];
    let length = Frame::new(true, opcode, None, Payload::Borrowed(payload)).fmt_head(&mut bytes);
    out.extend_from_slice(&bytes[..length]);
    out.extend_from_slice(payload);
}

/// Appends a close frame with the code and its text.
fn write_close(code: CloseCode, out: &mut Vec<u8>) {
    let mut payload = code.code().to_be_bytes().to_vec();
    payload.extend_from_slice(code.text().as_bytes());
    write_frame(OpCode::Close, &payload, out);
}
