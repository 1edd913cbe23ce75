//! What happens by the clock: heartbeats, pings, time-outs, draining.

use tickwire_wire::{CloseCode, Message, Notice};

use super::backfill::tick_backfills;
use super::close::close;
use super::heartbeat::heartbeat;
use super::ready::queue;
use super::release::let_go_of_idle_topics;
use super::say::{notify, say};
use super::throttle::{on_timer, sweep_rates};
use crate::engine::data::decisions::{Decision, Held};
use crate::engine::data::fanout::Fanout;
use crate::engine::data::key::SessionKey;
use crate::engine::data::session::Pace;

/// Does what is due. Call it every 50 ms or so; `now` is nanoseconds since the Unix epoch and never goes back.
pub(crate) fn tick(fanout: &mut Fanout, now: u64) {
    fanout.now = now;
    on_timer(fanout, now);
    sweep_rates(fanout);
    let keys: Vec<_> = fanout.sessions.keys().collect();
    for key in keys {
        tick_session(fanout, key, now);
    }
    tick_backfills(fanout, now);
    let_go_of_idle_topics(fanout, now);
}

fn tick_session(fanout: &mut Fanout, key: SessionKey, now: u64) {
    let limits = &fanout.limits;
    let Some(session) = fanout.sessions.get_mut(key).filter(|session| !session.is_ending()) else { return };
    let silent_ns = now.saturating_sub(session.heard);
    session.window.tick(now);
    session.note_held(now);
    let is_blocked = session.blocked_since.is_some();
    let stuck_since = session.stuck_since(limits.conflating_after_ns);
    let is_due = session.close_at.is_some_and(|at| now >= at);
    let end = if is_due {
        Some(CloseCode::Draining)
    } else if stuck_since.is_some_and(|since| now.saturating_sub(since) > limits.no_progress_ns) {
        Some(CloseCode::SlowConsumer)
    } else if silent_ns > 3 * limits.ping_after_ns {
        Some(CloseCode::Silent)
    } else {
        None
    };
    if let Some(code) = end {
        close(fanout, key, code);
        return;
    }
    let unpinged_ns = now.saturating_sub(session.pinged);
    if !is_blocked && silent_ns > limits.ping_after_ns && unpinged_ns > limits.ping_after_ns {
        session.ping_due = true;
        session.pinged = now;
    }
    let held_ns = session.held_since.map_or(0, |since| now.saturating_sub(since));
    let eased_ns = now.saturating_sub(session.eased_at);
    if held_ns == 0 && eased_ns > limits.prompt_after_ns {
        session.window.relax();
    }
    let is_slow = is_blocked || session.window.is_tight();
    if session.pace == Pace::Prompt && is_slow && held_ns > limits.conflating_after_ns {
        session.pace = Pace::Conflating;
        let because = if is_blocked { Held::SOCKET } else { Held::WINDOW };
        session.decided(now, Decision::Conflating { because });
        notify(fanout, key, "conflating", "reading too slowly: conflatable channels bring the newest only");
    } else if session.pace == Pace::Conflating && held_ns == 0 && eased_ns > limits.prompt_after_ns {
        session.pace = Pace::Prompt;
        session.decided(now, Decision::Prompt);
        notify(fanout, key, "conflating_ended", "reading fast enough again");
    } else if !is_blocked && now.saturating_sub(session.wrote) >= limits.heartbeat_ns {
        session.wrote = now;
        heartbeat(fanout, key, now);
    }
    let Some(session) = fanout.sessions.get(key) else { return };
    let has_work = session.has_work();
    if session.pending.values().any(|pending| now >= pending.deadline) {
        fanout.settle_pending(key, now);
    }
    if has_work {
        queue(fanout, key);
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
        session.close_at = Some(now + wait_ns);
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
