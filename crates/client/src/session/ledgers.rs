//! Compares the gateway's ledgers with what came.

use tickwire_wire::{Account, Channel, Ledger, LedgerFault};

use super::Session;
use crate::event::{Event, LedgerMismatch};

/// A subscription that ended, until the ledger that follows has accounted for it.
#[derive(Debug)]
pub(crate) struct EndedAccount {
    pub(super) id: u32,
    pub(super) channel: Channel,
    pub(super) symbol: String,
    pub(super) account: Account,
}

/// A ledger has to have a part of the session, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every subscription of the session: it was asked for.
    Whole,
    /// Those of a command, which may be gone here.
    Part,
    /// It came unasked: what ended just before, or everything, which only the close behind it tells.
    Unasked,
}

impl Session {
    /// Tells where a ledger differs from what came.
    pub(super) fn check_ledger(&mut self, ledger: &Ledger, scope: Scope) {
        let mut ended = if scope == Scope::Unasked { std::mem::take(&mut self.ended) } else { Vec::new() };
        let mut found = Vec::new();
        for entry in &ledger.entries {
            let (id, channel) = (entry.instrument, entry.channel());
            if let Some(at) = ended.iter().position(|ended| (ended.id, ended.channel) == (id, channel)) {
                let ended = ended.swap_remove(at);
                found.extend(ended.account.faults(entry).map(|fault| (channel, entry.symbol.clone(), fault)));
                continue;
            }
            let instrument = self.instruments.granted_mut(id, channel);
            match instrument.and_then(|instrument| instrument.granted_mut(id, channel)) {
                Some(subscription) => {
                    let faults = subscription.tracked.sequence.account().faults(entry);
                    found.extend(faults.map(|fault| (channel, entry.symbol.clone(), fault)));
                }
                // What was unsubscribed is not counted any more; the sum holds for it too.
                None => {
                    let is_unknown = scope != Scope::Part && !self.is_changing();
                    let unknown = is_unknown.then_some(LedgerFault::Unknown);
                    let faults = [LedgerFault::of_sum(entry), unknown].into_iter().flatten();
                    found.extend(faults.map(|fault| (channel, entry.symbol.clone(), fault)));
                }
            }
        }
        let missing = ended.into_iter().map(|ended| (ended.channel, ended.symbol, LedgerFault::Missing));
        found.extend(missing);
        self.ledger_faults(found);
        match scope {
            Scope::Whole if !self.is_changing() => self.check_missing(ledger),
            Scope::Unasked => self.unasked = Some(ledger.clone()),
            _ => {}
        }
    }

    /// Tells which subscriptions a ledger of the whole session lacks.
    pub(super) fn check_missing(&mut self, ledger: &Ledger) {
        let stated: std::collections::HashSet<_> =
            ledger.entries.iter().map(|entry| (entry.instrument, entry.channel())).collect();
        let mut found = Vec::new();
        for instrument in self.instruments.iter() {
            for (channel, subscription) in instrument.subscriptions() {
                if subscription.is_granted && !stated.contains(&(subscription.id, channel)) {
                    found.push((channel, instrument.scale.symbol.clone(), LedgerFault::Missing));
                }
            }
        }
        self.ledger_faults(found);
    }

    fn ledger_faults(&mut self, found: Vec<(Channel, String, LedgerFault)>) {
        for (channel, symbol, fault) in found {
            self.counters.ledger_faults += 1;
            self.event(Event::LedgerMismatch(LedgerMismatch { channel, symbol, fault }));
        }
    }
}
