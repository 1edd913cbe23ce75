//! The own source: when updates are due, of which symbol, and what they say.
//!
//! Open loop: an update is due by the plan alone, whatever became of those before it. Its intended time is its event
//! time. What it says follows from symbol and intended time, so that a reader can check every value without being told.

pub(crate) mod adapter;
mod pace;
pub(crate) mod publisher;
mod schedule;
mod wait;

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::seq::index::sample_weighted;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tickwire_wire::{Level, Quote};

use crate::latency::Latencies;

/// Returns the name of a symbol of the own source, without its venue.
pub(crate) fn symbol_name(index: u32) -> String {
    format!("S{index:05}")
}

/// Returns the index of a symbol of the own source, from its name with or without a venue. `None` where it is none.
pub(crate) fn symbol_index(name: &str) -> Option<u32> {
    let symbol = name.rsplit_once(':').map_or(name, |(_, symbol)| symbol);
    let index = symbol.strip_prefix('S')?.parse().ok()?;
    (symbol_name(index) == symbol).then_some(index)
}

/// Returns what the source says of a symbol at a time.
pub(crate) fn quote(symbol: u32, event_time: u64) -> Quote {
    let mixed = mix(event_time ^ u64::from(symbol) << 40);
    let bid = 1_000_000 + (mixed & 0xffff) as i64;
    let spread = 1 + (mixed >> 16 & 7) as i64;
    let size = |bits: u64| 1 + (bits & 0x1fff);
    Quote {
        bid: Some(Level { price: bid, size: size(mixed >> 20) }),
        ask: Some(Level { price: bid + spread, size: size(mixed >> 36) }),
    }
}

/// Returns the same as its fields are on the wire: bid price (zigzag), bid size, ask offset (zigzag), ask size.
pub(crate) fn quote_on_wire(symbol: u32, event_time: u64) -> [u64; 4] {
    on_wire(&quote(symbol, event_time))
}

/// Returns the fields of a quote as they are on the wire; `u64::MAX` where there is none.
pub(crate) fn on_wire(quote: &Quote) -> [u64; 4] {
    let zigzag = |value: i64| ((value << 1) ^ (value >> 63)) as u64;
    let base = quote.bid.map_or(0, |bid| bid.price);
    [
        quote.bid.map_or(u64::MAX, |bid| zigzag(bid.price)),
        quote.bid.map_or(u64::MAX, |bid| bid.size),
        quote.ask.map_or(u64::MAX, |ask| zigzag(ask.price.wrapping_sub(base))),
        quote.ask.map_or(0, |ask| ask.size),
    ]
}

/// Returns the SplitMix64 of a value (Steele, Lea, Flood 2014): every bit of it depends on every bit of the input.
pub(crate) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Symbols are chosen by Zipf's law: the weight of rank r is r to the power of minus `skew`.
#[derive(Clone, Debug)]
pub(crate) struct Popularity {
    weights: Vec<f64>,
    index: WeightedIndex<f64>,
}

impl Popularity {
    pub(crate) fn new(symbols: usize, skew: f64) -> Self {
        let weights: Vec<_> =
            (1..=symbols).map(|rank| (rank as f64).powf(-skew).max(f64::MIN_POSITIVE)).collect();
        let index = WeightedIndex::new(&weights).expect("there are symbols, and their weights are above 0");
        Self { weights, index }
    }

    pub(crate) fn choose(&self, rng: &mut ChaCha8Rng) -> u32 {
        self.index.sample(rng) as u32
    }

    /// Returns the symbol's part of all choices.
    pub(crate) fn share(&self, symbol: u32) -> f64 {
        self.weights[symbol as usize] / self.index.total_weight()
    }

    /// Chooses so many different symbols, in order.
    pub(crate) fn choose_some(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
        let all = self.weights.len();
        if count == 0 || count >= all {
            return (0..all as u32).collect();
        }
        let chosen = sample_weighted(rng, all, |at| self.weights[at], count);
        let mut chosen: Vec<_> =
            chosen.expect("the weights are above 0").into_iter().map(|at| at as u32).collect();
        chosen.sort_unstable();
        chosen
    }
}

/// Turns say which symbol the next update is of.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Symbols have their turn in this random order. Where it is empty, they are chosen by popularity.
    order: Vec<u32>,
    at: usize,
    popularity: Popularity,
    rng: ChaCha8Rng,
}

impl Turns {
    pub(crate) fn new(symbols: usize, skew: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u32> = if skew == 0.0 { (0..symbols as u32).collect() } else { Vec::new() };
        shuffle(&mut order, &mut rng);
        Self { order, at: 0, popularity: Popularity::new(symbols, skew), rng }
    }

    pub(crate) fn next(&mut self) -> u32 {
        if self.order.is_empty() {
            return self.popularity.choose(&mut self.rng);
        }
        let symbol = self.order[self.at];
        self.at = (self.at + 1) % self.order.len();
        symbol
    }

    /// Returns whether this update, of all, is a trade.
    pub(crate) fn is_trade(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }
}

pub(crate) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, rng.random_range(0..=at));
    }
}

/// The source tells what it published when it was stopped or is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Published {
    /// Updates whose intended time lies in the window of measuring.
    pub(crate) in_window: u64,
    /// The same, by symbol: quotes, and trades.
    pub(crate) by_symbol: Vec<[u64; 2]>,
    pub(crate) total: u64,
    /// Last quote of each symbol: its sequence number and intended time; 0: none.
    pub(crate) last: Vec<(u64, u64)>,
    /// Updates were published so late.
    pub(crate) lag: Latencies,
}

impl Published {
    pub(crate) fn new(symbols: usize) -> Self {
        Self { by_symbol: vec![[0; 2]; symbols], last: vec![(0, 0); symbols], ..Self::default() }
    }

    /// Another window is measured: what an earlier one counted is not of it.
    pub(crate) fn count_anew(&mut self) {
        (self.in_window, self.lag) = (0, Latencies::default());
        self.by_symbol.fill([0; 2]);
    }

    /// An update is published now. Returns the sequence number of a quote.
    pub(crate) fn add(&mut self, symbol: u32, is_trade: bool, due: u64, now: u64, window: (u64, u64)) -> u64 {
        let symbol = symbol as usize;
        self.total += 1;
        if window.0 <= due && due < window.1 {
            self.in_window += 1;
            self.by_symbol[symbol][usize::from(is_trade)] += 1;
        }
        self.lag.record(due, now);
        let last = &mut self.last[symbol];
        if !is_trade {
            *last = (last.0 + 1, due);
        }
        last.0
    }
}

/// A running source is told this.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Orders {
    /// Updates per second from now on, instead of the plan's.
    pub(crate) rate: Option<f64>,
    /// Nanoseconds since the Unix epoch; from this on its updates are counted, up to the second.
    pub(crate) window: (u64, u64),
    pub(crate) is_stopped: bool,
}

#[cfg(test)]
#[path = "../tests/units/source.rs"]
mod tests;
