//! The JSON twin: one object a line, prices and sizes as exact decimal strings, times as strings of nanoseconds.

use serde::{Deserialize, Serialize};

use crate::forms::{self, Decimal};
use crate::message::{Command, Message};
use crate::pb::{self, Error, Heartbeat, Hello, Instrument, Ledger, Notice, Subscribed};
use crate::record::{Body, Book, Level, Quote, Record, Scale};

pub(crate) fn encode(message: &Message, scale: &Scale, out: &mut Vec<u8>) {
    write(&to_json(message, scale), out);
    out.push(b'\n');
}

pub(crate) fn encode_command(command: &Command, out: &mut Vec<u8>) {
    write(command, out);
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("writing to memory fails for no message: all keys are text");
}

/// Reads the first line; returns its message, unless its type is unknown, and how many bytes it took.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Option<Message>, usize), String> {
    let end = bytes.iter().position(|b| *b == b'\n');
    let line = &bytes[..end.unwrap_or(bytes.len())];
    let used = end.map_or(bytes.len(), |end| end + 1);
    if line.iter().all(u8::is_ascii_whitespace) {
        return Ok((None, used));
    }
    let json = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    Ok((from_json(json)?, used))
}

pub(crate) fn decode_command(bytes: &[u8]) -> Result<Command, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Json {
    Quote(Header<JsonQuote>),
    Trade(Header<JsonTrade>),
    Book(Header<JsonBook>),
    Bar(Header<JsonBar>),
    Stat(Header<JsonStat>),
    Status(Header<JsonStatus>),
    Instrument(Header<JsonInstrument>),
    Gap(Header<pb::Gap>),
    Hello(Hello),
    Subscribed(Subscribed),
    Notice(Notice),
    Heartbeat(Heartbeat),
    Ledger(Ledger),
    Error(Error),
    Sent {
        #[serde(with = "forms::time")]
        sent_time: u64,
    },
    #[serde(other)]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Header<T> {
    #[serde(default)]
    symbol: String,
    instrument: u32,
    sequence: u64,
    #[serde(with = "forms::time")]
    event_time: u64,
    #[serde(with = "forms::time")]
    receive_time: u64,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize, Deserialize)]
struct JsonQuote {
    bid_price: Option<Decimal>,
    bid_size: Option<Decimal>,
    ask_price: Option<Decimal>,
    ask_size: Option<Decimal>,
}

#[derive(Serialize, Deserialize)]
struct JsonTrade {
    price: Decimal,
    size: Decimal,
    #[serde(with = "forms::side")]
    aggressor: i32,
    /// The venue's number or name of the trade.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    id: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    id_text: String,
}

#[derive(Serialize, Deserialize)]
struct JsonBook {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    first_sequence: u64,
    bids: Vec<(Decimal, Decimal)>,
    asks: Vec<(Decimal, Decimal)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    checksum: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct JsonBar {
    interval: u64,
    #[serde(with = "forms::time")]
    open_time: u64,
    open: Decimal,
    high: Decimal,
    low: Decimal,
    close: Decimal,
    volume: Decimal,
    trades: u32,
    closed: bool,
}

#[derive(Serialize, Deserialize)]
struct JsonStat {
    #[serde(with = "forms::time")]
    since: u64,
    open: Option<Decimal>,
    high: Option<Decimal>,
    low: Option<Decimal>,
    last: Option<Decimal>,
    volume: Decimal,
    trades: u64,
}

#[derive(Serialize, Deserialize)]
struct JsonStatus {
    #[serde(with = "forms::trading_state")]
    state: i32,
    #[serde(default)]
    reason: String,
}

/// The definition's own `symbol` is in the header's name, which the twin writes as `venue:SYMBOL`.
#[derive(Serialize, Deserialize)]
struct JsonInstrument {
    price_decimals: u32,
    size_decimals: u32,
    tick_size: Decimal,
    lot_size: Decimal,
    base: String,
    quote: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

fn to_json(message: &Message, scale: &Scale) -> Json {
    match message {
        Message::Record(record) => record_to_json(record, scale),
        Message::Hello(m) => Json::Hello(m.clone()),
        Message::Subscribed(m) => Json::Subscribed(m.clone()),
        Message::Notice(m) => Json::Notice(m.clone()),
        Message::Heartbeat(m) => Json::Heartbeat(m.clone()),
        Message::Ledger(m) => Json::Ledger(m.clone()),
        Message::Error(m) => Json::Error(m.clone()),
        Message::Sent(time) => Json::Sent { sent_time: *time },
    }
}

fn record_to_json(record: &Record, scale: &Scale) -> Json {
    let price = |value| Decimal { value, decimals: scale.price_decimals };
    let size =
        |value| Decimal { value: i64::try_from(value).unwrap_or(i64::MAX), decimals: scale.size_decimals };
    let levels =
        |levels: &[Level]| levels.iter().map(|level| (price(level.price), size(level.size))).collect();
    match &record.body {
        Body::Quote(q) => Json::Quote(header(
            record,
            scale,
            JsonQuote {
                bid_price: q.bid.map(|bid| price(bid.price)),
                bid_size: q.bid.map(|bid| size(bid.size)),
                ask_price: q.ask.map(|ask| price(ask.price)),
                ask_size: q.ask.map(|ask| size(ask.size)),
            },
        )),
        Body::Trade(t) => Json::Trade(header(
            record,
            scale,
            JsonTrade {
                price: price(t.price),
                size: size(t.size),
                aggressor: t.aggressor,
                id: if t.id == 0 { String::new() } else { t.id.to_string() },
                id_text: t.id_text.clone(),
            },
        )),
        Body::Book(b) => Json::Book(header(
            record,
            scale,
            JsonBook {
                snapshot: b.snapshot,
                first_sequence: b.first_sequence,
                bids: levels(&b.bids),
                asks: levels(&b.asks),
                checksum: b.checksum,
            },
        )),
        Body::Bar(b) => Json::Bar(header(
            record,
            scale,
            JsonBar {
                interval: b.interval,
                open_time: b.open_time,
                open: price(b.open),
                high: price(b.high),
                low: price(b.low),
                close: price(b.close),
                volume: size(b.volume),
                trades: b.trades,
                closed: b.closed,
            },
        )),
        Body::Stat(s) => Json::Stat(header(
            record,
            scale,
            JsonStat {
                since: s.since,
                open: s.open.map(price),
                high: s.high.map(price),
                low: s.low.map(price),
                last: s.last.map(price),
                volume: size(s.volume),
                trades: s.trades,
            },
        )),
        Body::Status(s) => {
            Json::Status(header(record, scale, JsonStatus { state: s.state, reason: s.reason.clone() }))
        }
        Body::Instrument(i) => {
            let own = Scale {
                symbol: format!("{}:{}", i.venue, i.symbol),
                price_decimals: i.price_decimals,
                size_decimals: i.size_decimals,
            };
            let body = JsonInstrument {
                price_decimals: i.price_decimals,
                size_decimals: i.size_decimals,
                tick_size: Decimal { value: i.tick_size as i64, decimals: i.price_decimals },
                lot_size: Decimal { value: i.lot_size as i64, decimals: i.size_decimals },
                base: i.base.clone(),
                quote: i.quote.clone(),
            };
            Json::Instrument(header(record, &own, body))
        }
        Body::Gap(gap) => Json::Gap(header(record, scale, *gap)),
    }
}

fn header<T>(record: &Record, scale: &Scale, body: T) -> Header<T> {
    Header {
        symbol: scale.symbol.clone(),
        instrument: record.instrument,
        sequence: record.sequence,
        event_time: record.event_time,
        receive_time: record.receive_time,
        body,
    }
}

fn from_json(json: Json) -> Result<Option<Message>, String> {
    let record = match json {
        Json::Quote(h) => {
            let (bid, ask) =
                (level(h.body.bid_price, h.body.bid_size)?, level(h.body.ask_price, h.body.ask_size)?);
            record(&h, Body::Quote(Quote { bid, ask }))
        }
        Json::Trade(h) => {
            let id =
                if h.body.id.is_empty() { 0 } else { h.body.id.parse().map_err(|_| "`id` is no number")? };
            let (price, size) = (h.body.price.value, unsigned(h.body.size)?);
            let trade =
                pb::Trade { price, size, aggressor: h.body.aggressor, id, id_text: h.body.id_text.clone() };
            record(&h, Body::Trade(trade))
        }
        Json::Book(h) => {
            let book = Book {
                snapshot: h.body.snapshot,
                first_sequence: h.body.first_sequence,
                bids: levels(&h.body.bids)?,
                asks: levels(&h.body.asks)?,
                checksum: h.body.checksum,
            };
            record(&h, Body::Book(book))
        }
        Json::Bar(h) => {
            let b = &h.body;
            let bar = pb::Bar {
                interval: b.interval,
                open_time: b.open_time,
                open: b.open.value,
                high: b.high.value,
                low: b.low.value,
                close: b.close.value,
                volume: unsigned(b.volume)?,
                trades: b.trades,
                closed: b.closed,
            };
            record(&h, Body::Bar(bar))
        }
        Json::Stat(h) => {
            let s = &h.body;
            let value = |decimal: Option<Decimal>| decimal.map(|decimal| decimal.value);
            let stat = pb::Stat {
                since: s.since,
                open: value(s.open),
                high: value(s.high),
                low: value(s.low),
                last: value(s.last),
                volume: unsigned(s.volume)?,
                trades: s.trades,
            };
            record(&h, Body::Stat(stat))
        }
        Json::Status(h) => {
            let status = pb::Status { state: h.body.state, reason: h.body.reason.clone() };
            record(&h, Body::Status(status))
        }
        Json::Instrument(h) => {
            let (venue, symbol) = h.symbol.split_once(':').ok_or("an instrument needs its `venue:SYMBOL`")?;
            let instrument = Instrument {
                venue: venue.to_owned(),
                symbol: symbol.to_owned(),
                price_decimals: h.body.price_decimals,
                size_decimals: h.body.size_decimals,
                tick_size: unsigned(h.body.tick_size)?,
                lot_size: unsigned(h.body.lot_size)?,
                base: h.body.base.clone(),
                quote: h.body.quote.clone(),
            };
            record(&h, Body::Instrument(instrument))
        }
        Json::Gap(h) => record(&h, Body::Gap(h.body)),
        Json::Hello(m) => return Ok(Some(Message::Hello(m))),
        Json::Subscribed(m) => return Ok(Some(Message::Subscribed(m))),
        Json::Notice(m) => return Ok(Some(Message::Notice(m))),
        Json::Heartbeat(m) => return Ok(Some(Message::Heartbeat(m))),
        Json::Ledger(m) => return Ok(Some(Message::Ledger(m))),
        Json::Error(m) => return Ok(Some(Message::Error(m))),
        Json::Sent { sent_time } => return Ok(Some(Message::Sent(sent_time))),
        Json::Unknown => return Ok(None),
    };
    Ok(Some(Message::Record(record)))
}

fn record<T>(header: &Header<T>, body: Body) -> Record {
    Record {
        instrument: header.instrument,
        sequence: header.sequence,
        event_time: header.event_time,
        receive_time: header.receive_time,
        body,
    }
}

fn unsigned(decimal: Decimal) -> Result<u64, String> {
    u64::try_from(decimal.value).map_err(|_| "a size is negative".to_owned())
}

fn level(price: Option<Decimal>, size: Option<Decimal>) -> Result<Option<Level>, String> {
    price.map(|price| Ok(Level { price: price.value, size: unsigned(size.unwrap_or_default())? })).transpose()
}

fn levels(levels: &[(Decimal, Decimal)]) -> Result<Vec<Level>, String> {
    levels.iter().map(|(price, size)| Ok(Level { price: price.value, size: unsigned(*size)? })).collect()
}
