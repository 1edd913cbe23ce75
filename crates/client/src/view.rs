//! Views of a quote or a book between two batches, for programs.

use std::ops::Deref;
use std::time::Duration;

use tickwire_wire::{BookState, Channel, Quote, Scale};

use crate::session::{Instrument, LastQuote, Session};

/// An order book, and whether it may be believed.
#[derive(Clone, Copy, Debug)]
pub struct BookView<'a> {
    state: &'a BookState,
    scale: &'a Scale,
    is_current: bool,
    is_broken: bool,
    delay: Duration,
    depth: u32,
}

impl<'a> BookView<'a> {
    pub(crate) fn of(session: &'a Session, symbol: &str) -> Option<Self> {
        let instrument = session.instrument(symbol)?;
        let book = instrument.book.as_ref()?;
        let is_current = book.is_right() && is_current(session, instrument, Channel::Book);
        let (delay, is_broken) = (delay(instrument, Channel::Book), book.is_broken());
        let depth = instrument.subscription(Channel::Book).map_or(0, |subscription| subscription.depth);
        Some(Self { state: book.state(), scale: &instrument.scale, is_current, is_broken, delay, depth })
    }

    /// It equals the ingester's book as of its sequence number, as deep as it is, the feed is live, and it is not delayed.
    pub fn is_live(&self) -> bool {
        self.is_current && self.delay.is_zero()
    }

    /// Returns the most levels on each side that the gateway grants; `None` for all.
    pub fn depth(&self) -> Option<u32> {
        (self.depth > 0).then_some(self.depth)
    }

    /// It equals the ingester's book as of its sequence number, and the feed is live: now, or as long ago as the delay is.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// Returns the delay with which the gateway grants it: it shows what was so long ago.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// It disagreed with its records, or records were lost, and no snapshot came since.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Returns the instrument's name and decimals.
    pub fn scale(&self) -> &'a Scale {
        self.scale
    }
}

/// The levels, live or not: look at [`BookView::is_live`] first.
impl Deref for BookView<'_> {
    type Target = BookState;

    fn deref(&self) -> &BookState {
        self.state
    }
}

/// The newest quote of an instrument, and whether it may be believed.
#[derive(Clone, Copy, Debug)]
pub struct QuoteView<'a> {
    last: LastQuote,
    scale: &'a Scale,
    is_current: bool,
    delay: Duration,
}

impl<'a> QuoteView<'a> {
    pub(crate) fn of(session: &'a Session, symbol: &str) -> Option<Self> {
        let instrument = session.instrument(symbol)?;
        let is_current = is_current(session, instrument, Channel::Quote);
        let delay = delay(instrument, Channel::Quote);
        Some(Self { last: instrument.quote?, scale: &instrument.scale, is_current, delay })
    }

    /// It is the newest that the gateway has, the feed is live, and it is not delayed.
    pub fn is_live(&self) -> bool {
        self.is_current && self.delay.is_zero()
    }

    /// It is the newest that the gateway has for this session, and the feed is live: now, or as long ago as the delay is.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    /// Returns the delay with which the gateway grants it: it shows what was so long ago.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Returns the best bid and offer.
    pub fn quote(&self) -> Quote {
        self.last.quote
    }

    /// Returns its sequence number.
    pub fn sequence(&self) -> u64 {
        self.last.sequence
    }

    /// Returns its time by the venue's clock, in nanoseconds since the Unix epoch.
    pub fn event_time(&self) -> u64 {
        self.last.event_time
    }

    /// Returns the instrument's name and decimals.
    pub fn scale(&self) -> &'a Scale {
        self.scale
    }
}

fn delay(instrument: &Instrument, channel: Channel) -> Duration {
    Duration::from_millis(instrument.subscription(channel).map_or(0, |subscription| subscription.delay_ms))
}

fn is_current(session: &Session, instrument: &Instrument, channel: Channel) -> bool {
    instrument.subscription(channel).is_some_and(|s| s.is_granted && !s.awaits_snapshot)
        && session.is_venue_live(&instrument.venue)
}
