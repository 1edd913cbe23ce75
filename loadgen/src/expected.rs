//! Expected deliveries: for how many sessions each update is, and with what was published of each symbol, how many records are due
//! at all sessions together.
//!
//! They follow from the plan: a session counts for the whole time, also while it is away (storms, restarts) or has dropped a symbol
//! for a moment (flaps), and also when it was not opened.

use tickwire_wire::Channel;

use crate::plan::Plan;
use crate::source::{Popularity, Published};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    /// Sessions that subscribe to each symbol of the own source; empty: the source is another one.
    subscribers: Vec<u64>,
    takes_quotes: bool,
    takes_trades: bool,
    /// The plan's updates of each symbol, and the share of trades.
    popularity: Popularity,
    trades: f64,
}

impl Expected {
    pub(crate) fn new(plan: &Plan) -> Self {
        let (source, sessions) = (&plan.scenario.source, &plan.scenario.sessions);
        let mut subscribers = vec![0; if source.is_running { 0 } else { source.symbols }];
        if !source.is_running {
            for session in 0..sessions.count {
                for symbol in plan.symbols(session) {
                    subscribers[symbol as usize] += 1;
                }
            }
        }
        Self {
            subscribers,
            takes_quotes: sessions.channels.contains(&Channel::Quote),
            takes_trades: sessions.channels.contains(&Channel::Trade),
            popularity: Popularity::new(source.symbols, source.skew),
            trades: source.trades,
        }
    }

    /// Returns how many records are due at all sessions for what was published in the window.
    pub(crate) fn due(&self, published: &Published) -> u64 {
        let symbols = self.subscribers.iter().zip(&published.by_symbol);
        symbols
            .map(|(subscribers, [quotes, trades])| {
                let quotes = if self.takes_quotes { *quotes } else { 0 };
                subscribers * (quotes + if self.takes_trades { *trades } else { 0 })
            })
            .sum()
    }

    /// Returns the same for an average update: of those that were published, or by the plan where none was.
    pub(crate) fn per_update(&self, published: &Published) -> f64 {
        if published.in_window > 0 {
            return self.due(published) as f64 / published.in_window as f64;
        }
        let taken = |is_taken: bool, share: f64| if is_taken { share } else { 0.0 };
        let taken = taken(self.takes_quotes, 1.0 - self.trades) + taken(self.takes_trades, self.trades);
        let symbols = self.subscribers.iter().enumerate();
        symbols.map(|(at, count)| *count as f64 * self.popularity.share(at as u32)).sum::<f64>() * taken
    }
}

#[cfg(test)]
#[path = "../tests/units/expected.rs"]
mod tests;
