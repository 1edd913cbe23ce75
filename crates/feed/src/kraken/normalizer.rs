//! The normalizer of Kraken: text goes in, events come out.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use tickwire_wire::{Channel, Instrument, Level, Quote, Side, Status, Trade, TradingState};

use super::book::TopBook;
use super::message::{BookText, Envelope, LevelText, TickerText, TradeText, price, size, time};
use crate::adapter::{FeedEvent, Levels, MarketBody, MarketEvent};
use crate::binance::{Arrival, NormalizeError, Sequence, SequenceMark};
use crate::status_board::StatusBoard;

/// A state machine that turns messages into events. It has no I/O and no clock.
#[derive(Debug)]
pub struct Normalizer {
    /// The levels of each side that are subscribed to.
    depth: usize,
    symbols: Vec<Symbol>,
    by_name: HashMap<String, u32>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Symbol {
    index: u32,
    price_decimals: u32,
    size_decimals: u32,
    book: Option<TopBook>,
    shows_quote: bool,
    trades: Sequence<MarketEvent>,
    status: StatusBoard,
}

/// The meaning of a message, beside the events in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It brought data of a channel of a symbol.
    Data(Channel, String),
    /// It brought a change of a symbol's book after which the checksum is another one: the book is broken until a new
    /// subscription brings a snapshot.
    Broken(String),
    /// It answers a command, for one symbol.
    Response(CommandResponse),
    /// The venue is not there for trading: maintenance, for example.
    Offline(String),
    /// It says that the venue is there.
    Alive,
    /// It means nothing here.
    Nothing,
}

/// The response to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandResponse {
    /// The id of the command.
    pub id: u64,
    /// The channel, by the venue's name.
    pub channel: String,
    /// The symbol.
    pub symbol: String,
    /// The reason why it was refused, if so.
    pub refusal: Option<String>,
}

impl Normalizer {
    /// Makes a normalizer for books of so many levels a side.
    pub fn new(depth: usize) -> Self {
        Self { depth, symbols: Vec::new(), by_name: HashMap::new(), free: Vec::new() }
    }

    /// Takes the definition of an instrument that may be new, and returns the index of its events. One whose scale is
    /// another than before begins anew.
    pub fn define(&mut self, definition: &Instrument) -> u32 {
        if let Some(index) = self.by_name.get(&definition.symbol).copied() {
            let known = &mut self.symbols[index as usize];
            if (known.price_decimals, known.size_decimals)
                != (definition.price_decimals, definition.size_decimals)
            {
                *known = Symbol::new(index, definition);
            }
            return index;
        }
        let index = self.free.pop().unwrap_or(self.symbols.len() as u32);
        self.by_name.insert(definition.symbol.clone(), index);
        match self.symbols.get_mut(index as usize) {
            Some(place) => *place = Symbol::new(index, definition),
            None => self.symbols.push(Symbol::new(index, definition)),
        }
        index
    }

    /// Forgets an instrument, and returns its index, which another may have from now on.
    pub fn end(&mut self, symbol: &str) -> Option<u32> {
        let index = self.by_name.remove(symbol)?;
        self.free.push(index);
        Some(index)
    }

    /// Takes what the venue says of whether a symbol trades.
    pub fn status(&mut self, symbol: &str, words: &str, receive_time: u64, events: &mut Vec<FeedEvent>) {
        let Ok(symbol) = self.symbol(symbol) else { return };
        let status = symbol.status.venue_says(words, trading_state(words));
        events.extend(status.map(|status| symbol.status_event(receive_time, status)));
    }

    /// Takes in that the connection which brought a channel of a symbol was lost.
    pub fn lost(&mut self, symbol: &str, channel: Channel, receive_time: u64, events: &mut Vec<FeedEvent>) {
        let Ok(symbol) = self.symbol(symbol) else { return };
        let was_shown = match channel {
            Channel::Book => symbol.book.take().is_some(),
            Channel::Quote => std::mem::take(&mut symbol.shows_quote),
            _ => {
                // The ids of the next trades tell how many were missed; that they do not come is told at once.
                let status = symbol.status.is_lost(channel, true);
                events.extend(status.map(|status| symbol.status_event(receive_time, status)));
                false
            }
        };
        if was_shown {
            events.push(symbol.gap(channel, None, None, receive_time));
        }
    }

    /// Takes in that a channel of a symbol is subscribed to again, after its connection was lost.
    pub fn is_back(
        &mut self,
        symbol: &str,
        channel: Channel,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        let Ok(symbol) = self.symbol(symbol) else { return };
        let status = symbol.status.is_lost(channel, false);
        events.extend(status.map(|status| symbol.status_event(receive_time, status)));
    }

    /// Takes whether a channel of a symbol that was subscribed to brought nothing so far; a status says so.
    pub fn is_silent(
        &mut self,
        symbol: &str,
        channel: Channel,
        is_silent: bool,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        let Ok(symbol) = self.symbol(symbol) else { return };
        let status = symbol.status.is_silent(channel, is_silent);
        events.extend(status.map(|status| symbol.status_event(receive_time, status)));
    }

    /// Takes a message. Times are in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// Returns an error when the message cannot be read.
    pub fn message(
        &mut self,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let envelope: Envelope = serde_json::from_str(text)?;
        if envelope.method.is_some() {
            return Ok(response(&envelope));
        }
        let data = envelope.data.map_or("[]", |data| data.get());
        let is_snapshot = envelope.kind.as_deref() == Some("snapshot");
        match envelope.channel.as_deref() {
            Some("book") => self.books(receive_time, data, is_snapshot, events),
            // What was traded before the subscription is the past.
            Some("trade") if is_snapshot => Ok(Said::Nothing),
            Some("trade") => self.trades(receive_time, data, events),
            Some("ticker") => self.tickers(receive_time, data, events),
            Some("status") => system(data),
            Some("heartbeat") => Ok(Said::Alive),
            Some(_) => Ok(Said::Nothing),
            None => Err(NormalizeError::Foreign),
        }
    }

    fn symbol(&mut self, name: &str) -> Result<&mut Symbol, NormalizeError> {
        let index = self.by_name.get(name).copied();
        index
            .and_then(|index| self.symbols.get_mut(index as usize))
            .ok_or_else(|| NormalizeError::UnknownSymbol(name.to_owned()))
    }

    fn books(
        &mut self,
        receive_time: u64,
        data: &str,
        is_snapshot: bool,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let depth = self.depth;
        let mut said = Said::Nothing;
        for text in serde_json::from_str::<Vec<BookText>>(data)? {
            let symbol = self.symbol(&text.symbol)?;
            let levels = symbol.levels(&text.bids, &text.asks)?;
            let event_time = time(text.timestamp.as_deref());
            let is_right = if is_snapshot {
                Some(symbol.snapshot(levels, text.checksum, depth, event_time, receive_time, events))
            } else {
                symbol.change(levels, text.checksum, depth, event_time, receive_time, events)
            };
            let name = text.symbol.into_owned();
            match is_right {
                Some(false) => return Ok(Said::Broken(name)),
                Some(true) => said = Said::Data(Channel::Book, name),
                None => {}
            }
        }
        Ok(said)
    }

    fn trades(
        &mut self,
        receive_time: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let mut said = Said::Nothing;
        for text in serde_json::from_str::<Vec<TradeText>>(data)? {
            let symbol = self.symbol(&text.symbol)?;
            let aggressor = match &*text.side {
                "buy" => Side::Buy,
                "sell" => Side::Sell,
                _ => Side::Unknown,
            };
            let trade = Trade {
                price: price(text.price, symbol.price_decimals)?,
                size: size(text.qty, symbol.size_decimals)?,
                aggressor: aggressor.into(),
                id: text.trade_id,
                id_text: String::new(),
            };
            let time = time(text.timestamp.as_deref());
            let mark = SequenceMark { id: text.trade_id, time, receive_time };
            let trade = symbol.event(time, receive_time, MarketBody::Trade(trade));
            symbol.trade(mark, trade, events);
            said = Said::Data(Channel::Trade, text.symbol.into_owned());
        }
        Ok(said)
    }

    fn tickers(
        &mut self,
        receive_time: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let mut said = Said::Nothing;
        for text in serde_json::from_str::<Vec<TickerText>>(data)? {
            let symbol = self.symbol(&text.symbol)?;
            let (prices, sizes) = (symbol.price_decimals, symbol.size_decimals);
            let side = |at, of| {
                let level = Level { price: price(at, prices)?, size: size(of, sizes)? };
                Ok::<_, NormalizeError>((level.size > 0).then_some(level))
            };
            let quote = Quote { bid: side(text.bid, text.bid_qty)?, ask: side(text.ask, text.ask_qty)? };
            symbol.shows_quote = true;
            let quote = symbol.event(time(text.timestamp.as_deref()), receive_time, MarketBody::Quote(quote));
            events.push(FeedEvent::Market(quote));
            said = Said::Data(Channel::Quote, text.symbol.into_owned());
        }
        Ok(said)
    }
}

impl Symbol {
    fn new(index: u32, definition: &Instrument) -> Self {
        Self {
            index,
            price_decimals: definition.price_decimals,
            size_decimals: definition.size_decimals,
            book: None,
            shows_quote: false,
            trades: Sequence::default(),
            status: StatusBoard::default(),
        }
    }

    fn event(&self, event_time: Option<u64>, receive_time: u64, body: MarketBody) -> MarketEvent {
        MarketEvent { index: self.index, event_time: event_time.unwrap_or(receive_time), receive_time, body }
    }

    fn gap(
        &self,
        channel: Channel,
        count: Option<u64>,
        event_time: Option<u64>,
        receive_time: u64,
    ) -> FeedEvent {
        let body = MarketBody::UpstreamGap { channel, count };
        FeedEvent::Market(self.event(event_time, receive_time, body))
    }

    fn status_event(&self, receive_time: u64, status: Status) -> FeedEvent {
        FeedEvent::Market(self.event(None, receive_time, MarketBody::Status(status)))
    }

    fn levels(&self, bids: &[LevelText], asks: &[LevelText]) -> Result<Levels, NormalizeError> {
        let side = |levels: &[LevelText]| {
            let level = |level: &LevelText| {
                let (price, size) =
                    (price(level.price, self.price_decimals)?, size(level.qty, self.size_decimals)?);
                Ok::<_, NormalizeError>(Level { price, size })
            };
            levels.iter().map(level).collect::<Result<Vec<_>, _>>()
        };
        Ok(Levels { bids: side(bids)?, asks: side(asks)? })
    }

    /// Takes a snapshot; returns whether its checksum is right. One that is not is not told.
    fn snapshot(
        &mut self,
        mut levels: Levels,
        checksum: u32,
        depth: usize,
        event_time: Option<u64>,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) -> bool {
        let book = TopBook::new(&levels, depth);
        if book.checksum() != checksum {
            self.broken(event_time, receive_time, events);
            return false;
        }
        levels.bids.sort_by_key(|level| std::cmp::Reverse(level.price));
        levels.asks.sort_by_key(|level| level.price);
        levels.bids.truncate(depth);
        levels.asks.truncate(depth);
        self.book = Some(book);
        let snapshot = self.event(event_time, receive_time, MarketBody::BookSnapshot(levels));
        events.push(FeedEvent::Market(snapshot));
        true
    }

    /// Takes a change; returns whether the checksum is right after it, and nothing where there is no book to change. A
    /// change after which it is wrong is not told.
    fn change(
        &mut self,
        levels: Levels,
        checksum: u32,
        depth: usize,
        event_time: Option<u64>,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) -> Option<bool> {
        let book = self.book.as_mut()?;
        let told = book.apply(levels, depth);
        if book.checksum() != checksum {
            self.broken(event_time, receive_time, events);
            return Some(false);
        }
        let delta = self.event(event_time, receive_time, MarketBody::BookDelta(told));
        events.push(FeedEvent::Market(delta));
        Some(true)
    }

    fn broken(&mut self, event_time: Option<u64>, receive_time: u64, events: &mut Vec<FeedEvent>) {
        if self.book.take().is_some() {
            events.push(self.gap(Channel::Book, None, event_time, receive_time));
        }
    }

    fn trade(&mut self, mark: SequenceMark, trade: MarketEvent, events: &mut Vec<FeedEvent>) {
        let (pending, mut last) = match self.trades.take(mark, trade) {
            Arrival::Next { message, previous, repeats } => {
                events.extend((0..repeats).map(|_| FeedEvent::Repeat));
                (vec![(mark.id, message)], previous)
            }
            Arrival::Repeat { repeats } => {
                events.extend((0..repeats).map(|_| FeedEvent::Repeat));
                return;
            }
            Arrival::Pending => return,
            Arrival::Restart(pending) => {
                events.push(self.gap(Channel::Trade, None, mark.time, mark.receive_time));
                (pending, None)
            }
        };
        for (id, trade) in pending {
            if let Some(missing) = last.map(|last| id - last - 1).filter(|count| *count > 0) {
                events.push(self.gap(Channel::Trade, Some(missing), mark.time, mark.receive_time));
            }
            last = Some(id);
            events.push(FeedEvent::Market(trade));
        }
    }
}

fn response(envelope: &Envelope) -> Said {
    let Some(id) = envelope.req_id else { return Said::Nothing };
    let of = |text: Option<&Cow<'_, str>>| text.map(ToString::to_string).unwrap_or_default();
    let result = envelope.result.as_ref();
    let refusal = (envelope.success == Some(false)).then(|| of(envelope.error.as_ref()));
    Said::Response(CommandResponse {
        id,
        channel: of(result.and_then(|result| result.channel.as_ref())),
        symbol: of(result.and_then(|result| result.symbol.as_ref()).or(envelope.symbol.as_ref())),
        refusal,
    })
}

/// Reads what the venue says of itself.
fn system(data: &str) -> Result<Said, NormalizeError> {
    #[derive(Deserialize)]
    struct Line {
        system: String,
    }
    let status: Vec<Line> = serde_json::from_str(data)?;
    let offline = status.into_iter().map(|status| status.system).find(|system| system == "maintenance");
    Ok(offline.map_or(Said::Nothing, Said::Offline))
}

/// Reads the `status` of a pair.
fn trading_state(words: &str) -> TradingState {
    match words {
        "online" => TradingState::Open,
        "cancel_only" | "reduce_only" | "maintenance" => TradingState::Halted,
        "post_only" | "limit_only" => TradingState::PreOpen,
        "delisted" => TradingState::Closed,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
