//! Market data records, as programs use them.

use crate::pb::{Bar, Channel, Derivative, Gap, Instrument, Stat, Status, Trade};

/// One normalized event.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Id of the instrument, as granted.
    pub instrument: u32,
    /// Contiguous per (instrument, channel), from 1 in every epoch.
    pub sequence: u64,
    /// Nanoseconds since the Unix epoch, by the venue's clock.
    pub event_time: u64,
    /// Nanoseconds since the Unix epoch, by the ingester's clock.
    pub receive_time: u64,
    /// What happened.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// Best bid and offer.
    Quote(Quote),
    /// An execution.
    Trade(Trade),
    /// All price levels of a book, or those that changed.
    Book(Book),
    /// Open, high, low, close and volume of an interval.
    Bar(Bar),
    /// Ticker statistics since a time that it states.
    Stat(Stat),
    /// Whether the instrument trades.
    Status(Status),
    /// The definition of the instrument.
    Instrument(Instrument),
    /// Mark price, index price, funding and open interest of a derivative.
    Derivative(Derivative),
    /// Records of a channel that will not come.
    Gap(Gap),
}

/// Best bid and offer; `None` where that side is empty.
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
    /// These are all levels; forget what was there.
    pub snapshot: bool,
    /// First sequence number that the change covers, when it covers more than its own; else 0.
    pub first_sequence: u64,
    /// Bids, highest price first.
    pub bids: Vec<Level>,
    /// Asks, lowest price first.
    pub asks: Vec<Level>,
    /// [`book_checksum`] after this record.
    pub checksum: Option<u32>,
}

/// How the numbers of an instrument read, and its name: what the JSON encoding needs to write a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// `venue:SYMBOL`.
    pub symbol: String,
    /// The real price is the integer times 10 to minus this.
    pub price_decimals: u32,
    /// The real size is the integer times 10 to minus this.
    pub size_decimals: u32,
}

impl Record {
    /// The channel that the record belongs to.
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

    /// What "newest" is decided by within the record's channel: the newest record of each key is the state.
    pub fn conflation_key(&self) -> u64 {
        self.channel().conflation_key(&self.body)
    }

    pub(crate) fn receive_delay(&self) -> i64 {
        self.receive_time.wrapping_sub(self.event_time) as i64
    }
}

/// CRC-32 (IEEE) of the best ten levels: bids best first, then asks best first, each as price (signed) and size
/// (unsigned), 8 bytes little-endian each.
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
