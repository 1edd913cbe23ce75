//! The end of a session: as planned, for a while, or against the plan.

use std::collections::HashMap;
use std::time::Duration;

use rand::RngExt as _;
use rustc_hash::FxHashMap;
use tickwire_machine::now;
use tickwire_net::Backoff;
use tickwire_wire::{Command, LedgerRequest};

use super::session::{Account, End, LEDGER_ID, LEDGER_WAIT, Session, State};
use super::shared::Core;
use super::timers::Due;
use crate::board::Phase;
use crate::scenario::ReaderKind;
use crate::websocket::Opcode;

/// A lost session waits a random part of this before it connects again.
const BACK_OFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
/// A session that is dropped in its handshake more often was not opened.
const ATTEMPTS_MAX: u32 = 4;

impl Session {
    pub(super) fn enter(&mut self, core: &mut Core, phase: Phase) {
        let kind = self.kind(core);
        match (phase, self.state) {
            (Phase::Settle, State::Open) => {
                self.is_settled = true;
                if kind != ReaderKind::HalfOpen {
                    self.pause(core, false);
                }
            }
            (Phase::Settle, State::Shaking | State::Subscribing) => self.pause(core, false),
            (Phase::Finish, State::Open)
                if kind == ReaderKind::HalfOpen || core.plan.scenario.peer.is_some() =>
            {
                self.end(core);
            }
            (Phase::Finish, State::Open) => {
                self.is_settled = true;
                self.work(core);
                self.pause(core, false);
                self.state = State::Ending;
                core.timers.add(now() + LEDGER_WAIT.as_nanos() as u64, self.slot, Due::NoLedger);
                self.command(core, &Command::Ledger(LedgerRequest { id: LEDGER_ID }));
                self.flush(core);
            }
            (Phase::Finish, State::Ending | State::Gone) => {}
            (Phase::Finish, _) => {
                self.lost(core, End::Broken("it was not open when the run ended".to_owned()));
            }
            _ => {}
        }
    }

    /// The connection is gone, and with it what was granted on it.
    fn disconnected(&mut self, core: &mut Core) {
        self.stream = None;
        if !matches!(self.state, State::Open | State::Ending) {
            return;
        }
        core.counts.live -= 1;
        if core.plan.scenario.peer.is_none() {
            match self.account {
                Account::Given => core.part.checks.ledgers += 1,
                Account::Owed => core.part.checks.ledgers_missing += 1,
            }
        }
    }

    /// There will be no other connection.
    fn gone(&mut self, core: &mut Core) {
        self.disconnected(core);
        self.state = State::Gone;
        core.gone += 1;
        self.subscriptions = FxHashMap::default();
    }

    /// Its ledger came, or it has none: it closes.
    pub(super) fn end(&mut self, core: &mut Core) {
        if self.state == State::Gone {
            return;
        }
        if core.plan.scenario.peer.is_some() {
            self.check_finals(core);
        }
        if self.kind(core) != ReaderKind::HalfOpen {
            self.send(core, Opcode::Close, &1000_u16.to_be_bytes());
            if let Some(stream) = &mut self.stream {
                stream.close();
            }
        }
        self.gone(core);
    }

    /// The connection is gone: as planned, for a while, or against the plan.
    pub(super) fn lost(&mut self, core: &mut Core, end: End) {
        let was_open = matches!(self.state, State::Open | State::Ending);
        let has_been_open = was_open || self.extra.as_ref().is_some_and(|extra| extra.lost_at > 0);
        if self.state == State::Gone {
            return;
        }
        core.counts.shaken -= u64::from(self.state == State::Shaken);
        let attempts = self.extra.as_ref().map_or(0, |extra| extra.attempts);
        if has_been_open && core.plan.scenario.churn.reconnects() && core.phase < Phase::Finish {
            self.extra().attempts += 1;
            return self.come_back(core, BACK_OFF.ceiling(attempts));
        }
        // A server that has too many handshakes under way drops some before it reads them.
        if self.state == State::Shaking
            && core.phase < Phase::Measure
            && !matches!(end, End::Refused(_))
            && attempts < ATTEMPTS_MAX
        {
            self.extra().attempts += 1;
            core.part.sessions.open_retries += 1;
            return self.connect_again(core, BACK_OFF.ceiling(attempts));
        }
        let text = match end {
            End::Closed(code, text) => format!("closed by the server: {code} {text}"),
            End::Broken(text) | End::Refused(text) => text,
        };
        let text = core.plan.redacted(self.number(), text);
        let text = || format!("session {}: {text}", self.number);
        if was_open && self.kind(core).may_be_closed() {
            core.part.sessions.closed_as_expected += 1;
        } else if has_been_open {
            core.counts.ended_early += 1;
            core.part.sessions.ended_early.note(text);
        } else {
            core.counts.not_opened += 1;
            core.part.sessions.not_opened.note(text);
        }
        self.gone(core);
    }

    /// Cuts the connection and connects again after a random part of `within`; what it had of lossless channels, it
    /// resumes.
    pub(super) fn come_back(&mut self, core: &mut Core, within: Duration) {
        let lossless = self.subscriptions.drain().filter(|((_, channel), _)| channel.is_lossless());
        let before = lossless.filter_map(|((instrument, channel), known)| {
            Some(((core.names.get(&instrument)?.clone(), channel), known.sequence))
        });
        let before: HashMap<_, _> = before.collect();
        let extra = self.extra();
        extra.before.extend(before);
        if extra.lost_at == 0 {
            extra.lost_at = now();
        }
        self.connect_again(core, within);
    }

    fn connect_again(&mut self, core: &mut Core, within: Duration) {
        self.disconnected(core);
        self.state = State::Waiting;
        let wait = core.rng.random_range(0..=within.as_nanos() as u64);
        core.timers.add(now() + wait, self.slot, Due::Connect);
    }
}
