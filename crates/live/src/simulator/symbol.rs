//! One symbol of a simulated exchange: its book, its numbers, and the last books that it had.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{Hash as _, Hasher as _};

use tickwire_feed::adapter::Levels;
use tickwire_wire::decimal::{write, write_unsigned};
use tickwire_wire::{Instrument, Level};

/// The states of a book that are known to have been true, the last ones.
const TRUTHS_MAX: usize = 20_000;

/// One side of a book: sizes by their prices.
pub(super) type Side = BTreeMap<i64, u64>;

pub(super) struct Symbol {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) definition: Instrument,
    /// The decimals that prices have beyond those of the simulated market.
    pub(super) finer: u32,
    pub(super) is_listed: bool,
    pub(super) is_open: bool,
    pub(super) bids: Side,
    pub(super) asks: Side,
    /// The levels that changed since they were said, with their sizes.
    pub(super) changed_bids: Side,
    pub(super) changed_asks: Side,
    /// The last update id: each change of a level has one.
    pub(super) update: u64,
    /// The first update id that no message said yet.
    pub(super) first_update: u64,
    /// The update id at which the last message ended.
    pub(super) previous_update: u64,
    /// The id of the last trade.
    pub(super) trade: u64,
    /// The hashes of the last books that there were, each with the number of the last one.
    truths: HashMap<u64, u64>,
    /// The same in their order.
    told: VecDeque<(u64, u64)>,
}

impl Symbol {
    pub(super) fn new(index: usize, name: String, definition: Instrument) -> Self {
        Self {
            index,
            name,
            definition,
            finer: 0,
            is_listed: true,
            is_open: true,
            bids: Side::new(),
            asks: Side::new(),
            changed_bids: Side::new(),
            changed_asks: Side::new(),
            update: 1_000_000,
            first_update: 1_000_001,
            previous_update: 1_000_000,
            trade: 500_000,
            truths: HashMap::new(),
            told: VecDeque::new(),
        }
    }

    /// Makes a symbol whose changes come from a recording: no message is made of them, they are said as they were.
    pub(super) fn recorded(index: usize, definition: Instrument) -> Self {
        let name = definition.symbol.clone();
        let new = Self::new(index, name, definition);
        Self { first_update: u64::MAX, update: 0, previous_update: 0, ..new }
    }

    /// Applies recorded levels, up to an update id.
    pub(super) fn record(&mut self, levels: &Levels, update: u64) {
        if update <= self.previous_update {
            return;
        }
        self.change(levels);
        self.forget_changes();
        (self.update, self.previous_update) = (0, update);
        self.remember();
    }

    /// Returns the decimals of prices and sizes.
    pub(super) fn decimals(&self) -> (u32, u32) {
        (self.definition.price_decimals, self.definition.size_decimals)
    }

    /// Applies levels to the book.
    pub(super) fn change(&mut self, levels: &Levels) {
        let sides = [
            (&levels.bids, &mut self.bids, &mut self.changed_bids),
            (&levels.asks, &mut self.asks, &mut self.changed_asks),
        ];
        for (changes, side, changed) in sides {
            for Level { price, size } in changes {
                self.update += 1;
                if *size == 0 {
                    side.remove(price);
                } else {
                    side.insert(*price, *size);
                }
                changed.insert(*price, *size);
            }
        }
    }

    /// Returns whether there are changes that were not said.
    pub(super) fn has_changes(&self) -> bool {
        !self.changed_bids.is_empty() || !self.changed_asks.is_empty()
    }

    /// Takes in that the changes were said.
    pub(super) fn forget_changes(&mut self) {
        self.changed_bids.clear();
        self.changed_asks.clear();
    }

    /// Lets update ids and trade ids begin anew.
    pub(super) fn renumber(&mut self) {
        (self.update, self.previous_update, self.first_update) = (100, 100, 101);
        self.trade = 0;
    }

    /// Remembers the book as it is: it was true.
    pub(super) fn remember(&mut self) {
        let book = self.book();
        self.remember_levels(&book);
    }

    /// Remembers levels that clients may have for the book: they were true.
    pub(super) fn remember_levels(&mut self, book: &Levels) {
        let number = self.told.back().map_or(0, |(number, _)| number + 1);
        let hash = hash(book);
        self.truths.insert(hash, number);
        self.told.push_back((number, hash));
        if self.told.len() > TRUTHS_MAX
            && let Some((number, hash)) = self.told.pop_front()
            && self.truths.get(&hash) == Some(&number)
        {
            self.truths.remove(&hash);
        }
    }

    /// Returns the whole book.
    pub(super) fn book(&self) -> Levels {
        self.top(usize::MAX)
    }

    /// Returns the best levels of each side.
    pub(super) fn top(&self, depth: usize) -> Levels {
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        Levels {
            bids: self.bids.iter().rev().take(depth).map(level).collect(),
            asks: self.asks.iter().take(depth).map(level).collect(),
        }
    }

    /// Returns whether there was such a book, among the last ones.
    pub(super) fn was_true(&self, book: &Levels) -> bool {
        self.truths.contains_key(&hash(book))
    }

    /// Writes a price with all of its decimals.
    pub(super) fn price(&self, price: i64) -> String {
        let mut text = String::new();
        write(&mut text, self.digits(price), self.definition.price_decimals + self.finer);
        text
    }

    /// Returns the digits of a price, with all of its decimals.
    pub(super) fn digits(&self, price: i64) -> i64 {
        price * 10i64.pow(self.finer)
    }

    /// Writes the step of prices.
    pub(super) fn tick(&self) -> String {
        let mut text = String::new();
        write(&mut text, 1, self.definition.price_decimals + self.finer);
        text
    }

    /// Writes a size with all of its decimals.
    pub(super) fn size(&self, size: u64) -> String {
        let mut text = String::new();
        write_unsigned(&mut text, size, self.definition.size_decimals);
        text
    }
}

/// Returns the levels that are new or have another size, and those that are gone. What was pushed out of a view and is
/// there is not told: clients know the depth that they asked for.
pub(super) fn changed(before: &[Level], levels: &[Level], is_there: impl Fn(i64) -> bool) -> Vec<Level> {
    let before_sizes: HashMap<i64, u64> = before.iter().map(|level| (level.price, level.size)).collect();
    let now: HashSet<i64> = levels.iter().map(|level| level.price).collect();
    let is_gone = |level: &&Level| !now.contains(&level.price) && !is_there(level.price);
    let gone = before.iter().filter(is_gone).map(|level| Level { price: level.price, size: 0 });
    let is_new = |level: &&Level| before_sizes.get(&level.price) != Some(&level.size);
    gone.chain(levels.iter().filter(is_new).copied()).collect()
}

fn hash(book: &Levels) -> u64 {
    let mut hasher = DefaultHasher::new();
    for side in [&book.bids, &book.asks] {
        side.len().hash(&mut hasher);
        for level in side {
            (level.price, level.size).hash(&mut hasher);
        }
    }
    hasher.finish()
}
