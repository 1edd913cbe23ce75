//! How a session ends: as planned, for a while, or against the plan.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use tickwire_net::Backoff;
use tickwire_wire::{Command, LedgerRequest};

use super::session::{Account, End, LEDGER_ID, LEDGER_WAIT, Numberings, Session, State};
use super::timers::Due;
use super::{Core, Phase};
use crate::clock::now;
use crate::scenario::ReaderKind;
use crate::ws::Opcode;

/// Before a lost session connects again.
const BACK_OFF: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(4));
/// A session that is dropped in its handshake so often was not opened.
const ATTEMPTS_MAX: u32 = 4;

impl Session {
    pub(super) fn enter(&mut self, core: &mut Core, slot: usize, phase: Phase) {
        let kind = self.kind(core);
        match (phase, self.state) {
            (Phase::Settle, State::Open) => {
                self.is_settled = true;
                if kind != ReaderKind::HalfOpen {
                    self.pause(core, slot, false);
                }
            }
            (Phase::Settle, State::Shaking | State::Subscribing) => self.pause(core, slot, false),
            (Phase::Finish, State::Open)
                if kind == ReaderKind::HalfOpen || core.plan.scenario.peer.is_some() =>
            {
                self.end(core, slot);
            }
            (Phase::Finish, State::Open) => {
                self.is_settled = true;
                self.work(core, slot);
                self.pause(core, slot, false);
                self.state = State::Ending;
                core.timers.add(now() + LEDGER_WAIT.as_nanos() as u64, slot, Due::NoLedger);
                self.command(core, &Command::Ledger(LedgerRequest { id: LEDGER_ID }));
                self.flush(core, slot);
            }
            (Phase::Finish, State::Ending | State::Gone) => {}
            (Phase::Finish, _) => {
                self.lost(core, slot, End::Broken("it was not open when the run ended".to_owned()));
            }
            _ => {}
        }
    }

    /// A connection that was open ends.
    fn count_ledger(&mut self, core: &mut Core) {
        if core.plan.scenario.peer.is_none() {
            let part = &mut core.part;
            match self.account {
                Account::Given => part.ledgers += 1,
                Account::Owed => part.ledgers_missing += 1,
            }
        }
    }

    /// Its ledger came, or it has none: it closes.
    pub(super) fn end(&mut self, core: &mut Core, slot: usize) {
        if core.plan.scenario.peer.is_some() {
            self.check_finals(core);
        }
        if self.kind(core) != ReaderKind::HalfOpen {
            self.send(core, slot, Opcode::Close, &1000_u16.to_be_bytes());
            if let Some(stream) = &mut self.stream {
                stream.close();
            }
        }
        if self.stream.take().is_some() {
            core.open = core.open.saturating_sub(1);
            core.shared.counts.live.fetch_sub(1, Ordering::Relaxed);
        }
        if self.state != State::Gone {
            self.count_ledger(core);
            self.state = State::Gone;
            core.gone += 1;
        }
        self.numberings = Numberings::default();
    }

    /// The connection is gone: as planned, for a while, or against the plan.
    pub(super) fn lost(&mut self, core: &mut Core, slot: usize, end: End) {
        let kind = self.kind(core);
        let was_open = matches!(self.state, State::Open | State::Ending);
        if self.state == State::Gone {
            return;
        }
        let may_return = core.plan.scenario.churn.reconnects() && core.phase < Phase::Finish;
        if may_return && (was_open || self.extra.as_ref().is_some_and(|extra| extra.lost_at > 0)) {
            let attempts = self.extra().attempts;
            self.extra().attempts += 1;
            return self.come_back(core, slot, BACK_OFF.ceiling(attempts));
        }
        // A server that has too many handshakes under way drops some before it reads them.
        if self.state == State::Shaking
            && core.phase == Phase::Open
            && !matches!(end, End::Refused(_))
            && self.extra().attempts < ATTEMPTS_MAX
        {
            let attempts = self.extra().attempts;
            self.extra().attempts += 1;
            core.part.open_retries += 1;
            return self.connect_again(core, slot, BACK_OFF.ceiling(attempts));
        }
        let text = match end {
            End::Closed(code, text) => format!("closed by the server: {code} {text}"),
            End::Broken(text) | End::Refused(text) => text,
        };
        let text = core.plan.redacted(self.number(), text);
        if was_open {
            self.count_ledger(core);
        }
        let counts = &core.shared.counts;
        if self.stream.take().is_some() && was_open {
            core.open = core.open.saturating_sub(1);
            counts.live.fetch_sub(1, Ordering::Relaxed);
        }
        self.state = State::Gone;
        core.gone += 1;
        let number = self.number;
        if was_open && kind.may_be_closed() {
            core.part.closed_as_expected += 1;
        } else if was_open || self.extra.as_ref().is_some_and(|extra| extra.lost_at > 0) {
            counts.ended_early.fetch_add(1, Ordering::Relaxed);
            core.part.ended_early.note(|| format!("session {number}: {text}"));
        } else {
            counts.not_opened.fetch_add(1, Ordering::Relaxed);
            core.part.not_opened.note(|| format!("session {number}: {text}"));
        }
        self.numberings = Numberings::default();
    }

    /// Cuts the connection and connects again after a random part of `within`; what it had of lossless channels, it
    /// resumes.
    pub(super) fn come_back(&mut self, core: &mut Core, slot: usize, within: Duration) {
        if matches!(self.state, State::Open | State::Ending) {
            self.count_ledger(core);
            core.open = core.open.saturating_sub(1);
            core.shared.counts.live.fetch_sub(1, Ordering::Relaxed);
        }
        self.stream = None;
        self.state = State::Waiting;
        let mut before = Vec::new();
        for (key, numbering) in self.numberings.drain() {
            if numbering.channel().is_lossless()
                && let Some(name) = core.names.get(&((key >> 3) as u32))
            {
                before.push((name.clone(), numbering.position().0, numbering));
            }
        }
        let extra = self.extra();
        if !before.is_empty() {
            extra.before = before;
        }
        let time = now();
        if extra.lost_at == 0 {
            extra.lost_at = time;
        }
        self.connect_again(core, slot, within);
    }

    fn connect_again(&mut self, core: &mut Core, slot: usize, within: Duration) {
        self.stream = None;
        self.state = State::Waiting;
        let wait = core.rng.random_range(0..=within.as_nanos() as u64);
        core.timers.add(now() + wait, slot, Due::Connect);
    }
}
