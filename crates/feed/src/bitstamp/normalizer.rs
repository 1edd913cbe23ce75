//! The normalizer of Bitstamp: text goes in, events come out.

use tickwire_wire::{Channel, Side, Trade, TradingState};

use super::book::{Book, Joined, Kept};
use super::message::{BookText, Envelope, ErrorText, TradeText};
use crate::adapter::{FeedEvent, Levels};
use crate::binance::Need;
use crate::normalize_error::NormalizeError;
use crate::number::Number;
use crate::pairs::levels;
use crate::roster::Roster;
use crate::supply::Supply;
use crate::symbol::Times;

const NS_PER_US: u64 = 1_000;
const BOOKS: &str = "diff_order_book_";
const TRADES: &str = "live_trades_";

/// A state machine that turns messages into events. It has no I/O and no clock.
#[derive(Debug)]
pub struct Normalizer {
    /// The instruments.
    pub instruments: Roster<Book, Kept>,
    /// A book is compared with a snapshot after this, in nanoseconds.
    compare_after: u64,
    wanted: Vec<(u32, Need)>,
}

/// The meaning of a message, beside the events in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It brought data of a channel of a symbol.
    Data(Channel, String),
    /// It granted the subscription to a channel of a symbol.
    Subscribed(Channel, String),
    /// It says that a subscription ended.
    Unsubscribed,
    /// It refused the last command, for a reason.
    Refused(String),
    /// It wants the connection to be made anew.
    Reconnect,
    /// It says that the venue is there.
    Alive,
    /// It means nothing here.
    Nothing,
}

impl Normalizer {
    /// Makes a normalizer that wants books to be compared with snapshots after so many nanoseconds.
    pub fn new(compare_after: u64) -> Self {
        Self { instruments: Roster::default(), compare_after, wanted: Vec::new() }
    }

    /// Takes a message. Times are in nanoseconds since the Unix epoch.
    ///
    /// # Errors
    /// Returns an error when the message cannot be read. A book of which a change cannot be read is broken: a snapshot is wanted with
    /// the next one.
    pub fn message(
        &mut self,
        receive_time: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let envelope: Envelope = serde_json::from_str(text)?;
        let event = envelope.event.as_deref().ok_or(NormalizeError::Foreign)?;
        let channel = envelope.channel.as_deref().unwrap_or_default();
        let data = envelope.data.map_or("{}", |data| data.get());
        match event {
            "data" => match channel.strip_prefix(BOOKS) {
                Some(name) => self.change(&name.to_uppercase(), receive_time, data, events),
                None => Ok(Said::Nothing),
            },
            "trade" => match channel.strip_prefix(TRADES) {
                Some(name) => self.trade(&name.to_uppercase(), receive_time, data, events),
                None => Ok(Said::Nothing),
            },
            "bts:subscription_succeeded" => Ok(subscribed(channel)),
            "bts:unsubscription_succeeded" => Ok(Said::Unsubscribed),
            "bts:heartbeat" => Ok(Said::Alive),
            "bts:request_reconnect" => Ok(Said::Reconnect),
            "bts:error" => {
                let text: ErrorText = serde_json::from_str(data)?;
                Ok(Said::Refused(text.message.unwrap_or_default().chars().take(200).collect()))
            }
            _ => Ok(Said::Nothing),
        }
    }

    fn change(
        &mut self,
        name: &str,
        receive: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let (time, levels) = match read_book(data, symbol.decimals()) {
            Ok(read) => read,
            Err(error) => {
                let last = symbol.kept.last;
                symbol.kept.spoiled(last);
                symbol.break_book(Times { event: None, receive }, events);
                return Err(error);
            }
        };
        let said = Said::Data(Channel::Book, name.to_owned());
        let times = Times { event: time.checked_mul(NS_PER_US), receive };
        let last = symbol.kept.last;
        if time < last {
            // What came before it was applied without it.
            symbol.kept.spoiled(last);
            symbol.break_book(times, events);
            return Ok(said);
        }
        symbol.kept.last = time;
        let index = symbol.index();
        let Some(book) = &mut symbol.book else {
            if !symbol.kept.is_wanted {
                symbol.kept.want(time);
                self.wanted.push((index, Need::Whole));
            }
            symbol.kept.keep(time, &levels);
            return Ok(said);
        };
        if time <= book.begins {
            return Ok(said);
        }
        if !symbol.kept.is_wanted && receive.saturating_sub(symbol.kept.compared) >= self.compare_after {
            symbol.kept.want(time);
            self.wanted.push((index, Need::Deeper));
        }
        let is_new = book.apply(&levels);
        let is_crossed = book.is_crossed_for_long(time);
        if time == last && !is_new {
            events.push(FeedEvent::Repeat);
            return Ok(Said::Nothing);
        }
        if is_crossed {
            symbol.kept.spoiled(time);
            symbol.break_book(times, events);
            return Ok(said);
        }
        symbol.kept.keep(time, &levels);
        symbol.change(levels, times, events);
        Ok(said)
    }

    fn trade(
        &mut self,
        name: &str,
        receive: u64,
        data: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<Said, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let (prices, sizes) = symbol.decimals();
        let text: TradeText = serde_json::from_str(data)?;
        if text.id == symbol.kept.last_trade {
            events.push(FeedEvent::Repeat);
            return Ok(Said::Nothing);
        }
        let aggressor = match text.kind {
            Some(0) => Side::Buy,
            Some(1) => Side::Sell,
            _ => Side::Unknown,
        };
        let trade = Trade {
            price: Number::read("price_str", text.price_str)?.signed("price_str", prices)?,
            size: Number::read("amount_str", text.amount_str)?.unsigned("amount_str", sizes)?,
            aggressor: aggressor.into(),
            id: text.id,
            id_text: String::new(),
        };
        let time = text.microtimestamp.parse::<u64>().ok().and_then(|time| time.checked_mul(NS_PER_US));
        symbol.kept.last_trade = text.id;
        symbol.unnumbered_trade(trade, Times { event: time, receive }, events);
        Ok(Said::Data(Channel::Trade, name.to_owned()))
    }

    /// Takes the instruments whose book began to need a snapshot.
    pub fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        std::mem::take(&mut self.wanted)
    }

    /// Takes the snapshot of a symbol's book. Returns whether the book has what it needs now.
    ///
    /// # Errors
    /// Returns an error when it cannot be read, or there is no such symbol.
    pub fn snapshot(
        &mut self,
        name: &str,
        receive: u64,
        text: &str,
        events: &mut Vec<FeedEvent>,
    ) -> Result<bool, NormalizeError> {
        let symbol = self.instruments.symbol(name)?;
        let (time, levels) = read_book(text, symbol.decimals())?;
        if !symbol.kept.is_wanted {
            // The book broke anew meanwhile: the next change asks again.
            return Ok(true);
        }
        match symbol.kept.join(symbol.book.as_ref(), time, &levels) {
            Joined::Unusable => return Ok(false),
            Joined::Same => {}
            Joined::Other(book) => {
                let time = symbol.kept.last.max(time);
                let times = Times { event: time.checked_mul(NS_PER_US), receive };
                symbol.break_book(times, events);
                let levels = book.levels();
                symbol.snapshot(book, levels, times, events);
            }
        }
        symbol.kept.compared = receive;
        Ok(true)
    }

    /// Takes a change in the supply of a channel of a symbol.
    pub fn supply(
        &mut self,
        name: &str,
        channel: Channel,
        supply: Supply<'_>,
        receive: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        if (supply, channel) == (Supply::Lost, Channel::Book)
            && let Ok(symbol) = self.instruments.symbol(name)
        {
            symbol.kept.lost();
        }
        self.instruments.supply(name, channel, supply, receive, events);
    }
}

fn read_book(text: &str, decimals: (u32, u32)) -> Result<(u64, Levels), NormalizeError> {
    let text: BookText = serde_json::from_str(text)?;
    let time = text.microtimestamp.parse().map_err(|_| NormalizeError::Whole {
        field: "microtimestamp",
        text: text.microtimestamp.chars().take(40).collect(),
    })?;
    Ok((time, levels(&text.bids, &text.asks, decimals)?))
}

fn subscribed(channel: &str) -> Said {
    let names = [(BOOKS, Channel::Book), (TRADES, Channel::Trade)];
    let found = names.into_iter().find_map(|(prefix, kind)| Some((kind, channel.strip_prefix(prefix)?)));
    found.map_or(Said::Nothing, |(kind, name)| Said::Subscribed(kind, name.to_uppercase()))
}

/// Reads the `trading` of an instrument.
pub fn trading_state(words: &str) -> TradingState {
    match words {
        "Enabled" => TradingState::Open,
        "Disabled" => TradingState::Halted,
        _ => TradingState::Unknown,
    }
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
