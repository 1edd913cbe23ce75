//! What a shard holds of one (instrument, channel): the newest state, the recent records, who wants them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use tickwire_wire::{Body, Book, BookState, Channel, Level, Record};

use super::session::SubRef;
use super::update::{InstrumentInfo, TopicState, Update};

/// Order of arrival at the shard, over all topics.
pub(crate) type Stamp = u64;

/// A record and when it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) stamp: Stamp,
    pub(crate) update: Arc<Update>,
}

/// How many records, and how many bytes of them, one topic keeps for slow and returning sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) info: Arc<InstrumentInfo>,
    pub(crate) channel: Channel,
    pub(crate) epoch: u64,
    /// Last number that passed.
    pub(crate) sequence: u64,
    pub(crate) live: bool,
    pub(crate) subscribers: Vec<SubRef>,
    /// Since when nobody wants it, in nanoseconds.
    pub(crate) idle_since: Option<u64>,
    /// Conflated channels: one entry for each key. Lossless ones: the last, for new sessions.
    pub(crate) latest: Vec<(u64, Entry)>,
    /// Lossless channels and books; and for every channel the gaps.
    pub(crate) log: VecDeque<Entry>,
    log_bytes: usize,
    pub(crate) book: BookState,
    /// Event and receive time of what the book contains last.
    book_times: (u64, u64),
    /// Merged changes and the snapshot, made for the state as it is now.
    merged: Vec<(u64, Arc<Update>)>,
    snapshot: Option<Arc<Update>>,
    /// First stamp that the log still holds everything from.
    log_start: Stamp,
    /// When it last changed.
    pub(crate) stamp: Stamp,
}

/// Merged changes that one state of a book keeps: sessions that lag by the same distance share one.
const MERGED_MAX: usize = 8;

/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 256;

impl Topic {
    pub(crate) fn new(info: Arc<InstrumentInfo>, channel: Channel) -> Self {
        Self {
            info,
            channel,
            epoch: 0,
            sequence: 0,
            live: false,
            subscribers: Vec::new(),
            idle_since: None,
            latest: Vec::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            book: BookState::default(),
            book_times: (0, 0),
            merged: Vec::new(),
            snapshot: None,
            log_start: 0,
            stamp: 0,
        }
    }

    /// Starts, or starts again, from a state. Records that were logged before are no longer a way to it.
    pub(crate) fn restart(&mut self, state: &TopicState, stamp: Stamp) {
        let channel = self.channel;
        self.live = true;
        self.stamp = stamp;
        self.forget_made();
        self.epoch = state.epoch;
        self.sequence = state.sequence;
        if !channel.is_lossless() {
            self.log.retain(|entry| entry.update.is_gap());
            self.log_bytes = self.log.len() * ENTRY_OVERHEAD;
            self.log_start = stamp;
        }
        self.latest.clear();
        self.book.reset();
        for update in &state.records {
            if let (Channel::Book, Body::Book(book)) = (channel, &update.record().body) {
                // A snapshot that does not apply leaves the book unsynced, which is what is asked everywhere below.
                let _ = self.book.apply(state.sequence, book);
                self.book_times = (update.record().event_time, update.record().receive_time);
            } else {
                self.latest.push((key(update), Entry { stamp, update: Arc::clone(update) }));
            }
        }
    }

    /// Takes the next record.
    pub(crate) fn append(&mut self, update: &Arc<Update>, stamp: Stamp, limits: LogLimits) {
        self.stamp = stamp;
        self.forget_made();
        if update.is_gap() {
            self.note_gap(update);
        } else if self.channel == Channel::Book {
            self.apply_book(update.last, update.record());
        } else {
            self.keep_latest(update, stamp);
        }
        if self.channel.is_lossless() || self.channel == Channel::Book || update.is_gap() {
            self.log(Entry { stamp, update: Arc::clone(update) }, limits);
        }
    }

    fn note_gap(&mut self, update: &Update) {
        let restarts = matches!(&update.record().body, Body::Gap(gap) if gap.last_sequence == 0);
        self.epoch = update.epoch;
        self.sequence = if restarts { 0 } else { update.last };
        self.book.reset();
    }

    fn apply_book(&mut self, sequence: u64, record: &Record) {
        if let Body::Book(book) = &record.body {
            // A change that does not apply leaves the book unsynced; the bus side mends it with a snapshot.
            let _ = self.book.apply(sequence, book);
            self.book_times = (record.event_time, record.receive_time);
        }
        self.sequence = sequence;
    }

    fn keep_latest(&mut self, update: &Arc<Update>, stamp: Stamp) {
        self.sequence = update.last;
        let entry = Entry { stamp, update: Arc::clone(update) };
        if self.channel != Channel::Bar {
            if let [(_, latest)] = self.latest.as_mut_slice() {
                *latest = entry;
            } else {
                self.latest = vec![(0, entry)];
            }
            return;
        }
        let key = key(update);
        match self.latest.iter_mut().find(|(known, _)| *known == key) {
            Some((_, latest)) => *latest = entry,
            None => self.latest.push((key, entry)),
        }
    }

    fn log(&mut self, entry: Entry, limits: LogLimits) {
        self.log_bytes += entry_bytes(&entry);
        self.log.push_back(entry);
        while self.log.len() > limits.records || (self.log_bytes > limits.bytes && self.log.len() > 1) {
            let Some(old) = self.log.pop_front() else { break };
            self.log_bytes -= entry_bytes(&old);
            self.log_start = old.stamp + 1;
        }
    }

    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// The log entries after a stamp.
    pub(crate) fn log_after(&self, stamp: Stamp) -> impl Iterator<Item = &Entry> {
        self.log.range(self.log.partition_point(|entry| entry.stamp <= stamp)..)
    }

    /// Whether the log holds everything after a stamp.
    pub(crate) fn log_reaches(&self, stamp: Stamp) -> bool {
        stamp + 1 >= self.log_start
    }

    /// The book as one record. `None` while it is not known.
    pub(crate) fn book_snapshot(&mut self) -> Option<Arc<Update>> {
        if !self.book.is_synced() {
            return None;
        }
        if self.snapshot.is_none() {
            let body = Body::Book(self.book.to_snapshot());
            self.snapshot = Some(self.make(self.sequence, body));
        }
        self.snapshot.clone()
    }

    /// Everything that changed in the book after `sent`, as one record: merged changes, or a snapshot where that is
    /// smaller or the only way. `None` while the book is not known.
    pub(crate) fn book_changes(&mut self, sent: u64, stamp: Stamp) -> Option<Arc<Update>> {
        if !self.book.is_synced() {
            return None;
        }
        if !self.log_reaches(stamp) {
            return self.book_snapshot();
        }
        let mut pending = self.log_after(stamp);
        let first = Arc::clone(&pending.next()?.update);
        let is_only = pending.next().is_none();
        drop(pending);
        if is_only {
            return Some(first);
        }
        if let Some((_, merged)) = self.merged.iter().find(|(from, _)| *from == sent) {
            return Some(Arc::clone(merged));
        }
        let Some(merged) = self.merge(sent, stamp) else { return self.book_snapshot() };
        if self.merged.len() == MERGED_MAX {
            self.merged.clear();
        }
        self.merged.push((sent, Arc::clone(&merged)));
        Some(merged)
    }

    fn merge(&self, sent: u64, stamp: Stamp) -> Option<Arc<Update>> {
        let (mut bids, mut asks) = (BTreeMap::new(), BTreeMap::new());
        for entry in self.log_after(stamp) {
            let Body::Book(book) = &entry.update.record().body else { return None };
            if book.snapshot {
                return None;
            }
            bids.extend(book.bids.iter().map(|level| (level.price, level.size)));
            asks.extend(book.asks.iter().map(|level| (level.price, level.size)));
        }
        if bids.len() + asks.len() > self.book.bids().len() + self.book.asks().len() {
            return None;
        }
        let level = |(&price, &size): (&i64, &u64)| Level { price, size };
        let book = Book {
            snapshot: false,
            first_sequence: sent + 1,
            bids: bids.iter().rev().map(level).collect(),
            asks: asks.iter().map(level).collect(),
            checksum: Some(self.book.checksum()),
        };
        Some(self.make(sent + 1, Body::Book(book)))
    }

    /// A record of this topic as it is now, with the times of the newest one.
    fn make(&self, first: u64, body: Body) -> Arc<Update> {
        let newest = self.log.back().map(|entry| entry.update.record());
        let (event_time, receive_time) =
            newest.map_or((0, 0), |record| (record.event_time, record.receive_time));
        let record =
            Record { instrument: self.info.id, sequence: self.sequence, event_time, receive_time, body };
        Arc::new(Update::from_record(Arc::clone(&self.info), self.epoch, first, record))
    }

    fn forget_made(&mut self) {
        self.merged.clear();
        self.snapshot = None;
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    entry.update.source_bytes() + ENTRY_OVERHEAD
}

/// What "newest" is decided by within a topic.
fn key(update: &Update) -> u64 {
    match &update.record().body {
        Body::Bar(bar) => bar.interval,
        _ => 0,
    }
}
