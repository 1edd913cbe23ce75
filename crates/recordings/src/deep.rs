//! Books of DEEP of IEX ("DEEP Specification", price level update messages): the levels that changed, told together when the venue's event is over.
//!
//! The feed has no snapshots: a book is known where the session was seen from its first message on and nothing is missing.

use rustc_hash::{FxHashMap, FxHashSet};
use tickwire_wire::Channel;

use crate::said::{FixedLevel, FixedLevels, Said, What};
use crate::source::Entry;

/// The flag that says that the event is over.
const COMPLETE: u8 = 1;

/// The books of all instruments.
#[derive(Default)]
pub(crate) struct Deep {
    sessions: FxHashSet<(u32, u32)>,
    is_whole: bool,
    books: FxHashMap<u32, Book>,
}

/// A book.
#[derive(Default)]
struct Book {
    /// Whether it was told as a whole.
    is_told: bool,
    /// The levels that the event changed so far.
    changed: FixedLevels,
}

/// A price level as a message has it.
#[derive(Clone, Copy)]
pub(crate) struct LevelUpdate {
    pub(crate) is_bid: bool,
    pub(crate) flags: u8,
    pub(crate) level: FixedLevel,
}

impl Deep {
    /// Takes in that a segment begins with a number of its session. The first one tells whether the session was seen from its beginning on.
    pub(crate) fn begin(
        &mut self,
        session: (u32, u32),
        first: i64,
        times: (u64, u64),
        entries: &mut Vec<Entry>,
    ) {
        if self.sessions.insert(session) {
            self.lose(times, entries);
            self.is_whole = first <= 1;
        }
    }

    /// Takes a level; returns what is to be said when the event is over.
    ///
    /// # Errors
    /// Returns what it is where the book is not known.
    pub(crate) fn take(&mut self, symbol: u32, update: LevelUpdate) -> Result<Option<What>, &'static str> {
        if !self.is_whole {
            return Err("price levels of books that are not known");
        }
        let LevelUpdate { is_bid, flags, level } = update;
        let book = self.books.entry(symbol).or_default();
        let side = if is_bid { &mut book.changed.bids } else { &mut book.changed.asks };
        // Of a price that changes twice in an event, the last one counts.
        side.retain(|known| known.price != level.price);
        side.push(level);
        if flags & COMPLETE == 0 {
            return Ok(None);
        }
        let mut levels = std::mem::take(&mut book.changed);
        if std::mem::replace(&mut book.is_told, true) {
            return Ok(Some(What::Change(levels)));
        }
        levels.bids.retain(|level| level.size.mantissa > 0);
        levels.asks.retain(|level| level.size.mantissa > 0);
        Ok(Some(What::Book(levels)))
    }

    /// Takes note that messages are missing: no book is known any more in this session.
    pub(crate) fn lose(&mut self, (receive_time, event_time): (u64, u64), entries: &mut Vec<Entry>) {
        self.is_whole = false;
        let mut told: Vec<_> =
            self.books.drain().filter(|(_, book)| book.is_told).map(|(symbol, _)| symbol).collect();
        told.sort_unstable();
        let what = What::Gap { channel: Channel::Book, count: None };
        let gap = |symbol| Entry::Said(Said { symbol, receive_time, event_time, what: what.clone() });
        entries.extend(told.into_iter().map(gap));
    }
}
