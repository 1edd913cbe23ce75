//! The normalizer of OKX: text goes in, events come out.

use tickwire_wire::{Channel, Level, Quote, Side, Trade, TradingState};

use super::message::{BookText, Envelope, TradeText};
use crate::adapter::FeedEvent;
use crate::normalize_error::NormalizeError;
use crate::number::Number;
use crate::pairs::levels;
use crate::roster::Roster;
use crate::symbol::Times;

const NS_PER_MS: u64 = 1_000_000;

/// A state machine that turns messages into events. It has no I/O and no clock.
#[derive(Debug, Default)]
pub struct Normalizer {
    /// The instruments; of each book the number of its last change is kept.
    pub instruments: Roster<i64>,
}

/// The meaning of a message, beside the events in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It brought data of a channel of a symbol.
    Data(Channel, String),
    /// It brought a change of this symbol's book that does not continue it, or a book that cannot be read, for a reason: there is no
    /// book until a new subscription brings a snapshot.
    Broken(String, Option<String>),
    /// It brought a change of this symbol's book, and there is none: its snapshot did not come.
    NoBook(String),
    /// It granted the command with this id, for a channel of a symbol.
    Granted(u64, Option<(Channel, String)>),
    /// It refused the command with this id, for a reason.
    Refused(Option<u64>, String),
    /// The server is going down.
    GoingDown,
    /// It says that the venue is there.
    Alive,
    /// It means nothing here.
    Nothing,
}

impl Normalizer {
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
        if text == "pong" {
            return Ok(Said::Alive);
        }
        let envelope: Envelope = serde_json::from_str(text)?;
        if let Some(event) = envelope.event.as_deref() {
            return Ok(told(event, &envelope));
        }
        let (Some(arg), Some(data)) = (&envelope.arg, envelope.data) else {
            return Err(NormalizeError::Foreign);
        };
        let symbol = arg.symbol.as_deref().unwrap_or_default();
        let is_snapshot = envelope.action.as_deref() == Some("snapshot");
        match channel(&arg.channel) {
            Some(Channel::Book) => match self.books(symbol, receive_time, data.get(), is_snapshot, events) {
                Err(error) => {
                    let times = Times { event: None, receive: receive_time };
                    let reason = self.instruments.unreadable_book(symbol, error, times, events)?;
                    Ok(Said::Broken(symbol.to_owned(), Some(reason)))
                }
                said => said,
            },
            Some(Channel::Trade) => self.trades(symbol, receive_time, data.get(), events),
            Some(Channel::Quote) => self.quotes(symbol, receive_time, data.get(), events),
            _ => Ok(Said::Nothing),
        }
    }

    fn books(
        &mut self,
        name: &str,
        receive_time: u64,
        data: &str,
        is_snapshot: bool,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let mut said = Said::Nothing;
        for text in serde_json::from_str::<Vec<BookText>>(data)? {
            let levels = levels(&text.bids, &text.asks, symbol.decimals())?;
            let times = times(text.ts.as_deref(), receive_time);
            // What proves nothing is no change of a book.
            let sequence = text.seq_id.ok_or(NormalizeError::Foreign)?;
            if is_snapshot {
                symbol.snapshot(sequence, levels, times, events);
                said = Said::Data(Channel::Book, name.to_owned());
                continue;
            }
            // Until its snapshot there is no book to change.
            let Some(last) = symbol.book else {
                said = Said::NoBook(name.to_owned());
                continue;
            };
            if text.prev_seq_id.ok_or(NormalizeError::Foreign)? == last {
                symbol.book = Some(sequence);
                // Where nothing changed for a minute, an empty change says so.
                if !levels.bids.is_empty() || !levels.asks.is_empty() {
                    symbol.change(levels, times, events);
                }
                said = Said::Data(Channel::Book, name.to_owned());
            } else if sequence == last {
                events.push(FeedEvent::Repeat);
            } else {
                symbol.break_book(times, events);
                return Ok(Said::Broken(name.to_owned(), None));
            }
        }
        Ok(said)
    }

    fn trades(
        &mut self,
        name: &str,
        receive_time: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let (prices, sizes) = symbol.decimals();
        for text in serde_json::from_str::<Vec<TradeText>>(data)? {
            let aggressor = match &*text.side {
                "buy" => Side::Buy,
                "sell" => Side::Sell,
                _ => Side::Unknown,
            };
            let trade = Trade {
                price: Number::read("px", text.px)?.signed("px", prices)?,
                size: Number::read("sz", text.sz)?.unsigned("sz", sizes)?,
                aggressor: aggressor.into(),
                id: whole("tradeId", &text.trade_id)?,
                id_text: String::new(),
            };
            let count = text.count.as_deref().map_or(Ok(1), |count| whole("count", count))?;
            symbol.trades_as_one(trade, count, times(text.ts.as_deref(), receive_time), events);
        }
        Ok(Said::Data(Channel::Trade, name.to_owned()))
    }

    fn quotes(
        &mut self,
        name: &str,
        receive_time: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        for text in serde_json::from_str::<Vec<BookText>>(data)? {
            let levels = levels(&text.bids, &text.asks, symbol.decimals())?;
            let best = |side: &[Level]| side.first().copied().filter(|level| level.size > 0);
            let quote = Quote { bid: best(&levels.bids), ask: best(&levels.asks) };
            symbol.quote(quote, times(text.ts.as_deref(), receive_time), events);
        }
        Ok(Said::Data(Channel::Quote, name.to_owned()))
    }
}

fn told(event: &str, envelope: &Envelope) -> Said {
    let id = envelope.id.as_deref().and_then(|id| id.parse().ok());
    match event {
        "subscribe" | "unsubscribe" => {
            let Some(id) = id else { return Said::Nothing };
            let of = envelope.arg.as_ref().and_then(|arg| {
                Some((channel(&arg.channel)?, arg.symbol.as_deref().unwrap_or_default().to_owned()))
            });
            Said::Granted(id, of)
        }
        "error" => {
            let (code, msg) = (envelope.code.as_deref(), envelope.msg.as_deref());
            let words = format!("{} (code {})", msg.unwrap_or_default(), code.unwrap_or_default());
            Said::Refused(id, words.chars().take(200).collect())
        }
        // The connection is closed soon, because the server is replaced.
        "notice" => Said::GoingDown,
        _ => Said::Nothing,
    }
}

fn times(ms: Option<&str>, receive: u64) -> Times {
    let event = ms.and_then(|ms| ms.parse::<u64>().ok()?.checked_mul(NS_PER_MS));
    Times { event, receive }
}

fn whole(field: &'static str, text: &str) -> Result<u64, NormalizeError> {
    text.parse().map_err(|_| NormalizeError::Whole { field, text: text.chars().take(40).collect() })
}

fn channel(name: &str) -> Option<Channel> {
    Some(match name {
        "books" => Channel::Book,
        "trades" => Channel::Trade,
        "bbo-tbt" => Channel::Quote,
        _ => return None,
    })
}

/// Reads the `state` of an instrument.
pub fn trading_state(words: &str) -> TradingState {
    match words {
        "live" => TradingState::Open,
        "preopen" | "post_only" => TradingState::PreOpen,
        "suspend" | "rebase" => TradingState::Halted,
        "expired" | "settling" | "test" => TradingState::Closed,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
