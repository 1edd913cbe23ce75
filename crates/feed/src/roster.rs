//! The instruments of a normalizer, by name and by the index of their events.

use std::collections::HashMap;

use tickwire_wire::{Channel, Instrument, TradingState};

use crate::adapter::FeedEvent;
use crate::normalize_error::NormalizeError;
use crate::supply::Supply;
use crate::symbol::{Symbol, Times};

/// The instruments of a normalizer. `B` is what is kept of a book, and `K` what is kept of an instrument beside it, until it ends or
/// has another scale.
#[derive(Debug)]
pub struct Roster<B, K = ()> {
    symbols: Vec<Symbol<B, K>>,
    by_name: HashMap<String, u32>,
    /// The indexes that ended instruments had.
    free: Vec<u32>,
}

impl<B, K> Default for Roster<B, K> {
    fn default() -> Self {
        Self { symbols: Vec::new(), by_name: HashMap::new(), free: Vec::new() }
    }
}

impl<B, K: Default> Roster<B, K> {
    /// Takes the definition of an instrument that may be new, and returns the index of its events. One whose scale is
    /// another than before begins anew.
    pub fn define(&mut self, definition: &Instrument) -> u32 {
        if let Some(index) = self.by_name.get(&definition.symbol).copied() {
            let known = &mut self.symbols[index as usize];
            if known.decimals() != (definition.price_decimals, definition.size_decimals) {
                *known = Symbol::new(index, definition);
            }
            return index;
        }
        let index = self.free.pop().unwrap_or(self.symbols.len() as u32);
        self.by_name.insert(definition.symbol.clone(), index);
        match self.symbols.get_mut(index as usize) {
            Some(place) => *place = Symbol::new(index, definition),
            None => self.symbols.push(Symbol::new(index, definition)),
        }
        index
    }

    /// Forgets an instrument, and returns its index, which another may have from now on.
    pub fn end(&mut self, symbol: &str) -> Option<u32> {
        let index = self.by_name.remove(symbol)?;
        self.free.push(index);
        // Nothing of it is for the next one at this place.
        self.symbols[index as usize].kept = K::default();
        Some(index)
    }

    /// Returns the name of the instrument with this index; none where it ended.
    pub fn name(&self, index: u32) -> Option<&str> {
        self.by_name.iter().find(|(_, known)| **known == index).map(|(name, _)| name.as_str())
    }

    /// Takes what the venue says of whether a symbol trades, and which state that is.
    pub fn status(
        &mut self,
        symbol: &str,
        words: &str,
        state: TradingState,
        receive_time: u64,
        events: &mut Vec<FeedEvent>,
    ) {
        if let Some(symbol) = self.find(symbol) {
            let status = symbol.status.venue_says(words, state);
            symbol.tell(status, receive_time, events);
        }
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
        if let Some(symbol) = self.find(symbol) {
            symbol.supply(channel, supply, receive_time, events);
        }
    }

    /// Breaks the book of a symbol, because something that was said of it cannot be read. Returns why, in words.
    ///
    /// # Errors
    /// Hands the error back where there is no such symbol.
    pub(crate) fn unreadable_book(
        &mut self,
        name: &str,
        error: NormalizeError,
        times: Times,
        events: &mut Vec<FeedEvent>,
    ) -> Result<String, NormalizeError> {
        let Some(symbol) = self.find(name) else { return Err(error) };
        symbol.break_book(times, events);
        Ok(error.to_string())
    }

    /// Returns the symbol of a name.
    pub(crate) fn symbol(&mut self, name: &str) -> Result<&mut Symbol<B, K>, NormalizeError> {
        self.find(name).ok_or_else(|| NormalizeError::UnknownSymbol(name.to_owned()))
    }

    fn find(&mut self, name: &str) -> Option<&mut Symbol<B, K>> {
        let index = *self.by_name.get(name)?;
        self.symbols.get_mut(index as usize)
    }
}
