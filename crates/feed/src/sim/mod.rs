//! A simulated venue: one seed always gives the same market.
//!
//! [`Sim`] has no I/O and no clock: each call makes the next thing happen, at a time of its own. [`SimAdapter`] paces
//! it.

mod adapter;
mod market;
mod names;
mod rng;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tickwire_wire::{Status, TradingState};

pub use self::adapter::SimAdapter;
use self::market::Market;
use self::names::Listing;
use self::rng::SeededRng;
use crate::adapter::{FeedEvent, MarketBody, MarketEvent};

/// The configuration of a simulation. The same configuration always gives the same events.
#[derive(Clone, Debug, PartialEq)]
pub struct SimConfig {
    /// The seed of everything random.
    pub seed: u64,
    /// The number of instruments, 1 to 16,383. The first ones are the busiest: activity falls as n^-0.7.
    pub instruments: usize,
    /// The mean of the events per second, over all instruments and in the long run. Each trade, book change and quote
    /// counts as one.
    pub events_per_second: f64,
    /// The number of levels that each side of a book has at least, 20 to 1,000.
    pub depth: usize,
    /// The rate in a burst over the mean rate, 1 to 5. A sixth of the time is bursts, the other time is the quieter for
    /// it; with 1 it is always the same.
    pub burst_factor: f64,
    /// The trading halts per hour, over all instruments; with 0 there are none.
    pub halts_per_hour: f64,
    /// The mean length of a halt, in seconds.
    pub halt_seconds: f64,
    /// The time of the first event, in nanoseconds since the Unix epoch.
    pub start_time: u64,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            instruments: 24,
            events_per_second: 2_000.0,
            depth: 25,
            burst_factor: 3.0,
            halts_per_hour: 20.0,
            halt_seconds: 15.0,
            // 2026-01-01T00:00:00Z
            start_time: 1_767_225_600_000_000_000,
        }
    }
}

/// A fault in the configuration of a simulation.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("simulator: {field} is {value}, but must be {range}")]
pub struct SimConfigError {
    /// The field of [`SimConfig`].
    pub field: &'static str,
    /// The value of the field, in its unit.
    pub value: f64,
    /// The values that it may have.
    pub range: &'static str,
}

impl SimConfig {
    /// Returns everything about it that cannot be simulated.
    pub fn config_errors(&self) -> Vec<SimConfigError> {
        let checks = [
            ("instruments", self.instruments as f64, 1.0, 16_383.0, "1 to 16383"),
            ("events_per_second", self.events_per_second, 0.001, 1e8, "0.001 to 100000000"),
            ("depth", self.depth as f64, 20.0, 1_000.0, "20 to 1000"),
            ("burst_factor", self.burst_factor, 1.0, 5.0, "1 to 5"),
            ("halts_per_hour", self.halts_per_hour, 0.0, 1e6, "0 to 1000000"),
            ("halt_seconds", self.halt_seconds, 0.001, 86_400.0, "0.001 to 86400"),
        ];
        let wrong = checks.into_iter().filter(|(_, value, low, high, _)| !(*low..=*high).contains(value));
        wrong.map(|(field, value, _, _, range)| SimConfigError { field, value, range }).collect()
    }
}

const SECOND: f64 = 1e9;
/// The length of a burst and of the quiet after it, in seconds: one to five, as `burst_factor` says.
const BURST_SECONDS: f64 = 0.8;
const QUIET_SECONDS: f64 = 4.0;
/// The number of times that another instrument is looked for when the one drawn is halted.
const DRAWS: usize = 8;

/// The simulated venue.
#[derive(Clone, Debug)]
pub struct Sim {
    config: SimConfig,
    rng: SeededRng,
    listings: Vec<Listing>,
    markets: Vec<Market>,
    /// The running sum of the activity, to draw an instrument from.
    activity: Vec<f64>,
    next_step: f64,
    is_burst: bool,
    regime_ends: f64,
    next_halt: f64,
    /// The times at which halted instruments resume.
    resumes: BinaryHeap<Reverse<(u64, u32)>>,
}

impl Sim {
    /// Prepares the market; nothing happened yet.
    ///
    /// # Errors
    /// Returns an error when a value in the configuration is out of its range.
    pub fn new(config: SimConfig) -> Result<Self, SimConfigError> {
        if let Some(error) = config.config_errors().into_iter().next() {
            return Err(error);
        }
        let mut rng = SeededRng::new(config.seed);
        let mut sum = 0.0;
        let activity = (0..config.instruments).map(|n| {
            sum += (n as f64 + 1.0).powf(-0.7);
            sum
        });
        let start = 0.0;
        Ok(Self {
            activity: activity.collect(),
            listings: (0..config.instruments).map(names::listing).collect(),
            markets: Vec::with_capacity(config.instruments),
            next_step: start,
            is_burst: false,
            regime_ends: start + rng.interval(QUIET_SECONDS * SECOND),
            next_halt: start + halt_interval(&config, &mut rng),
            resumes: BinaryHeap::new(),
            rng,
            config,
        })
    }

    /// Returns when the next event is, in nanoseconds since the Unix epoch.
    pub fn next_time(&self) -> u64 {
        let resume = self.resumes.peek().map_or(u64::MAX, |Reverse((time, _))| *time);
        self.time(self.next_step.min(self.next_halt)).min(resume)
    }

    /// Makes the next thing happen: appends its events (none, where it would have been at a halted instrument) and
    /// returns its time. The first calls open one instrument each, with definition, status, book and quote.
    pub fn next_event(&mut self, events: &mut Vec<FeedEvent>) -> u64 {
        let time = self.next_time();
        if self.markets.len() < self.listings.len() {
            self.open(time, events);
        } else if self.resumes.peek().is_some_and(|Reverse((due, _))| *due <= time) {
            if let Some(Reverse((_, index))) = self.resumes.pop() {
                self.resume(time, index, events);
            }
        } else if self.next_halt <= self.next_step {
            self.halt(time, events);
        } else {
            self.step(time, events);
        }
        time
    }

    /// Returns the time of a moment relative to the start, because 2^53 ns are 104 days but only 1970.
    fn time(&self, since_start: f64) -> u64 {
        self.config.start_time + since_start.min(9e18) as u64
    }

    fn open(&mut self, time: u64, events: &mut Vec<FeedEvent>) {
        let index = self.markets.len();
        let listing = &self.listings[index];
        let market = Market::new(listing, self.config.depth, &mut self.rng);
        events.push(FeedEvent::Define { index: index as u32, definition: listing.definition.clone() });
        let bodies = [
            status(TradingState::Open, "simulated open"),
            MarketBody::BookSnapshot(market.levels()),
            MarketBody::Quote(market.best()),
        ];
        events.extend(bodies.map(|body| event(index as u32, time, body)));
        self.markets.push(market);
    }

    fn halt(&mut self, time: u64, events: &mut Vec<FeedEvent>) {
        let index = self.rng.below(self.markets.len() as u64) as u32;
        let length = self.rng.interval(self.config.halt_seconds * SECOND);
        self.next_halt += halt_interval(&self.config, &mut self.rng);
        let market = &mut self.markets[index as usize];
        if !market.is_halted {
            market.is_halted = true;
            self.resumes.push(Reverse((time + length as u64, index)));
            events.push(event(index, time, status(TradingState::Halted, "simulated halt")));
        }
    }

    fn resume(&mut self, time: u64, index: u32, events: &mut Vec<FeedEvent>) {
        self.markets[index as usize].is_halted = false;
        events.push(event(index, time, status(TradingState::Open, "simulated resumption")));
    }

    fn step(&mut self, time: u64, events: &mut Vec<FeedEvent>) {
        let before = events.len();
        if let Some(index) = self.draw() {
            let emit = |body| events.push(event(index as u32, time, body));
            self.markets[index].step(&mut self.rng, emit);
        }
        let emitted = (events.len() - before).max(1) as f64;
        self.next_step += self.pause(emitted);
        while self.next_step >= self.regime_ends {
            // The pause that was drawn at the old rate is drawn again from the change on: arrivals have no memory.
            self.next_step = self.regime_ends;
            self.is_burst = !self.is_burst;
            let seconds = if self.is_burst { BURST_SECONDS } else { QUIET_SECONDS };
            self.regime_ends += self.rng.interval(seconds * SECOND);
            self.next_step += self.pause(emitted);
        }
    }

    /// Returns the pause until the next step, after one with so many events.
    fn pause(&mut self, emitted: f64) -> f64 {
        let factor = if self.is_burst { self.config.burst_factor } else { quiet_factor(&self.config) };
        // At the highest burst factor the quiet is nearly silent.
        self.rng.interval(emitted * SECOND / (self.config.events_per_second * factor.max(1e-3)))
    }

    /// Draws an instrument by its activity; returns `None` when only halted ones came up.
    fn draw(&mut self) -> Option<usize> {
        let total = self.activity.last()?;
        (0..DRAWS)
            .map(|_| {
                let wanted = self.rng.fraction() * total;
                self.activity.partition_point(|sum| *sum <= wanted).min(self.activity.len() - 1)
            })
            .find(|index| !self.markets[*index].is_halted)
    }
}

/// Makes the mean over bursts and quiet one.
fn quiet_factor(config: &SimConfig) -> f64 {
    let bursts = BURST_SECONDS / (BURST_SECONDS + QUIET_SECONDS);
    (1.0 - config.burst_factor * bursts) / (1.0 - bursts)
}

fn halt_interval(config: &SimConfig, rng: &mut SeededRng) -> f64 {
    if config.halts_per_hour == 0.0 {
        return f64::INFINITY;
    }
    rng.interval(3_600.0 * SECOND / config.halts_per_hour)
}

fn status(state: TradingState, reason: &str) -> MarketBody {
    MarketBody::Status(Status { state: state.into(), reason: reason.to_owned() })
}

fn event(index: u32, time: u64, body: MarketBody) -> FeedEvent {
    FeedEvent::Market(MarketEvent { index, event_time: time, receive_time: time, body })
}
