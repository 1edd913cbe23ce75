//! Events go in, numbered records come out: the ingester without its loop.

use std::collections::HashMap;

use tickwire_wire::decimal::DECIMALS_MAX;
use tickwire_wire::{Body, Book, Channel, Instrument, Quote, Record, SymbolName};

use super::instrument::InstrumentState;
use super::publisher::{Outlet, Publisher};
use crate::adapter::{Levels, MarketBody, MarketEvent};

/// Instruments that a venue may have: the size of its block of ids.
pub const INSTRUMENTS_MAX: u32 = 16_383;

/// Events in one upstream gap at most; a jump beyond it is no count but a broken numbering, and takes one number.
const GAP_COUNT_MAX: u64 = 1_000_000_000;

/// Owns the truth of one venue: books, last values, numbering.
pub(crate) struct Sequencer<O> {
    pub(crate) venue: String,
    pub(crate) publisher: Publisher<O>,
    pub(crate) instruments: Vec<Option<InstrumentState>>,
    pub(crate) by_symbol: HashMap<String, u32>,
    id_base: u32,
    /// The latest event time: bars close by it.
    venue_time: u64,
}

impl<O: Outlet> Sequencer<O> {
    pub(crate) fn new(venue: String, id_base: u32, publisher: Publisher<O>) -> Self {
        Self { venue, publisher, instruments: Vec::new(), by_symbol: HashMap::new(), id_base, venue_time: 0 }
    }

    /// Takes a definition; says what is wrong with it when it cannot be used. Events of such an instrument are ignored.
    pub(crate) fn define(&mut self, index: u32, definition: Instrument) -> Result<(), String> {
        let definition = Instrument { venue: self.venue.clone(), ..definition };
        if index >= INSTRUMENTS_MAX {
            return Err(format!("`{}`: more than {INSTRUMENTS_MAX} instruments", definition.symbol));
        }
        if definition.price_decimals > DECIMALS_MAX || definition.size_decimals > DECIMALS_MAX {
            return Err(format!("`{}`: a scale has more than {DECIMALS_MAX} decimals", definition.symbol));
        }
        SymbolName::parse(&format!("{}:{}", self.venue, definition.symbol)).map_err(|e| e.to_string())?;
        let at = index as usize;
        if self.instruments.len() <= at {
            self.instruments.resize_with(at + 1, || None);
        }
        if self.instruments[at].is_none() {
            let state = InstrumentState::new(index, self.id_base + index + 1, &definition);
            self.instruments[at] = Some(state.map_err(|e| format!("`{}`: {e}", definition.symbol))?);
            self.by_symbol.insert(definition.symbol.clone(), index);
        }
        let Some(state) = &mut self.instruments[at] else { return Ok(()) };
        let body = Body::Instrument(definition);
        if state.definition.as_ref().is_some_and(|last| last.body == body) {
            return Ok(());
        }
        let now = self.publisher.now;
        self.publisher.emit(state, now, now, body);
        Ok(())
    }

    pub(crate) fn event(&mut self, event: MarketEvent) {
        let Some(Some(state)) = self.instruments.get_mut(event.index as usize) else { return };
        self.venue_time = self.venue_time.max(event.event_time);
        let times = (event.event_time, event.receive_time);
        let publisher = &mut self.publisher;
        match event.body {
            MarketBody::Trade(trade) => {
                let (price, size) = (trade.price, trade.size);
                publisher.emit(state, times.0, times.1, Body::Trade(trade));
                state.stat.trade(times.0, price, size);
                for at in 0..state.bars.len() {
                    if let Some(closed) = state.bars[at].trade(times.0, price, size) {
                        publisher.emit(state, times.0, times.1, Body::Bar(closed));
                    }
                }
            }
            MarketBody::Quote(quote) => {
                state.has_quotes = true;
                publisher.emit(state, times.0, times.1, Body::Quote(quote));
            }
            MarketBody::BookSnapshot(levels) => book(publisher, state, times, levels, true),
            MarketBody::BookDelta(levels) => book(publisher, state, times, levels, false),
            MarketBody::Status(status) => {
                publisher.emit(state, times.0, times.1, Body::Status(status));
            }
            MarketBody::UpstreamGap { channel: Channel::Unknown, .. } => {}
            MarketBody::UpstreamGap { channel, count } => {
                publisher.tally.upstream_gaps += 1;
                let count = count.filter(|count| (1..=GAP_COUNT_MAX).contains(count)).unwrap_or(1);
                let record = publisher.emit_gap(state, times.0, times.1, channel, count);
                if channel == Channel::Book {
                    state.book.reset();
                    state.book_gap = Some(record);
                }
            }
        }
    }

    /// What is due by the clock: bars, running figures, repairs.
    pub(crate) fn tick(&mut self, now: u64) {
        self.publisher.now = now;
        let publisher = &mut self.publisher;
        for state in self.instruments.iter_mut().flatten() {
            for at in 0..state.bars.len() {
                while let Some(bar) = state.bars[at].due(self.venue_time, now) {
                    publisher.emit(state, self.venue_time, now, Body::Bar(bar));
                }
            }
            if let Some(stat) = state.stat.due(now) {
                publisher.emit(state, self.venue_time, now, Body::Stat(stat));
            }
        }
        self.end_turn();
        self.publisher.repair(&mut self.instruments);
    }

    /// The next beats say all positions: what the bus accepted may be lost all the same.
    pub(crate) fn move_all(&mut self) {
        for state in self.instruments.iter_mut().flatten() {
            for channel in Channel::ALL {
                if state.numbering(channel).sequence > 0 {
                    self.publisher.mark_moved(state, channel);
                }
            }
        }
    }

    /// Publishes what is still open.
    pub(crate) fn end_turn(&mut self) {
        self.publisher.close_all(&mut self.instruments);
    }
}

fn book<O: Outlet>(
    publisher: &mut Publisher<O>,
    state: &mut InstrumentState,
    times: (u64, u64),
    levels: Levels,
    snapshot: bool,
) {
    let mut book = Book { snapshot, bids: levels.bids, asks: levels.asks, ..Book::default() };
    if !state.apply_book(&mut book) {
        publisher.tally.orphan_changes += 1;
        return;
    }
    state.book_gap = None;
    state.book_times = times;
    publisher.tally.crossed_books += u64::from(state.book.is_crossed());
    publisher.emit(state, times.0, times.1, Body::Book(book));
    let best = state.book.best();
    if !state.has_quotes && !is_quote(state.quote.as_ref(), best) {
        publisher.emit(state, times.0, times.1, Body::Quote(best));
    }
}

fn is_quote(last: Option<&Record>, quote: Quote) -> bool {
    last.is_some_and(|last| last.body == Body::Quote(quote))
}
