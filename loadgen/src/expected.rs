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
        let share = |channel, share| if sessions.channels.contains(&channel) { share } else { 0.0 };
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
#[path = "../tests/units/expected.rs"]
mod tests;
