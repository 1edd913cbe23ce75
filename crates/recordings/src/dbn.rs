//! Databento Binary Encoding, versions 1 to 3 (<https://databento.com/docs/standards-and-conventions/databento-binary-encoding>).
//!
//! Bytes are decoded by Databento's own crate; what a record means for a book is decided here. Trades and fills do not
//! change a book of orders, cancellations do; a record with the flag `LAST` ends the venue's event.

use dbn::decode::dbn::fsm::{DbnFsm, ProcessResult};
use dbn::enums::{Action, Side as DbnSide, StatType, StatusAction};
use dbn::publishers::PUBLISHER_COUNT;
use dbn::{
    BidAskPair, ConsolidatedBidAskPair, FlagSet, InstrumentDefMsg, MboMsg, Metadata, RecordRefEnum, StatMsg,
    StatusMsg, TsSymbolMap, UNDEF_PRICE, UNDEF_TIMESTAMP,
};
use rustc_hash::FxHashMap;
use tickwire_wire::{Channel, Side, Status, TradingState};

use crate::dbn_frames::{Frame, Frames};
use crate::orders::{BookSide, OrderBook, OrderBookChange};
use crate::packed::{self, Content};
use crate::said::{Fixed, FixedLevel, FixedLevels, Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};
use crate::top::TopLevels;

/// The decimals of all prices.
const PRICE_DECIMALS: u8 = 9;
/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;
/// The room of the decoder, which gets one record at a time.
const DECODER_BYTES: usize = 4 << 10;
/// The beginning of a file.
pub(crate) const MAGIC: &[u8] = b"DBN";

/// A reading of a DBN file.
pub(crate) struct DbnSource {
    frames: Frames,
    fsm: DbnFsm,
    names: Names,
    books: FxHashMap<u32, Book>,
    records: u64,
    is_over: bool,
}

/// The names of instruments: records have numbers, which stand for a symbol during some days.
#[derive(Default)]
struct Names {
    map: TsSymbolMap,
    symbols: Symbols<(u32, u16)>,
    /// The publishers that share the file's dataset; where there are several, each has a book of its own.
    has_publishers: bool,
}

/// The knowledge of the book of one instrument.
struct Book {
    orders: OrderBook,
    top: TopLevels,
    /// The last record of a snapshot that is not told yet: the record that ends it does not always say so.
    snapshot: Option<At>,
}

impl Default for Book {
    fn default() -> Self {
        Self { orders: OrderBook::new(PRICE_DECIMALS, 0), top: TopLevels::default(), snapshot: None }
    }
}

/// The times and the instrument of a record.
#[derive(Clone, Copy)]
struct At {
    symbol: u32,
    receive_time: u64,
    event_time: u64,
}

impl At {
    fn said(self, what: What) -> Entry {
        let Self { symbol, receive_time, event_time } = self;
        Entry::Said(Said { symbol, receive_time, event_time, what })
    }

    /// Says a trade, where its price is defined; the side is the one that took liquidity.
    fn trade(self, price: i64, size: u32, side: &dbn::Result<DbnSide>, entries: &mut Vec<Entry>) {
        if price == UNDEF_PRICE {
            return;
        }
        let aggressor = match side {
            Ok(DbnSide::Bid) => Side::Buy,
            Ok(DbnSide::Ask) => Side::Sell,
            _ => Side::Unknown,
        };
        entries.push(self.said(What::Trade {
            price: Fixed::new(price, PRICE_DECIMALS),
            size: Fixed::new(i64::from(size), 0),
            aggressor,
            id: 0,
            id_text: String::new(),
        }));
    }
}

impl DbnSource {
    /// Begins to read a file.
    pub(crate) fn new(content: Content) -> Self {
        Self {
            frames: Frames::new(content),
            fsm: DbnFsm::new(DECODER_BYTES, DECODER_BYTES),
            names: Names::default(),
            books: FxHashMap::default(),
            records: 0,
            is_over: false,
        }
    }

    /// Reads the head of a file, and returns the name of its dataset.
    ///
    /// # Errors
    /// Returns what is wrong with it, in words.
    pub(crate) fn dataset(&mut self) -> Result<String, String> {
        let head = self.frames.head()?;
        self.fsm.write_all(&head);
        match self.fsm.process() {
            ProcessResult::Metadata(metadata) => self.begin(&metadata),
            ProcessResult::Err(error) => Err(error.to_string()),
            ProcessResult::ReadMore(_) | ProcessResult::Record(()) => Err("its head is not whole".to_owned()),
        }
    }

    fn begin(&mut self, metadata: &Metadata) -> Result<String, String> {
        // A file whose mappings go the other way, from numbers to names, has none that help here.
        self.names.map = metadata.symbol_map().unwrap_or_default();
        let of_dataset = |publisher: &u16| {
            dbn::Publisher::try_from(*publisher).is_ok_and(|it| it.dataset().as_str() == metadata.dataset)
        };
        self.names.has_publishers = (1..=PUBLISHER_COUNT as u16).filter(of_dataset).count() > 1;
        if metadata.ts_out {
            self.frames.have_sent_times();
        }
        if metadata.dataset.is_empty() {
            return Err("its head names no dataset".to_owned());
        }
        Ok(metadata.dataset.clone())
    }

    /// Returns the place of the record that was read last.
    fn place(&self) -> Place {
        Place::Byte(self.frames.place())
    }

    /// Decodes the record that was handed over.
    fn decode(&mut self, entries: &mut Vec<Entry>) -> Result<(), String> {
        match self.fsm.process() {
            ProcessResult::Record(()) => {}
            ProcessResult::Err(error) => return Err(error.to_string()),
            ProcessResult::ReadMore(_) | ProcessResult::Metadata(_) => {
                return Err("a record has another length than it says".to_owned());
            }
        }
        let Some(record) = self.fsm.last_record() else { return Ok(()) };
        let taken =
            record.as_enum().and_then(|record| take(&mut self.names, &mut self.books, record, entries));
        if let Err(error) = taken {
            entries.push(Entry::Fault(Place::Byte(self.frames.place()), error.to_string()));
        }
        Ok(())
    }

    fn end(&mut self, reason: String, entries: &mut Vec<Entry>) -> bool {
        entries.push(Entry::Fault(self.place(), reason));
        self.is_over = true;
        false
    }
}

impl Source for DbnSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            match self.frames.read() {
                Frame::Record => {
                    self.records += 1;
                    self.fsm.write_all(self.frames.record());
                    if let Err(reason) = self.decode(entries) {
                        return self.end(reason, entries);
                    }
                }
                Frame::Unknown(reason) => {
                    self.records += 1;
                    entries.push(Entry::Fault(self.place(), reason));
                }
                Frame::Lost(reason) => return self.end(reason, entries),
                Frame::End => self.is_over = true,
                Frame::Cut => return self.end("the file ends within a record".to_owned(), entries),
                Frame::Failed(error) => return self.end(packed::damage(&error), entries),
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn symbols(&self) -> &[Symbol] {
        self.names.symbols.list()
    }
}

fn take(
    names: &mut Names,
    books: &mut FxHashMap<u32, Book>,
    record: RecordRefEnum<'_>,
    entries: &mut Vec<Entry>,
) -> dbn::Result<()> {
    match record {
        RecordRefEnum::Mbo(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            books.entry(at.symbol).or_default().order(record, at, entries);
        }
        RecordRefEnum::Trade(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            at.trade(record.price, record.size, &record.side(), entries);
        }
        RecordRefEnum::Mbp1(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            gap_of_flags(record.flags, Channel::Quote, at, entries);
            entries.push(at.said(quote(&record.levels[0])));
            if is_trade(&record.action()) {
                at.trade(record.price, record.size, &record.side(), entries);
            }
        }
        RecordRefEnum::Cmbp1(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            entries.push(at.said(consolidated(&record.levels[0])));
            if is_trade(&record.action()) {
                at.trade(record.price, record.size, &record.side(), entries);
            }
        }
        RecordRefEnum::Bbo(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            entries.push(at.said(quote(&record.levels[0])));
        }
        RecordRefEnum::Cbbo(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            entries.push(at.said(consolidated(&record.levels[0])));
        }
        RecordRefEnum::Mbp10(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            let book = books.entry(at.symbol).or_default();
            if gap_of_flags(record.flags, Channel::Book, at, entries) {
                book.top.forget();
            }
            if is_trade(&record.action()) {
                at.trade(record.price, record.size, &record.side(), entries);
            }
            let side = |of: fn(&BidAskPair) -> (i64, u32)| {
                record.levels.iter().filter_map(|it| best(of(it))).collect()
            };
            let levels = FixedLevels {
                bids: side(|level| (level.bid_px, level.bid_sz)),
                asks: side(|level| (level.ask_px, level.ask_sz)),
            };
            entries.extend(book.top.state(levels).map(|what| at.said(what)));
        }
        RecordRefEnum::Status(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            entries
                .push(status(record).map_or(Entry::Unused("status without a change"), |what| at.said(what)));
        }
        RecordRefEnum::Stat(record) => {
            let at = names.at(&record.hd, record.ts_recv);
            entries.push(statistic(record).map_or(Entry::Unused("statistics"), |what| at.said(what)));
        }
        RecordRefEnum::InstrumentDef(record) => {
            names.define(record);
            entries.push(Entry::Unused("definition"));
        }
        RecordRefEnum::SymbolMapping(record) => {
            names.map.on_symbol_mapping(record)?;
            entries.push(Entry::Unused("symbol mapping"));
        }
        RecordRefEnum::Ohlcv(_) => entries.push(Entry::Unused("ohlcv")),
        RecordRefEnum::Imbalance(_) => entries.push(Entry::Unused("imbalance")),
        RecordRefEnum::Error(_) => entries.push(Entry::Unused("error message")),
        RecordRefEnum::System(_) => entries.push(Entry::Unused("system message")),
    }
    Ok(())
}

impl Names {
    /// Returns the instrument and the times of a record. Of an instrument without a name the number is the name.
    fn at(&mut self, head: &dbn::RecordHeader, receive_time: u64) -> At {
        let event_time = if head.ts_event == UNDEF_TIMESTAMP { receive_time } else { head.ts_event };
        let receive_time =
            if receive_time == UNDEF_TIMESTAMP || receive_time == 0 { event_time } else { receive_time };
        let key = (head.instrument_id, if self.has_publishers { head.publisher_id } else { 0 });
        let symbol = match self.symbols.find(&key) {
            Some(symbol) => symbol,
            None => {
                let name = self.map.get_for_ts(receive_time, head.instrument_id);
                let mut name = name.cloned().unwrap_or_else(|| head.instrument_id.to_string());
                if self.has_publishers
                    && let Ok(publisher) = dbn::Publisher::try_from(head.publisher_id)
                {
                    name = format!("{name}@{}", publisher.venue().as_str());
                }
                self.symbols.name(key, &name)
            }
        };
        At { symbol, receive_time, event_time }
    }

    fn define(&mut self, record: &InstrumentDefMsg) {
        let key = (record.hd.instrument_id, if self.has_publishers { record.hd.publisher_id } else { 0 });
        let Ok(name) = record.raw_symbol() else { return };
        let symbol = self.symbols.find(&key).unwrap_or_else(|| self.symbols.name(key, name));
        let definition = self.symbols.get_mut(symbol);
        let is_price = |price: i64| price > 0 && price != UNDEF_PRICE;
        definition.tick = is_price(record.min_price_increment)
            .then(|| Fixed::new(record.min_price_increment, PRICE_DECIMALS));
        definition.lot = (1..i32::MAX)
            .contains(&record.min_lot_size_round_lot)
            .then(|| Fixed::new(i64::from(record.min_lot_size_round_lot), 0));
        record.asset().unwrap_or_default().clone_into(&mut definition.base);
        record.currency().unwrap_or_default().clone_into(&mut definition.quote);
    }
}

impl Book {
    fn order(&mut self, record: &MboMsg, at: At, entries: &mut Vec<Entry>) {
        if record.flags.is_maybe_bad_book() && self.orders.is_known() {
            self.lose(at, entries);
        }
        if record.flags.is_snapshot() {
            if !self.orders.is_known() {
                // A snapshot may begin without a record that clears the book.
                self.orders.clear();
            }
            self.snapshot = Some(at);
        } else if let Some(at) = self.snapshot.take() {
            self.flush(at, entries);
        }
        match record.action() {
            Ok(Action::Trade) => {
                at.trade(record.price, record.size, &record.side(), entries);
            }
            Ok(Action::Fill | Action::None) => {}
            Ok(Action::Clear) => self.orders.clear(),
            Ok(action @ (Action::Add | Action::Cancel | Action::Modify)) => {
                if !self.orders.is_known() {
                    entries.push(Entry::Unused("orders of a book whose state is not known"));
                } else if let Err(reason) = self.apply(action, record) {
                    entries.push(Entry::Unused(reason));
                    self.lose(at, entries);
                }
            }
            Err(_) => entries.push(Entry::Unused("orders with an unknown action")),
        }
        if record.flags.is_last() {
            self.flush(at, entries);
        }
    }

    fn apply(&mut self, action: Action, record: &MboMsg) -> Result<(), &'static str> {
        let (id, price, size) = (record.order_id, record.price, u64::from(record.size));
        let side = match record.side() {
            Ok(DbnSide::Bid) => BookSide::Bid,
            Ok(DbnSide::Ask) => BookSide::Ask,
            _ => return Err("orders without a side"),
        };
        match action {
            Action::Add => {
                self.orders.add(id, side, price, size).map_err(|_| "orders that were there already")
            }
            Action::Cancel => self.orders.reduce(id, size).map_err(|_| "cancellations of unknown orders"),
            _ if self.orders.order(id).is_none() => {
                // As Databento's own example does: a change of an unknown order adds it.
                self.orders.add(id, side, price, size).map_err(|_| "orders that were there already")
            }
            _ => self.orders.change(id, price, size).map_err(|_| "changes of unknown orders"),
        }
    }

    /// Tells that the book is not known any more.
    fn lose(&mut self, at: At, entries: &mut Vec<Entry>) {
        self.orders.forget();
        entries.push(at.said(What::Gap { channel: Channel::Book, count: None }));
    }

    fn flush(&mut self, at: At, entries: &mut Vec<Entry>) {
        entries.extend(self.orders.take_changes().map(|change| {
            at.said(match change {
                OrderBookChange::All(levels) => What::Book(levels),
                OrderBookChange::Levels(levels) => What::Change(levels),
            })
        }));
    }
}

/// Tells a gap where a record says that something may be missing before it.
fn gap_of_flags(flags: FlagSet, channel: Channel, at: At, entries: &mut Vec<Entry>) -> bool {
    let is_gap = flags.is_maybe_bad_book();
    if is_gap {
        entries.push(at.said(What::Gap { channel, count: None }));
    }
    is_gap
}

fn is_trade(action: &dbn::Result<Action>) -> bool {
    matches!(action, Ok(Action::Trade))
}

fn best((price, size): (i64, u32)) -> Option<FixedLevel> {
    (price != UNDEF_PRICE).then(|| FixedLevel {
        price: Fixed::new(price, PRICE_DECIMALS),
        size: Fixed::new(i64::from(size), 0),
    })
}

fn quote(level: &BidAskPair) -> What {
    What::Quote { bid: best((level.bid_px, level.bid_sz)), ask: best((level.ask_px, level.ask_sz)) }
}

fn consolidated(level: &ConsolidatedBidAskPair) -> What {
    What::Quote { bid: best((level.bid_px, level.bid_sz)), ask: best((level.ask_px, level.ask_sz)) }
}

fn status(record: &StatusMsg) -> Option<What> {
    let action = record.action().ok()?;
    let state = match action {
        StatusAction::PreOpen | StatusAction::Quoting | StatusAction::NewPriceIndication => {
            TradingState::PreOpen
        }
        StatusAction::PreCross | StatusAction::Cross | StatusAction::Rotation => TradingState::Auction,
        StatusAction::Trading => TradingState::Open,
        StatusAction::Halt | StatusAction::Pause | StatusAction::Suspend => TradingState::Halted,
        StatusAction::Close | StatusAction::PostClose | StatusAction::NotAvailableForTrading => {
            TradingState::Closed
        }
        // Some venues match orders in this phase, some do not.
        StatusAction::PreClose => TradingState::Unknown,
        _ => return None,
    };
    Some(What::Status(Status { state: state as i32, reason: format!("{action:?}") }))
}

fn statistic(record: &StatMsg) -> Option<What> {
    match record.stat_type().ok()? {
        StatType::OpenInterest if record.quantity != dbn::UNDEF_STAT_QUANTITY => {
            Some(What::OpenInterest(Fixed::new(record.quantity, 0)))
        }
        StatType::SettlementPrice if record.price != UNDEF_PRICE => {
            Some(What::MarkPrice(Fixed::new(record.price, PRICE_DECIMALS)))
        }
        _ => None,
    }
}
