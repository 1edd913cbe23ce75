//! The best levels of a book, and their checksum.

use std::collections::BTreeMap;

use tickwire_wire::Level;

use crate::adapter::Levels;

/// The levels of each side that a checksum is of.
const CHECKED_LEVELS: usize = 10;

/// The best levels of each side, as many as are subscribed to: what is pushed out of them is forgotten without a word of
/// the venue.
#[derive(Clone, Debug, Default)]
pub struct TopBook {
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
}

impl TopBook {
    /// Makes the book of a snapshot.
    pub fn new(levels: &Levels, depth: usize) -> Self {
        let mut book = Self::default();
        book.apply(levels.clone(), depth);
        book
    }

    /// Applies changed levels. Returns them with the removals of what was pushed out.
    pub fn apply(&mut self, mut levels: Levels, depth: usize) -> Levels {
        change(&mut self.bids, &levels.bids);
        change(&mut self.asks, &levels.asks);
        while self.bids.len() > depth {
            push_out(self.bids.pop_first(), &mut levels.bids);
        }
        while self.asks.len() > depth {
            push_out(self.asks.pop_last(), &mut levels.asks);
        }
        levels.bids.sort_by_key(|level| std::cmp::Reverse(level.price));
        levels.asks.sort_by_key(|level| level.price);
        levels
    }

    /// Returns the levels, best first.
    pub fn levels(&self) -> Levels {
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        Levels {
            bids: self.bids.iter().rev().map(level).collect(),
            asks: self.asks.iter().map(level).collect(),
        }
    }

    /// Returns the checksum: of the digits of price and size, asks first, best first. The scale of an instrument has the
    /// decimals that the venue writes, so an integer in its units has the digits.
    pub fn checksum(&self) -> u32 {
        let asks = self.asks.iter().take(CHECKED_LEVELS);
        let bids = self.bids.iter().rev().take(CHECKED_LEVELS);
        let mut hasher = crc32fast::Hasher::new();
        for (price, size) in asks.chain(bids) {
            hasher.update(price.to_string().as_bytes());
            hasher.update(size.to_string().as_bytes());
        }
        hasher.finalize()
    }
}

fn change(side: &mut BTreeMap<i64, u64>, levels: &[Level]) {
    for Level { price, size } in levels {
        if *size == 0 {
            side.remove(price);
        } else {
            side.insert(*price, *size);
        }
    }
}

/// Tells that a level was pushed out: as a removal, in place of what was said of it.
fn push_out(level: Option<(i64, u64)>, levels: &mut Vec<Level>) {
    if let Some((price, _)) = level {
        levels.retain(|level| level.price != price);
        levels.push(Level { price, size: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(bids: &[(i64, u64)], asks: &[(i64, u64)]) -> Levels {
        let side = |side: &[(i64, u64)]| {
            side.iter().map(|(price, size)| Level { price: *price, size: *size }).collect()
        };
        Levels { bids: side(bids), asks: side(asks) }
    }

    #[test]
    fn levels_that_are_pushed_out_are_told_as_removed() {
        let mut book = TopBook::new(&levels(&[(9, 1), (8, 1)], &[(10, 1), (11, 1)]), 2);
        let told = book.apply(levels(&[(7, 5)], &[(12, 1), (10, 0)]), 2);
        assert_eq!(told, levels(&[(7, 0)], &[(10, 0), (12, 1)]));
        let told = book.apply(levels(&[(10, 3)], &[]), 2);
        assert_eq!(told, levels(&[(10, 3), (8, 0)], &[]));
    }

    #[test]
    fn the_checksum_is_of_the_digits_of_ten_levels() {
        let asks = [
            (452_852, 100_000),
            (452_864, 154_582_015),
            (452_866, 154_582_015),
            (452_896, 4_500_000),
            (452_905, 150_000_000),
            (452_926, 165_000_000),
            (452_927, 80_000_000),
            (452_929, 25_000_000),
            (452_934, 10_000_000),
            (452_941, 20_000_000),
        ];
        let digits: String =
            asks.iter().flat_map(|(price, size)| [price.to_string(), size.to_string()]).collect();
        let book = TopBook::new(&levels(&[], &asks), 10);
        assert_eq!(book.checksum(), crc32fast::hash(digits.as_bytes()));
        let more: Vec<_> = asks.iter().copied().chain([(500_000, 1)]).collect();
        assert_eq!(TopBook::new(&levels(&[], &more), 25).checksum(), book.checksum(), "ten levels count");
    }
}
