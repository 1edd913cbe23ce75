//! Market data in the JSON encoding.

use serde::{Deserialize, Serialize};

use crate::forms::{self, Price, Size};
use crate::pb::{self, Instrument};
use crate::record::{Body, Book, Level, Quote, Record, Scale};

/// A record, on its way out.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum JsonRecord<'a> {
    Quote(Header<'a, JsonQuote>),
    Trade(Header<'a, JsonTrade>),
    Book(Header<'a, JsonBook>),
    Bar(Header<'a, JsonBar>),
    Stat(Header<'a, JsonStat>),
    Status(Header<'a, JsonStatus>),
    Instrument(Header<'a, JsonInstrument>),
    Derivative(Header<'a, JsonDerivative>),
    Gap(Header<'a, pb::Gap>),
}

#[derive(Serialize)]
pub(super) struct Header<'a, T> {
    symbol: &'a str,
    instrument: u32,
    sequence: u64,
    #[serde(with = "forms::wide")]
    event_time: u64,
    #[serde(with = "forms::wide")]
    receive_time: u64,
    #[serde(flatten)]
    body: T,
}

/// The header, on its way in. Header and body are read in two passes over the line: to flatten one into the other
/// would copy the line into a tree, of 32 bytes and more for a value of two.
#[derive(Deserialize)]
struct ReadHeader {
    instrument: u32,
    sequence: u64,
    #[serde(with = "forms::wide")]
    event_time: u64,
    #[serde(with = "forms::wide")]
    receive_time: u64,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonQuote {
    bid_price: Option<Price>,
    bid_size: Option<Size>,
    ask_price: Option<Price>,
    ask_size: Option<Size>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonTrade {
    price: Price,
    size: Size,
    #[serde(with = "forms::side")]
    aggressor: i32,
    /// The venue's id of the trade, a number or a text.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    id_text: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonBook {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    first_sequence: u64,
    bids: Vec<(Price, Size)>,
    asks: Vec<(Price, Size)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonBar {
    interval: u64,
    #[serde(with = "forms::wide")]
    open_time: u64,
    open: Price,
    high: Price,
    low: Price,
    close: Price,
    volume: Size,
    trades: u32,
    closed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    correction: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonStat {
    #[serde(with = "forms::wide")]
    since: u64,
    open: Option<Price>,
    high: Option<Price>,
    low: Option<Price>,
    last: Option<Price>,
    volume: Size,
    trades: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    incomplete: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonStatus {
    #[serde(with = "forms::trading_state")]
    state: i32,
    #[serde(default)]
    reason: String,
}

/// The definition's own venue and symbol are the header's `symbol`, which the JSON encoding writes as `venue:SYMBOL`.
#[derive(Serialize, Deserialize)]
pub(super) struct JsonInstrument {
    price_decimals: u32,
    size_decimals: u32,
    tick_size: Size,
    lot_size: Size,
    base: String,
    quote: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    revision: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    last_sequences: Vec<u64>,
}

/// The numbers' own decimals are those of the texts.
#[derive(Serialize, Deserialize)]
pub(super) struct JsonDerivative {
    mark_price: Option<Price>,
    index_price: Option<Price>,
    funding_rate: Option<Price>,
    #[serde(with = "forms::wide")]
    next_funding_time: u64,
    open_interest: Option<Size>,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Hands the form of a record to `write`.
pub(super) fn with_form<T>(record: &Record, scale: &Scale, write: impl FnOnce(&JsonRecord<'_>) -> T) -> T {
    let price = |value| Price { value, decimals: scale.price_decimals };
    let size = |value| Size { value, decimals: scale.size_decimals };
    let levels =
        |levels: &[Level]| levels.iter().map(|level| (price(level.price), size(level.size))).collect();
    let form = match &record.body {
        Body::Quote(q) => {
            let body = JsonQuote {
                bid_price: q.bid.map(|bid| price(bid.price)),
                bid_size: q.bid.map(|bid| size(bid.size)),
                ask_price: q.ask.map(|ask| price(ask.price)),
                ask_size: q.ask.map(|ask| size(ask.size)),
            };
            JsonRecord::Quote(header(record, &scale.symbol, body))
        }
        Body::Trade(t) => {
            let body = JsonTrade {
                price: price(t.price),
                size: size(t.size),
                aggressor: t.aggressor,
                id: if t.id == 0 { String::new() } else { t.id.to_string() },
                id_text: t.id_text.clone(),
            };
            JsonRecord::Trade(header(record, &scale.symbol, body))
        }
        Body::Book(b) => {
            let body = JsonBook {
                snapshot: b.snapshot,
                first_sequence: b.first_sequence,
                bids: levels(&b.bids),
                asks: levels(&b.asks),
                checksum: b.checksum,
            };
            JsonRecord::Book(header(record, &scale.symbol, body))
        }
        Body::Bar(b) => {
            let body = JsonBar {
                interval: b.interval,
                open_time: b.open_time,
                open: price(b.open),
                high: price(b.high),
                low: price(b.low),
                close: price(b.close),
                volume: size(b.volume),
                trades: b.trades,
                closed: b.closed,
                correction: b.correction,
                incomplete: b.incomplete,
            };
            JsonRecord::Bar(header(record, &scale.symbol, body))
        }
        Body::Stat(s) => {
            let body = JsonStat {
                since: s.since,
                open: s.open.map(price),
                high: s.high.map(price),
                low: s.low.map(price),
                last: s.last.map(price),
                volume: size(s.volume),
                trades: s.trades,
                incomplete: s.incomplete,
            };
            JsonRecord::Stat(header(record, &scale.symbol, body))
        }
        Body::Status(s) => {
            let body = JsonStatus { state: s.state, reason: s.reason.clone() };
            JsonRecord::Status(header(record, &scale.symbol, body))
        }
        Body::Instrument(i) => {
            let body = JsonInstrument {
                price_decimals: i.price_decimals,
                size_decimals: i.size_decimals,
                tick_size: Size { value: i.tick_size, decimals: i.price_decimals },
                lot_size: Size { value: i.lot_size, decimals: i.size_decimals },
                base: i.base.clone(),
                quote: i.quote.clone(),
                ended: i.ended,
                revision: i.revision,
                last_sequences: i.last_sequences.clone(),
            };
            let symbol = format!("{}:{}", i.venue, i.symbol);
            return write(&JsonRecord::Instrument(header(record, &symbol, body)));
        }
        Body::Derivative(d) => {
            let number = |value, decimals| Price { value, decimals };
            let body = JsonDerivative {
                mark_price: d.mark_price.map(|price| number(price, d.price_decimals)),
                index_price: d.index_price.map(|price| number(price, d.price_decimals)),
                funding_rate: d.funding_rate.map(|rate| number(rate, d.rate_decimals)),
                next_funding_time: d.next_funding_time,
                open_interest: d.open_interest.map(size),
            };
            JsonRecord::Derivative(header(record, &scale.symbol, body))
        }
        Body::Gap(gap) => JsonRecord::Gap(header(record, &scale.symbol, *gap)),
    };
    write(&form)
}

fn header<'a, T>(record: &Record, symbol: &'a str, body: T) -> Header<'a, T> {
    Header {
        symbol,
        instrument: record.instrument,
        sequence: record.sequence,
        event_time: record.event_time,
        receive_time: record.receive_time,
        body,
    }
}

/// Reads a record of a type; returns nothing when the type is unknown.
pub(super) fn read(kind: &str, line: &[u8]) -> Result<Option<Record>, String> {
    let body = match kind {
        "quote" => {
            let q: JsonQuote = parse(line)?;
            Body::Quote(Quote { bid: level(q.bid_price, q.bid_size), ask: level(q.ask_price, q.ask_size) })
        }
        "trade" => {
            let t: JsonTrade = parse(line)?;
            let id = if t.id.is_empty() { 0 } else { t.id.parse().map_err(|_| "`id` is no number")? };
            let (price, size) = (t.price.value, t.size.value);
            Body::Trade(pb::Trade { price, size, aggressor: t.aggressor, id, id_text: t.id_text })
        }
        "book" => {
            let b: JsonBook = parse(line)?;
            Body::Book(Book {
                snapshot: b.snapshot,
                first_sequence: b.first_sequence,
                bids: levels(&b.bids),
                asks: levels(&b.asks),
                checksum: b.checksum,
            })
        }
        "bar" => {
            let b: JsonBar = parse(line)?;
            Body::Bar(pb::Bar {
                interval: b.interval,
                open_time: b.open_time,
                open: b.open.value,
                high: b.high.value,
                low: b.low.value,
                close: b.close.value,
                volume: b.volume.value,
                trades: b.trades,
                closed: b.closed,
                correction: b.correction,
                incomplete: b.incomplete,
            })
        }
        "stat" => {
            let s: JsonStat = parse(line)?;
            let value = |price: Option<Price>| price.map(|price| price.value);
            Body::Stat(pb::Stat {
                since: s.since,
                open: value(s.open),
                high: value(s.high),
                low: value(s.low),
                last: value(s.last),
                volume: s.volume.value,
                trades: s.trades,
                incomplete: s.incomplete,
            })
        }
        "status" => {
            let s: JsonStatus = parse(line)?;
            Body::Status(pb::Status { state: s.state, reason: s.reason })
        }
        "instrument" => Body::Instrument(read_instrument(line)?),
        "derivative" => Body::Derivative(read_derivative(&parse(line)?)?),
        "gap" => Body::Gap(parse(line)?),
        _ => return Ok(None),
    };
    let ReadHeader { instrument, sequence, event_time, receive_time } = parse(line)?;
    Ok(Some(Record { instrument, sequence, event_time, receive_time, body }))
}

fn read_derivative(d: &JsonDerivative) -> Result<pb::Derivative, String> {
    // Both prices have the decimals of the finer one.
    let price_decimals =
        d.mark_price.iter().chain(&d.index_price).map(|price| price.decimals).max().unwrap_or(0);
    let price = |price: Option<Price>| {
        let finer = |price: Price| {
            let times = 10i64.checked_pow(price_decimals - price.decimals);
            times.and_then(|times| price.value.checked_mul(times)).ok_or("a price has too many digits")
        };
        price.map(finer).transpose()
    };
    Ok(pb::Derivative {
        mark_price: price(d.mark_price)?,
        index_price: price(d.index_price)?,
        price_decimals,
        funding_rate: d.funding_rate.map(|rate| rate.value),
        rate_decimals: d.funding_rate.map_or(0, |rate| rate.decimals),
        next_funding_time: d.next_funding_time,
        open_interest: d.open_interest.map(|size| size.value),
    })
}

fn read_instrument(line: &[u8]) -> Result<Instrument, String> {
    #[derive(Deserialize)]
    struct Name {
        symbol: String,
    }
    let Name { symbol } = parse(line)?;
    let (venue, symbol) = symbol.split_once(':').ok_or("an instrument needs its `venue:SYMBOL`")?;
    let i: JsonInstrument = parse(line)?;
    Ok(Instrument {
        venue: venue.to_owned(),
        symbol: symbol.to_owned(),
        price_decimals: i.price_decimals,
        size_decimals: i.size_decimals,
        tick_size: i.tick_size.value,
        lot_size: i.lot_size.value,
        base: i.base,
        quote: i.quote,
        ended: i.ended,
        revision: i.revision,
        last_sequences: i.last_sequences,
    })
}

pub(super) fn parse<'de, T: Deserialize<'de>>(line: &'de [u8]) -> Result<T, String> {
    serde_json::from_slice(line).map_err(|e| e.to_string())
}

fn level(price: Option<Price>, size: Option<Size>) -> Option<Level> {
    price.map(|price| Level { price: price.value, size: size.unwrap_or_default().value })
}

fn levels(levels: &[(Price, Size)]) -> Vec<Level> {
    levels.iter().map(|(price, size)| Level { price: price.value, size: size.value }).collect()
}
