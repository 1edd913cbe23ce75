//! TOPS 1.5 and 1.6 and DEEP of IEX, as captures of their multicast have them.
//!
//! A capture has packets, a packet has a segment of IEX-TP, a segment has messages. What is missing or repeated is told by the sequence
//! numbers of the segments.

use tickwire_wire::{Channel, Side, Status, TradingState};

use crate::capture::{Capture, Packet};
use crate::deep::{Deep, LevelUpdate};
use crate::framing::{Sequences, bytes};
use crate::iextp::Segment;
use crate::packed::Content;
use crate::said::{Fixed, FixedLevel, Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};

/// The name of the venue.
pub(crate) const VENUE: &str = "iex";
const DEEP: u16 = 0x8004;
/// The protocols of TOPS 1.5 and 1.6, and of DEEP.
const FEEDS: [u16; 3] = [0x8002, 0x8003, DEEP];
/// The decimals of all prices.
const PRICE_DECIMALS: u8 = 4;
/// The types of the messages of DEEP that change a level of the bids, and of the offers.
const BUY: u8 = b'8';
const SELL: u8 = b'5';
/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;

/// Returns whether a datagram looks as a segment of a feed of IEX does.
pub(crate) fn is_segment(datagram: &[u8]) -> bool {
    Segment::parse(datagram).is_ok_and(|segment| FEEDS.contains(&segment.protocol))
}

/// A reading of a capture.
pub(crate) struct IexSource {
    capture: Capture,
    sequences: Sequences<(u32, u32)>,
    tops: Tops,
    messages: u64,
    is_over: bool,
}

/// The instruments of the messages.
#[derive(Default)]
struct Tops {
    symbols: Symbols<[u8; 8]>,
    deep: Deep,
}

impl IexSource {
    /// Begins to read a capture.
    ///
    /// # Errors
    /// Returns what is wrong with its head, in words.
    pub(crate) fn new(content: Content) -> Result<Self, String> {
        Ok(Self {
            capture: Capture::new(content)?,
            sequences: Sequences::default(),
            tops: Tops::default(),
            messages: 0,
            is_over: false,
        })
    }

    fn packet(&mut self, receive_time: u64, entries: &mut Vec<Entry>) {
        let place = Place::Packet(self.capture.packets());
        let Some(datagram) = self.capture.datagram() else {
            entries.push(Entry::Unused("packets that are no datagrams of UDP"));
            return;
        };
        let segment = match Segment::parse(datagram) {
            Ok(segment) => segment,
            Err(reason) => return entries.push(Entry::Fault(place, reason)),
        };
        if !FEEDS.contains(&segment.protocol) {
            return entries.push(Entry::Unused("segments of other protocols"));
        }
        let event_time = u64::try_from(segment.send_time).unwrap_or(receive_time);
        let times = (receive_time, event_time);
        if segment.protocol == DEEP {
            self.tops.deep.begin(segment.session(), segment.first, times, entries);
        }
        let order = match self.sequences.take(segment.session(), segment.first, segment.count) {
            Ok(order) => order,
            Err(reason) => return entries.push(Entry::Fault(place, reason)),
        };
        if order.missing > 0 {
            entries.push(Entry::Fault(place, format!("{} messages are missing", order.missing)));
            self.tops.lose(times, entries);
        }
        if segment.count == 0 {
            entries.push(Entry::Unused("heartbeats"));
        }
        if order.repeated > 0 {
            entries.push(Entry::Unused("repeated messages"));
            if order.repeated == segment.count {
                return;
            }
        }
        for message in segment.messages().skip(usize::from(order.repeated)) {
            match message {
                Ok(message) => {
                    self.messages += 1;
                    match self.tops.take(message, receive_time) {
                        Ok(entry) => entries.extend(entry),
                        Err(reason) => {
                            entries.push(Entry::Fault(place, reason));
                            // Nobody knows of which book the level is.
                            if matches!(message.first(), Some(&(BUY | SELL))) {
                                self.tops.deep.lose(times, entries);
                            }
                        }
                    }
                }
                // The rest of the segment is missing.
                Err(reason) => {
                    entries.push(Entry::Fault(place, reason));
                    self.tops.lose(times, entries);
                }
            }
        }
    }
}

impl Source for IexSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            match self.capture.read() {
                Packet::At(receive_time) => self.packet(receive_time, entries),
                Packet::Timeless => {
                    let place = Place::Packet(self.capture.packets());
                    entries.push(Entry::Fault(place, "a packet has no time that can be used".to_owned()));
                }
                Packet::End => self.is_over = true,
                Packet::Failed(reason) => {
                    entries.push(Entry::Fault(Place::Packet(self.capture.packets()), reason));
                    self.is_over = true;
                }
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.messages
    }

    fn symbols(&self) -> &[Symbol] {
        self.tops.symbols.list()
    }
}

impl Tops {
    /// Takes a message; returns nothing where it is a part of an event that is not over.
    ///
    /// # Errors
    /// Returns what is wrong with it, in words.
    fn take(&mut self, message: &[u8], receive_time: u64) -> Result<Option<Entry>, String> {
        let kind = *message.first().ok_or("a message is empty")?;
        let unused = match kind {
            b'Q' | b'T' | b'H' | BUY | SELL => None,
            b'D' => {
                self.define(message)?;
                Some("security directory")
            }
            b'B' => Some("trade break"),
            b'O' => Some("operational halt status"),
            b'P' => Some("short sale price test status"),
            b'A' => Some("auction information"),
            b'X' => Some("official price"),
            b'S' => Some("system event"),
            b'E' => Some("security event"),
            b'I' => Some("retail liquidity indicator"),
            _ => return Err(format!("there is no message of type {kind:#04x}")),
        };
        if let Some(unused) = unused {
            return Ok(Some(Entry::Unused(unused)));
        }
        let short = || format!("a message `{}` of {} bytes is too short", char::from(kind), message.len());
        let event_time = i64::from_le_bytes(bytes(message, 2).ok_or_else(short)?);
        let event_time = u64::try_from(event_time).map_err(|_| format!("{event_time} is no time"))?;
        let what = match kind {
            BUY | SELL => {
                let update = level_update(message, kind == BUY).ok_or_else(short)??;
                let symbol = self.symbol(bytes(message, 10).ok_or_else(short)?)?;
                match self.deep.take(symbol, update) {
                    Ok(Some(what)) => what,
                    Ok(None) => return Ok(None),
                    Err(unused) => return Ok(Some(Entry::Unused(unused))),
                }
            }
            b'Q' => quote(message).ok_or_else(short)??,
            b'T' => trade(message).ok_or_else(short)??,
            _ => status(message).ok_or_else(short)??,
        };
        let symbol = self.symbol(bytes(message, 10).ok_or_else(short)?)?;
        Ok(Some(Entry::Said(Said { symbol, receive_time, event_time, what })))
    }

    fn symbol(&mut self, key: [u8; 8]) -> Result<u32, String> {
        if let Some(symbol) = self.symbols.find(&key) {
            return Ok(symbol);
        }
        let name = key.trim_ascii_end();
        match std::str::from_utf8(name) {
            Ok(text) if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) => {
                Ok(self.symbols.name(key, text))
            }
            _ => Err(format!("`{}` is no name of an instrument", key.escape_ascii())),
        }
    }

    fn define(&mut self, message: &[u8]) -> Result<(), String> {
        let fields = bytes(message, 10).zip(bytes(message, 18));
        let (key, lot) = fields.ok_or("a message `D` is too short")?;
        let symbol = self.symbol(key)?;
        let lot = i64::from(u32::from_le_bytes(lot));
        self.symbols.get_mut(symbol).lot = (lot > 0).then(|| Fixed::new(lot, 0));
        Ok(())
    }

    /// Tells of each instrument that messages are missing: nobody knows of which ones they are.
    fn lose(&mut self, times: (u64, u64), entries: &mut Vec<Entry>) {
        self.deep.lose(times, entries);
        let (receive_time, event_time) = times;
        for symbol in 0..self.symbols.list().len() as u32 {
            entries.extend([Channel::Quote, Channel::Trade].map(|channel| {
                let what = What::Gap { channel, count: None };
                Entry::Said(Said { symbol, receive_time, event_time, what })
            }));
        }
    }
}

/// The content of a message, or what is wrong with it; `None` where it is too short.
type Meaning = Option<Result<What, String>>;

fn size(message: &[u8], at: usize) -> Option<i64> {
    bytes(message, at).map(u32::from_le_bytes).map(i64::from)
}

fn level(price: i64, size: i64) -> Result<FixedLevel, String> {
    if price <= 0 {
        return Err(format!("{price} ten-thousandths are no price"));
    }
    Ok(FixedLevel { price: Fixed::new(price, PRICE_DECIMALS), size: Fixed::new(size, 0) })
}

fn quote(message: &[u8]) -> Meaning {
    let price = |at| bytes(message, at).map(i64::from_le_bytes);
    let side = |price: i64, size: i64| (size > 0).then(|| level(price, size)).transpose();
    let bid = side(price(22)?, size(message, 18)?);
    let ask = side(price(30)?, size(message, 38)?);
    Some(bid.and_then(|bid| Ok(What::Quote { bid, ask: ask? })))
}

/// Reads a level of DEEP, of which a size of 0 is gone; `None` where it is too short.
fn level_update(message: &[u8], is_bid: bool) -> Option<Result<LevelUpdate, String>> {
    let (size, price) = (size(message, 18)?, i64::from_le_bytes(bytes(message, 22)?));
    let flags = *message.get(1)?;
    Some(level(price, size).map(|level| LevelUpdate { is_bid, flags, level }))
}

fn trade(message: &[u8]) -> Meaning {
    let size = size(message, 18)?;
    let price = i64::from_le_bytes(bytes(message, 22)?);
    let id = i64::from_le_bytes(bytes(message, 30)?);
    Some(level(price, size).map(|FixedLevel { price, size }| What::Trade {
        price,
        size,
        aggressor: Side::Unknown,
        id: u64::try_from(id).unwrap_or(0),
        id_text: String::new(),
    }))
}

fn status(message: &[u8]) -> Meaning {
    let reason: [u8; 4] = bytes(message, 18)?;
    let code = *message.get(1)?;
    let state = match code {
        b'T' => TradingState::Open,
        b'H' | b'O' => TradingState::Halted,
        b'P' => TradingState::PreOpen,
        _ => return Some(Err(format!("there is no trading status {code:#04x}"))),
    };
    let reason = String::from_utf8_lossy(reason.trim_ascii()).into_owned();
    Some(Ok(What::Status(Status { state: state as i32, reason })))
}

#[cfg(test)]
#[path = "iex_tests.rs"]
pub(crate) mod tests;
