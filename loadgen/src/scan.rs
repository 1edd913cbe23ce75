//! Scans the Protobuf of a WebSocket message without decoding it: of each record it reads what checks and latencies need, and
//! allocates nothing. `proto/tickwire/v1/record.proto` has the fields. What is not market data is passed on as bytes for the
//! codec.
//!
//! Tags are those of the Protobuf encoding: field number times 8 plus wire type (0 varint, 1 fixed64, 2 bytes, 5 fixed32).

use bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_varint, skip_field};
use tickwire_wire::Channel;

#[cfg(test)]
#[path = "../tests/units/scan.rs"]
mod tests;

/// One record, or what else a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Market(Market),
    /// A gap, or the session's own matters: a frame with this one record.
    Other(&'a [u8]),
}

/// The fields of a market data record that a scan reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Market {
    pub(crate) instrument: u32,
    /// As in `Channel`; never 0.
    pub(crate) channel: u8,
    pub(crate) sequence: u64,
    pub(crate) event_time: u64,
    pub(crate) receive_time: u64,
    /// Prices and sizes of a quote as they are on the wire; absent ones are `u64::MAX`.
    pub(crate) quote: [u64; 4],
    /// First sequence number of a book change that covers several; else 0.
    pub(crate) first_sequence: u64,
    pub(crate) is_snapshot: bool,
}

/// The bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

const RECORDS: u64 = 1 << 3 | 2;
const SENT_TIME: u64 = 2 << 3 | 1;

/// Returns the gateway's send time, which ends a message.
pub(crate) fn sent_time(message: &[u8]) -> Option<u64> {
    let (rest, time) = message.split_last_chunk::<8>()?;
    (*rest.last()? == SENT_TIME as u8).then(|| u64::from_le_bytes(*time))
}

/// Calls `each` for every record in order; returns the send time.
pub(crate) fn scan<'a>(message: &'a [u8], mut each: impl FnMut(Item<'a>)) -> Result<Option<u64>, Malformed> {
    let mut rest = message;
    let mut sent = None;
    while !rest.is_empty() {
        let from = rest;
        match varint(&mut rest)? {
            RECORDS => {
                let record = bytes(&mut rest)?;
                match market(record)? {
                    Some(found) => each(Item::Market(found)),
                    None => each(Item::Other(&from[..from.len() - rest.len()])),
                }
            }
            SENT_TIME => sent = Some(rest.try_get_u64_le().map_err(|_| Malformed)?),
            tag => skip(tag, &mut rest)?,
        }
    }
    Ok(sent)
}

/// Returns None where the record is not market data.
fn market(mut rest: &[u8]) -> Result<Option<Market>, Malformed> {
    let mut found = Market { quote: [u64::MAX; 4], ..Market::default() };
    let mut delay = 0;
    while !rest.is_empty() {
        match varint(&mut rest)? {
            0x08 => found.instrument = varint(&mut rest)? as u32,
            0x10 => found.sequence = varint(&mut rest)?,
            0x19 => found.event_time = rest.try_get_u64_le().map_err(|_| Malformed)?,
            0x20 => delay = varint(&mut rest)?,
            0x28 => found.quote[0] = varint(&mut rest)?,
            0x30 => found.quote[1] = varint(&mut rest)?,
            0x38 => found.quote[2] = varint(&mut rest)?,
            0x40 => {
                found.quote[3] = varint(&mut rest)?;
                found.channel = Channel::Quote as u8;
            }
            0x4a => body(&mut found, Channel::Trade, &mut rest)?,
            0x52 => {
                found.channel = Channel::Book as u8;
                book_head(&mut found, bytes(&mut rest)?)?;
            }
            0x5a => body(&mut found, Channel::Bar, &mut rest)?,
            0x62 => body(&mut found, Channel::Stat, &mut rest)?,
            0x6a => body(&mut found, Channel::Status, &mut rest)?,
            0x72 => body(&mut found, Channel::Instrument, &mut rest)?,
            0xb2 => body(&mut found, Channel::Derivative, &mut rest)?,
            tag => skip(tag, &mut rest)?,
        }
    }
    // A signed number, in zigzag.
    let delay = (delay >> 1) as i64 ^ -((delay & 1) as i64);
    found.receive_time = found.event_time.wrapping_add_signed(delay);
    Ok((found.channel != 0).then_some(found))
}

fn body(found: &mut Market, channel: Channel, rest: &mut &[u8]) -> Result<(), Malformed> {
    bytes(rest)?;
    found.channel = channel as u8;
    Ok(())
}

/// `snapshot` and `first_sequence` come before the levels; a sender may order fields as it likes, so all are looked at.
fn book_head(found: &mut Market, mut rest: &[u8]) -> Result<(), Malformed> {
    while !rest.is_empty() {
        match varint(&mut rest)? {
            0x08 => found.is_snapshot = varint(&mut rest)? != 0,
            0x10 => found.first_sequence = varint(&mut rest)?,
            tag => skip(tag, &mut rest)?,
        }
    }
    Ok(())
}

#[inline]
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    decode_varint(rest).map_err(|_| Malformed)
}

#[inline]
pub(crate) fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(varint(rest)?).map_err(|_| Malformed)?;
    let (found, tail) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = tail;
    Ok(found)
}

pub(crate) fn skip(tag: u64, rest: &mut &[u8]) -> Result<(), Malformed> {
    let wire_type = WireType::try_from(tag & 7).map_err(|_| Malformed)?;
    skip_field(wire_type, (tag >> 3) as u32, rest, DecodeContext::default()).map_err(|_| Malformed)
}
