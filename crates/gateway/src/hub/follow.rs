//! Following one topic: what is contiguous is passed on, what is lost is announced and repaired.
//!
//! Loss shows as a jump in the numbers of what comes, or as a position (from a beat, or from the ingester's answer)
//! that lies ahead of what came. A position may overtake records that are still on their way, so it counts as loss
//! only when the records did not come within [`SUSPICION_NS`].

use std::sync::Arc;

use tickwire_wire::{Body, BookState, Channel, GapCause};

use crate::engine::{Event, InstrumentInfo, TopicId, TopicState, Update};

/// How long records may lag behind a position that names them.
pub(crate) const SUSPICION_NS: u64 = 300_000_000;

/// Records that wait for a state, at most: what comes beyond makes the state be asked for again.
const BUFFER_MAX: usize = 4096;

/// What the ingester answered about a topic.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) records: Vec<Arc<Update>>,
}

#[derive(Debug)]
enum Phase {
    /// No state is known, or the one that is known is broken; what comes waits.
    Syncing(Vec<Arc<Update>>),
    Live,
}

#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) info: Arc<InstrumentInfo>,
    pub(crate) channel: Channel,
    /// Shards that want it, a bit each.
    pub(crate) shards: u64,
    epoch: u64,
    sequence: u64,
    was_live: bool,
    phase: Phase,
    latest: Vec<(u64, Arc<Update>)>,
    book: BookState,
    /// Event and receive time of what the book contains last.
    book_times: (u64, u64),
    /// A position ahead of what came: epoch, number, since when.
    suspicion: Option<(u64, u64, u64)>,
    /// The ingester was asked for its state, or must be.
    pub(crate) ask: Ask,
    /// It is being brought up to date after an outage.
    pub(crate) recovering: bool,
    /// Numbers that were lost on the bus.
    pub(crate) lost: u64,
}

/// Whether the ingester's state of the topic is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    No,
    /// To be asked at this time; with how many attempts before.
    Due(u64, u32),
    /// Asked; with how many attempts before.
    Asked(u32),
}

impl Followed {
    pub(crate) fn new(info: Arc<InstrumentInfo>, channel: Channel) -> Self {
        Self {
            info,
            channel,
            shards: 0,
            epoch: 0,
            sequence: 0,
            was_live: false,
            phase: Phase::Syncing(Vec::new()),
            latest: Vec::new(),
            book: BookState::new(),
            book_times: (0, 0),
            suspicion: None,
            ask: Ask::Due(0, 0),
            recovering: false,
            lost: 0,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// Nothing is open: what was passed on is all that there is.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_live() && self.ask == Ask::No && self.suspicion.is_none()
    }

    /// Its state for a shard that starts to want it.
    pub(crate) fn state(&self) -> Event {
        let records = if self.channel == Channel::Book && self.book.is_synced() {
            let body = Body::Book(self.book.to_snapshot());
            let record = tickwire_wire::Record {
                instrument: self.info.id,
                sequence: self.sequence,
                event_time: self.book_times.0,
                receive_time: self.book_times.1,
                body,
            };
            vec![Arc::new(Update::from_record(Arc::clone(&self.info), self.epoch, self.sequence, record))]
        } else {
            self.latest.iter().map(|(_, update)| Arc::clone(update)).collect()
        };
        let topic = TopicId::new(self.info.index, self.channel);
        Event::State(Arc::new(TopicState { topic, epoch: self.epoch, sequence: self.sequence, records }))
    }

    /// The ingester's state is needed now.
    pub(crate) fn ask_now(&mut self) {
        if self.ask == Ask::No {
            self.ask = Ask::Due(0, 0);
        }
    }

    /// A record came.
    pub(crate) fn on_update(&mut self, update: Arc<Update>, out: &mut Vec<Event>) {
        if let Phase::Syncing(buffer) = &mut self.phase {
            if buffer.len() == BUFFER_MAX {
                buffer.clear();
            }
            buffer.push(update);
            return;
        }
        self.advance(&update, out);
    }

    fn advance(&mut self, update: &Arc<Update>, out: &mut Vec<Event>) {
        if update.epoch < self.epoch {
            return;
        }
        let is_book = self.channel == Channel::Book;
        if update.epoch > self.epoch {
            self.renumber(update.epoch, out);
        }
        let expected = self.sequence + 1;
        if update.last < expected {
            return;
        }
        let is_snapshot = is_book && matches!(&update.record().body, Body::Book(book) if book.snapshot);
        if update.first > expected && (is_book || self.channel.is_lossless()) {
            self.lose(expected, update.first - 1, out);
        } else if update.first > expected {
            self.lost += update.first - expected;
        }
        let continues = is_snapshot || update.is_gap() || self.book.is_synced();
        if is_book && !continues {
            self.resync(vec![Arc::clone(update)]);
            return;
        }
        self.accept(update, out);
    }

    fn accept(&mut self, update: &Arc<Update>, out: &mut Vec<Event>) {
        self.sequence = update.last;
        if update.is_gap() {
            self.book.reset();
        } else if let (Channel::Book, Body::Book(book)) = (self.channel, &update.record().body) {
            self.book_times = times(update);
            if self.book.apply(update.last, book).is_err() {
                // The ingester contradicts itself: announced as lost, and asked again.
                self.lose(update.first, update.last, out);
                self.resync(Vec::new());
                return;
            }
        } else {
            self.keep_latest(update);
        }
        if self.suspicion.is_some_and(|(epoch, number, _)| self.epoch > epoch || self.has(epoch, number)) {
            self.suspicion = None;
        }
        out.push(Event::Update(Arc::clone(update)));
    }

    fn keep_latest(&mut self, update: &Arc<Update>) {
        let key = match self.channel {
            Channel::Bar => match &update.record().body {
                Body::Bar(bar) => bar.interval,
                _ => 0,
            },
            _ => 0,
        };
        match self.latest.iter_mut().find(|(known, _)| *known == key) {
            Some((_, latest)) => *latest = Arc::clone(update),
            None => self.latest.push((key, Arc::clone(update))),
        }
    }

    /// Announces that the numbering starts again.
    fn renumber(&mut self, epoch: u64, out: &mut Vec<Event>) {
        let info = Arc::clone(&self.info);
        let gap = Update::gap(info, self.channel, GapCause::Ingest, self.sequence + 1, 0, epoch);
        out.push(Event::Update(Arc::new(gap)));
        self.epoch = epoch;
        self.sequence = 0;
        self.latest.clear();
        self.book.reset();
        self.suspicion = None;
    }

    /// Announces numbers that were lost on the bus.
    fn lose(&mut self, first: u64, last: u64, out: &mut Vec<Event>) {
        let info = Arc::clone(&self.info);
        let gap = Update::gap(info, self.channel, GapCause::Bus, first, last, self.epoch);
        out.push(Event::Update(Arc::new(gap)));
        self.lost += last + 1 - first;
        self.sequence = last;
        self.book.reset();
    }

    fn resync(&mut self, buffer: Vec<Arc<Update>>) {
        self.phase = Phase::Syncing(buffer);
        self.suspicion = None;
        self.ask_now();
    }

    fn has(&self, epoch: u64, number: u64) -> bool {
        self.epoch == epoch && self.sequence >= number
    }

    /// Somebody who knows says how far the topic is.
    pub(crate) fn on_position(&mut self, epoch: u64, number: u64, now: u64) {
        if !self.is_live() || epoch < self.epoch || self.has(epoch, number) {
            return;
        }
        if self.suspicion.is_none() {
            self.suspicion = Some((epoch, number, now));
        }
    }

    /// Turns a suspicion that stood long enough into a loss.
    pub(crate) fn on_time(&mut self, now: u64, out: &mut Vec<Event>) {
        let Some((epoch, number, since)) = self.suspicion else { return };
        if now.saturating_sub(since) < SUSPICION_NS || !self.is_live() {
            return;
        }
        self.suspicion = None;
        if epoch > self.epoch {
            self.renumber(epoch, out);
        }
        if number <= self.sequence {
            return;
        }
        match self.channel {
            Channel::Trade => self.lose(self.sequence + 1, number, out),
            Channel::Book => {
                self.lose(self.sequence + 1, number, out);
                self.resync(Vec::new());
            }
            // The last one is a state, so it is asked for.
            _ => {
                self.lost += number - self.sequence;
                self.resync(Vec::new());
            }
        }
    }

    /// The ingester's answer.
    pub(crate) fn on_answer(&mut self, answer: &Answered, now: u64, out: &mut Vec<Event>) {
        self.ask = Ask::No;
        if answer.epoch < self.epoch {
            // From an ingester that was replaced meanwhile.
            self.ask = Ask::Due(now + SUSPICION_NS, 0);
            return;
        }
        if self.is_live() && (answer.epoch, answer.sequence) <= (self.epoch, self.sequence) {
            return;
        }
        let keeps_numbers = self.channel.is_lossless() || self.channel == Channel::Book;
        if self.is_live() && keeps_numbers && answer.epoch == self.epoch {
            self.on_position(answer.epoch, answer.sequence, now);
            return;
        }
        if self.was_live && answer.epoch > self.epoch {
            self.renumber(answer.epoch, out);
        }
        if self.was_live && self.channel.is_lossless() && answer.sequence > self.sequence {
            self.catch_up(answer, out);
        } else {
            self.load(answer, now, out);
        }
    }

    /// Announces what a lossless channel missed; the last record, where it is a state, is passed on.
    fn catch_up(&mut self, answer: &Answered, out: &mut Vec<Event>) {
        let last = answer.records.last().filter(|_| self.channel.is_critical());
        let missed_to = if last.is_some() { answer.sequence - 1 } else { answer.sequence };
        if missed_to > self.sequence {
            self.lose(self.sequence + 1, missed_to, out);
        }
        if let Some(last) = last {
            self.accept(last, out);
        }
        if let Phase::Syncing(buffer) = std::mem::replace(&mut self.phase, Phase::Live) {
            for update in buffer {
                self.on_update(update, out);
            }
        }
    }

    /// Starts from the answered state, then goes on with what came meanwhile.
    fn load(&mut self, answer: &Answered, now: u64, out: &mut Vec<Event>) {
        let buffer = match std::mem::replace(&mut self.phase, Phase::Live) {
            Phase::Syncing(buffer) => buffer,
            Phase::Live => Vec::new(),
        };
        self.was_live = true;
        self.suspicion = None;
        self.epoch = answer.epoch;
        self.sequence = answer.sequence;
        self.latest.clear();
        self.book.reset();
        for update in &answer.records {
            match (self.channel, &update.record().body) {
                (Channel::Book, Body::Book(book)) => {
                    self.book_times = times(update);
                    if self.book.apply(answer.sequence, book).is_err() {
                        self.resync(buffer);
                        self.ask = Ask::Due(now + SUSPICION_NS, 0);
                        return;
                    }
                }
                _ => self.keep_latest(update),
            }
        }
        out.push(self.state());
        for update in buffer {
            self.on_update(update, out);
        }
    }
}

fn times(update: &Update) -> (u64, u64) {
    let record = update.record();
    (record.event_time, record.receive_time)
}
