//! One simulated instrument: a book, and what happens to it.

use tickwire_wire::{BookState, Level, Quote, Side, Trade};

use super::dice::Dice;
use super::names::Listing;
use crate::adapter::{Levels, MarketBody};

/// Levels that a side may have above the wanted depth before the far ones are taken away.
const DEPTH_SLACK: usize = 10;
/// Spread in steps above which orders come in between rather than elsewhere.
const SPREAD_WIDE: i64 = 6;

/// Invariants: never crossed, at least `depth` levels on each side.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    pub(crate) is_halted: bool,
    book: BookState,
    depth: usize,
    anchor: i64,
    typical_size: u64,
    trades: u64,
}

impl Market {
    pub(crate) fn new(listing: &Listing, depth: usize, dice: &mut Dice) -> Self {
        let mut market = Self {
            is_halted: false,
            book: BookState::new(),
            depth,
            anchor: listing.anchor,
            typical_size: listing.typical_size,
            trades: 0,
        };
        let mut unused = Levels::default();
        let size = market.size(dice);
        market.book.set_bid(Level { price: listing.anchor, size });
        market.book.set_ask(Level { price: listing.anchor + 1, size });
        market.keep_depth(dice, &mut unused);
        market
    }

    pub(crate) fn levels(&self) -> Levels {
        Levels { bids: self.book.bids().collect(), asks: self.book.asks().collect() }
    }

    pub(crate) fn best(&self) -> Quote {
        self.book.best()
    }

    /// Something happens: a trade, an order or a cancellation. Emits in the order trade, change of the book, quote.
    pub(crate) fn step(&mut self, dice: &mut Dice, mut emit: impl FnMut(MarketBody)) {
        let before = self.book.best();
        let (Some(bid), Some(ask)) = (before.bid, before.ask) else { return };
        let spread = ask.price - bid.price;
        let buys = dice.chance(self.buy_probability(bid.price));
        let mut change = Levels::default();
        match dice.below(100) {
            _ if spread > SPREAD_WIDE && dice.chance(0.5) => self.improve(buys, bid, ask, dice, &mut change),
            0..22 => emit(MarketBody::Trade(self.take(buys, bid, ask, dice, &mut change))),
            22..34 if spread > 1 => self.improve(buys, bid, ask, dice, &mut change),
            34..46 => self.cancel(buys, dice, &mut change),
            _ => self.resize(buys, dice, &mut change),
        }
        self.keep_depth(dice, &mut change);
        emit(MarketBody::BookDelta(change));
        let after = self.book.best();
        if after != before {
            emit(MarketBody::Quote(after));
        }
    }

    /// Pulls the price back to where it started: half at the anchor, at 5 % off all but sure.
    fn buy_probability(&self, bid: i64) -> f64 {
        let distance = (bid - self.anchor) as f64 / self.anchor as f64;
        (0.5 - distance * 10.0).clamp(0.02, 0.98)
    }

    fn take(&mut self, buys: bool, bid: Level, ask: Level, dice: &mut Dice, change: &mut Levels) -> Trade {
        let best = if buys { ask } else { bid };
        let size = self.size(dice).min(best.size);
        self.set(!buys, Level { price: best.price, size: best.size - size }, change);
        self.trades += 1;
        let aggressor = if buys { Side::Buy } else { Side::Sell };
        Trade {
            price: best.price,
            size,
            aggressor: aggressor.into(),
            id: self.trades,
            id_text: String::new(),
        }
    }

    fn improve(&mut self, is_bid: bool, bid: Level, ask: Level, dice: &mut Dice, change: &mut Levels) {
        let between = (ask.price - bid.price - 1).min(3) as u64;
        let step = 1 + dice.below(between) as i64;
        let price = if is_bid { bid.price + step } else { ask.price - step };
        let size = self.size(dice);
        self.set(is_bid, Level { price, size }, change);
    }

    fn cancel(&mut self, is_bid: bool, dice: &mut Dice, change: &mut Levels) {
        if let Some(level) = self.pick(is_bid, dice) {
            self.set(is_bid, Level { size: 0, ..level }, change);
        }
    }

    fn resize(&mut self, is_bid: bool, dice: &mut Dice, change: &mut Levels) {
        let size = self.size(dice);
        if let Some(level) = self.pick(is_bid, dice) {
            let size = if size == level.size { size + 1 } else { size };
            self.set(is_bid, Level { size, ..level }, change);
        }
    }

    /// A level, the nearer to the touch the likelier.
    fn pick(&mut self, is_bid: bool, dice: &mut Dice) -> Option<Level> {
        let near = dice.fraction() * dice.fraction();
        let at = (near * self.depth as f64) as usize;
        if is_bid { self.book.bids().nth(at) } else { self.book.asks().nth(at) }
    }

    fn size(&self, dice: &mut Dice) -> u64 {
        self.typical_size / 20 + 1 + dice.below(self.typical_size * 2)
    }

    fn set(&mut self, is_bid: bool, level: Level, change: &mut Levels) {
        if is_bid {
            self.book.set_bid(level);
            change.bids.push(level);
        } else {
            self.book.set_ask(level);
            change.asks.push(level);
        }
    }

    /// Far levels come and go so that each side has about `depth` of them.
    fn keep_depth(&mut self, dice: &mut Dice, change: &mut Levels) {
        for is_bid in [true, false] {
            loop {
                let (count, worst) = if is_bid {
                    (self.book.bids().len(), self.book.bids().next_back())
                } else {
                    (self.book.asks().len(), self.book.asks().next_back())
                };
                // Neither side is ever empty: a trade or a cancellation leaves the other `depth - 1` levels.
                let Some(worst) = worst else { break };
                if count < self.depth {
                    let step = 1 + dice.below(3) as i64;
                    let price = if is_bid { worst.price - step } else { worst.price + step };
                    let size = self.size(dice);
                    self.set(is_bid, Level { price, size }, change);
                } else if count > self.depth + DEPTH_SLACK {
                    self.set(is_bid, Level { size: 0, ..worst }, change);
                } else {
                    break;
                }
            }
        }
    }
}
