//! The state of one symbol in a normalizer.

use std::collections::BTreeMap;

use tickwire_wire::{Channel, Instrument, Level, Status};

use super::Market;
use super::depth::{Depth, DepthSync, Joined, Snapshot, Verdict};
use super::notes::Notes;
use super::parse::Decimals;
use super::proven::{Left, Proven};
use super::sequence::{Arrival, Sequence, SequenceMark};
use crate::adapter::{FeedEvent, Levels, MarketBody, MarketEvent};
use crate::status_board::StatusBoard;
use crate::supply::Supply;

/// The time that a book may wait before a status says so, in nanoseconds: snapshots come after the first changes.
const PATIENCE: u64 = 1_000_000_000;

#[derive(Debug)]
pub(crate) struct Symbol {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) decimals: Decimals,
    /// Whether `aggTrade` stands for the trades, because there are no others.
    pub(crate) uses_aggregates: bool,
    /// The sequence of trades; `None` stands for an id that is no trade.
    pub(crate) trades: Sequence<Option<MarketEvent>>,
    pub(crate) quotes: Sequence<MarketEvent>,
    changes: Sequence<Depth>,
    pub(crate) depth: DepthSync,
    /// The levels that its snapshots are asked for with, where that is known.
    pub(crate) snapshot_levels: Option<usize>,
    proven: Proven,
    pub(crate) has_depth: bool,
    /// Whether there was a book, at least once.
    has_book: bool,
    /// The time at which the book began to wait.
    waits_since: Option<u64>,
    pub(crate) status: StatusBoard,
    shown: Shown,
    /// The number of trades, quotes and states of the book that it came to.
    pub(crate) told: u64,
    last_received: u64,
}

/// The channels of which something was told since the connection that brings them was lost.
#[derive(Debug, Default)]
struct Shown {
    quote: bool,
    derivative: bool,
}

impl Symbol {
    pub(crate) fn new(index: u32, definition: &Instrument) -> Self {
        Self {
            index,
            name: definition.symbol.clone(),
            decimals: Decimals::of(definition),
            uses_aggregates: false,
            trades: Sequence::default(),
            quotes: Sequence::default(),
            changes: Sequence::default(),
            depth: DepthSync::default(),
            snapshot_levels: None,
            proven: Proven::default(),
            has_depth: false,
            has_book: false,
            waits_since: None,
            status: StatusBoard::default(),
            shown: Shown::default(),
            told: 0,
            last_received: 0,
        }
    }

    /// Begins anew, as the source does: nothing that was is compared with what comes. What was told stays told.
    pub(crate) fn restart(&mut self) {
        (self.trades, self.quotes) = (Sequence::default(), Sequence::default());
        self.changes = Sequence::default();
        self.depth.reset();
        self.waits_since = None;
    }

    /// Begins anew under another definition.
    pub(crate) fn redefine(&mut self, definition: &Instrument) {
        let Self { uses_aggregates, snapshot_levels, .. } = *self;
        *self = Self { uses_aggregates, snapshot_levels, ..Self::new(self.index, definition) };
    }

    /// Takes a change in the supply of a channel.
    pub(crate) fn supply(
        &mut self,
        channel: Channel,
        supply: Supply<'_>,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        let was_shown = match (supply, channel) {
            (Supply::Lost, Channel::Book) => {
                let was_whole = !self.depth.is_waiting();
                self.depth.reset();
                self.waits_since = None;
                was_whole
            }
            (Supply::Lost, Channel::Quote) => std::mem::take(&mut self.shown.quote),
            (Supply::Lost, Channel::Derivative) => std::mem::take(&mut self.shown.derivative),
            _ => {
                let status = self.status.supply(channel, supply);
                events.extend(status.map(|status| self.status_event(receive_time, receive_time, status)));
                false
            }
        };
        if was_shown {
            events.push(self.gap(channel, None, receive_time, receive_time));
        }
    }

    pub(crate) fn derivative(&mut self, derivative: MarketEvent, events: &mut Vec<FeedEvent>) {
        self.told += 1;
        self.shown.derivative = true;
        events.push(FeedEvent::Market(derivative));
    }

    pub(crate) fn event(&self, event_time: u64, receive_time: u64, body: MarketBody) -> MarketEvent {
        MarketEvent { index: self.index, event_time, receive_time, body }
    }

    fn gap(&self, channel: Channel, count: Option<u64>, event_time: u64, receive_time: u64) -> FeedEvent {
        FeedEvent::Market(self.event(event_time, receive_time, MarketBody::UpstreamGap { channel, count }))
    }

    pub(crate) fn status_event(&self, event_time: u64, receive_time: u64, status: Status) -> FeedEvent {
        FeedEvent::Market(self.event(event_time, receive_time, MarketBody::Status(status)))
    }

    pub(crate) fn trade(
        &mut self,
        mark: SequenceMark,
        trade: Option<MarketEvent>,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        let event_time = mark.time.unwrap_or(mark.receive_time);
        let (pending, mut last) = match self.trades.take(mark, trade) {
            Arrival::Next { message, previous, repeats } => {
                repeat(repeats, events);
                (vec![(mark.id, message)], previous)
            }
            Arrival::Repeat { repeats } => return repeat(repeats, events),
            Arrival::Pending => return,
            Arrival::Restart(pending) => {
                self.restarted(Channel::Trade, event_time, mark.receive_time, notes, events);
                (pending, None)
            }
        };
        for (id, message) in pending {
            if let Some(missing) = last.map(|last| id - last - 1).filter(|count| *count > 0) {
                events.push(self.gap(Channel::Trade, Some(missing), event_time, mark.receive_time));
            }
            last = Some(id);
            self.told += 1;
            events.extend(message.map(FeedEvent::Market));
        }
    }

    pub(crate) fn quote(
        &mut self,
        mark: SequenceMark,
        quote: MarketEvent,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        let event_time = quote.event_time;
        match self.quotes.take(mark, quote) {
            Arrival::Next { message, repeats, .. } => {
                repeat(repeats, events);
                self.told += 1;
                self.shown.quote = true;
                events.push(FeedEvent::Market(message));
            }
            Arrival::Repeat { repeats } => repeat(repeats, events),
            Arrival::Pending => {}
            Arrival::Restart(pending) => {
                self.restarted(Channel::Quote, event_time, mark.receive_time, notes, events);
                self.shown.quote = true;
                events.extend(pending.into_iter().map(|(_, quote)| FeedEvent::Market(quote)));
            }
        }
    }

    pub(crate) fn change(
        &mut self,
        market: Market,
        mark: SequenceMark,
        change: Depth,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        self.has_depth = true;
        self.last_received = mark.receive_time;
        let before = self.changes.receive_time().unwrap_or(0);
        let event_time = change.event_time;
        match self.changes.take(mark, change) {
            Arrival::Next { message, repeats, .. } => {
                repeat(repeats, events);
                self.apply(market, message, notes, events);
            }
            Arrival::Repeat { repeats } => repeat(repeats, events),
            Arrival::Pending => {}
            Arrival::Restart(pending) => {
                let changes = pending.into_iter().map(|(_, change)| change).collect();
                let (was_whole, joined) = self.depth.restart(market, changes, before);
                notes.add(|counts| &mut counts.new_sequences, || self.renumbered(Channel::Book));
                if was_whole {
                    events.push(self.gap(Channel::Book, None, event_time, mark.receive_time));
                }
                if matches!(joined, Some(Joined::Book(..))) {
                    // It was counted when it came, before it was known what it is of.
                    notes.counts.unused_snapshots = notes.counts.unused_snapshots.saturating_sub(1);
                }
                match joined {
                    Some(joined) => self.joined(joined, mark.receive_time, notes, events),
                    None => self.waits(mark.receive_time, notes, events),
                }
            }
        }
    }

    fn apply(&mut self, market: Market, change: Depth, notes: &mut Notes, events: &mut Vec<FeedEvent>) {
        let (event_time, receive_time) = (change.event_time, change.receive_time);
        match self.depth.change(market, change) {
            Verdict::Apply(mut change) => {
                self.told += 1;
                match self.proven.take(&mut change.levels) {
                    Left::Nothing => return self.is_exhausted(event_time, receive_time, notes, events),
                    Left::Little => self.depth.need_deeper(),
                    Left::Enough => {}
                }
                events.push(self.delta(change));
            }
            Verdict::Known => events.push(FeedEvent::Repeat),
            Verdict::Buffered => self.waits(receive_time, notes, events),
            Verdict::Broken => {
                events.push(self.gap(Channel::Book, None, event_time, receive_time));
                self.waits(receive_time, notes, events);
            }
        }
    }

    pub(crate) fn snapshot(
        &mut self,
        market: Market,
        snapshot: Snapshot,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        let receive_time = snapshot.receive_time;
        self.last_received = receive_time;
        let joined = self.depth.snapshot(market, snapshot);
        self.joined(joined, receive_time, notes, events);
    }

    fn joined(&mut self, joined: Joined, receive_time: u64, notes: &mut Notes, events: &mut Vec<FeedEvent>) {
        let name = &self.name;
        match joined {
            Joined::Older => {
                let words = || {
                    format!(
                        "{name}: a depth snapshot is older than the book: it is not used, unless update ids begin anew with it"
                    )
                };
                notes.add(|counts| &mut counts.unused_snapshots, words);
                events.push(FeedEvent::Repeat);
            }
            Joined::TooOld(first) => {
                let words = || {
                    format!(
                        "{name}: a depth snapshot is too old to be of use: the changes that came begin with {first}"
                    )
                };
                notes.add(|counts| &mut counts.unused_snapshots, words);
                self.tell_waiting(receive_time, notes, events);
            }
            Joined::Hole => {
                let words =
                    || format!("{name}: a depth snapshot is of no use: changes behind it are missing");
                notes.add(|counts| &mut counts.unused_snapshots, words);
                self.tell_waiting(receive_time, notes, events);
            }
            Joined::Anew(snapshot) => {
                notes.add(|counts| &mut counts.new_sequences, || self.renumbered(Channel::Book));
                events.push(self.gap(Channel::Book, None, snapshot.event_time, receive_time));
                self.show(snapshot, Vec::new(), notes, events);
            }
            Joined::Book(snapshot, changes) => self.show(snapshot, changes, notes, events),
            Joined::Deeper(snapshot, changes) => self.deepen(snapshot, changes, notes, events),
        }
    }

    /// Takes in that the price went beyond the last level of a snapshot: of a side nothing is known any more.
    fn is_exhausted(
        &mut self,
        event_time: u64,
        receive_time: u64,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        self.depth.give_up();
        events.push(self.gap(Channel::Book, None, event_time, receive_time));
        self.waits(receive_time, notes, events);
    }

    /// Shows the book, which is whole with this.
    fn show(
        &mut self,
        mut snapshot: Snapshot,
        mut changes: Vec<Depth>,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        if !self.proves(&mut snapshot, &mut changes) {
            return self.is_passed(&snapshot, notes, events);
        }
        let (event_time, receive_time) = (snapshot.event_time, snapshot.receive_time);
        self.is_shown();
        let body = MarketBody::BookSnapshot(snapshot.levels);
        events.push(FeedEvent::Market(self.event(event_time, receive_time, body)));
        events.extend(changes.into_iter().map(|change| self.delta(change)));
        if let Some(status) = self.status.book_waits(false) {
            events.push(self.status_event(event_time, receive_time, status));
        }
    }

    /// Shows more levels of a book. What is shown does not go back: it is the book as it is now.
    fn deepen(
        &mut self,
        mut snapshot: Snapshot,
        mut changes: Vec<Depth>,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        if !self.proves(&mut snapshot, &mut changes) {
            events.push(self.gap(Channel::Book, None, snapshot.event_time, snapshot.receive_time));
            return self.is_passed(&snapshot, notes, events);
        }
        self.is_shown();
        let now = changes.last().map_or(snapshot.event_time, |last| last.event_time);
        let body = MarketBody::BookSnapshot(merged(snapshot.levels, &changes));
        events.push(FeedEvent::Market(self.event(now, snapshot.receive_time, body)));
    }

    /// Takes what a snapshot and the changes since prove; returns whether that is something on each side.
    fn proves(&mut self, snapshot: &mut Snapshot, changes: &mut [Depth]) -> bool {
        snapshot.levels.bids.retain(|level| level.size > 0);
        snapshot.levels.asks.retain(|level| level.size > 0);
        self.proven = Proven::of(&snapshot.levels, self.snapshot_levels);
        let mut left = Left::Enough;
        for change in changes {
            left = self.proven.take(&mut change.levels);
        }
        if left == Left::Little {
            self.depth.need_deeper();
        }
        left != Left::Nothing
    }

    fn is_shown(&mut self) {
        self.waits_since = None;
        self.has_book = true;
        self.told += 1;
    }

    /// Takes in that the price has passed all levels of a snapshot already.
    fn is_passed(&mut self, snapshot: &Snapshot, notes: &mut Notes, events: &mut Vec<FeedEvent>) {
        let name = &self.name;
        notes.add(
            |counts| &mut counts.unused_snapshots,
            || format!("{name}: a depth snapshot is of no use: the price has passed all of its levels"),
        );
        self.depth.give_up();
        self.tell_waiting(snapshot.receive_time, notes, events);
    }

    fn delta(&self, change: Depth) -> FeedEvent {
        let body = MarketBody::BookDelta(change.levels);
        FeedEvent::Market(self.event(change.event_time, change.receive_time, body))
    }

    /// Takes in that a change came and there is no book for it.
    fn waits(&mut self, receive_time: u64, notes: &mut Notes, events: &mut Vec<FeedEvent>) {
        let since = *self.waits_since.get_or_insert(receive_time);
        if receive_time.abs_diff(since) >= PATIENCE {
            self.tell_waiting(receive_time, notes, events);
        }
    }

    fn tell_waiting(&mut self, receive_time: u64, notes: &mut Notes, events: &mut Vec<FeedEvent>) {
        if let Some(status) = self.status.book_waits(true) {
            let name = &self.name;
            notes.add(|counts| &mut counts.waiting_books, || {
                format!("{name}: the book waits for a snapshot that its changes continue; until then it is not shown")
            });
            events.push(self.status_event(receive_time, receive_time, status));
        }
    }

    /// Takes in that the source has ended: what is still pending or waiting is told.
    pub(crate) fn finish(&mut self, notes: &mut Notes, events: &mut Vec<FeedEvent>) {
        repeat(self.trades.pending() + self.quotes.pending() + self.changes.pending(), events);
        if self.is_book_waiting() {
            self.tell_waiting(self.last_received, notes, events);
        }
    }

    /// Returns whether changes come in, and there is no book.
    pub(crate) fn is_book_waiting(&self) -> bool {
        self.has_depth && self.depth.is_waiting()
    }

    /// Returns whether changes came in, and there never was a book.
    pub(crate) fn is_bookless(&self) -> bool {
        self.has_depth && !self.has_book
    }

    fn restarted(
        &mut self,
        channel: Channel,
        event_time: u64,
        receive_time: u64,
        notes: &mut Notes,
        events: &mut Vec<FeedEvent>,
    ) {
        notes.add(|counts| &mut counts.new_sequences, || self.renumbered(channel));
        events.push(self.gap(channel, None, event_time, receive_time));
    }

    fn renumbered(&self, channel: Channel) -> String {
        format!("{}: the venue numbers its {} messages anew; a gap was announced", self.name, channel.name())
    }
}

/// Returns the levels after these changes, best first.
fn merged(levels: Levels, changes: &[Depth]) -> Levels {
    let side = |levels: Vec<Level>| levels.into_iter().map(|level| (level.price, level.size)).collect();
    let (mut bids, mut asks): (BTreeMap<_, _>, BTreeMap<_, _>) = (side(levels.bids), side(levels.asks));
    for Depth { levels, .. } in changes {
        bids.extend(levels.bids.iter().map(|level| (level.price, level.size)));
        asks.extend(levels.asks.iter().map(|level| (level.price, level.size)));
    }
    let level = |(price, size): (i64, u64)| (size > 0).then_some(Level { price, size });
    Levels {
        bids: bids.into_iter().rev().filter_map(level).collect(),
        asks: asks.into_iter().filter_map(level).collect(),
    }
}

fn repeat(count: usize, events: &mut Vec<FeedEvent>) {
    events.extend((0..count).map(|_| FeedEvent::Repeat));
}
