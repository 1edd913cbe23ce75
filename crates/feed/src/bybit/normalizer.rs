//! The normalizer of Bybit: text goes in, events come out.

use tickwire_wire::{Channel, Derivative, Side, Trade, TradingState};

use super::message::{BookText, Envelope, TickerText, TradeText};
use crate::adapter::FeedEvent;
use crate::kraken::TopBook;
use crate::normalize_error::NormalizeError;
use crate::number::Number;
use crate::pairs::levels;
use crate::roster::Roster;
use crate::symbol::Times;

const NS_PER_MS: u64 = 1_000_000;
/// The number of a snapshot with which the venue's service began anew.
const FIRST: u64 = 1;

/// A book, and the number of its last change.
#[derive(Debug)]
pub struct Book {
    last: u64,
    top: TopBook,
}

/// A state machine that turns messages into events. It has no I/O and no clock.
#[derive(Debug)]
pub struct Normalizer {
    /// The instruments.
    pub instruments: Roster<Book, Kept>,
    /// The levels of each side that are subscribed to.
    depth: usize,
}

/// The state of an instrument beside its book.
#[derive(Debug, Default)]
pub struct Kept {
    /// The ticker as it was said so far; none until its snapshot.
    ticker: Option<TickerText>,
    /// The names of the trades in the last message.
    last_trades: Vec<String>,
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
    /// It granted the command with this id.
    Granted(u64),
    /// It refused the command with this id, for a reason.
    Refused(Option<u64>, String),
    /// It says that the venue is there.
    Alive,
    /// It means nothing here.
    Nothing,
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
        if let Some(op) = envelope.op.as_deref() {
            return Ok(told(op, &envelope));
        }
        let (Some(topic), Some(data)) = (envelope.topic.as_deref(), envelope.data) else {
            return Err(NormalizeError::Foreign);
        };
        let (stream, name) = topic.rsplit_once('.').ok_or(NormalizeError::Foreign)?;
        let is_snapshot = envelope.kind.as_deref() == Some("snapshot");
        let time = envelope.cts.or(envelope.ts).and_then(|ms| ms.checked_mul(NS_PER_MS));
        let times = Times { event: time, receive: receive_time };
        match stream.split('.').next() {
            Some("orderbook") => match self.book(name, times, data.get(), is_snapshot, events) {
                Err(error) => {
                    let reason = self.instruments.unreadable_book(name, error, times, events)?;
                    Ok(Said::Broken(name.to_owned(), Some(reason)))
                }
                said => said,
            },
            Some("publicTrade") => self.trades(name, receive_time, data.get(), events),
            Some("tickers") => self.ticker(name, times, data.get(), is_snapshot, events),
            _ => Ok(Said::Nothing),
        }
    }

    fn book(
        &mut self,
        name: &str,
        times: Times,
        data: &str,
        is_snapshot: bool,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let text: BookText = serde_json::from_str(data)?;
        let levels = levels(&text.b, &text.a, symbol.decimals())?;
        if is_snapshot || text.u == FIRST {
            let top = TopBook::new(&levels, self.depth);
            let levels = top.levels();
            symbol.snapshot(Book { last: text.u, top }, levels, times, events);
            return Ok(Said::Data(Channel::Book, name.to_owned()));
        }
        let Some(book) = &mut symbol.book else { return Ok(Said::NoBook(name.to_owned())) };
        if text.u == book.last {
            events.push(FeedEvent::Repeat);
            return Ok(Said::Nothing);
        }
        if Some(text.u) != book.last.checked_add(1) {
            symbol.break_book(times, events);
            return Ok(Said::Broken(name.to_owned(), None));
        }
        book.last = text.u;
        let told = book.top.apply(levels, self.depth);
        symbol.change(told, times, events);
        Ok(Said::Data(Channel::Book, name.to_owned()))
    }

    fn trades(
        &mut self,
        name: &str,
        receive: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let (prices, sizes) = symbol.decimals();
        let mut names = Vec::new();
        let before = std::mem::take(&mut symbol.kept.last_trades);
        for text in serde_json::from_str::<Vec<TradeText>>(data)? {
            if before.iter().any(|known| *known == *text.id) {
                events.push(FeedEvent::Repeat);
                continue;
            }
            let aggressor = match &*text.side {
                "Buy" => Side::Buy,
                "Sell" => Side::Sell,
                _ => Side::Unknown,
            };
            // Spot has numbers, and contracts have names.
            let (id, id_text) = match text.id.parse() {
                Ok(id) => (id, String::new()),
                Err(_) => (0, text.id.to_string()),
            };
            let trade = Trade {
                price: Number::read("p", text.price)?.signed("p", prices)?,
                size: Number::read("v", text.size)?.unsigned("v", sizes)?,
                aggressor: aggressor.into(),
                id,
                id_text,
            };
            let times = Times { event: text.time.checked_mul(NS_PER_MS), receive };
            symbol.unnumbered_trade(trade, times, events);
            names.push(text.id.into_owned());
        }
        symbol.kept.last_trades = if names.is_empty() { before } else { names };
        Ok(Said::Data(Channel::Trade, name.to_owned()))
    }

    fn ticker(
        &mut self,
        name: &str,
        times: Times,
        data: &str,
        is_snapshot: bool,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let text: TickerText = serde_json::from_str(data)?;
        let said = Said::Data(Channel::Derivative, name.to_owned());
        let ticker = if is_snapshot {
            symbol.kept.ticker.insert(text)
        } else {
            // Until its snapshot there is nothing to change.
            let Some(ticker) = &mut symbol.kept.ticker else { return Ok(Said::Nothing) };
            let before = ticker.clone();
            ticker.change(text);
            if before == *ticker {
                // Most changes are of what is told by other channels.
                return Ok(said);
            }
            ticker
        };
        let derivative = derivative(ticker)?;
        symbol.derivative(derivative, times, events);
        Ok(said)
    }
}

fn derivative(ticker: &TickerText) -> Result<Derivative, NormalizeError> {
    let TickerText { mark_price, index_price, funding_rate, next_funding_time } = ticker;
    // Before there is something to say, a text is empty.
    let [mark, index, rate, next] = [mark_price, index_price, funding_rate, next_funding_time]
        .map(|text| text.as_deref().filter(|text| !text.is_empty()));
    let decimals = |text: Option<&str>| text.and_then(Number::of).map_or(0, |number| number.exact.decimals());
    let read = |field: &'static str, text: Option<&str>, decimals: u32| {
        let odd = |text: &str| NormalizeError::Whole { field, text: text.chars().take(40).collect() };
        text.map(|text| Number::of(text).ok_or_else(|| odd(text))?.signed(field, decimals)).transpose()
    };
    let price_decimals = decimals(mark).max(decimals(index));
    let rate_decimals = decimals(rate);
    let next = next.and_then(|text| text.parse::<u64>().ok()?.checked_mul(NS_PER_MS));
    Ok(Derivative {
        mark_price: read("markPrice", mark, price_decimals)?,
        index_price: read("indexPrice", index, price_decimals)?,
        price_decimals,
        funding_rate: read("fundingRate", rate, rate_decimals)?,
        rate_decimals,
        next_funding_time: next.unwrap_or(0),
        open_interest: None,
    })
}

fn told(op: &str, envelope: &Envelope) -> Said {
    let id = envelope.req_id.as_deref().and_then(|id| id.parse().ok());
    let words = || envelope.ret_msg.as_deref().unwrap_or_default().chars().take(200).collect();
    match (op, envelope.success) {
        ("ping" | "pong", _) => Said::Alive,
        (_, Some(false)) => Said::Refused(id, words()),
        ("subscribe" | "unsubscribe", _) => id.map_or(Said::Nothing, Said::Granted),
        _ => Said::Nothing,
    }
}

/// Reads the `status` of an instrument.
pub fn trading_state(words: &str) -> TradingState {
    match words {
        "Trading" => TradingState::Open,
        "PreLaunch" => TradingState::PreOpen,
        "Settling" | "Delivering" => TradingState::Halted,
        "Closed" => TradingState::Closed,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
