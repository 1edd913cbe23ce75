//! The symbols of updates: each in its turn, or by popularity.

use rand::distr::Distribution as _;
use rand::distr::weighted::WeightedIndex;
use rand::seq::SliceRandom as _;
use rand::seq::index::sample_weighted;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Symbols are chosen by Zipf's law: the weight of rank r is r to the power of minus `skew`.
#[derive(Clone, Debug)]
pub struct Popularity {
    weights: Vec<f64>,
    index: WeightedIndex<f64>,
}

impl Popularity {
    /// Makes the popularity of so many symbols, at least 1.
    ///
    /// # Panics
    /// Panics where there is no symbol.
    pub fn new(symbols: usize, skew: f64) -> Self {
        let weights: Vec<_> =
            (1..=symbols).map(|rank| (rank as f64).powf(-skew).max(f64::MIN_POSITIVE)).collect();
        let index = WeightedIndex::new(&weights).expect("there are symbols, and their weights are above 0");
        Self { weights, index }
    }

    /// Chooses one.
    pub fn choose(&self, rng: &mut ChaCha8Rng) -> u32 {
        self.index.sample(rng) as u32
    }

    /// Returns the symbol's part of all choices.
    pub fn share(&self, symbol: u32) -> f64 {
        self.weights[symbol as usize] / self.index.total_weight()
    }

    /// Chooses so many different symbols, in order; 0: all.
    ///
    /// # Panics
    /// Never: all weights are above 0.
    pub fn choose_some(&self, count: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
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
pub(super) struct Turns {
    /// Symbols have their turn in this random order. Where it is empty, they are chosen by popularity.
    order: Vec<u32>,
    at: usize,
    popularity: Popularity,
    rng: ChaCha8Rng,
}

impl Turns {
    pub(super) fn new(symbols: usize, skew: f64, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut order: Vec<u32> = if skew == 0.0 { (0..symbols as u32).collect() } else { Vec::new() };
        order.shuffle(&mut rng);
        Self { order, at: 0, popularity: Popularity::new(symbols, skew), rng }
    }

    pub(super) fn next(&mut self) -> u32 {
        if self.order.is_empty() {
            return self.popularity.choose(&mut self.rng);
        }
        let symbol = self.order[self.at];
        self.at = (self.at + 1) % self.order.len();
        symbol
    }

    /// Returns whether this update, of all, is a trade.
    pub(super) fn is_trade(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.random::<f64>() < share
    }
}

#[cfg(test)]
#[path = "symbols_tests.rs"]
mod tests;
