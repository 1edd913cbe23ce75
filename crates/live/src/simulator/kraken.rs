//! The words of Kraken, version 2 of its WebSocket API.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};
use tickwire_feed::adapter::Levels;
use tickwire_wire::{Channel, Instrument, Level, Quote, Side, Trade};

use super::fault::Fault;
use super::protocol::{Keepalive, Listener, Page, Protocol, Reply, SimLimits, Stream, rfc3339};
use super::symbol::{Symbol, changed};

/// The levels of each side that a checksum is of.
const CHECKED_LEVELS: usize = 10;
/// The levels of a book where a command does not say how many.
const DEPTH: u32 = 10;
const CATALOGUE: &str = "/0/public/AssetPairs";

#[derive(Default)]
pub(super) struct Kraken {
    /// The books as they were said last, by symbol and depth.
    said: BTreeMap<(usize, u32), Levels>,
    /// The books of old snapshots, likewise.
    frozen: BTreeMap<(usize, u32), Levels>,
    /// The symbols whose next change has a wrong checksum.
    spoiled: HashSet<usize>,
}

impl Protocol for Kraken {
    fn limits(&self) -> SimLimits {
        SimLimits { weight: 120, bans_streams: true, ..SimLimits::default() }
    }

    fn keepalive(&mut self, listener: &Listener, _: u64) -> Keepalive {
        if listener.streams.is_empty() {
            return Keepalive::Nothing;
        }
        Keepalive::Text(r#"{"channel":"heartbeat"}"#.to_owned())
    }

    fn has(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::Shutdown | Fault::Ban(418, _))
    }

    fn symbol_name(&self, definition: &Instrument) -> String {
        format!("{}/{}", definition.base, definition.quote)
    }

    fn stream_name(&self, channel: Channel, symbol: &str) -> Option<String> {
        Some(format!("{} {symbol}", word(channel)?))
    }

    fn is_door(&self, path: &str) -> bool {
        path == "/v2"
    }

    fn opened(&self, _: &str, _: &[Symbol]) -> Reply {
        let status = r#"{"channel":"status","type":"update","data":[{"api_version":"v2","connection_id":1,"system":"online","version":"2.0.0"}]}"#;
        Reply { texts: vec![status.to_owned()], ..Reply::default() }
    }

    fn command(
        &mut self,
        text: &str,
        listener: &Listener,
        symbols: &[Symbol],
        refused: &HashSet<Stream>,
    ) -> Reply {
        let mut reply = Reply::default();
        let Ok(command) = serde_json::from_str::<Value>(text) else {
            reply.texts.push(r#"{"error":"Malformed request","success":false}"#.to_owned());
            return reply;
        };
        if command["method"] == "ping" {
            reply.texts.push(json!({ "method": "pong", "req_id": command["req_id"] }).to_string());
            return reply;
        }
        let names = command["params"]["symbol"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in names {
            answer(&command, name, listener, symbols, refused, &mut reply);
        }
        reply
    }

    fn begins_with_snapshot(&self, channel: Channel) -> bool {
        channel == Channel::Book
    }

    /// The snapshot is the book that was said last, so that the next change continues it.
    fn first(&mut self, _: Stream, depth: u32, symbol: &mut Symbol, is_old: bool, _: u64) -> Option<String> {
        let key = (symbol.index, depth);
        let said = self.said.entry(key).or_insert_with(|| {
            let levels = symbol.top(depth as usize);
            symbol.remember_levels(&levels);
            levels
        });
        let levels = self.frozen.get(&key).filter(|_| is_old).unwrap_or(said);
        Some(book("snapshot", symbol, levels, checksum(symbol, levels), ""))
    }

    fn quote(&mut self, symbol: &Symbol, quote: &Quote, now: u64) -> Option<String> {
        let (bid, ask) = (quote.bid?, quote.ask?);
        let price = |level: Level| symbol.price(level.price);
        let size = |level: Level| symbol.size(level.size);
        Some(format!(
            r#"{{"channel":"ticker","type":"update","data":[{{"symbol":"{}","bid":{},"bid_qty":{},"ask":{},"ask_qty":{},"last":{},"volume":1.0,"vwap":1.0,"low":1.0,"high":1.0,"change":0.0,"change_pct":0.0,"timestamp":"{}"}}]}}"#,
            symbol.name,
            price(bid),
            size(bid),
            price(ask),
            size(ask),
            price(bid),
            rfc3339(now),
        ))
    }

    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String {
        let side = if trade.aggressor == i32::from(Side::Sell) { "sell" } else { "buy" };
        format!(
            r#"{{"channel":"trade","type":"update","data":[{{"symbol":"{}","side":"{side}","price":{},"qty":{},"ord_type":"market","trade_id":{},"timestamp":"{}"}}]}}"#,
            symbol.name,
            symbol.price(trade.price),
            symbol.size(trade.size),
            symbol.trade,
            rfc3339(now),
        )
    }

    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)> {
        symbol.forget_changes();
        symbol.remember();
        let depths: Vec<u32> = self
            .said
            .range((symbol.index, 0)..=(symbol.index, u32::MAX))
            .map(|((_, depth), _)| *depth)
            .collect();
        let mut texts = Vec::new();
        let mut is_spoiled = false;
        for depth in depths {
            let levels = symbol.top(depth as usize);
            let before = self.said.insert((symbol.index, depth), levels.clone()).unwrap_or_default();
            if levels == before {
                continue;
            }
            symbol.remember_levels(&levels);
            let changes = Levels {
                bids: changed(&before.bids, &levels.bids, |price| symbol.bids.contains_key(&price)),
                asks: changed(&before.asks, &levels.asks, |price| symbol.asks.contains_key(&price)),
            };
            is_spoiled |= self.spoiled.contains(&symbol.index);
            let checksum = checksum(symbol, &levels) ^ u32::from(is_spoiled);
            let time = format!(r#","timestamp":"{}""#, rfc3339(now));
            texts.push((depth, book("update", symbol, &changes, checksum, &time)));
        }
        if is_spoiled {
            self.spoiled.remove(&symbol.index);
        }
        texts
    }

    fn freeze(&mut self, _: &mut [Symbol]) {
        self.frozen = self.said.clone();
    }

    fn spoil(&mut self, symbols: &[Symbol]) {
        self.spoiled = symbols.iter().map(|symbol| symbol.index).collect();
    }

    fn weight(&self, path: &str, _: &str) -> Option<u32> {
        (path == CATALOGUE).then_some(1)
    }

    fn page(&mut self, _: &str, _: &str, symbols: &mut [Symbol], _: bool, _: u64) -> Page {
        let pair = |symbol: &Symbol| {
            let Instrument { base, quote, price_decimals, size_decimals, .. } = &symbol.definition;
            // The REST service has the old name of one asset.
            let old = |name: &str| if name == "BTC" { "XBT".to_owned() } else { name.to_owned() };
            let (base, quote) = (old(base), old(quote));
            let pair = json!({
                "altname": format!("{base}{quote}"), "wsname": format!("{base}/{quote}"),
                "base": base, "quote": quote, "pair_decimals": price_decimals + symbol.finer, "lot_decimals": size_decimals,
                "tick_size": symbol.tick(), "status": if symbol.is_open { "online" } else { "cancel_only" },
            });
            (format!("{base}{quote}"), pair)
        };
        let listed = symbols.iter().filter(|symbol| symbol.is_listed);
        let pairs: HashMap<_, _> = listed.map(pair).collect();
        Page::Catalogue(json!({ "error": [], "result": pairs }).to_string())
    }

    fn banned(&self) -> &'static str {
        r#"{"error":["EGeneral:Temporary lockout"]}"#
    }
}

/// Makes the message of a book.
fn book(kind: &str, symbol: &Symbol, levels: &Levels, checksum: u32, time: &str) -> String {
    let side = |levels: &[Level]| {
        let level = |level: &Level| {
            format!(r#"{{"price":{},"qty":{}}}"#, symbol.price(level.price), symbol.size(level.size))
        };
        levels.iter().map(level).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"channel":"book","type":"{kind}","data":[{{"symbol":"{}","bids":[{}],"asks":[{}],"checksum":{checksum}{time}}}]}}"#,
        symbol.name,
        side(&levels.bids),
        side(&levels.asks),
    )
}

/// Answers a command for one symbol.
fn answer(
    command: &Value,
    name: &str,
    listener: &Listener,
    symbols: &[Symbol],
    refused: &HashSet<Stream>,
    reply: &mut Reply,
) {
    let (method, id) = (command["method"].as_str().unwrap_or_default(), &command["req_id"]);
    let mut refuse = |error: String| {
        let text = json!({
            "error": error, "method": method, "req_id": id, "success": false, "symbol": name,
            "time_in": "2026-01-01T00:00:00.000000Z", "time_out": "2026-01-01T00:00:00.000001Z",
        });
        reply.texts.push(text.to_string());
    };
    let word = command["params"]["channel"].as_str().unwrap_or_default();
    let Some(channel) = channel(word) else { return refuse(format!("Unsupported channel {word}")) };
    let known = symbols.iter().find(|symbol| symbol.name == name && symbol.is_listed);
    let Some(symbol) = known else { return refuse(format!("Currency pair not supported {name}")) };
    let stream = Stream { channel, symbol: symbol.index };
    if refused.contains(&stream) {
        return refuse(format!("Currency pair not supported {name}"));
    }
    let depth = if channel == Channel::Book {
        command["params"]["depth"].as_u64().map_or(DEPTH, |depth| depth as u32)
    } else {
        0
    };
    let is_subscribed = listener.streams.contains_key(&stream);
    match (method, is_subscribed) {
        ("subscribe", true) => return refuse("Already subscribed".to_owned()),
        ("subscribe", false) => reply.subscribed.push((stream, depth)),
        ("unsubscribe", true) => reply.unsubscribed.push(stream),
        ("unsubscribe", false) => return refuse("Subscription Not Found".to_owned()),
        _ => return refuse(format!("Unsupported method {method}")),
    }
    let text = json!({
        "method": method, "req_id": id, "success": true,
        "result": { "channel": word, "symbol": name, "snapshot": true },
        "time_in": "2026-01-01T00:00:00.000000Z", "time_out": "2026-01-01T00:00:00.000001Z",
    });
    reply.texts.push(text.to_string());
}

/// Returns the checksum of a book: of the digits of price and size of the best levels, asks first.
fn checksum(symbol: &Symbol, levels: &Levels) -> u32 {
    let asks = levels.asks.iter().take(CHECKED_LEVELS);
    let digits: String = asks
        .chain(levels.bids.iter().take(CHECKED_LEVELS))
        .flat_map(|level| [symbol.digits(level.price).to_string(), level.size.to_string()])
        .collect();
    crc32fast::hash(digits.as_bytes())
}

fn word(channel: Channel) -> Option<&'static str> {
    Some(match channel {
        Channel::Quote => "ticker",
        Channel::Trade => "trade",
        Channel::Book => "book",
        _ => return None,
    })
}

fn channel(name: &str) -> Option<Channel> {
    [Channel::Quote, Channel::Trade, Channel::Book].into_iter().find(|channel| word(*channel) == Some(name))
}
