//! Counts what came on one subscription as the gateway counts it, and compares its ledger with that.
//!
//! The gateway counts a record as delivered when its number is new to the subscription, so states after the grant and
//! repeated snapshots count on neither side. What it dropped shows here as announced gaps.

use tickwire_wire::{Channel, Gap, GapCause, Ledger, LedgerEntry};

use super::Session;
use crate::event::{Event, LedgerFault, LedgerMismatch};

/// The counts of what came on one subscription since its grant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// Last number that was delivered or announced, in the present sequence.
    last: u64,
    delivered: u64,
    dropped: u64,
    /// A back-fill announced what it does not have: how the gateway counts around it is its own affair.
    is_uncertain: bool,
}

impl Account {
    /// A subscription begins behind this number.
    pub(crate) fn new(last: u64) -> Self {
        Self { last, ..Self::default() }
    }

    pub(crate) fn record(&mut self, number: u64) {
        if number > self.last {
            self.last = number;
            self.delivered += 1;
        }
    }

    pub(crate) fn gap(&mut self, gap: &Gap) {
        if gap.cause() == GapCause::Resume {
            self.is_uncertain = true;
        }
        if gap.last_sequence == 0 {
            // The sequence starts anew, at 1.
            self.last = 0;
        } else if gap.last_sequence > self.last {
            let passed = gap.last_sequence - self.last;
            self.dropped += passed.min((gap.last_sequence + 1).saturating_sub(gap.first_sequence));
            self.last = gap.last_sequence;
        }
    }

    fn faults(&self, entry: &LedgerEntry) -> impl Iterator<Item = LedgerFault> {
        let is_certain = !self.is_uncertain;
        let (stated, counted) = (entry.delivered, self.delivered);
        let delivered =
            (is_certain && stated != counted).then_some(LedgerFault::Delivered { stated, counted });
        let (stated, counted) = (entry.dropped, self.dropped);
        let dropped = (is_certain && stated != counted).then_some(LedgerFault::Dropped { stated, counted });
        [sum_fault(entry), delivered, dropped].into_iter().flatten()
    }
}

fn sum_fault(entry: &LedgerEntry) -> Option<LedgerFault> {
    let parts = [entry.delivered, entry.conflated, entry.dropped, entry.filtered];
    let parts = parts.into_iter().fold(0_u64, u64::saturating_add);
    let published = entry.published;
    (parts != published).then_some(LedgerFault::Sum { published, parts })
}

/// A subscription that ended, until the ledger that follows has accounted for it.
#[derive(Debug)]
pub(crate) struct EndedAccount {
    pub(super) id: u32,
    pub(super) channel: Channel,
    pub(super) symbol: String,
    pub(super) account: Account,
}

/// The entries that a ledger has to have.
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
                    let faults = subscription.account.faults(entry);
                    found.extend(faults.map(|fault| (channel, entry.symbol.clone(), fault)));
                }
                // What was unsubscribed is not counted any more; the sum holds for it too.
                None => {
                    let is_unknown = scope != Scope::Part && !self.is_changing();
                    let unknown = is_unknown.then_some(LedgerFault::Unknown);
                    let faults = [sum_fault(entry), unknown].into_iter().flatten();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(cause: GapCause, first: u64, last: u64) -> Gap {
        Gap { channel: 0, cause: cause as i32, first_sequence: first, last_sequence: last, epoch: 1 }
    }

    #[track_caller]
    fn check(
        account: &Account,
        [published, delivered, conflated, dropped]: [u64; 4],
        expected: &[LedgerFault],
    ) {
        let entry = LedgerEntry { published, delivered, conflated, dropped, ..LedgerEntry::default() };
        assert_eq!(account.faults(&entry).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_came_is_compared() {
        let mut account = Account::new(5);
        for number in [5, 6, 6, 9] {
            account.record(number);
        }
        account.gap(&gap(GapCause::Shed, 10, 12));
        account.gap(&gap(GapCause::Bus, 15, 16));
        check(&account, [11, 2, 4, 5], &[]);
        check(&account, [11, 3, 3, 5], &[LedgerFault::Delivered { stated: 3, counted: 2 }]);
        check(&account, [11, 2, 5, 4], &[LedgerFault::Dropped { stated: 4, counted: 5 }]);
        check(&account, [12, 2, 4, 5], &[LedgerFault::Sum { published: 12, parts: 11 }]);
        account.gap(&gap(GapCause::Ingest, 17, 0));
        account.record(1);
        check(&account, [12, 3, 4, 5], &[]);
    }

    #[test]
    fn around_a_back_fill_only_the_sum_is_compared() {
        let mut account = Account::new(5);
        account.gap(&gap(GapCause::Resume, 2, 5));
        account.record(6);
        check(&account, [4, 3, 1, 0], &[]);
        check(&account, [5, 3, 1, 0], &[LedgerFault::Sum { published: 5, parts: 4 }]);
    }
}
