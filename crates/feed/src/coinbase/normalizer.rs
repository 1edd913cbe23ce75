//! The normalizer of Coinbase: text goes in, events come out.

use std::collections::HashMap;

use tickwire_wire::{Channel, Level, Side, Trade, TradingState};

use super::message::{BookText, Envelope, LevelText, SubscriptionsText, TradesText};
use crate::adapter::{FeedEvent, Levels};
use crate::clock_text::nanoseconds;
use crate::normalize_error::NormalizeError;
use crate::number::Number;
use crate::roster::Roster;
use crate::symbol::Times;

/// A state machine that turns messages into events. It has no I/O and no clock.
#[derive(Debug, Default)]
pub struct Normalizer {
    /// The instruments. Nothing is kept of a book: the numbers of the connection prove it.
    pub instruments: Roster<()>,
    /// The lives of connections: the attempt, and the number of the last message.
    connections: HashMap<usize, (u64, u64)>,
}

/// The meaning of a message, beside the events in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It brought data of a channel of these symbols.
    Data(Channel, Vec<String>),
    /// It names all that the connection is subscribed to.
    Subscriptions(Vec<(Channel, String)>),
    /// It refused the last command, for a reason.
    Refused(String),
    /// Messages of the connection are missing before it: how many, where they are known to be that many.
    Missing(u64),
    /// The numbers of the connection began anew, or went back.
    Renumbered,
    /// It has a change of a book that cannot be read, for a reason: the book is wrong from now on, and no number will say so.
    Unreadable(String),
    /// It says that the venue is there.
    Alive,
    /// It means nothing here.
    Nothing,
}

impl Normalizer {
    /// Takes a message of a connection, and of the attempt that it is. Times are in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// Returns an error when the message cannot be read.
    pub fn message(
        &mut self,
        connection: (usize, u64),
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let envelope: Envelope = serde_json::from_str(text)?;
        if envelope.kind.as_deref() == Some("error") {
            let reason = envelope.message.as_deref().unwrap_or_default();
            return Ok(Said::Refused(reason.chars().take(200).collect()));
        }
        if let Some(number) = envelope.sequence_num
            && let Some(fault) = self.number(connection, number, events)
        {
            return Ok(fault);
        }
        let times =
            Times { event: envelope.timestamp.as_deref().and_then(nanoseconds), receive: receive_time };
        let data = envelope.events.map_or("[]", |events| events.get());
        match envelope.channel.as_deref() {
            Some("l2_data") => self.books(data, times, events),
            Some("market_trades") => self.trades(data, receive_time, events),
            Some("subscriptions") => subscriptions(data),
            Some("heartbeats") => Ok(Said::Alive),
            Some(_) => Ok(Said::Nothing),
            None => Err(NormalizeError::Foreign),
        }
    }

    /// Takes the number of a message. Returns what is wrong with it, if something is.
    fn number(
        &mut self,
        (link, attempt): (usize, u64),
        number: u64,
        events: &mut Vec<FeedEvent>,
    ) -> Option<Said> {
        let known = self.connections.get(&link).filter(|(known, _)| *known == attempt);
        let expected = known.map_or(0, |(_, last)| last.saturating_add(1));
        if known.is_some_and(|(_, last)| *last == number) {
            events.push(FeedEvent::Repeat);
            return Some(Said::Nothing);
        }
        self.connections.insert(link, (attempt, number));
        match number.checked_sub(expected) {
            Some(0) => None,
            Some(missing) => Some(Said::Missing(missing)),
            None => Some(Said::Renumbered),
        }
    }

    fn books(
        &mut self,
        data: &str,
        times: Times,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let texts: Vec<BookText> = match serde_json::from_str(data) {
            Ok(texts) => texts,
            Err(error) => return Ok(Said::Unreadable(error.to_string())),
        };
        let (mut names, mut unknown) = (Vec::new(), None);
        for text in texts {
            let symbol = match self.instruments.symbol(&text.product_id) {
                Ok(symbol) => symbol,
                // It may have ended just now. What else the message brings is of other books.
                Err(error) => {
                    unknown = Some(error);
                    continue;
                }
            };
            let levels = match levels(&text.updates, symbol.decimals()) {
                Ok(levels) => levels,
                Err(error) => return Ok(Said::Unreadable(format!("{}: {error}", text.product_id))),
            };
            match &*text.kind {
                "snapshot" => symbol.snapshot((), levels, times, events),
                // Until its snapshot there is no book to change.
                _ if symbol.book.is_none() => continue,
                _ => symbol.change(levels, times, events),
            }
            names.push(text.product_id.into_owned());
        }
        unknown.map_or(Ok(Said::Data(Channel::Book, names)), Err)
    }

    fn trades(
        &mut self,
        data: &str,
        receive: u64,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let mut names: Vec<String> = Vec::new();
        for text in serde_json::from_str::<Vec<TradesText>>(data)? {
            // What was traded before the subscription is the past.
            if text.kind == "snapshot" {
                continue;
            }
            let mut trades = Vec::with_capacity(text.trades.len());
            for trade in text.trades {
                let id = trade.trade_id.parse().map_err(|_| NormalizeError::Whole {
                    field: "trade_id",
                    text: trade.trade_id.chars().take(40).collect(),
                })?;
                trades.push((id, trade));
            }
            // The newest comes first.
            trades.sort_by_key(|(id, _): &(u64, _)| *id);
            for (id, trade) in trades {
                let symbol = self.instruments.symbol(&trade.product_id)?;
                let (prices, sizes) = symbol.decimals();
                // The side is that of the order that was in the book.
                let aggressor = match &*trade.side {
                    "SELL" => Side::Buy,
                    "BUY" => Side::Sell,
                    _ => Side::Unknown,
                };
                let told = Trade {
                    price: Number::read("price", trade.price)?.signed("price", prices)?,
                    size: Number::read("size", trade.size)?.unsigned("size", sizes)?,
                    aggressor: aggressor.into(),
                    id,
                    id_text: String::new(),
                };
                let times = Times { event: trade.time.as_deref().and_then(nanoseconds), receive };
                symbol.trade(told, times, events);
                if names.last().is_none_or(|last| *last != *trade.product_id) {
                    names.push(trade.product_id.into_owned());
                }
            }
        }
        Ok(Said::Data(Channel::Trade, names))
    }
}

fn levels(texts: &[LevelText], (prices, sizes): (u32, u32)) -> Result<Levels, NormalizeError> {
    let mut levels = Levels::default();
    for text in texts {
        let level = Level {
            price: Number::read("price_level", text.price_level)?.signed("price_level", prices)?,
            size: Number::read("new_quantity", text.new_quantity)?.unsigned("new_quantity", sizes)?,
        };
        let side = if text.side == "bid" { &mut levels.bids } else { &mut levels.asks };
        side.push(level);
    }
    Ok(levels)
}

fn subscriptions(data: &str) -> Result<Said, NormalizeError> {
    let mut all = Vec::new();
    for text in serde_json::from_str::<Vec<SubscriptionsText>>(data)? {
        for (channel, symbols) in text.subscriptions {
            let channel = match &*channel {
                "level2" | "l2_data" => Channel::Book,
                "market_trades" => Channel::Trade,
                _ => continue,
            };
            all.extend(symbols.into_iter().map(|symbol| (channel, symbol.into_owned())));
        }
    }
    Ok(Said::Subscriptions(all))
}

/// Reads the state of a product.
pub fn trading_state(words: &str) -> TradingState {
    match words {
        "online" => TradingState::Open,
        "auction" | "post only" | "limit only" => TradingState::PreOpen,
        "disabled" | "trading disabled" | "cancel only" => TradingState::Halted,
        "delisted" => TradingState::Closed,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
