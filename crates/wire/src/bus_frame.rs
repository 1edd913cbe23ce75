//! The header in front of the records of one bus message.
//!
//! All records of a bus message are of one (instrument, channel) and their sequence numbers are contiguous, so that a
//! gateway finds order and loss without decoding them. Little-endian:
//!
//! | bytes | field |
//! |---|---|
//! | 0 | `T` |
//! | 1 | version, 1 |
//! | 2 | encoding: 0 Protobuf, 1 MessagePack |
//! | 3 | channel's number |
//! | 4..8 | instrument |
//! | 8..16 | epoch of the ingester's sequence |
//! | 16..24 | first sequence number |
//! | 24..32 | last sequence number |
//! | 32..40 | publish time, nanoseconds since the Unix epoch |
//! | 40.. | records |
//!
//! Either there is one record for each sequence number, or exactly one record, a gap, that stands for all of them.

use crate::codec::Encoding;
use crate::pb::Channel;
use crate::{msgpack, proto};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 40;

const MAGIC: u8 = b'T';
const VERSION: u8 = 1;

/// The header of a bus message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusHeader {
    /// Protobuf or MessagePack, never JSON.
    pub encoding: Encoding,
    /// The channel of every record in the message.
    pub channel: Channel,
    /// The instrument id of every record in the message.
    pub instrument: u32,
    /// The epoch of the run. It changes when an ingester lost its sequence.
    pub epoch: u64,
    /// The sequence number of the first record.
    pub first_sequence: u64,
    /// The sequence number of the last record.
    pub last_sequence: u64,
    /// The time of publishing, in nanoseconds since the Unix epoch, by the ingester's clock.
    pub publish_time: u64,
}

/// The reason why a bus message could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusFrameError {
    /// The message ends before its header does.
    #[error("{0} bytes are too few for a header of {HEADER_BYTES}")]
    Short(usize),
    /// The message is of something else, or of another version.
    #[error(
        "this is not a Tickwire bus message of version {VERSION} (it starts with {magic:#04x}, version {version})"
    )]
    Foreign {
        /// The first byte.
        magic: u8,
        /// The second byte.
        version: u8,
    },
    /// A byte of the header has no meaning.
    #[error("byte {at} of the header has the unknown value {value}")]
    Unknown {
        /// The place of the byte, from 0.
        at: usize,
        /// The value of the byte.
        value: u8,
    },
    /// The header names no sequence numbers.
    #[error("sequence numbers {first} to {last} are no range")]
    Range {
        /// The first sequence number.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A record cannot be found or read.
    #[error("the record at byte {at} is damaged: {reason}")]
    Record {
        /// The place where it begins, in bytes from the beginning of the message.
        at: usize,
        /// A text that says what is wrong with it.
        reason: String,
    },
}

impl BusHeader {
    /// The bytes that a bus must take in one message, at least: header, a record of any kind but books, and some
    /// levels.
    pub const PAYLOAD_LEAST: usize = 4096;

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[MAGIC, VERSION, self.encoding as u8, self.channel as u8]);
        out.extend_from_slice(&self.instrument.to_le_bytes());
        for field in [self.epoch, self.first_sequence, self.last_sequence, self.publish_time] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    /// Reads the header; returns it and the bytes of the records.
    ///
    /// # Errors
    /// Returns an error when the bytes are too few, of another version, or contradict themselves.
    pub fn parse(bytes: &[u8]) -> Result<(Self, &[u8]), BusFrameError> {
        let Some((header, records)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(BusFrameError::Short(bytes.len()));
        };
        if header[0] != MAGIC || header[1] != VERSION {
            return Err(BusFrameError::Foreign { magic: header[0], version: header[1] });
        }
        let encoding = match header[2] {
            0 => Encoding::Proto,
            1 => Encoding::MsgPack,
            value => return Err(BusFrameError::Unknown { at: 2, value }),
        };
        let channel =
            Channel::try_from(i32::from(header[3])).ok().filter(|channel| *channel != Channel::Unknown);
        let channel = channel.ok_or(BusFrameError::Unknown { at: 3, value: header[3] })?;
        let byte = |at: usize| u64::from(header[at]);
        let word = |at: usize| (at..at + 8).rev().fold(0, |word, at| word << 8 | byte(at));
        let (first, last) = (word(16), word(24));
        if first == 0 || last < first {
            return Err(BusFrameError::Range { first, last });
        }
        let instrument = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let header = Self {
            encoding,
            channel,
            instrument,
            epoch: word(8),
            first_sequence: first,
            last_sequence: last,
            publish_time: word(32),
        };
        Ok((header, records))
    }

    /// Returns the records, each as the bytes of a message of its own, with its sequence numbers (first, last). The
    /// iterator ends after the first error; sequence numbers without a record are one.
    pub fn split<'a>(&self, records: &'a [u8]) -> Split<'a> {
        Split {
            encoding: self.encoding,
            records,
            at: 0,
            next_sequence: Some(self.first_sequence),
            last_sequence: self.last_sequence,
        }
    }
}

/// An iterator over the records of a bus message: see [`BusHeader::split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    encoding: Encoding,
    records: &'a [u8],
    at: usize,
    /// The sequence number of the next record; nothing when every sequence number had its record.
    next_sequence: Option<u64>,
    last_sequence: u64,
}

impl<'a> Iterator for Split<'a> {
    /// The first and last sequence number, and the bytes.
    type Item = Result<(u64, u64, &'a [u8]), BusFrameError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.records.get(at..)?;
        if rest.is_empty() {
            let first = self.next_sequence?;
            self.next_sequence = None;
            let reason =
                format!("there are no records for the sequence numbers {first} to {}", self.last_sequence);
            return Some(Err(self.fail(at, reason)));
        }
        let length = match self.encoding {
            Encoding::Proto => proto::record_length(rest),
            _ => msgpack::record_length(rest),
        };
        let length = match length {
            Ok(length) => length,
            Err(reason) => return Some(Err(self.fail(at, reason))),
        };
        let Some(first) = self.next_sequence else {
            return Some(Err(self.fail(
                at,
                format!("there are more records than sequence numbers up to {}", self.last_sequence),
            )));
        };
        self.at += length;
        let is_only = at == 0 && self.at == self.records.len();
        let last = if is_only { self.last_sequence } else { first };
        self.next_sequence = last.checked_add(1).filter(|next| *next <= self.last_sequence);
        Some(Ok((first, last, &rest[..length])))
    }
}

impl Split<'_> {
    fn fail(&mut self, at: usize, reason: String) -> BusFrameError {
        self.at = self.records.len();
        self.next_sequence = None;
        BusFrameError::Record { at: HEADER_BYTES + at, reason }
    }
}
