//! A record that is shared by all sessions of all shards, with its bytes in each form.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use tickwire_wire::{Batch, Body, Channel, Encoding, Gap, GapCause, Message, Record};

use super::form::{Form, Origin};
use super::ids::{InstrumentInfo, TopicId};

/// One record with its bytes in each form. Each form is made at most once and shared by all sessions of all shards.
///
/// Every record from the bus becomes an update, so the type is small. As a rule it is one allocation that has everything that a
/// delivery reads.
#[derive(Debug)]
pub struct Update {
    /// The topic that it belongs to.
    pub topic: TopicId,
    /// The encoding in which it came over the bus.
    source: Encoding,
    /// The epoch of its sequence number.
    pub epoch: u64,
    /// The first sequence number that it stands for.
    pub first: u64,
    /// The last sequence number that it stands for.
    pub last: u64,
    /// The bytes as they came over the bus.
    came: Came,
    /// When it arrived at this gateway, in nanoseconds since the Unix epoch; 0 where it did not come from the bus just now.
    arrived: u64,
    /// When its ingester received it, in nanoseconds since the Unix epoch: by the clock of the ingester, but by that of this gateway
    /// where it was [dated](Update::dated).
    received: u64,
    info: Arc<InstrumentInfo>,
    record: OnceLock<Box<Record>>,
    /// The bytes in the forms in which it did not come.
    made: OnceLock<Box<Made>>,
}

/// The bytes in one form, and a list of the bytes in further forms. A list is enough, because most records are needed in no
/// more than one form beside the one in which they came.
#[derive(Debug)]
struct Made {
    slot: u8,
    bytes: Box<[u8]>,
    next: OnceLock<Box<Made>>,
}

/// Bytes as they came over the bus.
#[derive(Debug)]
enum Came {
    /// The record did not come over the bus.
    Not,
    /// The count of bytes, and an array that begins with them.
    Short(u8, [u8; SHORT]),
    /// More bytes than `SHORT`.
    Long(Box<[u8]>),
}

/// The most bytes that are kept within the update: quotes and trades of a usual size fit.
const SHORT: usize = 62;

const _: () = assert!(size_of::<Update>() <= 152);

impl Came {
    fn copy(bytes: &[u8]) -> Self {
        let mut short = [0; SHORT];
        match short.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                Self::Short(bytes.len() as u8, short)
            }
            None => Self::Long(bytes.into()),
        }
    }

    #[inline]
    fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Not => None,
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)),
            Self::Long(bytes) => Some(bytes),
        }
    }
}

impl Update {
    /// Makes an update of a record as it came over the bus. A record that cannot be decoded becomes a gap. The bytes are copied,
    /// because a slice of a bus message would keep the whole read buffer alive. `numbers` are its first and last sequence number.
    pub fn from_bus(
        info: Arc<InstrumentInfo>,
        channel: Channel,
        epoch: u64,
        numbers: (u64, u64),
        encoding: Encoding,
        bytes: &[u8],
    ) -> Self {
        let checked =
            Self::checked(info, channel, epoch, numbers, (encoding, bytes), |_| Ok::<_, Infallible>(()));
        checked.unwrap_or_else(|never| match never {})
    }

    /// Does what [`Update::from_bus`] does, or fails where the decoded record does not pass the check.
    pub(crate) fn checked<E>(
        info: Arc<InstrumentInfo>,
        channel: Channel,
        epoch: u64,
        (first, last): (u64, u64),
        (source, bytes): (Encoding, &[u8]),
        check: impl FnOnce(&Record) -> Result<(), E>,
    ) -> Result<Self, E> {
        let topic = TopicId::new(info.index, channel);
        let mut update = Self {
            topic,
            source,
            epoch,
            first,
            last,
            came: Came::copy(bytes),
            arrived: 0,
            received: 0,
            info,
            record: OnceLock::new(),
            made: OnceLock::new(),
        };
        let record = update.decode();
        check(&record)?;
        update.received = record.receive_time;
        // Of other records the decoded one is rarely needed again: most sessions take the bytes.
        if matches!(record.body, Body::Gap(_) | Body::Book(_) | Body::Bar(_)) {
            update.record = OnceLock::from(Box::new(record));
        }
        Ok(update)
    }

    /// Sets when it arrived at this gateway, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn at(mut self, arrived: u64) -> Self {
        self.arrived = arrived;
        self
    }

    /// Sets when its ingester received it, by the clock of this gateway: it came with a state, so its arrival says nothing.
    #[must_use]
    pub(crate) fn dated(mut self, received: u64) -> Self {
        self.received = received;
        self
    }

    /// Returns the time from which on it has been known, by the clock of this gateway, as far as that is known; 0 where it is not.
    pub(crate) fn known_since(&self) -> u64 {
        if self.arrived == 0 { self.received } else { self.arrived }
    }

    /// Returns when it arrived at this gateway; 0 where it did not come from the bus just now.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Makes an update of a record that the gateway made or has decoded already. It stands for the sequence numbers from `first`
    /// to the record's own.
    pub fn from_record(info: Arc<InstrumentInfo>, epoch: u64, first: u64, record: Record) -> Self {
        let topic = TopicId::new(info.index, record.channel());
        Self {
            topic,
            source: Encoding::Proto,
            epoch,
            first,
            last: record.sequence,
            came: Came::Not,
            arrived: 0,
            received: record.receive_time,
            info,
            record: OnceLock::from(Box::new(record)),
            made: OnceLock::new(),
        }
    }

    /// Makes a gap. `last` 0 says that the sequence is lost and starts again under `epoch`.
    pub fn gap(
        info: Arc<InstrumentInfo>,
        channel: Channel,
        cause: GapCause,
        first: u64,
        last: u64,
        epoch: u64,
    ) -> Self {
        let record = gap_record(info.id, channel, cause, first, last, epoch);
        Self::from_record(info, epoch, first, record)
    }

    /// Returns the record. What cannot be decoded has become a gap, so that it is announced and not passed on.
    pub fn record(&self) -> &Record {
        self.record.get_or_init(|| Box::new(self.decode()))
    }

    /// Returns whether it is kept decoded.
    #[cfg(test)]
    pub(crate) fn is_decoded(&self) -> bool {
        self.record.get().is_some()
    }

    fn decode(&self) -> Record {
        match Batch::new(self.source, self.came.get().unwrap_or_default()).next() {
            Some(Ok(Message::Record(record))) => record,
            _ => {
                let cause = GapCause::Bus;
                gap_record(self.info.id, self.topic.channel(), cause, self.first, self.last, self.epoch)
            }
        }
    }

    /// Returns when its ingester received it, in nanoseconds since the Unix epoch, by the ingester's clock where it came over the bus.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Returns its bytes in this form, which are made where nobody asked for them before.
    #[inline]
    pub fn bytes(&self, form: &Form) -> &[u8] {
        if self.source as u8 == form.slot()
            && let Some(bytes) = self.came.get()
        {
            return bytes;
        }
        self.made_in(form)
    }

    /// Returns its bytes in a form in which it did not come. It is apart from [`Update::bytes`], which is inlined into loops
    /// whose records mostly came in the right form.
    #[inline(never)]
    fn made_in(&self, form: &Form) -> &[u8] {
        match self.made.get() {
            Some(made) if made.slot == form.slot() => &made.bytes,
            _ => self.make_in(form),
        }
    }

    #[cold]
    #[inline(never)]
    fn make_in(&self, form: &Form) -> &[u8] {
        let mut place = &self.made;
        loop {
            let made = place.get_or_init(|| Box::new(self.make(form)));
            if made.slot == form.slot() {
                return &made.bytes;
            }
            place = &made.next;
        }
    }

    fn make(&self, form: &Form) -> Made {
        let mut out = Vec::new();
        let record = self.record.get().map_or_else(|| self.decode(), |record| Record::clone(record));
        let origin = Origin { topic: self.topic, info: &self.info, first: self.first };
        form.write(&origin, record, &mut out);
        Made { slot: form.slot(), bytes: out.into_boxed_slice(), next: OnceLock::new() }
    }

    /// Returns the body of the record where it is decoded already.
    pub(crate) fn record_if_decoded(&self) -> Option<&Body> {
        self.record.get().map(|record| &record.body)
    }

    /// Returns how many bytes it had when it came, for the accounting of memory; 0 where it did not come over the bus.
    pub(crate) fn source_bytes(&self) -> usize {
        self.came.get().map_or(0, <[u8]>::len)
    }

    /// Returns whether it announces a loss.
    pub fn is_gap(&self) -> bool {
        self.gap_cause().is_some()
    }

    /// Returns the cause of the loss that it announces; `None` where it announces none.
    pub(crate) fn gap_cause(&self) -> Option<GapCause> {
        // Gaps are decoded when they are made, so there is nothing to decode here.
        match &self.record.get()?.body {
            Body::Gap(gap) => Some(gap.cause()),
            _ => None,
        }
    }

    /// Returns whether it is a whole book.
    pub(crate) fn is_snapshot(&self) -> bool {
        matches!(&self.record().body, Body::Book(book) if book.snapshot)
    }

    /// Returns the instrument that it is of.
    pub fn info(&self) -> &Arc<InstrumentInfo> {
        &self.info
    }
}

/// Makes a gap as a record. Its header has the last sequence number of the gap, so that the next record follows on it.
pub fn gap_record(
    instrument: u32,
    channel: Channel,
    cause: GapCause,
    first: u64,
    last: u64,
    epoch: u64,
) -> Record {
    let gap = Gap {
        channel: channel as i32,
        cause: cause as i32,
        first_sequence: first,
        last_sequence: last,
        epoch,
    };
    Record { instrument, sequence: last, event_time: 0, receive_time: 0, body: Body::Gap(gap) }
}
