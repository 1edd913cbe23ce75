//! A simulated exchange in the words of Binance: what it knows, and what its streams say. No I/O and no clock.

use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::binance::Market;
use tickwire_feed::sim::Sim;

use super::playback::Playback;
use super::symbol::{Said, Symbol};

/// The changes of depth between two mark prices.
const FLUSHES_PER_MARK: u64 = 10;

pub(super) struct Exchange {
    market: Market,
    source: Source,
    pub(super) symbols: Vec<Symbol>,
    events: Vec<FeedEvent>,
    flushes: u64,
}

/// The source of what happens.
pub(super) enum Source {
    /// A market by a seed.
    Market(Box<Sim>),
    /// A recording.
    Recording(Playback),
}

impl Exchange {
    pub(super) fn new(market: Market, source: Source, symbols: Vec<Symbol>) -> Self {
        Self { market, source, symbols, events: Vec::new(), flushes: 0 }
    }

    pub(super) fn symbol(&self, name: &str) -> Option<&Symbol> {
        self.symbols.iter().find(|symbol| symbol.name == name)
    }

    pub(super) fn symbol_mut(&mut self, name: &str) -> Option<&mut Symbol> {
        self.symbols.iter_mut().find(|symbol| symbol.name == name)
    }

    /// Makes so many things happen; of a recording, what is due. Times are in milliseconds since the Unix epoch.
    pub(super) fn step(&mut self, count: usize, now: u64, said: &mut Vec<Said>) {
        let sim = match &mut self.source {
            Source::Market(sim) => sim,
            Source::Recording(playback) => return playback.play(now, &mut self.symbols, said),
        };
        for _ in 0..count {
            sim.next_event(&mut self.events);
            for event in std::mem::take(&mut self.events) {
                match event {
                    FeedEvent::Define { definition, .. } => self.symbols.push(Symbol::new(definition)),
                    FeedEvent::Market(event) => {
                        let market = self.market;
                        let symbol = &mut self.symbols[event.index as usize];
                        symbol.take(market, event.body, now, said);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Says the changes of all books since the last time.
    pub(super) fn flush(&mut self, now: u64, said: &mut Vec<Said>) {
        if matches!(self.source, Source::Recording(_)) {
            return;
        }
        self.flushes += 1;
        let market = self.market;
        for symbol in self.symbols.iter_mut().filter(|symbol| symbol.is_listed) {
            symbol.flush(market, now, said);
            if market != Market::Spot && self.flushes.is_multiple_of(FLUSHES_PER_MARK) {
                symbol.mark(now, said);
            }
        }
    }

    /// Lets update ids and trade ids begin anew.
    pub(super) fn renumber(&mut self) {
        for symbol in &mut self.symbols {
            symbol.renumber();
        }
    }

    /// Returns the list of instruments.
    pub(super) fn info(&self, now: u64) -> String {
        let symbols: Vec<_> =
            self.symbols.iter().filter(|symbol| symbol.is_listed).map(Symbol::info).collect();
        serde_json::json!({ "timezone": "UTC", "serverTime": now, "rateLimits": [], "symbols": symbols })
            .to_string()
    }
}
