//! The truth of the ingesters, by everything that left them: it is the measure of all that clients read.

use std::collections::{BTreeSet, HashMap};

use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, BookState, Channel, Encoding, Message, Record, pb};

use crate::{Position, id_of};

/// The number of a symbol in the market, and a channel of it.
pub(crate) type Key = (u32, Channel);

/// The records of all ingesters. They name the instrument by its number in the market. A symbol that ended and was
/// listed anew has sequence numbers from 1 again, under another number at the ingester: so there may be several records
/// of one position.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// The records by channel and position, without books, which are compared as a whole.
    records: HashMap<(Key, Position), Vec<Record>>,
    books: HashMap<(u32, Position), Vec<BookState>>,
    /// The book as it is now, by epoch and the ingester's number.
    book: HashMap<(u64, u32), BookState>,
    /// The last sequence numbers that an ingester had published, with when; ascending.
    published: HashMap<(Key, u64), Vec<Published>>,
    /// The highest sequence number that anybody outside the ingester can know of, by epoch.
    highest: HashMap<(Key, u64), u64>,
    /// The numbers that ingesters give their instruments, by epoch.
    names: HashMap<(u64, u32), u32>,
    /// The time by which the clock of each run is ahead, in nanoseconds.
    pub(crate) skews: HashMap<u64, i64>,
    /// The numbers under which a symbol was listed, by epoch.
    listings: HashMap<(u64, u32), BTreeSet<u32>>,
}

/// The time in milliseconds, the ingester's number of the instrument, the last sequence number.
type Published = (u64, u32, u64);

impl Truth {
    fn name(&mut self, epoch: u64, number: u32, symbol: u32) {
        let before = self.names.insert((epoch, number), symbol);
        assert!(before.is_none_or(|before| before == symbol), "a number of a run stands for one symbol");
        self.listings.entry((epoch, symbol)).or_default().insert(number);
    }

    /// Takes a message that the bus took from an ingester.
    pub(crate) fn on_data(&mut self, symbol: &str, payload: &[u8], now: u64) {
        let (header, records) = BusHeader::parse(payload).expect("an ingester's message");
        let (epoch, number) = (header.epoch, header.instrument);
        self.name(epoch, number, id_of(symbol));
        let key = (id_of(symbol), header.channel);
        for part in header.split(records) {
            let (_, last, bytes) = part.expect("records for all sequence numbers");
            let message = Batch::new(header.encoding, bytes).next();
            let Some(Ok(Message::Record(record))) = message else { panic!("not a record: {message:?}") };
            assert_eq!(record.instrument, number);
            self.on_record(key, number, (epoch, last), record);
        }
        self.on_sequence(key, (epoch, header.last_sequence));
        let published = self.published.entry((key, epoch)).or_default();
        // This holds also where the symbol was listed anew under another number.
        let last = published.last();
        assert!(last.is_none_or(|(_, _, last)| *last < header.last_sequence), "sequence numbers ascend");
        published.push((now, number, header.last_sequence));
    }

    fn on_record(&mut self, key: Key, number: u32, position: Position, record: Record) {
        if let Body::Instrument(definition) = &record.body {
            // An end tells how far each channel went, with what the bus refused.
            for (channel, last) in Channel::ALL.into_iter().zip(definition.last_sequences.clone()) {
                self.on_sequence((key.0, channel), (position.0, last));
            }
        }
        let record = Record { instrument: key.0, ..record };
        if key.1 != Channel::Book {
            let known = self.records.entry((key, position)).or_default();
            if !known.contains(&record) {
                known.push(record);
            }
            return;
        }
        let book = self.book.entry((position.0, number)).or_default();
        match &record.body {
            Body::Book(body) => {
                book.apply(position.1, body).expect("the ingester's own changes apply");
                let known = self.books.entry((key.0, position)).or_default();
                if !known.contains(book) {
                    known.push(book.clone());
                }
            }
            _ => book.reset(),
        }
    }

    pub(crate) fn on_heartbeat(&mut self, heartbeat: &pb::FeedHeartbeat) {
        for position in &heartbeat.positions {
            assert_eq!(position.epoch, heartbeat.epoch);
            if let Some(symbol) = self.names.get(&(heartbeat.epoch, position.instrument)).copied() {
                self.on_sequence((symbol, position.channel()), (heartbeat.epoch, position.sequence));
            }
        }
    }

    /// Takes a catalogue, which may tell what the bus refused before.
    pub(crate) fn on_catalogue(&mut self, response: &pb::FeedResponse) {
        for record in read(&response.frame) {
            let Body::Instrument(definition) = &record.body else { panic!("a definition: {record:?}") };
            let symbol = id_of(&definition.symbol);
            self.name(response.epoch, record.instrument, symbol);
            let (key, position) = ((symbol, Channel::Instrument), (response.epoch, record.sequence));
            self.on_sequence(key, position);
            self.on_record(key, record.instrument, position, record);
        }
    }

    /// Takes a response, which may tell what the bus refused before.
    pub(crate) fn on_response(&mut self, key: Key, response: &Response) {
        let position = (response.epoch, response.sequence);
        self.on_sequence(key, position);
        for record in &response.records {
            self.name(response.epoch, record.instrument, key.0);
            match &record.body {
                Body::Gap(_) => {}
                Body::Book(body) => {
                    let mut book = BookState::new();
                    book.apply(response.sequence, body).expect("a snapshot");
                    let known = self.books.entry((key.0, position)).or_default();
                    let is_listed_once = self.listings[&(response.epoch, key.0)].len() == 1;
                    assert!(
                        !is_listed_once || known.iter().all(|known| *known == book),
                        "it is the book as published"
                    );
                    if !known.contains(&book) {
                        known.push(book);
                    }
                }
                // The records that the bus had refused were announced as lost; the state that they led to is known
                // still.
                _ => {
                    self.on_record(key, record.instrument, (response.epoch, record.sequence), record.clone());
                }
            }
        }
    }

    fn on_sequence(&mut self, key: Key, (epoch, sequence): Position) {
        let highest = self.highest.entry((key, epoch)).or_default();
        *highest = sequence.max(*highest);
    }

    /// Returns when a run received something, whose clock says `time`; both in nanoseconds. Of a gap, nobody says when it was.
    pub(crate) fn received(&self, epoch: u64, time: u64) -> u64 {
        let skew = self.skews.get(&epoch).copied().unwrap_or_default();
        if time == 0 { 0 } else { time.saturating_add_signed(-skew) }
    }

    pub(crate) fn records(&self, key: Key, position: Position) -> &[Record] {
        let records = self.records.get(&(key, position));
        records.unwrap_or_else(|| panic!("{key:?} {position:?} was never published"))
    }

    pub(crate) fn books(&self, symbol: u32, position: Position) -> &[BookState] {
        let books = self.books_if_any(symbol, position);
        books.unwrap_or_else(|| panic!("there was no book of {symbol} at {position:?}"))
    }

    pub(crate) fn books_if_any(&self, symbol: u32, position: Position) -> Option<&[BookState]> {
        self.books.get(&(symbol, position)).map(Vec::as_slice)
    }

    /// Returns the highest sequence number that exists.
    pub(crate) fn highest_sequence(&self, key: Key, epoch: u64) -> u64 {
        self.highest.get(&(key, epoch)).copied().unwrap_or_default()
    }

    /// Returns what was published up to a time, in milliseconds; `None` where it cannot be said: nothing was, or the
    /// symbol was listed anew.
    pub(crate) fn published_at(&self, key: Key, epoch: u64, at: u64) -> Option<u64> {
        if self.listings.get(&(epoch, key.0))?.len() > 1 {
            return None;
        }
        let published = self.published.get(&(key, epoch))?;
        let count = published.partition_point(|(time, ..)| *time <= at);
        published[..count].last().map(|(.., sequence)| *sequence)
    }
}

/// A state with its records read.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) records: Vec<Record>,
}

impl Response {
    pub(crate) fn read(epoch: u64, snapshot: &pb::Snapshot) -> Self {
        Self { epoch, sequence: snapshot.sequence, records: read(&snapshot.frame) }
    }
}

fn read(frame: &[u8]) -> Vec<Record> {
    let records = Batch::new(Encoding::Proto, frame).filter_map(|message| match message {
        Ok(Message::Record(record)) => Some(record),
        Ok(_) => None,
        Err(error) => panic!("a response that cannot be read: {error}"),
    });
    records.collect()
}
