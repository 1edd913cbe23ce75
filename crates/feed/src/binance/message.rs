//! One message by what it means: which kind it is of is told by its members, and by its stream where they leave it open.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Market;
use super::info::{InfoText, info};
use super::parse::{Fields, LevelTexts, levels};
use super::stamp::Stamp;
use crate::normalize_error::NormalizeError;
use crate::number::{Number, clip, text, whole};

/// A message, or an element of an array of them.
pub(crate) enum Message<'a> {
    Trade(TradeText<'a>),
    /// Trades of one order at one price, as one: `aggTrade`.
    Aggregate(TradeText<'a>),
    Ticker(TickerText<'a>),
    /// The mark price, index price and funding of a future.
    Mark(MarkText<'a>),
    Depth(DepthText<'a>),
    Snapshot(SnapshotText<'a>),
    Info(InfoText<'a>),
    /// A kind that nobody here has a use for, by its name.
    Other(Cow<'a, str>),
    /// The response to a subscription.
    Response,
}

pub(crate) struct TradeText<'a> {
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) id: u64,
    pub(crate) price: Number<'a>,
    pub(crate) size: Number<'a>,
    pub(crate) time: Stamp,
    pub(crate) is_buyer_maker: Option<bool>,
}

pub(crate) struct TickerText<'a> {
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) update: u64,
    pub(crate) bid: (Number<'a>, Number<'a>),
    pub(crate) ask: (Number<'a>, Number<'a>),
    pub(crate) time: Stamp,
}

pub(crate) struct MarkText<'a> {
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) mark: Number<'a>,
    pub(crate) index: Option<Number<'a>>,
    /// The funding rate, which futures with a delivery do not have.
    pub(crate) rate: Option<Number<'a>>,
    pub(crate) next_funding: Stamp,
    pub(crate) time: Stamp,
}

pub(crate) struct DepthText<'a> {
    pub(crate) symbol: Cow<'a, str>,
    pub(crate) first_update: u64,
    pub(crate) last_update: u64,
    pub(crate) previous_update: Option<u64>,
    pub(crate) time: Stamp,
    pub(crate) bids: LevelTexts<'a>,
    pub(crate) asks: LevelTexts<'a>,
}

pub(crate) struct SnapshotText<'a> {
    /// The symbol; `None` when it does not say.
    pub(crate) symbol: Option<Cow<'a, str>>,
    pub(crate) last_update: u64,
    pub(crate) time: Stamp,
    pub(crate) bids: LevelTexts<'a>,
    pub(crate) asks: LevelTexts<'a>,
}

/// A hint of a message at the market that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hint {
    None,
    /// It has members that this market has.
    Usual(Market),
    /// It is depth, and only this market's books continue so.
    Sure(Market),
}

/// Reads a text that is one message or an array of them, and hands each over.
///
/// # Errors
/// Returns the first error; the other elements of an array are handed over all the same.
pub(crate) fn read<'a>(
    text: &'a str,
    take: &mut dyn FnMut(Message<'a>, Hint) -> Result<(), NormalizeError>,
) -> Result<(), NormalizeError> {
    let text = text.trim_start();
    if text.starts_with('[') {
        return elements(text, None, take);
    }
    if let Some((stream, data)) = split_plain(text)
        && let Ok(fields) = serde_json::from_str(data)
    {
        let (message, hint) = message(&fields, Some(stream))?;
        return take(message, hint);
    }
    let fields: Fields = serde_json::from_str(text)?;
    let stream = fields.stream.and_then(self::text);
    match fields.data.map(RawValue::get) {
        Some(data) if data.starts_with('[') => elements(data, stream.as_deref(), take),
        Some(data) => {
            let (message, hint) = message(&serde_json::from_str(data)?, stream.as_deref())?;
            take(message, hint)
        }
        None => {
            let (message, hint) = message(&fields, stream.as_deref())?;
            take(message, hint)
        }
    }
}

/// Splits `{"stream":"<stream>","data":{...}}`, which nearly all messages are, without reading what is in it twice.
/// Where the data is one JSON object, the message has no other members.
fn split_plain(text: &str) -> Option<(&str, &str)> {
    let (stream, data) = text.strip_prefix(r#"{"stream":""#)?.split_once('"')?;
    let data =
        data.strip_prefix(r#","data":"#)?.trim_end_matches([' ', '\t', '\r', '\n']).strip_suffix('}')?;
    let is_plain = stream.bytes().all(|byte| byte >= b' ' && byte != b'\\');
    (is_plain && data.starts_with('{')).then_some((stream, data))
}

fn elements<'a>(
    array: &'a str,
    stream: Option<&str>,
    take: &mut dyn FnMut(Message<'a>, Hint) -> Result<(), NormalizeError>,
) -> Result<(), NormalizeError> {
    let mut first_error = Ok(());
    let elements: Vec<&RawValue> = serde_json::from_str(array)?;
    for (at, element) in (1..).zip(elements) {
        let element = element.get();
        let read = if element.starts_with('{') {
            serde_json::from_str(element).map_err(NormalizeError::from)
        } else {
            Err(NormalizeError::Foreign)
        };
        let taken =
            read.and_then(|fields| message(&fields, stream)).and_then(|(message, hint)| take(message, hint));
        if let (Err(source), true) = (taken, first_error.is_ok()) {
            first_error = Err(NormalizeError::Element { at, source: Box::new(source) });
        }
    }
    first_error
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Trade,
    Aggregate,
    Ticker,
    Mark,
    Depth,
    Snapshot,
    Info,
}

/// Returns what a stream's name or an event's name stands for.
fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "trade" => Kind::Trade,
        "aggTrade" => Kind::Aggregate,
        "bookTicker" => Kind::Ticker,
        "markPrice" | "markPriceUpdate" => Kind::Mark,
        "depth" | "depthUpdate" => Kind::Depth,
        "depthSnapshot" => Kind::Snapshot,
        _ => return None,
    })
}

/// Splits a stream's name: `btcusdt@depth@100ms` is a stream of `depth` of `btcusdt`, and `!bookTicker` one of all
/// symbols.
fn split_stream(stream: &str) -> (&str, &str) {
    match stream.strip_prefix('!') {
        Some(all) => ("", all.split('@').next().unwrap_or_default()),
        None => {
            let mut parts = stream.split('@');
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default())
        }
    }
}

fn message<'a>(fields: &Fields<'a>, stream: Option<&str>) -> Result<(Message<'a>, Hint), NormalizeError> {
    let (base, streamed) = stream.map_or(("", ""), split_stream);
    let event = fields.e.and_then(text);
    // These are pieces of a book at its best end, which futures call `depthUpdate` too: no snapshot, and no changes.
    if streamed.strip_prefix("depth").is_some_and(|levels| levels.parse::<u32>().is_ok()) {
        return Ok((Message::Other(Cow::Owned(streamed.to_owned())), hint(fields, Kind::Depth, "")));
    }
    let kind = match &event {
        Some(event) => kind_of(event),
        None => kind_of_fields(fields).or_else(|| kind_of(streamed)),
    };
    let Some(kind) = kind else {
        return read_other(fields, event, streamed);
    };
    let message = match kind {
        Kind::Trade => Message::Trade(trade(fields, "t, the trade id,", fields.trade_id)?),
        Kind::Aggregate => Message::Aggregate(trade(fields, "a, the aggregate's id,", fields.a)?),
        Kind::Ticker => Message::Ticker(ticker(fields)?),
        Kind::Mark => Message::Mark(mark(fields)?),
        Kind::Depth => Message::Depth(depth(fields)?),
        Kind::Snapshot => Message::Snapshot(snapshot(fields, base)?),
        Kind::Info => Message::Info(info(fields)?),
    };
    let hint = hint(fields, kind, message.symbol());
    Ok((message, hint))
}

fn kind_of_fields(fields: &Fields) -> Option<Kind> {
    let has_sides = fields.b.is_some() || fields.a.is_some();
    if fields.snapshot_update.is_some() {
        Some(Kind::Snapshot)
    } else if fields.first_update.is_some() && fields.last_update.is_some() && has_sides {
        Some(Kind::Depth)
    } else if fields.last_update.is_some() && fields.bid_size.is_some() && fields.ask_size.is_some() {
        Some(Kind::Ticker)
    } else if fields.price.is_some() && fields.size.is_some() && fields.trade_id.is_some() {
        Some(Kind::Trade)
    } else if fields.price.is_some() && fields.a.is_some() && fields.first_trade.is_some() {
        Some(Kind::Aggregate)
    } else if fields.symbols.is_some() {
        Some(Kind::Info)
    } else {
        None
    }
}

/// Reads a message that is of none of the kinds that are used.
fn read_other<'a>(
    fields: &Fields<'a>,
    event: Option<Cow<'a, str>>,
    streamed: &str,
) -> Result<(Message<'a>, Hint), NormalizeError> {
    if let Some(event) = event {
        return Ok((Message::Other(event), Hint::None));
    }
    if !streamed.is_empty() {
        return Ok((Message::Other(Cow::Owned(streamed.to_owned())), Hint::None));
    }
    // The venue's API over WebSocket answers so.
    if let Some(result) = fields.result.map(RawValue::get).filter(|result| result.starts_with('{')) {
        let response: Fields = serde_json::from_str(result)?;
        if kind_of_fields(&response).is_some() {
            return message(&response, None);
        }
    }
    if let Some(error) = fields.error.or(fields.error_text) {
        return Err(NormalizeError::Venue(clip(error.get())));
    }
    if fields.id.is_some() {
        return Ok((Message::Response, Hint::None));
    }
    Err(NormalizeError::Foreign)
}

fn hint(fields: &Fields, kind: Kind, symbol: &str) -> Hint {
    let has_time = fields.event_time.is_some() && fields.transaction_time.is_some();
    // `BTCUSD_PERP` and `BTCUSD_240927` are coin-margined, `BTCUSDT_240927` is not.
    let futures = || {
        let is_coin = fields.pair.is_some() || symbol.contains("USD_");
        if is_coin { Market::Cm } else { Market::Usdm }
    };
    match kind {
        Kind::Depth if fields.previous_update.is_some() => Hint::Sure(futures()),
        Kind::Depth => match fields.first_update {
            Some(_) => Hint::Sure(Market::Spot),
            None => Hint::None,
        },
        Kind::Mark => Hint::Usual(futures()),
        Kind::Ticker | Kind::Snapshot if has_time => Hint::Usual(futures()),
        Kind::Snapshot | Kind::Ticker => Hint::Usual(Market::Spot),
        Kind::Trade if fields.futures_mark.is_some() => Hint::Usual(futures()),
        Kind::Trade | Kind::Aggregate if fields.spot_mark.is_some() => Hint::Usual(Market::Spot),
        Kind::Trade | Kind::Aggregate => Hint::None,
        Kind::Info => match fields.futures_type.and_then(text).as_deref() {
            Some("COIN_MARGINED") => Hint::Usual(Market::Cm),
            Some(_) => Hint::Usual(Market::Usdm),
            None => Hint::None,
        },
    }
}

impl Message<'_> {
    fn symbol(&self) -> &str {
        match self {
            Self::Trade(text) | Self::Aggregate(text) => &text.symbol,
            Self::Ticker(text) => &text.symbol,
            Self::Mark(text) => &text.symbol,
            Self::Depth(text) => &text.symbol,
            Self::Snapshot(text) => text.symbol.as_deref().unwrap_or_default(),
            Self::Info(_) | Self::Other(_) | Self::Response => "",
        }
    }
}

pub(crate) fn needed<'a>(
    field: &'static str,
    raw: Option<&'a RawValue>,
) -> Result<&'a RawValue, NormalizeError> {
    raw.ok_or(NormalizeError::Missing(field))
}

fn symbol<'a>(fields: &Fields<'a>) -> Result<Cow<'a, str>, NormalizeError> {
    let name = text(needed("s, the symbol,", fields.symbol)?);
    name.filter(|name| !name.is_empty()).ok_or(NormalizeError::NoText("s, the symbol,"))
}

fn trade<'a>(
    fields: &Fields<'a>,
    id_name: &'static str,
    id: Option<&'a RawValue>,
) -> Result<TradeText<'a>, NormalizeError> {
    Ok(TradeText {
        symbol: symbol(fields)?,
        id: whole(id_name, needed(id_name, id)?)?,
        price: Number::read("price", needed("p, the price,", fields.price)?)?,
        size: Number::read("quantity", needed("q, the quantity,", fields.size)?)?,
        time: Stamp::read([fields.transaction_time, fields.event_time]),
        is_buyer_maker: fields.is_buyer_maker.and_then(|raw| match raw.get().trim_matches('"') {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        }),
    })
}

fn ticker<'a>(fields: &Fields<'a>) -> Result<TickerText<'a>, NormalizeError> {
    let side = |price, size| {
        let price = Number::read("price", needed("b or a, a price,", price)?)?;
        Ok::<_, NormalizeError>((price, Number::read("quantity", needed("B or A, a quantity,", size)?)?))
    };
    Ok(TickerText {
        symbol: symbol(fields)?,
        update: whole("u, the update id,", needed("u, the update id,", fields.last_update)?)?,
        bid: side(fields.b, fields.bid_size)?,
        ask: side(fields.a, fields.ask_size)?,
        time: Stamp::read([fields.transaction_time, fields.event_time]),
    })
}

fn mark<'a>(fields: &Fields<'a>) -> Result<MarkText<'a>, NormalizeError> {
    // A value that is not known stands as an empty text.
    let known = |name, raw: Option<&'a RawValue>| {
        raw.filter(|raw| !matches!(raw.get(), "\"\"" | "null")).map(|raw| Number::read(name, raw)).transpose()
    };
    Ok(MarkText {
        symbol: symbol(fields)?,
        mark: Number::read("mark price", needed("p, the mark price,", fields.price)?)?,
        index: known("index price", fields.i)?,
        rate: known("funding rate", fields.r)?,
        next_funding: Stamp::read([fields.transaction_time, None]),
        time: Stamp::read([fields.event_time, None]),
    })
}

fn depth<'a>(fields: &Fields<'a>) -> Result<DepthText<'a>, NormalizeError> {
    let update = |field, raw| whole(field, needed(field, raw)?);
    Ok(DepthText {
        symbol: symbol(fields)?,
        first_update: update("U, the first update id,", fields.first_update)?,
        last_update: update("u, the last update id,", fields.last_update)?,
        previous_update: fields.previous_update.map(|raw| whole("pu", raw)).transpose()?,
        time: Stamp::read([fields.transaction_time, fields.event_time]),
        bids: levels(needed("b, the bids,", fields.b)?)?,
        asks: levels(needed("a, the asks,", fields.a)?)?,
    })
}

fn snapshot<'a>(fields: &Fields<'a>, base: &str) -> Result<SnapshotText<'a>, NormalizeError> {
    let named = fields.snapshot_symbol.or(fields.symbol).and_then(text);
    let of_stream = || (!base.is_empty()).then(|| Cow::Owned(base.to_uppercase()));
    Ok(SnapshotText {
        symbol: named.filter(|name| !name.is_empty()).or_else(of_stream),
        last_update: whole("lastUpdateId", needed("lastUpdateId", fields.snapshot_update)?)?,
        time: Stamp::read([fields.transaction_time, fields.event_time]),
        bids: levels(needed("bids", fields.bids)?)?,
        asks: levels(needed("asks", fields.asks)?)?,
    })
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
