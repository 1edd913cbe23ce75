//! Books to a depth: what a change of a whole book means to those who see its best levels only.
//!
//! A level that leaves the best ones is deleted, one that comes among them is set. A change that is none of the best levels
//! is left out; the next one covers its sequence numbers, too.

use std::sync::Arc;

use tickwire_wire::{Body, Book, BookState, Level, book_checksum};

use super::topic::Topic;
use crate::vocabulary::{TopicId, TopicState, Update};

impl Topic {
    /// Returns the state from which a view of this book to a depth starts. `id` is that of the live topic.
    pub(crate) fn state_to(&self, id: TopicId, levels: u32) -> TopicState {
        let book =
            self.book.is_synced().then(|| self.make(self.sequence, Body::Book(best(&self.book, levels))));
        let records = book.map(Arc::new).into_iter().collect();
        TopicState { topic: id, epoch: self.epoch, sequence: self.sequence, records }
    }

    /// Returns what a record means to this book, which is made of the best levels of another one: that one has taken the record
    /// already. `None` where it means nothing.
    pub(crate) fn derive(&self, whole: &Self, update: &Arc<Update>) -> Option<Arc<Update>> {
        if update.is_gap() {
            return Some(Arc::clone(update));
        }
        if !self.live || !whole.book.is_synced() {
            return None;
        }
        let first = self.sequence + 1;
        let book = if self.book.is_synced() {
            let levels = self.depth as usize;
            if !self.may_concern(update, levels) {
                return None;
            }
            let bids = changes(self.book.bids(), whole.book.bids().take(levels), |a, b| a > b);
            let asks = changes(self.book.asks(), whole.book.asks().take(levels), |a, b| a < b);
            if bids.is_empty() && asks.is_empty() {
                return None;
            }
            let checksum = checksum(&whole.book, levels);
            let first_sequence = if first == whole.sequence { 0 } else { first };
            Book { snapshot: false, first_sequence, bids, asks, checksum: Some(checksum) }
        } else {
            best(&whole.book, self.depth)
        };
        // What a delayed view holds back is no latency.
        let arrived = if whole.late.is_none() { update.arrived() } else { 0 };
        Some(Arc::new(whole.make(first, Body::Book(book)).at(arrived)))
    }

    /// Returns whether a change of the whole book may be one of the best levels.
    fn may_concern(&self, update: &Update, levels: usize) -> bool {
        let Body::Book(change) = &update.record().body else { return false };
        // A side that is not full takes every level.
        let worst = |len: usize, last: Option<Level>| last.filter(|_| len >= levels).map(|level| level.price);
        let bid = worst(self.book.bids().len(), self.book.bids().next_back());
        let ask = worst(self.book.asks().len(), self.book.asks().next_back());
        change.snapshot
            || change.bids.iter().any(|level| bid.is_none_or(|worst| level.price >= worst))
            || change.asks.iter().any(|level| ask.is_none_or(|worst| level.price <= worst))
    }
}

fn checksum(book: &BookState, levels: usize) -> u32 {
    book_checksum(book.bids().take(levels), book.asks().take(levels))
}

/// Returns the best levels of a book as a whole.
fn best(book: &BookState, levels: u32) -> Book {
    let levels = levels as usize;
    Book {
        snapshot: true,
        first_sequence: 0,
        bids: book.bids().take(levels).collect(),
        asks: book.asks().take(levels).collect(),
        checksum: Some(checksum(book, levels)),
    }
}

/// Returns what makes one side out of another one, both with the best level first.
fn changes(
    before: impl Iterator<Item = Level>,
    after: impl Iterator<Item = Level>,
    is_better: impl Fn(i64, i64) -> bool,
) -> Vec<Level> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    let mut changes = Vec::new();
    loop {
        let change = match (before.peek().copied(), after.peek().copied()) {
            (None, None) => return changes,
            (Some(gone), Some(come)) if gone.price == come.price => {
                before.next();
                after.next();
                (gone.size != come.size).then_some(come)
            }
            (Some(gone), come) if come.is_none_or(|come| is_better(gone.price, come.price)) => {
                before.next();
                Some(Level { size: 0, ..gone })
            }
            (_, come) => {
                after.next();
                come
            }
        };
        changes.extend(change);
    }
}
