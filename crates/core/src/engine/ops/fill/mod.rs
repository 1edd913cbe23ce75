//! Emptying the outbox of one session: what is newest at this moment, in the order of arrival per instrument, as messages.
//!
//! The way goes through these files from top to bottom, and none of them calls one that stands before it:
//! - this one: messages, and probes behind them;
//! - `message`: one message, with the control lane and records;
//! - `instrument`: the records of one instrument, but for the usual case;
//! - `straight`: the usual case; `pending`: what arrived first;
//! - `next`: the next record of one subscription, from `history` or from the topic (`record`, with announcements);
//! - `reason`: why something was not sent.

mod history;
mod instrument;
mod leaving;
mod message;
mod next;
mod pending;
mod reason;
mod record;
mod straight;

use leaving::end_settled;
use message::append_message;

use super::backfill::ask_backfills;
use super::budget::write_budget;
use super::close::{close, weigh_session};
use super::throttle::throttle;
use crate::engine::data::decisions::BlockedBy;
use crate::engine::data::fanout::{Fanout, Noted};
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::{Ending, Session};
use crate::engine::data::topics::Topics;
use crate::engine::framing::Framing;

/// The outcome of one `fill`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filled {
    /// The bytes end with a close frame: write them and end the connection.
    pub closed: bool,
    /// More is waiting.
    pub more: bool,
    /// The usual time from one write to this session to the next, in nanoseconds.
    pub cycle_ns: u64,
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
    if std::mem::take(&mut session.is_quiet) {
        fanout.looks.always(key);
    }
    if session.is_over() || session.is_blocked() {
        return Filled::default();
    }
    let cycle_ns = session.note_cycle(now);
    let has_leaving = !session.seldom.is_none() && !session.seldom.leaving.is_empty();
    let has_data = write(session, &mut fanout.topics, (budget, now), &mut fanout.noted, framing, out);
    if has_leaving && end_settled(fanout, key, now) {
        // The word that something ended goes behind what was owed.
        let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
        write(session, &mut fanout.topics, (0, now), &mut fanout.noted, framing, out);
    }
    let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
    if session.dirty.is_empty() {
        session.blocked_by = BlockedBy::default();
    }
    session.note_blocked(now);
    session.end_shedding(fanout.limits.shed_end_bytes, now);
    let mut rated = std::mem::take(&mut fanout.noted.rated);
    throttle(fanout, key, &rated, has_data, now);
    weigh_session(fanout, key);
    rated.clear();
    fanout.noted.rated = rated;
    if fanout
        .sessions
        .get(key)
        .is_some_and(|session| !session.seldom.is_none() && session.seldom.turns.is_due())
    {
        ask_backfills(fanout, key, now);
    }
    if let Some(code) = fanout.noted.ends.take() {
        close(fanout, key, code);
    }
    let Some(session) = fanout.sessions.get_mut(key) else { return Filled::default() };
    Filled { closed: session.is_over(), more: session.has_work(), cycle_ns }
}

/// Appends what the session is owed, up to about `budget` bytes and as far as its window is open, as whole
/// frames. Control goes first: it always fits, whatever the budget. Probes go behind what they are to confirm. Returns
/// whether there was anything but control.
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
    if let Some(seldom) = session.seldom.made() {
        for payload in std::mem::take(&mut seldom.pongs) {
            framing.pong(&payload, out);
        }
    }
    loop {
        let before = out.len();
        let left = budget.max(1).saturating_sub(before - begin);
        // Behind a long response records would wait until that is read: they leave when there is room beside it.
        let room = session.window.room().saturating_sub(session.control.len());
        let data = left.min(room).min(session.window.message_bytes());
        // Each message has a time of its own, the one of the probe behind it: a receipt names it.
        let time = session.window.stamp(now);
        let is_data = append_message(session, topics, (data, time), noted, framing, out);
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
