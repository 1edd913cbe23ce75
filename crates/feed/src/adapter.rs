//! The interface of every source of market data to the ingester.
//!
//! An adapter is two parts. The *transport* moves bytes and time: a recording, a simulator's clock, a WebSocket. The
//! *normalizer* is free of I/O: bytes and a receive time go in, [`FeedEvent`]s come out. A further transport for a
//! venue that is known already brings no new normalizer.

use std::fmt;
use std::future::Future;

use tickwire_wire::{Channel, Derivative, Instrument, Level, Quote, Status, Trade};

use crate::verification::Verification;

/// A source of market data of one venue.
pub trait Adapter: Send {
    /// Returns the venue's name, as [`tickwire_wire::is_venue`] allows.
    fn venue(&self) -> &str;

    /// Returns what proves the source's books, where it says so.
    fn verification(&self) -> Option<Verification> {
        None
    }

    /// Waits for input and appends what it says, a bounded number of events per call.
    ///
    /// # Cancel safety
    /// It must be cancel-safe: what was appended stays, and nothing is lost when the future is dropped at an `.await`,
    /// which the ingester does at every heartbeat and request. Where reading itself is not cancel-safe, as with frames
    /// of a WebSocket, a task of the adapter's own reads, and hands over through a bounded channel.
    ///
    /// # Errors
    /// Returns an error when the source is lost for good. What it can get over, an adapter tells by events:
    /// [`FeedEvent::Fault`], [`FeedEvent::Source`].
    fn next(
        &mut self,
        events: &mut Vec<FeedEvent>,
    ) -> impl Future<Output = Result<Flow, AdapterError>> + Send;
}

/// Whether an adapter has more to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// There may be more: call again.
    More,
    /// The source ended in good order, and will not say more.
    Ended,
}

/// The loss of a source for good: a text that says which, why, and what helps.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AdapterError(pub String);

/// A statement of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedEvent {
    /// An instrument is defined, or defined anew. `index` is the adapter's own number: dense, from 0, and the same
    /// symbol until that ended.
    Define {
        /// The adapter's number of the instrument.
        index: u32,
        /// The name and scale; `venue` is filled in by the ingester.
        definition: Instrument,
    },
    /// An instrument ended: it expired, or the venue does not list it any more. Its number may be used again.
    End {
        /// The adapter's number of the instrument.
        index: u32,
    },
    /// Something happened at an instrument that was defined before.
    Market(MarketEvent),
    /// The source's own state changed.
    Source(SourceState),
    /// Input could not be used and was passed over.
    Fault(Fault),
    /// Input repeated what was already said and was passed over. It is only counted.
    Repeat,
}

/// One event of one instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct MarketEvent {
    /// The adapter's number of the instrument.
    pub index: u32,
    /// The time of the event, in nanoseconds since the Unix epoch, by the venue's clock; where it gives none, the
    /// receive time.
    pub event_time: u64,
    /// The time of receipt, in nanoseconds since the Unix epoch, by the clock of who received it.
    pub receive_time: u64,
    /// The content of the event.
    pub body: MarketBody,
}

impl MarketEvent {
    /// Moves all of its times by so many nanoseconds, those in its content included.
    pub fn shift(&mut self, offset: i64) {
        self.event_time = self.event_time.saturating_add_signed(offset);
        self.receive_time = self.receive_time.saturating_add_signed(offset);
        if let MarketBody::Derivative(derivative) = &mut self.body
            && derivative.next_funding_time > 0
        {
            derivative.next_funding_time = derivative.next_funding_time.saturating_add_signed(offset);
        }
    }
}

/// The content of an event at an instrument.
#[derive(Clone, Debug, PartialEq)]
pub enum MarketBody {
    /// An execution.
    Trade(Trade),
    /// The best bid and offer. From the first one on, quotes are no longer derived from the book.
    Quote(Quote),
    /// All levels, best first.
    BookSnapshot(Levels),
    /// Changed levels, best first; size 0 removes.
    BookDelta(Levels),
    /// A statement of the venue about a derivative beside its market.
    Derivative(Derivative),
    /// The trading state.
    Status(Status),
    /// Events are missing between the venue and here. A book is broken from here on until a snapshot comes.
    UpstreamGap {
        /// The channel on which they are missing.
        channel: Channel,
        /// The number of missing events, where the venue's sequence tells.
        count: Option<u64>,
    },
}

/// Price levels of both sides, best first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// The bids, highest price first.
    pub bids: Vec<Level>,
    /// The asks, lowest price first.
    pub asks: Vec<Level>,
}

/// The state of a source: whether data flows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// Data flows, or would flow if the market moved.
    Live,
    /// The source is not there: prices are dead until it is live again.
    Stale {
        /// The reason, for people.
        reason: String,
    },
    /// The source is over: prices are dead for good.
    Ended,
}

/// A fault of the input: where it stands, and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or connection.
    pub source: String,
    /// The line, or the message since the connection opened, from 1; 0 where it is the source as a whole.
    pub line: u64,
    /// A text that says what is wrong, and the remedy where there is one.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.source, self.reason),
            line => write!(f, "{}, line {line}: {}", self.source, self.reason),
        }
    }
}
