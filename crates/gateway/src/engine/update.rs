//! What shards receive from the bus side, shared by all shards: instruments, feed states and encode-once records.

use std::sync::{Arc, OnceLock};

use bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tickwire_wire::{
    Batch, Body, Channel, Encoding, FeedState, Gap, GapCause, Message, Record, Scale, SymbolName,
    encode_message,
};

use super::backfill::Backfilled;

/// A venue, by its dense index at this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VenueIndex(pub u16);

/// A channel of an instrument, by its dense index at this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// Numbers below this are taken by the channels of one instrument.
const CHANNELS: u32 = 8;

impl TopicId {
    /// The topic of an instrument's channel.
    pub fn new(instrument_index: u32, channel: Channel) -> Self {
        Self(instrument_index * CHANNELS + channel as u32)
    }

    /// Dense index of the instrument.
    pub fn instrument_index(self) -> u32 {
        self.0 / CHANNELS
    }

    /// Its channel.
    pub fn channel(self) -> Channel {
        Channel::try_from((self.0 % CHANNELS) as i32).unwrap_or_default()
    }
}

/// An instrument as this gateway knows it.
#[derive(Clone, Debug)]
pub struct InstrumentInfo {
    /// Dense, in the order in which the gateway met them.
    pub index: u32,
    /// On the wire.
    pub id: u32,
    /// Its venue.
    pub venue: VenueIndex,
    /// `venue:SYMBOL`, taken apart.
    pub name: SymbolName,
    /// Its name and decimals, for the JSON twin and for grants.
    pub scale: Scale,
}

/// The state of a venue's feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedStatus {
    /// Dense index.
    pub venue: VenueIndex,
    /// Its name.
    pub name: Arc<str>,
    /// Live, stale or down.
    pub state: FeedState,
    /// Nanoseconds since the Unix epoch.
    pub since: u64,
    /// Why, where it is not live.
    pub reason: Arc<str>,
}

/// Where a topic starts, or starts again after a loss.
#[derive(Clone, Debug)]
pub struct TopicState {
    /// Of which topic.
    pub topic: TopicId,
    /// Numbering in force.
    pub epoch: u64,
    /// Last number that `records` contain.
    pub sequence: u64,
    /// The last record, or one for each conflation key, or a book snapshot; nothing where nothing happened yet.
    pub records: Vec<Arc<Update>>,
}

/// From the bus side to a shard. For each topic, in order and without holes: the numbers of an `Update` follow on the
/// number before, unless a gap record or a `State` says otherwise.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new instrument, or one whose definition changed.
    Instrument(Arc<InstrumentInfo>),
    /// A feed came into a state.
    Feed(Arc<FeedStatus>),
    /// A topic starts, or starts again.
    State(Arc<TopicState>),
    /// The next record of a topic.
    Update(Arc<Update>),
    /// A topic that was asked for cannot be had now.
    Unavailable {
        /// Which.
        topic: TopicId,
        /// Why, for the client.
        reason: Arc<str>,
    },
    /// What was found in history; to one shard.
    Backfill(Arc<Backfilled>),
}

/// One record with its bytes in each encoding, each made at most once and shared by all sessions of all shards.
///
/// One comes with each message of the bus, so it is small, and as a rule one allocation with all that a delivery reads.
#[derive(Debug)]
pub struct Update {
    /// Where it belongs.
    pub topic: TopicId,
    source: Encoding,
    /// Its bytes were decoded and are what they should be.
    is_examined: bool,
    /// Numbering in force.
    pub epoch: u64,
    /// First number that it stands for.
    pub first: u64,
    /// Last number that it stands for.
    pub last: u64,
    came: Came,
    /// When it came, in nanoseconds since the Unix epoch; 0 where it did not come from the bus just now.
    arrived: u64,
    info: Arc<InstrumentInfo>,
    record: OnceLock<Box<Record>>,
    /// In the encodings in which it did not come.
    made: OnceLock<Box<Made>>,
}

type Made = [OnceLock<Box<[u8]>>; Encoding::ALL.len()];

/// Bytes as they came over the bus.
#[derive(Debug)]
enum Came {
    Not,
    /// So many of these.
    Short(u8, [u8; SHORT]),
    Long(Box<[u8]>),
}

/// Room for quotes and trades of a usual size.
const SHORT: usize = 62;

const _: () = assert!(size_of::<Update>() <= 144);

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

    fn get(&self) -> Option<&[u8]> {
        match self {
            Self::Not => None,
            Self::Short(length, bytes) => bytes.get(..usize::from(*length)),
            Self::Long(bytes) => Some(bytes),
        }
    }
}

impl Update {
    /// A record as it came over the bus, not decoded yet. Copies the bytes: a slice of a bus message would keep the
    /// whole read buffer alive.
    pub fn from_bus(
        info: Arc<InstrumentInfo>,
        channel: Channel,
        epoch: u64,
        numbers: (u64, u64),
        encoding: Encoding,
        bytes: &[u8],
    ) -> Self {
        let topic = TopicId::new(info.index, channel);
        Self {
            topic,
            source: encoding,
            is_examined: false,
            epoch,
            first: numbers.0,
            last: numbers.1,
            came: Came::copy(bytes),
            arrived: 0,
            info,
            record: OnceLock::new(),
            made: OnceLock::new(),
        }
    }

    /// With the time at which it came, in nanoseconds since the Unix epoch.
    #[must_use]
    pub fn at(mut self, arrived: u64) -> Self {
        self.arrived = arrived;
        self
    }

    /// When it came; 0 where it did not come from the bus just now.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived
    }

    /// A record that the gateway made or has decoded already. It stands for `first` to its own number.
    pub fn from_record(info: Arc<InstrumentInfo>, epoch: u64, first: u64, record: Record) -> Self {
        let topic = TopicId::new(info.index, record.channel());
        Self {
            topic,
            source: Encoding::Proto,
            is_examined: true,
            epoch,
            first,
            last: record.sequence,
            came: Came::Not,
            arrived: 0,
            info,
            record: OnceLock::from(Box::new(record)),
            made: OnceLock::new(),
        }
    }

    /// A gap. `last` 0 says that the numbering is lost and starts again under `epoch`.
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

    /// The record. What cannot be decoded has become a gap, so that it is announced and not passed on.
    pub fn record(&self) -> &Record {
        self.record.get_or_init(|| Box::new(self.decode()))
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

    /// Decodes the bytes and has the record checked. It is kept, other than a trade, of which sessions take the bytes.
    pub(crate) fn examine<E>(&mut self, check: impl FnOnce(&Record) -> Result<(), E>) -> Result<(), E> {
        let record = self.decode();
        check(&record)?;
        self.is_examined = true;
        if !matches!(record.body, Body::Trade(_)) {
            self.record = OnceLock::from(Box::new(record));
        }
        Ok(())
    }

    /// From here on, whether it is a gap does not depend on who looks at it first.
    pub(crate) fn settle(&self) {
        if !self.is_examined {
            self.record();
        }
    }

    /// When its ingester received it; 0 where that is not known. As a rule, looks at field heads only.
    pub(crate) fn received(&self) -> u64 {
        match (self.record.get(), self.source, self.came.get()) {
            (None, Encoding::Proto, Some(bytes)) => receive_time(bytes).unwrap_or(0),
            _ => self.record().receive_time,
        }
    }

    /// Whether the bytes that came over the bus begin like a gap. Looks at field heads only.
    pub(crate) fn looks_like_gap(&self) -> bool {
        let bytes = self.came.get().unwrap_or_default();
        match self.source {
            Encoding::Proto => has_field(bytes, GAP_KIND).unwrap_or(true),
            // `[kind, ...]`: the head of an array, then a small number.
            Encoding::MsgPack => match bytes {
                [0x90..=0x9f, kind, ..] => u32::from(*kind) == GAP_KIND,
                _ => true,
            },
            Encoding::Json => true,
        }
    }

    /// Its bytes: a message of its own in this encoding.
    pub fn bytes(&self, encoding: Encoding) -> &[u8] {
        if let Some(bytes) = self.came.get()
            && self.source == encoding
        {
            return bytes;
        }
        self.made.get_or_init(Default::default)[encoding as usize].get_or_init(|| {
            let mut out = Vec::new();
            encode_message(encoding, &Message::Record(self.record().clone()), &self.info.scale, &mut out);
            out.into_boxed_slice()
        })
    }

    /// Bytes as it came, for the accounting of memory; 0 where it was not from the bus.
    pub(crate) fn source_bytes(&self) -> usize {
        self.came.get().map_or(0, <[u8]>::len)
    }

    /// Announces a loss.
    pub fn is_gap(&self) -> bool {
        // A record from the bus that stands for one number is no gap that matters here: it is passed on as it is, and
        // gaps of one number that ingesters send are decoded on the bus side.
        self.record.get().is_some_and(|record| matches!(&record.body, Body::Gap(_)))
    }

    /// Why it announces a loss, where it does.
    pub(crate) fn gap_cause(&self) -> Option<GapCause> {
        match &self.record.get()?.body {
            Body::Gap(gap) => Some(gap.cause()),
            _ => None,
        }
    }

    /// Is a whole book.
    pub(crate) fn is_snapshot(&self) -> bool {
        matches!(&self.record().body, Body::Book(book) if book.snapshot)
    }

    /// Of which instrument.
    pub fn info(&self) -> &Arc<InstrumentInfo> {
        &self.info
    }
}

/// Field numbers of `tickwire.v1.Record`.
const EVENT_TIME: u32 = 3;
const RECEIVE_DELAY: u32 = 4;

/// Field number of a gap in `tickwire.v1.Record`, and its kind in MessagePack.
const GAP_KIND: u32 = 15;

/// Whether the record in the first field has this field.
fn has_field(bytes: &[u8], wanted: u32) -> Result<bool, prost::DecodeError> {
    let mut rest = bytes;
    decode_key(&mut rest)?;
    decode_varint(&mut rest)?;
    while !rest.is_empty() {
        let (field, wire_type) = decode_key(&mut rest)?;
        if field == wanted {
            return Ok(true);
        }
        skip_field(wire_type, field, &mut rest, DecodeContext::default())?;
    }
    Ok(false)
}

/// The receive time of the record in the first field.
fn receive_time(bytes: &[u8]) -> Result<u64, prost::DecodeError> {
    let mut rest = bytes;
    decode_key(&mut rest)?;
    decode_varint(&mut rest)?;
    let (mut event_time, mut delay) = (0, 0);
    while !rest.is_empty() {
        match decode_key(&mut rest)? {
            (EVENT_TIME, WireType::SixtyFourBit) => event_time = rest.try_get_u64_le().unwrap_or(0),
            (RECEIVE_DELAY, WireType::Varint) => delay = decode_varint(&mut rest)?,
            // Encoders write fields in the order of their numbers.
            (field, _) if field > RECEIVE_DELAY => break,
            (field, wire_type) => skip_field(wire_type, field, &mut rest, DecodeContext::default())?,
        }
    }
    // Zigzag, as all `sint64`.
    Ok(event_time.wrapping_add((delay >> 1) ^ (delay & 1).wrapping_neg()))
}

/// A gap as a record. Its header carries the last number, so that the next record follows on it.
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

#[cfg(test)]
mod tests {
    use tickwire_wire::{Quote, Trade};

    use super::*;

    #[track_caller]
    fn check(encoding: Encoding, times: (u64, u64), body: Body) {
        let (event_time, receive_time) = times;
        let record = Record { instrument: 300, sequence: 1 << 40, event_time, receive_time, body };
        let name = SymbolName { venue: "sim".to_owned(), symbol: "A".to_owned() };
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
        let mut bytes = Vec::new();
        encode_message(encoding, &Message::Record(record.clone()), &scale, &mut bytes);
        let info = InstrumentInfo { index: 0, id: 300, venue: VenueIndex(0), name, scale };
        let numbers = (record.sequence, record.sequence);
        let update = Update::from_bus(Arc::new(info), record.channel(), 1, numbers, encoding, &bytes);
        assert_eq!(update.received(), receive_time, "{record:?}");
        assert_eq!(update.record.get().is_some(), encoding != Encoding::Proto, "it need not be decoded");
        assert_eq!((update.record(), update.received()), (&record, receive_time));
    }

    #[test]
    fn the_receive_time_is_found_without_decoding() {
        let now = 1_767_623_400_000_000_000;
        for encoding in [Encoding::Proto, Encoding::MsgPack] {
            for times in [(now, now + 5), (now, now - 5_000_000), (now, now), (1, u64::MAX / 4)] {
                check(encoding, times, Body::Quote(Quote { bid: None, ask: None }));
                check(encoding, times, Body::Trade(Trade { price: -1, size: 1, ..Trade::default() }));
            }
        }
        for cut in 0..20 {
            let _ = receive_time(&[10, 18, 8, 1, 25, 1, 2, 3, 4, 5, 6, 7, 8, 32, 0x80, 0x80][..cut.min(16)]);
        }
    }
}
