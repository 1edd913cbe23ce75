//! The account of one subscription: what came, counted as the gateway counts it, and where the gateway's ledger says something else.
//!
//! The gateway counts a record as delivered when its sequence number is new to the subscription. So the state after a grant and
//! repeated snapshots count on neither side. What the gateway dropped shows here as announced gaps.

use std::fmt;

use crate::pb::{Gap, LedgerEntry};

/// The account of one subscription, from its grant on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    epoch: u64,
    /// Last sequence number that was delivered or announced, or that had passed at the grant.
    last: u64,
    delivered: u64,
    dropped: u64,
}

impl Account {
    /// Returns the account of a subscription that begins behind the sequence number of its grant.
    pub fn new(epoch: u64, sequence: u64) -> Self {
        Self { epoch, last: sequence, delivered: 0, dropped: 0 }
    }

    /// Returns the epoch, and the last sequence number that is accounted for.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.last)
    }

    /// Returns how many records came, and how many sequence numbers were announced as lost.
    pub fn counted(&self) -> (u64, u64) {
        (self.delivered, self.dropped)
    }

    /// Takes a record. Returns whether it counts.
    #[inline]
    pub fn record(&mut self, sequence: u64) -> bool {
        let is_new = sequence > self.last;
        if is_new {
            self.last = sequence;
            self.delivered += 1;
        }
        is_new
    }

    /// Takes a gap that the gateway announced. Returns how many sequence numbers it adds to what was dropped.
    ///
    /// A gap in front of the grant tells what was missed while the client was away. It is in no account.
    pub fn gap(&mut self, gap: &Gap) -> u64 {
        if gap.last_sequence == 0 {
            // Sequence numbers start anew, at 1. A grant in the new epoch knows that already.
            if gap.epoch != self.epoch {
                (self.epoch, self.last) = (gap.epoch, 0);
            }
            return 0;
        }
        let passed = gap.last_sequence.saturating_sub(self.last);
        let dropped = passed.min((gap.last_sequence + 1).saturating_sub(gap.first_sequence));
        self.dropped += dropped;
        self.last = self.last.max(gap.last_sequence);
        dropped
    }

    /// Returns what is wrong with the gateway's account of the same subscription.
    pub fn faults(&self, entry: &LedgerEntry) -> impl Iterator<Item = LedgerFault> + use<> {
        let (stated, counted) = (entry.delivered, self.delivered);
        let delivered = (stated != counted).then_some(LedgerFault::Delivered { stated, counted });
        let (stated, counted) = (entry.dropped, self.dropped);
        let dropped = (stated != counted).then_some(LedgerFault::Dropped { stated, counted });
        [LedgerFault::of_sum(entry), delivered, dropped].into_iter().flatten()
    }
}

/// A fault of an entry of a ledger. `stated` by the gateway, `counted` here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LedgerFault {
    /// Delivered, conflated, dropped and filtered do not add up to what was published.
    Sum {
        /// Sequence numbers that passed since the subscription began.
        published: u64,
        /// The sum of the four.
        parts: u64,
    },
    /// The number of records that came.
    Delivered {
        /// Records that the gateway counted.
        stated: u64,
        /// Records that came.
        counted: u64,
    },
    /// The number of sequence numbers that were announced in gaps.
    Dropped {
        /// Sequence numbers that the gateway counted.
        stated: u64,
        /// Sequence numbers in the gaps that came.
        counted: u64,
    },
    /// It is in the ledger, and is not granted.
    Unknown,
    /// It is granted or just ended, and not in the ledger that should have it.
    Missing,
}

impl LedgerFault {
    /// Checks the sum of an entry, which holds whatever came.
    pub fn of_sum(entry: &LedgerEntry) -> Option<Self> {
        let parts = [entry.delivered, entry.conflated, entry.dropped, entry.filtered];
        let parts = parts.into_iter().fold(0_u64, u64::saturating_add);
        let published = entry.published;
        (parts != published).then_some(Self::Sum { published, parts })
    }
}

impl fmt::Display for LedgerFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sum { published, parts } => {
                write!(f, "published is {published}, the parts add up to {parts}")
            }
            Self::Delivered { stated, counted } => {
                write!(f, "the gateway delivered {stated}, {counted} came")
            }
            Self::Dropped { stated, counted } => {
                write!(f, "the gateway dropped {stated}, {counted} were announced")
            }
            Self::Unknown => f.write_str("is in the ledger, and was never granted"),
            Self::Missing => f.write_str("is not in the ledger"),
        }
    }
}
