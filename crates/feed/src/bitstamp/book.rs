//! A book of Bitstamp, and the changes that wait for its next comparison with the REST service.

use std::collections::{BTreeMap, VecDeque};

use tickwire_wire::Level;

use crate::adapter::Levels;

/// The most changes that are kept for a snapshot. Where there are more, the snapshot has to be newer.
const PENDING_MAX: usize = 10_000;
/// The microseconds for which a book may be crossed: for the moment of a match it is.
const CROSSED_MAX: u64 = 2_000_000;

/// A book that was joined with the one of the REST service.
#[derive(Debug, Default)]
pub struct Book {
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
    /// The time of the snapshot that it began with: changes up to it are in it.
    pub(super) begins: u64,
    crossed_since: Option<u64>,
}

/// The state of an instrument beside its book.
#[derive(Debug, Default)]
pub struct Kept {
    /// The changes since a snapshot is wanted, by their times in microseconds.
    pending: VecDeque<(u64, Levels)>,
    /// A snapshot that is older than this is of no use.
    not_before: u64,
    /// Whether a snapshot is wanted, and was asked for.
    pub(super) is_wanted: bool,
    /// The time of the last change.
    pub(super) last: u64,
    /// The time of receipt of the last snapshot that was of use, in nanoseconds.
    pub(super) compared: u64,
    /// The id of the last trade.
    pub(super) last_trade: u64,
}

impl Book {
    /// Makes a book of a snapshot.
    pub(super) fn new(time: u64, levels: &Levels) -> Self {
        let mut book = Self { begins: time, ..Self::default() };
        book.apply(levels);
        book
    }

    /// Applies a change. Returns whether something is another one than before.
    pub(super) fn apply(&mut self, levels: &Levels) -> bool {
        let mut is_new = false;
        for (side, levels) in [(&mut self.bids, &levels.bids), (&mut self.asks, &levels.asks)] {
            for Level { price, size } in levels {
                let before =
                    if *size == 0 { side.remove(price) } else { side.insert(*price, *size) }.unwrap_or(0);
                is_new |= before != *size;
            }
        }
        is_new
    }

    /// Returns whether the book is crossed for longer than a match takes, at the time of its last change.
    pub(super) fn is_crossed_for_long(&mut self, time: u64) -> bool {
        let best = self.bids.last_key_value().zip(self.asks.first_key_value());
        if best.is_none_or(|((bid, _), (ask, _))| bid < ask) {
            self.crossed_since = None;
            return false;
        }
        time.saturating_sub(*self.crossed_since.get_or_insert(time)) > CROSSED_MAX
    }

    /// Returns all levels, the best first.
    pub(super) fn levels(&self) -> Levels {
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        Levels {
            bids: self.bids.iter().rev().map(level).collect(),
            asks: self.asks.iter().map(level).collect(),
        }
    }

    /// Returns whether another book is the same, as far as that one goes: the REST service may tell fewer levels.
    fn is_same(&self, other: &Self) -> bool {
        let bids = other.bids.first_key_value().map_or(i64::MIN, |(price, _)| *price);
        let asks = other.asks.last_key_value().map_or(i64::MAX, |(price, _)| *price);
        self.bids.range(bids..).eq(other.bids.iter()) && self.asks.range(..=asks).eq(other.asks.iter())
    }
}

/// The outcome of a comparison of a snapshot with the book that there is.
pub(super) enum Joined {
    /// It is too old, or newer than the stream is.
    Unusable,
    /// The book is the same.
    Same,
    /// The book is this one.
    Other(Book),
}

impl Kept {
    /// Wants a snapshot that is not older than a change, which is the first one to be kept.
    pub(super) fn want(&mut self, time: u64) {
        self.pending.clear();
        (self.is_wanted, self.not_before) = (true, self.not_before.max(time));
    }

    /// Keeps a change, if a snapshot is wanted.
    pub(super) fn keep(&mut self, time: u64, levels: &Levels) {
        if !self.is_wanted {
            return;
        }
        if self.pending.len() == PENDING_MAX {
            self.pending.pop_front();
            self.not_before = self.pending.front().map_or(time, |(first, _)| *first);
        }
        self.pending.push_back((time, levels.clone()));
    }

    /// Forgets the changes: one of this time cannot be used, and a snapshot has to have it.
    pub(super) fn spoiled(&mut self, time: u64) {
        self.pending.clear();
        self.is_wanted = false;
        self.not_before = self.not_before.max(time);
    }

    /// Forgets what a lost connection brought.
    pub(super) fn lost(&mut self) {
        self.pending.clear();
        (self.is_wanted, self.not_before, self.last) = (false, 0, 0);
    }

    /// Joins a snapshot with the changes since, and compares that with the book that there is.
    pub(super) fn join(&mut self, book: Option<&Book>, time: u64, levels: &Levels) -> Joined {
        // The book that there is has nothing of what the stream did not bring yet.
        let is_ahead = book.is_some() && time > self.last;
        if time < self.not_before || is_ahead {
            return Joined::Unusable;
        }
        let mut new = Book::new(time, levels);
        for (_, levels) in self.pending.iter().filter(|(at, _)| *at > time) {
            new.apply(levels);
        }
        self.pending.clear();
        (self.is_wanted, self.not_before) = (false, 0);
        if book.is_some_and(|book| book.is_same(&new)) { Joined::Same } else { Joined::Other(new) }
    }
}
