//! Formats that state the best levels as a whole, again and again: what changed from one statement to the next.

use crate::said::{FixedLevel, FixedLevels, What};

/// The levels that were stated last of one instrument.
#[derive(Debug, Default)]
pub(crate) struct TopLevels {
    stated: Option<FixedLevels>,
}

impl TopLevels {
    /// Takes the levels that hold now, and returns what is to be said: all of them at first, then what changed; nothing
    /// where nothing did. A level that left the best ones is not known any more, so it leaves the book.
    pub(crate) fn state(&mut self, levels: FixedLevels) -> Option<What> {
        let Some(before) = &mut self.stated else {
            self.stated = Some(levels.clone());
            return Some(What::Book(levels));
        };
        let change = FixedLevels {
            bids: changes(&before.bids, &levels.bids),
            asks: changes(&before.asks, &levels.asks),
        };
        *before = levels;
        let is_empty = change.bids.is_empty() && change.asks.is_empty();
        (!is_empty).then_some(What::Change(change))
    }

    /// Forgets what was stated: the next levels are said as a whole.
    pub(crate) fn forget(&mut self) {
        self.stated = None;
    }
}

fn changes(before: &[FixedLevel], now: &[FixedLevel]) -> Vec<FixedLevel> {
    if before == now {
        return Vec::new();
    }
    let is_in =
        |levels: &[FixedLevel], level: &FixedLevel| levels.iter().any(|other| other.price == level.price);
    let none = |level: &FixedLevel| FixedLevel {
        size: crate::said::Fixed { mantissa: 0, ..level.size },
        price: level.price,
    };
    let gone = before.iter().filter(|level| !is_in(now, level)).map(none);
    gone.chain(now.iter().filter(|level| !before.contains(level)).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::said::Fixed;

    #[test]
    fn what_changed_is_said() {
        let level = |price, size| FixedLevel { price: Fixed::new(price, 0), size: Fixed::new(size, 0) };
        let levels = |bids: &[(i64, i64)], asks: &[(i64, i64)]| FixedLevels {
            bids: bids.iter().map(|(price, size)| level(*price, *size)).collect(),
            asks: asks.iter().map(|(price, size)| level(*price, *size)).collect(),
        };
        let mut top = TopLevels::default();
        let first = levels(&[(9, 1), (8, 2)], &[(10, 1)]);
        assert_eq!(top.state(first.clone()), Some(What::Book(first.clone())));
        assert_eq!(top.state(first), None);
        let changed = top.state(levels(&[(9, 3), (7, 4)], &[(10, 1)]));
        assert_eq!(changed, Some(What::Change(levels(&[(8, 0), (9, 3), (7, 4)], &[]))));
        top.forget();
        let anew = levels(&[(9, 3)], &[]);
        assert_eq!(top.state(anew.clone()), Some(What::Book(anew)));
    }
}
