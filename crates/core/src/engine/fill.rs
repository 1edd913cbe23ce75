//! Emptying an outbox: what is newest at this moment, in the order of arrival per instrument, into one message.

use std::sync::Arc;

use tickwire_wire::{Body, Channel, CloseCode, GapCause};

use super::backfill;
use super::decision::Before;
use super::framing::Framing;
use super::latency_sample::LatencySamples;
use super::session::{Ending, Session};
use super::straight;
use super::sub::Sub;
use super::topic::{Entry, Stamp, Topic};
use crate::vocabulary::{Form, TopicId, Update};

/// Subscriptions that are touched before the first is sent.
const LOOK_AHEAD: usize = 16;

/// Topics by id.
pub(crate) type Topics = [Option<Box<Topic>>];

/// What is noted beside the bytes.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// Subscriptions with a rate that were sent a record.
    pub(crate) rated: Vec<u32>,
    /// The session lost something that its dialect has no word for, and is to be closed so.
    pub(crate) ends: Option<CloseCode>,
    pub(crate) latency_samples: LatencySamples,
}

/// Appends what the session is owed, up to about `budget` bytes and as far as its window is open, as whole
/// frames. Control first: it always fits, whatever the budget. Probes go behind what they are to confirm. Returns whether
/// there was anything but control.
pub(crate) fn fill(
    session: &mut Session,
    topics: &mut Topics,
    (budget, now): (usize, u64),
    noted: &mut Noted,
    framing: &dyn Framing,
    out: &mut Vec<u8>,
) -> bool {
    let begin = out.len();
    let mut has_data = false;
    if let Some(payload) = session.pong.take() {
        framing.pong(&payload, out);
    }
    loop {
        let before = out.len();
        let left = budget.max(1).saturating_sub(before - begin);
        // Behind a long response records would wait until that is read: they leave when there is room beside it.
        let room = session.window.room().saturating_sub(session.control.len());
        let data = left.min(room).min(session.window.message_bytes());
        // Each message has a time of its own, the one of the probe behind it: a receipt names it.
        let time = session.window.stamp(now);
        let is_data = message(session, topics, (data, time), noted, framing, out);
        has_data |= is_data;
        if out.len() > before {
            session.wrote = now;
        }
        if is_data {
            session.window.on_sent(out.len() - before, now);
        } else {
            session.window.on_control(out.len() - before, now);
        }
        let is_due = std::mem::take(&mut session.ping_due);
        if is_due || session.window.wants_probe(now) {
            let time = session.window.probe(framing.probe_bytes(), now);
            framing.probe(time, out);
        }
        let is_done = session.dirty.is_empty() || session.is_ending() || out.len() == before;
        if is_done || session.delivery.is_shut() || out.len() - begin >= budget || !session.window.is_open() {
            break;
        }
    }
    if let Ending::Asked(code) = session.ending {
        let (number, text) = session.dialect.close(code);
        framing.close(number, text, out);
        session.ending = Ending::Told(code);
    }
    has_data
}

/// One message with the control lane and about `budget` bytes of records; none where there is nothing. Returns whether
/// there are records.
fn message(
    session: &mut Session,
    topics: &mut Topics,
    (budget, now): (usize, u64),
    noted: &mut Noted,
    framing: &dyn Framing,
    out: &mut Vec<u8>,
) -> bool {
    let head = out.len();
    framing.begin(out);
    let start = out.len();
    let end = start + budget;
    if !session.control.is_empty() {
        // A session that has nothing to say keeps no buffer.
        out.append(&mut std::mem::take(&mut session.control));
    }
    let data = out.len();
    look_ahead(session, topics);
    let may_leave = !session.is_ending() && !session.delivery.is_shut();
    while may_leave && out.len() < end {
        let Some(index) = session.dirty.pop() else { break };
        let is_looked_at = noted.latency_samples.is_turn();
        if is_looked_at {
            noted.latency_samples.look_at(session, index);
        }
        let is_left = match straight::emit(session, topics, index, end, out) {
            Some(is_left) => is_left,
            None => emit_instrument(session, topics, index, end, now, noted, out),
        };
        if is_looked_at {
            noted.latency_samples.note(session, topics, now);
        }
        if is_left {
            session.dirty.mark(index);
        }
    }
    let has_data = out.len() > data;
    if out.len() > start {
        session.dialect.end(framing, head, start, now, out);
    } else {
        out.truncate(head);
    }
    has_data
}

/// Touches what the next records are found by. One after another each would be waited for: the system call before has
/// taken the caches.
fn look_ahead(session: &Session, topics: &Topics) {
    let subs = session.dirty.iter().take(LOOK_AHEAD).filter_map(|index| session.sub(index));
    let stamps = subs.map(|sub| sub.stamp ^ topic_of(topics, sub.topic).map_or(0, |topic| topic.stamp));
    std::hint::black_box(stamps.fold(0, |all, stamp| all ^ stamp));
}

/// Emits what the subscription and its siblings on the same instrument have pending, oldest arrival first. Returns
/// whether this subscription still has something.
fn emit_instrument(
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
            return session.sub(index).is_some_and(|sub| pending(sub, topics).is_some());
        }
        match emit(session, topics, oldest, now, noted, out) {
            Emitted::Other => {}
            Emitted::Rated => noted.rated.push(oldest),
            Emitted::Last => return false,
        }
        // What follows may be usual again, and much.
        if session.sub(index).is_some_and(|sub| sub.channel.is_lossless())
            && let Some(is_left) = straight::emit(session, topics, index, end, out)
        {
            return is_left;
        }
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

/// Arrival of the record that the subscription is to be sent next. What a rate holds back is not it, for its siblings
/// neither.
pub(super) fn pending(sub: &Sub, topics: &Topics) -> Option<Stamp> {
    let topic = topic_of(topics, sub.topic)?;
    if let Some(backfill) = &sub.backfill {
        // Older than anything that is known here.
        return backfill.is_here().then_some(0);
    }
    if topic.channel == Channel::Book {
        return match topic.next_after(sub.stamp.max(sub.since)) {
            Some(entry) if entry.is_gap => Some(entry.stamp),
            _ => (topic.book.is_synced() && topic.stamp > sub.stamp && topic.stamp <= sub.horizon())
                .then_some(topic.stamp),
        };
    }
    if topic.channel.is_lossless() {
        return topic.next_after(sub.stamp).map(|entry| entry.stamp);
    }
    let gap = topic.next_after(sub.stamp.max(sub.since)).map(|entry| entry.stamp);
    let latest = topic.latest_after(sub.stamp).map(|entry| entry.stamp);
    let latest = latest.filter(|stamp| *stamp <= sub.horizon());
    gap.into_iter().chain(latest).min()
}

/// What was emitted for a subscription.
enum Emitted {
    /// A record that counts for the rate of it.
    Rated,
    /// Something else, or nothing.
    Other,
    /// What the session may not lose is lost: it gets nothing more.
    Last,
}

/// Emits the next record of one subscription.
fn emit(
    session: &mut Session,
    topics: &mut Topics,
    index: u32,
    now: u64,
    noted: &mut Noted,
    out: &mut Vec<u8>,
) -> Emitted {
    let form = &session.form;
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else {
        return Emitted::Other;
    };
    let Some(topic) = topics.get_mut(sub.topic.0 as usize).and_then(Option::as_deref_mut) else {
        return Emitted::Other;
    };
    if sub.backfill.is_some() {
        let before = Before::of(sub);
        if let Some(cause) = backfill::emit(session, index, topic, out) {
            before.note_missing(session, index, cause, now);
        }
        return Emitted::Other;
    }
    let before = Before::of(sub);
    let mut is_snapshot = false;
    let is_record = if topic.channel == Channel::Book {
        let changes = emit_book(sub, topic, form, out);
        is_snapshot = changes.as_ref().is_some_and(|update| update.is_snapshot());
        changes.is_some()
    } else if topic.channel.is_lossless() {
        let settled = emit_lossless(sub, topic, form, out);
        session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
        false
    } else {
        emit_latest(sub, topic, form, out)
    };
    let emitted = if is_record && sub.rate.is_some() { Emitted::Rated } else { Emitted::Other };
    if before.is_notable(session.held, sub) {
        let code = before.loss(sub).and_then(|loss| session.dialect.on_loss(loss));
        before.note(session, topic, index, is_snapshot, now);
        if code.is_some() {
            noted.ends = code;
            session.dirty.clear();
            return Emitted::Last;
        }
    }
    emitted
}

/// Returns the record that it was, where it was no gap.
fn emit_book(sub: &mut Sub, topic: &mut Topic, form: &Form, out: &mut Vec<u8>) -> Option<Arc<Update>> {
    let next = topic.next_after(sub.stamp.max(sub.since));
    if let Some(gap) = next.filter(|entry| entry.is_gap).cloned() {
        emit_gap(sub, topic, &gap, form, out);
        sub.stamp = gap.stamp;
        return None;
    }
    follow_epoch(sub, topic, topic.epoch, form, out);
    let changes = topic.book_changes(sub.stamp);
    if let Some(update) = &changes {
        out.extend_from_slice(update.bytes(form));
        sub.deliver(update.last);
    }
    sub.stamp = topic.stamp;
    changes
}

/// Emits the next logged record, or announces those that are shed; returns how many waiting bytes that settles.
fn emit_lossless(sub: &mut Sub, topic: &Topic, form: &Form, out: &mut Vec<u8>) -> usize {
    let mut logged = topic.log_after(sub.stamp);
    let Some(entry) = logged.next() else { return std::mem::take(&mut sub.waiting_bytes) };
    let update = &entry.update;
    let is_shed = entry.stamp <= sub.shed_to && !update.is_gap();
    // What was shed is settled already; what was cut off the log while it waited is settled with the last record.
    let settled = match logged.next() {
        None => sub.waiting_bytes,
        Some(_) if entry.stamp <= sub.shed_to => 0,
        Some(_) => update.bytes(form).len().min(sub.waiting_bytes),
    };
    sub.waiting_bytes -= settled;
    if update.last != 0 {
        follow_epoch(sub, topic, update.epoch, form, out);
    }
    if is_shed {
        // Without a gap between them they are of one sequence. The records themselves are cache lines further.
        let run = topic.log_after(sub.stamp).take_while(|entry| entry.stamp <= sub.shed_to && !entry.is_gap);
        let end = run.last().unwrap_or(entry);
        announce_shed(sub, topic, end.update.last, form, out);
        sub.stamp = end.stamp;
        return settled;
    }
    sub.stamp = entry.stamp;
    if update.first > sub.sent + 1 && (update.last != 0 || sub.epoch == entry.epoch_before) {
        // The log was cut behind this subscription's back: it lagged by more than the log holds.
        announce_shed(sub, topic, update.first - 1, form, out);
    }
    if update.is_gap() {
        emit_gap(sub, topic, entry, form, out);
    } else {
        out.extend_from_slice(update.bytes(form));
        sub.deliver(update.last);
    }
    settled
}

/// Emits the newest of one key, or a gap where that came first. Returns whether it was a record.
fn emit_latest(sub: &mut Sub, topic: &Topic, form: &Form, out: &mut Vec<u8>) -> bool {
    let gap = topic.next_after(sub.stamp.max(sub.since));
    let latest = topic.latest_after(sub.stamp);
    if let Some(gap) = gap.filter(|gap| latest.is_none_or(|latest| gap.stamp < latest.stamp)) {
        emit_gap(sub, topic, gap, form, out);
        sub.stamp = gap.stamp;
        return false;
    }
    let Some(entry) = latest else {
        sub.stamp = topic.stamp;
        return false;
    };
    follow_epoch(sub, topic, entry.update.epoch, form, out);
    out.extend_from_slice(entry.update.bytes(form));
    sub.deliver(entry.update.last);
    sub.stamp = entry.stamp;
    true
}

/// Announces a new sequence whose own announcement was cut off the log.
fn follow_epoch(sub: &mut Sub, topic: &Topic, epoch: u64, form: &Form, out: &mut Vec<u8>) {
    if sub.epoch != epoch {
        write_gap(topic, GapCause::Ingest, (sub.sent + 1, 0), epoch, form, out);
        sub.renumber(epoch);
    }
}

/// Announces that the numbers up to `to` are not sent, and goes on behind them.
fn announce_shed(sub: &mut Sub, topic: &Topic, to: u64, form: &Form, out: &mut Vec<u8>) {
    write_gap(topic, GapCause::Shed, (sub.sent + 1, to), sub.epoch, form, out);
    sub.announce(sub.sent + 1, to);
}

fn emit_gap(sub: &mut Sub, topic: &Topic, entry: &Entry, form: &Form, out: &mut Vec<u8>) {
    let gap = &entry.update;
    if gap.last != 0 {
        follow_epoch(sub, topic, gap.epoch, form, out);
        if gap.first > sub.sent {
            out.extend_from_slice(gap.bytes(form));
        } else if gap.last > sub.sent {
            // It resumed in the middle.
            let cause = match &gap.record().body {
                Body::Gap(gap) => gap.cause(),
                _ => GapCause::Unknown,
            };
            write_gap(topic, cause, (sub.sent + 1, gap.last), gap.epoch, form, out);
        }
        sub.announce(gap.first, gap.last);
    } else if sub.epoch == entry.epoch_before {
        // The sequence starts again: what was held back of the old one is superseded, what follows counts from 1.
        out.extend_from_slice(gap.bytes(form));
        sub.superseded(gap.first.saturating_sub(1));
        sub.renumber(gap.epoch);
    } else {
        // It ends a sequence that this subscription never saw.
        follow_epoch(sub, topic, gap.epoch, form, out);
    }
}

pub(crate) fn write_gap(
    topic: &Topic,
    cause: GapCause,
    numbers: (u64, u64),
    epoch: u64,
    form: &Form,
    out: &mut Vec<u8>,
) {
    let gap = Update::gap(Arc::clone(&topic.info), topic.channel, cause, numbers.0, numbers.1, epoch);
    out.extend_from_slice(gap.bytes(form));
}
