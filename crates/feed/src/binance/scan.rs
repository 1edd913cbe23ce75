//! Finds out which instruments a recording has, and their scales, before it is played.

use std::collections::BTreeMap;

use serde::Deserialize;
use tickwire_wire::Instrument;
use tickwire_wire::decimal::{parse, used_decimals};

use super::parse::{Decimals, DepthText, Envelope, SymbolInfo, TickerText, TradeText};

/// Takes every message of a recording once. Scales come from `exchangeInfo` where the recording has it; else they are
/// the most decimals that a price and a quantity of the symbol really use, and steps are one unit.
#[derive(Debug, Default)]
pub struct Scan {
    used: BTreeMap<String, Decimals>,
    /// In snapshots that do not say of which symbol they are.
    nameless: Decimals,
    infos: BTreeMap<String, Instrument>,
}

impl Scan {
    /// Takes one message; what cannot be read is passed over, the normalizer reports it.
    pub fn message(&mut self, text: &str) {
        let Ok(envelope) = serde_json::from_str::<Envelope>(text) else { return };
        if let (Some(stream), Some(data)) = (envelope.stream, envelope.data) {
            match stream.split_once('@').map_or("", |(_, kind)| kind) {
                "trade" => self.read::<TradeText>(data.get(), |t| (t.symbol, vec![(t.price, t.size)])),
                "bookTicker" => self.read::<TickerText>(data.get(), |t| {
                    (t.symbol, vec![(t.bid_price, t.bid_size), (t.ask_price, t.ask_size)])
                }),
                kind if kind == "depth" || kind.starts_with("depth@") => {
                    self.read::<DepthText>(data.get(), |t| (t.symbol, [t.bids, t.asks].concat()));
                }
                _ => {}
            }
        }
        if let (Some(bids), Some(asks)) = (&envelope.bids, &envelope.asks) {
            let levels = [bids.as_slice(), asks.as_slice()].concat();
            match envelope.symbol {
                Some(symbol) => self.use_levels(symbol, &levels),
                None => self.nameless.widen(&levels),
            }
        }
        for info in envelope.symbols.iter().flatten() {
            self.infos.insert(info.symbol.to_owned(), from_info(info));
        }
    }

    /// Symbols with trades, quotes or depth, in the order of their names.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.used.keys().map(String::as_str)
    }

    /// At the end of a file: snapshots without a symbol are of the only symbol in it.
    pub fn finish(&mut self) {
        let nameless = std::mem::take(&mut self.nameless);
        if self.used.len() == 1 {
            self.used.values_mut().for_each(|only| only.join(nameless));
        }
    }

    /// Adds what the scan of another file found.
    pub fn merge(&mut self, other: Self) {
        for (symbol, decimals) in other.used {
            self.used.entry(symbol).or_default().join(decimals);
        }
        self.infos.extend(other.infos);
    }

    /// The instruments that occur, in the order of their names.
    pub fn definitions(&self) -> Vec<Instrument> {
        self.used.iter().map(|(symbol, used)| self.definition(symbol, *used)).collect()
    }

    fn definition(&self, symbol: &str, used: Decimals) -> Instrument {
        let Some(info) = self.infos.get(symbol) else {
            return Instrument {
                symbol: symbol.to_owned(),
                price_decimals: used.price,
                size_decimals: used.size,
                tick_size: 1,
                lot_size: 1,
                ..Instrument::default()
            };
        };
        // What really occurs may be finer than what is announced.
        let mut info = info.clone();
        let finer = |announced: u32, used: u32| 10u64.saturating_pow(used.saturating_sub(announced));
        info.tick_size = info.tick_size.saturating_mul(finer(info.price_decimals, used.price));
        info.lot_size = info.lot_size.saturating_mul(finer(info.size_decimals, used.size));
        info.price_decimals = info.price_decimals.max(used.price);
        info.size_decimals = info.size_decimals.max(used.size);
        info
    }

    fn read<'a, T: Deserialize<'a>>(
        &mut self,
        text: &'a str,
        numbers: impl FnOnce(T) -> (&'a str, Vec<(&'a str, &'a str)>),
    ) {
        if let Ok(read) = serde_json::from_str(text) {
            let (symbol, levels) = numbers(read);
            self.use_levels(symbol, &levels);
        }
    }

    fn use_levels(&mut self, symbol: &str, levels: &[(&str, &str)]) {
        if !self.used.contains_key(symbol) {
            self.used.insert(symbol.to_owned(), Decimals::default());
        }
        if let Some(used) = self.used.get_mut(symbol) {
            used.widen(levels);
        }
    }
}

fn from_info(info: &SymbolInfo) -> Instrument {
    let step = |kind, step: fn(&super::parse::Filter<'_>) -> Option<String>| {
        info.filters.iter().filter(|filter| filter.kind == kind).find_map(step)
    };
    let tick = step("PRICE_FILTER", |filter| filter.tick_size.map(str::to_owned)).unwrap_or_default();
    let lot = step("LOT_SIZE", |filter| filter.step_size.map(str::to_owned)).unwrap_or_default();
    let (price_decimals, size_decimals) = (used_decimals(&tick), used_decimals(&lot));
    let units = |text: &str, decimals| parse(text, decimals).ok().and_then(|value| u64::try_from(value).ok());
    Instrument {
        venue: String::new(),
        symbol: info.symbol.to_owned(),
        price_decimals,
        size_decimals,
        tick_size: units(&tick, price_decimals).unwrap_or(0),
        lot_size: units(&lot, size_decimals).unwrap_or(0),
        base: info.base.to_owned(),
        quote: info.quote.to_owned(),
        ended: false,
        revision: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(messages: &[&str], expected: &[(&str, u32, u32, u64, u64)]) {
        let mut scan = Scan::default();
        for message in messages {
            scan.message(message);
        }
        let found = scan.definitions();
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
    }

    #[test]
    fn scales_are_what_exchange_info_says_or_finer() {
        check(&[INFO, QUOTE], &[("ABUSD", 3, 3, 50, 1)]);
        check(&[INFO], &[]);
    }
}
