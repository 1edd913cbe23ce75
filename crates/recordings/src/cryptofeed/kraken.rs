//! Kraken, version 1 of its WebSocket API (docs.kraken.com, "WebSockets v1"): books with a checksum, trades, tickers.

use rustc_hash::FxHashMap;
use serde_json::Value;
use tickwire_feed::adapter::{Levels, MarketBody};
use tickwire_feed::kraken::TopBook;
use tickwire_wire::{Channel, Level, Side};

use super::lines::time_of;
use super::messages::Messages;
use crate::adapted::what;
use crate::said::{Fixed, FixedLevel, Said, What};
use crate::source::{Entry, Symbol, Symbols};

/// The messages of a connection.
#[derive(Default)]
pub(super) struct Kraken {
    symbols: Symbols<()>,
    books: FxHashMap<u32, Book>,
}

/// A book, in units of the decimals that the venue writes.
struct Book {
    levels: TopBook,
    scale: (u8, u8),
    times: (u64, u64),
}

impl Messages for Kraken {
    fn take(&mut self, time: u64, json: &str, entries: &mut Vec<Entry>) -> Result<(), String> {
        let message: Value =
            serde_json::from_str(json).map_err(|error| format!("the message is no JSON: {error}"))?;
        if let Some(event) = message["event"].as_str() {
            entries.push(Entry::Unused(match event {
                "heartbeat" => "heartbeats",
                "systemStatus" => "messages of the venue's state",
                "subscriptionStatus" => "responses to subscriptions",
                _ => "other messages",
            }));
            return Ok(());
        }
        let all = message.as_array().filter(|all| all.len() >= 4).ok_or("the message is no array of four")?;
        let (channel, pair) = (&all[all.len() - 2], &all[all.len() - 1]);
        let (Some(channel), Some(pair)) = (channel.as_str(), pair.as_str()) else {
            return Err("the message does not end with channel and pair".to_owned());
        };
        let symbol = self.symbols.of_name(pair);
        let parts = &all[1..all.len() - 2];
        match channel.split_once('-').unwrap_or((channel, "")) {
            ("book", depth) => {
                let depth = depth.parse().map_err(|_| format!("`{channel}` says no depth"))?;
                self.book((symbol, depth), time, parts, entries)
            }
            ("trade", _) => trades(symbol, time, &parts[0], entries),
            ("ticker", _) => ticker(symbol, time, &parts[0], entries),
            _ => {
                entries.push(Entry::Unused("messages of other channels"));
                Ok(())
            }
        }
    }

    fn lose(&mut self, entries: &mut Vec<Entry>) {
        let mut books: Vec<_> = self.books.drain().collect();
        books.sort_unstable_by_key(|(symbol, _)| *symbol);
        for (symbol, book) in books {
            entries.push(gap(symbol, book.times));
        }
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }
}

impl Kraken {
    /// Takes a snapshot or a change of a book. A change that does not fit its checksum is a gap.
    fn book(
        &mut self,
        (symbol, depth): (u32, usize),
        time: u64,
        parts: &[Value],
        entries: &mut Vec<Entry>,
    ) -> Result<(), String> {
        let is_snapshot = parts.iter().any(|part| !part["as"].is_null() || !part["bs"].is_null());
        let mut side = Sides { scale: self.books.get(&symbol).map(|book| book.scale), event_time: 0 };
        let mut levels = Levels::default();
        for part in parts {
            for name in ["as", "a"] {
                side.read(&part[name], &mut levels.asks)?;
            }
            for name in ["bs", "b"] {
                side.read(&part[name], &mut levels.bids)?;
            }
        }
        let event_time = if side.event_time == 0 { time } else { side.event_time };
        let scale = side.scale.unwrap_or_default();
        let (receive_time, times) = (time, (time, event_time));
        if is_snapshot {
            let book = TopBook::new(&levels, depth);
            let what = what(MarketBody::BookSnapshot(book.levels()), scale);
            self.books.insert(symbol, Book { levels: book, scale, times });
            entries.push(Entry::Said(Said { symbol, receive_time, event_time, what }));
            return Ok(());
        }
        let Some(book) = self.books.get_mut(&symbol) else {
            entries.push(Entry::Unused("changes of a book before its snapshot"));
            return Ok(());
        };
        let told = book.levels.apply(levels, depth);
        book.times = times;
        let checksum = parts.iter().find_map(|part| part["c"].as_str());
        let Some(checksum) = checksum.map(str::parse) else {
            return Err("the change of a book has no checksum".to_owned());
        };
        if checksum != Ok(book.levels.checksum()) {
            self.books.remove(&symbol);
            entries.push(gap(symbol, times));
            entries.push(Entry::Unused("changes that do not fit their checksum"));
            return Ok(());
        }
        let what = what(MarketBody::BookDelta(told), scale);
        entries.push(Entry::Said(Said { symbol, receive_time, event_time, what }));
        Ok(())
    }
}

/// Reads the levels of a book.
struct Sides {
    /// The decimals of prices and sizes, as the first level has them: the checksum is of the digits as they are written.
    scale: Option<(u8, u8)>,
    event_time: u64,
}

impl Sides {
    fn read(&mut self, levels: &Value, into: &mut Vec<Level>) -> Result<(), String> {
        for level in levels.as_array().into_iter().flatten() {
            let (price, size) = (digits(&level[0])?, digits(&level[1])?);
            let scale = (price.decimals, size.decimals);
            if *self.scale.get_or_insert(scale) != scale {
                return Err(format!("the level {level} has other decimals than those before it"));
            }
            let time = level[2]
                .as_str()
                .and_then(time_of)
                .ok_or_else(|| format!("the level {level} has no time"))?;
            self.event_time = self.event_time.max(time);
            into.push(Level { price: price.mantissa, size: size.mantissa as u64 });
        }
        Ok(())
    }
}

/// Reads a number that is not below zero with the decimals that it is written with.
fn digits(value: &Value) -> Result<Fixed, String> {
    let wrong = || format!("{value} is no decimal number");
    let text = value.as_str().ok_or_else(wrong)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let decimals = u8::try_from(fraction.len()).ok().filter(|decimals| *decimals <= 18).ok_or_else(wrong)?;
    let all = [whole, fraction].concat();
    let is_number = !all.is_empty() && all.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = if is_number { all.parse().ok() } else { None };
    Ok(Fixed::new(mantissa.ok_or_else(wrong)?, decimals))
}

fn text<'a>(value: &'a Value, of: &Value) -> Result<&'a str, String> {
    value.as_str().ok_or_else(|| format!("{of} has no text where one must be"))
}

fn number(value: &Value, of: &Value) -> Result<Fixed, String> {
    Fixed::parse(text(value, of)?).map_err(|error| error.to_string())
}

fn trades(symbol: u32, receive_time: u64, trades: &Value, entries: &mut Vec<Entry>) -> Result<(), String> {
    for trade in trades.as_array().ok_or("the trades are no array")? {
        let event_time = time_of(text(&trade[2], trade)?).ok_or_else(|| format!("{trade} has no time"))?;
        let what = What::Trade {
            price: number(&trade[0], trade)?,
            size: number(&trade[1], trade)?,
            aggressor: match trade[3].as_str() {
                Some("b") => Side::Buy,
                Some("s") => Side::Sell,
                _ => Side::Unknown,
            },
            id: 0,
            id_text: String::new(),
        };
        entries.push(Entry::Said(Said { symbol, receive_time, event_time, what }));
    }
    Ok(())
}

/// Says the best bid and offer of a ticker, which has no time of its own.
fn ticker(symbol: u32, time: u64, ticker: &Value, entries: &mut Vec<Entry>) -> Result<(), String> {
    let level = |side: &Value| -> Result<FixedLevel, String> {
        Ok(FixedLevel { price: number(&side[0], ticker)?, size: number(&side[2], ticker)? })
    };
    let what = What::Quote { bid: Some(level(&ticker["b"])?), ask: Some(level(&ticker["a"])?) };
    entries.push(Entry::Said(Said { symbol, receive_time: time, event_time: time, what }));
    Ok(())
}

fn gap(symbol: u32, (receive_time, event_time): (u64, u64)) -> Entry {
    let what = What::Gap { channel: Channel::Book, count: None };
    Entry::Said(Said { symbol, receive_time, event_time, what })
}
