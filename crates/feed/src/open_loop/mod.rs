//! A source in an open loop: updates are due by a plan alone, whatever became of those before them. Measurements are made with it.
//!
//! The intended time of an update is its event time. What it says follows from symbol and intended time, so that a reader can check
//! every value without being told.

mod adapter;
mod pace;
mod schedule;
mod symbols;

use std::time::Duration;

use tickwire_wire::{Level, Quote};

pub use adapter::OpenLoop;
pub use pace::{Due, Orders, Pace};
pub use symbols::Popularity;

/// A plan says what is published, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The venue, as [`tickwire_wire::is_venue`] allows.
    pub venue: &'static str,
    /// The number of symbols, at least 1. [`symbol_name`] names them.
    pub symbols: usize,
    /// One rate after the other, and from the first again.
    pub rates: Vec<Step>,
    /// Updates that are due within so long come at its end, all at once, as packets of a feed do. Zero: each update comes by itself.
    pub tick: Duration,
    /// The part of all updates that are trades, 0 to 1; the others are quotes.
    pub trades: f64,
    /// Zipf's exponent by which updates choose their symbol; 0: each has its turn.
    pub skew: f64,
    /// It chooses symbols and trades: the same seed is the same plan.
    pub seed: u64,
}

/// A rate, and how long it holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// It holds for so long; where it is the only one, for ever.
    pub lasting: Duration,
    /// Updates per second over all symbols.
    pub rate: f64,
}

/// Returns the name of a symbol of such a source, without its venue.
pub fn symbol_name(index: u32) -> String {
    format!("S{index:05}")
}

/// Returns the index of a symbol of such a source, from its name with or without a venue. `None` where it is none.
pub fn symbol_index(name: &str) -> Option<u32> {
    let symbol = name.rsplit_once(':').map_or(name, |(_, symbol)| symbol);
    let index = symbol.strip_prefix('S')?.parse().ok()?;
    (symbol_name(index) == symbol).then_some(index)
}

/// Returns what such a source says of a symbol at a time.
#[inline]
pub fn quote(symbol: u32, event_time: u64) -> Quote {
    let mixed = mix(event_time ^ u64::from(symbol) << 40);
    let bid = 1_000_000 + (mixed & 0xffff) as i64;
    let spread = 1 + (mixed >> 16 & 7) as i64;
    let size = |bits: u64| 1 + (bits & 0x1fff);
    Quote {
        bid: Some(Level { price: bid, size: size(mixed >> 20) }),
        ask: Some(Level { price: bid + spread, size: size(mixed >> 36) }),
    }
}

/// Returns the SplitMix64 of a value (Steele, Lea, Flood 2014): every bit of it depends on every bit of the input.
#[inline]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
