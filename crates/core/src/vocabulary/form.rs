//! Forms: the ways in which a record is written for a session.

use std::fmt;

use tickwire_wire::{Encoding, Message, Record, encode_message};

use super::ids::{InstrumentInfo, TopicId};

/// The origin of a record, which a record does not say itself.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The topic that it is of.
    pub topic: TopicId,
    /// The instrument that it is of.
    pub info: &'a InstrumentInfo,
    /// The first sequence number that it stands for; the last one is its own.
    pub first: u64,
}

/// Appends a record as its form writes it. What a protocol has no word for, it leaves out.
pub type WriteRecord = fn(origin: &Origin<'_>, record: Record, out: &mut Vec<u8>);

/// The form in which records are written for sessions: one of our encodings, or that of a foreign protocol. Sessions of all shards whose
/// forms have the same slot share the bytes of a record, so it is written once for all of them.
#[derive(Clone, Copy)]
pub struct Form {
    slot: u8,
    write: WriteRecord,
}

/// The first slot of foreign protocols. The slots below it are those of our encodings.
const FOREIGN: u8 = Encoding::ALL.len() as u8;

impl Form {
    /// Makes the form of one of our encodings.
    pub const fn own(encoding: Encoding) -> Self {
        let write: WriteRecord = match encoding {
            Encoding::Proto => |origin, record, out| encode(Encoding::Proto, origin, record, out),
            Encoding::MsgPack => |origin, record, out| encode(Encoding::MsgPack, origin, record, out),
            Encoding::Json => |origin, record, out| encode(Encoding::Json, origin, record, out),
        };
        Self { slot: encoding as u8, write }
    }

    /// Makes a form of a foreign protocol. No other form of this gateway may have the same `number`.
    ///
    /// # Panics
    /// When `number` is above 250. Forms are constants, so this is found when the gateway is compiled.
    pub const fn foreign(number: u8, write: WriteRecord) -> Self {
        assert!(number <= 250, "a form's number is at most 250");
        Self { slot: FOREIGN + number, write }
    }

    /// Returns the number that tells this form from others. It counts from 0, and our encodings have the order of
    /// [`Encoding::ALL`].
    #[inline]
    pub(crate) fn slot(&self) -> u8 {
        self.slot
    }

    pub(crate) fn write(&self, origin: &Origin<'_>, record: Record, out: &mut Vec<u8>) {
        (self.write)(origin, record, out);
    }
}

fn encode(encoding: Encoding, origin: &Origin<'_>, record: Record, out: &mut Vec<u8>) {
    encode_message(encoding, &Message::Record(record), &origin.info.scale, out);
}

impl PartialEq for Form {
    fn eq(&self, other: &Self) -> bool {
        self.slot == other.slot
    }
}

impl Eq for Form {}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Form").field(&self.slot).finish()
    }
}
