//! Positions ahead of what came.
//!
//! A position may overtake records that are still on their way, so it counts as loss only when the records did not come
//! within [`SUSPICION_NS`]. Two are kept: the one that will be decided first, and the farthest one. Keeping the first
//! only would forget a last number that was named meanwhile; raising the first would cut the other's time short.

/// How long records may lag behind a position that names them.
pub(crate) const PENDING_GAP_NS: u64 = 300_000_000;

/// Somebody who knows says that a sequence has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    epoch: u64,
    number: u64,
    since: u64,
}

/// See the module. All of it is about one epoch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PendingGaps {
    first: Option<Claim>,
    farthest: Option<Claim>,
}

impl PendingGaps {
    pub(crate) fn add(&mut self, (epoch, number): (u64, u64), now: u64) {
        let claim = Some(Claim { epoch, number, since: now });
        match self.first {
            Some(first) if first.epoch == epoch => {
                if number > first.number && self.farthest.is_none_or(|farthest| number > farthest.number) {
                    self.farthest = claim;
                }
            }
            // Of a sequence that is over there is nothing to be found any more.
            _ => *self = Self { first: claim, farthest: None },
        }
    }

    /// What was named up to this position came.
    pub(crate) fn settle(&mut self, (epoch, number): (u64, u64)) {
        for _ in 0..2 {
            if self.first.is_some_and(|first| first.epoch == epoch && first.number <= number) {
                self.first = self.farthest.take();
            }
        }
    }

    /// Another sequence is followed.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// When the first one is decided.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.first.map(|first| first.since.saturating_add(PENDING_GAP_NS))
    }

    /// A position that stood long enough: epoch and number.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, u64)> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        let due = self.first.take()?;
        self.first = self.farthest.take();
        Some((due.epoch, due.number))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}
