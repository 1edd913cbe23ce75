//! What instruments and topics are called inside one gateway.

use tickwire_wire::{Channel, Scale, SymbolName};

/// A venue, by its dense index at this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VenueIndex(pub u16);

/// A channel of an instrument, by its dense index at this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// Numbers of topics that one instrument takes.
const SLOTS: u32 = Channel::SLOTS as u32;

impl TopicId {
    /// The topic of an instrument's channel.
    pub fn new(instrument_index: u32, channel: Channel) -> Self {
        Self(instrument_index * SLOTS + channel as u32)
    }

    /// Topics that so many instruments may have: all their ids are below.
    pub fn count(instruments: usize) -> usize {
        instruments * Channel::SLOTS
    }

    /// Dense index of the instrument.
    pub fn instrument_index(self) -> u32 {
        self.0 / SLOTS
    }

    /// Its channel.
    pub fn channel(self) -> Channel {
        Channel::try_from((self.0 % SLOTS) as i32).unwrap_or_default()
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
    /// Its name and decimals, for the JSON encoding and for grants.
    pub scale: Scale,
}
