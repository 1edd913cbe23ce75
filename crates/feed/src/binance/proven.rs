//! The part of a book that a snapshot of limited depth proves.
//!
//! A snapshot of so many levels says nothing of what lies beyond its last one. Changes tell levels there, one by one, and
//! never all of them: so what is beyond the reach is not told. As the price goes there, the proven part shrinks, and a new
//! snapshot is needed before nothing is left.

use std::collections::BTreeSet;

use tickwire_wire::Level;

use crate::adapter::Levels;
use crate::reach::Reach;

/// The part of a book of which all levels are known.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    reach: Reach,
    /// The levels of a snapshot that is cut.
    limit: usize,
    /// The prices of the levels within the reach, of a side that has one.
    bids: BTreeSet<i64>,
    asks: BTreeSet<i64>,
}

/// The rest of the proven part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Enough,
    /// Less than half of a snapshot: another one is needed soon.
    Little,
    /// Nothing of a side: the book is not known any more.
    Nothing,
}

impl Proven {
    /// Takes a snapshot. `limit` is the number of levels that it was asked for with; a recording does not say it, and nobody can
    /// ask for another one there, so that its snapshots count as whole.
    pub(crate) fn of(levels: &Levels, limit: Option<usize>) -> Self {
        let (bids, asks) = (&levels.bids, &levels.asks);
        let Some(limit) = limit else { return Self::default() };
        let is_cut = |side: &[Level]| side.len() >= limit.max(1);
        let prices = |side: &[Level]| side.iter().map(|level| level.price).collect::<BTreeSet<_>>();
        let mut proven = Self { limit, ..Self::default() };
        if is_cut(bids) {
            proven.bids = prices(bids);
            proven.reach.bids = proven.bids.first().copied();
        }
        if is_cut(asks) {
            proven.asks = prices(asks);
            proven.reach.asks = proven.asks.last().copied();
        }
        proven
    }

    /// Takes a change: what lies beyond the reach is taken out of it. Returns what is left of the proven part.
    pub(crate) fn take(&mut self, levels: &mut Levels) -> Left {
        self.reach.cut(&mut levels.bids, &mut levels.asks);
        let sides = [
            (self.reach.bids, &mut self.bids, &levels.bids),
            (self.reach.asks, &mut self.asks, &levels.asks),
        ];
        let mut left = Left::Enough;
        for (worst, prices, levels) in sides {
            if worst.is_none() {
                continue;
            }
            for Level { price, size } in levels {
                if *size == 0 {
                    prices.remove(price);
                } else {
                    prices.insert(*price);
                }
            }
            if prices.is_empty() {
                left = Left::Nothing;
            } else if prices.len() * 2 < self.limit && left == Left::Enough {
                left = Left::Little;
            }
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(levels: &[(i64, u64)]) -> Vec<Level> {
        levels.iter().map(|(price, size)| Level { price: *price, size: *size }).collect()
    }

    fn levels(bids: &[(i64, u64)], asks: &[(i64, u64)]) -> Levels {
        Levels { bids: side(bids), asks: side(asks) }
    }

    /// Takes a change; returns the prices that are told, and what is left.
    fn take(proven: &mut Proven, bids: &[(i64, u64)], asks: &[(i64, u64)]) -> (Vec<i64>, Left) {
        let mut change = levels(bids, asks);
        let left = proven.take(&mut change);
        (change.bids.iter().chain(&change.asks).map(|level| level.price).collect(), left)
    }

    #[test]
    fn what_lies_beyond_a_snapshot_is_not_told() {
        let bids = [(100, 1), (99, 1), (98, 1), (97, 1)];
        let mut proven = Proven::of(&levels(&bids, &[(101, 1)]), Some(4));
        assert_eq!(take(&mut proven, &[(96, 5), (97, 5)], &[(500, 5)]), (vec![97, 500], Left::Enough));
        assert_eq!(take(&mut proven, &[(100, 0), (99, 0)], &[]), (vec![100, 99], Left::Enough));
        assert_eq!(take(&mut proven, &[(98, 0), (96, 7)], &[]), (vec![98], Left::Little));
        assert_eq!(
            take(&mut proven, &[(99, 1)], &[(101, 0)]),
            (vec![99, 101], Left::Enough),
            "asks are whole"
        );
        assert_eq!(take(&mut proven, &[(99, 0), (97, 0)], &[]).1, Left::Nothing);
    }

    #[test]
    fn a_side_with_fewer_levels_than_were_asked_for_is_whole() {
        let both = [(100, 1), (99, 1), (98, 1), (97, 1)];
        for limit in [Some(5), None] {
            let mut whole = Proven::of(&levels(&both, &both), limit);
            assert_eq!(take(&mut whole, &[(1, 1)], &[(9_999, 1)]), (vec![1, 9_999], Left::Enough));
        }
    }
}
