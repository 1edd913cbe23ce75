//! An order book that knows whether it is right, and when to ask for it anew.

use std::time::Duration;

use tickwire_net::Backoff;
use tickwire_wire::{Applied, Book, BookError, BookState};
use tokio::time::Instant;

/// The wait between two repairs of one book: from one second to a minute, so that a book that cannot be right costs little.
const REPAIR: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_mins(1));
/// The time that the gateway gets to send a snapshot of its own accord after it announced a gap.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(2);
/// A book that was right for so long starts again with the shortest wait.
const STABLE_AFTER: Duration = Duration::from_mins(1);

/// The effect of a record on a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BookEffect {
    /// The book is right.
    Applied,
    /// It was broken, and is right now.
    Repaired,
    /// It was right, and is broken now.
    Broken(BookError),
    /// The record says nothing about the book as it is.
    Ignored,
}

#[derive(Debug, Default)]
pub(crate) struct SyncedBook {
    state: BookState,
    /// Broken, and the program was told.
    is_broken: bool,
    repair_at: Option<Instant>,
    repairs: u32,
    repaired_at: Option<Instant>,
}

impl SyncedBook {
    /// A subscription begins: the next record is a snapshot.
    pub(crate) fn begin(&mut self) {
        self.state.reset();
    }

    /// The next connection brings a snapshot anyway.
    pub(crate) fn disconnected(&mut self) {
        self.repair_at = None;
    }

    pub(crate) fn state(&self) -> &BookState {
        &self.state
    }

    /// The program was told that it is wrong, and no snapshot came since.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// It agrees with every record so far.
    pub(crate) fn is_right(&self) -> bool {
        self.state.is_synced() && !self.is_broken
    }

    pub(crate) fn apply(&mut self, sequence: u64, book: &Book, now: Instant) -> BookEffect {
        if self.is_broken && !book.snapshot {
            return BookEffect::Ignored;
        }
        match self.state.apply(sequence, book) {
            Ok(Applied::Known) => BookEffect::Ignored,
            Ok(_) if self.is_broken => {
                self.is_broken = false;
                self.repair_at = None;
                self.repaired_at = Some(now);
                BookEffect::Repaired
            }
            Ok(_) => BookEffect::Applied,
            Err(_) if self.is_broken => {
                self.schedule(now, Duration::ZERO);
                BookEffect::Ignored
            }
            Err(error) => {
                self.is_broken = true;
                self.schedule(now, Duration::ZERO);
                BookEffect::Broken(error)
            }
        }
    }

    /// Records are missing. Returns whether that is news.
    pub(crate) fn lost(&mut self, now: Instant) -> bool {
        let was_right = !std::mem::replace(&mut self.is_broken, true);
        self.state.reset();
        if was_right {
            self.schedule(now, SNAPSHOT_WAIT);
        }
        was_right
    }

    pub(crate) fn repair_at(&self) -> Option<Instant> {
        self.repair_at
    }

    /// The repair is on its way; if nothing comes of it, there is a next one.
    pub(crate) fn repairing(&mut self, now: Instant) {
        self.repairs += 1;
        self.repair_at = Some(now + SNAPSHOT_WAIT + REPAIR.ceiling(self.repairs));
    }

    /// The first repair is at once, further ones wait longer and longer.
    fn schedule(&mut self, now: Instant, least: Duration) {
        if self.repair_at.is_some() {
            return;
        }
        if self.repaired_at.is_some_and(|at| now.duration_since(at) >= STABLE_AFTER) {
            self.repairs = 0;
        }
        let wait = if self.repairs == 0 { Duration::ZERO } else { REPAIR.ceiling(self.repairs - 1) };
        self.repair_at = Some(now + wait.max(least));
    }
}
