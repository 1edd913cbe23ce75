//! Statements of a recording of the bus: those of the run that a gateway would follow, with what is missing.

use std::collections::VecDeque;

use prost::Message as _;
use rustc_hash::FxHashMap;
use tickwire_core::hub::Claims;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::subject::{ParsedSubject, Subject};
use tickwire_wire::{Batch, Body, Channel, Encoding, Instrument, Message, Record, pb};

use super::entries::{Content, Entries, Note, ReadError, Recorded};
use crate::adapted::{body, what};
use crate::packed;
use crate::said::{Fixed, Said, What};
use crate::source::{Entry, Place, Source, Symbol, Symbols};

/// The entries after which a turn ends.
const ENTRIES_MAX: usize = 256;
/// The most changes of a book that are held until its levels come.
const HELD_MAX: usize = 65_536;

/// A reading of a recording of the bus.
pub(crate) struct BusSource {
    entries: Entries<packed::Content>,
    runs: Runs,
    messages: u64,
    is_over: bool,
    has_end: bool,
}

/// The runs of ingesters, and what the followed one said.
#[derive(Default)]
struct Runs {
    claims: Claims,
    symbols: Symbols<(u64, u32)>,
    /// The decimals of prices and sizes of each instrument of each run.
    scales: FxHashMap<(u64, u32), (u8, u8)>,
    topics: FxHashMap<(u32, Channel), Topic>,
    /// The latest receive time that was said: times do not go back.
    time: u64,
}

/// A channel of an instrument.
#[derive(Default)]
struct Topic {
    /// The number of the next record; 0 where none was seen yet.
    next: u64,
    /// Whether all levels of the book are known.
    is_whole: bool,
    /// The changes since the book broke, which its levels may lack.
    held: VecDeque<(Record, (u8, u8))>,
}

impl BusSource {
    /// Begins to read; returns the venue, too.
    ///
    /// # Errors
    /// Returns what is wrong with the beginning, in words.
    pub(crate) fn new(content: packed::Content) -> Result<(Self, String), String> {
        let mut entries = Entries::new(content).map_err(|error| error.to_string())?;
        let venue = match entries.next_entry() {
            Ok(Some(Recorded { content: Content::Note(note), .. })) => match serde_json::from_slice(note) {
                Ok(Note::Begin { venue, .. }) => venue,
                _ => return Err("its first entry does not say of which venue it is".to_owned()),
            },
            Ok(_) => return Err("its first entry does not say of which venue it is".to_owned()),
            Err(error) => return Err(error.to_string()),
        };
        let source = Self { entries, runs: Runs::default(), messages: 0, is_over: false, has_end: false };
        Ok((source, venue))
    }

    fn next(&mut self, entries: &mut Vec<Entry>) {
        let place = Place::Byte(self.entries.offset());
        match self.entries.next_entry() {
            Ok(Some(Recorded { time, content: Content::Message { subject, payload } })) => {
                self.messages += 1;
                if let Err(reason) = self.runs.message(time, subject, payload, entries) {
                    entries.push(Entry::Fault(place, reason));
                }
            }
            Ok(Some(Recorded { time, content: Content::Response { request, payload, .. } })) => {
                self.messages += 1;
                if let Err(reason) = self.runs.response(time, request, payload, entries) {
                    entries.push(Entry::Fault(place, reason));
                }
            }
            Ok(Some(Recorded { content: Content::Note(note), .. })) => match serde_json::from_slice(note) {
                Ok(Note::End { .. }) => self.has_end = true,
                Ok(Note::Lost { .. }) => entries.push(Entry::Unused("losses that the recorder was told of")),
                Ok(Note::Disconnected) => entries.push(Entry::Unused("outages of the recorder's bus")),
                Ok(Note::Begin { .. } | Note::Reconnected | Note::Unknown) => {}
                Err(error) => entries.push(Entry::Fault(place, format!("a note cannot be read: {error}"))),
            },
            Ok(None) => {
                self.is_over = true;
                if !self.has_end {
                    let reason = "the recording has no end: it was cut, or is being written still";
                    entries.push(Entry::Fault(place, reason.to_owned()));
                }
            }
            Err(error @ ReadError::Damaged { .. }) => entries.push(Entry::Fault(place, error.to_string())),
            Err(error) => {
                entries.push(Entry::Fault(place, error.to_string()));
                self.is_over = true;
            }
        }
    }
}

impl Source for BusSource {
    fn read(&mut self, entries: &mut Vec<Entry>) -> bool {
        let until = entries.len() + ENTRIES_MAX;
        while !self.is_over && entries.len() < until {
            self.next(entries);
        }
        !self.is_over
    }

    fn records(&self) -> u64 {
        self.messages
    }

    fn symbols(&self) -> &[Symbol] {
        self.runs.symbols.list()
    }
}

impl Runs {
    fn message(
        &mut self,
        time: u64,
        subject: &str,
        payload: &[u8],
        entries: &mut Vec<Entry>,
    ) -> Result<(), String> {
        match Subject::parse(subject).map_err(|error| format!("`{subject}`: {error}"))? {
            ParsedSubject::Heartbeat { .. } => {
                let heartbeat = pb::FeedHeartbeat::decode(payload)
                    .map_err(|error| format!("a heartbeat cannot be read: {error}"))?;
                entries.push(Entry::Unused("heartbeats"));
                self.heartbeat(&heartbeat, time, entries);
                Ok(())
            }
            ParsedSubject::Data { .. } => self.records(payload, entries),
            ParsedSubject::Request { .. } => {
                entries.push(Entry::Unused("messages of other subjects"));
                Ok(())
            }
        }
    }

    fn heartbeat(&mut self, heartbeat: &pb::FeedHeartbeat, time: u64, entries: &mut Vec<Entry>) {
        let before = self.claims.epoch();
        self.claims.hear(heartbeat, time);
        self.claims.choose(time);
        let epoch = self.claims.epoch();
        if epoch != before {
            self.begin_anew(time, before != 0, entries);
        }
        if heartbeat.epoch != epoch {
            return;
        }
        // A number that was told and did not come is a loss.
        for position in &heartbeat.positions {
            let Some(symbol) = self.symbols.find(&(epoch, position.instrument)) else { continue };
            let channel = position.channel();
            let Some(topic) = self.topics.get_mut(&(symbol, channel)) else { continue };
            if topic.next > 0 && position.sequence >= topic.next {
                let count = position.sequence + 1 - topic.next;
                topic.next = position.sequence + 1;
                self.lose(symbol, channel, Some(count), (time, time), entries);
            }
        }
    }

    /// Follows another run: what was known of the one before is over.
    fn begin_anew(&mut self, time: u64, is_change: bool, entries: &mut Vec<Entry>) {
        let mut topics: Vec<_> = self.topics.drain().map(|(topic, _)| topic).collect();
        topics.sort_unstable_by_key(|(symbol, channel)| (*symbol, *channel as i32));
        for (symbol, channel) in topics.into_iter().filter(|_| is_change) {
            self.lose(symbol, channel, None, (time, time), entries);
        }
    }

    fn records(&mut self, payload: &[u8], entries: &mut Vec<Entry>) -> Result<(), String> {
        let (header, records) = BusHeader::parse(payload).map_err(|error| error.to_string())?;
        if header.channel == Channel::Instrument {
            for record in header.split(records) {
                let (_, _, bytes) = record.map_err(|error| error.to_string())?;
                self.define(header.epoch, &read(header.encoding, bytes)?);
            }
            return Ok(());
        }
        let key = (header.epoch, header.instrument);
        if header.epoch != self.claims.epoch() {
            entries.push(Entry::Unused("messages of runs that are not followed"));
            return Ok(());
        }
        if matches!(header.channel, Channel::Bar | Channel::Stat) {
            entries.push(Entry::Unused("bars and statistics: they are made anew"));
            return Ok(());
        }
        let (Some(symbol), Some(scale)) = (self.symbols.find(&key), self.scales.get(&key).copied()) else {
            entries.push(Entry::Unused("messages of instruments before their definition"));
            return Ok(());
        };
        let topic = self.topics.entry((symbol, header.channel)).or_default();
        let missing = header.first_sequence.saturating_sub(topic.next);
        if topic.next > 0 && missing > 0 {
            let time = self.time.max(header.publish_time);
            self.lose(symbol, header.channel, Some(missing), (time, header.publish_time), entries);
        }
        for record in header.split(records) {
            let (_, last, bytes) = record.map_err(|error| error.to_string())?;
            let topic = self.topics.entry((symbol, header.channel)).or_default();
            if topic.next > last {
                entries.push(Entry::Unused("repeated records"));
                continue;
            }
            topic.next = last + 1;
            self.take(symbol, scale, read(header.encoding, bytes)?, entries);
        }
        Ok(())
    }

    /// Says a record that stands in its order.
    fn take(&mut self, symbol: u32, scale: (u8, u8), record: Record, entries: &mut Vec<Entry>) {
        self.time = self.time.max(record.receive_time);
        let times = (self.time, record.event_time);
        if let Body::Gap(gap) = &record.body {
            let count = gap.last_sequence.checked_sub(gap.first_sequence).map(|more| more + 1);
            return self.lose(symbol, gap.channel(), count, times, entries);
        }
        if let Body::Book(book) = &record.body {
            let topic = self.topics.entry((symbol, Channel::Book)).or_default();
            if book.snapshot {
                topic.is_whole = true;
                topic.held.clear();
            } else if !topic.is_whole {
                if topic.held.len() == HELD_MAX {
                    topic.held.pop_front();
                }
                topic.held.push_back((record, scale));
                return;
            }
        }
        entries.extend(said(symbol, scale, record, times));
    }

    /// Says that events are missing. A book is broken until all of its levels come.
    fn lose(
        &mut self,
        symbol: u32,
        channel: Channel,
        count: Option<u64>,
        (receive_time, event_time): (u64, u64),
        entries: &mut Vec<Entry>,
    ) {
        if matches!(channel, Channel::Bar | Channel::Stat) {
            return;
        }
        if channel == Channel::Book {
            let topic = self.topics.entry((symbol, channel)).or_default();
            topic.is_whole = false;
            topic.held.clear();
        }
        self.time = self.time.max(receive_time);
        let what = What::Gap { channel, count };
        entries.push(Entry::Said(Said { symbol, receive_time: self.time, event_time, what }));
    }

    fn define(&mut self, epoch: u64, record: &Record) {
        let Body::Instrument(definition) = &record.body else { return };
        let key = (epoch, record.instrument);
        let decimals = |decimals: u32| u8::try_from(decimals).unwrap_or(u8::MAX).min(18);
        let scale = (decimals(definition.price_decimals), decimals(definition.size_decimals));
        let index = self.symbols.name(key, &definition.symbol);
        self.scales.insert(key, scale);
        describe(self.symbols.get_mut(index), definition, scale);
    }

    fn response(
        &mut self,
        time: u64,
        request: &[u8],
        payload: &[u8],
        entries: &mut Vec<Entry>,
    ) -> Result<(), String> {
        use pb::feed_request::Request;
        let unreadable = |error| format!("a response cannot be read: {error}");
        let request = pb::FeedRequest::decode(request).map_err(unreadable)?;
        let response = pb::FeedResponse::decode(payload).map_err(unreadable)?;
        match request.request {
            Some(Request::Catalogue(_)) => {
                entries.push(Entry::Unused("catalogues"));
                for record in batch(&response.frame)? {
                    self.define(response.epoch, &record);
                }
            }
            Some(Request::Snapshots(asked)) => {
                entries.push(Entry::Unused("snapshots"));
                if response.epoch != self.claims.epoch() {
                    return Ok(());
                }
                for (topic, snapshot) in asked.topics.iter().zip(&response.snapshots) {
                    self.snapshot(time, topic, snapshot, entries)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes the state of a topic: where it is not known otherwise, it holds.
    fn snapshot(
        &mut self,
        time: u64,
        asked: &pb::Topic,
        snapshot: &pb::Snapshot,
        entries: &mut Vec<Entry>,
    ) -> Result<(), String> {
        let records = batch(&snapshot.frame)?;
        let Some(symbol) = self.symbols.find_name(&asked.symbol) else { return Ok(()) };
        let channel = asked.channel();
        let topic = self.topics.entry((symbol, channel)).or_default();
        let is_wanted = if channel == Channel::Book { !topic.is_whole } else { topic.next == 0 };
        if !is_wanted || records.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut topic.held);
        let came = topic.next;
        topic.next = came.max(snapshot.sequence + 1);
        self.time = self.time.max(time);
        for record in records {
            let Some(scale) = self.scales.get(&(self.claims.epoch(), record.instrument)).copied() else {
                continue;
            };
            self.take(symbol, scale, record, entries);
        }
        // Changes that the state has already are not said again. Those that were published between it and the first one that
        // came are missing, and their numbers tell.
        let mut next = snapshot.sequence + 1;
        for (change, scale) in held.into_iter().filter(|(change, _)| change.sequence > snapshot.sequence) {
            if change.sequence > next {
                let (times, missing) = ((self.time, change.event_time), change.sequence - next);
                self.lose(symbol, channel, Some(missing), times, entries);
            }
            next = change.sequence + 1;
            self.take(symbol, scale, change, entries);
        }
        Ok(())
    }
}

fn describe(symbol: &mut Symbol, definition: &Instrument, (prices, sizes): (u8, u8)) {
    let step = |step: u64, decimals| {
        i64::try_from(step).ok().filter(|step| *step > 0).map(|step| Fixed::new(step, decimals))
    };
    symbol.tick = step(definition.tick_size, prices);
    symbol.lot = step(definition.lot_size, sizes);
    symbol.base.clone_from(&definition.base);
    symbol.quote.clone_from(&definition.quote);
}

fn read(encoding: Encoding, bytes: &[u8]) -> Result<Record, String> {
    match Batch::new(encoding, bytes).next() {
        Some(Ok(Message::Record(record))) => Ok(record),
        Some(Err(error)) => Err(format!("a record cannot be read: {error}")),
        _ => Err("a message of the bus has something that is no record".to_owned()),
    }
}

/// Reads the records of a `Frame`.
fn batch(frame: &[u8]) -> Result<Vec<Record>, String> {
    let record = |message| match message {
        Ok(Message::Record(record)) => Some(Ok(record)),
        Ok(_) => None,
        Err(error) => Some(Err(format!("a record of a response cannot be read: {error}"))),
    };
    Batch::new(Encoding::Proto, frame).filter_map(record).collect()
}

fn said(
    symbol: u32,
    scale: (u8, u8),
    record: Record,
    (receive_time, event_time): (u64, u64),
) -> Option<Entry> {
    let what = what(body(record.body)?, scale);
    Some(Entry::Said(Said { symbol, receive_time, event_time, what }))
}
