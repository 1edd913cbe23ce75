//! One (instrument, channel) at a shard: the newest state, the recent records, and who wants them.

use std::collections::VecDeque;
use std::mem::offset_of;
use std::sync::Arc;

use tickwire_wire::{Body, Book, BookState, Channel, GapCause, Level, Record};

use super::encoded_log::EncodedLog;
use super::entry::{Entry, Stamp};
use super::key::Subscriber;
use super::late::Late;
use super::log_budget::Weighed;
use crate::vocabulary::{Form, InstrumentInfo, TopicId, TopicState, Update};

/// The most records, and the most bytes of them, that one topic keeps for slow and returning sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogLimits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Subscribers that take a topic in one form.
#[derive(Debug)]
struct Takers {
    form: Form,
    count: u32,
    /// The log of a lossless channel in this form.
    encoded_log: Option<Box<EncodedLog>>,
}

/// One topic. The fields are in order of use: what a delivery reads is in the first cache line, what a record changes in the first three.
/// The system calls between two rounds empty the near caches.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Topic {
    /// The newest entry of each conflation key, in order of arrival. On a lossless channel it is the last record, for
    /// new sessions; a book has none.
    pub(crate) latest: Vec<(u64, Entry)>,
    /// The recent records of lossless channels and books, and for every channel the gaps.
    pub(crate) log: VecDeque<Entry>,
    pub(crate) channel: Channel,
    /// Whether each record is owed: asked for each delivery, so it is not looked up in the channel's row.
    pub(crate) is_lossless: bool,
    pub(crate) live: bool,
    pub(crate) subscribers: Vec<Subscriber>,
    /// When it last changed.
    pub(crate) stamp: Stamp,
    pub(crate) epoch: u64,
    /// Last sequence number that passed.
    pub(crate) sequence: u64,
    /// The views that are made of it, a bit for each.
    pub(crate) views: u64,
    /// The stamp from which on the log holds everything.
    log_start: Stamp,
    /// Merged changes that were made for the state as it is now, and the snapshot.
    merged: Vec<(u64, Arc<Update>)>,
    log_bytes: usize,
    /// The part of the budget of all logs that it counts for.
    pub(crate) weighed: Weighed,
    /// The forms in which its subscribers take it.
    takers: Vec<Takers>,
    snapshot: Option<Arc<Update>>,
    /// The count of entries that were cut off the log.
    cut: u64,
    /// The places of gaps in the log of a lossless channel, counted from the first entry that ever was in it.
    breaks: VecDeque<u64>,
    pub(crate) book: BookState,
    /// Event and receive time of the last change that the book contains.
    book_times: (u64, u64),
    /// The last stamp of the state from which it started, and the time from which on its book was known, by the clock of this gateway.
    started: (Stamp, u64),
    pub(crate) info: Arc<InstrumentInfo>,
    /// When its sequence began, or this topic did.
    sequence_began_at: Stamp,
    /// The time since which nobody wants it, in nanoseconds.
    pub(crate) idle_since: Option<u64>,
    /// Whether it stands among the topics that are looked at when they have been idle for long.
    pub(crate) is_listed: bool,
    /// When the last gap arrived.
    broken: Stamp,
    /// Whether it is a book that was given up because all books together were too large.
    pub(crate) is_given_up: bool,
    /// The progress of a delayed view; a live topic has none.
    pub(crate) late: Option<Box<Late>>,
    /// The most levels of each side, of a book to a depth.
    pub(crate) depth: u32,
}

const _: () = assert!(
    offset_of!(Topic, subscribers) == 64 && offset_of!(Topic, merged) == 128,
    "a field was added to what a delivery reads or a record changes"
);

/// Most merged changes that one state of a book keeps: sessions that lag by the same distance share one.
const MERGED_MAX: usize = 8;

/// Most conflation keys of one topic: no venue has as many intervals of bars.
const KEYS_MAX: usize = 64;

/// Most gaps that stay in the log of a conflated channel or a book: a session that is behind by more learns from the
/// next record that the sequence is another one.
const GAPS_MAX: usize = 8;

/// So many entries from the end are looked at one by one before the whole log is searched.
const NEAR: usize = 8;

impl Topic {
    pub(crate) fn new(info: Arc<InstrumentInfo>, channel: Channel) -> Self {
        Self {
            info,
            channel,
            is_lossless: channel.is_lossless(),
            epoch: 0,
            sequence: 0,
            live: false,
            views: 0,
            subscribers: Vec::new(),
            idle_since: None,
            latest: Vec::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            cut: 0,
            breaks: VecDeque::new(),
            takers: Vec::new(),
            is_listed: false,
            sequence_began_at: 0,
            weighed: Weighed::default(),
            book: BookState::default(),
            book_times: (0, 0),
            started: (0, 0),
            merged: Vec::new(),
            snapshot: None,
            log_start: 0,
            broken: 0,
            stamp: 0,
            is_given_up: false,
            late: None,
            depth: u32::MAX,
        }
    }

    /// Returns whether nobody has it: neither a subscriber nor a view.
    pub(crate) fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.views == 0
    }

    /// Returns the state from which another view of it may start.
    pub(crate) fn state(&self, id: TopicId) -> TopicState {
        let records = if self.channel == Channel::Book {
            // It has been so since the last change came, or since the state did from which it started.
            let change = self.log.back().filter(|entry| !entry.is_gap);
            let at_start = if self.stamp == self.started.0 { self.started.1 } else { 0 };
            let since = change.map_or(at_start, |entry| entry.update.known_since());
            let is_known = self.book.is_synced();
            let book = is_known.then(|| self.make(self.sequence, Body::Book(self.book.to_snapshot())));
            book.map(|book| Arc::new(book.dated(since))).into_iter().collect()
        } else {
            let current = self.latest.iter().filter(|(_, entry)| entry.stamp > self.broken);
            current.map(|(_, entry)| Arc::clone(&entry.update)).collect()
        };
        TopicState { topic: id, epoch: self.epoch, sequence: self.sequence, records }
    }

    /// Starts, or starts again, from a state, whose records arrive one after another now. Changes of a book that were
    /// logged before are no longer a way to it. What it passes over was lost for this cause.
    pub(crate) fn restart(
        &mut self,
        state: &TopicState,
        cause: GapCause,
        stamp: &mut Stamp,
        limits: LogLimits,
    ) {
        if self.live {
            self.note_jump(state, cause, stamp, limits);
        }
        *stamp += 1;
        (self.live, self.is_given_up) = (true, false);
        self.forget_made();
        self.begin_sequence(state.epoch, *stamp);
        self.sequence = state.sequence;
        if self.channel == Channel::Book {
            self.forget_changes(*stamp);
        }
        let before = std::mem::take(&mut self.latest);
        let mut records: Vec<_> = state.records.iter().collect();
        records.sort_by_key(|update| update.last);
        for update in records {
            if self.channel == Channel::Book {
                // What is no book is no state of one.
                let Body::Book(book) = &update.record().body else { continue };
                // A snapshot that does not apply leaves the book unsynced, and everything below asks for that.
                let _ = self.book.apply(state.sequence, book);
                self.book_times = (update.record().event_time, update.record().receive_time);
                self.started.1 = update.known_since();
            } else {
                *stamp += 1;
                self.keep_latest(update, self.arrival(&before, update).unwrap_or(*stamp));
            }
        }
        self.latest.sort_by_key(|(_, entry)| entry.stamp);
        self.stamp = *stamp;
        self.started.0 = *stamp;
    }

    /// Returns when a record of a state arrived before, so that nobody gets it twice. After a gap it is sent once
    /// more: until then it counts as lost.
    fn arrival(&self, before: &[(u64, Entry)], update: &Update) -> Option<Stamp> {
        let is_it = |entry: &&Entry| {
            (entry.update.epoch, entry.update.last) == (update.epoch, update.last) && !entry.update.is_gap()
        };
        let known = before.iter().map(|(_, entry)| entry).find(is_it)?.stamp;
        self.log.back().is_none_or(|last| last.stamp <= known).then_some(known)
    }

    /// Announces what a state passes over without a gap before it: two interests for a topic may overtake each other, and
    /// the newest that an ingester knows may be a gap.
    fn note_jump(&mut self, state: &TopicState, cause: GapCause, stamp: &mut Stamp, limits: LogLimits) {
        let mut note = |topic: &mut Self, cause, last| {
            *stamp += 1;
            let info = Arc::clone(&topic.info);
            let gap = Update::gap(info, topic.channel, cause, topic.sequence + 1, last, state.epoch);
            topic.append(&Arc::new(gap), *stamp, limits);
        };
        if state.epoch != self.epoch {
            note(self, GapCause::Ingest, 0);
        }
        if state.sequence > self.sequence && (self.is_lossless || state.records.is_empty()) {
            note(self, cause, state.sequence);
        }
    }

    /// Takes the next record.
    pub(crate) fn append(&mut self, update: &Arc<Update>, stamp: Stamp, limits: LogLimits) {
        self.stamp = stamp;
        self.forget_made();
        let is_logged = self.is_lossless || self.channel == Channel::Book;
        let epoch_before = self.epoch;
        let is_gap = update.is_gap();
        if is_gap {
            self.note_gap(update, stamp);
        } else {
            self.sequence = update.last;
            if self.channel == Channel::Book {
                self.apply_book(update);
            } else {
                self.keep_latest(update, stamp);
            }
        }
        if is_logged || is_gap {
            self.log(Entry::new(stamp, update, epoch_before), limits);
        }
    }

    fn note_gap(&mut self, update: &Update, stamp: Stamp) {
        self.begin_sequence(update.epoch, stamp);
        self.sequence = update.last;
        self.broken = stamp;
        if update.last == 0 {
            self.latest.clear();
        }
        if self.channel == Channel::Book {
            self.forget_changes(stamp);
        }
    }

    fn begin_sequence(&mut self, epoch: u64, stamp: Stamp) {
        if self.epoch != epoch {
            (self.epoch, self.sequence_began_at) = (epoch, stamp);
        }
    }

    fn apply_book(&mut self, update: &Update) {
        if let Body::Book(book) = &update.record().body {
            // A change that does not apply leaves the book unsynced; the bus side mends it with a snapshot.
            let _ = self.book.apply(update.last, book);
            self.book_times = (update.record().event_time, update.record().receive_time);
        }
    }

    /// Forgets the changes of a book; only gaps stay. Nothing that was logged before leads to what comes.
    fn forget_changes(&mut self, stamp: Stamp) {
        self.book.reset();
        self.log.retain(|entry| entry.update.is_gap());
        self.log_bytes = self.log.iter().map(|entry| entry.bytes).sum();
        self.log_start = stamp + 1;
    }

    fn keep_latest(&mut self, update: &Arc<Update>, stamp: Stamp) {
        let entry = Entry::new(stamp, update, self.epoch);
        if !self.channel.is_keyed() {
            self.latest.clear();
            self.latest.push((0, entry));
            return;
        }
        let key = update.record().conflation_key();
        self.latest.retain(|(known, _)| *known != key);
        if self.latest.len() == KEYS_MAX {
            self.latest.remove(0);
        }
        self.latest.push((key, entry));
    }

    fn log(&mut self, entry: Entry, limits: LogLimits) {
        self.log_bytes += entry.bytes;
        if entry.is_gap && self.is_lossless {
            self.breaks.push_back(self.cut + self.log.len() as u64);
        }
        for Takers { form, encoded_log, .. } in &mut self.takers {
            if let Some(encoded_log) = encoded_log {
                encoded_log.push(if entry.is_gap { &[] } else { entry.update.bytes(form) });
            }
        }
        let is_gap = entry.is_gap;
        self.log.push_back(entry);
        if is_gap && !self.is_lossless {
            // Behind a gap a log of conflated records holds nothing but gaps.
            while self.log.len() > GAPS_MAX {
                self.cut_oldest();
            }
        }
        while self.log.len() > limits.records.max(1) || (self.log_bytes > limits.bytes && self.log.len() > 1)
        {
            self.cut_oldest();
        }
    }

    /// Forgets the oldest record of the log. Who still waits for it is told that it was shed.
    pub(crate) fn cut_oldest(&mut self) {
        if let Some(old) = self.log.pop_front() {
            self.log_bytes -= old.bytes;
            self.cut += 1;
            self.breaks.pop_front_if(|at| *at < self.cut);
            let logs = self.takers.iter_mut().filter_map(|takers| takers.encoded_log.as_deref_mut());
            logs.for_each(|encoded_log| encoded_log.cut(self.cut));
            // Gaps stay in the log when it starts again; to cut them off does not bring back what was before.
            self.log_start = self.log_start.max(old.stamp + 1);
        }
    }

    /// Returns the bytes of so many of the newest entries of the log.
    pub(crate) fn newest_bytes(&self, count: usize) -> usize {
        self.log.iter().rev().take(count).map(|entry| entry.bytes).sum()
    }

    pub(crate) fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// Returns whether nothing was logged after a stamp: the usual case of conflated channels, whose logs hold gaps
    /// only.
    #[inline]
    pub(crate) fn is_logged_up_to(&self, stamp: Stamp) -> bool {
        self.log.back().is_none_or(|last| last.stamp <= stamp)
    }

    /// Returns the first entry of the current sequence that goes beyond a sequence number.
    pub(crate) fn logged_behind(&self, number: u64) -> Option<&Entry> {
        let begin = self.log.partition_point(|entry| entry.stamp < self.sequence_began_at);
        let (mut low, mut high) = (begin, self.log.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.log[middle].update.last > number {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        self.log.get(low)
    }

    /// Returns the log entries after a stamp.
    pub(crate) fn log_after(&self, stamp: Stamp) -> impl Iterator<Item = &Entry> {
        self.log_last(self.logged_after(stamp))
    }

    /// Returns the first log entry after a stamp.
    #[inline]
    pub(crate) fn next_after(&self, stamp: Stamp) -> Option<&Entry> {
        self.log.get(self.log.len() - self.logged_after(stamp))
    }

    /// Returns how many log entries there are after a stamp.
    #[inline]
    pub(crate) fn logged_after(&self, stamp: Stamp) -> usize {
        let length = self.log.len();
        // As a rule the stamp is near the end.
        for near in 0..NEAR.min(length) {
            if self.log[length - 1 - near].stamp <= stamp {
                return near;
            }
        }
        length - self.log.partition_point(|entry| entry.stamp <= stamp)
    }

    /// Returns how many log entries there are after the stamp at which a subscription stands that was sent all sequence numbers up to
    /// `sent`. As a rule each of them is one sequence number, and then none is searched for.
    #[inline]
    pub(crate) fn waiting(&self, stamp: Stamp, sent: u64) -> usize {
        let count = self.sequence.wrapping_sub(sent) as usize;
        let is_after = |at: usize| self.log.get(at).is_none_or(|entry| entry.stamp > stamp);
        match self.log.len().checked_sub(count) {
            Some(at) if is_after(at) && (at == 0 || !is_after(at - 1)) => count,
            _ => self.logged_after(stamp),
        }
    }

    /// Returns the last entries of the log.
    #[inline]
    pub(crate) fn log_last(&self, count: usize) -> impl Iterator<Item = &Entry> {
        self.log.range(self.log.len() - count..)
    }

    /// Notes one more subscriber with this form. On a lossless channel what is logged from now on is put in an encoded log,
    /// too.
    pub(crate) fn begin_taking(&mut self, form: &Form) {
        if let Some(takers) = self.takers.iter_mut().find(|takers| takers.form == *form) {
            takers.count += 1;
            return;
        }
        let next = self.cut + self.log.len() as u64;
        let encoded_log = self.is_lossless.then(|| Box::new(EncodedLog::new(next)));
        // Most topics are taken in one form.
        self.takers.reserve_exact(1);
        self.takers.push(Takers { form: *form, count: 1, encoded_log });
    }

    /// Notes one subscriber less with this form. After the last one nothing is encoded so any more.
    pub(crate) fn end_taking(&mut self, form: &Form) {
        let Some(at) = self.takers.iter().position(|takers| takers.form == *form) else { return };
        self.takers[at].count -= 1;
        if self.takers[at].count == 0 {
            self.takers.swap_remove(at);
        }
    }

    fn encoded_log(&self, form: &Form) -> Option<&EncodedLog> {
        self.takers.iter().find(|takers| takers.form == *form)?.encoded_log.as_deref()
    }

    /// Returns whether what is logged is put in an encoded log in this form.
    pub(crate) fn has_encoded_log(&self, form: &Form) -> bool {
        self.encoded_log(form).is_some()
    }

    /// Returns the bytes of the log's records from an index on and in front of a gap, the last of which begins within
    /// `room` bytes, and the index behind them. `None` where the first is not in an encoded log.
    pub(crate) fn stretch(&self, index: usize, room: usize, form: &Form) -> Option<(&[u8], usize)> {
        let from = self.cut + index as u64;
        let end = self.cut + self.log.len() as u64;
        // There is a gap in few logs.
        let gap = if self.breaks.is_empty() { end } else { self.next_break(from).unwrap_or(end) };
        let (bytes, count) = self.encoded_log(form)?.stretch(from, gap, room)?;
        Some((bytes, index + count as usize))
    }

    #[inline(never)]
    fn next_break(&self, from: u64) -> Option<u64> {
        self.breaks.get(self.breaks.partition_point(|at| *at < from)).copied()
    }

    /// Returns the first of the newest records that arrived after a stamp.
    pub(crate) fn latest_after(&self, stamp: Stamp) -> Option<&Entry> {
        self.latest.iter().map(|(_, entry)| entry).find(|entry| entry.stamp > stamp)
    }

    /// Returns the oldest of the newest records that no gap came after. What came before a gap is owed to those who
    /// wait for it, and is no state for anybody new: what was lost may be newer.
    pub(crate) fn oldest_current(&self) -> Option<&Entry> {
        self.latest_after(self.broken)
    }

    /// Returns whether the log holds everything after a stamp.
    pub(crate) fn log_reaches(&self, stamp: Stamp) -> bool {
        stamp + 1 >= self.log_start
    }

    /// Returns the book as one record; `None` while it is not known.
    pub(crate) fn book_snapshot(&mut self) -> Option<Arc<Update>> {
        if !self.book.is_synced() {
            return None;
        }
        if self.snapshot.is_none() {
            let body = Body::Book(self.book.to_snapshot());
            self.snapshot = Some(Arc::new(self.make(self.sequence, body)));
        }
        self.snapshot.clone()
    }

    /// Returns everything that changed in the book after a stamp, behind the sequence number `sent`, as one record: merged changes, or a
    /// snapshot where that is smaller or the only way. `None` while the book is not known.
    pub(crate) fn book_changes(&mut self, stamp: Stamp, sent: u64) -> Option<Arc<Update>> {
        if !self.book.is_synced() {
            return None;
        }
        if !self.log_reaches(stamp) {
            return self.book_snapshot();
        }
        if let Some(made) = self.made_changes(stamp, sent) {
            return Some(Arc::clone(made));
        }
        let first = self.next_after(stamp)?.update.first;
        let merged = self.merge(first, stamp).or_else(|| self.book_snapshot())?;
        // All merged changes together stay no larger than the book is.
        let levels = |update: &Update| match &update.record().body {
            Body::Book(book) => book.bids.len() + book.asks.len(),
            _ => 0,
        };
        let kept: usize = self.merged.iter().map(|(_, merged)| levels(merged)).sum();
        let most = self.book.bids().len() + self.book.asks().len();
        if self.merged.len() == MERGED_MAX || kept + levels(&merged) > most {
            self.merged.clear();
        }
        self.merged.push((first, Arc::clone(&merged)));
        Some(merged)
    }

    /// Returns the changes of a book after a stamp, behind the sequence number `sent`, where they are one record that is there already: the
    /// only one, or one that was merged before. A log that reaches back so far has no gap behind that stamp.
    pub(crate) fn made_changes(&self, stamp: Stamp, sent: u64) -> Option<&Arc<Update>> {
        if !self.book.is_synced() || !self.log_reaches(stamp) {
            return None;
        }
        let count = self.waiting(stamp, sent);
        let first = &self.log.get(self.log.len() - count)?.update;
        if count == 1 {
            return Some(first);
        }
        self.merged.iter().find(|(from, _)| *from == first.first).map(|(_, merged)| merged)
    }

    fn merge(&self, first: u64, stamp: Stamp) -> Option<Arc<Update>> {
        let (mut bids, mut asks) = (Vec::new(), Vec::new());
        for entry in self.log_after(stamp) {
            let Body::Book(book) = &entry.update.record().body else { return None };
            if book.snapshot {
                return None;
            }
            bids.extend_from_slice(&book.bids);
            asks.extend_from_slice(&book.asks);
        }
        keep_newest(&mut bids);
        keep_newest(&mut asks);
        asks.reverse();
        if bids.len() + asks.len() > self.book.bids().len() + self.book.asks().len() {
            return None;
        }
        let checksum = Some(self.book.checksum());
        let book = Book { snapshot: false, first_sequence: first, bids, asks, checksum };
        Some(Arc::new(self.make(first, Body::Book(book))))
    }

    /// Makes a record of the book as it is now, or of what leads to it.
    pub(super) fn make(&self, first: u64, body: Body) -> Update {
        let (event_time, receive_time) = self.book_times;
        let record =
            Record { instrument: self.info.id, sequence: self.sequence, event_time, receive_time, body };
        Update::from_record(Arc::clone(&self.info), self.epoch, first, record)
    }

    /// Forgets the book with all its levels; it is not followed before the topic starts again.
    pub(crate) fn give_up_book(&mut self) {
        self.book = BookState::default();
        (self.live, self.is_given_up) = (false, true);
        self.forget_made();
    }

    fn forget_made(&mut self) {
        self.merged.clear();
        self.snapshot = None;
    }
}

/// Keeps of the levels with one price, in order of arrival, the last one. The highest price then comes first.
fn keep_newest(levels: &mut Vec<Level>) {
    levels.sort_by_key(|level| level.price);
    levels.reverse();
    levels.dedup_by_key(|level| level.price);
}
