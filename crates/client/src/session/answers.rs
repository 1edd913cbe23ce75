//! The gateway's answers to commands, and what to do when there is none.

use tickwire_wire::{Error, Ledger, Refused, Subscribed};
use tokio::time::Instant;

use super::Session;
use super::requests::Kind;
use crate::error::CommandError;
use crate::event::{Event, Outcome};

/// A refusal that says that all is well.
const ALREADY: &str = "already_subscribed";

impl Session {
    pub(super) fn subscribed(&mut self, subscribed: Subscribed, now: Instant) {
        let Subscribed { id, granted, refused } = subscribed;
        let kind = self.requests.pending.get(&id).map_or(Kind::Subscribe, |pending| pending.kind);
        if matches!(kind, Kind::Unsubscribe | Kind::RepairUnsubscribe) {
            // Names that were not subscribed. The account follows and is the answer.
            return;
        }
        let request = self.requests.pending.remove(&id).and_then(|pending| pending.request);
        if matches!(kind, Kind::Subscribe | Kind::Repair) {
            for granted in &granted {
                let channel = granted.channel();
                self.wanted.granted(channel, &granted.symbol);
                let instrument = self.instruments.grant(granted);
                let numbering = instrument.subscription(channel).and_then(|s| s.numbering);
                if numbering.is_some_and(|numbering| numbering.is_owed()) {
                    self.owe(granted.instrument, channel);
                }
            }
            for refused in &refused {
                self.refused(refused, now);
            }
        }
        let outcome = Outcome { granted, refused };
        if kind != Kind::Repair || !outcome.refused.is_empty() {
            self.event(Event::Subscribed(outcome.clone()));
        }
        self.requests.answered(request, |answer| {
            answer.outcome.granted.extend(outcome.granted);
            answer.outcome.refused.extend(outcome.refused);
        });
    }

    fn refused(&mut self, refused: &Refused, now: Instant) {
        let channel = refused.channel();
        if refused.code == ALREADY {
            return;
        }
        if !refused.may_retry {
            self.wanted.remove(channel, &refused.symbol);
        } else if let Some(at) = self.wanted.refused(channel, &refused.symbol, now) {
            self.tick_by(at);
        }
    }

    pub(super) fn ledger(&mut self, ledger: Ledger) {
        let pending = self.requests.pending.remove(&ledger.id);
        if pending.as_ref().is_some_and(|pending| pending.kind == Kind::RepairUnsubscribe) {
            return;
        }
        // What is being unsubscribed may be in it or not.
        let is_changing = |kind| matches!(kind, Kind::Unsubscribe | Kind::RepairUnsubscribe | Kind::Repair);
        let is_whole = pending.as_ref().is_none_or(|pending| pending.kind == Kind::Ledger)
            && !self.requests.pending.values().any(|pending| is_changing(pending.kind));
        self.check_ledger(&ledger, is_whole);
        if let Some(pending) = pending.as_ref().filter(|pending| pending.kind == Kind::Unsubscribe) {
            // A grant may have crossed with the command.
            let channel = pending.channel;
            let gone: Vec<_> = pending
                .symbols
                .iter()
                .filter(|symbol| !self.wanted.contains(channel, symbol))
                .cloned()
                .collect();
            self.forget(channel, &gone);
        }
        self.event(Event::Ledger(ledger.clone()));
        self.requests.answered(pending.and_then(|pending| pending.request), |answer| {
            answer.ledger.id = ledger.id;
            answer.ledger.entries.extend(ledger.entries);
        });
    }

    pub(super) fn error(&mut self, error: Error, now: Instant) {
        let pending = self.requests.pending.remove(&error.id);
        let request = pending.as_ref().and_then(|pending| pending.request);
        if let Some(pending) = pending.filter(|p| matches!(p.kind, Kind::Subscribe | Kind::Repair)) {
            for symbol in &pending.symbols {
                if error.code == "rate_limit" {
                    if let Some(at) = self.wanted.refused(pending.channel, symbol, now) {
                        self.tick_by(at);
                    }
                } else {
                    self.wanted.remove(pending.channel, symbol);
                }
            }
        }
        match request {
            Some(request) => {
                let (code, message) = (error.code, error.message);
                self.requests.finish(request, Some(CommandError::Rejected { code, message }));
            }
            None => self.event(Event::Rejected(error)),
        }
    }

    /// Asks again for what was refused for now.
    pub(super) fn retry_refused(&mut self, now: Instant) {
        let (groups, next) = self.wanted.due(now);
        if !groups.is_empty() {
            self.resume();
        }
        for group in groups {
            self.subscribe(&group, Kind::Subscribe, None, now);
        }
        if let Some(at) = next {
            self.tick_by(at);
        }
    }

    /// Commands without an answer for too long: their handles gave up by themselves, subscriptions are asked for again.
    pub(super) fn expire(&mut self, now: Instant) {
        let timeout = self.settings.command_timeout;
        let pending = std::mem::take(&mut self.requests.pending);
        let (expired, waiting) = pending.into_iter().partition(|(_, p)| p.sent_at + timeout <= now);
        self.requests.pending = waiting;
        let expired: std::collections::HashMap<_, _> = expired;
        for pending in expired.into_values() {
            if let Some(request) = pending.request {
                self.requests.finish(request, Some(CommandError::TimedOut { waited: timeout }));
            }
            if matches!(pending.kind, Kind::Subscribe | Kind::Repair) {
                for symbol in &pending.symbols {
                    if let Some(at) = self.wanted.refused(pending.channel, symbol, now) {
                        self.tick_by(at);
                    }
                }
            }
        }
        if let Some(at) = self.requests.pending.values().map(|p| p.sent_at + timeout).min() {
            self.tick_by(at);
        }
    }
}
