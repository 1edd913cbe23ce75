//! What happens by the clock: heartbeats, pings, time-outs, draining.

use tickwire_wire::{CloseCode, Message, Notice};

use super::Engine;
use super::decision::{Decision, Held};
use super::session::{Pace, SessionKey};
use crate::vocabulary::TopicId;
use crate::vocabulary::TopicInterest;

impl Engine {
    /// Does what is due. Call it every 50 ms or so; `now` is nanoseconds since the Unix epoch and never goes back.
    pub fn tick(&mut self, now: u64) {
        self.now = now;
        self.on_timer(now);
        self.sweep_rates();
        let keys: Vec<_> = self.sessions.keys().collect();
        for key in keys {
            self.tick_session(key, now);
        }
        self.tick_backfills(now);
        self.let_go_of_idle_topics(now);
    }

    fn tick_session(&mut self, key: SessionKey, now: u64) {
        let limits = &self.limits;
        let Some(session) = self.sessions.get_mut(key).filter(|session| !session.is_ending()) else { return };
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
            self.close(key, code);
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
            self.notify(key, "conflating", "reading too slowly: conflatable channels bring the newest only");
        } else if session.pace == Pace::Conflating && held_ns == 0 && eased_ns > limits.prompt_after_ns {
            session.pace = Pace::Prompt;
            session.decided(now, Decision::Prompt);
            self.notify(key, "conflating_ended", "reading fast enough again");
        } else if !is_blocked && now.saturating_sub(session.wrote) >= limits.heartbeat_ns {
            session.wrote = now;
            self.heartbeat(key, now);
        }
        let Some(session) = self.sessions.get(key) else { return };
        let has_work = session.has_work();
        if session.pending.values().any(|pending| now >= pending.deadline) {
            self.settle_pending(key, now);
        }
        if has_work {
            self.queue(key);
        }
    }

    fn notify(&mut self, key: SessionKey, code: &str, message: &str) {
        let Some(session) = self.sessions.get(key) else { return };
        let totals = session.totals();
        let notice = Notice {
            code: code.to_owned(),
            message: message.to_owned(),
            conflated: totals.conflated,
            dropped: totals.dropped,
            retry_after_ms: 0,
        };
        self.say(key, &Message::Notice(notice));
    }

    /// Tells every session when to come back and closes them one after another over the window.
    pub fn drain(&mut self, window_ns: u64, now: u64) {
        self.draining = true;
        let keys: Vec<_> = self.sessions.keys().collect();
        let count = keys.len().max(1) as u64;
        for (at, key) in keys.into_iter().enumerate() {
            let wait_ns = window_ns / count * at as u64;
            let Some(session) = self.sessions.get_mut(key) else { continue };
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
            self.say(key, &Message::Notice(notice));
        }
    }

    /// Nobody wants the topic from now on: it is let go after the linger time.
    pub(super) fn let_idle(&mut self, id: TopicId, now: u64) {
        if let Some(topic) = self.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut)
            && topic.subscribers.is_empty()
        {
            topic.idle_since = Some(now);
            // Each stands there once, however often it comes and goes.
            if !std::mem::replace(&mut topic.is_listed, true) {
                self.idle.insert((now.saturating_add(self.limits.linger_ns), id));
            }
        }
    }

    fn let_go_of_idle_topics(&mut self, now: u64) {
        while let Some((_, id)) = self.idle.first().copied().filter(|(due, _)| *due <= now) {
            self.idle.pop_first();
            let Some(topic) = self.topics.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else {
                continue;
            };
            topic.is_listed = false;
            let Some(since) = topic.idle_since else { continue };
            let mut due = since.saturating_add(self.limits.linger_ns);
            if self.index.is_waited_for(id) {
                due = due.max(now + 1);
            }
            if due > now {
                topic.is_listed = true;
                self.idle.insert((due, id));
                continue;
            }
            self.forget_log(id);
            self.topics[id.0 as usize] = None;
            self.interests.push(TopicInterest::Drop(id));
        }
    }
}
