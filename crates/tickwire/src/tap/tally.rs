//! Faults of ledgers that the SDK found, and a ledger as text.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use tickwire_client::Event;
use tickwire_wire::{Ledger, LedgerEntry};

/// Faults of the gateway's ledgers so far, each finding once. The SDK compares every ledger with what came.
#[derive(Debug, Default)]
pub(super) struct Tally(BTreeSet<String>);

impl Tally {
    pub(super) fn event(&mut self, event: &Event) {
        if let Event::LedgerMismatch(mismatch) = event {
            self.0.insert(mismatch.to_string());
        }
    }

    /// Returns a line for each finding.
    pub(super) fn findings(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

/// Returns the ledger for people.
pub(super) fn text(ledger: &Ledger) -> String {
    let mut entries: Vec<_> = ledger.entries.iter().collect();
    entries.sort_by(|a, b| (&a.symbol, a.channel).cmp(&(&b.symbol, b.channel)));
    let width =
        entries.iter().map(|entry| entry.symbol.chars().count()).max().unwrap_or(0).max("symbol".len());
    let mut text = format!(
        "{:width$}  channel     published  = delivered  + conflated  +   dropped  +  filtered",
        "symbol"
    );
    let counts = |e: &LedgerEntry| [e.published, e.delivered, e.conflated, e.dropped, e.filtered];
    let mut row = |symbol: &str, channel: &str, counts: [u64; 5]| {
        let [published, delivered, conflated, dropped, filtered] = counts;
        let _ = write!(
            text,
            "\n{symbol:width$}  {channel:10}  {published:>9}  {delivered:>11}  {conflated:>11}  {dropped:>11}  {filtered:>11}"
        );
    };
    for entry in &entries {
        row(&entry.symbol, entry.channel().name(), counts(entry));
    }
    if entries.len() > 1 {
        let all = entries.iter().map(|entry| counts(entry));
        row("all", "", all.fold([0; 5], |sum, of| std::array::from_fn(|at| sum[at] + of[at])));
    }
    text
}

#[cfg(test)]
mod tests {
    use tickwire_wire::Channel;

    use super::*;

    /// Makes an entry with these `counts`: published, delivered, conflated, dropped.
    fn entry(channel: Channel, counts: [u64; 4]) -> LedgerEntry {
        let [published, delivered, conflated, dropped] = counts;
        let (instrument, symbol, channel) = (3, "sim:A B".to_owned(), channel as i32);
        LedgerEntry { instrument, channel, symbol, published, delivered, conflated, dropped, filtered: 0 }
    }

    #[test]
    fn the_account_for_people() {
        let entries = vec![entry(Channel::Trade, [10, 7, 0, 3]), entry(Channel::Quote, [20, 5, 15, 0])];
        let expected = "\
symbol   channel     published  = delivered  + conflated  +   dropped  +  filtered
sim:A B  quote              20            5           15            0            0
sim:A B  trade              10            7            0            3            0
all                         30           12           15            3            0";
        assert_eq!(text(&Ledger { id: 1, entries }), expected);
    }
}
