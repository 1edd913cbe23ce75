//! The words of OKX, version 5 of its API.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tickwire_feed::adapter::Levels;
use tickwire_wire::{Channel, Instrument, Level, Quote, Side, Trade};

use super::fault::Fault;
use super::protocol::{Keepalive, Listener, Page, Protocol, Reply, SimLimits, Stream};
use super::symbol::Symbol;

const CATALOGUE: &str = "/api/v5/public/instruments";

#[derive(Default)]
pub(super) struct Okx {
    /// The number of the last change of each book that was said: the next one names it, whatever its own is.
    said: HashMap<usize, u64>,
    /// The old books and their numbers, by the index of their symbol.
    frozen: HashMap<usize, (Levels, u64)>,
}

fn message(channel: &str, action: &str, symbol: &Symbol, data: &str) -> String {
    let action = if action.is_empty() { String::new() } else { format!(r#""action":"{action}","#) };
    format!(r#"{{"arg":{{"channel":"{channel}","instId":"{}"}},{action}"data":[{data}]}}"#, symbol.name)
}

fn levels<'l>(symbol: &Symbol, levels: impl Iterator<Item = (&'l i64, &'l u64)>) -> String {
    let level = |(price, size): (&i64, &u64)| {
        format!(r#"["{}","{}","0","1"]"#, symbol.price(*price), symbol.size(*size))
    };
    levels.map(level).collect::<Vec<_>>().join(",")
}

fn snapshot(symbol: &Symbol, book: &Levels, number: u64, now: u64) -> String {
    let side = |side: &[Level]| {
        let sides: Vec<_> = side.iter().map(|level| (level.price, level.size)).collect();
        levels(symbol, sides.iter().map(|(price, size)| (price, size)))
    };
    let data = format!(
        r#"{{"asks":[{}],"bids":[{}],"ts":"{now}","checksum":0,"prevSeqId":-1,"seqId":{number}}}"#,
        side(&book.asks),
        side(&book.bids),
    );
    message("books", "snapshot", symbol, &data)
}

impl Okx {
    fn last(&self, symbol: &Symbol) -> u64 {
        self.said.get(&symbol.index).copied().unwrap_or(symbol.previous_update)
    }
}

impl Protocol for Okx {
    fn limits(&self) -> SimLimits {
        SimLimits { commands: Some(480), weight: 120, bans_streams: true, ..SimLimits::default() }
    }

    /// Clients have to say something each 30 s; the venue says nothing by itself.
    fn keepalive(&mut self, _: &Listener, _: u64) -> Keepalive {
        Keepalive::Nothing
    }

    fn has(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::Checksum | Fault::Ban(418, _))
    }

    fn symbol_name(&self, definition: &Instrument) -> String {
        let quote = if definition.quote == "USD" { "USDT" } else { &definition.quote };
        format!("{}-{quote}", definition.base)
    }

    fn stream_name(&self, channel: Channel, symbol: &str) -> Option<String> {
        Some(format!("{} {symbol}", word(channel)?))
    }

    fn is_door(&self, path: &str) -> bool {
        path == "/ws/v5/public"
    }

    fn opened(&self, _: &str, _: &[Symbol]) -> Reply {
        Reply::default()
    }

    fn command(&mut self, text: &str, _: &Listener, symbols: &[Symbol], refused: &HashSet<Stream>) -> Reply {
        let mut reply = Reply::default();
        if text == "ping" {
            reply.texts.push("pong".to_owned());
            return reply;
        }
        let command: Value = serde_json::from_str(text).unwrap_or_default();
        let id = &command["id"];
        let error = |code: &str, msg: String| {
            json!({ "id": id, "event": "error", "code": code, "msg": msg, "connId": "a" }).to_string()
        };
        let is_new = command["op"] == "subscribe";
        if !is_new && command["op"] != "unsubscribe" {
            reply.texts.push(error("60012", format!("Illegal request: {text}")));
            return reply;
        }
        for arg in command["args"].as_array().into_iter().flatten() {
            let (word, name) = (arg["channel"].as_str().unwrap_or_default(), arg["instId"].as_str());
            let symbol = symbols.iter().find(|symbol| Some(symbol.name.as_str()) == name);
            let stream = channel(word).zip(symbol).map(|(channel, symbol)| {
                let is_there = symbol.is_listed || !is_new;
                (Stream { channel, symbol: symbol.index }, is_there)
            });
            match stream.filter(|(stream, is_there)| *is_there && !(is_new && refused.contains(stream))) {
                Some((stream, _)) => {
                    let said = json!({ "id": id, "event": command["op"], "arg": arg, "connId": "a" });
                    reply.texts.push(said.to_string());
                    if is_new {
                        reply.subscribed.push((stream, 0));
                    } else {
                        reply.unsubscribed.push(stream);
                    }
                }
                None => {
                    let name = name.unwrap_or_default();
                    let msg = format!("Wrong URL or channel:{word},instId:{name} doesn't exist.");
                    reply.texts.push(error("60018", msg));
                }
            }
        }
        reply
    }

    fn begins_with_snapshot(&self, channel: Channel) -> bool {
        channel == Channel::Book
    }

    /// The snapshot is the book as it is, with the number of the last change that was said: the next one continues it, and what
    /// is in both changes nothing.
    fn first(&mut self, _: Stream, _: u32, symbol: &mut Symbol, is_old: bool, now: u64) -> Option<String> {
        if let Some((book, number)) = self.frozen.get(&symbol.index).filter(|_| is_old) {
            return Some(snapshot(symbol, book, *number, now));
        }
        symbol.remember();
        Some(snapshot(symbol, &symbol.book(), self.last(symbol), now))
    }

    fn quote(&mut self, symbol: &Symbol, quote: &Quote, now: u64) -> Option<String> {
        let side = |level: Option<Level>| {
            let level = level.map(|level| (level.price, level.size));
            levels(symbol, level.iter().map(|(price, size)| (price, size)))
        };
        let (asks, bids, number) = (side(quote.ask), side(quote.bid), symbol.update);
        let data = format!(r#"{{"asks":[{asks}],"bids":[{bids}],"ts":"{now}","seqId":{number}}}"#);
        Some(message("bbo-tbt", "", symbol, &data))
    }

    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String {
        let side = if trade.aggressor == i32::from(Side::Sell) { "sell" } else { "buy" };
        let data = format!(
            r#"{{"instId":"{}","tradeId":"{}","px":"{}","sz":"{}","side":"{side}","ts":"{now}","count":"1"}}"#,
            symbol.name,
            symbol.trade,
            symbol.price(trade.price),
            symbol.size(trade.size),
        );
        message("trades", "", symbol, &data)
    }

    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)> {
        if !symbol.has_changes() {
            return Vec::new();
        }
        let data = format!(
            r#"{{"asks":[{}],"bids":[{}],"ts":"{now}","checksum":0,"prevSeqId":{},"seqId":{}}}"#,
            levels(symbol, symbol.changed_asks.iter()),
            levels(symbol, symbol.changed_bids.iter().rev()),
            self.last(symbol),
            symbol.update,
        );
        self.said.insert(symbol.index, symbol.update);
        symbol.previous_update = symbol.update;
        symbol.forget_changes();
        symbol.remember();
        vec![(0, message("books", "update", symbol, &data))]
    }

    fn freeze(&mut self, symbols: &mut [Symbol]) {
        for symbol in symbols {
            symbol.remember();
            self.frozen.insert(symbol.index, (symbol.book(), self.last(symbol)));
        }
    }

    fn renumbered(&mut self) {
        self.frozen.clear();
    }

    fn shutdown(&self) -> Option<&'static str> {
        Some(
            r#"{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade.","connId":"a"}"#,
        )
    }

    fn weight(&self, path: &str, _: &str) -> Option<u32> {
        (path == CATALOGUE).then_some(1)
    }

    fn page(&mut self, _: &str, _: &str, symbols: &mut [Symbol], _: bool, _: u64) -> Page {
        let instrument = |symbol: &Symbol| {
            let quote = symbol.name.split_once('-').map(|(_, quote)| quote);
            json!({
                "instId": symbol.name, "instType": "SPOT", "baseCcy": symbol.definition.base, "quoteCcy": quote,
                "tickSz": symbol.tick(), "lotSz": symbol.size(1), "minSz": symbol.size(1),
                "state": if symbol.is_open { "live" } else { "suspend" },
            })
        };
        let listed: Vec<_> = symbols.iter().filter(|symbol| symbol.is_listed).map(instrument).collect();
        Page::Catalogue(json!({ "code": "0", "msg": "", "data": listed }).to_string())
    }

    fn banned(&self) -> &'static str {
        r#"{"code":"50011","msg":"Too Many Requests","data":[]}"#
    }
}

fn word(channel: Channel) -> Option<&'static str> {
    Some(match channel {
        Channel::Quote => "bbo-tbt",
        Channel::Book => "books",
        Channel::Trade => "trades",
        _ => return None,
    })
}

fn channel(name: &str) -> Option<Channel> {
    [Channel::Quote, Channel::Book, Channel::Trade].into_iter().find(|channel| word(*channel) == Some(name))
}
