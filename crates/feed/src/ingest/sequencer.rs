//! The sequencer: events go in, records with sequence numbers come out. It is the ingester without its loop.

use std::collections::{HashMap, VecDeque};

use tickwire_wire::decimal::DECIMALS_MAX;
use tickwire_wire::{Body, Book, Channel, Instrument, InstrumentNumbers, Level, Quote, Record, SymbolName};

use super::instrument::{Applied, BOOK_LEVELS_MAX, InstrumentState};
use super::intervals::BarIntervals;
use super::publisher::{BusSink, Publisher};
use super::times::{self, SourceTime, TimeError};
use crate::adapter::{Levels, MarketBody, MarketEvent};

/// The most instruments that a venue may have at the same time.
pub const INSTRUMENTS_MAX: u32 = 65_536;
/// The most bytes in the names of what is bought and what it is paid in.
const CURRENCY_BYTES_MAX: usize = 64;
/// The most bytes of a venue's words and of a trade's name; what is longer is cut. Only books may be long on the bus.
const TEXT_BYTES_MAX: usize = 256;

/// The most events in one upstream gap; a jump beyond it is no count but a broken sequence, and takes one sequence
/// number.
const GAP_COUNT_MAX: u64 = 1_000_000_000;

/// The most ended instruments that a catalogue lists.
const ENDS_MAX: usize = 1024;

/// The owner of one venue's truth: books, last values, sequences.
pub(crate) struct Sequencer<O> {
    pub(crate) venue: String,
    pub(crate) publisher: Publisher<O>,
    pub(crate) instruments: Vec<Option<InstrumentState>>,
    pub(crate) by_symbol: HashMap<String, u32>,
    /// The number of changes of the catalogue.
    pub(crate) catalogue: u64,
    /// The instrument numbers of this epoch. One that an instrument had is not used again: what was said of it stays
    /// true.
    numbers: InstrumentNumbers,
    /// The last sequence numbers of symbols that ended. One that is listed anew goes on behind them, so that a sequence
    /// number of a symbol's channel means one record in an epoch.
    ended: HashMap<String, [u64; Channel::COUNT]>,
    /// The definitions of instruments that ended lately, with their last sequence numbers: a catalogue lists them, so that
    /// the loss of the last records before an end is found however the end is learned.
    pub(crate) ends: VecDeque<Record>,
    time: SourceTime,
    /// The intervals of bars.
    bars: BarIntervals,
}

impl<O: BusSink> Sequencer<O> {
    pub(crate) fn new(venue: String, publisher: Publisher<O>, bars: BarIntervals) -> Self {
        Self {
            venue,
            publisher,
            instruments: Vec::new(),
            by_symbol: HashMap::new(),
            catalogue: 0,
            numbers: InstrumentNumbers::default(),
            ended: HashMap::new(),
            ends: VecDeque::new(),
            time: SourceTime::default(),
            bars,
        }
    }

    /// Takes a definition; returns what is wrong with it when it cannot be used. Events of such an instrument are
    /// ignored.
    pub(crate) fn define(&mut self, index: u32, definition: Instrument) -> Result<(), String> {
        let definition = Instrument {
            venue: self.venue.clone(),
            ended: false,
            revision: 0,
            last_sequences: Vec::new(),
            ..definition
        };
        self.check(index, &definition)?;
        let at = index as usize;
        if self.instruments.len() <= at {
            self.instruments.resize_with(at + 1, || None);
        }
        let is_other = |last: &Record| match &last.body {
            Body::Instrument(last) => {
                last.symbol != definition.symbol
                    || (last.price_decimals, last.size_decimals)
                        != (definition.price_decimals, definition.size_decimals)
            }
            _ => false,
        };
        let known = self.instruments[at].as_ref().and_then(|state| state.definition.as_ref());
        if known.is_some_and(is_other) {
            // Prices and sizes of the new scale are no continuation of those of the old one.
            self.end(index);
        }
        if self.instruments[at].is_none() {
            let name = format!("{}:{}", self.venue, definition.symbol);
            let number = self.numbers.take(&name);
            let number = number.ok_or_else(|| {
                format!(
                    "`{}`: all instrument numbers of this run are used; restart the ingester",
                    definition.symbol
                )
            })?;
            let state = InstrumentState::new(index, number, &definition, &self.bars);
            let mut state = state.map_err(|e| format!("`{}`: {e}", definition.symbol))?;
            if let Some(sequences) = self.ended.remove(&definition.symbol) {
                state.go_on_behind(sequences);
            }
            self.instruments[at] = Some(state);
            self.by_symbol.insert(definition.symbol.clone(), index);
        }
        let Some(state) = &mut self.instruments[at] else { return Ok(()) };
        let is_same = |last: &Record| match &last.body {
            Body::Instrument(last) => Instrument { revision: 0, ..last.clone() } == definition,
            _ => false,
        };
        if state.definition.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        self.catalogue += 1;
        let body = Body::Instrument(Instrument { revision: self.catalogue, ..definition });
        let now = self.publisher.now;
        self.publisher.emit(state, now, now, body);
        Ok(())
    }

    fn check(&self, index: u32, definition: &Instrument) -> Result<(), String> {
        let symbol = &definition.symbol;
        if index >= INSTRUMENTS_MAX {
            return Err(format!("`{symbol}`: more than {INSTRUMENTS_MAX} instruments at the same time"));
        }
        if definition.price_decimals > DECIMALS_MAX || definition.size_decimals > DECIMALS_MAX {
            return Err(format!("`{symbol}`: a scale has more than {DECIMALS_MAX} decimals"));
        }
        if definition.base.len().max(definition.quote.len()) > CURRENCY_BYTES_MAX {
            return Err(format!("`{symbol}`: `base` or `quote` is longer than {CURRENCY_BYTES_MAX} bytes"));
        }
        SymbolName::parse(&format!("{}:{symbol}", self.venue)).map_err(|e| e.to_string())?;
        if self.by_symbol.get(symbol).is_some_and(|known| *known != index) {
            return Err(format!("`{symbol}`: another instrument has this name already"));
        }
        Ok(())
    }

    /// Ends an instrument: its last record says so, and its place is free.
    pub(crate) fn end(&mut self, index: u32) {
        let Some(state) = self.instruments.get_mut(index as usize).and_then(Option::as_mut) else { return };
        if let Some(Record { body: Body::Instrument(definition), .. }) = state.definition.clone() {
            let now = self.publisher.now;
            self.by_symbol.remove(&definition.symbol);
            self.catalogue += 1;
            let mut last_sequences = state.sequences();
            // This definition is the last record of its channel.
            last_sequences[Channel::Instrument as usize - 1] += 1;
            let last = Instrument {
                ended: true,
                revision: self.catalogue,
                last_sequences: last_sequences.to_vec(),
                ..definition
            };
            self.publisher.emit(state, now, now, Body::Instrument(last));
        }
        self.publisher.close(state);
        let sequences = state.sequences();
        if let Some(record) = state.definition.take() {
            if let Body::Instrument(definition) = &record.body {
                self.ended.insert(definition.symbol.clone(), sequences);
            }
            if self.ends.len() == ENDS_MAX {
                self.ends.pop_front();
            }
            self.ends.push_back(record);
        }
        self.instruments[index as usize] = None;
    }

    /// Takes an event. Fails, and takes it all the same, when its time had to be replaced.
    pub(crate) fn event(&mut self, event: MarketEvent) -> Result<(), TimeError> {
        let Some(Some(state)) = self.instruments.get_mut(event.index as usize) else { return Ok(()) };
        let receive = event.receive_time;
        let believed = times::believe(event.event_time, receive);
        let times = (believed.unwrap_or(receive), receive);
        let publisher = &mut self.publisher;
        publisher.tally.replaced_times += u64::from(believed.is_err());
        self.time.received(receive, publisher.now);
        match event.body {
            MarketBody::Trade(mut trade) => {
                cut(&mut trade.id_text);
                self.time.trade_delay(receive.saturating_sub(times.0));
                let (price, size) = (trade.price, trade.size);
                publisher.emit(state, times.0, times.1, Body::Trade(trade));
                if state.traded == 0 {
                    // The trades before in the interval in which the source began are not known.
                    state.bars.iter_mut().for_each(|bars| bars.lose(times.0, times.0));
                }
                state.traded = state.traded.max(times.0);
                state.stat.trade(times.0, price, size);
                state.bars.iter_mut().for_each(|bars| bars.trade(times.0, price, size));
            }
            MarketBody::Quote(quote) => {
                state.has_quotes = true;
                publisher.emit(state, times.0, times.1, Body::Quote(quote));
            }
            MarketBody::Derivative(derivative) => {
                publisher.emit(state, times.0, times.1, Body::Derivative(derivative));
            }
            MarketBody::BookSnapshot(levels) => book(publisher, state, times, levels, true),
            MarketBody::BookDelta(levels) => book(publisher, state, times, levels, false),
            MarketBody::Status(mut status) => {
                cut(&mut status.reason);
                publisher.emit(state, times.0, times.1, Body::Status(status));
            }
            MarketBody::UpstreamGap { channel: Channel::Unknown, .. } => {}
            MarketBody::UpstreamGap { channel, count } => {
                publisher.tally.upstream_gaps += 1;
                let count = count.filter(|count| (1..=GAP_COUNT_MAX).contains(count)).unwrap_or(1);
                lose(publisher, state, times, channel, count);
            }
        }
        believed.map(drop)
    }

    /// Ends every interval of bars, because the source is over.
    pub(crate) fn source_ended(&mut self) {
        self.time.end();
    }

    /// Publishes what is due by the clock: bars, ticker statistics, repairs.
    pub(crate) fn tick(&mut self, now: u64) {
        self.publisher.now = now;
        let (over_to, latest) = (self.time.over_to(now), self.time.latest());
        let corrected_ns = times::EVENT_BEHIND_MAX.as_nanos() as u64;
        let publisher = &mut self.publisher;
        let mut due = Vec::new();
        for state in self.instruments.iter_mut().flatten() {
            for bars in &mut state.bars {
                bars.due(over_to, corrected_ns, now, |bar| due.push(bar));
            }
            for bar in due.drain(..) {
                publisher.emit(state, latest, now, Body::Bar(bar));
            }
            if let Some(stat) = state.stat.due(now) {
                publisher.emit(state, latest, now, Body::Stat(stat));
            }
        }
        self.end_turn();
        self.publisher.repair(&mut self.instruments);
    }

    /// Begins the numbers of this run anew, and publishes what holds. Nobody heard what was said before, because this process stood by; so
    /// nothing is missing.
    pub(crate) fn begin_anew(&mut self) {
        self.ended.clear();
        self.ends.clear();
        let publisher = &mut self.publisher;
        publisher.forget();
        for state in self.instruments.iter_mut().flatten() {
            let others = Channel::ALL.into_iter().filter(|channel| *channel != Channel::Instrument);
            let mut records = state.last_records(Channel::Instrument);
            records.extend(others.flat_map(|channel| state.last_records(channel)));
            let reach = state.begin_anew();
            for record in records {
                let times = (record.event_time, record.receive_time);
                match record.body {
                    Body::Book(Book { bids, asks, .. }) => {
                        book(publisher, state, times, Levels { bids, asks }, true);
                        state.restore(reach);
                    }
                    Body::Gap(_) => {
                        let gap = publisher.emit_gap(state, times.0, times.1, Channel::Book, 1);
                        state.book_gap = Some(gap);
                    }
                    body => publisher.emit(state, times.0, times.1, body),
                }
            }
        }
        self.end_turn();
    }

    /// Makes the next heartbeats say all positions: what the bus accepted may be lost all the same.
    pub(crate) fn move_all(&mut self) {
        for state in self.instruments.iter_mut().flatten() {
            for channel in Channel::ALL {
                if state.sequence(channel).last > 0 {
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

/// Announces that events of a channel were lost before they came here. What is derived from them is no better.
fn lose<O: BusSink>(
    publisher: &mut Publisher<O>,
    state: &mut InstrumentState,
    times: (u64, u64),
    channel: Channel,
    count: u64,
) {
    let record = publisher.emit_gap(state, times.0, times.1, channel, count);
    state.forget(channel);
    match channel {
        Channel::Book => {
            state.book.reset();
            state.book_gap = Some(record);
            if !state.has_quotes && state.quote.is_some() {
                publisher.emit_gap(state, times.0, times.1, Channel::Quote, 1);
                state.forget(Channel::Quote);
            }
        }
        Channel::Trade => {
            let from = if state.traded == 0 { times.0 } else { state.traded };
            state.bars.iter_mut().for_each(|bars| bars.lose(from.min(times.0), times.0));
            state.stat.lose();
        }
        _ => {}
    }
}

fn book<O: BusSink>(
    publisher: &mut Publisher<O>,
    state: &mut InstrumentState,
    times: (u64, u64),
    levels: Levels,
    snapshot: bool,
) {
    let book = Book { snapshot, bids: levels.bids, asks: levels.asks, ..Book::default() };
    for mut part in split_book(book, publisher.book_levels_max()) {
        match state.apply_book(&mut part) {
            Applied::Orphan => {
                publisher.tally.orphan_changes += 1;
                return;
            }
            Applied::Beyond => continue,
            Applied::Whole => {}
            Applied::Cut => tell_cut(publisher, state),
        }
        state.book_gap = None;
        state.book_times = times;
        publisher.emit(state, times.0, times.1, Body::Book(part));
    }
    if state.is_book_exhausted() {
        return lose(publisher, state, times, Channel::Book, 1);
    }
    publisher.tally.crossed_books += u64::from(state.book.is_crossed());
    let best = state.book.best();
    if !state.has_quotes && !is_quote(state.quote.as_ref(), best) {
        publisher.emit(state, times.0, times.1, Body::Quote(best));
    }
}

/// Tells that a book is kept in part; one for each power of two.
fn tell_cut<O: BusSink>(publisher: &mut Publisher<O>, state: &InstrumentState) {
    let cut = &mut publisher.tally.cut_books;
    *cut += 1;
    if cut.is_power_of_two() {
        let symbol = match &state.definition {
            Some(Record { body: Body::Instrument(definition), .. }) => definition.symbol.as_str(),
            _ => "",
        };
        tracing::warn!(
            symbol,
            cut = *cut,
            "a book has more than {BOOK_LEVELS_MAX} levels on a side: it is kept up to the worst of these, and ends there"
        );
    }
}

/// Cuts a book into records of so many levels: the first as it is, the others as changes that add to it.
pub(crate) fn split_book(book: Book, levels_max: usize) -> Vec<Book> {
    if book.bids.len() + book.asks.len() <= levels_max {
        return vec![book];
    }
    let half = (levels_max / 2).max(1);
    let (mut bids, mut asks) = (book.bids.chunks(half), book.asks.chunks(half));
    let mut parts = Vec::new();
    loop {
        let (bids, asks) = (bids.next(), asks.next());
        if bids.is_none() && asks.is_none() {
            return parts;
        }
        let snapshot = book.snapshot && parts.is_empty();
        let side = |levels: Option<&[Level]>| levels.unwrap_or_default().to_vec();
        // The best levels are in the first part, and so the checksum holds for all of them.
        let checksum = book.checksum;
        parts.push(Book { snapshot, bids: side(bids), asks: side(asks), checksum, ..Book::default() });
    }
}

/// Cuts text at a boundary of characters.
fn cut(text: &mut String) {
    if text.len() > TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    }
}

fn is_quote(last: Option<&Record>, quote: Quote) -> bool {
    last.is_some_and(|last| last.body == Body::Quote(quote))
}
