//! Coinbase Exchange (docs.cdp.coinbase.com/exchange, "WebSocket channels"): `level2`, `matches`, `ticker`.
//!
//! Books have neither sequence nor checksum: a change that is missing is not noticed. Trades are numbered for each product.

use rustc_hash::FxHashMap;
use serde_json::Value;
use tickwire_wire::{Channel, Side};

use super::messages::Messages;
use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};
use crate::source::{Entry, Symbol, Symbols};

/// The messages of a connection.
#[derive(Default)]
pub(super) struct Coinbase {
    symbols: Symbols<()>,
    products: FxHashMap<u32, Product>,
}

/// The state of a product.
#[derive(Default)]
struct Product {
    /// Whether all levels of the book came.
    is_whole: bool,
    /// The number of the last trade.
    trade: Option<u64>,
    times: (u64, u64),
}

impl Messages for Coinbase {
    fn take(&mut self, time: u64, json: &str, entries: &mut Vec<Entry>) -> Result<(), String> {
        let message: Value =
            serde_json::from_str(json).map_err(|error| format!("the message is no JSON: {error}"))?;
        let kind = message["type"].as_str().ok_or("the message has no type")?;
        let unused = match kind {
            "snapshot" | "l2update" | "match" | "last_match" | "ticker" => None,
            "subscriptions" => Some("responses to subscriptions"),
            "heartbeat" => Some("heartbeats"),
            "error" => return Err(format!("the venue says: {message}")),
            _ => Some("other messages"),
        };
        if let Some(unused) = unused {
            entries.push(Entry::Unused(unused));
            return Ok(());
        }
        let name = message["product_id"].as_str().ok_or("the message has no product")?;
        let symbol = self.symbols.of_name(name);
        let product = self.products.entry(symbol).or_default();
        let event_time = match message["time"].as_str() {
            Some(text) => rfc3339(text).ok_or_else(|| format!("`{text}` is no time"))?,
            None => time,
        };
        product.times = (time, event_time);
        let what = match kind {
            "snapshot" => {
                product.is_whole = true;
                What::Book(FixedLevels { bids: levels(&message["bids"])?, asks: levels(&message["asks"])? })
            }
            "l2update" if !product.is_whole => {
                entries.push(Entry::Unused("changes of a book before its snapshot"));
                return Ok(());
            }
            "l2update" => What::Change(changes(&message["changes"])?),
            "ticker" => match quote(&message)? {
                Some(quote) => quote,
                None => {
                    entries.push(Entry::Unused("tickers without sizes"));
                    return Ok(());
                }
            },
            _ => {
                let id = message["trade_id"].as_u64().ok_or("the trade has no number")?;
                let before = product.trade;
                if before.is_some_and(|before| id <= before) {
                    entries.push(Entry::Unused("repeated trades"));
                    return Ok(());
                }
                product.trade = Some(id);
                if kind == "last_match" {
                    entries.push(Entry::Unused("trades before the recording"));
                    return Ok(());
                }
                if let Some(missing) = before.map(|before| id - before - 1).filter(|missing| *missing > 0) {
                    let what = What::Gap { channel: Channel::Trade, count: Some(missing) };
                    entries.push(Entry::Said(Said { symbol, receive_time: time, event_time, what }));
                }
                trade(&message, id)?
            }
        };
        entries.push(Entry::Said(Said { symbol, receive_time: time, event_time, what }));
        Ok(())
    }

    fn lose(&mut self, entries: &mut Vec<Entry>) {
        let mut broken: Vec<_> = self.products.iter_mut().filter(|(_, product)| product.is_whole).collect();
        broken.sort_unstable_by_key(|(symbol, _)| **symbol);
        for (symbol, product) in broken {
            product.is_whole = false;
            let (receive_time, event_time) = product.times;
            let what = What::Gap { channel: Channel::Book, count: None };
            entries.push(Entry::Said(Said { symbol: *symbol, receive_time, event_time, what }));
        }
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }
}

fn rfc3339(text: &str) -> Option<u64> {
    let time = humantime::parse_rfc3339(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    u64::try_from(time.as_nanos()).ok()
}

fn number(value: &Value) -> Result<Fixed, String> {
    let text = value.as_str().ok_or_else(|| format!("{value} is no decimal number"))?;
    Fixed::parse(text).map_err(|error| error.to_string())
}

fn levels(levels: &Value) -> Result<Vec<FixedLevel>, String> {
    let level = |level: &Value| Ok(FixedLevel { price: number(&level[0])?, size: number(&level[1])? });
    levels.as_array().ok_or("the levels are no array")?.iter().map(level).collect()
}

fn changes(changes: &Value) -> Result<FixedLevels, String> {
    let mut levels = FixedLevels::default();
    for change in changes.as_array().ok_or("the changes are no array")? {
        let level = FixedLevel { price: number(&change[1])?, size: number(&change[2])? };
        match change[0].as_str() {
            Some("buy") => levels.bids.push(level),
            Some("sell") => levels.asks.push(level),
            _ => return Err(format!("{change} has no side")),
        }
    }
    Ok(levels)
}

fn quote(message: &Value) -> Result<Option<What>, String> {
    let level = |price: &str, size: &str| -> Result<Option<FixedLevel>, String> {
        let (price, size) = (&message[price], &message[size]);
        if price.is_null() || size.is_null() {
            return Ok(None);
        }
        Ok(Some(FixedLevel { price: number(price)?, size: number(size)? }))
    };
    let (bid, ask) = (level("best_bid", "best_bid_size")?, level("best_ask", "best_ask_size")?);
    Ok((bid.is_some() || ask.is_some()).then_some(What::Quote { bid, ask }))
}

/// Returns a trade: its side is that of the order that rested, so the other one took liquidity.
fn trade(message: &Value, id: u64) -> Result<What, String> {
    Ok(What::Trade {
        price: number(&message["price"])?,
        size: number(&message["size"])?,
        aggressor: match message["side"].as_str() {
            Some("buy") => Side::Sell,
            Some("sell") => Side::Buy,
            _ => Side::Unknown,
        },
        id,
        id_text: String::new(),
    })
}
