//! An order book kept up to date by `Book` records: what the `book` channel means.
//!
//! Each side is a sorted list with the best level at its end, because markets change near the touch: there a change
//! costs a short search from the end and a short move, however deep the book is.

use crate::record::{Book, Level, Quote, book_checksum};

/// The levels of one instrument after a given sequence number.
///
/// It knows one sequence: on a new epoch, or after a `Gap` on the channel, call [`BookState::reset`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BookState {
    /// The bids in ascending order.
    bids: Vec<Level>,
    /// The asks in descending order.
    asks: Vec<Level>,
    /// The last sequence number that was applied; 0 before the first.
    sequence: u64,
    is_synced: bool,
}

/// The outcome of applying a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The book is now what the record says.
    Snapshot,
    /// The levels in the record changed.
    Change,
    /// The book already contains it; nothing changed.
    Known,
}

/// The reason why a record does not apply. The book is not to be trusted until the next snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// The book is empty and waits for a snapshot.
    #[error("no snapshot came before the change with sequence number {got}")]
    NoSnapshot {
        /// The sequence number of the change.
        got: u64,
    },
    /// Changes before this one are missing.
    #[error("the book continues with sequence number {expected}, the change begins with {got}")]
    Gap {
        /// The sequence number that should have come.
        expected: u64,
        /// The first sequence number of the change.
        got: u64,
    },
    /// The change was applied, and the book differs from the ingester's.
    #[error("the best levels have the checksum {computed:#010x}, the record says {stated:#010x}")]
    ChecksumMismatch {
        /// The checksum in the record.
        stated: u32,
        /// The checksum of the book after the change.
        computed: u32,
    },
}

impl BookState {
    /// Makes an empty book that waits for a snapshot.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets all: the next record must be a snapshot.
    pub fn reset(&mut self) {
        self.bids.clear();
        self.asks.clear();
        self.sequence = 0;
        self.is_synced = false;
    }

    /// Applies the record with this sequence number.
    ///
    /// A snapshot always replaces the book; whoever requested one drops it when the book is newer. A change that
    /// overlaps with what the book contains applies too, because it carries the sizes after its last sequence number.
    ///
    /// # Errors
    /// Returns an error when changes are missing before this one, or when the outcome differs from the checksum in the
    /// record. The book then waits for a snapshot ([`BookState::is_synced`] is false).
    pub fn apply(&mut self, sequence: u64, book: &Book) -> Result<Applied, BookError> {
        let applied = if book.snapshot {
            load(&mut self.bids, &book.bids, |price| price);
            load(&mut self.asks, &book.asks, flip);
            self.is_synced = true;
            Applied::Snapshot
        } else {
            if !self.is_synced {
                return Err(BookError::NoSnapshot { got: sequence });
            }
            if sequence <= self.sequence {
                return Ok(Applied::Known);
            }
            let first = if book.first_sequence == 0 { sequence } else { book.first_sequence };
            let expected = self.sequence.saturating_add(1);
            if first > expected {
                self.is_synced = false;
                return Err(BookError::Gap { expected, got: first });
            }
            for level in &book.bids {
                self.set_bid(*level);
            }
            for level in &book.asks {
                self.set_ask(*level);
            }
            Applied::Change
        };
        self.sequence = sequence;
        if let Some(stated) = book.checksum {
            let computed = self.checksum();
            if stated != computed {
                self.is_synced = false;
                return Err(BookError::ChecksumMismatch { stated, computed });
            }
        }
        Ok(applied)
    }

    /// Sets one bid; size 0 removes it. It is for those who own the sequence.
    pub fn set_bid(&mut self, level: Level) {
        set(&mut self.bids, level, |price| price);
    }

    /// Sets one ask; size 0 removes it. It is for those who own the sequence.
    pub fn set_ask(&mut self, level: Level) {
        set(&mut self.asks, level, flip);
    }

    /// Returns the last sequence number that was applied.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Returns whether a snapshot came, and everything after it applied.
    pub fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// Returns the bids, highest price first.
    pub fn bids(&self) -> impl DoubleEndedIterator<Item = Level> + ExactSizeIterator + '_ {
        self.bids.iter().rev().copied()
    }

    /// Returns the asks, lowest price first.
    pub fn asks(&self) -> impl DoubleEndedIterator<Item = Level> + ExactSizeIterator + '_ {
        self.asks.iter().rev().copied()
    }

    /// Returns the best bid and offer.
    pub fn best(&self) -> Quote {
        Quote { bid: self.bids.last().copied(), ask: self.asks.last().copied() }
    }

    /// Returns the size at a bid price; 0 when there is none.
    pub fn bid_size(&self, price: i64) -> u64 {
        size_at(&self.bids, price, |price| price)
    }

    /// Returns the size at an ask price; 0 when there is none.
    pub fn ask_size(&self, price: i64) -> u64 {
        size_at(&self.asks, price, flip)
    }

    /// Returns whether the best bid is at or above the best ask. Some venues send such books, before an auction for
    /// one.
    pub fn is_crossed(&self) -> bool {
        matches!(self.best(), Quote { bid: Some(bid), ask: Some(ask) } if bid.price >= ask.price)
    }

    /// Returns the [`book_checksum`] of the best ten levels.
    pub fn checksum(&self) -> u32 {
        book_checksum(self.bids(), self.asks())
    }

    /// Returns all levels as a snapshot record's body, with checksum; it goes with [`BookState::sequence`].
    pub fn to_snapshot(&self) -> Book {
        Book {
            snapshot: true,
            first_sequence: 0,
            bids: self.bids().collect(),
            asks: self.asks().collect(),
            checksum: Some(self.checksum()),
        }
    }
}

/// Orders asks: the lowest price is the best. Unlike negation it has no price that it cannot turn around.
fn flip(price: i64) -> i64 {
    !price
}

/// Takes over a list that is best first; one that is not is put into order, the last of equal prices counts.
fn load(side: &mut Vec<Level>, levels: &[Level], key: impl Fn(i64) -> i64 + Copy) {
    side.clear();
    side.extend(levels.iter().rev().filter(|level| level.size > 0));
    if !side.is_sorted_by(|a, b| key(a.price) < key(b.price)) {
        side.clear();
        for level in levels {
            set(side, *level, key);
        }
    }
}

fn set(side: &mut Vec<Level>, level: Level, key: impl Fn(i64) -> i64 + Copy) {
    match find(side, level.price, key) {
        Ok(at) if level.size == 0 => {
            side.remove(at);
        }
        Ok(at) => side[at].size = level.size,
        Err(_) if level.size == 0 => {}
        Err(at) => side.insert(at, level),
    }
}

fn size_at(side: &[Level], price: i64, key: impl Fn(i64) -> i64 + Copy) -> u64 {
    find(side, price, key).map_or(0, |at| side[at].size)
}

/// Steps back from the best level in doubling strides, then searches the last stride.
fn find(side: &[Level], price: i64, key: impl Fn(i64) -> i64 + Copy) -> Result<usize, usize> {
    let wanted = key(price);
    let (mut low, mut high, mut stride) = (side.len(), side.len(), 1);
    while low > 0 {
        low = low.saturating_sub(stride);
        if key(side[low].price) <= wanted {
            break;
        }
        (high, stride) = (low, stride * 2);
    }
    match side[low..high].binary_search_by(|level| key(level.price).cmp(&wanted)) {
        Ok(at) => Ok(low + at),
        Err(at) => Err(low + at),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn level(price: i64, size: u64) -> Level {
        Level { price, size }
    }

    fn change(bids: &[Level], asks: &[Level]) -> Book {
        Book { bids: bids.to_vec(), asks: asks.to_vec(), ..Book::default() }
    }

    fn small_book() -> BookState {
        let mut book = BookState::new();
        let snapshot =
            Book { snapshot: true, ..change(&[level(99, 1), level(98, 2)], &[level(101, 3), level(102, 4)]) };
        assert_eq!(book.apply(7, &snapshot), Ok(Applied::Snapshot));
        book
    }

    #[track_caller]
    fn check(sequence: u64, record: &Book, expected: Result<Applied, BookError>, best: (i64, i64)) {
        let mut book = small_book();
        assert_eq!(book.apply(sequence, record), expected);
        assert_eq!(book.is_synced(), expected.is_ok());
        let quote = book.best();
        assert_eq!((quote.bid.unwrap().price, quote.ask.unwrap().price), best);
    }

    #[test]
    fn records_apply_in_order_only() {
        let better_bid = change(&[level(100, 1)], &[]);
        check(8, &better_bid, Ok(Applied::Change), (100, 101));
        check(7, &better_bid, Ok(Applied::Known), (99, 101));
        check(9, &better_bid, Err(BookError::Gap { expected: 8, got: 9 }), (99, 101));
        let merged = |first_sequence| Book { first_sequence, ..better_bid.clone() };
        check(12, &merged(8), Ok(Applied::Change), (100, 101));
        check(12, &merged(3), Ok(Applied::Change), (100, 101));
        check(12, &merged(9), Err(BookError::Gap { expected: 8, got: 9 }), (99, 101));
        let removal = change(&[level(99, 0), level(97, 0)], &[level(101, 0)]);
        check(8, &removal, Ok(Applied::Change), (98, 102));
    }

    #[test]
    fn a_wrong_outcome_is_noticed() {
        let mut expected = small_book();
        expected.set_ask(level(100, 9));
        let computed = expected.checksum();
        let stating = |checksum| Book { checksum: Some(checksum), ..change(&[], &[level(100, 9)]) };
        check(8, &stating(computed), Ok(Applied::Change), (99, 100));
        let wrong = BookError::ChecksumMismatch { stated: computed ^ 1, computed };
        check(8, &stating(computed ^ 1), Err(wrong), (99, 100));
    }

    #[test]
    fn a_change_needs_a_snapshot_first() {
        let mut book = BookState::new();
        let record = change(&[level(1, 1)], &[]);
        assert_eq!(book.apply(1, &record), Err(BookError::NoSnapshot { got: 1 }));
        let mut book = small_book();
        book.reset();
        assert_eq!(book.apply(8, &record), Err(BookError::NoSnapshot { got: 8 }));
        assert_eq!(book.best(), Quote::default());
    }

    #[test]
    fn a_snapshot_out_of_order_is_put_into_order() {
        let mut book = BookState::new();
        let levels = [level(1, 1), level(3, 3), level(2, 0), level(3, 4)];
        book.apply(1, &Book { snapshot: true, ..change(&levels, &levels) }).unwrap();
        assert_eq!(book.bids().collect::<Vec<_>>(), [level(3, 4), level(1, 1)]);
        assert_eq!(book.asks().collect::<Vec<_>>(), [level(1, 1), level(3, 4)]);
        assert!(book.is_crossed());
    }

    proptest! {
        #[test]
        fn equals_a_tree(changes in prop::collection::vec((any::<bool>(), -40i64..40, 0u64..4), 0..400)) {
            let mut book = BookState::new();
            book.apply(1, &Book { snapshot: true, ..Book::default() }).unwrap();
            let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
            for (at, (is_bid, price, size)) in changes.into_iter().enumerate() {
                let one = [level(price, size)];
                let record = if is_bid { change(&one, &[]) } else { change(&[], &one) };
                book.apply(at as u64 + 2, &record).unwrap();
                let side = if is_bid { &mut bids } else { &mut asks };
                if size == 0 { side.remove(&price); } else { side.insert(price, size); }
                prop_assert_eq!(book.bid_size(price), bids.get(&price).copied().unwrap_or(0));
                prop_assert_eq!(book.ask_size(price), asks.get(&price).copied().unwrap_or(0));
            }
            let expected_bids: Vec<_> = bids.iter().rev().map(|(p, s)| level(*p, *s)).collect();
            let expected_asks: Vec<_> = asks.iter().map(|(p, s)| level(*p, *s)).collect();
            prop_assert_eq!(book.bids().collect::<Vec<_>>(), expected_bids);
            prop_assert_eq!(book.asks().collect::<Vec<_>>(), expected_asks);
            let mut copy = BookState::new();
            copy.apply(book.sequence(), &book.to_snapshot()).unwrap();
            prop_assert_eq!(copy, book);
        }
    }
}
