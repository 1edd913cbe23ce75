//! The normalizer of Kraken: text goes in, events come out.

use std::borrow::Cow;

use serde::Deserialize;
use tickwire_wire::{Channel, Level, Quote, Side, Trade, TradingState};

use super::book::TopBook;
use super::message::{BookText, Envelope, LevelText, TickerText, TradeText, price, size};
use crate::adapter::{FeedEvent, Levels};
use crate::clock_text::nanoseconds;
use crate::normalize_error::NormalizeError;
use crate::roster::Roster;
use crate::symbol::{Symbol, Times};

/// A state machine that turns messages into events. It has no I/O and no clock.
#[derive(Debug)]
pub struct Normalizer {
    /// The instruments and their books.
    pub instruments: Roster<TopBook>,
    /// The levels of each side that are subscribed to.
    depth: usize,
}

/// The meaning of a message, beside the events in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It brought data of a channel of a symbol.
    Data(Channel, String),
    /// It brought a book of this symbol whose checksum is another one, or that cannot be read, for a reason: there is no book until a
    /// new subscription brings a snapshot.
    Broken(String, Option<String>),
    /// It brought a change of this symbol's book, and there is none: its snapshot did not come.
    NoBook(String),
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
        Self { instruments: Roster::default(), depth }
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

    fn books(
        &mut self,
        receive_time: u64,
        data: &str,
        is_snapshot: bool,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let texts: Vec<BookText> = match serde_json::from_str(data) {
            Ok(texts) => texts,
            Err(error) => return self.unreadable(data, error, receive_time, events),
        };
        let mut said = Said::Nothing;
        for text in texts {
            let symbol = self.instruments.symbol(&text.symbol)?;
            let levels = match levels(&text.bids, &text.asks, symbol.decimals()) {
                Ok(levels) => levels,
                Err(error) => {
                    symbol.break_book(Times { event: None, receive: receive_time }, events);
                    return Ok(Said::Broken(text.symbol.into_owned(), Some(error.to_string())));
                }
            };
            let times = times(text.timestamp.as_ref(), receive_time);
            let is_right = if is_snapshot {
                Some(snapshot(symbol, &levels, text.checksum, self.depth, times, events))
            } else {
                change(symbol, levels, text.checksum, self.depth, times, events)
            };
            let name = text.symbol.into_owned();
            match is_right {
                Some(false) => {
                    symbol.break_book(times, events);
                    return Ok(Said::Broken(name, None));
                }
                Some(true) => said = Said::Data(Channel::Book, name),
                None => said = Said::NoBook(name),
            }
        }
        Ok(said)
    }

    /// Takes books that cannot be read: the first one that has a name is broken. The others are missed with their next change.
    fn unreadable(
        &mut self,
        data: &str,
        error: serde_json::Error,
        receive: u64,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        #[derive(Deserialize)]
        struct Named {
            symbol: String,
        }
        let Ok(named) = serde_json::from_str::<Vec<Named>>(data) else { return Err(error.into()) };
        let Some(Named { symbol: name }) = named.into_iter().next() else { return Err(error.into()) };
        self.instruments.symbol(&name)?.break_book(Times { event: None, receive }, events);
        Ok(Said::Broken(name, Some(error.to_string())))
    }

    fn trades(
        &mut self,
        receive_time: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let mut said = Said::Nothing;
        for text in serde_json::from_str::<Vec<TradeText>>(data)? {
            let symbol = self.instruments.symbol(&text.symbol)?;
            let (prices, sizes) = symbol.decimals();
            let aggressor = match &*text.side {
                "buy" => Side::Buy,
                "sell" => Side::Sell,
                _ => Side::Unknown,
            };
            let trade = Trade {
                price: price(text.price, prices)?,
                size: size(text.qty, sizes)?,
                aggressor: aggressor.into(),
                id: text.trade_id,
                id_text: String::new(),
            };
            symbol.trade(trade, times(text.timestamp.as_ref(), receive_time), events);
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
            let symbol = self.instruments.symbol(&text.symbol)?;
            let (prices, sizes) = symbol.decimals();
            let side = |at, of| {
                let level = Level { price: price(at, prices)?, size: size(of, sizes)? };
                Ok::<_, NormalizeError>((level.size > 0).then_some(level))
            };
            let quote = Quote { bid: side(text.bid, text.bid_qty)?, ask: side(text.ask, text.ask_qty)? };
            symbol.quote(quote, times(text.timestamp.as_ref(), receive_time), events);
            said = Said::Data(Channel::Quote, text.symbol.into_owned());
        }
        Ok(said)
    }
}

fn times(timestamp: Option<&Cow<'_, str>>, receive: u64) -> Times {
    Times { event: timestamp.and_then(|text| nanoseconds(text)), receive }
}

fn levels(
    bids: &[LevelText],
    asks: &[LevelText],
    (prices, sizes): (u32, u32),
) -> Result<Levels, NormalizeError> {
    let side = |levels: &[LevelText]| {
        let level = |level: &LevelText| {
            Ok::<_, NormalizeError>(Level {
                price: price(level.price, prices)?,
                size: size(level.qty, sizes)?,
            })
        };
        levels.iter().map(level).collect::<Result<Vec<_>, _>>()
    };
    Ok(Levels { bids: side(bids)?, asks: side(asks)? })
}

/// Takes a snapshot; returns whether its checksum is right. One that is not is not told.
fn snapshot(
    symbol: &mut Symbol<TopBook>,
    levels: &Levels,
    checksum: u32,
    depth: usize,
    times: Times,
    events: &mut Vec<FeedEvent>,
) -> bool {
    let book = TopBook::new(levels, depth);
    let is_right = book.checksum() == checksum;
    if is_right {
        let levels = book.levels();
        symbol.snapshot(book, levels, times, events);
    }
    is_right
}

/// Takes a change; returns whether the checksum is right after it, and nothing where there is no book to change. A change
/// after which it is wrong is not told.
fn change(
    symbol: &mut Symbol<TopBook>,
    levels: Levels,
    checksum: u32,
    depth: usize,
    times: Times,
    events: &mut Vec<FeedEvent>,
) -> Option<bool> {
    let book = symbol.book.as_mut()?;
    let told = book.apply(levels, depth);
    let is_right = book.checksum() == checksum;
    if is_right {
        symbol.change(told, times, events);
    }
    Some(is_right)
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
    let lines: Vec<Line> = serde_json::from_str(data)?;
    let offline = lines.into_iter().map(|line| line.system).find(|system| system == "maintenance");
    Ok(offline.map_or(Said::Nothing, Said::Offline))
}

/// Reads the `status` of a pair.
pub fn trading_state(words: &str) -> TradingState {
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
