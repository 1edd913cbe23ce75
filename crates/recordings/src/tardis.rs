//! Tardis.dev's normalized CSV: one file for a kind of data, known by its columns (docs.tardis.dev, "Downloadable CSV files").

use tickwire_wire::{Channel, Derivative, Side, is_venue};

use crate::packed::Content;
use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};
use crate::table::{Next, Rows};
use crate::top::TopLevels;

/// The first columns of every kind of data.
pub(crate) const BEGIN: &str = "exchange,symbol,timestamp,local_timestamp,";
/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;
/// The rows after which a turn ends, whatever they said.
const ROWS_MAX: usize = 4_096;

/// A kind of data, with the places of its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// `trades`: id, side, price, amount.
    Trades([usize; 4]),
    /// `quotes` and `book_ticker`: price and amount of the bid and of the ask.
    Quotes([usize; 4]),
    /// `incremental_book_L2`: is_snapshot, side, price, amount.
    Changes([usize; 4]),
    /// `book_snapshot_N`: price and amount of each bid and of each ask.
    Tops(Vec<[usize; 2]>, Vec<[usize; 2]>),
    /// `derivative_ticker`: funding_timestamp, funding_rate, open_interest, index_price, mark_price.
    Derivatives([usize; 5]),
}

/// A reading of a file.
pub(crate) struct TardisSource {
    rows: Rows,
    exchange: String,
    kind: Kind,
    symbols: Symbols<()>,
    /// The best levels that were stated last, by symbol.
    tops: Vec<TopLevels>,
    /// Whether the book of a symbol was told as a whole.
    is_whole: Vec<bool>,
    /// The changes of one receive time, by symbol, in their order.
    changes: Vec<Changes>,
    /// The receive time and the event time of what was said last.
    times: Option<(u64, u64)>,
    /// Whether a row was lost just before: the rest of a snapshot is no book.
    suspects: Suspects,
    /// The first row was read to know the exchange.
    has_row: bool,
    is_over: bool,
}

/// The rows that are not used behind one that was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Suspects {
    Nothing,
    /// The rows of a snapshot that come next.
    Next,
    /// The rows of the snapshot that was received then.
    SnapshotOf(u64),
}

/// The changes of a book that were received at once.
struct Changes {
    symbol: u32,
    is_snapshot: bool,
    receive_time: u64,
    event_time: u64,
    levels: FixedLevels,
}

impl TardisSource {
    /// Begins to read; returns the venue, too.
    ///
    /// # Errors
    /// Returns what is wrong with the head or the first row, in words.
    pub(crate) fn new(content: Content) -> Result<(Self, String), String> {
        let mut rows = Rows::new(content, b',', 0, false);
        let kind = match rows.next() {
            Next::Row => kind(rows.row())?,
            Next::Fault(_, reason) | Next::End(Some((_, reason))) => return Err(reason),
            Next::End(None) => return Err("the file has no columns".to_owned()),
        };
        let exchange = match rows.next() {
            Next::Row => rows.row()[0].to_owned(),
            Next::Fault(_, reason) | Next::End(Some((_, reason))) => return Err(reason),
            Next::End(None) => return Err("the file has columns and no rows".to_owned()),
        };
        let venue = exchange.to_ascii_lowercase();
        if !is_venue(&venue) {
            return Err(format!("`{exchange}` is no name of a venue; name one with --venue"));
        }
        let source = Self {
            rows,
            exchange,
            kind,
            symbols: Symbols::default(),
            tops: Vec::new(),
            is_whole: Vec::new(),
            changes: Vec::new(),
            times: None,
            suspects: Suspects::Nothing,
            has_row: true,
            is_over: false,
        };
        Ok((source, venue))
    }

    fn row(&mut self, entries: &mut Vec<Entry>) -> Result<(), String> {
        let row = self.rows.row();
        if row[0] != *self.exchange {
            entries.push(Entry::Unused("rows of other exchanges"));
            return Ok(());
        }
        let (event_time, receive_time) = (time(&row[2])?, time(&row[3])?);
        let symbol = self.symbols.of_name(&row[1]);
        let what = match &self.kind {
            Kind::Trades([id, side, price, amount]) => {
                let number = row[*id].parse().unwrap_or(0);
                What::Trade {
                    price: number_of(&row[*price])?,
                    size: number_of(&row[*amount])?,
                    aggressor: match &row[*side] {
                        "buy" => Side::Buy,
                        "sell" => Side::Sell,
                        _ => Side::Unknown,
                    },
                    id: number,
                    id_text: if number == 0 { row[*id].to_owned() } else { String::new() },
                }
            }
            Kind::Quotes(columns) => {
                let [bid_price, bid_amount, ask_price, ask_amount] = columns.map(|column| &row[column]);
                What::Quote { bid: level(bid_price, bid_amount)?, ask: level(ask_price, ask_amount)? }
            }
            Kind::Changes([is_snapshot, side, price, amount]) => {
                let is_snapshot = match &row[*is_snapshot] {
                    "true" => true,
                    "false" => false,
                    other => return Err(format!("is_snapshot is `{other}`, and neither `true` nor `false`")),
                };
                let is_bid = match &row[*side] {
                    "bid" => true,
                    "ask" => false,
                    other => return Err(format!("the side is `{other}`, and neither `bid` nor `ask`")),
                };
                let level = FixedLevel { price: number_of(&row[*price])?, size: number_of(&row[*amount])? };
                self.change((symbol, is_snapshot), (receive_time, event_time), is_bid, level, entries);
                return Ok(());
            }
            Kind::Tops(bids, asks) => {
                let side = |columns: &[[usize; 2]]| -> Result<Vec<_>, String> {
                    let level = |[price, amount]: &[usize; 2]| level(&row[*price], &row[*amount]).transpose();
                    columns.iter().filter_map(level).collect()
                };
                let levels = FixedLevels { bids: side(bids)?, asks: side(asks)? };
                let tops = &mut self.tops;
                tops.resize_with(tops.len().max(symbol as usize + 1), TopLevels::default);
                match tops[symbol as usize].state(levels) {
                    Some(what) => what,
                    None => {
                        entries.push(Entry::Unused("levels that did not change"));
                        return Ok(());
                    }
                }
            }
            Kind::Derivatives([funding_time, rate, open_interest, index, mark]) => {
                let [rate, open_interest, index, mark] =
                    [rate, open_interest, index, mark].map(|column| optional(&row[*column]));
                let (rate, index, mark) = (rate?, index?, mark?);
                let next = &row[*funding_time];
                let price_decimals = index.iter().chain(&mark).map(|price| u32::from(price.decimals)).max();
                let price_decimals = price_decimals.unwrap_or(0);
                let derivative = Derivative {
                    mark_price: mark.and_then(|price| price.at(price_decimals)),
                    index_price: index.and_then(|price| price.at(price_decimals)),
                    price_decimals,
                    funding_rate: rate.map(|rate| rate.mantissa),
                    rate_decimals: rate.map_or(0, |rate| u32::from(rate.decimals)),
                    next_funding_time: if next.is_empty() { 0 } else { time(next)? },
                    open_interest: None,
                };
                What::Derivative(Box::new(derivative), open_interest?)
            }
        };
        entries.push(Entry::Said(Said { symbol, receive_time, event_time, what }));
        Ok(())
    }

    /// Takes one level of a change: those of one receive time are one statement.
    fn change(
        &mut self,
        (symbol, is_snapshot): (u32, bool),
        (receive_time, event_time): (u64, u64),
        is_bid: bool,
        level: FixedLevel,
        entries: &mut Vec<Entry>,
    ) {
        self.suspects = match self.suspects {
            Suspects::Next if is_snapshot => Suspects::SnapshotOf(receive_time),
            Suspects::SnapshotOf(time) if is_snapshot && time == receive_time => self.suspects,
            _ => Suspects::Nothing,
        };
        if self.suspects != Suspects::Nothing {
            return entries.push(Entry::Unused("rows of a snapshot that is not whole"));
        }
        if self.changes.first().is_some_and(|first| first.receive_time != receive_time) {
            self.flush(entries);
        }
        let last = self.changes.iter().rposition(|changes| changes.symbol == symbol);
        let at = match last.filter(|at| self.changes[*at].is_snapshot == is_snapshot) {
            Some(at) => at,
            None => {
                let levels = FixedLevels::default();
                self.changes.push(Changes { symbol, is_snapshot, receive_time, event_time, levels });
                self.changes.len() - 1
            }
        };
        let changes = &mut self.changes[at];
        changes.event_time = changes.event_time.max(event_time);
        let side = if is_bid { &mut changes.levels.bids } else { &mut changes.levels.asks };
        side.push(level);
    }

    fn flush(&mut self, entries: &mut Vec<Entry>) {
        for changes in self.changes.drain(..) {
            let Changes { symbol, is_snapshot, receive_time, event_time, mut levels } = changes;
            self.times = Some((receive_time, event_time));
            keep_last(&mut levels.bids);
            keep_last(&mut levels.asks);
            let is_whole = &mut self.is_whole;
            is_whole.resize(is_whole.len().max(symbol as usize + 1), false);
            is_whole[symbol as usize] |= is_snapshot;
            if !is_whole[symbol as usize] {
                entries.push(Entry::Unused("changes of a book before its snapshot"));
                continue;
            }
            let what = if is_snapshot { What::Book(levels) } else { What::Change(levels) };
            entries.push(Entry::Said(Said { symbol, receive_time, event_time, what }));
        }
    }

    /// Says that rows could not be read: of a book, nobody knows which level it was.
    fn lose(&mut self, entries: &mut Vec<Entry>) {
        if !matches!(self.kind, Kind::Changes(_)) {
            return;
        }
        self.suspects = Suspects::Next;
        let times = self.changes.last().map(|changes| (changes.receive_time, changes.event_time));
        let times = times.or(self.times);
        self.changes.retain(|changes| !changes.is_snapshot);
        self.flush(entries);
        let Some((receive_time, event_time)) = times else { return };
        for (symbol, is_whole) in self.is_whole.iter_mut().enumerate() {
            if std::mem::take(is_whole) {
                let what = What::Gap { channel: Channel::Book, count: None };
                let symbol = symbol as u32;
                entries.push(Entry::Said(Said { symbol, receive_time, event_time, what }));
            }
        }
    }
}

impl Source for TardisSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        let mut rows = 0;
        while !self.is_over && entries.len() < until && rows < ROWS_MAX {
            rows += 1;
            let next = if std::mem::take(&mut self.has_row) { Next::Row } else { self.rows.next() };
            let fault = match next {
                Next::Row => self.row(entries).err().map(|reason| (self.rows.line(), reason)),
                Next::Fault(line, reason) => Some((line, reason)),
                Next::End(fault) => {
                    if fault.is_none() {
                        self.flush(entries);
                    }
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
        // The columns are no row.
        self.rows.count().saturating_sub(1)
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }
}

/// Finds the kind of data by the columns.
fn kind(columns: &csv::StringRecord) -> Result<Kind, String> {
    let at = |name: &str| columns.iter().position(|column| column == name);
    let all = |names: &[&str]| names.iter().map(|name| at(name)).collect::<Option<Vec<_>>>();
    let of = |names: &[&str]| all(names).and_then(|places| <[usize; 4]>::try_from(places).ok());
    if let Some(places) = of(&["is_snapshot", "side", "price", "amount"]) {
        return Ok(Kind::Changes(places));
    }
    if let Some(places) = of(&["id", "side", "price", "amount"]) {
        return Ok(Kind::Trades(places));
    }
    if let Some(places) = of(&["bid_price", "bid_amount", "ask_price", "ask_amount"]) {
        return Ok(Kind::Quotes(places));
    }
    let derivatives = ["funding_timestamp", "funding_rate", "open_interest", "index_price", "mark_price"];
    if let Some(places) = all(&derivatives).and_then(|places| places.try_into().ok()) {
        return Ok(Kind::Derivatives(places));
    }
    let side = |side: &str| -> Vec<[usize; 2]> {
        let level = |level: usize| {
            Some([at(&format!("{side}[{level}].price"))?, at(&format!("{side}[{level}].amount"))?])
        };
        (0..columns.len()).map_while(level).collect()
    };
    let (bids, asks) = (side("bids"), side("asks"));
    if bids.is_empty() || asks.is_empty() {
        return Err(
            "the columns are those of no kind of data that is known here: trades, quotes, book_ticker, \
                    incremental_book_L2, book_snapshot_N, derivative_ticker"
                .to_owned(),
        );
    }
    Ok(Kind::Tops(bids, asks))
}

/// Keeps the last one of the levels of each price.
fn keep_last(levels: &mut Vec<FixedLevel>) {
    let mut prices = rustc_hash::FxHashSet::default();
    levels.reverse();
    levels.retain(|level| prices.insert((level.price.mantissa, level.price.decimals)));
    levels.reverse();
}

/// Reads a time in microseconds.
fn time(text: &str) -> Result<u64, String> {
    let time = text.parse::<u64>().ok().and_then(|micros| micros.checked_mul(1_000));
    time.ok_or_else(|| format!("`{text}` is no time in microseconds"))
}

fn number_of(text: &str) -> Result<Fixed, String> {
    Fixed::parse(text).map_err(|error| error.to_string())
}

fn optional(text: &str) -> Result<Option<Fixed>, String> {
    if text.is_empty() { Ok(None) } else { number_of(text).map(Some) }
}

/// Reads a level; one without a price, or of nothing, is absent.
fn level(price: &str, amount: &str) -> Result<Option<FixedLevel>, String> {
    let (Some(price), Some(size)) = (optional(price)?, optional(amount)?) else { return Ok(None) };
    Ok((size.mantissa != 0).then_some(FixedLevel { price, size }))
}
