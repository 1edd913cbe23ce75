//! MessagePack: each message is one array, `[kind, ...]`, where `kind` is the field number of its body in
//! `tickwire.v1.Record` (and of the operation in `tickwire.v1.Command`). Messages one after another concatenate.
//!
//! A quote is `[8, instrument, sequence, event_time, receive_delay, bid_price, bid_size, ask_offset, ask_size]`; other
//! market data is `[kind, instrument, sequence, event_time, receive_delay, [body]]`; control is `[kind, [body]]`; the
//! send time is `[2, time]`. A body lists its fields in the order of their numbers. Readers ignore elements beyond
//! those that they know.

use std::fmt;

use rmp::Marker;
use rmp::decode::{read_array_len, read_int, read_marker};
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::forms::Tolerant;
use crate::message::{Command, Message};
use crate::pb;
use crate::proto::QuoteParts;
use crate::record::{Body, Record};

/// The depth of arrays inside each other, at most: a message holds a list of messages and no more.
const DEPTH_MAX: usize = 8;

const SENT: u8 = 2;
const QUOTE: u8 = 8;
const TRADE: u8 = 9;
const BOOK: u8 = 10;
const BAR: u8 = 11;
const STAT: u8 = 12;
const STATUS: u8 = 13;
const INSTRUMENT: u8 = 14;
const GAP: u8 = 15;
const HELLO: u8 = 16;
const SUBSCRIBED: u8 = 17;
const NOTICE: u8 = 18;
const HEARTBEAT: u8 = 19;
const LEDGER: u8 = 20;
const ERROR: u8 = 21;
const DERIVATIVE: u8 = 22;
const IDENTITY: u8 = 23;

pub(crate) fn encode(message: &Message, out: &mut Vec<u8>) {
    write(message, out);
}

pub(crate) fn encode_command(command: &Command, out: &mut Vec<u8>) {
    match command {
        Command::Subscribe(c) => write(&(1, c), out),
        Command::Unsubscribe(c) => write(&(2, c), out),
        Command::SetRate(c) => write(&(3, c), out),
        Command::Resume(c) => write(&(4, c), out),
        Command::Receipt(c) => write(&(5, c), out),
        Command::Ledger(c) => write(&(6, c), out),
        Command::Token(c) => write(&(7, c), out),
    }
}

fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    value
        .serialize(&mut rmp_serde::Serializer::new(out))
        .expect("writing to memory fails for no message: they hold integers, text and lists of known length");
}

/// Reads the first array; returns its message, unless its kind is unknown, and how many bytes it took.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Option<Message>, usize), String> {
    let (Known(message), used) = read(bytes)?;
    Ok((message, used))
}

pub(crate) fn decode_command(bytes: &[u8]) -> Result<Command, String> {
    let (CommandArray(command), used) = read(bytes)?;
    if used != bytes.len() {
        return Err(format!("{} bytes follow the command", bytes.len() - used));
    }
    Ok(command)
}

pub(crate) fn command_id(mut bytes: &[u8]) -> Option<u64> {
    read_array_len(&mut bytes).ok()?;
    let op: u64 = read_int(&mut bytes).ok()?;
    if !matches!(op, 1..=4 | 6 | 7) {
        return None;
    }
    read_array_len(&mut bytes).ok()?;
    read_int(&mut bytes).ok()
}

/// Returns the length of the first value, found without decoding it. Refuses containers that claim more values than
/// bytes follow, so that whoever reads the value afterwards may trust its counts.
pub(crate) fn record_length(bytes: &[u8]) -> Result<usize, String> {
    let mut rest = bytes;
    let mut pending: usize = 1;
    while pending > 0 {
        let (skipped, nested) = value_head(&mut rest)?;
        rest = rest.get(skipped..).ok_or_else(|| claim(skipped, rest))?;
        pending = (pending - 1).saturating_add(nested);
        if pending > rest.len() {
            return Err(claim(pending, rest));
        }
    }
    Ok(bytes.len() - rest.len())
}

fn claim(needed: usize, rest: &[u8]) -> String {
    format!("a value claims {needed} bytes or more, {} are there", rest.len())
}

/// Reads what stands in front of a value: how many bytes of it follow, and how many values are inside it.
fn value_head(rest: &mut &[u8]) -> Result<(usize, usize), String> {
    let marker = read_marker(rest).map_err(|_| "a value is cut off".to_owned())?;
    Ok(match marker {
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => (0, 0),
        Marker::U8 | Marker::I8 => (1, 0),
        Marker::U16 | Marker::I16 | Marker::FixExt1 => (2, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
        Marker::FixStr(length) => (length.into(), 0),
        Marker::Str8 | Marker::Bin8 => (number::<1>(rest)?, 0),
        Marker::Str16 | Marker::Bin16 => (number::<2>(rest)?, 0),
        Marker::Str32 | Marker::Bin32 => (number::<4>(rest)?, 0),
        Marker::FixArray(count) => (0, count.into()),
        Marker::Array16 => (0, number::<2>(rest)?),
        Marker::Array32 => (0, number::<4>(rest)?),
        Marker::FixMap(count) => (0, usize::from(count) * 2),
        Marker::Map16 => (0, number::<2>(rest)? * 2),
        Marker::Map32 => (0, number::<4>(rest)?.saturating_mul(2)),
        Marker::FixExt2 => (3, 0),
        Marker::FixExt4 => (5, 0),
        Marker::FixExt8 => (9, 0),
        Marker::FixExt16 => (17, 0),
        Marker::Ext8 => (number::<1>(rest)? + 1, 0),
        Marker::Ext16 => (number::<2>(rest)? + 1, 0),
        Marker::Ext32 => (number::<4>(rest)?.saturating_add(1), 0),
        Marker::Reserved => return Err("byte 0xc1 begins no value".to_owned()),
    })
}

/// Reads a length of `N` bytes, big-endian.
fn number<const N: usize>(rest: &mut &[u8]) -> Result<usize, String> {
    let (number, after) = rest.split_first_chunk::<N>().ok_or("a length is cut off")?;
    *rest = after;
    Ok(number.iter().fold(0, |value, byte| value << 8 | usize::from(*byte)))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(T, usize), String> {
    let length = record_length(bytes)?;
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(&bytes[..length]);
    deserializer.set_max_depth(DEPTH_MAX);
    let value = T::deserialize(&mut deserializer).map_err(|e| e.to_string())?;
    Ok((value, length))
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(record) => record.serialize(serializer),
            Self::Hello(m) => (HELLO, m).serialize(serializer),
            Self::Subscribed(m) => (SUBSCRIBED, m).serialize(serializer),
            Self::Notice(m) => (NOTICE, m).serialize(serializer),
            Self::Heartbeat(m) => (HEARTBEAT, m).serialize(serializer),
            Self::Ledger(m) => (LEDGER, m).serialize(serializer),
            Self::Error(m) => (ERROR, m).serialize(serializer),
            Self::Identity(m) => (IDENTITY, m).serialize(serializer),
            Self::Sent(time) => (SENT, time).serialize(serializer),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (i, s, t, d) = (self.instrument, self.sequence, self.event_time, self.receive_delay());
        match &self.body {
            Body::Quote(quote) => {
                let q = QuoteParts::from(*quote);
                (QUOTE, i, s, t, d, q.bid_price, q.bid_size, q.ask_offset, q.ask_size).serialize(serializer)
            }
            Body::Trade(body) => (TRADE, i, s, t, d, body).serialize(serializer),
            Body::Book(body) => (BOOK, i, s, t, d, pb::Book::from(body)).serialize(serializer),
            Body::Bar(body) => (BAR, i, s, t, d, body).serialize(serializer),
            Body::Stat(body) => (STAT, i, s, t, d, body).serialize(serializer),
            Body::Status(body) => (STATUS, i, s, t, d, body).serialize(serializer),
            Body::Instrument(body) => (INSTRUMENT, i, s, t, d, body).serialize(serializer),
            Body::Derivative(body) => (DERIVATIVE, i, s, t, d, body).serialize(serializer),
            Body::Gap(body) => (GAP, i, s, t, d, body).serialize(serializer),
        }
    }
}

/// A message, or nothing where the kind is unknown.
struct Known(Option<Message>);

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KnownVisitor;

        impl<'de> Visitor<'de> for KnownVisitor {
            type Value = Known;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array that starts with the kind of the message")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Known, A::Error> {
                let message = read_message(&mut seq)?;
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Known(message))
            }
        }

        deserializer.deserialize_seq(KnownVisitor)
    }
}

fn read_message<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Option<Message>, A::Error> {
    let kind: u64 = element(seq)?;
    Ok(Some(match u8::try_from(kind).unwrap_or(0) {
        SENT => Message::Sent(element(seq)?),
        QUOTE..=GAP | DERIVATIVE => Message::Record(read_record(kind as u8, seq)?),
        HELLO => Message::Hello(body(seq)?),
        SUBSCRIBED => Message::Subscribed(body(seq)?),
        NOTICE => Message::Notice(body(seq)?),
        HEARTBEAT => Message::Heartbeat(body(seq)?),
        LEDGER => Message::Ledger(body(seq)?),
        ERROR => Message::Error(body(seq)?),
        IDENTITY => Message::Identity(body(seq)?),
        _ => return Ok(None),
    }))
}

fn read_record<'de, A: SeqAccess<'de>>(kind: u8, seq: &mut A) -> Result<Record, A::Error> {
    let (instrument, sequence, event_time) = (element(seq)?, element(seq)?, element(seq)?);
    let delay: i64 = element(seq)?;
    let body = match kind {
        QUOTE => {
            let (bid_price, bid_size, ask_offset, ask_size) =
                (element(seq)?, element(seq)?, element(seq)?, element(seq)?);
            Body::Quote(QuoteParts { bid_price, bid_size, ask_offset, ask_size }.into())
        }
        TRADE => Body::Trade(body(seq)?),
        BOOK => Body::Book(body::<pb::Book, A>(seq)?.try_into().map_err(de::Error::custom)?),
        BAR => Body::Bar(body(seq)?),
        STAT => Body::Stat(body(seq)?),
        STATUS => Body::Status(body(seq)?),
        INSTRUMENT => Body::Instrument(body(seq)?),
        DERIVATIVE => Body::Derivative(body(seq)?),
        _ => Body::Gap(body(seq)?),
    };
    let receive_time = u64::wrapping_add_signed(event_time, delay);
    Ok(Record { instrument, sequence, event_time, receive_time, body })
}

fn element<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| de::Error::custom("the array ends too early"))
}

fn body<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(seq: &mut A) -> Result<T, A::Error> {
    element(seq).map(|Tolerant(body)| body)
}

struct CommandArray(Command);

impl<'de> Deserialize<'de> for CommandArray {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CommandVisitor;

        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = CommandArray;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array: the number of the operation and its body")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<CommandArray, A::Error> {
                let command = match element::<u64, A>(&mut seq)? {
                    1 => Command::Subscribe(body(&mut seq)?),
                    2 => Command::Unsubscribe(body(&mut seq)?),
                    3 => Command::SetRate(body(&mut seq)?),
                    4 => Command::Resume(body(&mut seq)?),
                    5 => Command::Receipt(body(&mut seq)?),
                    6 => Command::Ledger(body(&mut seq)?),
                    7 => Command::Token(body(&mut seq)?),
                    op => return Err(de::Error::custom(format!("operation {op} is unknown; 1 to 7 exist"))),
                };
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(CommandArray(command))
            }
        }

        deserializer.deserialize_seq(CommandVisitor)
    }
}
