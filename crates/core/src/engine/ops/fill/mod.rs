//! Emptying an outbox: what is newest at this moment, in the order of arrival per instrument, into one message.

use tickwire_wire::{Channel, encode_sent_time};

use crate::engine::data::decisions::Held;
use crate::engine::data::fanout::{Fanout, Noted};
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::{Ending, Session};
use crate::engine::data::topic::Topics;
use crate::engine::framing::Framing;
use crate::engine::ops::backfill::ask_backfills;
use crate::engine::ops::budget::write_budget;
use crate::engine::ops::close::weigh_session;
use crate::engine::ops::throttle::rest;
use parting::part;
use pending::{look_ahead, oldest_pending, pending};
use reason::Before;
use record::{emit_book, emit_latest, emit_lossless};

mod gap;
mod history;
mod parting;
mod pending;
mod reason;
mod record;
mod straight;

/// What one `fill` handed over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The bytes end with a close frame: write them and end the connection.
    pub closed: bool,
    /// More is waiting.
    pub more: bool,
}

/// Appends to `out` what a session is to be sent now, as whole frames. A blocked session gets nothing, except the last
/// bytes of one that is being closed.
pub(crate) fn fill(
    fanout: &mut Fanout,
    key: SessionKey,
    now: u64,
    framing: &dyn Framing,
    out: &mut Vec<u8>,
) -> Filled {
    fanout.now = now;
    let budget = write_budget(fanout);
    let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
    session.queued = false;
    if session.is_over() || session.is_held() {
        return Filled::default();
    }
    let has_leaving = !session.leaving.is_empty();
    let has_data = write(session, &mut fanout.topics, (budget, now), &mut fanout.noted, framing, out);
    if has_leaving && part(fanout, key, now) {
        // The word that something ended goes behind what was owed.
        let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
        write(session, &mut fanout.topics, (0, now), &mut fanout.noted, framing, out);
    }
    let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
    if session.dirty.is_empty() {
        session.held = Held::default();
    }
    session.note_held(now);
    session.ease(fanout.limits.shed_end_bytes, now);
    let mut rated = std::mem::take(&mut fanout.noted.rated);
    rest(fanout, key, &rated, has_data, now);
    weigh_session(fanout, key);
    rated.clear();
    fanout.noted.rated = rated;
    if fanout.sessions.get(key).is_some_and(|session| session.turns.is_due()) {
        ask_backfills(fanout, key, now);
    }
    let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
    Filled { closed: session.is_over(), more: session.has_work() }
}

/// Appends what the session is owed, up to about `budget` bytes and as far as its window is open, as whole
/// frames. Control first: it always fits, whatever the budget. Probes go behind what they are to confirm. Returns whether
/// there was anything but control.
fn write(
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
        framing.close(code, out);
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
            None => emit_instrument(session, topics, index, end, now, &mut noted.rated, out),
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
        encode_sent_time(session.encoding, now, out);
        framing.end(head, start, session.encoding.is_text(), out);
    } else {
        out.truncate(head);
    }
    has_data
}

/// Emits what the subscription and its siblings on the same instrument have pending, oldest arrival first. Returns
/// whether this subscription still has something.
fn emit_instrument(
    session: &mut Session,
    topics: &mut Topics,
    index: u32,
    end: usize,
    now: u64,
    rated: &mut Vec<u32>,
    out: &mut Vec<u8>,
) -> bool {
    loop {
        let Some((_, oldest)) = oldest_pending(session, topics, index) else { return false };
        if out.len() >= end {
            return session.sub(index).is_some_and(|sub| pending(sub, topics).is_some());
        }
        if emit(session, topics, oldest, now, out) {
            rated.push(oldest);
        }
        // What follows may be usual again, and much.
        if session.sub(index).is_some_and(|sub| sub.channel.is_lossless())
            && let Some(is_left) = straight::emit(session, topics, index, end, out)
        {
            return is_left;
        }
    }
}

/// Emits the next record of one subscription. Returns whether that counts for a rate of it.
fn emit(session: &mut Session, topics: &mut Topics, index: u32, now: u64, out: &mut Vec<u8>) -> bool {
    let encoding = session.encoding;
    let Some(sub) = session.subs.get_mut(index as usize).and_then(Option::as_mut) else { return false };
    let Some(topic) = topics.get_mut(sub.topic.0 as usize).and_then(Option::as_deref_mut) else {
        return false;
    };
    if sub.backfill.is_some() {
        let before = Before::of(sub);
        if let Some(cause) = history::emit(session, index, topic, out) {
            before.note_missing(session, index, cause, now);
        }
        return false;
    }
    let before = Before::of(sub);
    let mut is_snapshot = false;
    let is_record = if topic.channel == Channel::Book {
        let changes = emit_book(sub, topic, encoding, out);
        is_snapshot = changes.as_ref().is_some_and(|update| update.is_snapshot());
        changes.is_some()
    } else if topic.channel.is_lossless() {
        let settled = emit_lossless(sub, topic, encoding, out);
        session.lossless_bytes = session.lossless_bytes.saturating_sub(settled);
        false
    } else {
        emit_latest(sub, topic, encoding, out)
    };
    let counts = is_record && sub.rate.is_some();
    if before.is_notable(session.held, sub) {
        before.note(session, topic, index, is_snapshot, now);
    }
    counts
}
