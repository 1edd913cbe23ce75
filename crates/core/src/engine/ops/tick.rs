//! The clock's work: heartbeats, pings, time-outs, draining.

use tickwire_wire::{Message, Notice};

use super::backfill::tick_backfills;
use super::close::close;
use super::delay::mend_cut;
use super::grant::settle_pending;
use super::heartbeat::heartbeat;
use super::identity::{end_of, warn};
use super::pass_on::pass_on;
use super::ready::{queue, watch};
use super::refill::tick_holes;
use super::release::let_go_of_idle_topics;
use super::say::{notify, say};
use super::throttle::{on_timer, sweep_rates};
use crate::engine::credential::Due;
use crate::engine::data::decisions::{BlockedBy, Decision};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::policy::pace::{Pace, Step, Times};

/// Does what is due. Call it every 50 ms or so; `now` is nanoseconds since the Unix epoch and never goes back.
pub(crate) fn tick(fanout: &mut Fanout, now: u64) {
    fanout.now = now;
    on_timer(fanout, now);
    pass_on(fanout, now);
    mend_cut(fanout, now);
    tick_holes(fanout, now);
    sweep_rates(fanout);
    let keys: Vec<_> = fanout.looks.due(now).collect();
    for key in keys {
        tick_session(fanout, key, now);
    }
    tick_backfills(fanout, now);
    let_go_of_idle_topics(fanout, now);
}

fn tick_session(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let limits = &fanout.limits;
    let Some(session) = fanout.sessions.get_mut(key).filter(|session| !session.is_ending()) else { return };
    session.window.tick(now);
    session.note_blocked(now);
    let since = |then: u64| now.saturating_sub(then);
    let times = Times {
        silent: since(session.heard),
        unpinged: since(session.pinged),
        unwritten: since(session.wrote),
        heartbeat: session.heartbeat_ns(),
        stuck: session.stuck_since(limits.conflating_after_ns).map_or(0, since),
        behind: session.behind_since.map_or(0, |then| since(then.get())),
        caught_up: since(session.caught_up_at),
    };
    let is_due = session.seldom.close_at.is_some_and(|at| now >= at);
    if let Some(code) = times.end(is_due, limits) {
        close(fanout, key, code);
        return;
    }
    match session.principal.credential.due(session.seldom.was_warned, now) {
        Due::End => {
            let code = end_of(&session.principal);
            close(fanout, key, code);
            return;
        }
        Due::Warning => warn(fanout, key, now),
        Due::Nothing => {}
    }
    let limits = &fanout.limits;
    let Some(session) = fanout.sessions.get_mut(key).filter(|session| !session.is_ending()) else { return };
    let is_blocked = session.socket_blocked_since.is_some();
    if !is_blocked && times.wants_ping(limits) {
        session.ping_due = true;
        session.pinged = now;
    }
    if times.keeps_up(limits) {
        session.window.relax();
    }
    match times.step(session.pace, is_blocked, session.window.is_tight(), limits) {
        Step::Conflate => {
            session.pace = Pace::Conflating;
            let because = if is_blocked { BlockedBy::SOCKET } else { BlockedBy::WINDOW };
            session.decided(now, Decision::Conflating { because });
            notify(
                fanout,
                key,
                "conflating",
                "reading too slowly: conflatable channels bring the newest only",
            );
        }
        Step::Resume => {
            session.pace = Pace::Prompt;
            session.decided(now, Decision::Prompt);
            notify(fanout, key, "conflating_ended", "reading fast enough again");
        }
        Step::Heartbeat => {
            session.wrote = now;
            heartbeat(fanout, key, now);
        }
        Step::None => {}
    }
    let Some(session) = fanout.sessions.get(key) else { return };
    let has_work = session.has_work();
    if session.seldom.pending.values().any(|pending| now >= pending.deadline) {
        settle_pending(fanout, key, now);
    }
    if has_work {
        queue(fanout, key);
    }
    let Some(session) = fanout.sessions.get_mut(key) else { return };
    let until = session.quiet_until(&fanout.limits);
    session.is_quiet = until.is_some();
    session.release();
    match until {
        Some(until) => fanout.looks.put_off(key, until),
        None => fanout.looks.always(key),
    }
}

/// Tells every session when to come back and closes them one after another over the window.
pub(crate) fn drain(fanout: &mut Fanout, window_ns: u64, now: u64) {
    fanout.draining = true;
    let keys: Vec<_> = fanout.sessions.keys().collect();
    let count = keys.len().max(1) as u64;
    for (at, key) in keys.into_iter().enumerate() {
        let wait_ns = window_ns / count * at as u64;
        let Some(session) = fanout.sessions.get_mut(key) else { continue };
        session.seldom.close_at = Some(now + wait_ns);
        watch(fanout, key);
        let Some(session) = fanout.sessions.get_mut(key) else { continue };
        session.decided(now, Decision::Notice { code: "draining" });
        let totals = session.totals();
        let notice = Notice {
            code: "draining".to_owned(),
            message: "this gateway is going away; the session will be closed in its turn".to_owned(),
            conflated: totals.conflated,
            dropped: totals.dropped,
            retry_after_ms: (wait_ns / 1_000_000) as u32,
        };
        say(fanout, key, &Message::Notice(notice));
    }
}
