//! Plain CSV, whose columns a mapping names.

use std::sync::Arc;

use csv::StringRecord;
use rustc_hash::FxHashSet;
use tickwire_wire::{Channel, Side};

use crate::map::{Column, Columns, Kind, Map, Symbol as SymbolIn};
use crate::packed::Content;
use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};
use crate::table::{Next, Rows};

/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;

/// A reading of a file.
pub(crate) struct MappedSource {
    map: Arc<Map>,
    rows: Rows,
    places: Places,
    symbols: Symbols<()>,
    /// The books that were told as a whole.
    told: FxHashSet<u32>,
    /// Whether a change was lost: no book is known any more.
    has_lost: bool,
    /// The latest time: it stands for one that cannot be read.
    time: u64,
    is_over: bool,
}

/// The places of the columns, from 0.
struct Places {
    symbol: Option<usize>,
    time: usize,
    price: Option<usize>,
    size: Option<usize>,
    side: Option<usize>,
    id: Option<usize>,
    bid: (Option<usize>, Option<usize>),
    ask: (Option<usize>, Option<usize>),
}

impl MappedSource {
    /// Begins to read.
    ///
    /// # Errors
    /// Returns which columns are missing, in words.
    pub(crate) fn new(content: Content, map: Arc<Map>) -> Result<Self, String> {
        let mut rows = Rows::new(content, map.delimiter, 0, true);
        let header = if map.has_header {
            match rows.next() {
                Next::Row => Some(rows.row().clone()),
                Next::Fault(_, reason) | Next::End(Some((_, reason))) => return Err(reason),
                Next::End(None) => return Err("the file has no first row with names of columns".to_owned()),
            }
        } else {
            None
        };
        let places = Places::find(&map, header.as_ref())?;
        let (symbols, told) = (Symbols::default(), FxHashSet::default());
        Ok(Self { map, rows, places, symbols, told, has_lost: false, time: 0, is_over: false })
    }

    fn row(&mut self, entries: &mut Vec<Entry>) -> Result<(), String> {
        let (map, places, row) = (&self.map, &self.places, self.rows.row());
        let cell = |place: Option<usize>| -> Result<&str, String> {
            let place = place.ok_or("a column is missing")?;
            row.get(place).map(str::trim).ok_or_else(|| format!("there is no column {}", place + 1))
        };
        let text = cell(Some(places.time))?;
        let time =
            map.time.form.read(text).ok_or_else(|| format!("`{text}` is no time as the mapping says"))?;
        let name = match &map.symbol {
            SymbolIn::Name(name) => name,
            SymbolIn::Column(_) => cell(places.symbol)?,
        };
        if name.is_empty() {
            return Err("the row has no symbol".to_owned());
        }
        let symbol = self.symbols.of_name(name);
        let price = |place| number(cell(place)?, map.price_decimals);
        let size = |place| number(cell(place)?, map.size_decimals);
        let side = |text: &str| {
            let is_in = |words: &[String]| words.iter().any(|word| word == text);
            if is_in(&map.buy) {
                Side::Buy
            } else if is_in(&map.sell) {
                Side::Sell
            } else {
                Side::Unknown
            }
        };
        let what = match map.kind {
            Kind::Trade => {
                let id = places.id.map_or(Ok(""), |place| cell(Some(place)))?;
                let number = id.parse().unwrap_or(0);
                What::Trade {
                    price: price(places.price)?,
                    size: size(places.size)?,
                    aggressor: places.side.map_or(Ok(Side::Unknown), |place| cell(Some(place)).map(side))?,
                    id: number,
                    id_text: if number == 0 { id.to_owned() } else { String::new() },
                }
            }
            Kind::Quote => {
                let level = |(at, of): (Option<usize>, Option<usize>)| -> Result<Option<FixedLevel>, String> {
                    if cell(at)?.is_empty() {
                        return Ok(None);
                    }
                    let price = price(at)?;
                    let size = of.map_or(Ok(Fixed::default()), |of| size(Some(of)))?;
                    // A price of 0 says in many files that the side is empty.
                    Ok((price.mantissa != 0).then_some(FixedLevel { price, size }))
                };
                What::Quote { bid: level(places.bid)?, ask: level(places.ask)? }
            }
            Kind::Change if self.has_lost => {
                entries.push(Entry::Unused("changes of books that are not known"));
                return Ok(());
            }
            Kind::Change => {
                let level = FixedLevel { price: price(places.price)?, size: size(places.size)? };
                let text = cell(places.side)?;
                let mut levels = FixedLevels::default();
                match side(text) {
                    Side::Buy => levels.bids.push(level),
                    Side::Sell => levels.asks.push(level),
                    _ => {
                        return Err(format!("`{text}` is no word for a side: name it in `buy` or `sell`"));
                    }
                }
                if self.told.insert(symbol) {
                    levels.bids.retain(|level| level.size.mantissa > 0);
                    levels.asks.retain(|level| level.size.mantissa > 0);
                    What::Book(levels)
                } else {
                    What::Change(levels)
                }
            }
        };
        self.time = self.time.max(time);
        entries.push(Entry::Said(Said { symbol, receive_time: time, event_time: time, what }));
        Ok(())
    }

    /// Says that a level is missing: nobody knows of which book. From there on there is no book, because none comes as a whole.
    fn lose(&mut self, entries: &mut Vec<Entry>) {
        if self.map.kind != Kind::Change {
            return;
        }
        self.has_lost = true;
        let mut told: Vec<_> = self.told.drain().collect();
        told.sort_unstable();
        for symbol in told {
            let what = What::Gap { channel: Channel::Book, count: None };
            entries.push(Entry::Said(Said { symbol, receive_time: self.time, event_time: self.time, what }));
        }
    }
}

impl Source for MappedSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            let fault = match self.rows.next() {
                Next::Row => self.row(entries).err().map(|reason| (self.rows.line(), reason)),
                Next::Fault(line, reason) => Some((line, reason)),
                Next::End(fault) => {
                    self.is_over = true;
                    fault
                }
            };
            if let Some((line, reason)) = fault {
                self.lose(entries);
                entries.push(Entry::Fault(Place::Line(line), reason));
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.rows.count() - u64::from(self.map.has_header)
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }
}

impl Places {
    fn find(map: &Map, header: Option<&StringRecord>) -> Result<Self, String> {
        let mut missing = Vec::new();
        let mut place = |column: &Option<Column>| match column {
            None => None,
            Some(Column::Number(number)) => Some(number - 1),
            Some(Column::Name(name)) => {
                let place = header.and_then(|header| header.iter().position(|column| column.trim() == name));
                if place.is_none() {
                    missing.push(format!("\"{name}\""));
                }
                place
            }
        };
        let Columns { price, size, side, id, bid_price, bid_size, ask_price, ask_size } = &map.columns;
        let symbol = match &map.symbol {
            SymbolIn::Name(_) => None,
            SymbolIn::Column(column) => place(&Some(column.clone())),
        };
        let places = Self {
            symbol,
            time: place(&Some(map.time.column.clone())).unwrap_or(0),
            price: place(price),
            size: place(size),
            side: place(side),
            id: place(id),
            bid: (place(bid_price), place(bid_size)),
            ask: (place(ask_price), place(ask_size)),
        };
        if missing.is_empty() {
            return Ok(places);
        }
        Err(format!("the first row has no column {}: correct the mapping", missing.join(", ")))
    }
}

/// Reads a number; a whole one may stand for decimals.
fn number(text: &str, decimals: u8) -> Result<Fixed, String> {
    let number = Fixed::parse(text).map_err(|error| error.to_string())?;
    let all = number.decimals.checked_add(decimals).filter(|decimals| *decimals <= 18);
    let decimals = all.ok_or_else(|| format!("`{text}` has more than 18 decimals"))?;
    Ok(Fixed::new(number.mantissa, decimals))
}
