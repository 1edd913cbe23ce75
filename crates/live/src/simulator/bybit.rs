//! The words of Bybit, version 5 of its API.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};
use tickwire_feed::adapter::Levels;
use tickwire_wire::{Channel, Instrument, Level, Quote, Side, Trade};

use super::fault::Fault;
use super::protocol::{Keepalive, Listener, Page, Protocol, Reply, SimLimits, Stream, parameter};
use super::symbol::{Symbol, changed};

const CATALOGUE: &str = "/v5/market/instruments-info";
const DEPTHS: [u32; 4] = [1, 50, 200, 1_000];
/// The topics of one command at spot.
const TOPICS_MAX: usize = 10;
/// The names of trades at spot begin here.
const TRADES_FROM: u64 = 2_290_000_000_000_000_000;

/// A book as it was said last, and the number of that.
#[derive(Clone, Default)]
struct View {
    levels: Levels,
    number: u64,
}

pub(super) struct Bybit {
    is_spot: bool,
    /// The books as they were said last, by symbol and depth.
    said: BTreeMap<(usize, u32), View>,
    /// The books of old snapshots, likewise.
    frozen: BTreeMap<(usize, u32), View>,
    /// The symbols whose service began anew.
    anew: HashSet<usize>,
}

impl Bybit {
    pub(super) fn new(is_spot: bool) -> Self {
        Self { is_spot, said: BTreeMap::new(), frozen: BTreeMap::new(), anew: HashSet::new() }
    }

    fn category(&self) -> &'static str {
        if self.is_spot { "spot" } else { "linear" }
    }

    /// Returns the stream of a topic, and its depth.
    fn stream(&self, topic: &str, symbols: &[Symbol]) -> Option<(Stream, u32)> {
        let (name, symbol) = topic.rsplit_once('.')?;
        let symbol = symbols.iter().find(|known| known.name == symbol && known.is_listed)?.index;
        let (word, depth) = name.split_once('.').unwrap_or((name, "0"));
        let (channel, depth) = (self.channel(word)?, depth.parse().ok()?);
        let is_known = channel != Channel::Book || DEPTHS.contains(&depth);
        is_known.then_some((Stream { channel, symbol }, depth))
    }

    fn channel(&self, word: &str) -> Option<Channel> {
        let all = [Channel::Book, Channel::Trade, Channel::Derivative];
        all.into_iter().find(|channel| self.word(*channel) == Some(word))
    }

    fn word(&self, channel: Channel) -> Option<&'static str> {
        Some(match channel {
            Channel::Book => "orderbook",
            Channel::Trade => "publicTrade",
            Channel::Derivative if !self.is_spot => "tickers",
            _ => return None,
        })
    }
}

fn message(topic: &str, symbol: &Symbol, kind: &str, now: u64, data: &str) -> String {
    format!(r#"{{"topic":"{topic}.{}","type":"{kind}","ts":{now},"data":{data},"cts":{now}}}"#, symbol.name)
}

fn book(kind: &str, symbol: &Symbol, depth: u32, View { levels, number }: &View, now: u64) -> String {
    let side = |levels: &[Level]| {
        let level =
            |level: &Level| format!(r#"["{}","{}"]"#, symbol.price(level.price), symbol.size(level.size));
        levels.iter().map(level).collect::<Vec<_>>().join(",")
    };
    let (bids, asks) = (side(&levels.bids), side(&levels.asks));
    let data = format!(r#"{{"s":"{}","b":[{bids}],"a":[{asks}],"u":{number},"seq":7}}"#, symbol.name);
    message(&format!("orderbook.{depth}"), symbol, kind, now, &data)
}

impl Protocol for Bybit {
    fn limits(&self) -> SimLimits {
        SimLimits { weight: 7_200, bans_streams: true, ..SimLimits::default() }
    }

    /// Clients have to say something each 20 s; the venue says nothing by itself.
    fn keepalive(&mut self, _: &Listener, _: u64) -> Keepalive {
        Keepalive::Nothing
    }

    fn has(&self, fault: &Fault) -> bool {
        !matches!(fault, Fault::Checksum | Fault::Shutdown | Fault::Ban(418, _))
    }

    fn symbol_name(&self, definition: &Instrument) -> String {
        let quote = if definition.quote == "USD" { "USDT" } else { &definition.quote };
        format!("{}{quote}", definition.base)
    }

    fn stream_name(&self, channel: Channel, symbol: &str) -> Option<String> {
        Some(format!("{} {symbol}", self.word(channel)?))
    }

    fn is_door(&self, path: &str) -> bool {
        path.strip_prefix("/v5/public/") == Some(self.category())
    }

    fn opened(&self, _: &str, _: &[Symbol]) -> Reply {
        Reply::default()
    }

    /// A command is granted as a whole, or not at all.
    fn command(&mut self, text: &str, _: &Listener, symbols: &[Symbol], refused: &HashSet<Stream>) -> Reply {
        let command: Value = serde_json::from_str(text).unwrap_or_default();
        let (op, id) =
            (command["op"].as_str().unwrap_or_default(), command["req_id"].as_str().unwrap_or_default());
        let say = |success: bool, words: &str| {
            let text =
                json!({ "success": success, "ret_msg": words, "conn_id": "a", "req_id": id, "op": op });
            Reply { texts: vec![text.to_string()], ..Reply::default() }
        };
        if op == "ping" {
            return say(true, "pong");
        }
        let names: Vec<_> =
            command["args"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let is_new = op == "subscribe";
        if (!is_new && op != "unsubscribe") || names.is_empty() {
            return say(false, "error:bad request");
        }
        if self.is_spot && names.len() > TOPICS_MAX {
            return say(false, "args size >10");
        }
        let mut reply = say(true, "");
        for name in names {
            match self.stream(name, symbols) {
                Some((stream, depth)) if is_new && !refused.contains(&stream) => {
                    reply.subscribed.push((stream, depth));
                }
                Some((stream, _)) if !is_new => reply.unsubscribed.push(stream),
                None if !is_new => {}
                _ => return say(false, &format!("error:handler not found,topic:{name}")),
            }
        }
        reply
    }

    fn begins_with_snapshot(&self, channel: Channel) -> bool {
        matches!(channel, Channel::Book | Channel::Derivative)
    }

    /// The snapshot is the book that was said last, so that the next change continues it.
    fn first(
        &mut self,
        stream: Stream,
        depth: u32,
        symbol: &mut Symbol,
        is_old: bool,
        now: u64,
    ) -> Option<String> {
        if stream.channel == Channel::Derivative {
            let data = ticker(symbol, now)?;
            return Some(message("tickers", symbol, "snapshot", now, &data));
        }
        let key = (symbol.index, depth);
        let view = self.said.entry(key).or_insert_with(|| {
            let levels = symbol.top(depth as usize);
            symbol.remember_levels(&levels);
            View { levels, number: symbol.update }
        });
        let view = self.frozen.get(&key).filter(|_| is_old).unwrap_or(view);
        Some(book("snapshot", symbol, depth, view, now))
    }

    fn quote(&mut self, _: &Symbol, _: &Quote, _: u64) -> Option<String> {
        None
    }

    fn trade(&mut self, symbol: &Symbol, trade: &Trade, now: u64) -> String {
        let side = if trade.aggressor == i32::from(Side::Sell) { "Sell" } else { "Buy" };
        let id = if self.is_spot {
            (TRADES_FROM + symbol.trade).to_string()
        } else {
            format!("20f43950-d8dd-5b31-9112-{:012x}", symbol.trade)
        };
        let data = format!(
            r#"[{{"T":{now},"s":"{}","S":"{side}","v":"{}","p":"{}","i":"{id}","BT":false,"seq":1}}]"#,
            symbol.name,
            symbol.size(trade.size),
            symbol.price(trade.price),
        );
        message("publicTrade", symbol, "snapshot", now, &data)
    }

    /// Where the service began anew, a snapshot with the number 1 says so.
    fn changes(&mut self, symbol: &mut Symbol, now: u64) -> Vec<(u32, String)> {
        symbol.forget_changes();
        symbol.remember();
        let is_anew = self.anew.remove(&symbol.index);
        let mut texts = Vec::new();
        for ((_, depth), view) in self.said.range_mut((symbol.index, 0)..=(symbol.index, u32::MAX)) {
            let levels = symbol.top(*depth as usize);
            if levels == view.levels && !is_anew {
                continue;
            }
            symbol.remember_levels(&levels);
            let before = std::mem::replace(&mut view.levels, levels);
            if is_anew {
                view.number = 1;
                texts.push((*depth, book("snapshot", symbol, *depth, view, now)));
                continue;
            }
            view.number += 1;
            let change = Levels {
                bids: changed(&before.bids, &view.levels.bids, |_| false),
                asks: changed(&before.asks, &view.levels.asks, |_| false),
            };
            let change = View { levels: change, number: view.number };
            texts.push((*depth, book("delta", symbol, *depth, &change, now)));
        }
        texts
    }

    fn mark(&mut self, symbol: &Symbol, now: u64) -> Option<String> {
        if self.is_spot {
            return None;
        }
        let data = ticker(symbol, now)?;
        Some(message("tickers", symbol, "delta", now, &data))
    }

    fn freeze(&mut self, _: &mut [Symbol]) {
        self.frozen = self.said.clone();
    }

    fn renumbered(&mut self) {
        self.frozen.clear();
        self.anew = self.said.keys().map(|(symbol, _)| *symbol).collect();
    }

    fn weight(&self, path: &str, _: &str) -> Option<u32> {
        (path == CATALOGUE).then_some(1)
    }

    fn page(&mut self, _: &str, query: &str, symbols: &mut [Symbol], _: bool, _: u64) -> Page {
        if parameter(query, "category") != Some(self.category()) {
            return Page::Other(
                r#"{"retCode":10001,"retMsg":"params error: Category is invalid","result":{}}"#.to_owned(),
            );
        }
        let step = if self.is_spot { "basePrecision" } else { "qtyStep" };
        let instrument = |symbol: &Symbol| {
            json!({
                "symbol": symbol.name, "baseCoin": symbol.definition.base,
                "quoteCoin": symbol.name.strip_prefix(symbol.definition.base.as_str()),
                "status": if symbol.is_open { "Trading" } else { "Settling" },
                "lotSizeFilter": HashMap::from([(step, symbol.size(1))]),
                "priceFilter": { "tickSize": symbol.tick() },
            })
        };
        let listed: Vec<_> = symbols.iter().filter(|symbol| symbol.is_listed).map(instrument).collect();
        let result = json!({ "category": self.category(), "list": listed, "nextPageCursor": "" });
        Page::Catalogue(json!({ "retCode": 0, "retMsg": "OK", "result": result, "time": 1 }).to_string())
    }

    fn banned(&self) -> &'static str {
        r#"{"retCode":10006,"retMsg":"Too many visits!","result":{}}"#
    }
}

fn ticker(symbol: &Symbol, now: u64) -> Option<String> {
    let (price, _) = symbol.asks.first_key_value()?;
    let price = symbol.price(*price);
    let next = now - now % 28_800_000 + 28_800_000;
    // The rate has the time in it, so that each one is new.
    Some(format!(
        r#"{{"symbol":"{}","markPrice":"{price}","indexPrice":"{price}","fundingRate":"0.{:08}","nextFundingTime":"{next}"}}"#,
        symbol.name,
        now % 100_000_000,
    ))
}
