//! Protobuf: each message is written as one `Frame.records` field, so that written messages concatenate.

use prost::Message as _;
use prost::bytes::Buf;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, skip_field,
};

use crate::message::{Command, Message};
use crate::pb;
use crate::pb::command::Op;
use crate::record::{Body, Book, Level, Quote, Record};

const RECORDS: u32 = 1;
const SENT_TIME: u32 = 2;

pub(crate) fn encode(message: &Message, out: &mut Vec<u8>) {
    if let Message::Sent(time) = message {
        return encode_sent_time(*time, out);
    }
    let record = to_pb(message);
    encode_key(RECORDS, WireType::LengthDelimited, out);
    encode_varint(record.encoded_len() as u64, out);
    record.encode_raw(out);
}

/// Each message of a gateway ends with it, so its key, which is one byte, is not put together anew.
#[inline]
pub(crate) fn encode_sent_time(time: u64, out: &mut Vec<u8>) {
    let mut field = [(SENT_TIME << 3) as u8 | WireType::SixtyFourBit as u8; 9];
    field[1..].copy_from_slice(&time.to_le_bytes());
    out.extend_from_slice(&field);
}

/// Reads the first field; returns its message, if it is one, and how many bytes it took.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Option<Message>, usize), String> {
    let mut rest = bytes;
    let message = match decode_key(&mut rest).map_err(|e| e.to_string())? {
        (RECORDS, WireType::LengthDelimited) => {
            let record = split_field(&mut rest)?;
            from_pb(pb::Record::decode(record).map_err(|e| e.to_string())?)?
        }
        (SENT_TIME, WireType::SixtyFourBit) => {
            Some(Message::Sent(rest.try_get_u64_le().map_err(|_| "the send time is cut off".to_owned())?))
        }
        (tag, wire_type) => {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(|e| e.to_string())?;
            None
        }
    };
    Ok((message, bytes.len() - rest.len()))
}

/// Takes the first field where it is a quote or a trade, which most records are: field by field, without making a `pb::Record` first,
/// which has room for every kind. `None`: it is something else, or not written as usual.
#[inline]
pub(crate) fn frequent(bytes: &mut &[u8]) -> Option<Record> {
    let mut rest = bytes.strip_prefix(&[0x0a])?;
    let mut record = field(&mut rest)?;
    let (mut instrument, mut sequence, mut event_time, mut receive_delay) = (0, 0, 0, 0);
    let mut parts = QuoteParts { bid_price: None, bid_size: 0, ask_offset: None, ask_size: 0 };
    let body = loop {
        // A key is a field's number times 8, plus its wire type. The body comes last.
        match number(&mut record)? {
            0x08 => instrument = number(&mut record)? as u32,
            0x10 => sequence = number(&mut record)?,
            0x19 => event_time = record.try_get_u64_le().ok()?,
            0x20 => receive_delay = zigzag(number(&mut record)?),
            0x28 => parts.bid_price = Some(zigzag(number(&mut record)?)),
            0x30 => parts.bid_size = number(&mut record)?,
            0x38 => parts.ask_offset = Some(zigzag(number(&mut record)?)),
            0x40 => {
                parts.ask_size = number(&mut record)?;
                break Body::Quote(parts.into());
            }
            0x4a => break Body::Trade(trade(field(&mut record)?)?),
            _ => return None,
        }
    };
    if !record.is_empty() {
        return None;
    }
    *bytes = rest;
    let receive_time = event_time.wrapping_add_signed(receive_delay);
    Some(Record { instrument, sequence, event_time, receive_time, body })
}

#[inline]
fn trade(mut rest: &[u8]) -> Option<pb::Trade> {
    let mut trade = pb::Trade::default();
    while !rest.is_empty() {
        match number(&mut rest)? {
            0x08 => trade.price = zigzag(number(&mut rest)?),
            0x10 => trade.size = number(&mut rest)?,
            0x18 => trade.aggressor = number(&mut rest)? as i32,
            0x20 => trade.id = number(&mut rest)?,
            _ => return None,
        }
    }
    Some(trade)
}

#[inline]
fn number(rest: &mut &[u8]) -> Option<u64> {
    decode_varint(rest).ok()
}

#[inline]
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(rest)?).ok()?;
    let (field, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(field)
}

fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Returns the length of the first `Frame.records` field with its key.
pub(crate) fn record_length(bytes: &[u8]) -> Result<usize, String> {
    let mut rest = bytes;
    match decode_key(&mut rest).map_err(|e| e.to_string())? {
        (RECORDS, WireType::LengthDelimited) => split_field(&mut rest)?,
        (tag, _) => return Err(format!("there is field {tag} where a record was expected")),
    };
    Ok(bytes.len() - rest.len())
}

pub(crate) fn command_id(mut bytes: &[u8]) -> Option<u64> {
    loop {
        match decode_key(&mut bytes).ok()? {
            (1..=4 | 6 | 7, WireType::LengthDelimited) => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                // A command that is cut off may still carry its id.
                return first_id(bytes.get(..length).unwrap_or(bytes));
            }
            (tag, wire_type) => skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?,
        }
    }
}

fn first_id(mut body: &[u8]) -> Option<u64> {
    loop {
        match decode_key(&mut body).ok()? {
            (1, WireType::Varint) => return decode_varint(&mut body).ok(),
            (tag, wire_type) => skip_field(wire_type, tag, &mut body, DecodeContext::default()).ok()?,
        }
    }
}

fn split_field<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], String> {
    let length = decode_varint(rest).map_err(|e| e.to_string())?;
    let (field, after) = usize::try_from(length)
        .ok()
        .and_then(|length| rest.split_at_checked(length))
        .ok_or_else(|| format!("a record claims {length} bytes, {} are there", rest.len()))?;
    *rest = after;
    Ok(field)
}

fn to_pb(message: &Message) -> pb::Record {
    use pb::record::Body as Pb;
    let control = |body| pb::Record { body: Some(body), ..pb::Record::default() };
    match message {
        Message::Record(record) => record_to_pb(record),
        Message::Hello(m) => control(Pb::Hello(m.clone())),
        Message::Subscribed(m) => control(Pb::Subscribed(m.clone())),
        Message::Notice(m) => control(Pb::Notice(m.clone())),
        Message::Heartbeat(m) => control(Pb::Heartbeat(m.clone())),
        Message::Ledger(m) => control(Pb::Ledger(m.clone())),
        Message::Error(m) => control(Pb::Error(m.clone())),
        Message::Identity(m) => control(Pb::Identity(m.clone())),
        Message::Sent(_) => pb::Record::default(),
    }
}

fn record_to_pb(record: &Record) -> pb::Record {
    use pb::record::Body as Pb;
    let mut out = pb::Record {
        instrument: record.instrument,
        sequence: record.sequence,
        event_time: record.event_time,
        receive_delay: record.receive_delay(),
        ..pb::Record::default()
    };
    out.body = Some(match &record.body {
        Body::Quote(quote) => {
            let parts = QuoteParts::from(*quote);
            out.bid_price = parts.bid_price;
            out.bid_size = parts.bid_size;
            out.ask_offset = parts.ask_offset;
            Pb::AskSize(parts.ask_size)
        }
        Body::Trade(body) => Pb::Trade(body.clone()),
        Body::Book(body) => Pb::Book(body.into()),
        Body::Bar(body) => Pb::Bar(*body),
        Body::Stat(body) => Pb::Stat(*body),
        Body::Status(body) => Pb::Status(body.clone()),
        Body::Instrument(body) => Pb::InstrumentDefinition(body.clone()),
        Body::Derivative(body) => Pb::Derivative(*body),
        Body::Gap(body) => Pb::Gap(*body),
    });
    out
}

fn from_pb(pb: pb::Record) -> Result<Option<Message>, String> {
    use pb::record::Body as Pb;
    let Some(body) = pb.body else { return Ok(None) };
    let body = match body {
        Pb::AskSize(ask_size) => {
            let (bid_price, bid_size, ask_offset) = (pb.bid_price, pb.bid_size, pb.ask_offset);
            Body::Quote(QuoteParts { bid_price, bid_size, ask_offset, ask_size }.into())
        }
        Pb::Trade(body) => Body::Trade(body),
        Pb::Book(body) => Body::Book(body.try_into()?),
        Pb::Bar(body) => Body::Bar(body),
        Pb::Stat(body) => Body::Stat(body),
        Pb::Status(body) => Body::Status(body),
        Pb::InstrumentDefinition(body) => Body::Instrument(body),
        Pb::Derivative(body) => Body::Derivative(body),
        Pb::Gap(body) => Body::Gap(body),
        Pb::Hello(m) => return Ok(Some(Message::Hello(m))),
        Pb::Subscribed(m) => return Ok(Some(Message::Subscribed(m))),
        Pb::Notice(m) => return Ok(Some(Message::Notice(m))),
        Pb::Heartbeat(m) => return Ok(Some(Message::Heartbeat(m))),
        Pb::Ledger(m) => return Ok(Some(Message::Ledger(m))),
        Pb::Error(m) => return Ok(Some(Message::Error(m))),
        Pb::Identity(m) => return Ok(Some(Message::Identity(m))),
    };
    Ok(Some(Message::Record(Record {
        instrument: pb.instrument,
        sequence: pb.sequence,
        event_time: pb.event_time,
        receive_time: pb.event_time.wrapping_add_signed(pb.receive_delay),
        body,
    })))
}

/// A quote as both binary encodings carry it: the ask relative to the bid.
pub(crate) struct QuoteParts {
    pub(crate) bid_price: Option<i64>,
    pub(crate) bid_size: u64,
    pub(crate) ask_offset: Option<i64>,
    pub(crate) ask_size: u64,
}

impl From<Quote> for QuoteParts {
    fn from(quote: Quote) -> Self {
        let base = quote.bid.map_or(0, |bid| bid.price);
        Self {
            bid_price: quote.bid.map(|bid| bid.price),
            bid_size: quote.bid.map_or(0, |bid| bid.size),
            ask_offset: quote.ask.map(|ask| ask.price.wrapping_sub(base)),
            ask_size: quote.ask.map_or(0, |ask| ask.size),
        }
    }
}

impl From<QuoteParts> for Quote {
    fn from(parts: QuoteParts) -> Self {
        let base = parts.bid_price.unwrap_or(0);
        let ask = |offset| Level { price: base.wrapping_add(offset), size: parts.ask_size };
        Self {
            bid: parts.bid_price.map(|price| Level { price, size: parts.bid_size }),
            ask: parts.ask_offset.map(ask),
        }
    }
}

impl From<&Book> for pb::Book {
    fn from(book: &Book) -> Self {
        let (bid_prices, bid_sizes) = split_levels(&book.bids);
        let (ask_prices, ask_sizes) = split_levels(&book.asks);
        Self {
            snapshot: book.snapshot,
            first_sequence: book.first_sequence,
            bid_prices,
            bid_sizes,
            ask_prices,
            ask_sizes,
            checksum: book.checksum,
        }
    }
}

impl TryFrom<pb::Book> for Book {
    type Error = String;

    fn try_from(book: pb::Book) -> Result<Self, String> {
        Ok(Self {
            snapshot: book.snapshot,
            first_sequence: book.first_sequence,
            bids: join_levels(&book.bid_prices, &book.bid_sizes)?,
            asks: join_levels(&book.ask_prices, &book.ask_sizes)?,
            checksum: book.checksum,
        })
    }
}

fn split_levels(levels: &[Level]) -> (Vec<i64>, Vec<u64>) {
    let mut before = 0;
    let prices =
        levels.iter().map(|level| level.price.wrapping_sub(std::mem::replace(&mut before, level.price)));
    (prices.collect(), levels.iter().map(|level| level.size).collect())
}

fn join_levels(prices: &[i64], sizes: &[u64]) -> Result<Vec<Level>, String> {
    if prices.len() != sizes.len() {
        return Err(format!("a book has {} prices and {} sizes on one side", prices.len(), sizes.len()));
    }
    let mut price = 0i64;
    let join = |(step, size): (&i64, &u64)| {
        price = price.wrapping_add(*step);
        Level { price, size: *size }
    };
    Ok(prices.iter().zip(sizes).map(join).collect())
}

pub(crate) fn encode_command(command: &Command, out: &mut Vec<u8>) {
    let op = match command.clone() {
        Command::Subscribe(c) => Op::Subscribe(c),
        Command::Unsubscribe(c) => Op::Unsubscribe(c),
        Command::SetRate(c) => Op::SetRate(c),
        Command::Resume(c) => Op::Resume(c),
        Command::Receipt(c) => Op::Receipt(c),
        Command::Ledger(c) => Op::Ledger(c),
        Command::Token(c) => Op::Token(c),
    };
    pb::Command { op: Some(op) }.encode_raw(out);
}

pub(crate) fn decode_command(bytes: &[u8]) -> Result<Command, String> {
    let command = pb::Command::decode(bytes).map_err(|e| e.to_string())?;
    let op = command.op.ok_or("there is no command in it, or one that this version does not know")?;
    if count_ops(bytes)? > 1 {
        return Err("there is more than one command in one message".to_owned());
    }
    Ok(match op {
        Op::Subscribe(c) => Command::Subscribe(c),
        Op::Unsubscribe(c) => Command::Unsubscribe(c),
        Op::SetRate(c) => Command::SetRate(c),
        Op::Resume(c) => Command::Resume(c),
        Op::Receipt(c) => Command::Receipt(c),
        Op::Ledger(c) => Command::Ledger(c),
        Op::Token(c) => Command::Token(c),
    })
}

/// Protobuf merges or replaces repeated operations without a word; here every command must have its response.
fn count_ops(bytes: &[u8]) -> Result<usize, String> {
    let mut rest = bytes;
    let mut ops = 0;
    while !rest.is_empty() {
        let (tag, wire_type) = decode_key(&mut rest).map_err(|e| e.to_string())?;
        skip_field(wire_type, tag, &mut rest, DecodeContext::default()).map_err(|e| e.to_string())?;
        ops += usize::from((1..=7).contains(&tag));
    }
    Ok(ops)
}

#[cfg(test)]
#[path = "proto_tests.rs"]
mod tests;
