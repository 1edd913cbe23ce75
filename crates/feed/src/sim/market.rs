//! One simulated instrument: a book, and what happens to it.

use tickwire_wire::{BookState, Level, Quote, Side, Trade};

use super::names::Listing;
use super::rng::SeededRng;
use crate::adapter::{Levels, MarketBody};

/// The number of levels that a side may have above the wanted depth before the far ones are taken away.
const DEPTH_SLACK: usize = 10;
/// The spread in steps above which orders come in between rather than elsewhere.
const SPREAD_WIDE: i64 = 6;

/// One simulated market. Invariants: it is never crossed, and has at least `depth` levels on each side.
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
    pub(crate) fn new(listing: &Listing, depth: usize, rng: &mut SeededRng) -> Self {
        let mut market = Self {
            is_halted: false,
            book: BookState::new(),
            depth,
            anchor: listing.anchor,
            typical_size: listing.typical_size,
            trades: 0,
        };
        let mut unused = Levels::default();
        let size = market.size(rng);
        market.book.set_bid(Level { price: listing.anchor, size });
        market.book.set_ask(Level { price: listing.anchor + 1, size });
        market.keep_depth(rng, &mut unused);
        market
    }

    pub(crate) fn levels(&self) -> Levels {
        Levels { bids: self.book.bids().collect(), asks: self.book.asks().collect() }
    }

    pub(crate) fn best(&self) -> Quote {
        self.book.best()
    }

    /// Makes something happen: a trade, an order or a cancellation. Emits in the order trade, change of the book,
    /// quote.
    pub(crate) fn step(&mut self, rng: &mut SeededRng, mut emit: impl FnMut(MarketBody)) {
        let before = self.book.best();
        let (Some(bid), Some(ask)) = (before.bid, before.ask) else { return };
        let spread = ask.price - bid.price;
        let buys = rng.chance(self.buy_probability(bid.price));
        let mut change = Levels::default();
        match rng.below(100) {
            _ if spread > SPREAD_WIDE && rng.chance(0.5) => self.improve(buys, bid, ask, rng, &mut change),
            0..22 => emit(MarketBody::Trade(self.take(buys, bid, ask, rng, &mut change))),
            22..34 if spread > 1 => self.improve(buys, bid, ask, rng, &mut change),
            34..46 => self.cancel(buys, rng, &mut change),
            _ => self.resize(buys, rng, &mut change),
        }
        self.keep_depth(rng, &mut change);
        emit(MarketBody::BookDelta(change));
        let after = self.book.best();
        if after != before {
            emit(MarketBody::Quote(after));
        }
    }

    /// Returns the probability of a buy, which pulls the price back to where it started: half at the anchor, at 5 % off
    /// all but sure.
    fn buy_probability(&self, bid: i64) -> f64 {
        let distance = (bid - self.anchor) as f64 / self.anchor as f64;
        (0.5 - distance * 10.0).clamp(0.02, 0.98)
    }

    fn take(
        &mut self,
        buys: bool,
        bid: Level,
        ask: Level,
        rng: &mut SeededRng,
        change: &mut Levels,
    ) -> Trade {
        let best = if buys { ask } else { bid };
        let size = self.size(rng).min(best.size);
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

    fn improve(&mut self, is_bid: bool, bid: Level, ask: Level, rng: &mut SeededRng, change: &mut Levels) {
        let between = (ask.price - bid.price - 1).min(3) as u64;
        let step = 1 + rng.below(between) as i64;
        let price = if is_bid { bid.price + step } else { ask.price - step };
        let size = self.size(rng);
        self.set(is_bid, Level { price, size }, change);
    }

    fn cancel(&mut self, is_bid: bool, rng: &mut SeededRng, change: &mut Levels) {
        if let Some(level) = self.pick(is_bid, rng) {
            self.set(is_bid, Level { size: 0, ..level }, change);
        }
    }

    fn resize(&mut self, is_bid: bool, rng: &mut SeededRng, change: &mut Levels) {
        let size = self.size(rng);
        if let Some(level) = self.pick(is_bid, rng) {
            let size = if size == level.size { size + 1 } else { size };
            self.set(is_bid, Level { size, ..level }, change);
        }
    }

    /// Picks a level; the nearer to the touch it is, the likelier.
    fn pick(&mut self, is_bid: bool, rng: &mut SeededRng) -> Option<Level> {
        let near = rng.fraction() * rng.fraction();
        let at = (near * self.depth as f64) as usize;
        if is_bid { self.book.bids().nth(at) } else { self.book.asks().nth(at) }
    }

    fn size(&self, rng: &mut SeededRng) -> u64 {
        self.typical_size / 20 + 1 + rng.below(self.typical_size * 2)
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

    /// Makes far levels come and go so that each side has about `depth` of them.
    fn keep_depth(&mut self, rng: &mut SeededRng, change: &mut Levels) {
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
                    let step = 1 + rng.below(3) as i64;
                    let price = if is_bid { worst.price - step } else { worst.price + step };
                    let size = self.size(rng);
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
