//! The words of Binance, at spot and at the USD-M futures.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use tickwire_feed::binance::Market;
use tickwire_wire::{Channel, Instrument, Level, Quote, Side, Trade};

use super::fault::Fault;
use super::protocol::{
    Keepalive, Listener, Page, Protocol, Reply, Said, SimLimits, Stream, parameter, stream_of,
};
use super::symbol::Symbol;

/// The decimals that spot writes always.
const SPOT_DECIMALS: usize = 8;
/// The levels of a snapshot where a request does not say how many.
const LEVELS: usize = 500;
/// The levels of a snapshot that the futures take.
const FUTURES_LEVELS: [usize; 7] = [5, 10, 20, 50, 100, 500, 1_000];
const CHANNELS: [Channel; 4] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Derivative];

pub(super) struct Binance {
    market: Market,
    /// The old snapshots, by the index of their symbol.
    frozen: HashMap<usize, String>,
}

impl Binance {
    pub(super) fn new(market: Market) -> Self {
        Self { market, frozen: HashMap::new() }
    }

    fn is_spot(&self) -> bool {
        self.market == Market::Spot
    }

    /// Returns the name of a page of the REST service.
    fn page_name<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(if self.is_spot() { "/api/v3/" } else { "/fapi/v1/" })
    }

    fn snapshot(&self, symbol: &Symbol, levels: usize) -> String {
        // Changes that no message said yet are in it: it ends in the middle of the next message.
        let has_more = symbol.update >= symbol.first_update;
        let update = if has_more { symbol.update } else { symbol.previous_update };
        let bids = self.levels(symbol, symbol.bids.iter().rev().take(levels));
        let asks = self.levels(symbol, symbol.asks.iter().take(levels));
        format!(r#"{{"lastUpdateId":{update},"bids":{bids},"asks":{asks}}}"#)
    }

    fn levels<'l>(&self, symbol: &Symbol, levels: impl Iterator<Item = (&'l i64, &'l u64)>) -> String {
        let mut text = "[".to_owned();
        for (at, (price, size)) in levels.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (price, size) = (self.pad(symbol.price(*price)), self.pad(symbol.size(*size)));
            let _ = write!(text, r#"{comma}["{price}","{size}"]"#);
        }
        text + "]"
    }

    /// Fills a number up to eight decimals, which spot writes always.
    fn pad(&self, mut text: String) -> String {
        if self.is_spot() {
            let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            if decimals == 0 {
                text.push('.');
            }
            text.extend(std::iter::repeat_n('0', SPOT_DECIMALS.saturating_sub(decimals)));
        }
        text
    }
}

impl Protocol for Binance {
    fn limits(&self) -> SimLimits {
        let (messages, weight) = if self.is_spot() { (5, 6_000) } else { (10, 2_400) };
        SimLimits { messages: Some(messages), weight, ..SimLimits::default() }
    }

    fn keepalive(&mut self, _: &Listener, _: u64) -> Keepalive {
        Keepalive::Ping(b"1700000000000")
    }

    fn has(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::Checksum)
    }

    fn symbol_name(&self, definition: &Instrument) -> String {
        let quote = if definition.quote == "USD" { "USDT" } else { &definition.quote };
        format!("{}{quote}", definition.base)
    }

    fn stream_name(&self, channel: Channel, symbol: &str) -> Option<String> {
        let kind = match channel {
            Channel::Quote => "bookTicker",
            Channel::Book => "depth@100ms",
            Channel::Trade if self.is_spot() => "trade",
            Channel::Trade => "aggTrade",
            Channel::Derivative if !self.is_spot() => "markPrice@1s",
            _ => return None,
        };
        Some(format!("{}@{kind}", symbol.to_lowercase()))
    }

    fn is_door(&self, path: &str) -> bool {
        let roots: &[&str] = if self.is_spot() { &[""] } else { &["", "/public", "/market"] };
        let behind =
            |root: &&str| path.strip_prefix(*root).is_some_and(|end| matches!(end, "/stream" | "/ws"));
        roots.iter().any(behind)
    }

    /// The futures have two roots, and the old one brings what the public one does.
    fn is_served(&self, listener: &Listener, stream: Stream) -> bool {
        let is_of_market = matches!(stream.channel, Channel::Trade | Channel::Derivative);
        self.is_spot() || is_of_market == listener.path.starts_with("/market/")
    }

    fn opened(&self, query: &str, symbols: &[Symbol]) -> Reply {
        let names = parameter(query, "streams").into_iter().flat_map(|names| names.split('/'));
        let streams = names.filter_map(|name| stream_of(self, &CHANNELS, name, symbols));
        Reply { subscribed: streams.map(|stream| (stream, 0)).collect(), ..Reply::default() }
    }

    fn command(&mut self, text: &str, _: &Listener, symbols: &[Symbol], refused: &HashSet<Stream>) -> Reply {
        let say = |text: String| Reply { texts: vec![text], ..Reply::default() };
        let Ok(command) = serde_json::from_str::<serde_json::Value>(text) else {
            return say(r#"{"error":{"code":3,"msg":"Invalid JSON"}}"#.to_owned());
        };
        let id = &command["id"];
        let refuse =
            |msg: &str| say(serde_json::json!({ "error": { "code": 2, "msg": msg }, "id": id }).to_string());
        let Some(params) = command["params"].as_array() else {
            return refuse("Invalid request: params is no list");
        };
        // Names that are none are granted, too.
        let names = params.iter().filter_map(|name| name.as_str());
        let streams: Vec<_> =
            names.filter_map(|name| Some((name, stream_of(self, &CHANNELS, name, symbols)?))).collect();
        if let Some((name, _)) = streams.iter().find(|(_, stream)| refused.contains(stream)) {
            return refuse(&format!("Invalid request: {name} is refused"));
        }
        let mut reply = say(serde_json::json!({ "result": null, "id": id }).to_string());
        match command["method"].as_str() {
            Some("SUBSCRIBE") => reply.subscribed = streams.iter().map(|(_, stream)| (*stream, 0)).collect(),
            Some("UNSUBSCRIBE") => reply.unsubscribed = streams.iter().map(|(_, stream)| *stream).collect(),
            _ => return refuse("Invalid request: unknown method"),
        }
        reply
    }

    fn frame(&self, listener: &mut Listener, said: &Said, symbol: &Symbol) -> String {
        if !listener.path.ends_with("/stream") {
            return said.data.clone();
        }
        let name = self.stream_name(said.stream.channel, &symbol.name).unwrap_or_default();
        format!(r#"{{"stream":"{name}","data":{}}}"#, said.data)
    }

    fn quote(&mut self, symbol: &Symbol, quote: &Quote, now: u64) -> Option<String> {
        let side = |level: Option<Level>| {
            let Level { price, size } = level.unwrap_or(Level { price: 0, size: 0 });
            (self.pad(symbol.price(price)), self.pad(symbol.size(size)))
        };
        let ((bid, bid_size), (ask, ask_size)) = (side(quote.bid), side(quote.ask));
        let of_futures =
            if self.is_spot() { String::new() } else { format!(r#""e":"bookTicker","T":{now},"E":{now},"#) };
        Some(format!(
            r#"{{{of_futures}"u":{},"s":"{}","b":"{bid}","B":"{bid_size}","a":"{ask}","A":"{ask_size}"}}"#,
            symbol.update, symbol.name
        ))
    }

    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String {
        let (name, id) = (&symbol.name, symbol.trade);
        let (price, size) = (self.pad(symbol.price(trade.price)), self.pad(symbol.size(trade.size)));
        let is_buyer_maker = trade.aggressor == i32::from(Side::Sell);
        if self.is_spot() {
            return format!(
                r#"{{"e":"trade","E":{now},"s":"{name}","t":{id},"p":"{price}","q":"{size}","T":{now},"m":{is_buyer_maker},"M":true}}"#
            );
        }
        format!(
            r#"{{"e":"aggTrade","E":{now},"s":"{name}","a":{id},"p":"{price}","q":"{size}","f":{id},"l":{id},"T":{now},"m":{is_buyer_maker}}}"#
        )
    }

    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)> {
        if symbol.update < symbol.first_update {
            return Vec::new();
        }
        let (first, last, previous) = (symbol.first_update, symbol.update, symbol.previous_update);
        let of_futures =
            if self.is_spot() { String::new() } else { format!(r#""T":{now},"pu":{previous},"#) };
        let bids = self.levels(symbol, symbol.changed_bids.iter().rev());
        let asks = self.levels(symbol, symbol.changed_asks.iter());
        let data = format!(
            r#"{{"e":"depthUpdate","E":{now},"s":"{}","U":{first},"u":{last},{of_futures}"b":{bids},"a":{asks}}}"#,
            symbol.name
        );
        symbol.forget_changes();
        symbol.previous_update = last;
        if !self.is_spot() {
            // The futures number all symbols in one sequence, so the ids of one symbol have holes.
            symbol.update += 1 + now % 50;
        }
        symbol.first_update = symbol.update + 1;
        symbol.remember();
        vec![(0, data)]
    }

    fn mark(&mut self, symbol: &Symbol, now: u64) -> Option<String> {
        if self.is_spot() {
            return None;
        }
        let (price, _) = symbol.asks.first_key_value()?;
        let price = symbol.price(*price);
        let next = now - now % 28_800_000 + 28_800_000;
        Some(format!(
            r#"{{"e":"markPriceUpdate","E":{now},"s":"{}","p":"{price}","i":"{price}","r":"0.00010000","T":{next}}}"#,
            symbol.name
        ))
    }

    fn freeze(&mut self, symbols: &mut [Symbol]) {
        for symbol in symbols {
            symbol.remember();
            self.frozen.insert(symbol.index, self.snapshot(symbol, usize::MAX));
        }
    }

    fn renumbered(&mut self) {
        self.frozen.clear();
    }

    fn shutdown(&self) -> Option<&'static str> {
        Some(r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#)
    }

    fn weight(&self, path: &str, query: &str) -> Option<u32> {
        let levels = levels(query);
        Some(match (self.page_name(path)?, self.market) {
            ("depth", Market::Spot) if levels > 1_000 => 250,
            ("depth", Market::Spot) if levels > 500 => 50,
            ("depth", Market::Spot) => 25,
            ("exchangeInfo", Market::Spot) | ("depth", _) => 20,
            _ => 1,
        })
    }

    fn page(&mut self, path: &str, query: &str, symbols: &mut [Symbol], is_old: bool, now: u64) -> Page {
        match self.page_name(path) {
            Some("ping") => Page::Other("{}".to_owned()),
            Some("time") => Page::Other(format!(r#"{{"serverTime":{now}}}"#)),
            Some("exchangeInfo") => Page::Catalogue(catalogue(symbols, now)),
            Some("depth") => {
                let name = parameter(query, "symbol").unwrap_or_default();
                if !self.is_spot() && !FUTURES_LEVELS.contains(&levels(query)) {
                    return Page::Wrong(r#"{"code":-4021,"msg":"Invalid depth limit."}"#.to_owned());
                }
                let Some(symbol) = symbols.iter_mut().find(|symbol| symbol.name == name && symbol.is_listed)
                else {
                    return Page::Wrong(r#"{"code":-1121,"msg":"Invalid symbol."}"#.to_owned());
                };
                if let Some(old) = self.frozen.get(&symbol.index).filter(|_| is_old) {
                    return Page::Snapshot(old.clone());
                }
                symbol.remember();
                Page::Snapshot(self.snapshot(symbol, levels(query)))
            }
            _ => Page::Wrong(r#"{"code":-1000,"msg":"there is no such page"}"#.to_owned()),
        }
    }

    fn banned(&self) -> &'static str {
        r#"{"code":-1003,"msg":"Way too much request weight used; IP banned."}"#
    }

    fn weight_header(&self) -> Option<&'static str> {
        Some("x-mbx-used-weight-1m")
    }
}

fn levels(query: &str) -> usize {
    parameter(query, "limit").and_then(|limit| limit.parse().ok()).unwrap_or(LEVELS)
}

fn catalogue(symbols: &[Symbol], now: u64) -> String {
    let symbols: Vec<_> = symbols
        .iter()
        .filter(|symbol| symbol.is_listed)
        .map(|symbol| {
            serde_json::json!({
                "symbol": symbol.name,
                "status": if symbol.is_open { "TRADING" } else { "BREAK" },
                "baseAsset": symbol.definition.base,
                "quoteAsset": symbol.name.strip_prefix(symbol.definition.base.as_str()),
                "filters": [
                    { "filterType": "PRICE_FILTER", "tickSize": symbol.tick() },
                    { "filterType": "LOT_SIZE", "stepSize": symbol.size(1) },
                ],
            })
        })
        .collect();
    serde_json::json!({ "timezone": "UTC", "serverTime": now, "rateLimits": [], "symbols": symbols })
        .to_string()
}
