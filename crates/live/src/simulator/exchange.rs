//! A simulated exchange: what happens there, and what its streams say. No I/O and no clock.

use tickwire_feed::adapter::{FeedEvent, MarketBody};
use tickwire_feed::sim::Sim;
use tickwire_wire::{Channel, TradingState};

use super::playback::Playback;
use super::protocol::{Protocol, Said, Stream, stream_of};
use super::symbol::Symbol;

/// The changes of depth between two mark prices.
const FLUSHES_PER_MARK: u64 = 10;
/// The channels that streams may be of.
const CHANNELS: [Channel; 4] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Derivative];

pub(super) struct Exchange {
    pub(super) protocol: Box<dyn Protocol>,
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
    pub(super) fn new(protocol: Box<dyn Protocol>, source: Source, symbols: Vec<Symbol>) -> Self {
        Self { protocol, source, symbols, events: Vec::new(), flushes: 0 }
    }

    pub(super) fn symbol(&self, name: &str) -> Option<&Symbol> {
        self.symbols.iter().find(|symbol| symbol.name == name)
    }

    pub(super) fn symbol_mut(&mut self, name: &str) -> Option<&mut Symbol> {
        self.symbols.iter_mut().find(|symbol| symbol.name == name)
    }

    /// Returns the stream of a name.
    pub(super) fn stream(&self, name: &str) -> Option<Stream> {
        stream_of(&*self.protocol, &CHANNELS, name, &self.symbols)
    }

    /// Returns the streams that the venue has of some channels.
    pub(super) fn streams(&self, channels: &[Channel]) -> Vec<Stream> {
        let of = |symbol: &Symbol| {
            let symbol = symbol.index;
            channels.iter().map(move |channel| Stream { channel: *channel, symbol })
        };
        self.symbols.iter().flat_map(of).collect()
    }

    /// Makes so many things happen; of a recording, what is due. Times are in milliseconds since the Unix epoch.
    pub(super) fn step(&mut self, count: usize, now: u64, said: &mut Vec<Said>) {
        for _ in 0..count {
            let Source::Market(sim) = &mut self.source else { break };
            sim.next_event(&mut self.events);
            for event in std::mem::take(&mut self.events) {
                match event {
                    FeedEvent::Define { definition, .. } => {
                        let name = self.protocol.symbol_name(&definition);
                        self.symbols.push(Symbol::new(self.symbols.len(), name, definition));
                    }
                    FeedEvent::Market(event) => self.take(event.index as usize, event.body, now, said),
                    _ => {}
                }
            }
        }
        self.play(now, said);
    }

    /// Says what is due of a recording, if it is one.
    fn play(&mut self, now: u64, said: &mut Vec<Said>) {
        let Source::Recording(playback) = &mut self.source else { return };
        for (name, data) in playback.play(now, &mut self.symbols) {
            if let Some(stream) = self.stream(&name) {
                said.push(Said { stream, depth: 0, data });
            }
        }
    }

    fn take(&mut self, index: usize, body: MarketBody, now: u64, said: &mut Vec<Said>) {
        let symbol = &mut self.symbols[index];
        let mut say = |channel, data: Option<String>| {
            let stream = Stream { channel, symbol: index };
            said.extend(data.map(|data| Said { stream, depth: 0, data }));
        };
        match body {
            MarketBody::BookSnapshot(levels) | MarketBody::BookDelta(levels) => symbol.change(&levels),
            MarketBody::Quote(quote) if symbol.is_listed => {
                say(Channel::Quote, self.protocol.quote(symbol, &quote, now));
            }
            MarketBody::Trade(trade) => {
                symbol.trade += 1;
                if symbol.is_listed {
                    say(Channel::Trade, Some(self.protocol.trade(symbol, &trade, now)));
                }
            }
            MarketBody::Status(status) => symbol.is_open = status.state == i32::from(TradingState::Open),
            _ => {}
        }
    }

    /// Says the changes of all books since the last time.
    pub(super) fn flush(&mut self, now: u64, said: &mut Vec<Said>) {
        if matches!(self.source, Source::Recording(_)) {
            return;
        }
        self.flushes += 1;
        for symbol in self.symbols.iter_mut().filter(|symbol| symbol.is_listed) {
            let stream = |channel| Stream { channel, symbol: symbol.index };
            let (book, mark) = (stream(Channel::Book), stream(Channel::Derivative));
            let changes = self.protocol.changes(symbol, now);
            said.extend(changes.into_iter().map(|(depth, data)| Said { stream: book, depth, data }));
            if self.flushes.is_multiple_of(FLUSHES_PER_MARK) {
                let price = self.protocol.mark(symbol, now);
                said.extend(price.map(|data| Said { stream: mark, depth: 0, data }));
            }
        }
    }

    /// Lets update ids and trade ids begin anew.
    pub(super) fn renumber(&mut self) {
        self.symbols.iter_mut().for_each(Symbol::renumber);
        self.protocol.renumbered();
    }
}
