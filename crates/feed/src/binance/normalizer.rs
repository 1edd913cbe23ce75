//! The normalizer of Binance: text goes in, events come out.

use std::collections::HashMap;

use tickwire_wire::{Channel, Derivative, Instrument, Quote};

use super::Market;
use super::depth::{Depth, Need, Snapshot};
use super::info::InfoText;
use super::message::{DepthText, Hint, MarkText, Message, SnapshotText, TickerText, TradeText, read};
use super::notes::{Counts, Notes};
use super::parse::Decimals;
use super::sequence::SequenceMark;
use super::stamp::Stamp;
use super::status::trading_state;
use super::symbol::Symbol;
use crate::adapter::{FeedEvent, MarketBody};
use crate::normalize_error::NormalizeError;
use crate::number::clip;
use crate::supply::Supply;

/// A state machine that turns messages of one market into events. It has no I/O and no clock.
#[derive(Debug)]
pub struct Normalizer {
    market: Market,
    symbols: Vec<Symbol>,
    by_name: HashMap<String, u32>,
    notes: Notes,
    /// The indexes that ended instruments had.
    free: Vec<u32>,
    /// The indexes of symbols whose book needs a snapshot, until they are taken.
    wanted: Vec<(u32, Need)>,
    /// The levels that snapshots are asked for with, where that is known.
    snapshot_levels: Option<usize>,
}

impl Normalizer {
    /// Makes a normalizer of these instruments; the index of each is the index of its events.
    pub fn new(market: Market, definitions: &[Instrument]) -> Self {
        let symbols = (0..).zip(definitions).map(|(index, definition)| Symbol::new(index, definition));
        let symbols: Vec<_> = symbols.collect();
        let by_name = symbols.iter().map(|symbol| (symbol.name.clone(), symbol.index)).collect();
        let (notes, free, wanted) = (Notes::default(), Vec::new(), Vec::new());
        Self { market, symbols, by_name, notes, free, wanted, snapshot_levels: None }
    }

    /// Takes the number of levels that snapshots are asked for with: a side that has so many may have more. Where nobody says it,
    /// as in a recording, a snapshot counts as whole.
    pub fn snapshots_have(&mut self, levels: usize) {
        self.snapshot_levels = Some(levels);
        self.symbols.iter_mut().for_each(|symbol| symbol.snapshot_levels = Some(levels));
    }

    /// Takes `aggTrade` for the trades of a symbol. It is only for one whose trades do not come themselves: they would
    /// come twice.
    pub fn use_aggregates(&mut self, symbol: &str) {
        if let Ok(index) = self.index(symbol) {
            self.symbols[index].uses_aggregates = true;
        }
    }

    /// Takes the definition of an instrument that may be new, and returns the index of its events. One whose scale is
    /// another than before begins anew, as its records do.
    pub fn define(&mut self, definition: &Instrument) -> u32 {
        if let Some(index) = self.by_name.get(&definition.symbol).copied() {
            let known = &mut self.symbols[index as usize];
            if known.decimals != Decimals::of(definition) {
                known.redefine(definition);
            }
            return index;
        }
        let index = self.free.pop().unwrap_or(self.symbols.len() as u32);
        let mut symbol = Symbol::new(index, definition);
        symbol.snapshot_levels = self.snapshot_levels;
        self.by_name.insert(symbol.name.clone(), index);
        match self.symbols.get_mut(index as usize) {
            Some(place) => *place = symbol,
            None => self.symbols.push(symbol),
        }
        index
    }

    /// Forgets an instrument that the venue does not list any more, and returns its index, which another may have from
    /// now on.
    pub fn end(&mut self, symbol: &str) -> Option<u32> {
        let index = self.by_name.remove(symbol)?;
        self.symbols[index as usize] = Symbol::new(index, &Instrument::default());
        self.free.push(index);
        Some(index)
    }

    /// Takes a change in the supply of a channel of a symbol.
    pub fn supply(
        &mut self,
        symbol: &str,
        channel: Channel,
        supply: Supply<'_>,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        if let Ok(index) = self.index(symbol) {
            self.symbols[index].supply(channel, supply, receive_time, events);
        }
    }

    /// Takes the indexes of symbols whose changes came since the last call and have no book, or one of which little is proven: each
    /// once, until it has its snapshot or its connection is lost.
    pub fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        std::mem::take(&mut self.wanted)
    }

    /// Returns why a symbol needs a snapshot, if so.
    pub fn need(&self, index: u32) -> Option<Need> {
        self.symbols.get(index as usize).and_then(|symbol| symbol.depth.need())
    }

    /// Returns the name of a symbol by its index.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.symbols.get(index as usize).map(|symbol| symbol.name.as_str()).filter(|name| !name.is_empty())
    }

    /// Begins anew, as the source does, perhaps in the past: nothing that was is compared with what comes.
    pub fn restart(&mut self) {
        self.symbols.iter_mut().for_each(Symbol::restart);
    }

    /// Takes in that the source has ended: books that still wait for a snapshot are told, where that was not done.
    pub fn finish(&mut self, events: &mut Vec<FeedEvent>) {
        let notes = &mut self.notes;
        self.symbols.iter_mut().for_each(|symbol| symbol.finish(notes, events));
    }

    /// Returns the symbols whose changes come in, but whose book waits for a REST snapshot.
    pub fn wanting_snapshot(&self) -> impl Iterator<Item = &str> {
        self.symbols.iter().filter(|symbol| symbol.is_book_waiting()).map(|symbol| symbol.name.as_str())
    }

    /// Returns the symbols of which there was no trade, quote or book so far.
    pub fn silent(&self) -> impl Iterator<Item = &str> {
        self.symbols.iter().filter(|symbol| symbol.told == 0).map(|symbol| symbol.name.as_str())
    }

    /// Returns the symbols whose changes came in, without any book so far.
    pub fn bookless(&self) -> impl Iterator<Item = &str> {
        self.symbols.iter().filter(|symbol| symbol.is_bookless()).map(|symbol| symbol.name.as_str())
    }

    /// Returns how many changes of depth came to no book.
    pub fn unused_changes(&self) -> u64 {
        self.symbols.iter().map(|symbol| symbol.depth.unused()).sum()
    }

    /// Returns the counts of what there was besides events.
    pub fn counts(&self) -> Counts {
        self.notes.counts
    }

    /// Takes the words for the log since the last call; each kind is put into words more and more seldom.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.notes.take_words()
    }

    /// Takes one message, or an array of them: of a combined stream, of a single one, or a REST depth snapshot, which
    /// is of `snapshot_symbol` where it does not say itself. Times are in nanoseconds since the Unix epoch. Streams of
    /// other kinds are passed over.
    ///
    /// # Errors
    /// Returns an error when the message cannot be read; then no event was appended and nothing changed. Of an array
    /// this holds for each element, and the first error is returned.
    pub fn message(
        &mut self,
        receive_time: u64,
        text: &str,
        snapshot_symbol: Option<&str>,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        read(text, &mut |message, hint| match message {
            Message::Trade(text) => self.trade(receive_time, &text, false, events),
            Message::Aggregate(text) => self.trade(receive_time, &text, true, events),
            Message::Ticker(text) => self.ticker(receive_time, &text, events),
            Message::Mark(text) => self.mark(receive_time, &text, events),
            Message::Depth(text) => self.depth(receive_time, &text, hint, events),
            Message::Snapshot(text) => self.snapshot(receive_time, &text, snapshot_symbol, events),
            Message::Info(text) => {
                self.info(receive_time, &text, events);
                Ok(())
            }
            Message::Other(_) | Message::Response => Ok(()),
        })
    }

    fn index(&self, name: &str) -> Result<usize, NormalizeError> {
        let index = self.by_name.get(name).map(|index| *index as usize);
        index.ok_or_else(|| NormalizeError::UnknownSymbol(clip(name)))
    }

    /// Returns the time of an event, and what its sequence goes by.
    fn times(&mut self, stamp: Stamp, id: u64, receive_time: u64) -> (u64, SequenceMark) {
        if stamp == Stamp::Odd {
            let words = || {
                format!(
                    "message {id} has no time of the venue that can be used: its receive time stands for it"
                )
            };
            self.notes.add(|counts| &mut counts.odd_event_times, words);
        }
        let time = if let Stamp::At(time) = stamp { Some(time) } else { None };
        (stamp.or(receive_time), SequenceMark { id, time, receive_time })
    }

    fn trade(
        &mut self,
        receive_time: u64,
        text: &TradeText,
        is_aggregate: bool,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let index = self.index(&text.symbol)?;
        let trade = self.symbols[index].decimals.trade(text)?;
        if is_aggregate != self.symbols[index].uses_aggregates {
            return Ok(());
        }
        let (event_time, mark) = self.times(text.time, text.id, receive_time);
        let symbol = &mut self.symbols[index];
        // The futures give an id to what is no trade (`"X":"NA"`): it has no size.
        let is_trade = trade.size > 0;
        let trade = is_trade.then(|| symbol.event(event_time, receive_time, MarketBody::Trade(trade)));
        symbol.trade(mark, trade, &mut self.notes, events);
        Ok(())
    }

    fn ticker(
        &mut self,
        receive_time: u64,
        text: &TickerText,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let index = self.index(&text.symbol)?;
        let decimals = self.symbols[index].decimals;
        let quote = Quote { bid: decimals.side(text.bid)?, ask: decimals.side(text.ask)? };
        let (event_time, mark) = self.times(text.time, text.update, receive_time);
        let symbol = &mut self.symbols[index];
        let quote = symbol.event(event_time, receive_time, MarketBody::Quote(quote));
        symbol.quote(mark, quote, &mut self.notes, events);
        Ok(())
    }

    fn mark(
        &mut self,
        receive_time: u64,
        text: &MarkText,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let index = self.index(&text.symbol)?;
        let price_decimals =
            text.index.map_or(0, |index| index.exact.decimals()).max(text.mark.exact.decimals());
        let rate_decimals = text.rate.map_or(0, |rate| rate.exact.decimals());
        let index_price = text.index.map(|index| index.signed("index price", price_decimals)).transpose()?;
        let derivative = Derivative {
            mark_price: Some(text.mark.signed("mark price", price_decimals)?),
            index_price,
            price_decimals,
            funding_rate: text.rate.map(|rate| rate.signed("funding rate", rate_decimals)).transpose()?,
            rate_decimals,
            next_funding_time: if let Stamp::At(time) = text.next_funding { time } else { 0 },
            open_interest: None,
        };
        let (event_time, _) = self.times(text.time, 0, receive_time);
        let symbol = &mut self.symbols[index];
        let derivative = symbol.event(event_time, receive_time, MarketBody::Derivative(derivative));
        symbol.derivative(derivative, events);
        Ok(())
    }

    fn depth(
        &mut self,
        receive_time: u64,
        text: &DepthText,
        hint: Hint,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let index = self.index(&text.symbol)?;
        let (first_update, last_update) = (text.first_update, text.last_update);
        if last_update < first_update {
            return Err(NormalizeError::Range { first: first_update, last: last_update });
        }
        let is_spot = self.market == Market::Spot;
        if !is_spot && text.previous_update.is_none() {
            return Err(NormalizeError::Missing("pu, where the message before ended,"));
        }
        if let (true, Hint::Sure(found @ (Market::Usdm | Market::Cm))) = (is_spot, hint) {
            let market = self.market.venue();
            return Err(NormalizeError::OtherMarket { found: found.venue(), market });
        }
        let levels = self.symbols[index].decimals.levels(&text.bids, &text.asks)?;
        let (event_time, mark) = self.times(text.time, last_update, receive_time);
        let previous_update = text.previous_update;
        let change = Depth { first_update, last_update, previous_update, event_time, receive_time, levels };
        let symbol = &mut self.symbols[index];
        symbol.change(self.market, mark, change, &mut self.notes, events);
        if let Some(need) = symbol.depth.new_need() {
            // Nobody takes them where a recording is played, so none is listed twice.
            self.wanted.retain(|(index, _)| *index != symbol.index);
            self.wanted.push((symbol.index, need));
        }
        Ok(())
    }

    fn snapshot(
        &mut self,
        receive_time: u64,
        text: &SnapshotText,
        snapshot_symbol: Option<&str>,
        events: &mut Vec<FeedEvent>,
    ) -> Result<(), NormalizeError> {
        let name = text.symbol.as_deref().or(snapshot_symbol).ok_or(NormalizeError::WhoseSnapshot)?;
        let index = self.index(name)?;
        let levels = self.symbols[index].decimals.levels(&text.bids, &text.asks)?;
        let last_update = text.last_update;
        let (event_time, _) = self.times(text.time, last_update, receive_time);
        let snapshot = Snapshot { last_update, event_time, receive_time, levels };
        self.symbols[index].snapshot(self.market, snapshot, &mut self.notes, events);
        Ok(())
    }

    /// Takes what the venue says of whether its symbols trade.
    fn info(&mut self, receive_time: u64, text: &InfoText, events: &mut Vec<FeedEvent>) {
        let event_time = text.time.or(receive_time);
        for info in &text.symbols {
            let (Some(name), Some(words)) = (info.name(), info.status()) else { continue };
            let Ok(index) = self.index(&name) else { continue };
            let symbol = &mut self.symbols[index];
            if let Some(status) = symbol.status.venue_says(&words, trading_state(&words)) {
                events.push(symbol.status_event(event_time, receive_time, status));
            }
        }
    }
}

#[cfg(test)]
#[path = "normalizer_tests.rs"]
mod tests;
