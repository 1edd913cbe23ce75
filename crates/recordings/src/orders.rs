//! Books of single orders: each order has a number, and a level is the sum of its orders.
//!
//! Orders change one by one, and what is published are levels. So the levels that changed are gathered until the venue's
//! event is over, because books between the records of one event never existed at the venue. A book that is crossed by
//! an order on its way to its match is no fault.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::said::{Fixed, FixedLevel, FixedLevels};

/// A side of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookSide {
    /// Orders to buy.
    Bid,
    /// Orders to sell.
    Ask,
}

/// The orders of one instrument. Prices and sizes are integers of one scale each.
#[derive(Debug)]
pub struct OrderBook {
    orders: FxHashMap<u64, Order>,
    bids: Side,
    asks: Side,
    price_decimals: u8,
    size_decimals: u8,
    /// Whether all orders are known. The state before the first snapshot, and behind a hole, is not.
    is_known: bool,
    /// Whether the levels are to be told as a whole.
    is_new: bool,
}

#[derive(Clone, Copy, Debug)]
struct Order {
    side: BookSide,
    price: i64,
    size: u64,
}

#[derive(Debug, Default)]
struct Side {
    /// The sums of the sizes, by price.
    levels: BTreeMap<i64, u64>,
    /// The prices that changed, perhaps more than once.
    changed: Vec<i64>,
}

/// The reason why an order cannot be applied. The book is not known any more until it is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such order.
    #[error("there is no order {0}")]
    Unknown(u64),
    /// There is such an order already.
    #[error("there is an order {0} already")]
    Twice(u64),
    /// More is taken from an order than it has.
    #[error("order {0} has less than what is taken from it")]
    TooMuch(u64),
}

impl OrderBook {
    /// Makes a book whose orders are not known yet.
    pub fn new(price_decimals: u8, size_decimals: u8) -> Self {
        Self {
            orders: FxHashMap::default(),
            bids: Side::default(),
            asks: Side::default(),
            price_decimals,
            size_decimals,
            is_known: false,
            is_new: false,
        }
    }

    /// Returns whether all orders are known.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// Returns the number of orders.
    pub fn len(&self) -> usize {
        self.orders.len()
    }

    /// Returns whether there are no orders.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    /// Begins a book without orders, which is known from now on.
    pub fn clear(&mut self) {
        self.forget();
        (self.is_known, self.is_new) = (true, true);
    }

    /// Forgets all orders, because some may be missing.
    pub fn forget(&mut self) {
        self.orders.clear();
        for side in [&mut self.bids, &mut self.asks] {
            side.levels.clear();
            side.changed.clear();
        }
        (self.is_known, self.is_new) = (false, false);
    }

    /// Adds an order.
    ///
    /// # Errors
    /// There is such an order already.
    pub fn add(&mut self, id: u64, side: BookSide, price: i64, size: u64) -> Result<(), OrderError> {
        if self.orders.insert(id, Order { side, price, size }).is_some() {
            return Err(OrderError::Twice(id));
        }
        self.side(side).add(price, size);
        Ok(())
    }

    /// Takes something from an order, by a cancellation or an execution; an order of which nothing is left ends.
    ///
    /// # Errors
    /// There is no such order, or it has less.
    pub fn reduce(&mut self, id: u64, by: u64) -> Result<(), OrderError> {
        let order = self.orders.get_mut(&id).ok_or(OrderError::Unknown(id))?;
        order.size = order.size.checked_sub(by).ok_or(OrderError::TooMuch(id))?;
        let Order { side, price, size } = *order;
        if size == 0 {
            self.orders.remove(&id);
        }
        self.side(side).take(price, by);
        Ok(())
    }

    /// Ends an order.
    ///
    /// # Errors
    /// There is no such order.
    pub fn remove(&mut self, id: u64) -> Result<(), OrderError> {
        let order = self.orders.remove(&id).ok_or(OrderError::Unknown(id))?;
        self.side(order.side).take(order.price, order.size);
        Ok(())
    }

    /// Gives an order another price and size.
    ///
    /// # Errors
    /// There is no such order.
    pub fn change(&mut self, id: u64, price: i64, size: u64) -> Result<(), OrderError> {
        let order = self.orders.get_mut(&id).ok_or(OrderError::Unknown(id))?;
        let before = std::mem::replace(order, Order { price, size, ..*order });
        self.side(before.side).take(before.price, before.size);
        self.side(before.side).add(price, size);
        Ok(())
    }

    /// Returns the side, price and size of an order.
    pub fn order(&self, id: u64) -> Option<(BookSide, i64, u64)> {
        self.orders.get(&id).map(|order| (order.side, order.price, order.size))
    }

    /// Takes what changed since it was called last: all levels where the book is new, the changed ones else; `None` where
    /// nothing changed, or the book is not known.
    pub fn take_changes(&mut self) -> Option<OrderBookChange> {
        if !self.is_known {
            self.bids.changed.clear();
            self.asks.changed.clear();
            return None;
        }
        let (prices, sizes) = (self.price_decimals, self.size_decimals);
        let level = |price: i64, size: u64| FixedLevel {
            price: Fixed::new(price, prices),
            size: Fixed::new(i64::try_from(size).unwrap_or(i64::MAX), sizes),
        };
        if std::mem::take(&mut self.is_new) {
            let all = |side: &mut Side| {
                side.changed.clear();
                side.levels.iter().map(|(price, size)| level(*price, *size)).collect::<Vec<_>>()
            };
            return Some(OrderBookChange::All(FixedLevels {
                bids: all(&mut self.bids),
                asks: all(&mut self.asks),
            }));
        }
        let changed = |side: &mut Side| {
            let mut changed = std::mem::take(&mut side.changed);
            if changed.len() > 1 {
                changed.sort_unstable();
                changed.dedup();
            }
            let levels =
                changed.iter().map(|price| level(*price, side.levels.get(price).copied().unwrap_or(0)));
            let levels = levels.collect::<Vec<_>>();
            changed.clear();
            side.changed = changed;
            levels
        };
        let levels = FixedLevels { bids: changed(&mut self.bids), asks: changed(&mut self.asks) };
        let is_empty = levels.bids.is_empty() && levels.asks.is_empty();
        (!is_empty).then_some(OrderBookChange::Levels(levels))
    }

    fn side(&mut self, side: BookSide) -> &mut Side {
        match side {
            BookSide::Bid => &mut self.bids,
            BookSide::Ask => &mut self.asks,
        }
    }
}

/// The change of a book of orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderBookChange {
    /// All levels.
    All(FixedLevels),
    /// The levels that changed; size 0 removes.
    Levels(FixedLevels),
}

impl Side {
    fn add(&mut self, price: i64, size: u64) {
        let level = self.levels.entry(price).or_default();
        *level = level.saturating_add(size);
        self.changed.push(price);
    }

    fn take(&mut self, price: i64, size: u64) {
        if let Some(level) = self.levels.get_mut(&price) {
            *level = level.saturating_sub(size);
            if *level == 0 {
                self.levels.remove(&price);
            }
        }
        self.changed.push(price);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_sums_and_are_told_once_for_an_event() {
        let mut book = OrderBook::new(2, 0);
        book.add(1, BookSide::Bid, 100, 5).unwrap();
        assert_eq!(book.take_changes(), None, "what was before is not known");
        book.clear();
        book.add(1, BookSide::Bid, 100, 5).unwrap();
        book.add(2, BookSide::Bid, 100, 7).unwrap();
        book.add(3, BookSide::Ask, 105, 1).unwrap();
        let level = |price, size| FixedLevel { price: Fixed::new(price, 2), size: Fixed::new(size, 0) };
        let all = FixedLevels { bids: vec![level(100, 12)], asks: vec![level(105, 1)] };
        assert_eq!(book.take_changes(), Some(OrderBookChange::All(all)));
        book.reduce(2, 7).unwrap();
        book.change(1, 99, 6).unwrap();
        book.add(4, BookSide::Ask, 104, 2).unwrap();
        book.remove(4).unwrap();
        let changed = FixedLevels { bids: vec![level(99, 6), level(100, 0)], asks: vec![level(104, 0)] };
        assert_eq!(book.take_changes(), Some(OrderBookChange::Levels(changed)));
        assert_eq!(book.take_changes(), None);
        assert_eq!(book.reduce(9, 1), Err(OrderError::Unknown(9)));
        assert_eq!(book.reduce(1, 7), Err(OrderError::TooMuch(1)));
        assert_eq!(book.add(1, BookSide::Ask, 1, 1), Err(OrderError::Twice(1)));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Add(u64, bool, i64, u64),
        Reduce(u64, u64),
        Remove(u64),
        Change(u64, i64, u64),
        Tell,
    }

    fn step() -> impl Strategy<Value = Step> {
        let (id, price, size) = (0u64..12, 1i64..6, 1u64..9);
        prop_oneof![
            (id.clone(), any::<bool>(), price.clone(), size.clone())
                .prop_map(|(id, bid, price, size)| Step::Add(id, bid, price, size)),
            (id.clone(), size.clone()).prop_map(|(id, by)| Step::Reduce(id, by)),
            id.clone().prop_map(Step::Remove),
            (id, price, size).prop_map(|(id, price, size)| Step::Change(id, price, size)),
            Just(Step::Tell),
        ]
    }

    type Told = (BTreeMap<i64, i64>, BTreeMap<i64, i64>);

    fn tell(book: &mut OrderBook, told: &mut Told) {
        let (levels, is_all) = match book.take_changes() {
            Some(OrderBookChange::All(levels)) => (levels, true),
            Some(OrderBookChange::Levels(levels)) => (levels, false),
            None => return,
        };
        if is_all {
            *told = Told::default();
        }
        for (side, levels) in [(&mut told.0, levels.bids), (&mut told.1, levels.asks)] {
            for level in levels {
                side.insert(level.price.mantissa, level.size.mantissa);
            }
            side.retain(|_, size| *size > 0);
        }
    }

    proptest! {
        /// A reader of the changes has the sums of the orders, as a plain map of orders gives them.
        #[test]
        fn what_is_told_is_the_sum_of_the_orders(steps in prop::collection::vec(step(), 0..80)) {
            let mut book = OrderBook::new(0, 0);
            book.clear();
            let (mut naive, mut told) = (HashMap::<u64, (bool, i64, u64)>::new(), Told::default());
            for step in steps {
                match step {
                    Step::Add(id, bid, price, size) => {
                        if naive.contains_key(&id) { continue; }
                        naive.insert(id, (bid, price, size));
                        let side = if bid { BookSide::Bid } else { BookSide::Ask };
                        book.add(id, side, price, size).unwrap();
                    }
                    Step::Reduce(id, by) => {
                        let Some(order) = naive.get_mut(&id).filter(|order| order.2 >= by) else {
                            prop_assert!(!naive.contains_key(&id) || naive[&id].2 < by);
                            continue;
                        };
                        order.2 -= by;
                        if order.2 == 0 { naive.remove(&id); }
                        book.reduce(id, by).unwrap();
                    }
                    Step::Remove(id) => {
                        prop_assert_eq!(book.remove(id).is_ok(), naive.remove(&id).is_some());
                    }
                    Step::Change(id, price, size) => {
                        let known = naive.get_mut(&id);
                        prop_assert_eq!(book.change(id, price, size).is_ok(), known.is_some());
                        if let Some(order) = known { (order.1, order.2) = (price, size); }
                    }
                    Step::Tell => tell(&mut book, &mut told),
                }
            }
            tell(&mut book, &mut told);
            let mut sums = Told::default();
            for (bid, price, size) in naive.values() {
                let side = if *bid { &mut sums.0 } else { &mut sums.1 };
                *side.entry(*price).or_default() += *size as i64;
            }
            prop_assert_eq!(told, sums);
            prop_assert_eq!(book.len(), naive.len());
        }
    }
}
