//! Sessions begin and end, and their sockets take what they were sent.

use tickwire_wire::{CloseCode, Hello, Limits, Message, PROTOCOL_VERSION, SCHEMA};

use super::budget::weighed;
use super::close::{close, weigh_session};
use super::leave::detach;
use super::ready::{queue, watch};
use super::say::say;
use super::waiting::stop_waiting;
use crate::engine::data::account::Account;
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::{Session, at};
use crate::engine::opening::Opening;
use crate::engine::principal::Principal;

/// Opens a session and greets it.
pub(crate) fn open(fanout: &mut Fanout, opening: Opening, now: u64) -> SessionKey {
    fanout.now = now;
    let id = opening.id.clone();
    let session = Session::new(opening, &fanout.limits, &fanout.freshness, fanout.stamp, now);
    let hello = Hello {
        session: id,
        protocol_version: PROTOCOL_VERSION,
        schema: SCHEMA.to_owned(),
        heartbeat_ms: session.heartbeat_ms,
        limits: Some(limits_of(fanout, &session.principal)),
        server: fanout.server.clone(),
        window_ms: session.delivery.ms().into(),
        token_expires: session.principal.credential.expires_told(),
        token_within_ms: session.principal.credential.within_ms(now),
    };
    fanout.windowed += usize::from(session.delivery.ms() > 0);
    let key = fanout.sessions.insert(session);
    fanout.looks.always(key);
    let sessions = &fanout.sessions;
    fanout.index.by_id.insert(key, &sessions[key].id, |key| Some(&*sessions.get(key)?.id));
    say(fanout, key, &Message::Hello(hello));
    if fanout.draining {
        close(fanout, key, CloseCode::Draining);
    }
    key
}

/// Returns the limits in force for the sessions of a principal.
pub(crate) fn limits_of(fanout: &Fanout, principal: &Principal) -> Limits {
    Limits {
        subscriptions: principal.subscriptions_of(fanout.limits.subscriptions_per_session) as u32,
        command_bytes: fanout.limits.command_bytes as u32,
        commands_per_second: fanout.limits.commands_per_second,
        shed_bytes: fanout.limits.shed_bytes as u64,
        close_bytes: fanout.limits.close_bytes as u64,
        max_rate: principal.rate_of(fanout.limits.rate_max),
    }
}

/// Forgets a session whose connection ended, and returns what became of its records.
pub(crate) fn ended(fanout: &mut Fanout, key: SessionKey, now: u64) -> Option<Account> {
    stop_waiting(fanout, key);
    let mut session = fanout.sessions.remove(key)?;
    fanout.looks.forget(key);
    weighed(fanout, key, session.private, 0);
    let sessions = &fanout.sessions;
    fanout.index.by_id.remove(key, &session.id, |key| Some(&*sessions.get(key)?.id));
    for (seen, _) in &session.venues {
        fanout.index.sees_no_more(key, *seen);
    }
    for wildcard in &session.seldom.wildcards {
        fanout.index.wants_all_no_more(key, &wildcard.venue);
        wildcard.give_back(&mut fanout.index.holders);
    }
    fanout.windowed -= usize::from(session.delivery.ms() > 0);
    for (all, count) in
        fanout.decided.iter_mut().zip(session.seldom.decisions.iter().flat_map(|d| d.counts()))
    {
        *all += count;
    }
    session.dirty.clear();
    let all: Vec<_> = (0..session.subs.len() as u32).collect();
    for sub in session.remove(&all) {
        detach(fanout, &sub, &session.form, now);
    }
    let totals = session.totals();
    fanout.ended = fanout.ended + totals;
    Some(totals)
}

/// Tells what the kernel has not taken of what was filled. Above 0 the session is blocked: it is not ready again
/// before 0 was told.
pub(crate) fn unsent(fanout: &mut Fanout, key: SessionKey, bytes: usize, now: u64) {
    fanout.now = now;
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    if bytes == 0 && session.unsent_bytes == 0 && session.socket_blocked_since.is_none() {
        // As a rule the kernel takes everything, and what that means was noted when it was filled.
        if session.has_work() {
            queue(fanout, key);
        }
        return;
    }
    if bytes > 0 {
        if session.socket_blocked_since.is_none() {
            session.socket_blocked_since = Some(at(now));
            session.progress_at = now;
        } else if bytes < session.unsent_bytes {
            session.progress_at = now;
        }
        session.unsent_bytes = bytes;
        session.note_blocked(now);
        watch(fanout, key);
        weigh_session(fanout, key);
        return;
    }
    session.unsent_bytes = 0;
    session.socket_blocked_since = None;
    session.note_blocked(now);
    session.end_shedding(fanout.limits.shed_end_bytes, now);
    if session.has_work() {
        queue(fanout, key);
    }
    weigh_session(fanout, key);
}

/// Finds the sessions whose clients do not answer pings: for these the driver tells what the kernel has not
/// confirmed.
pub(crate) fn wants_kernel_numbers(fanout: &Fanout, into: &mut Vec<SessionKey>) {
    // A session that waits for the kernel's word is not quiet.
    let sessions = fanout.looks.not_quiet().filter_map(|key| Some((key, fanout.sessions.get(key)?)));
    into.extend(sessions.filter(|(_, session)| session.window.wants_kernel_numbers()).map(|(key, _)| key));
}

/// Tells how many bytes the client's kernel has not confirmed, what this process still holds included.
pub(crate) fn kernel_unacknowledged(fanout: &mut Fanout, key: SessionKey, bytes: usize, now: u64) {
    if let Some(session) = fanout.sessions.get_mut(key) {
        session.window.on_unacknowledged(bytes, now);
        reopen(fanout, key, now);
    }
}

/// Goes on with a session whose window may have opened.
pub(crate) fn reopen(fanout: &mut Fanout, key: SessionKey, now: u64) {
    watch(fanout, key);
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    session.note_blocked(now);
    session.end_shedding(fanout.limits.shed_end_bytes, now);
    if session.has_work() {
        queue(fanout, key);
    }
}
