//! A program that empties its socket and works slowly: what it has read and not worked off yet, in the order of the wire.
//! And the receipts of a program, slow or not, which come when those of the SDK would (`crates/client`).

use std::collections::VecDeque;

use tickwire_client::receipts::Receipts;
use tickwire_wire::{Channel, Receipt};

pub(super) const MS: u64 = 1_000_000;
/// A program that holds more has lost its memory long before: the oldest are given up.
const WAITING_MAX: usize = 1 << 20;
/// Receipts that name messages are at least so far apart.
const RECEIPT_INTERVAL: u64 = 250 * MS;
/// Any two receipts are at least so far apart.
const RECEIPTS_APART: u64 = 10 * MS;

/// A program comes to one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Record {
        channel: Channel,
        event_time: u64,
        /// It is measured.
        counts: bool,
    },
    /// The end of a message with records.
    End { sent_time: u64, read_at: u64 },
    /// The gateway's time, where it names one.
    Ping(Option<u64>),
}

#[derive(Debug, Default)]
pub(crate) struct Program {
    waiting: VecDeque<Waiting>,
    /// Parts of a record that the program could have worked off.
    credit: f64,
    worked_at: u64,
    /// When it works next.
    pub(crate) due: u64,
}

impl Program {
    /// Makes a program that begins now.
    pub(crate) fn new(now: u64) -> Self {
        Self { worked_at: now, ..Self::default() }
    }

    /// Takes what was read. The end of a message without records is none.
    pub(crate) fn read(&mut self, what: Waiting) {
        let is_end = matches!(what, Waiting::End { .. });
        if is_end && !matches!(self.waiting.back(), Some(Waiting::Record { .. })) {
            return;
        }
        if self.waiting.len() == WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(what);
    }

    /// Works until now, at so many records per second; what it comes to is handed out. Only records take time.
    pub(crate) fn work(&mut self, now: u64, per_second: f64, mut each: impl FnMut(Waiting)) {
        let passed = now.saturating_sub(std::mem::replace(&mut self.worked_at, now)) as f64 / 1e9;
        self.credit = (self.credit + passed * per_second).min(per_second.max(1.0));
        while let Some(first) = self.waiting.front() {
            let cost = f64::from(u8::from(matches!(first, Waiting::Record { .. })));
            if self.credit < cost {
                return;
            }
            self.credit -= cost;
            each(*first);
            self.waiting.pop_front();
        }
        // Time without work is not saved up.
        self.credit = self.credit.min(1.0);
    }
}

/// The receipts of a program: the SDK says which ones are due, and at which pace they leave.
#[derive(Debug)]
pub(crate) struct Paced {
    pub(crate) receipts: Receipts,
    /// The newest replaces one that was not sent yet: it says all that the older one said.
    waiting: Option<Receipt>,
    /// When the next one may go.
    next_at: u64,
    /// Somebody will look when the next one may go.
    pub(crate) is_timed: bool,
}

impl Default for Paced {
    fn default() -> Self {
        Self { receipts: Receipts::new(RECEIPT_INTERVAL), waiting: None, next_at: 0, is_timed: false }
    }
}

impl Paced {
    /// The program comes to the end of a message or to a ping: it took all that came before.
    pub(crate) fn passed(&mut self, what: Waiting, now: u64) {
        let receipt = match what {
            Waiting::Record { .. } => None,
            Waiting::End { sent_time, read_at } => {
                self.receipts.taken(sent_time, now.saturating_sub(read_at), now)
            }
            Waiting::Ping(named) => self.receipts.passed(named, now),
        };
        self.waiting = receipt.or(self.waiting.take());
    }

    /// Returns the receipt that is to be sent now.
    pub(crate) fn due(&mut self, now: u64) -> Option<Receipt> {
        let receipt = self.waiting.take_if(|_| now >= self.next_at)?;
        self.next_at = now + RECEIPTS_APART;
        Some(receipt)
    }

    /// Returns when the one that waits may be sent.
    pub(crate) fn next(&self) -> Option<u64> {
        self.waiting.as_ref().map(|_| self.next_at)
    }
}

#[cfg(test)]
#[path = "../../tests/units/slow.rs"]
mod tests;
