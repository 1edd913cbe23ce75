//! Text of Binance in, events out.

use std::collections::HashMap;

use tickwire_wire::{Channel, Instrument, Quote};

use super::Market;
use super::depth::{Depth, DepthSync, Verdict};
use super::parse::{Decimals, DepthText, Envelope, NormalizeError, TickerText, TradeText, nanoseconds};
use crate::adapter::{FeedEvent, MarketBody, MarketEvent};

/// Turns messages of one market into events. No I/O, no clock.
#[derive(Debug)]
pub struct Normalizer {
    market: Market,
    symbols: Vec<Symbol>,
    by_name: HashMap<String, u32>,
}

#[derive(Debug)]
struct Symbol {
    name: String,
    decimals: Decimals,
    depth: DepthSync,
    has_depth: bool,
    last_trade: Option<u64>,
    last_ticker: Option<u64>,
}

impl Normalizer {
    /// For these instruments; the index of each is the index of its events.
    pub fn new(market: Market, definitions: &[Instrument]) -> Self {
        let symbols: Vec<_> = definitions.iter().map(Symbol::new).collect();
        let by_name = symbols.iter().zip(0..).map(|(symbol, index)| (symbol.name.clone(), index)).collect();
        Self { market, symbols, by_name }
    }

    /// The connection was lost and is back: books are broken until a snapshot, and the numbers of the next trades tell
    /// what was missed.
    pub fn reconnected(&mut self, receive_time: u64, events: &mut Vec<FeedEvent>) {
        for (symbol, index) in self.symbols.iter_mut().zip(0..) {
            if !std::mem::take(&mut symbol.depth).is_waiting() {
                let body = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
                events.push(event(index, receive_time, receive_time, body));
            }
        }
    }

    /// The source begins anew, perhaps in the past: nothing that was is compared with what comes.
    pub fn restart(&mut self) {
        for symbol in &mut self.symbols {
            symbol.depth = DepthSync::default();
            (symbol.last_trade, symbol.last_ticker) = (None, None);
        }
    }

    /// Symbols whose changes come in, but whose book waits for a REST snapshot.
    pub fn wanting_snapshot(&self) -> impl Iterator<Item = &str> {
        let wanting = self.symbols.iter().filter(|symbol| symbol.has_depth && symbol.depth.is_waiting());
        wanting.map(|symbol| symbol.name.as_str())
    }

    /// Takes one message: of a combined stream, or a REST depth snapshot, which is of `snapshot_symbol` where it does
    /// not say itself. Times are in nanoseconds since the Unix epoch. Streams of other kinds are passed over.
    ///
    /// # Errors
    /// When the message cannot be read; then no event was appended and nothing changed.
    pub fn message(
        &mut self,
        receive_time: u64,
        text: &str,
        snapshot_symbol: Option<&str>,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let envelope: Envelope = serde_json::from_str(text)?;
        if let (Some(stream), Some(data)) = (envelope.stream, envelope.data) {
            let kind = stream.split_once('@').map_or("", |(_, kind)| kind);
            return match kind {
                "trade" => self.trade(receive_time, &serde_json::from_str(data.get())?, events),
                "bookTicker" => self.ticker(receive_time, &serde_json::from_str(data.get())?, events),
                _ if kind == "depth" || kind.starts_with("depth@") => {
                    self.depth(receive_time, &serde_json::from_str(data.get())?, events)
                }
                _ => Ok(()),
            };
        }
        if envelope.last_update_id.is_some() {
            return self.snapshot(receive_time, &envelope, snapshot_symbol, events);
        }
        if envelope.symbols.is_some() || envelope.id.is_some() {
            return Ok(());
        }
        Err(NormalizeError::Foreign)
    }

    fn symbol(&mut self, name: &str) -> Result<(u32, &mut Symbol), NormalizeError> {
        let index = self.by_name.get(name).copied();
        let index = index.ok_or_else(|| NormalizeError::UnknownSymbol(name.chars().take(64).collect()))?;
        Ok((index, &mut self.symbols[index as usize]))
    }

    fn trade(
        &mut self,
        receive_time: u64,
        text: &TradeText,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let (index, symbol) = self.symbol(text.symbol)?;
        let trade = symbol.decimals.trade(text)?;
        let event = |body| event(index, nanoseconds(text.trade_time), receive_time, body);
        if let Some(last) = symbol.last_trade {
            if text.id <= last {
                events.push(FeedEvent::Repeat);
                return Ok(());
            }
            if text.id > last + 1 {
                let count = Some(text.id - last - 1);
                events.push(event(MarketBody::UpstreamGap { channel: Channel::Trade, count }));
            }
        }
        symbol.last_trade = Some(text.id);
        // The futures give a number to what is no trade (`"X":"NA"`): without size.
        if trade.size > 0 {
            events.push(event(MarketBody::Trade(trade)));
        }
        Ok(())
    }

    fn ticker(
        &mut self,
        receive_time: u64,
        text: &TickerText,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let (index, symbol) = self.symbol(text.symbol)?;
        let bid = symbol.decimals.side(text.bid_price, text.bid_size)?;
        let ask = symbol.decimals.side(text.ask_price, text.ask_size)?;
        if symbol.last_ticker.is_some_and(|last| text.update <= last) {
            events.push(FeedEvent::Repeat);
            return Ok(());
        }
        symbol.last_ticker = Some(text.update);
        let event_time = text.transaction_time.map_or(receive_time, nanoseconds);
        events.push(event(index, event_time, receive_time, MarketBody::Quote(Quote { bid, ask })));
        Ok(())
    }

    fn depth(
        &mut self,
        receive_time: u64,
        text: &DepthText,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let market = self.market;
        let (index, symbol) = self.symbol(text.symbol)?;
        let (first_update, last_update) = (text.first_update, text.last_update);
        if last_update < first_update {
            return Err(NormalizeError::Range { first: first_update, last: last_update });
        }
        if market != Market::Spot && text.previous_update.is_none() {
            return Err(NormalizeError::Missing("pu, where the message before ended,"));
        }
        let levels = symbol.decimals.levels(&text.bids, &text.asks)?;
        let event_time = nanoseconds(text.transaction_time.unwrap_or(text.event_time));
        let previous_update = text.previous_update;
        let depth = Depth { first_update, last_update, previous_update, event_time, receive_time, levels };
        symbol.has_depth = true;
        match symbol.depth.change(market, depth) {
            Verdict::Apply(depth) => events.push(change(index, depth)),
            Verdict::Known => events.push(FeedEvent::Repeat),
            Verdict::Kept => {}
            Verdict::Broken => {
                let body = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
                events.push(event(index, event_time, receive_time, body));
            }
        }
        Ok(())
    }

    fn snapshot(
        &mut self,
        receive_time: u64,
        envelope: &Envelope,
        snapshot_symbol: Option<&str>,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let market = self.market;
        let end = envelope.last_update_id.ok_or(NormalizeError::Missing("lastUpdateId"))?;
        let bids = envelope.bids.as_ref().ok_or(NormalizeError::Missing("bids"))?;
        let asks = envelope.asks.as_ref().ok_or(NormalizeError::Missing("asks"))?;
        let name = envelope.symbol.or(snapshot_symbol).ok_or(NormalizeError::WhoseSnapshot)?;
        let (index, symbol) = self.symbol(name)?;
        let levels = symbol.decimals.levels(bids, asks)?;
        let Some(changes) = symbol.depth.snapshot(market, end) else {
            events.push(FeedEvent::Repeat);
            return Ok(());
        };
        let event_time = envelope.transaction_time.map_or(receive_time, nanoseconds);
        events.push(event(index, event_time, receive_time, MarketBody::BookSnapshot(levels)));
        events.extend(changes.into_iter().map(|depth| change(index, depth)));
        Ok(())
    }
}

impl Symbol {
    fn new(definition: &Instrument) -> Self {
        Self {
            name: definition.symbol.clone(),
            decimals: Decimals { price: definition.price_decimals, size: definition.size_decimals },
            depth: DepthSync::default(),
            has_depth: false,
            last_trade: None,
            last_ticker: None,
        }
    }
}

fn change(index: u32, depth: Depth) -> FeedEvent {
    event(index, depth.event_time, depth.receive_time, MarketBody::BookDelta(depth.levels))
}

fn event(index: u32, event_time: u64, receive_time: u64, body: MarketBody) -> FeedEvent {
    FeedEvent::Market(MarketEvent { index, event_time, receive_time, body })
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
