//! Recorded streams: Protobuf `Frame` fields one after another, as `tickwire tap --record` writes them and as gateways send them.
//!
//! Only one message is held at a time, however long the file is.

use std::collections::VecDeque;
use std::io::{self, Read};

use rustc_hash::FxHashMap;
use tickwire_wire::{Batch, Body, Channel, Encoding, Message, Record};

use crate::adapted::body;
use crate::packed::Content;
use crate::said::{Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};

/// Bytes of one message, at most: twice what the client takes as one WebSocket message.
const MESSAGE_BYTES_MAX: u64 = 16 << 20;
/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;
/// The most messages in which the venue is looked for.
const BEGIN_MESSAGES_MAX: usize = 4_096;

/// Keys of `Frame.records` and `Frame.sent_time`: field number and wire type (protobuf.dev, "Encoding").
const RECORDS_KEY: u64 = 1 << 3 | 2;
const SENT_TIME_KEY: u64 = 2 << 3 | 1;

/// The messages of a recorded stream.
#[derive(Debug)]
pub struct Messages<R> {
    input: R,
    /// The place where the field that was read last begins; the next one begins behind it.
    start: u64,
    offset: u64,
}

/// The reason why a stream cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The system does not let it be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// There is nothing.
    #[error("is empty: nothing was recorded")]
    Empty,
    /// It is something else.
    #[error("is no recorded stream: {0}")]
    Foreign(String),
    /// It ends within a message.
    #[error("ends within a message: it was cut off while it was written or copied")]
    CutOff {
        /// The place up to which it is whole.
        offset: u64,
    },
    /// A message contradicts itself.
    #[error("is damaged: {reason}")]
    Damaged {
        /// The place up to which it is whole.
        offset: u64,
        /// The kind of damage.
        reason: String,
    },
}

impl<R: Read> Messages<R> {
    /// Begins to read.
    pub fn new(input: R) -> Self {
        Self { input, start: 0, offset: 0 }
    }

    /// Returns the place of the message that was read last.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Returns the next message that this build knows; `None` at the end.
    ///
    /// # Errors
    /// Returns what is wrong; nothing can be read behind it.
    pub fn next_message(&mut self) -> Result<Option<Message>, Damage> {
        loop {
            let start = self.offset;
            let Some(field) = self.field()? else {
                return if start == 0 { Err(Damage::Empty) } else { Ok(None) };
            };
            (self.start, self.offset) = (start, start + field.len() as u64);
            match Batch::new(Encoding::Proto, &field).next() {
                Some(Ok(message)) if start == 0 && !matches!(message, Message::Hello(_)) => {
                    return Err(damaged(0, "it does not begin with the `Hello` of a session"));
                }
                Some(Ok(message)) => return Ok(Some(message)),
                Some(Err(error)) => return Err(damaged(start, error.reason)),
                None if start == 0 => return Err(damaged(0, "it does not begin with a record")),
                // A kind from a newer build.
                None => {}
            }
        }
    }

    /// Returns the bytes of the next field of the frame, key included; `None` at the end of the file.
    fn field(&mut self) -> Result<Option<Vec<u8>>, Damage> {
        let start = self.offset;
        let mut bytes = Vec::new();
        if self.read(&mut bytes, 1)? == 0 {
            return Ok(None);
        }
        let length = match self.varint(&mut bytes, 0)? {
            RECORDS_KEY => {
                let at = self.grow(&mut bytes)?;
                self.varint(&mut bytes, at)?
            }
            SENT_TIME_KEY => 8,
            key => return Err(damaged(start, format!("no record begins with the key {key}"))),
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(damaged(start, format!("a record claims {length} bytes, more than any may have")));
        }
        if self.read(&mut bytes, length)? < length {
            return Err(cut_off(start));
        }
        Ok(Some(bytes))
    }

    /// Reads the number that begins at this place, of which the first byte is there.
    fn varint(&mut self, bytes: &mut Vec<u8>, at: usize) -> Result<u64, Damage> {
        while bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
            if bytes.len() - at == 10 {
                return Err(damaged(self.offset, "a number is longer than ten bytes"));
            }
            self.grow(bytes)?;
        }
        let digits = bytes[at..].iter().rev();
        Ok(digits.fold(0, |value: u64, byte| value << 7 | u64::from(byte & 0x7f)))
    }

    /// Reads one more byte, which must be there; returns its place.
    fn grow(&mut self, bytes: &mut Vec<u8>) -> Result<usize, Damage> {
        match self.read(bytes, 1)? {
            0 => Err(cut_off(self.offset)),
            _ => Ok(bytes.len() - 1),
        }
    }

    /// Appends up to so many bytes; fewer at the end of the file.
    fn read(&mut self, bytes: &mut Vec<u8>, length: u64) -> Result<u64, Damage> {
        let read = (&mut self.input).take(length).read_to_end(bytes);
        Ok(read.map_err(Damage::Unreadable)? as u64)
    }
}

fn cut_off(offset: u64) -> Damage {
    match offset {
        0 => damaged(0, "it ends within its first record"),
        offset => Damage::CutOff { offset },
    }
}

/// Damage in the first record means that it never was a recording.
pub(crate) fn damaged(offset: u64, reason: impl Into<String>) -> Damage {
    match offset {
        0 => Damage::Foreign(reason.into()),
        offset => Damage::Damaged { offset, reason: reason.into() },
    }
}

/// Returns whether a file begins as a recorded stream does: with a `Hello`.
pub(crate) fn is_stream(begin: &[u8]) -> bool {
    begin.first() == Some(&(RECORDS_KEY as u8)) && matches!(Messages::new(begin).next_message(), Ok(Some(_)))
}

/// An instrument of a session: its symbol, and the decimals of prices and sizes.
type Known = (u32, (u8, u8));

/// Begins to read a recorded stream that comes while it is read; a turn ends with each message of the gateway.
///
/// # Errors
/// Returns what is wrong with its beginning, in words.
pub fn source(input: Box<dyn Read + Send>) -> Result<Box<dyn Source>, String> {
    let (source, _) = StreamSource::new(Content::new(input))?;
    Ok(Box::new(source))
}

/// A reading of a recorded stream.
pub(crate) struct StreamSource {
    messages: Messages<Content>,
    /// The messages that were read to find the venue.
    begin: VecDeque<(u64, Message)>,
    venue: String,
    symbols: Symbols<()>,
    /// The instruments of the session, by its numbers; those of other venues are `None`.
    instruments: FxHashMap<u32, Option<Known>>,
    records: u64,
    /// The latest receive time that was said: times do not go back.
    time: u64,
    is_over: bool,
}

impl StreamSource {
    /// Begins to read; returns the venue of the first instrument, too.
    ///
    /// # Errors
    /// Returns what is wrong with the beginning, in words.
    pub(crate) fn new(content: Content) -> Result<(Self, String), String> {
        let mut messages = Messages::new(content);
        let mut begin = VecDeque::new();
        let mut venue = None;
        while venue.is_none() && begin.len() < BEGIN_MESSAGES_MAX {
            let message = match messages.next_message() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => return Err(error.to_string()),
            };
            venue = match &message {
                Message::Subscribed(response) => {
                    response.granted.iter().find_map(|granted| venue_of(&granted.symbol))
                }
                _ => None,
            };
            begin.push_back((messages.start(), message));
        }
        let venue = venue.ok_or("the stream subscribes to nothing, so it has no records")?;
        let source = Self {
            messages,
            begin,
            venue: venue.clone(),
            symbols: Symbols::default(),
            instruments: FxHashMap::default(),
            records: 0,
            time: 0,
            is_over: false,
        };
        Ok((source, venue))
    }

    fn take(&mut self, start: u64, message: Message, entries: &mut Vec<Entry>) {
        match message {
            Message::Record(record) => {
                self.records += 1;
                if let Err(reason) = self.record(record, entries) {
                    entries.push(Entry::Fault(Place::Byte(start), reason));
                }
            }
            // Numbers of instruments are those of a session.
            Message::Hello(_) => self.instruments.clear(),
            Message::Subscribed(response) => {
                for granted in response.granted {
                    let scale = (granted.price_decimals, granted.size_decimals);
                    self.name(granted.instrument, &granted.symbol, scale);
                }
            }
            Message::Notice(notice) if notice.code == "book_broken" => {
                let symbol =
                    notice.message.split_once(": ").map_or(notice.message.as_str(), |(symbol, _)| symbol);
                let known = symbol.strip_prefix(&self.venue).and_then(|rest| rest.strip_prefix(':'));
                if let Some(symbol) = known.and_then(|name| self.symbols.find_name(name)) {
                    self.say(symbol, self.time, What::Gap { channel: Channel::Book, count: None }, entries);
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, record: Record, entries: &mut Vec<Entry>) -> Result<(), String> {
        if let Body::Instrument(definition) = &record.body {
            let name = format!("{}:{}", definition.venue, definition.symbol);
            self.name(record.instrument, &name, (definition.price_decimals, definition.size_decimals));
            return Ok(());
        }
        let known = self.instruments.get(&record.instrument);
        let known =
            known.ok_or_else(|| format!("nothing before it names instrument {}", record.instrument))?;
        let Some((symbol, scale)) = *known else {
            entries.push(Entry::Unused("records of other venues"));
            return Ok(());
        };
        self.time = self.time.max(record.receive_time);
        let (event_time, channel) = (record.event_time, record.channel());
        if let Body::Gap(gap) = &record.body {
            if !matches!(channel, Channel::Bar | Channel::Stat | Channel::Instrument) {
                let count = gap.last_sequence.checked_sub(gap.first_sequence).map(|more| more + 1);
                self.say(symbol, self.time, What::Gap { channel, count }, entries);
            }
            return Ok(());
        }
        match body(record.body) {
            Some(body) => self.say(symbol, event_time, crate::adapted::what(body, scale), entries),
            None => entries.push(Entry::Unused("bars and statistics: they are made anew")),
        }
        Ok(())
    }

    fn say(&mut self, symbol: u32, event_time: u64, what: What, entries: &mut Vec<Entry>) {
        entries.push(Entry::Said(Said { symbol, receive_time: self.time, event_time, what }));
    }

    fn name(&mut self, number: u32, symbol: &str, (prices, sizes): (u32, u32)) {
        let decimals = |decimals: u32| u8::try_from(decimals).unwrap_or(u8::MAX).min(18);
        let own = symbol.strip_prefix(&self.venue).and_then(|rest| rest.strip_prefix(':'));
        let known = own.map(|name| (self.symbols.of_name(name), (decimals(prices), decimals(sizes))));
        self.instruments.insert(number, known);
    }
}

impl Source for StreamSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        let mut is_turn = true;
        while is_turn && !self.is_over && entries.len() < until {
            let next = match self.begin.pop_front() {
                Some(next) => Ok(Some(next)),
                None => self
                    .messages
                    .next_message()
                    .map(|message| message.map(|message| (self.messages.start(), message))),
            };
            match next {
                Ok(Some((start, message))) => {
                    // What the gateway sent together is said together, though more may be long in coming.
                    is_turn = !matches!(message, Message::Sent(_));
                    self.take(start, message, entries);
                }
                Ok(None) => self.is_over = true,
                Err(damage) => {
                    let offset = match &damage {
                        Damage::CutOff { offset } | Damage::Damaged { offset, .. } => *offset,
                        _ => self.messages.offset,
                    };
                    entries.push(Entry::Fault(Place::Byte(offset), format!("the stream {damage}")));
                    self.is_over = true;
                }
            }
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.records
    }

    fn symbols(&self) -> &[Symbol] {
        self.symbols.list()
    }
}

fn venue_of(symbol: &str) -> Option<String> {
    symbol.split_once(':').map(|(venue, _)| venue.to_owned())
}
