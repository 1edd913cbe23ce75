//! One symbol of a simulated exchange: its book, and the messages about it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};

use tickwire_feed::adapter::{Levels, MarketBody};
use tickwire_feed::binance::Market;
use tickwire_wire::decimal::{write, write_unsigned};
use tickwire_wire::{Instrument, Level, Quote, Side, Trade, TradingState};

/// The decimals that spot writes always.
const SPOT_DECIMALS: usize = 8;
/// The states of a book that are known to have been true.
const TRUTHS_MAX: usize = 200_000;

/// A message of a stream.
pub(super) type Said = (String, String);

pub(super) struct Symbol {
    pub(super) name: String,
    definition: Instrument,
    pub(super) is_listed: bool,
    status: &'static str,
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
    /// The last update id.
    update: u64,
    /// The first update id that no message said yet.
    first_update: u64,
    /// The update id at which the last message ended.
    previous_update: u64,
    changed_bids: BTreeMap<i64, u64>,
    changed_asks: BTreeMap<i64, u64>,
    trade: u64,
    /// The hashes of the books that there were.
    truths: HashSet<u64>,
    /// The snapshot that is given out where an old one is to be.
    frozen: Option<String>,
}

impl Symbol {
    pub(super) fn new(definition: Instrument) -> Self {
        let quote = if definition.quote == "USD" { "USDT" } else { &definition.quote };
        Self {
            name: format!("{}{quote}", definition.base),
            definition,
            is_listed: true,
            status: "TRADING",
            bids: BTreeMap::new(),
            asks: BTreeMap::new(),
            update: 1_000_000,
            first_update: 1_000_001,
            previous_update: 1_000_000,
            changed_bids: BTreeMap::new(),
            changed_asks: BTreeMap::new(),
            trade: 500_000,
            truths: HashSet::new(),
            frozen: None,
        }
    }

    /// Makes a symbol whose changes come from a recording.
    pub(super) fn recorded(definition: Instrument) -> Self {
        let name = definition.symbol.clone();
        // No message is made of its changes: they are said as they were.
        Self { name, first_update: u64::MAX, update: 0, previous_update: 0, ..Self::new(definition) }
    }

    /// Applies recorded levels, up to an update id.
    pub(super) fn record(&mut self, levels: &Levels, update: u64) {
        if update <= self.previous_update {
            return;
        }
        self.change(levels);
        self.changed_bids.clear();
        self.changed_asks.clear();
        (self.update, self.previous_update) = (0, update);
        self.remember();
    }

    /// Returns the decimals of prices and sizes.
    pub(super) fn decimals(&self) -> (u32, u32) {
        (self.definition.price_decimals, self.definition.size_decimals)
    }

    pub(super) fn take(&mut self, market: Market, body: MarketBody, now: u64, said: &mut Vec<Said>) {
        match body {
            MarketBody::BookSnapshot(levels) | MarketBody::BookDelta(levels) => self.change(&levels),
            MarketBody::Quote(quote) if self.is_listed => said.push(self.ticker(market, &quote, now)),
            MarketBody::Trade(trade) => {
                self.trade += 1;
                if self.is_listed {
                    said.push(self.execution(market, &trade, now));
                }
            }
            MarketBody::Status(status) => {
                let is_open = status.state == i32::from(TradingState::Open);
                self.status = if is_open { "TRADING" } else { "BREAK" };
            }
            _ => {}
        }
    }

    /// Lets update ids and trade ids begin anew.
    pub(super) fn renumber(&mut self) {
        (self.update, self.previous_update, self.first_update) = (100, 100, 101);
        self.trade = 0;
        self.frozen = None;
    }

    fn change(&mut self, levels: &Levels) {
        let sides = [
            (&levels.bids, &mut self.bids, &mut self.changed_bids),
            (&levels.asks, &mut self.asks, &mut self.changed_asks),
        ];
        for (changes, side, changed) in sides {
            for Level { price, size } in changes {
                self.update += 1;
                if *size == 0 {
                    side.remove(price);
                } else {
                    side.insert(*price, *size);
                }
                changed.insert(*price, *size);
            }
        }
    }

    pub(super) fn flush(&mut self, market: Market, now: u64, said: &mut Vec<Said>) {
        if self.update < self.first_update {
            return;
        }
        let (first, last, previous) = (self.first_update, self.update, self.previous_update);
        let of_futures = match market {
            Market::Spot => String::new(),
            Market::Usdm | Market::Cm => format!(r#""T":{now},"pu":{previous},"#),
        };
        let bids = self.levels(market, self.changed_bids.iter().rev());
        let asks = self.levels(market, self.changed_asks.iter());
        let data = format!(
            r#"{{"e":"depthUpdate","E":{now},"s":"{}","U":{first},"u":{last},{of_futures}"b":{bids},"a":{asks}}}"#,
            self.name
        );
        self.changed_bids.clear();
        self.changed_asks.clear();
        self.previous_update = last;
        if market != Market::Spot {
            // The futures number all symbols in one sequence, so the ids of one symbol have holes.
            self.update += 1 + now % 50;
        }
        self.first_update = self.update + 1;
        self.remember();
        said.push((self.stream("depth@100ms"), data));
    }

    /// Remembers the book as it is: it was true.
    fn remember(&mut self) {
        if self.truths.len() < TRUTHS_MAX {
            self.truths.insert(hash(&self.book()));
        }
    }

    /// Makes the book as it is the one of old snapshots.
    pub(super) fn freeze(&mut self, market: Market) {
        self.frozen = Some(self.snapshot(market, usize::MAX, false));
    }

    /// Returns a snapshot: of now, or of when it was frozen.
    pub(super) fn snapshot(&mut self, market: Market, levels: usize, is_stale: bool) -> String {
        if let Some(old) = self.frozen.as_ref().filter(|_| is_stale) {
            return old.clone();
        }
        self.remember();
        // Changes that no message said yet are in it: it ends in the middle of the next message.
        let update = if self.update < self.first_update { self.previous_update } else { self.update };
        self.snapshot_text(market, update, levels)
    }

    fn snapshot_text(&self, market: Market, update: u64, levels: usize) -> String {
        let bids = self.levels(market, self.bids.iter().rev().take(levels));
        let asks = self.levels(market, self.asks.iter().take(levels));
        format!(r#"{{"lastUpdateId":{update},"bids":{bids},"asks":{asks}}}"#)
    }

    fn ticker(&self, market: Market, quote: &Quote, now: u64) -> Said {
        let side = |level: Option<Level>| {
            let Level { price, size } = level.unwrap_or(Level { price: 0, size: 0 });
            (self.price(market, price), self.size(market, size))
        };
        let ((bid, bid_size), (ask, ask_size)) = (side(quote.bid), side(quote.ask));
        let of_futures = match market {
            Market::Spot => String::new(),
            Market::Usdm | Market::Cm => format!(r#""e":"bookTicker","T":{now},"E":{now},"#),
        };
        let data = format!(
            r#"{{{of_futures}"u":{},"s":"{}","b":"{bid}","B":"{bid_size}","a":"{ask}","A":"{ask_size}"}}"#,
            self.update, self.name
        );
        (self.stream("bookTicker"), data)
    }

    fn execution(&self, market: Market, trade: &Trade, now: u64) -> Said {
        let (name, id) = (&self.name, self.trade);
        let (price, size) = (self.price(market, trade.price), self.size(market, trade.size));
        let is_buyer_maker = trade.aggressor == i32::from(Side::Sell);
        match market {
            Market::Spot => {
                let data = format!(
                    r#"{{"e":"trade","E":{now},"s":"{name}","t":{id},"p":"{price}","q":"{size}","T":{now},"m":{is_buyer_maker},"M":true}}"#
                );
                (self.stream("trade"), data)
            }
            Market::Usdm | Market::Cm => {
                let data = format!(
                    r#"{{"e":"aggTrade","E":{now},"s":"{name}","a":{id},"p":"{price}","q":"{size}","f":{id},"l":{id},"T":{now},"m":{is_buyer_maker}}}"#
                );
                (self.stream("aggTrade"), data)
            }
        }
    }

    pub(super) fn mark(&self, now: u64, said: &mut Vec<Said>) {
        let Some((price, _)) = self.asks.first_key_value() else { return };
        let price = self.price(Market::Usdm, *price);
        let next = now - now % 28_800_000 + 28_800_000;
        let data = format!(
            r#"{{"e":"markPriceUpdate","E":{now},"s":"{}","p":"{price}","i":"{price}","r":"0.00010000","T":{next}}}"#,
            self.name
        );
        said.push((self.stream("markPrice@1s"), data));
    }

    pub(super) fn info(&self) -> serde_json::Value {
        let step = |decimals: u32| {
            let mut text = String::new();
            write_unsigned(&mut text, 1, decimals);
            text
        };
        serde_json::json!({
            "symbol": self.name,
            "status": self.status,
            "baseAsset": self.definition.base,
            "quoteAsset": self.name.strip_prefix(self.definition.base.as_str()),
            "filters": [
                { "filterType": "PRICE_FILTER", "tickSize": step(self.definition.price_decimals) },
                { "filterType": "LOT_SIZE", "stepSize": step(self.definition.size_decimals) },
            ],
        })
    }

    /// Returns the whole book.
    pub(super) fn book(&self) -> Levels {
        let level = |(price, size): (&i64, &u64)| Level { price: *price, size: *size };
        Levels {
            bids: self.bids.iter().rev().map(level).collect(),
            asks: self.asks.iter().map(level).collect(),
        }
    }

    /// Returns whether there was such a book.
    pub(super) fn was_true(&self, book: &Levels) -> bool {
        self.truths.contains(&hash(book))
    }

    /// Returns the last trade id.
    pub(super) fn last_trade(&self) -> u64 {
        self.trade
    }

    fn stream(&self, kind: &str) -> String {
        format!("{}@{kind}", self.name.to_lowercase())
    }

    fn levels<'l>(&self, market: Market, levels: impl Iterator<Item = (&'l i64, &'l u64)>) -> String {
        let mut text = "[".to_owned();
        for (at, (price, size)) in levels.enumerate() {
            let comma = if at > 0 { "," } else { "" };
            let (price, size) = (self.price(market, *price), self.size(market, *size));
            let _ = write!(text, r#"{comma}["{price}","{size}"]"#);
        }
        text + "]"
    }

    fn price(&self, market: Market, price: i64) -> String {
        let mut text = String::new();
        write(&mut text, price, self.definition.price_decimals);
        pad(market, text)
    }

    fn size(&self, market: Market, size: u64) -> String {
        let mut text = String::new();
        write_unsigned(&mut text, size, self.definition.size_decimals);
        pad(market, text)
    }
}

/// Fills a number up to eight decimals, which spot writes always.
fn pad(market: Market, mut text: String) -> String {
    if market == Market::Spot {
        let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        if decimals == 0 {
            text.push('.');
        }
        text.extend(std::iter::repeat_n('0', SPOT_DECIMALS.saturating_sub(decimals)));
    }
    text
}

fn hash(book: &Levels) -> u64 {
    let mut hasher = DefaultHasher::new();
    for side in [&book.bids, &book.asks] {
        side.len().hash(&mut hasher);
        for level in side {
            (level.price, level.size).hash(&mut hasher);
        }
    }
    hasher.finish()
}
