//! For how many sessions each update is: with what was published of each symbol, what is due at all sessions together.
//!
//! By the plan: a session counts for the whole time, also while it is away (storms, restarts) or has dropped a symbol for a
//! moment (flaps), and also when it was not opened.

use tickwire_wire::Channel;

use crate::plan::Plan;
use crate::source::{Popularity, Published};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Audience {
    /// Sessions that subscribe to each symbol of the own source; empty: the source is another one.
    subscribers: Vec<u64>,
    takes_quotes: bool,
    takes_trades: bool,
    /// Updates by the plan: of each symbol, and those that are trades.
    popularity: Popularity,
    trades: f64,
}

impl Audience {
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

    /// Records that are due at all sessions for what was published in the window.
    pub(crate) fn due(&self, published: &Published) -> u64 {
        let symbols = self.subscribers.iter().zip(&published.by_symbol);
        symbols
            .map(|(subscribers, [quotes, trades])| {
                let quotes = if self.takes_quotes { *quotes } else { 0 };
                subscribers * (quotes + if self.takes_trades { *trades } else { 0 })
            })
            .sum()
    }

    /// The same for an average update: of those that were published, or by the plan where none was.
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
mod tests {
    use super::*;
    use crate::scenario::{Url, tests::scenario};
    use crate::source::Turns;

    fn audience(text: &str) -> (Plan, Audience) {
        let url = Url { address: "127.0.0.1:7400".to_owned(), path: String::new(), is_tls: false };
        let plan = Plan::new(scenario(text), &url).unwrap();
        let audience = Audience::new(&plan);
        (plan, audience)
    }

    /// What a source publishes, and what sessions without loss get of it, counted one by one.
    #[track_caller]
    fn check(text: &str) {
        let (plan, audience) = audience(text);
        let (source, sessions) = (&plan.scenario.source, &plan.scenario.sessions);
        let mut published = Published::new(source.symbols);
        let mut turns = Turns::new(source.symbols, source.skew, plan.scenario.seed);
        let subscribed: Vec<_> = (0..sessions.count).map(|session| plan.symbols(session)).collect();
        let mut delivered = 0;
        for due in 0..3000 {
            let symbol = turns.next();
            let is_trade = turns.is_trade(source.trades);
            published.add(symbol, is_trade, due, due, (1000, 3000));
            let channel = if is_trade { Channel::Trade } else { Channel::Quote };
            if due >= 1000 && sessions.channels.contains(&channel) {
                delivered += subscribed.iter().filter(|symbols| symbols.contains(&symbol)).count() as u64;
            }
        }
        assert!(delivered > 0);
        assert_eq!(audience.due(&published), delivered, "{text}");
        let planned = audience.per_update(&Published::default());
        let counted = audience.per_update(&published);
        assert!((planned / counted - 1.0).abs() < 0.1, "{planned} by the plan, {counted} counted");
    }

    #[test]
    fn what_is_due_is_what_sessions_without_loss_get() {
        check("[source]\nsymbols = 20\n[sessions]\ncount = 7\nsymbols_each = 3\n");
        // Popular symbols are published and subscribed to more often, and trades are not asked for.
        check(
            "[source]\nsymbols = 20\nskew = 1.2\ntrades = 0.3\n[sessions]\ncount = 9\nsymbols_each = 4\nskew = 1.0\n",
        );
        check(
            "[source]\nsymbols = 20\nskew = 1.2\ntrades = 0.3\n\
             [sessions]\ncount = 9\nsymbols_each = 4\nskew = 1.0\nchannels = [\"quote\", \"trade\"]\n",
        );
        check("[source]\nsymbols = 20\ntrades = 0.5\n[sessions]\ncount = 3\nchannels = [\"trade\"]\n");
    }
}
