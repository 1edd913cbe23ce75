//! The words of Bitstamp.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};
use tickwire_wire::{Channel, Instrument, Quote, Side, Trade};

use super::fault::Fault;
use super::protocol::{Keepalive, Listener, Page, Protocol, Reply, SimLimits, Stream};
use super::symbol::Symbol;

const CATALOGUE: &str = "/api/v2/trading-pairs-info/";
const BOOK: &str = "/api/v2/order_book/";

#[derive(Default)]
pub(super) struct Bitstamp {
    /// The time of the last change of each book that was told, by a message or by a page, in microseconds.
    told: HashMap<usize, u64>,
    /// The old books, by the index of their symbol.
    frozen: HashMap<usize, String>,
}

fn message(event: &str, channel: Channel, symbol: &Symbol, data: &str) -> String {
    let word = word(channel).unwrap_or_default();
    let name = symbol.name.to_lowercase();
    format!(r#"{{"data":{data},"channel":"{word}_{name}","event":"{event}"}}"#)
}

fn levels<'l>(symbol: &Symbol, levels: impl Iterator<Item = (&'l i64, &'l u64)>) -> String {
    let level =
        |(price, size): (&i64, &u64)| format!(r#"["{}","{}"]"#, symbol.price(*price), symbol.size(*size));
    levels.map(level).collect::<Vec<_>>().join(",")
}

fn book(time: u64, bids: &str, asks: &str) -> String {
    let seconds = time / 1_000_000;
    format!(r#"{{"timestamp":"{seconds}","microtimestamp":"{time}","bids":[{bids}],"asks":[{asks}]}}"#)
}

impl Bitstamp {
    /// Gives the book as it is now a time, later than that of every other book that was told, and returns it.
    fn stamp(&mut self, symbol: &Symbol, now: u64) -> u64 {
        let told = self.told.entry(symbol.index).or_default();
        *told = (now * 1_000).max(*told + 1);
        *told
    }

    fn snapshot(&self, symbol: &Symbol) -> String {
        let time = self.told.get(&symbol.index).copied().unwrap_or(1);
        book(time, &levels(symbol, symbol.bids.iter().rev()), &levels(symbol, symbol.asks.iter()))
    }
}

impl Protocol for Bitstamp {
    fn limits(&self) -> SimLimits {
        SimLimits { weight: 1_000, bans_streams: true, ..SimLimits::default() }
    }

    /// Clients ask for signs of life; the venue says nothing by itself.
    fn keepalive(&mut self, _: &Listener, _: u64) -> Keepalive {
        Keepalive::Nothing
    }

    fn has(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::Checksum | Fault::Renumber | Fault::Ban(418, _))
    }

    fn symbol_name(&self, definition: &Instrument) -> String {
        format!("{}{}", definition.base, definition.quote)
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

    fn command(&mut self, text: &str, _: &Listener, symbols: &[Symbol], refused: &HashSet<Stream>) -> Reply {
        let command: Value = serde_json::from_str(text).unwrap_or_default();
        let name = command["data"]["channel"].as_str().unwrap_or_default();
        let said = |event: &str, channel: &str, data: Value| Reply {
            texts: vec![json!({ "event": event, "channel": channel, "data": data }).to_string()],
            ..Reply::default()
        };
        let stream = [Channel::Book, Channel::Trade].into_iter().find_map(|channel| {
            let symbol = name.strip_prefix(word(channel)?)?.strip_prefix('_')?.to_uppercase();
            let symbol = symbols.iter().find(|known| known.name == symbol)?;
            Some((Stream { channel, symbol: symbol.index }, symbol.is_listed))
        });
        match (command["event"].as_str(), stream) {
            (Some("bts:heartbeat"), _) => said("bts:heartbeat", "", json!({ "status": "success" })),
            (Some("bts:subscribe"), Some((stream, true))) if !refused.contains(&stream) => {
                Reply { subscribed: vec![(stream, 0)], ..said("bts:subscription_succeeded", name, json!({})) }
            }
            (Some("bts:unsubscribe"), Some((stream, _))) => {
                Reply { unsubscribed: vec![stream], ..said("bts:unsubscription_succeeded", name, json!({})) }
            }
            _ => said("bts:error", "", json!({ "code": null, "message": "Bad subscription string." })),
        }
    }

    fn quote(&mut self, _: &Symbol, _: &Quote, _: u64) -> Option<String> {
        None
    }

    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String {
        let kind = u8::from(trade.aggressor == i32::from(Side::Sell));
        let (price, size) = (symbol.price(trade.price), symbol.size(trade.size));
        let data = format!(
            r#"{{"id":{},"timestamp":"{}","amount":{size},"amount_str":"{size}","price":{price},"price_str":"{price}","type":{kind},"microtimestamp":"{}","buy_order_id":1,"sell_order_id":2}}"#,
            symbol.trade,
            now / 1_000,
            now * 1_000,
        );
        message("trade", Channel::Trade, symbol, &data)
    }

    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)> {
        if !symbol.has_changes() {
            return Vec::new();
        }
        let time = self.stamp(symbol, now);
        let bids = levels(symbol, symbol.changed_bids.iter().rev());
        let data = book(time, &bids, &levels(symbol, symbol.changed_asks.iter()));
        symbol.forget_changes();
        symbol.remember();
        vec![(0, message("data", Channel::Book, symbol, &data))]
    }

    fn freeze(&mut self, symbols: &mut [Symbol]) {
        for symbol in symbols {
            self.frozen.insert(symbol.index, self.snapshot(symbol));
        }
    }

    fn shutdown(&self) -> Option<&'static str> {
        Some(r#"{"event":"bts:request_reconnect","channel":"","data":""}"#)
    }

    fn weight(&self, path: &str, _: &str) -> Option<u32> {
        (path == CATALOGUE || path.starts_with(BOOK)).then_some(1)
    }

    fn page(&mut self, path: &str, _: &str, symbols: &mut [Symbol], is_old: bool, now: u64) -> Page {
        if let Some(name) = path.strip_prefix(BOOK) {
            let name = name.trim_end_matches('/').to_uppercase();
            let Some(symbol) = symbols.iter().find(|symbol| symbol.name == name && symbol.is_listed) else {
                return Page::Wrong(
                    r#"{"status":"error","reason":"Invalid pair","code":"API0012"}"#.to_owned(),
                );
            };
            if let Some(old) = self.frozen.get(&symbol.index).filter(|_| is_old) {
                return Page::Snapshot(old.clone());
            }
            if symbol.has_changes() {
                self.stamp(symbol, now);
            }
            return Page::Snapshot(self.snapshot(symbol));
        }
        let instrument = |symbol: &Symbol| {
            json!({
                "name": format!("{}/{}", symbol.definition.base, symbol.definition.quote),
                "url_symbol": symbol.name.to_lowercase(),
                "base_decimals": symbol.definition.size_decimals,
                "counter_decimals": symbol.definition.price_decimals + symbol.finer,
                "trading": if symbol.is_open { "Enabled" } else { "Disabled" },
            })
        };
        let listed: Vec<_> = symbols.iter().filter(|symbol| symbol.is_listed).map(instrument).collect();
        Page::Catalogue(Value::from(listed).to_string())
    }

    fn banned(&self) -> &'static str {
        r#"{"response_code":"400.002","response_explanation":"Request rejected due to exceeded rate limit"}"#
    }
}

fn word(channel: Channel) -> Option<&'static str> {
    match channel {
        Channel::Book => Some("diff_order_book"),
        Channel::Trade => Some("live_trades"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tickwire_feed::adapter::Levels;
    use tickwire_wire::Level;

    use super::*;

    fn time(text: &str) -> u64 {
        let text: Value = serde_json::from_str(text).unwrap();
        let book = if text["data"].is_null() { &text } else { &text["data"] };
        book["microtimestamp"].as_str().unwrap().parse().unwrap()
    }

    #[test]
    fn two_books_that_differ_have_two_times_whoever_tells_them_first() {
        let definition = Instrument { price_decimals: 2, size_decimals: 8, ..Instrument::default() };
        let mut symbols = [Symbol::new(0, "ABUSD".to_owned(), definition)];
        let mut venue = Bitstamp::default();
        let bid = |size| Levels { bids: vec![Level { price: 1, size }], asks: Vec::new() };
        let page = |venue: &mut Bitstamp, symbols: &mut [Symbol]| match venue.page(
            "/api/v2/order_book/abusd/",
            "",
            symbols,
            false,
            7,
        ) {
            Page::Snapshot(text) => time(&text),
            other => panic!("{other:?}"),
        };
        symbols[0].change(&bid(1));
        let said = time(&venue.changes(&mut symbols[0], 7)[0].1);
        assert_eq!(page(&mut venue, &mut symbols), said, "it is the book of the message");
        symbols[0].change(&bid(2));
        let between = page(&mut venue, &mut symbols);
        symbols[0].change(&bid(3));
        let next = time(&venue.changes(&mut symbols[0], 7)[0].1);
        assert!(said < between && between < next, "{said} {between} {next}");
    }
}
