//! The scan of a recording: it finds out which instruments there are, their scales and their market, before anything is
//! played.

use std::collections::BTreeMap;

use tickwire_wire::Instrument;
use tickwire_wire::decimal::DECIMALS_MAX;

use super::Market;
use super::detect::Votes;
use super::info::SymbolInfo;
use super::message::{Message, read};
use super::scale::InstrumentDecimals;
use crate::listing::Listing;
use crate::normalize_error::NormalizeError;
use crate::number::Number;

/// The number of kinds of messages without a use that are told by name.
const UNUSED_KINDS_MAX: usize = 64;

/// A scan, which takes every message of a recording once. Scales come from `exchangeInfo` where the recording has it,
/// else from what prices and quantities of the symbol really use; `scale.rs` has the rule. Steps are then one unit.
#[derive(Debug, Default)]
pub struct Scan {
    used: BTreeMap<String, Found>,
    /// The decimals in snapshots that do not say of which symbol they are.
    nameless: Option<InstrumentDecimals>,
    infos: BTreeMap<String, Instrument>,
    votes: Votes,
    unused: BTreeMap<String, u64>,
}

/// The findings about a symbol.
#[derive(Debug, Default)]
struct Found {
    decimals: InstrumentDecimals,
    trades: u64,
    aggregates: u64,
}

impl Scan {
    /// Takes one message, or an array of them.
    ///
    /// # Errors
    /// Returns an error when it cannot be read; the normalizer will say the same.
    pub fn message(&mut self, text: &str) -> Result<(), NormalizeError> {
        read(text, &mut |message, hint| {
            self.votes.add(hint);
            self.take(message);
            Ok(())
        })
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Trade(text) => {
                let found = self.found(&text.symbol);
                found.trades += 1;
                found.decimals.add(&[(text.price, text.size)]);
            }
            Message::Aggregate(text) => {
                let found = self.found(&text.symbol);
                found.aggregates += 1;
                found.decimals.add(&[(text.price, text.size)]);
            }
            Message::Ticker(text) => self.found(&text.symbol).decimals.add(&[text.bid, text.ask]),
            // Its prices have decimals of their own.
            Message::Mark(text) => drop(self.found(&text.symbol)),
            Message::Depth(text) => {
                let found = self.found(&text.symbol);
                found.decimals.add(&text.bids);
                found.decimals.add(&text.asks);
            }
            Message::Snapshot(text) => {
                let decimals = match &text.symbol {
                    Some(symbol) => &mut self.found(symbol).decimals,
                    None => self.nameless.get_or_insert_default(),
                };
                decimals.add(&text.bids);
                decimals.add(&text.asks);
            }
            Message::Info(text) => {
                for info in &text.symbols {
                    if let Some(instrument) = from_info(info) {
                        self.infos.insert(instrument.symbol.clone(), instrument);
                    }
                }
            }
            Message::Other(kind) => {
                if self.unused.len() < UNUSED_KINDS_MAX || self.unused.contains_key(kind.as_ref()) {
                    *self.unused.entry(crate::number::clip(&kind)).or_default() += 1;
                }
            }
            Message::Response => {}
        }
    }

    fn found(&mut self, symbol: &str) -> &mut Found {
        if !self.used.contains_key(symbol) {
            self.used.insert(symbol.to_owned(), Found::default());
        }
        self.used.get_mut(symbol).expect("it is there now")
    }

    /// Returns the symbols with trades, quotes or depth, in the order of their names.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.used.keys().map(String::as_str)
    }

    /// Returns whether there are snapshots that do not say of which symbol they are.
    pub fn has_nameless_snapshots(&self) -> bool {
        self.nameless.is_some()
    }

    /// Returns whether there is `exchangeInfo`.
    pub fn has_infos(&self) -> bool {
        !self.infos.is_empty()
    }

    /// Returns the kinds of messages that nobody here has a use for, with how many there are.
    pub fn unused(&self) -> impl Iterator<Item = (&str, u64)> {
        self.unused.iter().map(|(kind, count)| (kind.as_str(), *count))
    }

    /// Returns how many messages of `aggTrade` are of symbols whose trades are there too.
    pub fn doubled_aggregates(&self) -> u64 {
        self.used.values().filter(|found| found.trades > 0).map(|found| found.aggregates).sum()
    }

    /// Returns the symbols whose trades are there as `aggTrade` only.
    pub fn aggregated(&self) -> impl Iterator<Item = &str> {
        let aggregated = self.used.iter().filter(|(_, found)| found.trades == 0 && found.aggregates > 0);
        aggregated.map(|(symbol, _)| symbol.as_str())
    }

    /// Returns the market that most messages are of.
    pub fn market(&self) -> Market {
        self.votes.market()
    }

    /// Returns the market that depth messages are of, which cannot be mistaken, with how many there are.
    pub fn sure_market(&self) -> Option<(Market, u64)> {
        self.votes.sure()
    }

    /// Ends the scan of a file: snapshots without a symbol are of the only symbol in it.
    pub fn finish(&mut self) {
        if self.used.len() == 1
            && let Some(nameless) = self.nameless.take()
        {
            self.used.values_mut().for_each(|only| only.decimals.join(&nameless));
        }
    }

    /// Adds what the scan of another file found.
    pub fn merge(&mut self, other: Self) {
        for (symbol, found) in other.used {
            let to = self.used.entry(symbol).or_default();
            to.decimals.join(&found.decimals);
            to.trades += found.trades;
            to.aggregates += found.aggregates;
        }
        if let Some(nameless) = other.nameless {
            self.nameless.get_or_insert_default().join(&nameless);
        }
        for (kind, count) in other.unused {
            *self.unused.entry(kind).or_default() += count;
        }
        self.votes.join(&other.votes);
        self.infos.extend(other.infos);
    }

    /// Returns the instruments that occur, in the order of their names.
    pub fn definitions(&self) -> Vec<Instrument> {
        self.used.iter().map(|(symbol, found)| self.definition(symbol, &found.decimals)).collect()
    }

    fn definition(&self, symbol: &str, decimals: &InstrumentDecimals) -> Instrument {
        let Some(info) = self.infos.get(symbol) else {
            return Instrument {
                symbol: symbol.to_owned(),
                price_decimals: decimals.price.decimals(0),
                size_decimals: decimals.size.decimals(0),
                tick_size: 1,
                lot_size: 1,
                ..Instrument::default()
            };
        };
        // The scale that really occurs may be finer than what is announced.
        let mut info = info.clone();
        let finer = |announced: u32, used: u32| 10u64.saturating_pow(used.saturating_sub(announced));
        let (price, size) =
            (decimals.price.decimals(info.price_decimals), decimals.size.decimals(info.size_decimals));
        info.tick_size = info.tick_size.saturating_mul(finer(info.price_decimals, price));
        info.lot_size = info.lot_size.saturating_mul(finer(info.size_decimals, size));
        (info.price_decimals, info.size_decimals) = (price, size);
        info
    }
}

/// Returns the instruments of `exchangeInfo`.
///
/// # Errors
/// Returns an error when the text is something else.
pub fn listings(text: &str) -> Result<Vec<Listing>, NormalizeError> {
    let mut found = None;
    read(text, &mut |message, _| {
        if let Message::Info(info) = message {
            let listing = |info: &SymbolInfo| {
                let status = info.status().unwrap_or_default().into_owned();
                Some(Listing { definition: from_info(info)?, status })
            };
            found = Some(info.symbols.iter().filter_map(listing).collect());
        }
        Ok(())
    })?;
    found.ok_or(NormalizeError::Foreign)
}

fn from_info(info: &SymbolInfo) -> Option<Instrument> {
    // A step that no scale can tell announces nothing.
    let usable = |step: Option<Number<'_>>| {
        let step = step.filter(|step| step.exact.decimals() <= DECIMALS_MAX)?;
        let decimals = step.exact.decimals();
        Some((decimals, step.unsigned("step", decimals).ok()?))
    };
    let (price_decimals, tick_size) = usable(info.tick_size()).unwrap_or_default();
    let (size_decimals, lot_size) = usable(info.lot_size()).unwrap_or_default();
    let (base, quote) = info.assets();
    Some(Instrument {
        venue: String::new(),
        symbol: info.name()?.into_owned(),
        price_decimals,
        size_decimals,
        tick_size,
        lot_size,
        base: base.into_owned(),
        quote: quote.into_owned(),
        ended: false,
        revision: 0,
        last_sequences: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(messages: &[&str]) -> Scan {
        let mut scan = Scan::default();
        for message in messages {
            let _ = scan.message(message);
        }
        scan
    }

    #[track_caller]
    fn check(messages: &[&str], expected: &[(&str, u32, u32, u64, u64)]) {
        let found = scan(messages).definitions();
        let found: Vec<_> = found
            .iter()
            .map(|i| (i.symbol.as_str(), i.price_decimals, i.size_decimals, i.tick_size, i.lot_size))
            .collect();
        assert_eq!(found, expected);
    }

    const QUOTE: &str = r#"{"stream":"abusd@bookTicker","data":{"u":1,"s":"ABUSD","b":"1.50","B":"3.0","a":"1.625","A":"0.10"}}"#;
    const INFO: &str = r#"{"symbols":[{"symbol":"ABUSD","baseAsset":"AB","quoteAsset":"USD","filters":[
        {"filterType":"PRICE_FILTER","tickSize":"0.05000000"},{"filterType":"LOT_SIZE","stepSize":"0.00100000"}]},
        {"symbol":"UNUSED","baseAsset":"U","quoteAsset":"USD"}]}"#;

    #[test]
    fn scales_are_what_is_really_used() {
        check(&[QUOTE], &[("ABUSD", 3, 1, 1, 1)]);
        check(&["{", "[]", "{}"], &[]);
        let noise = QUOTE.replace("\"0.10\"", "\"0.30000000000000004\"");
        check(&[QUOTE, &noise, QUOTE], &[("ABUSD", 3, 1, 1, 1)]);
    }

    #[test]
    fn scales_are_what_exchange_info_says_or_finer() {
        check(&[INFO, QUOTE], &[("ABUSD", 3, 3, 50, 1)]);
        check(&[INFO], &[]);
        // This has numbers in place of strings, and a step that is none.
        let numbers = INFO.replace("\"0.05000000\"", "5e-2").replace("\"0.00100000\"", "1e-30");
        check(&[&numbers, QUOTE], &[("ABUSD", 3, 1, 50, 0)]);
    }

    #[test]
    fn aggregates_stand_for_trades_only_where_there_are_no_others() {
        let trade = |symbol: &str| format!(r#"{{"s":"{symbol}","t":1,"p":"1","q":"1","T":1}}"#);
        let aggregate =
            |symbol: &str| format!(r#"{{"e":"aggTrade","s":"{symbol}","a":1,"p":"1","q":"1","f":1}}"#);
        let scan = scan(&[&trade("AB"), &aggregate("AB"), &aggregate("XY"), r#"{"e":"kline"}"#]);
        assert_eq!(scan.aggregated().collect::<Vec<_>>(), ["XY"]);
        assert_eq!(scan.doubled_aggregates(), 1);
        assert_eq!(scan.unused().collect::<Vec<_>>(), [("kline", 1)]);
    }
}
