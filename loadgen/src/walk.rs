//! The Protobuf of a WebSocket message, walked without making anything of it: of each record the numbers that checks and
//! latencies need, and nothing allocated. `proto/tickwire/v1/record.proto` has the fields; what is not market data is
//! handed out as bytes for the codec.
//!
//! The tags are of the Protobuf encoding: field number times 8 plus wire type (0 varint, 1 fixed64, 2 bytes, 5 fixed32).

use tickwire_wire::Channel;

/// One record, or what else a message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    Market(Market),
    /// A gap, or the session's own matters: a frame with this one record.
    Other(&'a [u8]),
}

/// A record of market data, as far as it is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Market {
    pub(crate) instrument: u32,
    /// As in `Channel`; never 0.
    pub(crate) channel: u8,
    pub(crate) sequence: u64,
    pub(crate) event_time: u64,
    pub(crate) receive_time: u64,
    /// Of a quote: its prices and sizes as they are on the wire, absent ones as `u64::MAX`.
    pub(crate) quote: [u64; 4],
    /// Of a book change that covers several numbers; else 0.
    pub(crate) first_sequence: u64,
    pub(crate) is_snapshot: bool,
}

/// The bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

const RECORDS: u64 = 1 << 3 | 2;
const SENT_TIME: u64 = 2 << 3 | 1;

/// The gateway's send time, which ends a message.
pub(crate) fn sent_time(message: &[u8]) -> Option<u64> {
    let (rest, time) = message.split_last_chunk::<8>()?;
    (*rest.last()? == SENT_TIME as u8).then(|| u64::from_le_bytes(*time))
}

/// Hands out each record in order; returns the send time.
pub(crate) fn walk<'a>(message: &'a [u8], mut each: impl FnMut(Item<'a>)) -> Result<Option<u64>, Malformed> {
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
            SENT_TIME => sent = Some(fixed64(&mut rest)?),
            tag => skip(tag, &mut rest)?,
        }
    }
    Ok(sent)
}

/// None: not market data.
fn market(record: &[u8]) -> Result<Option<Market>, Malformed> {
    let mut found = Market { quote: [u64::MAX; 4], ..Market::default() };
    let mut delay = 0;
    let mut rest = record;
    while !rest.is_empty() {
        match varint(&mut rest)? {
            0x08 => found.instrument = varint(&mut rest)? as u32,
            0x10 => found.sequence = varint(&mut rest)?,
            0x19 => found.event_time = fixed64(&mut rest)?,
            0x20 => delay = zigzag(varint(&mut rest)?),
            0x28 => found.quote[0] = varint(&mut rest)?,
            0x30 => found.quote[1] = varint(&mut rest)?,
            0x38 => found.quote[2] = varint(&mut rest)?,
            0x40 => {
                found.quote[3] = varint(&mut rest)?;
                found.channel = Channel::Quote as u8;
            }
            0x4a => body(&mut found, Channel::Trade, &mut rest)?,
            0x52 => {
                let book = bytes(&mut rest)?;
                found.channel = Channel::Book as u8;
                book_head(&mut found, book)?;
            }
            0x5a => body(&mut found, Channel::Bar, &mut rest)?,
            0x62 => body(&mut found, Channel::Stat, &mut rest)?,
            0x6a => body(&mut found, Channel::Status, &mut rest)?,
            0x72 => body(&mut found, Channel::Instrument, &mut rest)?,
            0xb2 => body(&mut found, Channel::Derivative, &mut rest)?,
            tag => skip(tag, &mut rest)?,
        }
    }
    found.receive_time = found.event_time.wrapping_add_signed(delay);
    Ok((found.channel != 0).then_some(found))
}

fn body(found: &mut Market, channel: Channel, rest: &mut &[u8]) -> Result<(), Malformed> {
    bytes(rest)?;
    found.channel = channel as u8;
    Ok(())
}

/// `snapshot` and `first_sequence` come before the levels; a sender may order fields as it likes, so all are looked at.
fn book_head(found: &mut Market, book: &[u8]) -> Result<(), Malformed> {
    let mut rest = book;
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
    if let [byte @ 0..=0x7f, tail @ ..] = *rest {
        *rest = tail;
        return Ok(u64::from(*byte));
    }
    let mut value = 0;
    for (at, byte) in rest.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if *byte < 0x80 {
            *rest = &rest[at + 1..];
            return Ok(value);
        }
    }
    Err(Malformed)
}

#[inline]
fn fixed64(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let (time, tail) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
    *rest = tail;
    Ok(u64::from_le_bytes(*time))
}

#[inline]
pub(crate) fn bytes<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Malformed> {
    let length = varint(rest)?;
    let length = usize::try_from(length).map_err(|_| Malformed)?;
    let (found, tail) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = tail;
    Ok(found)
}

pub(crate) fn skip(tag: u64, rest: &mut &[u8]) -> Result<(), Malformed> {
    match tag & 7 {
        0 => drop(varint(rest)?),
        1 => drop(fixed64(rest)?),
        2 => drop(bytes(rest)?),
        5 => *rest = rest.split_first_chunk::<4>().ok_or(Malformed)?.1,
        _ => return Err(Malformed),
    }
    Ok(())
}

fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use tickwire_wire::{
        Batch, Body, Book, Encoding, Gap, Level, Message, Quote, Record, Scale, Trade, encode_message,
    };

    use super::*;

    fn record(sequence: u64, body: Body) -> Record {
        let (event_time, receive_time) = (1_767_623_400_123_456_789, 1_767_623_400_123_000_000 + sequence);
        Record { instrument: 70_000, sequence, event_time, receive_time, body }
    }

    fn quote(bid: i64) -> Body {
        let side = |price| Some(Level { price, size: 1_000 });
        Body::Quote(Quote { bid: side(bid), ask: side(bid + 2) })
    }

    fn encoded(messages: &[Message]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for message in messages {
            encode_message(Encoding::Proto, message, &Scale::default(), &mut bytes);
        }
        bytes
    }

    #[test]
    fn it_sees_what_the_codec_sees() {
        let levels = vec![Level { price: 7, size: 8 }];
        let book = |snapshot, first_sequence| {
            Body::Book(Book {
                snapshot,
                first_sequence,
                bids: levels.clone(),
                asks: levels.clone(),
                checksum: None,
            })
        };
        let gap = Gap { channel: 2, cause: 3, first_sequence: 4, last_sequence: 9, epoch: 0 };
        let records = [
            record(1, quote(-5)),
            record(300, Body::Trade(Trade { price: 9, size: 1, ..Trade::default() })),
            record(7, book(true, 0)),
            record(1 << 40, book(false, 17)),
            record(9, Body::Gap(gap)),
            record(0, Body::Bar(tickwire_wire::Bar::default())),
        ];
        let mut messages: Vec<_> = records.iter().cloned().map(Message::Record).collect();
        messages.push(Message::Sent(77));
        let bytes = encoded(&messages);
        let mut seen = Vec::new();
        assert_eq!(walk(&bytes, |item| seen.push(item)), Ok(Some(77)));
        assert_eq!(sent_time(&bytes), Some(77));
        assert_eq!(seen.len(), records.len());
        for (record, item) in records.iter().zip(seen) {
            match item {
                Item::Market(found) => {
                    assert_eq!(found.channel, record.channel() as u8);
                    assert_eq!((found.instrument, found.sequence), (record.instrument, record.sequence));
                    assert_eq!(
                        (found.event_time, found.receive_time),
                        (record.event_time, record.receive_time)
                    );
                    if let Body::Book(book) = &record.body {
                        assert_eq!(
                            (found.is_snapshot, found.first_sequence),
                            (book.snapshot, book.first_sequence)
                        );
                    }
                }
                Item::Other(bytes) => {
                    let read: Vec<_> = Batch::new(Encoding::Proto, bytes).map(Result::unwrap).collect();
                    assert_eq!(read, [Message::Record(record.clone())]);
                }
            }
        }
    }

    #[test]
    fn quotes_that_differ_look_different() {
        let of = |bid| {
            let mut found = None;
            let bytes = encoded(&[Message::Record(record(1, quote(bid)))]);
            walk(&bytes, |item| found = Some(item)).unwrap();
            let Some(Item::Market(market)) = found else { panic!("{found:?}") };
            market.quote
        };
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }

    #[test]
    fn no_bytes_make_it_fail_otherwise_than_by_an_error() {
        let bytes = encoded(&[Message::Record(record(1, quote(5))), Message::Sent(9)]);
        for cut in 0..bytes.len() {
            let _ = walk(&bytes[..cut], |_| {});
            for bit in 0..8 {
                let mut wrong = bytes.clone();
                wrong[cut] ^= 1 << bit;
                let _ = walk(&wrong, |_| {});
            }
        }
        assert_eq!(
            walk(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], |_| {}),
            Err(Malformed)
        );
        assert_eq!(walk(&[0x0b], |_| {}), Err(Malformed));
    }
}
