//! The events that a program gets to see, in the order in which they happened.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tickwire_wire::{
    Body, BookProof, Channel, Error, FeedState, Gap, GapCause, Granted, Hello, Identity, Ledger, LedgerFault,
    Level, Missing, Notice, Record, Refused, Scale, decimal,
};

use crate::error::Disconnect;

/// The events of one WebSocket message, or a part of them where there are very many.
#[derive(Debug, Default)]
pub struct Batch {
    pub(crate) events: Vec<Event>,
    pub(crate) sent_time: Option<u64>,
}

impl Batch {
    /// Returns when the gateway handed the message to its socket, in nanoseconds since the Unix epoch by its clock.
    /// It is `None` for what the client itself has to say.
    pub fn sent_time(&self) -> Option<u64> {
        self.sent_time
    }

    /// Returns the events in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Goes through the events in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Event> {
        self.events.iter()
    }
}

impl IntoIterator for Batch {
    type Item = Event;
    type IntoIter = std::vec::IntoIter<Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.into_iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Event;
    type IntoIter = std::slice::Iter<'a, Event>;

    fn into_iter(self) -> Self::IntoIter {
        self.events.iter()
    }
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Market data.
    Record(Update),
    /// Records that this program will not get.
    Gap(GapEvent),
    /// The state of the connection, a feed, a book or a subscription changed: what can be relied on is different now.
    State(State),
    /// Symbols were granted or refused: the outcome of a request, of a reconnect, or of a new instrument of a venue.
    Subscribed(Outcome),
    /// The gateway says something about the session as a whole: the code `token_expiring` warns that its token will end.
    Notice(Notice),
    /// The gateway took a token: whom the session belongs to, until when (`token_expires`, in nanoseconds since the Unix epoch, 0 for
    /// ever), and the limits in force since then. It comes after signing in by message, after each token that is handed in, and, unasked
    /// and with the id 0, where the API key of the session grants something else now.
    Identity(Identity),
    /// The gateway's account. Every one is here, whoever asked for it.
    Ledger(Ledger),
    /// The ledger that comes next differs from what came: a fault of the gateway or of this client. What the last
    /// ledger before the gateway closed the session lacks is told behind it.
    LedgerMismatch(LedgerMismatch),
    /// The gateway rejected a command for which nobody waits.
    Rejected(Error),
}

/// A record with what is needed to print it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Update {
    /// As decoded: prices and sizes are integers in units of the scale.
    pub record: Record,
    /// Name and decimals of the instrument. The same allocation for all updates of an instrument.
    pub scale: Arc<Scale>,
}

impl Update {
    /// Makes an update as the client does, for tests of programs and for records that come from elsewhere.
    pub fn new(record: Record, scale: Arc<Scale>) -> Self {
        Self { record, scale }
    }

    /// Returns the instrument as `venue:SYMBOL`.
    pub fn symbol(&self) -> &str {
        &self.scale.symbol
    }

    /// Returns a price of this instrument with all its decimals.
    pub fn price_text(&self, price: i64) -> String {
        price_text(&self.scale, price)
    }

    /// Returns a size of this instrument with all its decimals.
    pub fn size_text(&self, size: u64) -> String {
        size_text(&self.scale, size)
    }
}

/// One line: channel, symbol, sequence number, content.
impl fmt::Display for Update {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (price, size) = (|value| self.price_text(value), |value| self.size_text(value));
        let level = |level: Option<Level>| match level {
            Some(level) => format!("{} x {}", price(level.price), size(level.size)),
            None => "-".to_owned(),
        };
        write!(f, "{} {} #{} ", self.record.channel().name(), self.symbol(), self.record.sequence)?;
        match &self.record.body {
            Body::Quote(quote) => write!(f, "{} | {}", level(quote.bid), level(quote.ask)),
            Body::Trade(trade) => write!(
                f,
                "{} x {} {}",
                price(trade.price),
                size(trade.size),
                trade.aggressor().as_str_name().trim_start_matches("SIDE_").to_ascii_lowercase()
            ),
            Body::Book(book) => {
                let kind = if book.snapshot { "snapshot" } else { "change" };
                write!(f, "{kind} of {} bids, {} asks", book.bids.len(), book.asks.len())
            }
            Body::Bar(bar) => write!(
                f,
                "open {} high {} low {} close {} volume {}",
                price(bar.open),
                price(bar.high),
                price(bar.low),
                price(bar.close),
                size(bar.volume)
            ),
            Body::Stat(stat) => {
                let last = stat.last.map_or_else(|| "-".to_owned(), price);
                write!(f, "last {last} volume {} in {} trades", size(stat.volume), stat.trades)
            }
            Body::Derivative(derivative) => {
                let number = |value: Option<i64>, decimals| {
                    value.map_or_else(|| "-".to_owned(), |value| decimal_text(value, decimals))
                };
                let mark = number(derivative.mark_price, derivative.price_decimals);
                let rate = number(derivative.funding_rate, derivative.rate_decimals);
                write!(f, "mark {mark} funding {rate}")
            }
            Body::Status(status) => {
                let state = status.state().as_str_name().trim_start_matches("TRADING_STATE_");
                write!(f, "{} {}", state.to_ascii_lowercase(), status.reason)
            }
            Body::Instrument(i) => {
                write!(f, "{} price decimals, {} size decimals", i.price_decimals, i.size_decimals)
            }
            Body::Gap(gap) => write!(f, "gap from {} to {}", gap.first_sequence, gap.last_sequence),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Returns a decimal number as text: `value * 10^-decimals`, with all its decimals. It is for the fields of a record that
/// have decimals of their own.
pub fn decimal_text(value: i64, decimals: u32) -> String {
    let mut text = String::new();
    decimal::write(&mut text, value, decimals);
    text
}

/// Returns a price at a scale, exact, with all decimals.
pub fn price_text(scale: &Scale, price: i64) -> String {
    let mut text = String::new();
    decimal::write(&mut text, price, scale.price_decimals);
    text
}

/// Returns a size at a scale, exact, with all decimals.
pub fn size_text(scale: &Scale, size: u64) -> String {
    let mut text = String::new();
    decimal::write_unsigned(&mut text, size, scale.size_decimals);
    text
}

/// A range of sequence numbers that this program will not get.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GapEvent {
    /// The instrument's name and scale.
    pub scale: Arc<Scale>,
    /// The channel that misses records.
    pub channel: Channel,
    /// First number that is missing.
    pub first: u64,
    /// Last number that is missing. None: not known, because the sequence started anew, at 1, under `epoch`.
    pub last: Option<u64>,
    /// The sequence that holds after the gap.
    pub epoch: u64,
    /// The place where it was lost; unknown where the gateway did not say.
    pub cause: GapCause,
    /// The side that noticed it.
    pub noticed_by: NoticedBy,
}

/// The side that noticed a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoticedBy {
    /// The gateway announced it.
    Gateway,
    /// This client missed numbers on a lossless channel that nobody announced. Except after a reconnect that is a
    /// fault of the gateway, and counted in [`crate::Counters::violations`].
    Client,
}

impl GapEvent {
    pub(crate) fn new(scale: Arc<Scale>, channel: Channel, missing: Missing, noticed_by: NoticedBy) -> Self {
        let Missing { first, last, epoch, cause } = missing;
        Self { scale, channel, first, last, epoch, cause, noticed_by }
    }

    /// Makes a gap of this instrument as a gateway announces it.
    pub fn announced(scale: Arc<Scale>, gap: &Gap) -> Self {
        Self {
            scale,
            channel: gap.channel(),
            first: gap.first_sequence,
            last: (gap.last_sequence > 0).then_some(gap.last_sequence),
            epoch: gap.epoch,
            cause: gap.cause(),
            noticed_by: NoticedBy::Gateway,
        }
    }

    /// Where it was lost, whether anything repairs that, and what comes next, in words that follow a colon.
    pub fn explanation(&self) -> &'static str {
        explanation(self.cause, self.channel)
    }
}

/// Where records were lost, whether anything repairs that, and what comes next: by the cause of a gap and its channel.
/// Nothing ever brings the records of a gap back; what is shown may become right again.
pub fn explanation(cause: GapCause, channel: Channel) -> &'static str {
    use Channel::{Bar, Book, Derivative, Quote, Stat};
    // One sentence for each pair, so that nobody has to put one together.
    macro_rules! after {
        ($lost:literal) => {
            match channel {
                Book => concat!($lost, "; the book is wrong until its next snapshot, which comes by itself"),
                Quote | Stat | Derivative => {
                    concat!($lost, "; what is shown is old until the next record, which is the newest")
                }
                Bar => concat!($lost, "; a bar may be missing or old, later ones are right"),
                _ => concat!($lost, "; nothing brings them back"),
            }
        };
    }
    match cause {
        GapCause::Upstream => after!("events of the venue did not reach the ingester"),
        GapCause::Ingest => after!("records were lost in the ingester, or it was replaced"),
        GapCause::Bus => after!("records were lost between ingester and gateway"),
        GapCause::Shed => after!("the gateway dropped records, because this client reads too slowly"),
        GapCause::Resume => after!("records came while this client was away, and are no longer kept"),
        _ => after!("records did not come, and the gateway did not say why"),
    }
}

impl fmt::Display for GapEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.last.map_or_else(|| "an unknown end".to_owned(), |last| last.to_string());
        let cause = self.cause.as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase();
        let (channel, symbol) = (self.channel.name(), &self.scale.symbol);
        write!(f, "gap {channel} {symbol} from {} to {last}, cause {cause}", self.first)
    }
}

/// A place where a ledger is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerMismatch {
    /// The channel of the entry.
    pub channel: Channel,
    /// `venue:SYMBOL`.
    pub symbol: String,
    /// The fault of the entry.
    pub fault: LedgerFault,
}

impl fmt::Display for LedgerMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.channel.name(), self.symbol, self.fault)
    }
}

/// A change in what can be relied on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum State {
    /// A session is open. Subscriptions follow.
    Connected {
        /// The address of the gateway.
        address: String,
        /// Session id, limits, version.
        hello: Arc<Hello>,
    },
    /// There is no session: nothing is live.
    Disconnected {
        /// The reason for it.
        reason: Disconnect,
        /// When the next attempt starts, from now. None: there will be none, and the stream ends.
        retry_in: Option<Duration>,
    },
    /// The connection is dead, and nothing is live: not a byte came for two heartbeats.
    Mute {
        /// The time in which nothing came.
        silence: Duration,
    },
    /// The feed of a venue changed: unless live, none of its symbols is.
    Feed {
        /// The name of the venue.
        venue: Arc<str>,
        /// The state that it has now.
        state: FeedState,
        /// The time since which it has it, in nanoseconds since the Unix epoch.
        since: u64,
        /// The ingester's words, or empty.
        reason: String,
        /// The proof of its books, as the ingester declares it. Where it is unverifiable, a book may be wrong and live.
        book_proof: BookProof,
    },
    /// A book does not agree with its records any more: it is not live until it is repaired.
    BookBroken {
        /// The instrument's name and scale.
        scale: Arc<Scale>,
        /// The fault that was found in the book.
        reason: String,
    },
    /// A subscription is over, because the instrument ended: it expired, was delisted, or was defined anew. Everything
    /// that was owed came before. Neither its quote nor its book is shown any more. A wildcard stays, and brings what
    /// appears later.
    Ended {
        /// The instrument's name and scale.
        scale: Arc<Scale>,
        /// The channel of the subscription.
        channel: Channel,
        /// The gateway's words.
        reason: String,
        /// The instrument was defined anew, and is subscribed again without the program's doing.
        returns: bool,
    },
    /// A book that was broken is right again.
    BookRepaired {
        /// The instrument's name and scale.
        scale: Arc<Scale>,
    },
}

/// The outcome of a request for symbols: each one is in one of the lists.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Outcome {
    /// Subscribed, or changed.
    pub granted: Vec<Granted>,
    /// The symbols that were not granted. Those that may be retried are, until they are granted or unsubscribed.
    pub refused: Vec<Refused>,
}

impl Outcome {
    /// Makes an outcome with these lists.
    pub fn new(granted: Vec<Granted>, refused: Vec<Refused>) -> Self {
        Self { granted, refused }
    }
}
