//! Counts what came on one subscription as the gateway counts it, and compares its ledger with that.
//!
//! The gateway counts a record as delivered when its number is new to the subscription, so states after the grant and
//! repeated snapshots count on neither side. What it dropped shows here as announced gaps.

use tickwire_wire::{Channel, Gap, GapCause, Ledger, LedgerEntry};

use super::Session;
use crate::event::{Event, LedgerFault, LedgerMismatch};

/// What came on one subscription since its grant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    /// Last number that was delivered or announced, in the present numbering.
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
            // The numbering starts anew, at 1.
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

impl Session {
    /// Tells where a ledger differs from what came. `is_whole`: it has every subscription of the session.
    pub(super) fn check_ledger(&mut self, ledger: &Ledger, is_whole: bool) {
        let mut found = Vec::new();
        let mut fault = |channel: Channel, symbol: &str, fault: LedgerFault| {
            found.push(LedgerMismatch { channel, symbol: symbol.to_owned(), fault });
        };
        for entry in &ledger.entries {
            let channel = entry.channel();
            let subscription = self
                .instruments
                .by_id_mut(entry.instrument)
                .and_then(|instrument| instrument.subscription(channel).filter(|s| s.is_granted));
            match subscription {
                Some(subscription) => {
                    subscription.account.faults(entry).for_each(|found| fault(channel, &entry.symbol, found));
                }
                // What was unsubscribed is not counted any more; the sum holds for it too.
                None => {
                    if let Some(found) = sum_fault(entry) {
                        fault(channel, &entry.symbol, found);
                    }
                    if is_whole {
                        fault(channel, &entry.symbol, LedgerFault::Unknown);
                    }
                }
            }
        }
        if is_whole {
            let stated: std::collections::HashSet<_> =
                ledger.entries.iter().map(|entry| (entry.instrument, entry.channel())).collect();
            for instrument in self.instruments.iter() {
                let granted = instrument.subscriptions().filter(|(_, subscription)| subscription.is_granted);
                for (channel, _) in
                    granted.filter(|(channel, _)| !stated.contains(&(instrument.id, *channel)))
                {
                    fault(channel, &instrument.scale.symbol, LedgerFault::Missing);
                }
            }
        }
        for mismatch in found {
            self.counters.ledger_faults += 1;
            self.event(Event::LedgerMismatch(mismatch));
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
