//! The messages of Nasdaq TotalView-ITCH 5.0: what each says of which instrument.
//!
//! It does no input or output: a message goes in, entries come out. Orders are kept by stock locate, a number that an instrument has for a day.

use tickwire_wire::{Channel, Side, Status, TradingState};

use crate::day::DAY_NANOS;
use crate::orders::{BookSide, OrderBook, OrderBookChange, OrderError};
use crate::said::{Fixed, Said, What};
use crate::source::{Entry, Place, Symbol, Symbols};

/// The name of the venue.
pub(crate) const VENUE: &str = "nasdaq";
/// The decimals of all prices that are used.
const PRICE_DECIMALS: u8 = 4;

/// Returns how many bytes a message of a type has; `None` where there is no such type.
pub(crate) fn length(kind: u8) -> Option<usize> {
    Some(match kind {
        b'S' | b'W' => 12,
        b'D' | b'B' => 19,
        b'Y' | b'N' => 20,
        b'h' => 21,
        b'X' => 23,
        b'H' => 25,
        b'L' => 26,
        b'K' => 28,
        b'E' => 31,
        b'V' | b'J' | b'U' => 35,
        b'A' | b'C' => 36,
        b'R' => 39,
        b'F' | b'Q' => 40,
        b'P' => 44,
        b'O' => 48,
        b'I' => 50,
        _ => return None,
    })
}

/// The instruments and their orders.
#[derive(Default)]
pub(crate) struct Itch {
    symbols: Symbols<u16>,
    /// The instruments, by stock locate.
    stocks: Vec<Option<Stock>>,
    /// Whether all messages since the first one of the day were there: a book that begins is known then.
    is_whole: bool,
    midnight: u64,
}

struct Stock {
    symbol: u32,
    name: [u8; 8],
    book: OrderBook,
}

/// A message whose length was checked, and when it came.
#[derive(Clone, Copy)]
struct Message<'a> {
    bytes: &'a [u8],
    receive_time: u64,
    event_time: u64,
    place: Place,
}

impl Message<'_> {
    fn at<const N: usize>(&self, at: usize) -> [u8; N] {
        self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<N>()).copied().unwrap_or([0; N])
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.at(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.at(at))
    }

    fn locate(&self) -> u16 {
        u16::from_be_bytes(self.at(1))
    }

    fn said(&self, symbol: u32, what: What) -> Entry {
        let (receive_time, event_time) = (self.receive_time, self.event_time);
        Entry::Said(Said { symbol, receive_time, event_time, what })
    }

    /// Says a trade; one of nothing is none, as a cross without executions.
    fn trade(&self, symbol: u32, price: i64, size: u64, aggressor: Side, id: u64) -> Entry {
        if size == 0 {
            return Entry::Unused("crosses without executions");
        }
        let Ok(size) = i64::try_from(size) else {
            return Entry::Fault(self.place, format!("{size} is no size of a trade"));
        };
        let (price, size) = (Fixed::new(price, PRICE_DECIMALS), Fixed::new(size, 0));
        self.said(symbol, What::Trade { price, size, aggressor, id, id_text: String::new() })
    }

    fn price(&self, at: usize) -> Result<i64, String> {
        match self.u32(at) {
            0 => Err("0 ten-thousandths are no price".to_owned()),
            price => Ok(i64::from(price)),
        }
    }
}

/// Returns the side of a letter.
fn side(letter: u8) -> Result<BookSide, String> {
    match letter {
        b'B' => Ok(BookSide::Bid),
        b'S' => Ok(BookSide::Ask),
        _ => Err(format!("there is no side {letter:#04x}")),
    }
}

impl Itch {
    pub(crate) fn set_midnight(&mut self, midnight: u64) {
        self.midnight = midnight;
    }

    pub(crate) fn midnight(&self) -> u64 {
        self.midnight
    }

    pub(crate) fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }

    /// Takes a message. Without a receive time, the event time stands for it.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        receive_time: Option<u64>,
        place: Place,
        entries: &mut Vec<Entry>,
    ) {
        if let Err(reason) = self.message(bytes, receive_time, place, entries) {
            entries.push(Entry::Fault(place, reason));
        }
    }

    fn message(
        &mut self,
        bytes: &[u8],
        receive_time: Option<u64>,
        place: Place,
        entries: &mut Vec<Entry>,
    ) -> Result<(), String> {
        let kind = *bytes.first().ok_or("a message is empty")?;
        let length = length(kind).ok_or_else(|| format!("there is no message of type {kind:#04x}"))?;
        if bytes.len() != length {
            return Err(format!(
                "a message `{}` has {} bytes instead of {length}",
                char::from(kind),
                bytes.len()
            ));
        }
        let mut message = Message { bytes, receive_time: 0, event_time: 0, place };
        let time = message.u64(3) & 0xffff_ffff_ffff;
        if time > DAY_NANOS {
            return Err(format!("{time} nanoseconds since midnight are no time of a day"));
        }
        message.event_time = self.midnight.saturating_add(time);
        message.receive_time = receive_time.unwrap_or(message.event_time);
        let unused = match kind {
            b'A' | b'F' => return self.add(message, entries),
            b'E' | b'C' | b'X' | b'D' | b'U' => return self.order(message, kind, entries),
            b'P' => {
                let (size, price) = (u64::from(message.u32(20)), message.price(32)?);
                let symbol = self.stock(&message, 24)?.symbol;
                entries.push(message.trade(symbol, price, size, Side::Unknown, message.u64(36)));
                return Ok(());
            }
            b'Q' => {
                let size = message.u64(11);
                let price = if size == 0 { 0 } else { message.price(27)? };
                let symbol = self.stock(&message, 19)?.symbol;
                entries.push(message.trade(symbol, price, size, Side::Unknown, message.u64(31)));
                return Ok(());
            }
            b'H' => {
                let status = status(&message)?;
                let symbol = self.stock(&message, 11)?.symbol;
                entries.push(message.said(symbol, What::Status(status)));
                return Ok(());
            }
            b'R' => {
                let symbol = self.stock(&message, 11)?.symbol;
                let lot = i64::from(message.u32(21));
                self.symbols.get_mut(symbol).lot = (lot > 0).then(|| Fixed::new(lot, 0));
                "stock directory"
            }
            b'S' => {
                if bytes[11] == b'O' {
                    self.begin();
                }
                "system event"
            }
            b'Y' => "short sale restriction",
            b'L' => "market participant position",
            b'V' => "circuit breaker levels",
            b'W' => "circuit breaker status",
            b'K' => "quotation period of a new issue",
            b'J' => "auction collar",
            b'h' => "operational halt",
            b'B' => "broken trade",
            b'I' => "order imbalance",
            b'N' => "retail price improvement",
            _ => "direct listing price discovery",
        };
        entries.push(Entry::Unused(unused));
        Ok(())
    }

    /// Begins a day: there are no orders yet.
    fn begin(&mut self) {
        self.is_whole = true;
        self.stocks.iter_mut().flatten().for_each(|stock| stock.book.clear());
    }

    /// Returns the instrument of a message that has its name.
    fn stock(&mut self, message: &Message<'_>, at: usize) -> Result<&mut Stock, String> {
        let (locate, name) = (message.locate(), message.at::<8>(at));
        let index = usize::from(locate);
        if index >= self.stocks.len() {
            self.stocks.resize_with(index + 1, || None);
        }
        let stock = &mut self.stocks[index];
        match stock {
            Some(stock) if stock.name != name => Err(format!(
                "stock locate {locate} is `{}` and not `{}`",
                stock.name.trim_ascii().escape_ascii(),
                name.trim_ascii().escape_ascii()
            )),
            Some(stock) => Ok(stock),
            None => {
                let text = name.trim_ascii_end();
                if text.is_empty() || !text.iter().all(u8::is_ascii_graphic) {
                    return Err(format!("`{}` is no name of an instrument", name.escape_ascii()));
                }
                let symbol = self.symbols.name(locate, &String::from_utf8_lossy(text));
                let mut book = OrderBook::new(PRICE_DECIMALS, 0);
                if self.is_whole {
                    book.clear();
                }
                Ok(stock.insert(Stock { symbol, name, book }))
            }
        }
    }

    fn add(&mut self, message: Message<'_>, entries: &mut Vec<Entry>) -> Result<(), String> {
        let (side, price) = (side(message.bytes[19])?, message.price(32)?);
        let (id, size) = (message.u64(11), u64::from(message.u32(20)));
        let stock = self.stock(&message, 24)?;
        let done = stock.book.add(id, side, price, size);
        stock.tell(&message, done, entries);
        Ok(())
    }

    /// Takes a message of an order that is there.
    fn order(&mut self, message: Message<'_>, kind: u8, entries: &mut Vec<Entry>) -> Result<(), String> {
        let stock = self.stocks.get_mut(usize::from(message.locate())).and_then(Option::as_mut);
        let id = message.u64(11);
        let known = stock.and_then(|stock| {
            let order = stock.book.order(id);
            (order.is_some() || stock.book.is_known()).then_some((stock, order))
        });
        let Some((stock, order)) = known else {
            entries.push(Entry::Unused("messages of orders that are not known"));
            return Ok(());
        };
        let size = u64::from(message.u32(19));
        let done = match kind {
            b'E' | b'C' => {
                let done = stock.book.reduce(id, size);
                if let (Some((side, price, _)), true) = (order, done.is_ok()) {
                    entries.push(execution(&message, stock.symbol, side, price, size)?);
                }
                done
            }
            b'X' => stock.book.reduce(id, size),
            b'D' => stock.book.remove(id),
            _ => {
                let (new, size, price) = (message.u64(19), u64::from(message.u32(27)), message.price(31)?);
                stock.book.remove(id).and_then(|()| match order {
                    Some((side, ..)) => stock.book.add(new, side, price, size),
                    None => Err(OrderError::Unknown(id)),
                })
            }
        };
        stock.tell(&message, done, entries);
        Ok(())
    }

    /// Takes note that messages are missing: nobody knows of which instruments they are, and no book is known any more on this day.
    pub(crate) fn lose(&mut self, receive_time: u64, entries: &mut Vec<Entry>) {
        self.is_whole = false;
        self.stocks.iter_mut().flatten().for_each(|stock| stock.book.forget());
        for symbol in 0..self.symbols.list().len() as u32 {
            entries.extend([Channel::Book, Channel::Trade].map(|channel| {
                let what = What::Gap { channel, count: None };
                Entry::Said(Said { symbol, receive_time, event_time: receive_time, what })
            }));
        }
    }
}

impl Stock {
    /// Says what changed in the book. A book that contradicts a message is not known any more.
    fn tell(&mut self, message: &Message<'_>, done: Result<(), OrderError>, entries: &mut Vec<Entry>) {
        if let Err(error) = done {
            entries.push(Entry::Fault(message.place, error.to_string()));
            if self.book.is_known() {
                entries.push(message.said(self.symbol, What::Gap { channel: Channel::Book, count: None }));
            }
            self.book.forget();
            return;
        }
        let what = match self.book.take_changes() {
            Some(OrderBookChange::All(levels)) => What::Book(levels),
            Some(OrderBookChange::Levels(levels)) => What::Change(levels),
            None if self.book.is_known() => return,
            None => return entries.push(Entry::Unused("changes of books that are not known")),
        };
        entries.push(message.said(self.symbol, what));
    }
}

/// Says the execution of an order that rested on a side; one that is not to be printed is told by a cross.
fn execution(
    message: &Message<'_>,
    symbol: u32,
    side: BookSide,
    price: i64,
    size: u64,
) -> Result<Entry, String> {
    let aggressor = if side == BookSide::Bid { Side::Sell } else { Side::Buy };
    let price = match message.bytes.get(31) {
        None => price,
        Some(b'Y') => message.price(32)?,
        Some(_) => return Ok(Entry::Unused("executions that are not printed")),
    };
    Ok(message.trade(symbol, price, size, aggressor, message.u64(23)))
}

fn status(message: &Message<'_>) -> Result<Status, String> {
    let state = match message.bytes[19] {
        b'T' => TradingState::Open,
        b'H' | b'P' => TradingState::Halted,
        b'Q' => TradingState::PreOpen,
        code => return Err(format!("there is no trading state {code:#04x}")),
    };
    let reason = String::from_utf8_lossy(message.at::<4>(21).trim_ascii()).into_owned();
    Ok(Status { state: state as i32, reason })
}

#[cfg(test)]
#[path = "itch_tests.rs"]
mod tests;
