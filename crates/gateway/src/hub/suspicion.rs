//! Positions ahead of what came.
//!
//! A position may overtake records that are still on their way, so it counts as loss only when the records did not come
//! within [`SUSPICION_NS`]. Two are kept: the one that will be decided first, and the farthest one. Keeping the first
//! only would forget a last number that was named meanwhile; raising the first would cut the other's time short.

/// How long records may lag behind a position that names them.
pub(crate) const SUSPICION_NS: u64 = 300_000_000;

/// Somebody who knows says that a numbering has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    /// Epoch and number.
    position: (u64, u64),
    since: u64,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Suspicion {
    first: Option<Claim>,
    farthest: Option<Claim>,
}

impl Suspicion {
    pub(crate) fn add(&mut self, position: (u64, u64), now: u64) {
        let claim = Some(Claim { position, since: now });
        match self.first {
            None => self.first = claim,
            Some(first) if position > first.position => {
                if self.farthest.is_none_or(|farthest| position > farthest.position) {
                    self.farthest = claim;
                }
            }
            Some(_) => {}
        }
    }

    /// What was named up to this position came.
    pub(crate) fn settle(&mut self, reached: (u64, u64)) {
        for _ in 0..2 {
            if self.first.is_some_and(|first| first.position <= reached) {
                self.first = self.farthest.take();
            }
        }
    }

    /// When the first one is decided.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.first.map(|first| first.since.saturating_add(SUSPICION_NS))
    }

    /// A position that stood long enough: epoch and number.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<(u64, u64)> {
        self.deadline().filter(|deadline| now >= *deadline)?;
        let due = self.first.take()?;
        self.first = self.farthest.take();
        Some(due.position)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }
}
