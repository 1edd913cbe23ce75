//! The names of instruments and topics inside one gateway.

use tickwire_wire::{Channel, Scale, SymbolName};

/// A venue, by its dense index at this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VenueIndex(pub u16);

/// A view of a topic: the live one, or something that the engine makes of it, as a delayed or a shallower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct View(u8);

impl View {
    /// The view of records as they come.
    pub const LIVE: Self = Self(0);

    /// The most views beside the live one that an instrument's channel may have.
    pub const OTHERS_MAX: u8 = 63;

    /// The most of these that are delayed views. The others are shallow views: books to a depth, made of the live view or of a
    /// delayed one.
    pub const DELAYED_MAX: u8 = 15;

    /// Returns a view beside the live one, from 1 to [`OTHERS_MAX`](Self::OTHERS_MAX); `None` beyond.
    pub const fn other(number: u8) -> Option<Self> {
        if number == 0 || number > Self::OTHERS_MAX { None } else { Some(Self(number)) }
    }

    /// Returns its number: 0 for the live one.
    pub fn number(self) -> u8 {
        self.0
    }

    /// Returns whether it has books to a depth, which are made of another view.
    pub fn is_shallow(self) -> bool {
        self.0 > Self::DELAYED_MAX
    }

    /// Returns whether it is the live one.
    pub fn is_live(self) -> bool {
        self == Self::LIVE
    }
}

/// A view of a channel of an instrument, by its dense index at this gateway.
///
/// The upper six bits name the view, the others the instrument and its channel. So the ids of live topics count from 0 without
/// holes, and the ids of other views lie beyond them: a list of live topics has no entry for one of those.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

/// The number of ids that one instrument takes: one for each channel.
const SLOTS: u32 = Channel::SLOTS as u32;

/// The bits of a topic's id above these name its view.
const VIEW_SHIFT: u32 = 26;
const LIVE_BITS: u32 = (1 << VIEW_SHIFT) - 1;

const _: () = assert!(View::OTHERS_MAX as u32 == u32::MAX >> VIEW_SHIFT);

impl TopicId {
    /// The most instruments that there are ids for, which is more than the configuration allows.
    pub const INSTRUMENTS_MAX: u32 = LIVE_BITS / SLOTS;

    /// Returns the live topic of an instrument's channel.
    pub fn new(instrument_index: u32, channel: Channel) -> Self {
        debug_assert!(instrument_index < Self::INSTRUMENTS_MAX, "beyond are the ids of views");
        Self(instrument_index * SLOTS + channel as u32)
    }

    /// Returns how many ids the live topics of so many instruments take. All of these ids are smaller.
    pub fn count(instruments: usize) -> usize {
        instruments * Channel::SLOTS
    }

    /// Returns another view of the same channel.
    #[must_use]
    pub fn seen_as(self, view: View) -> Self {
        Self(self.live().0 | u32::from(view.0) << VIEW_SHIFT)
    }

    /// Returns its view.
    pub fn view(self) -> View {
        View((self.0 >> VIEW_SHIFT) as u8)
    }

    /// Returns the live topic that it is a view of, which is the one that the hub follows.
    #[must_use]
    pub fn live(self) -> Self {
        Self(self.0 & LIVE_BITS)
    }

    /// Returns the dense index of the instrument.
    pub fn instrument_index(self) -> u32 {
        self.live().0 / SLOTS
    }

    /// Returns the channel.
    pub fn channel(self) -> Channel {
        Channel::try_from((self.live().0 % SLOTS) as i32).unwrap_or_default()
    }
}

/// An instrument as this gateway knows it. The fields that each record asks for come first: they are in the cache line of the count of
/// those who share it.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct InstrumentInfo {
    /// The dense index at this gateway. It is used again when the instrument ended and every shard has let go of it.
    pub index: u32,
    /// The number that sessions know it by. No other instrument has this number as long as a shard knows this one.
    pub id: u32,
    /// When its ingester received its definition, by the clock of this gateway, in nanoseconds since the Unix epoch; 0 where nobody
    /// knows.
    pub listed: u64,
    /// The index of its venue.
    pub venue: VenueIndex,
    /// The two parts of its name, `venue:SYMBOL`.
    pub name: SymbolName,
    /// The symbol and the decimals, for the JSON encoding and for grants.
    pub scale: Scale,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_is_of_the_same_channel_and_lies_beyond_all_live_topics() {
        let last = TopicId::INSTRUMENTS_MAX - 1;
        for (instrument, channel) in [(0, Channel::Quote), (7, Channel::Derivative), (last, Channel::Book)] {
            let live = TopicId::new(instrument, channel);
            assert_eq!((live.view(), live.live()), (View::LIVE, live));
            for number in 1..=View::OTHERS_MAX {
                let view = View::other(number).unwrap();
                let seen = live.seen_as(view);
                assert_eq!((seen.instrument_index(), seen.channel()), (instrument, channel));
                assert_eq!((seen.view(), seen.live()), (view, live));
                assert_eq!(seen.seen_as(View::LIVE), live);
                assert!(seen.0 as usize >= TopicId::count(TopicId::INSTRUMENTS_MAX as usize));
                assert!(!view.is_live());
            }
        }
        assert_eq!([View::other(0), View::other(View::OTHERS_MAX + 1)], [None, None]);
    }
}
