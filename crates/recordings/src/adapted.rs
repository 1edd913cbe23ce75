//! Recordings that an adapter of the feeds plays already: what it says, as statements.
//!
//! Binance's raw streams have a player of their own, with much knowledge of what such files look like. It plays flat out
//! here, so it never waits, and what it says is turned back into numbers with their scale.

use futures_util::FutureExt as _;
use tickwire_feed::adapter::{Adapter as _, FeedEvent, Flow, Levels, MarketBody, SourceState};
use tickwire_feed::binance::Market;
use tickwire_feed::replay::{Input, Passes, Replay, ReplayConfig, Times};
use tickwire_feed::{Clock, Pace};
use tickwire_wire::{Body, Book, Instrument, Level, Side};

use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};
use crate::source::{Entry, Place, Source, Symbol};

/// A reading of raw streams of Binance.
pub(crate) struct BinanceSource {
    replay: Replay,
    scales: Vec<(u8, u8)>,
    symbols: Vec<Symbol>,
    events: Vec<FeedEvent>,
    is_over: bool,
}

impl BinanceSource {
    /// Reads a file once, to find its market and its scales, and begins to read it.
    ///
    /// # Errors
    /// Returns what is wrong with the file, in words.
    pub(crate) fn new(input: &Input, venue: Option<&str>) -> Result<Self, String> {
        let config = ReplayConfig {
            market: venue.and_then(Market::from_venue),
            files: Vec::new(),
            pace: Pace::FlatOut,
            passes: Passes::Once,
            times: Times::Recorded,
            clock: Clock::system(),
        };
        let replay = Replay::open_inputs(config, vec![input.clone()]).map_err(|error| error.to_string())?;
        let scale = |it: &Instrument| (it.price_decimals as u8, it.size_decimals as u8);
        let symbol = |it: &Instrument| {
            let (prices, sizes) = scale(it);
            let step = |step: u64, decimals| {
                i64::try_from(step).ok().filter(|step| *step > 0).map(|step| Fixed::new(step, decimals))
            };
            Symbol {
                name: it.symbol.clone(),
                tick: step(it.tick_size, prices),
                lot: step(it.lot_size, sizes),
                base: it.base.clone(),
                quote: it.quote.clone(),
            }
        };
        let scales = replay.definitions().iter().map(scale).collect();
        let symbols = replay.definitions().iter().map(symbol).collect();
        Ok(Self { replay, scales, symbols, events: Vec::new(), is_over: false })
    }

    /// Returns the venue.
    pub(crate) fn venue(&self) -> &'static str {
        self.replay.market().venue()
    }

    fn entry(&self, event: FeedEvent) -> Option<Entry> {
        match event {
            FeedEvent::Market(event) => {
                let scale = self.scales.get(event.index as usize)?;
                Some(Entry::Said(Said {
                    symbol: event.index,
                    receive_time: event.receive_time,
                    event_time: event.event_time,
                    what: what(event.body, *scale),
                }))
            }
            FeedEvent::Fault(fault) => Some(Entry::Fault(Place::Line(fault.line), fault.reason)),
            FeedEvent::Repeat => Some(Entry::Unused("repeated messages")),
            FeedEvent::Define { .. } | FeedEvent::End { .. } | FeedEvent::Source(_) => None,
        }
    }
}

impl Source for BinanceSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        if self.is_over {
            return false;
        }
        match self.replay.next(&mut self.events).now_or_never() {
            Some(Ok(Flow::More)) => {}
            Some(Ok(Flow::Ended)) => self.is_over = true,
            Some(Err(error)) => {
                entries.push(Entry::Fault(Place::Line(0), error.to_string()));
                self.is_over = true;
            }
            // Flat out, nothing is waited for.
            None => {
                entries.push(Entry::Fault(Place::Line(0), "the player waits, which it must not".to_owned()));
                self.is_over = true;
            }
        }
        let mut events = std::mem::take(&mut self.events);
        self.is_over |= events.contains(&FeedEvent::Source(SourceState::Ended));
        entries.extend(events.drain(..).filter_map(|event| self.entry(event)));
        self.events = events;
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.replay.progress().get().lines
    }

    fn symbols(&self) -> &[Symbol] {
        &self.symbols
    }
}

/// Returns what a record of the wire says; `None` for what is derived, defined or missing.
pub(crate) fn body(body: Body) -> Option<MarketBody> {
    Some(match body {
        Body::Trade(trade) => MarketBody::Trade(trade),
        Body::Quote(quote) => MarketBody::Quote(quote),
        Body::Book(Book { snapshot: true, bids, asks, .. }) => {
            MarketBody::BookSnapshot(Levels { bids, asks })
        }
        Body::Book(Book { bids, asks, .. }) => MarketBody::BookDelta(Levels { bids, asks }),
        Body::Status(status) => MarketBody::Status(status),
        Body::Derivative(derivative) => MarketBody::Derivative(derivative),
        _ => return None,
    })
}

/// Gives what an adapter says its scale back.
pub(crate) fn what(body: MarketBody, (prices, sizes): (u8, u8)) -> What {
    let size = |size: u64| Fixed::new(i64::try_from(size).unwrap_or(i64::MAX), sizes);
    let level = |level: Level| FixedLevel { price: Fixed::new(level.price, prices), size: size(level.size) };
    let levels = |levels: Levels| FixedLevels {
        bids: levels.bids.into_iter().map(level).collect(),
        asks: levels.asks.into_iter().map(level).collect(),
    };
    match body {
        MarketBody::Trade(trade) => What::Trade {
            price: Fixed::new(trade.price, prices),
            size: size(trade.size),
            aggressor: Side::try_from(trade.aggressor).unwrap_or(Side::Unknown),
            id: trade.id,
            id_text: trade.id_text,
        },
        MarketBody::Quote(quote) => What::Quote { bid: quote.bid.map(level), ask: quote.ask.map(level) },
        MarketBody::BookSnapshot(all) => What::Book(levels(all)),
        MarketBody::BookDelta(changed) => What::Change(levels(changed)),
        MarketBody::Derivative(derivative) => {
            let open_interest = derivative.open_interest.map(size);
            What::Derivative(Box::new(derivative), open_interest)
        }
        MarketBody::Status(status) => What::Status(status),
        MarketBody::UpstreamGap { channel, count } => What::Gap { channel, count },
    }
}
