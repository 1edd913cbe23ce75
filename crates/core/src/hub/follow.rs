//! Following one topic: what is contiguous is passed on, what is lost is announced and repaired.
//!
//! A loss shows as a jump in the sequence numbers, or as a position (from a heartbeat, or from the ingester's
//! response) that lies ahead of what came (see `pending_gaps`).
//!
//! Invariants: the position never goes back within a sequence; while the topic is live, every shard that wants it was
//! told a state, and what follows is told to those only.

use std::sync::Arc;

use tickwire_wire::{Body, BookState, Channel, GapCause, Record};

use super::pending_gaps::{PENDING_GAP_NS, PendingGaps};
use super::responded::Response;
use super::waiting::{Room, Waiting};
use crate::vocabulary::{Event, InstrumentInfo, TopicId, TopicState, Update};

/// Events, each with the shards that it is for, a bit for each.
pub type Out = Vec<(u64, Event)>;

#[derive(Debug)]
enum Phase {
    /// No state is known, or the one that is known is broken; what comes waits.
    Syncing(Waiting),
    Live,
}

/// Whether the ingester's state of the topic is needed, and how far that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    No,
    Due {
        at: u64,
        /// The count of requests in vain.
        attempts: u32,
    },
    Asked {
        /// Tells its response from those to other requests.
        ticket: u64,
        attempts: u32,
        /// Whether it must be asked once more: what happened since may not be in the response.
        again: bool,
    },
}

/// A topic that is followed; see the module.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) info: Arc<InstrumentInfo>,
    pub(crate) channel: Channel,
    /// The shards that want it, a bit for each.
    pub(crate) shards: u64,
    /// Those shards that were told a state.
    told: u64,
    epoch: u64,
    sequence: u64,
    was_live: bool,
    phase: Phase,
    room: Room,
    latest: Vec<(u64, Arc<Update>)>,
    book: BookState,
    /// Event and receive time of the last change that the book contains.
    book_times: (u64, u64),
    /// The time from which on that change has been known, by our clock.
    book_since: u64,
    pending_gaps: PendingGaps,
    pub(crate) ask: Ask,
    /// Whether it is not yet known to be up to date after an outage.
    pub(crate) recovering: bool,
    /// The count of sequence numbers that were lost on the bus since it was last taken.
    pub(crate) lost: u64,
    /// The times for which it stands in the hub's queues of requests and of pending gaps.
    pub(crate) queued: (Option<u64>, Option<u64>),
}

impl Followed {
    pub(crate) fn new(info: Arc<InstrumentInfo>, channel: Channel, room: &Room) -> Self {
        Self {
            info,
            channel,
            shards: 0,
            told: 0,
            epoch: 0,
            sequence: 0,
            was_live: false,
            phase: Phase::Syncing(Waiting::new(room)),
            room: room.clone(),
            latest: Vec::new(),
            book: BookState::new(),
            book_times: (0, 0),
            book_since: 0,
            pending_gaps: PendingGaps::default(),
            ask: Ask::Due { at: 0, attempts: 0 },
            recovering: false,
            lost: 0,
            queued: (None, None),
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    pub(crate) fn was_live(&self) -> bool {
        self.was_live
    }

    /// Returns whether nothing is open: what was passed on is all that there is.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_live() && self.ask == Ask::No && self.pending_gaps.is_empty()
    }

    /// Returns when a pending gap is to be decided.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.pending_gaps.deadline().filter(|_| self.is_live())
    }

    /// Adds a shard that wants it, which is told the state now or as soon as there is one.
    pub(crate) fn want(&mut self, shard: u64, out: &mut Out) {
        self.shards |= shard;
        self.told &= !shard;
        if self.is_live() {
            self.tell_rest(out);
        }
    }

    /// Removes a shard that does not want it any more.
    pub(crate) fn unwant(&mut self, shard: u64) {
        self.shards &= !shard;
        self.told &= !shard;
    }

    /// Tells the state to the shards that were not told any.
    fn tell_rest(&mut self, out: &mut Out) {
        let rest = self.shards & !self.told;
        if rest != 0 {
            out.push((rest, self.state()));
            self.told |= rest;
        }
    }

    fn state(&self) -> Event {
        let records = if self.channel == Channel::Book {
            self.book_record().into_iter().collect()
        } else {
            self.latest.iter().map(|(_, update)| Arc::clone(update)).collect()
        };
        let topic = TopicId::new(self.info.index, self.channel);
        Event::State(Arc::new(TopicState { topic, epoch: self.epoch, sequence: self.sequence, records }))
    }

    fn book_record(&self) -> Option<Arc<Update>> {
        let record = self.book.is_synced().then(|| Record {
            instrument: self.info.id,
            sequence: self.sequence,
            event_time: self.book_times.0,
            receive_time: self.book_times.1,
            body: Body::Book(self.book.to_snapshot()),
        })?;
        let update = Update::from_record(Arc::clone(&self.info), self.epoch, self.sequence, record);
        Some(Arc::new(update.dated(self.book_since)))
    }

    /// Asks for the ingester's state; a response that is on its way may be too old.
    pub(crate) fn ask_now(&mut self) {
        match &mut self.ask {
            Ask::No => self.ask = Ask::Due { at: 0, attempts: 0 },
            Ask::Due { .. } => {}
            Ask::Asked { again, .. } => *again = true,
        }
    }

    /// Asks as [`Followed::ask_now`] does, and whatever made earlier requests fail is over.
    pub(crate) fn ask_anew(&mut self) {
        self.ask_now();
        if let Ask::Due { at, attempts } = &mut self.ask {
            (*at, *attempts) = (0, 0);
        }
    }

    /// Returns whether it was asked for in vain and will be again.
    pub(crate) fn is_waiting(&self) -> bool {
        matches!(self.ask, Ask::Due { attempts: 1.., .. })
    }

    /// Takes the next record.
    pub(crate) fn on_update(&mut self, update: Arc<Update>, out: &mut Out) {
        if let Phase::Syncing(buffer) = &mut self.phase {
            buffer.push(update);
            return;
        }
        if update.epoch != self.epoch {
            self.renumber(update.epoch, out);
        }
        if update.last <= self.sequence {
            return;
        }
        let is_book = self.channel == Channel::Book;
        let is_jump = update.first > self.sequence + 1;
        // The lost record may be the newest that there is: of another conflation key, or where this one is a gap and thus no
        // newest at all. Trades have no newest, and a book says by itself that it does not follow.
        let may_hide_newest = match self.channel {
            Channel::Trade | Channel::Book => false,
            channel => channel.is_keyed() || update.is_gap(),
        };
        if is_jump && may_hide_newest {
            self.resync(Some(update));
            return;
        }
        if is_jump && is_book {
            self.lose(update.first - 1, out);
        }
        if is_book && !self.book.is_synced() {
            // Every record of a book is decoded already.
            let is_start = matches!(&update.record().body, Body::Book(book) if book.snapshot);
            if !is_start && !update.is_gap() {
                self.resync(Some(update));
                return;
            }
        }
        self.append(&update, out);
    }

    /// Passes on the next record; what lies between it and the one before was lost.
    fn append(&mut self, update: &Arc<Update>, out: &mut Out) {
        if update.last <= self.sequence {
            return;
        }
        let expected = self.sequence + 1;
        if update.first > expected {
            if self.channel.is_lossless() {
                self.lose(update.first - 1, out);
            } else {
                self.lost += update.first - expected;
            }
        }
        let update = if update.first < expected { self.cut(update) } else { Arc::clone(update) };
        self.sequence = update.last;
        if update.is_gap() {
            self.forget_state();
        } else if self.channel == Channel::Book
            && let Body::Book(book) = &update.record().body
        {
            (self.book_times, self.book_since) = (times(&update), update.known_since());
            if self.book.apply(update.last, book).is_err() {
                // The ingester contradicts itself: the record is announced as lost, and the state asked for again.
                self.sequence = update.first - 1;
                self.lose(update.last, out);
                self.resync(None);
                return;
            }
        } else {
            self.keep_latest(&update);
        }
        self.pending_gaps.settle((self.epoch, self.sequence));
        self.say(Event::Update(update), out);
    }

    /// Makes a gap without the sequence numbers that are known already.
    fn cut(&self, update: &Update) -> Arc<Update> {
        let cause = match &update.record().body {
            Body::Gap(gap) => gap.cause(),
            _ => GapCause::Bus,
        };
        let info = Arc::clone(&self.info);
        Arc::new(Update::gap(info, self.channel, cause, self.sequence + 1, update.last, self.epoch))
    }

    fn say(&self, event: Event, out: &mut Out) {
        if self.told != 0 {
            out.push((self.told, event));
        }
    }

    /// Forgets the state of a book or of a conflated channel after a loss: what was lost cannot be told from what is
    /// known, so there is no state until the ingester tells it anew.
    fn forget_state(&mut self) {
        self.book.reset();
        if !self.channel.is_lossless() {
            self.latest.clear();
        }
    }

    fn keep_latest(&mut self, update: &Arc<Update>) {
        // A record without a key is not decoded for it: that would be a second time, and kept with the update.
        let key = if self.channel.is_keyed() { update.record().conflation_key() } else { 0 };
        match self.latest.iter_mut().find(|(known, _)| *known == key) {
            Some((_, latest)) => *latest = Arc::clone(update),
            None => self.latest.push((key, Arc::clone(update))),
        }
    }

    /// Announces that the sequence starts again.
    fn renumber(&mut self, epoch: u64, out: &mut Out) {
        let info = Arc::clone(&self.info);
        let gap =
            Update::gap(info, self.channel, GapCause::Ingest, self.sequence.saturating_add(1), 0, epoch);
        self.say(Event::Update(Arc::new(gap)), out);
        self.epoch = epoch;
        self.sequence = 0;
        self.latest.clear();
        self.book.reset();
        self.pending_gaps.settle((epoch, 0));
    }

    /// Announces the sequence numbers up to this one as lost on the bus.
    fn lose(&mut self, last: u64, out: &mut Out) {
        let (info, first) = (Arc::clone(&self.info), self.sequence.saturating_add(1));
        let gap = Update::gap(info, self.channel, GapCause::Bus, first, last, self.epoch);
        self.say(Event::Update(Arc::new(gap)), out);
        self.lost += last - self.sequence;
        self.sequence = last;
        self.forget_state();
        self.pending_gaps.settle((self.epoch, last));
    }

    fn resync(&mut self, first: Option<Arc<Update>>) {
        let mut waiting = Waiting::new(&self.room);
        if let Some(update) = first {
            waiting.push(update);
        }
        self.phase = Phase::Syncing(waiting);
        self.ask_now();
    }

    /// Notes how far the topic is, as the followed run says.
    pub(crate) fn on_position(&mut self, epoch: u64, number: u64, now: u64) {
        if epoch != self.epoch || number > self.sequence {
            self.pending_gaps.add((epoch, number), now);
        }
    }

    /// Follows another run from now on: what waits is of the one before, and its state is needed anew.
    pub(crate) fn on_takeover(&mut self) {
        self.pending_gaps.clear();
        if let Phase::Syncing(buffer) = &mut self.phase {
            buffer.clear();
        }
        self.ask_anew();
    }

    /// Turns pending gaps that stood long enough into losses.
    pub(crate) fn on_time(&mut self, now: u64, out: &mut Out) {
        while self.is_live()
            && let Some((epoch, number)) = self.pending_gaps.take_due(now)
        {
            if epoch != self.epoch {
                self.renumber(epoch, out);
            }
            if number <= self.sequence {
                continue;
            }
            // The last record of a critical channel is still to come, so it is not announced as lost before it was
            // asked for.
            if !self.channel.is_critical() {
                self.lose(number, out);
            }
            if self.channel != Channel::Trade {
                self.resync(None);
            }
        }
    }

    /// Takes the response of the followed run.
    pub(crate) fn on_response(&mut self, response: Response, now: u64, out: &mut Out) {
        let is_again = matches!(self.ask, Ask::Asked { again: true, .. });
        self.ask = if is_again { Ask::Due { at: 0, attempts: 0 } } else { Ask::No };
        let is_new_epoch = response.epoch != self.epoch;
        if !self.is_live() && !is_new_epoch && response.sequence < self.sequence {
            // The response is from before the loss.
            if !is_again {
                self.ask = Ask::Due { at: now + PENDING_GAP_NS, attempts: 0 };
            }
            return;
        }
        if self.is_live() {
            let is_book = self.channel == Channel::Book;
            if !is_new_epoch && response.sequence <= self.sequence {
                return;
            }
            if self.channel.is_lossless() || (is_book && !is_new_epoch) {
                // The records are on their way, or lost.
                self.on_position(response.epoch, response.sequence, now);
                return;
            }
        }
        if self.was_live && is_new_epoch {
            self.renumber(response.epoch, out);
        }
        if self.was_live && self.channel.is_lossless() {
            self.catch_up(&response, out);
        } else {
            self.load(response, out);
        }
    }

    /// Announces what did not come by now as lost, up to the last sequence number of the topic: its instrument ends.
    pub(crate) fn on_end(&mut self, epoch: u64, last: u64, out: &mut Out) {
        if !self.was_live {
            // Nobody was told anything of it.
            return;
        }
        let waiting = self.go_live();
        if epoch != self.epoch {
            self.renumber(epoch, out);
        }
        if self.channel.is_lossless() {
            for update in waiting.iter().filter(|update| update.epoch == epoch) {
                self.append(update, out);
            }
        }
        if last > self.sequence {
            self.lose(last, out);
        }
    }

    /// Notes that there is no such topic, as the ingester says. What was told of it under an older sequence is taken
    /// back.
    pub(crate) fn on_refusal(&mut self, epoch: u64, out: &mut Out) {
        if self.was_live && epoch != self.epoch {
            self.renumber(epoch, out);
            self.phase = Phase::Syncing(Waiting::new(&self.room));
        }
    }

    /// Announces what a lossless channel missed; the last record, where it is a state, is passed on.
    fn catch_up(&mut self, response: &Response, out: &mut Out) {
        let buffer = self.go_live();
        let mut buffer = buffer.into_iter().filter(|update| update.epoch == response.epoch).peekable();
        let states = if self.channel.is_critical() { &response.records[..] } else { &[] };
        for record in states {
            while let Some(update) = buffer.next_if(|u| u.last < record.last) {
                self.append(&update, out);
            }
            self.append(record, out);
        }
        while let Some(update) = buffer.next_if(|u| u.last <= response.sequence) {
            self.append(&update, out);
        }
        if response.sequence > self.sequence {
            self.lose(response.sequence, out);
        }
        self.tell_rest(out);
        for update in buffer {
            self.on_update(update, out);
        }
    }

    /// Starts from the state in the response, then goes on with what came meanwhile.
    fn load(&mut self, response: Response, out: &mut Out) {
        let buffer = self.go_live();
        self.was_live = true;
        self.epoch = response.epoch;
        self.sequence = response.sequence;
        self.latest.clear();
        self.book = response.book;
        for update in &response.records {
            if self.channel == Channel::Book {
                (self.book_times, self.book_since) = (times(update), update.known_since());
            } else {
                self.keep_latest(update);
            }
        }
        self.pending_gaps.settle((self.epoch, self.sequence));
        self.told = 0;
        self.tell_rest(out);
        for update in buffer {
            self.on_update(update, out);
        }
    }

    fn go_live(&mut self) -> Vec<Arc<Update>> {
        match std::mem::replace(&mut self.phase, Phase::Live) {
            Phase::Syncing(buffer) => buffer.take(),
            Phase::Live => Vec::new(),
        }
    }
}

fn times(update: &Update) -> (u64, u64) {
    let record = update.record();
    (record.event_time, record.receive_time)
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
