//! What shards receive from the bus side, shared by all shards: instruments, feed states and encode-once records.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

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
    /// Dense. Used again when the instrument ended and every shard let go of it.
    pub index: u32,
    /// In sessions: no other instrument has it as long as a shard knows this one.
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

/// The end of an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its dense index.
    pub instrument: u32,
    /// Why, for clients.
    pub reason: Arc<str>,
    /// An instrument of the same name was defined anew.
    pub may_retry: bool,
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
    /// An instrument ended: nothing more of it comes, and no new subscription is granted. Answer with
    /// [`super::Wish::LetGo`] when nobody has it any more.
    Ended(Arc<Ended>),
    /// A topic that was asked for cannot be had now.
    Unavailable {
        /// Which.
        topic: TopicId,
        /// Why, for the client.
        reason: Arc<str>,
        /// There is no such instrument.
        is_unknown: bool,
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
    /// Numbering in force.
    pub epoch: u64,
    /// First number that it stands for.
    pub first: u64,
    /// Last number that it stands for.
    pub last: u64,
    came: Came,
    /// When it came, in nanoseconds since the Unix epoch; 0 where it did not come from the bus just now.
    arrived: u64,
    /// When its ingester received it, in nanoseconds since the Unix epoch.
    received: u64,
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
    /// A record as it came over the bus. What cannot be decoded is a gap. Copies the bytes: a slice of a bus message would
    /// keep the whole read buffer alive.
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

    /// As [`Update::from_bus`], where the record passes a check.
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
        // Of the others, most sessions take the bytes.
        if matches!(record.body, Body::Gap(_) | Body::Book(_) | Body::Bar(_)) {
            update.record = OnceLock::from(Box::new(record));
        }
        Ok(update)
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

    /// When its ingester received it, in nanoseconds since the Unix epoch.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Its bytes: a message of its own in this encoding.
    #[inline]
    pub fn bytes(&self, encoding: Encoding) -> &[u8] {
        if self.source == encoding
            && let Some(bytes) = self.came.get()
        {
            return bytes;
        }
        self.made_in(encoding)
    }

    fn made_in(&self, encoding: Encoding) -> &[u8] {
        self.made.get_or_init(Default::default)[encoding as usize].get_or_init(|| {
            let mut out = Vec::new();
            let record = self.record.get().map_or_else(|| self.decode(), |record| Record::clone(record));
            encode_message(encoding, &Message::Record(record), &self.info.scale, &mut out);
            out.into_boxed_slice()
        })
    }

    /// Bytes as it came, for the accounting of memory; 0 where it was not from the bus.
    pub(crate) fn source_bytes(&self) -> usize {
        self.came.get().map_or(0, <[u8]>::len)
    }

    /// Announces a loss.
    pub fn is_gap(&self) -> bool {
        self.gap_cause().is_some()
    }

    /// Why it announces a loss, where it does.
    pub(crate) fn gap_cause(&self) -> Option<GapCause> {
        // A gap is kept when it is made.
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
