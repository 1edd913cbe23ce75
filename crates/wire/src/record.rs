//! Market data records, as programs use them.

use crate::pb::{Bar, Channel, Derivative, Gap, Instrument, Stat, Status, Trade};

/// One normalized event.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The id of the instrument, as granted.
    pub instrument: u32,
    /// The sequence number: contiguous per (instrument, channel), from 1 in every epoch.
    pub sequence: u64,
    /// The time of the event, in nanoseconds since the Unix epoch, by the venue's clock.
    pub event_time: u64,
    /// The time at which the ingester received it, in nanoseconds since the Unix epoch, by the ingester's clock.
    pub receive_time: u64,
    /// The content of the record.
    pub body: Body,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// The best bid and offer.
    Quote(Quote),
    /// An execution.
    Trade(Trade),
    /// All price levels of a book, or those that changed.
    Book(Book),
    /// Open, high, low, close and volume of an interval.
    Bar(Bar),
    /// Ticker statistics since a time that it states.
    Stat(Stat),
    /// The trading state of the instrument.
    Status(Status),
    /// The definition of the instrument.
    Instrument(Instrument),
    /// Mark price, index price, funding and open interest of a derivative.
    Derivative(Derivative),
    /// Records of a channel that will not come.
    Gap(Gap),
}

/// The best bid and offer; `None` where that side is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quote {
    /// The best bid.
    pub bid: Option<Level>,
    /// The best offer.
    pub ask: Option<Level>,
}

/// One price level: price and size in units of the instrument's scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Level {
    /// The price, as an integer.
    pub price: i64,
    /// The size of all orders at this price, as an integer.
    pub size: u64,
}

/// Price levels, best first: all of them, or the changed ones (size 0 removes).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Whether these are all levels, so that what was there is forgotten.
    pub snapshot: bool,
    /// The first sequence number that the change covers, when it covers more than its own; else 0.
    pub first_sequence: u64,
    /// The bids, highest price first.
    pub bids: Vec<Level>,
    /// The asks, lowest price first.
    pub asks: Vec<Level>,
    /// The [`book_checksum`] after this record.
    pub checksum: Option<u32>,
}

/// The scale of an instrument's prices and sizes, and its name: the JSON encoding needs them to write a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// The name, `venue:SYMBOL`.
    pub symbol: String,
    /// The decimals of prices: the real price is the integer times 10 to minus this.
    pub price_decimals: u32,
    /// The decimals of sizes: the real size is the integer times 10 to minus this.
    pub size_decimals: u32,
}

impl Record {
    /// Returns the channel that the record belongs to.
    pub fn channel(&self) -> Channel {
        match &self.body {
            Body::Quote(_) => Channel::Quote,
            Body::Trade(_) => Channel::Trade,
            Body::Book(_) => Channel::Book,
            Body::Bar(_) => Channel::Bar,
            Body::Stat(_) => Channel::Stat,
            Body::Status(_) => Channel::Status,
            Body::Instrument(_) => Channel::Instrument,
            Body::Derivative(_) => Channel::Derivative,
            Body::Gap(gap) => gap.channel(),
        }
    }

    /// Returns the key that "newest" is decided by within the record's channel: the newest record of each key is the
    /// state.
    pub fn conflation_key(&self) -> u64 {
        self.channel().conflation_key(&self.body)
    }

    pub(crate) fn receive_delay(&self) -> i64 {
        self.receive_time.wrapping_sub(self.event_time) as i64
    }
}

/// Returns the CRC-32 (IEEE) of the best ten levels: bids best first, then asks best first, each as price (signed) and
/// size (unsigned), 8 bytes little-endian each.
pub fn book_checksum(bids: impl Iterator<Item = Level>, asks: impl Iterator<Item = Level>) -> u32 {
    let mut bytes = [0; 20 * 16];
    let mut end = 0;
    for level in bids.take(10).chain(asks.take(10)) {
        bytes[end..end + 8].copy_from_slice(&level.price.to_le_bytes());
        bytes[end + 8..end + 16].copy_from_slice(&level.size.to_le_bytes());
        end += 16;
    }
    crc32fast::hash(&bytes[..end])
}
