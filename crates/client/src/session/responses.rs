//! The gateway's responses to commands, and what to do when there is none.

use std::sync::Arc;

use tickwire_wire::{Channel, Error, Identity, Ledger, Refused, Subscribed};
use tokio::time::Instant;

use super::Session;
use super::ledgers::{EndedAccount, Scope};
use super::pending_gaps::Tracked;
use super::requests::Kind;
use super::wanted::Group;
use crate::error::{CommandError, Disconnect};
use crate::event::{Event, Outcome, State};

/// A refusal that says that all is well.
const ALREADY: &str = "already_subscribed";
/// A refusal that ends what was granted.
const ENDED: &str = "ended";

impl Session {
    pub(super) fn subscribed(&mut self, subscribed: Subscribed, now: Instant) {
        let Subscribed { id, granted, mut refused } = subscribed;
        let kind = self.requests.pending.get(&id).map_or(Kind::Subscribe, |pending| pending.kind);
        if matches!(kind, Kind::Unsubscribe | Kind::RepairUnsubscribe) {
            // Names that were not subscribed. The account follows and is the response.
            return;
        }
        if id == 0 {
            let (ended, others) = refused.into_iter().partition(|refused| refused.code == ENDED);
            refused = others;
            let is_all = granted.is_empty() && refused.is_empty();
            self.ended(ended, now);
            if is_all {
                return;
            }
        }
        let request = self.requests.pending.remove(&id).and_then(|pending| pending.request);
        if matches!(kind, Kind::Subscribe | Kind::Repair) {
            for granted in &granted {
                let channel = granted.channel();
                if let Some(other) = self.instruments.is_taken(granted.instrument, &granted.symbol) {
                    let (number, symbol) = (granted.instrument, &granted.symbol);
                    self.broken(format!("grants number {number} to {symbol}, while {other} has it"));
                    return;
                }
                self.wanted.granted(channel, &granted.symbol);
                let instrument = self.instruments.grant(granted);
                let tracked = instrument.subscription(channel).map(|subscription| subscription.tracked);
                if let Some(tracked) = tracked.filter(Tracked::is_owed) {
                    self.owe(granted.instrument, channel, tracked.is_filling());
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
        self.requests.answered(request, |response| {
            response.outcome.granted.extend(outcome.granted);
            response.outcome.refused.extend(outcome.refused);
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

    /// From here on, what comes could be attributed to the wrong instrument: the connection ends.
    fn broken(&mut self, what: String) {
        self.counters.violations += 1;
        self.fault = Some(Disconnect::Protocol(what));
    }

    /// Notes subscriptions that are over. What is still owed to them does not come any more.
    fn ended(&mut self, ended: Vec<Refused>, now: Instant) {
        let mut again: Vec<Group> = Vec::new();
        for Refused { channel, symbol, message, may_retry, .. } in ended {
            let channel = Channel::try_from(channel).unwrap_or_default();
            let scale = self.instruments.get(&symbol).map(|instrument| Arc::clone(&instrument.scale));
            let of_wildcard = !self.wanted.contains(channel, &symbol);
            if let (Some(scale), Some(mut over)) = (scale, self.instruments.remove(&symbol, channel)) {
                if let Some(missing) = over.tracked.give_up() {
                    self.missing(&scale, channel, missing);
                }
                // Their ledger follows at once; a gateway that owes it must not fill this.
                if self.ended.len() >= self.settings.subscriptions_max {
                    self.ended.clear();
                }
                let (symbol, id, account) = (symbol.clone(), over.id, *over.tracked.sequence.account());
                self.ended.push(EndedAccount { id, channel, symbol, account });
                let state = State::Ended { scale, channel, reason: message, returns: may_retry };
                self.event(Event::State(state));
            }
            if !may_retry {
                self.wanted.remove(channel, &symbol);
            } else if of_wildcard {
                // The gateway grants it by itself.
            } else if let Some(max_rate) = self.wanted.again(channel, &symbol, now) {
                let is_like = |group: &&mut Group| {
                    group.channel == channel && group.max_rate.to_bits() == max_rate.to_bits()
                };
                match again.iter_mut().find(is_like) {
                    Some(group) => group.symbols.push(symbol),
                    None => again.push(Group { channel, max_rate, symbols: vec![symbol] }),
                }
            } else if let Some(at) = self.wanted.refused(channel, &symbol, now) {
                self.tick_by(at);
            }
        }
        for group in again {
            self.subscribe(&group, Kind::Subscribe, None, now);
        }
    }

    pub(super) fn ledger(&mut self, ledger: Ledger) {
        let pending = self.requests.pending.remove(&ledger.id);
        if pending.as_ref().is_some_and(|pending| pending.kind == Kind::RepairUnsubscribe) {
            return;
        }
        self.check_ledger(
            &ledger,
            match pending.as_ref().map(|pending| pending.kind) {
                Some(Kind::Ledger) => Scope::Whole,
                Some(_) => Scope::Part,
                None => Scope::Unasked,
            },
        );
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
        self.requests.answered(pending.and_then(|pending| pending.request), |response| {
            response.ledger.id = ledger.id;
            response.ledger.entries.extend(ledger.entries);
        });
    }

    /// The gateway took the next token: the limits may be others.
    pub(super) fn identified(&mut self, identity: Identity) {
        if let Some(limits) = identity.limits.filter(|_| self.is_connected()) {
            self.limits = Some(limits);
        }
        let pending = self.requests.pending.remove(&identity.id);
        self.requests.answered(pending.and_then(|pending| pending.request), |_| {});
        self.identity = Some(identity.clone());
        self.event(Event::Identity(identity));
    }

    pub(super) fn error(&mut self, error: Error, now: Instant) {
        let pending = self.requests.pending.remove(&error.id);
        let request = pending.as_ref().and_then(|pending| pending.request);
        if error.code == "token_expired"
            && request.is_none()
            && pending.as_ref().is_some_and(|p| p.kind == Kind::Token)
        {
            // A token that ended on its way is no reason to give up: the next connection asks for another one.
            self.fault = Some(Disconnect::TokenRefused { message: error.message });
            return;
        }
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

    /// Returns whether something is being unsubscribed: that may be in a ledger or not.
    pub(super) fn is_changing(&self) -> bool {
        let is_changing = |kind| matches!(kind, Kind::Unsubscribe | Kind::RepairUnsubscribe | Kind::Repair);
        self.requests.pending.values().any(|pending| is_changing(pending.kind))
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

    /// Gives up commands without a response for too long: their handles gave up by themselves, subscriptions are asked
    /// for again.
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
