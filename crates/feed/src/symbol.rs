//! One symbol of a normalizer: what all venues whose snapshots are in their streams have in common.

use tickwire_wire::{Channel, Derivative, Instrument, Quote, Status, Trade};

use crate::adapter::{FeedEvent, Levels, MarketBody, MarketEvent};
use crate::binance::{Arrival, Sequence, SequenceMark};
use crate::status_board::StatusBoard;
use crate::supply::Supply;

/// The times of a message, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The time of the event by the venue's clock, where it says one.
    pub(crate) event: Option<u64>,
    /// The time of receipt.
    pub(crate) receive: u64,
}

/// A symbol. `B` is what is kept of a book that is whole, and `K` what is kept beside it.
#[derive(Debug)]
pub(crate) struct Symbol<B, K = ()> {
    index: u32,
    pub(crate) price_decimals: u32,
    pub(crate) size_decimals: u32,
    /// The book; none while it is broken, or was never there.
    pub(crate) book: Option<B>,
    /// The state beside the book, which is kept for as long as the symbol is there.
    pub(crate) kept: K,
    /// The channels of which something was told since their connection was lost, and whose next message says nothing of a loss.
    shows: Vec<Channel>,
    /// The sequence of trades; each may stand for several, of which it has the last id.
    trades: Sequence<(u64, MarketEvent)>,
    pub(crate) status: StatusBoard,
}

impl<B, K> Symbol<B, K> {
    pub(crate) fn new(index: u32, definition: &Instrument) -> Self
    where
        K: Default,
    {
        Self {
            index,
            price_decimals: definition.price_decimals,
            size_decimals: definition.size_decimals,
            book: None,
            kept: K::default(),
            shows: Vec::new(),
            trades: Sequence::default(),
            status: StatusBoard::default(),
        }
    }

    /// Returns the index of its events.
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// Returns the decimals of prices and sizes.
    pub(crate) fn decimals(&self) -> (u32, u32) {
        (self.price_decimals, self.size_decimals)
    }

    fn event(&self, times: Times, body: MarketBody) -> MarketEvent {
        let Times { event, receive } = times;
        MarketEvent { index: self.index, event_time: event.unwrap_or(receive), receive_time: receive, body }
    }

    fn gap(&self, channel: Channel, count: Option<u64>, times: Times) -> FeedEvent {
        FeedEvent::Market(self.event(times, MarketBody::UpstreamGap { channel, count }))
    }

    /// Tells a status, if there is a new one.
    pub(crate) fn tell(&self, status: Option<Status>, receive: u64, events: &mut Vec<FeedEvent>) {
        let times = Times { event: None, receive };
        events.extend(status.map(|status| FeedEvent::Market(self.event(times, MarketBody::Status(status)))));
    }

    /// Takes a change in the supply of a channel.
    pub(crate) fn supply(
        &mut self,
        channel: Channel,
        supply: Supply<'_>,
        receive: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        let times = Times { event: None, receive };
        match (supply, channel) {
            (Supply::Lost, Channel::Book) => self.break_book(times, events),
            (Supply::Lost, Channel::Quote | Channel::Derivative) => {
                self.is_not_current(channel, times, events);
            }
            _ => {
                if supply == Supply::Lost {
                    self.is_not_current(channel, times, events);
                }
                let status = self.status.supply(channel, supply);
                self.tell(status, receive, events);
            }
        }
    }

    /// Tells a gap of a channel of which something was told, and whose next message will say nothing of a loss.
    fn is_not_current(&mut self, channel: Channel, times: Times, events: &mut Vec<FeedEvent>) {
        if let Some(at) = self.shows.iter().position(|shown| *shown == channel) {
            self.shows.swap_remove(at);
            events.push(self.gap(channel, None, times));
        }
    }

    fn is_shown(&mut self, channel: Channel) {
        if !self.shows.contains(&channel) {
            self.shows.push(channel);
        }
    }

    /// Breaks the book until its next snapshot; a gap says so where there was one.
    pub(crate) fn break_book(&mut self, times: Times, events: &mut Vec<FeedEvent>) {
        if self.book.take().is_some() {
            events.push(self.gap(Channel::Book, None, times));
        }
    }

    /// Takes the snapshot of a book. Levels may be in any order.
    pub(crate) fn snapshot(
        &mut self,
        book: B,
        mut levels: Levels,
        times: Times,
        events: &mut Vec<FeedEvent>,
    ) {
        levels.bids.retain(|level| level.size > 0);
        levels.asks.retain(|level| level.size > 0);
        sort(&mut levels);
        self.book = Some(book);
        events.push(FeedEvent::Market(self.event(times, MarketBody::BookSnapshot(levels))));
    }

    /// Tells a change of a book. Levels may be in any order.
    pub(crate) fn change(&self, mut levels: Levels, times: Times, events: &mut Vec<FeedEvent>) {
        sort(&mut levels);
        events.push(FeedEvent::Market(self.event(times, MarketBody::BookDelta(levels))));
    }

    pub(crate) fn quote(&mut self, quote: Quote, times: Times, events: &mut Vec<FeedEvent>) {
        self.is_shown(Channel::Quote);
        events.push(FeedEvent::Market(self.event(times, MarketBody::Quote(quote))));
    }

    pub(crate) fn derivative(&mut self, derivative: Derivative, times: Times, events: &mut Vec<FeedEvent>) {
        self.is_shown(Channel::Derivative);
        events.push(FeedEvent::Market(self.event(times, MarketBody::Derivative(derivative))));
    }

    /// Takes a trade without a number of its own: that others are missing before it cannot be told.
    pub(crate) fn unnumbered_trade(&mut self, trade: Trade, times: Times, events: &mut Vec<FeedEvent>) {
        self.is_shown(Channel::Trade);
        events.push(FeedEvent::Market(self.event(times, MarketBody::Trade(trade))));
    }

    /// Takes a trade whose ids have no holes: a gap says how many are missing before it.
    pub(crate) fn trade(&mut self, trade: Trade, times: Times, events: &mut Vec<FeedEvent>) {
        self.trades_as_one(trade, 1, times, events);
    }

    /// Takes so many trades that are one, with the id of the last of them.
    pub(crate) fn trades_as_one(
        &mut self,
        trade: Trade,
        count: u64,
        times: Times,
        events: &mut Vec<FeedEvent>,
    ) {
        let mark = SequenceMark { id: trade.id, time: times.event, receive_time: times.receive };
        let trade = (count, self.event(times, MarketBody::Trade(trade)));
        let (pending, mut last) = match self.trades.take(mark, trade) {
            Arrival::Next { message, previous, repeats } => {
                events.extend((0..repeats).map(|_| FeedEvent::Repeat));
                (vec![(mark.id, message)], previous)
            }
            Arrival::Repeat { repeats } => {
                events.extend((0..repeats).map(|_| FeedEvent::Repeat));
                return;
            }
            Arrival::Pending => return,
            Arrival::Restart(pending) => {
                events.push(self.gap(Channel::Trade, None, times));
                (pending, None)
            }
        };
        for (id, (count, trade)) in pending {
            if let Some(missing) =
                last.map(|last| (id - last).saturating_sub(count)).filter(|count| *count > 0)
            {
                events.push(self.gap(Channel::Trade, Some(missing), times));
            }
            last = Some(id);
            events.push(FeedEvent::Market(trade));
        }
    }
}

fn sort(levels: &mut Levels) {
    levels.bids.sort_by_key(|level| std::cmp::Reverse(level.price));
    levels.asks.sort_by_key(|level| level.price);
}
