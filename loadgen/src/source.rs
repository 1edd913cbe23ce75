//! Updates that the own source published, and deliveries that are due for them. The source itself is one of `tickwire-feed`.

pub(crate) mod publisher;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tickwire_feed::open_loop::{Due, Popularity};
use tickwire_measure::Latencies;
use tickwire_wire::Channel;

use crate::plan::Plan;

/// The source tells what it published when it was stopped or is asked.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Published {
    /// Updates whose intended time lies in the window of measuring.
    pub(crate) in_window: u64,
    /// The same, by symbol: quotes, and trades.
    pub(crate) by_symbol: Vec<[u64; 2]>,
    /// Last quote of each symbol: its sequence number and intended time; 0: none.
    pub(crate) last: Vec<(u64, u64)>,
    /// Intended times of updates that are counted, up to the second.
    #[serde(skip)]
    window: (u64, u64),
    /// Updates were published so late.
    pub(crate) lag: Latencies,
}

impl Published {
    pub(crate) fn new(symbols: usize) -> Self {
        Self { by_symbol: vec![[0; 2]; symbols], last: vec![(0, 0); symbols], ..Self::default() }
    }

    /// Returns what a source published that is at work.
    pub(crate) fn of(shared: &Mutex<Self>) -> MutexGuard<'_, Self> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another window is measured: what an earlier one counted is not of it.
    pub(crate) fn measure(&mut self, window: (u64, u64)) {
        self.window = window;
        (self.in_window, self.lag) = (0, Latencies::default());
        self.by_symbol.fill([0; 2]);
    }

    /// An update is published now.
    pub(crate) fn add(&mut self, due: Due, now: u64) {
        let symbol = due.symbol as usize;
        if self.window.0 <= due.intended_time && due.intended_time < self.window.1 {
            self.in_window += 1;
            self.by_symbol[symbol][usize::from(due.is_trade)] += 1;
        }
        self.lag.record(due.intended_time, now);
        if !due.is_trade {
            self.last[symbol] = (due.sequence, due.intended_time);
        }
    }
}

/// Expected deliveries: for how many sessions each update is, and with what was published of each symbol, how many records are due
/// at all sessions together.
///
/// They follow from the plan: a session counts for the whole time, also while it is away (storms, restarts) or has dropped a symbol
/// for a moment (flaps), and also when it was not opened.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Sessions that subscribe to each symbol of the own source; empty: the source is another one.
    subscribers: Vec<u64>,
    /// Quotes and trades are these parts of the plan's updates; 0 where sessions do not subscribe to them.
    taken: [f64; 2],
    /// The plan's updates of each symbol.
    popularity: Popularity,
}

impl Expected {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (source, sessions) = (&plan.scenario.source, &plan.scenario.sessions);
        let mut subscribers = vec![0; if source.is_running() { 0 } else { source.symbols }];
        if !source.is_running() {
            for symbol in (0..sessions.count).flat_map(|session| plan.symbols(session)) {
                subscribers[symbol as usize] += 1;
            }
        }
        let share = |channel, share| {
            if sessions.channels.contains(&channel) { share } else { 0.0 }
        };
        let taken = [share(Channel::Quote, 1.0 - source.trades), share(Channel::Trade, source.trades)];
        Self { subscribers, taken, popularity: Popularity::new(source.symbols, source.skew) }
    }

    /// Returns how many records are due at all sessions for what was published in the window.
    pub(crate) fn due(&self, published: &Published) -> u64 {
        let symbols = self.subscribers.iter().zip(&published.by_symbol);
        let taken = |counts: &[u64; 2]| -> u64 {
            counts.iter().zip(self.taken).filter(|(_, share)| *share > 0.0).map(|(count, _)| count).sum()
        };
        symbols.map(|(subscribers, counts)| subscribers * taken(counts)).sum()
    }

    /// Returns the same for an average update: of those that were published, or by the plan where none was.
    pub(crate) fn per_update(&self, published: &Published) -> f64 {
        if published.in_window > 0 {
            return self.due(published) as f64 / published.in_window as f64;
        }
        let symbols = (0..).zip(&self.subscribers);
        let all: f64 = symbols.map(|(symbol, count)| *count as f64 * self.popularity.share(symbol)).sum();
        all * self.taken.iter().sum::<f64>()
    }
}

#[cfg(test)]
#[path = "../tests/units/source.rs"]
mod tests;
