//! Pending gaps: positions that lie ahead of the records that came.
//!
//! A position may overtake records that are still on their way, so it counts as a loss only when the records did not
//! come within [`PENDING_GAP_NS`]. Two are kept: the one that will be decided first, and the farthest one. To keep
//! only the first would forget a last sequence number that was named meanwhile; to raise the first would cut the
//! other's time short.

/// The time that records have to come after a position that names them. After it they count as lost.
pub(crate) const PENDING_GAP_NS: u64 = 300_000_000;

/// A position that was named: the last sequence number of an epoch so far, and when that was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    epoch: u64,
    sequence: u64,
    since: u64,
}

/// The pending gaps of one topic. All of them are about one epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingGaps {
    first: Option<Claim>,
    farthest: Option<Claim>,
}

impl PendingGaps {
    pub(crate) fn add(&mut self, (epoch, sequence): (u64, u64), now: u64) {
        let claim = Some(Claim { epoch, sequence, since: now });
        match self.first {
            Some(first) if first.epoch == epoch => {
                if sequence > first.sequence
                    && self.farthest.is_none_or(|farthest| sequence > farthest.sequence)
                {
                    self.farthest = claim;
                }
            }
            // The epoch before is over, so what was pending of it does not matter any more.
            _ => *self = Self { first: claim, farthest: None },
        }
    }

    /// Forgets what was named up to this position: it came.
    pub(crate) fn settle(&mut self, (epoch, sequence): (u64, u64)) {
        for _ in 0..2 {
            if self.first.is_some_and(|first| first.epoch == epoch && first.sequence <= sequence) {
                self.first = self.farthest.take();
            }
        }
    }

    /// Forgets everything: another sequence is followed.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Returns when the first one is decided.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.first.map(|first| first.since.saturating_add(PENDING_GAP_NS))
    }

    /// Takes out a position that stood long enough: epoch and sequence number.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, u64)> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        let due = self.first.take()?;
        self.first = self.farthest.take();
        Some((due.epoch, due.sequence))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}
