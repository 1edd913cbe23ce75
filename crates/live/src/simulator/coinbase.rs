//! The words of Coinbase's Advanced Trade API.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};
use tickwire_wire::{Channel, Instrument, Quote, Side, Trade};

use super::fault::Fault;
use super::protocol::{Keepalive, Listener, Page, Protocol, Reply, SimLimits, Stream, rfc3339};
use super::symbol::{Side as Levels, Symbol};

const CATALOGUE: &str = "/api/v3/brokerage/market/products";
/// The text that stands in a message where its number comes.
const NUMBER: &str = "\"#\"";

#[derive(Default)]
pub(super) struct Coinbase {
    heartbeats: u64,
}

/// Makes a message that is to be numbered.
fn message(channel: &str, now: u64, events: &str) -> String {
    let time = rfc3339(now);
    format!(
        r#"{{"channel":"{channel}","client_id":"","timestamp":"{time}","sequence_num":{NUMBER},"events":[{events}]}}"#
    )
}

fn book(kind: &str, symbol: &Symbol, bids: &Levels, asks: &Levels) -> String {
    let level = |side: &str, price: i64, size: u64| {
        format!(
            r#"{{"side":"{side}","event_time":"1970-01-01T00:00:00Z","price_level":"{}","new_quantity":"{}"}}"#,
            symbol.price(price),
            symbol.size(size),
        )
    };
    let bids = bids.iter().rev().map(|(price, size)| level("bid", *price, *size));
    let levels: Vec<_> = bids.chain(asks.iter().map(|(price, size)| level("offer", *price, *size))).collect();
    format!(r#"{{"type":"{kind}","product_id":"{}","updates":[{}]}}"#, symbol.name, levels.join(","))
}

/// Returns the list of what a connection is subscribed to.
fn subscriptions(
    streams: impl Iterator<Item = Stream>,
    hears_heartbeats: bool,
    symbols: &[Symbol],
) -> String {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for stream in streams {
        let channel = word(stream.channel).unwrap_or_default();
        all.entry(channel).or_default().push(symbols[stream.symbol].name.as_str());
    }
    if hears_heartbeats {
        all.insert("heartbeats", vec!["heartbeats"]);
    }
    json!({ "subscriptions": all }).to_string()
}

impl Protocol for Coinbase {
    fn limits(&self) -> SimLimits {
        SimLimits { messages_of_address: Some(8), weight: 600, bans_streams: true, ..SimLimits::default() }
    }

    fn keepalive(&mut self, listener: &Listener, now: u64) -> Keepalive {
        if !listener.hears_heartbeats {
            return Keepalive::Nothing;
        }
        self.heartbeats += 1;
        let counter =
            format!(r#"{{"current_time":"{}","heartbeat_counter":{}}}"#, rfc3339(now), self.heartbeats);
        Keepalive::Text(message("heartbeats", now, &counter))
    }

    /// A snapshot that is old cannot be told from a right one.
    fn has(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::Checksum | Fault::Shutdown | Fault::StaleSnapshots(_) | Fault::Ban(418, _))
    }

    fn symbol_name(&self, definition: &Instrument) -> String {
        format!("{}-{}", definition.base, definition.quote)
    }

    fn stream_name(&self, channel: Channel, symbol: &str) -> Option<String> {
        Some(format!("{} {symbol}", word(channel)?))
    }

    fn is_door(&self, path: &str) -> bool {
        path == "/"
    }

    fn opened(&self, _: &str, _: &[Symbol]) -> Reply {
        Reply::default()
    }

    fn command(
        &mut self,
        text: &str,
        listener: &Listener,
        symbols: &[Symbol],
        refused: &HashSet<Stream>,
    ) -> Reply {
        let refuse = |reason: &str| {
            let text = json!({ "type": "error", "message": reason }).to_string();
            Reply { texts: vec![text], ..Reply::default() }
        };
        let Ok(command) = serde_json::from_str::<Value>(text) else { return refuse("failure to parse") };
        let is_new = command["type"] == "subscribe";
        if !is_new && command["type"] != "unsubscribe" {
            return refuse("unknown type");
        }
        let mut reply = Reply { hears_heartbeats: listener.hears_heartbeats, ..Reply::default() };
        let mut streams: HashSet<Stream> = listener.streams.keys().copied().collect();
        if command["channel"] == "heartbeats" {
            reply.hears_heartbeats = is_new;
        } else {
            let Some(channel) = command["channel"].as_str().and_then(channel) else {
                return refuse("channel is not supported");
            };
            for name in command["product_ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let Some(symbol) = symbols.iter().find(|symbol| symbol.name == name) else {
                    return refuse(&format!("{name} is not a valid product"));
                };
                let stream = Stream { channel, symbol: symbol.index };
                if is_new && (refused.contains(&stream) || !symbol.is_listed) {
                    return refuse(&format!("{name} is not a valid product"));
                }
                if is_new {
                    streams.insert(stream);
                    reply.subscribed.push((stream, 0));
                } else {
                    streams.remove(&stream);
                    reply.unsubscribed.push(stream);
                }
            }
        }
        let all = subscriptions(streams.into_iter(), reply.hears_heartbeats, symbols);
        reply.texts.push(message("subscriptions", 0, &all));
        reply
    }

    fn begins_with_snapshot(&self, channel: Channel) -> bool {
        channel == Channel::Book
    }

    /// The snapshot is the book as it is. Changes that no message said yet are in it, and change nothing when they come.
    fn first(&mut self, _: Stream, _: u32, symbol: &mut Symbol, _: bool, now: u64) -> Option<String> {
        symbol.remember();
        Some(message("l2_data", now, &book("snapshot", symbol, &symbol.bids, &symbol.asks)))
    }

    fn number(&self, listener: &mut Listener, text: &str) -> String {
        if !text.contains(NUMBER) {
            return text.to_owned();
        }
        let number = listener.numbered;
        listener.numbered += 1;
        text.replacen(NUMBER, &number.to_string(), 1)
    }

    fn quote(&mut self, _: &Symbol, _: &Quote, _: u64) -> Option<String> {
        None
    }

    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String {
        // The side is that of the order that was in the book.
        let side = if trade.aggressor == i32::from(Side::Sell) { "BUY" } else { "SELL" };
        let trade = format!(
            r#"{{"trade_id":"{}","product_id":"{}","price":"{}","size":"{}","side":"{side}","time":"{}"}}"#,
            symbol.trade,
            symbol.name,
            symbol.price(trade.price),
            symbol.size(trade.size),
            rfc3339(now),
        );
        message("market_trades", now, &format!(r#"{{"type":"update","trades":[{trade}]}}"#))
    }

    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)> {
        if !symbol.has_changes() {
            return Vec::new();
        }
        let changes = book("update", symbol, &symbol.changed_bids, &symbol.changed_asks);
        symbol.forget_changes();
        symbol.remember();
        vec![(0, message("l2_data", now, &changes))]
    }

    fn freeze(&mut self, _: &mut [Symbol]) {}

    fn weight(&self, path: &str, _: &str) -> Option<u32> {
        (path == CATALOGUE).then_some(1)
    }

    fn page(&mut self, _: &str, _: &str, symbols: &mut [Symbol], _: bool, _: u64) -> Page {
        let product = |symbol: &Symbol| {
            json!({
                "product_id": symbol.name, "product_type": "SPOT", "alias": "",
                "base_currency_id": symbol.definition.base, "quote_currency_id": symbol.definition.quote,
                "base_increment": symbol.size(1), "quote_increment": symbol.tick(), "price_increment": symbol.tick(),
                "status": "online", "cancel_only": !symbol.is_open, "trading_disabled": false, "is_disabled": false,
            })
        };
        let products: Vec<_> = symbols.iter().filter(|symbol| symbol.is_listed).map(product).collect();
        Page::Catalogue(json!({ "num_products": products.len(), "products": products }).to_string())
    }

    fn banned(&self) -> &'static str {
        r#"{"error":"rate_limit_exceeded","message":"too many requests"}"#
    }
}

fn word(channel: Channel) -> Option<&'static str> {
    Some(match channel {
        Channel::Book => "level2",
        Channel::Trade => "market_trades",
        _ => return None,
    })
}

fn channel(name: &str) -> Option<Channel> {
    [Channel::Book, Channel::Trade].into_iter().find(|channel| word(*channel) == Some(name))
}
