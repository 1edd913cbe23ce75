//! What the ingester said, by everything that left it: the measure of all that clients read.

use std::collections::HashMap;

use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Body, BookState, Channel, Encoding, Message, Record, pb};

use super::Position;

/// Of one (instrument id, channel).
pub(super) type Key = (u32, Channel);

#[derive(Debug, Default)]
pub(super) struct Truth {
    /// By channel and full number. Without books, which are compared as a whole.
    records: HashMap<(Key, Position), Record>,
    books: HashMap<(u32, Position), BookState>,
    /// The book as it is now, by instrument, with its numbering.
    book: HashMap<u32, (u64, BookState)>,
    /// When the ingester had published what: milliseconds, ascending.
    published: HashMap<Key, Vec<(u64, Position)>>,
    /// Highest number that anybody outside the ingester can know of.
    numbered: HashMap<Key, Position>,
}

impl Truth {
    /// A message that the bus took from the ingester.
    pub(super) fn on_data(&mut self, payload: &[u8], now: u64) {
        let (header, records) = BusHeader::parse(payload).expect("an ingester's message");
        let key = (header.instrument, header.channel);
        for part in header.split(records) {
            let (_, last, bytes) = part.expect("records for all numbers");
            let message = Batch::new(header.encoding, bytes).next();
            let Some(Ok(Message::Record(record))) = message else { panic!("not a record: {message:?}") };
            self.on_record(key, (header.epoch, last), &record);
        }
        let position = (header.epoch, header.last_sequence);
        self.on_number(key, position);
        let published = self.published.entry(key).or_default();
        assert!(published.last().is_none_or(|(_, last)| *last < position), "numbers ascend");
        published.push((now, position));
    }

    fn on_record(&mut self, key: Key, position: Position, record: &Record) {
        if key.1 != Channel::Book {
            // An answer may have told the record that a gap stands for.
            let is_gap = matches!(record.body, Body::Gap(_));
            let known = self.records.entry((key, position)).or_insert_with(|| record.clone());
            assert!(is_gap || known == record, "{known:?} and {record:?}");
            return;
        }
        let (epoch, book) = self.book.entry(key.0).or_default();
        if *epoch != position.0 {
            (*epoch, *book) = (position.0, BookState::new());
        }
        match &record.body {
            Body::Book(body) => {
                book.apply(position.1, body).expect("the ingester's own changes apply");
                self.books.insert((key.0, position), book.clone());
            }
            _ => book.reset(),
        }
    }

    pub(super) fn on_beat(&mut self, beat: &pb::Beat) {
        for position in &beat.positions {
            self.on_number((position.instrument, position.channel()), (position.epoch, position.sequence));
        }
    }

    /// An answer may tell what the bus refused before.
    pub(super) fn on_answer(&mut self, key: Key, answer: &Answer) {
        let position = (answer.epoch, answer.sequence);
        self.on_number(key, position);
        for record in &answer.records {
            match &record.body {
                Body::Gap(_) => {}
                Body::Book(body) => {
                    let mut book = BookState::new();
                    book.apply(answer.sequence, body).expect("a snapshot");
                    let known = self.books.entry((key.0, position)).or_insert_with(|| book.clone());
                    assert_eq!(*known, book, "the answer is the book as published");
                }
                _ => {
                    let at = (key, (answer.epoch, record.sequence));
                    let known = self.records.entry(at).or_insert_with(|| record.clone());
                    if matches!(known.body, Body::Gap(_)) {
                        // What the bus had refused was announced as lost; the state that it led to is known still.
                        known.clone_from(record);
                    }
                    assert_eq!(known, record, "the answer is the record as published");
                }
            }
        }
    }

    fn on_number(&mut self, key: Key, position: Position) {
        let numbered = self.numbered.entry(key).or_default();
        *numbered = position.max(*numbered);
    }

    pub(super) fn record(&self, key: Key, position: Position) -> &Record {
        let record = self.records.get(&(key, position));
        record.unwrap_or_else(|| panic!("{key:?} {position:?} was never published"))
    }

    pub(super) fn book(&self, instrument: u32, position: Position) -> &BookState {
        let book = self.books.get(&(instrument, position));
        book.unwrap_or_else(|| panic!("there was no book of {instrument} at {position:?}"))
    }

    /// Highest number that exists.
    pub(super) fn numbered(&self, key: Key) -> Position {
        self.numbered.get(&key).copied().unwrap_or_default()
    }

    /// What was published up to a time, in milliseconds.
    pub(super) fn published_at(&self, key: Key, at: u64) -> Option<Position> {
        let published = self.published.get(&key)?;
        let count = published.partition_point(|(time, _)| *time <= at);
        published[..count].last().map(|(_, position)| *position)
    }
}

/// An answer with its records read.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) records: Vec<Record>,
}

impl Answer {
    pub(super) fn read(answer: &pb::Answer) -> Self {
        let bytes = answer.frame.as_ref().map(prost::Message::encode_to_vec).unwrap_or_default();
        let records = Batch::new(Encoding::Proto, &bytes).filter_map(|message| match message {
            Ok(Message::Record(record)) => Some(record),
            Ok(_) => None,
            Err(error) => panic!("an answer that cannot be read: {error}"),
        });
        Self { epoch: answer.epoch, sequence: answer.sequence, records: records.collect() }
    }
}
