//! One subscription as a strict client sees it: every record is where it belongs, and is what the ingester said.

use std::collections::BTreeMap;

use tickwire_wire::{
    Batch, Body, BookState, Channel, Encoding, Gap, GapCause, Granted, LedgerEntry, Message, Record, Scale,
    encode_message,
};

use crate::truth::{Key, Truth};
use crate::{Position, VENUE};

#[derive(Debug)]
pub(crate) struct View {
    pub(crate) key: Key,
    pub(crate) symbol: usize,
    granted: Position,
    /// The epoch, and the last sequence number that was delivered, announced or passed over.
    pub(crate) at: Position,
    /// The position to which gaps of the cause `resume` lead, from where the client left off.
    resumed: Option<Position>,
    pub(crate) max_rate: f64,
    /// The most levels of each side, of a book to a depth.
    pub(crate) depth: Option<u32>,
    delivered: u64,
    /// The number of records that were superseded, or held back by the rate.
    skipped: u64,
    dropped: u64,
    pub(crate) book: BookState,
    /// The newest record, by conflation key.
    pub(crate) newest: BTreeMap<u64, Position>,
    records: u64,
    /// Whether nothing was lost since the last record, so that what is shown is current, if the feed is live.
    pub(crate) is_current: bool,
    /// Whether an unsubscribe is under way.
    pub(crate) is_leaving: bool,
    /// Whether it was told that its instrument ended: the account follows.
    pub(crate) has_ended: bool,
    pub(crate) lost_on_bus: u64,
    /// The time at which it was granted, by the client's time.
    pub(crate) since: u64,
    /// The time at which its rate was set: what was held back until then comes late.
    pub(crate) rated: u64,
}

impl View {
    pub(crate) fn new(granted: &Granted, symbol: usize, resumed: Option<Position>, now: u64) -> Self {
        let at = (granted.epoch, granted.sequence);
        Self {
            key: (symbol as u32 + 1, granted.channel()),
            symbol,
            granted: at,
            at,
            resumed,
            max_rate: granted.max_rate,
            depth: (granted.depth > 0).then_some(granted.depth),
            delivered: 0,
            skipped: 0,
            dropped: 0,
            book: BookState::new(),
            newest: BTreeMap::new(),
            records: 0,
            is_current: granted.channel().is_lossless() || granted.sequence == 0,
            is_leaving: false,
            has_ended: false,
            lost_on_bus: 0,
            since: now,
            rated: now,
        }
    }

    /// Returns the position that the client says after a reconnect.
    pub(crate) fn position(&self) -> Position {
        match self.resumed {
            Some(resumed) if !self.is_caught_up() => resumed,
            _ => self.at,
        }
    }

    /// Returns whether the gap between where the client left off and the grant was announced.
    fn is_caught_up(&self) -> bool {
        self.resumed.is_none_or(|at| at.0 == self.granted.0 && at.1 >= self.granted.1)
    }

    pub(crate) fn record(&mut self, record: &Record, encoding: Encoding, truth: &Truth) {
        assert!(!self.has_ended, "{:?}: {record:?} comes behind its end", self.key);
        let record = &Record { instrument: self.key.0, ..record.clone() };
        if let Body::Gap(gap) = &record.body {
            self.gap(gap, truth);
            return;
        }
        assert!(
            self.is_caught_up(),
            "{:?} resumed at {:?}, granted {:?}",
            self.key,
            self.resumed,
            self.granted
        );
        self.records += 1;
        match self.key.1 {
            Channel::Book => self.book(record, truth),
            channel if channel.is_lossless() => self.lossless(record, encoding, truth),
            _ => self.newest(record, encoding, truth),
        }
        self.is_current = true;
    }

    fn deliver(&mut self, to: u64) {
        if to > self.at.1 {
            self.delivered += 1;
            self.skipped += to - self.at.1 - 1;
            self.at.1 = to;
        }
    }

    fn gap(&mut self, gap: &Gap, truth: &Truth) {
        let (first, last) = (gap.first_sequence, gap.last_sequence);
        let is_lossless = self.key.1.is_lossless();
        if gap.cause() == GapCause::Resume {
            assert_eq!(self.records, 0, "{:?}: {gap:?} comes before everything else", self.key);
            let at = self.resumed.as_mut().expect("a gap of a client that resumed");
            assert_eq!(first, at.1 + 1, "{:?}: {gap:?}", self.key);
            *at = if last == 0 { (gap.epoch, 0) } else { (at.0, last) };
            assert_eq!(gap.epoch, at.0);
            return;
        }
        assert!(is_lossless || gap.cause() != GapCause::Shed, "{:?} shed", self.key);
        if last == 0 {
            assert!(gap.epoch != self.at.0, "{:?}: {gap:?} at {:?}", self.key, self.at);
            if is_lossless {
                assert_eq!(first, self.at.1 + 1, "{:?}: {gap:?} at {:?}", self.key, self.at);
            }
            self.skipped += (first - 1).saturating_sub(self.at.1);
            self.at = (gap.epoch, 0);
        } else {
            assert!(first <= last && first > self.at.1, "{:?}: {gap:?} at {:?}", self.key, self.at);
            if is_lossless {
                assert_eq!(first, self.at.1 + 1, "{:?}: {gap:?} at {:?}", self.key, self.at);
            }
            self.skipped += first - 1 - self.at.1;
            self.dropped += last + 1 - first;
            self.at.1 = last;
        }
        if gap.cause() == GapCause::Bus {
            self.lost_on_bus += 1;
        }
        let highest = truth.highest_sequence(self.key, self.at.0);
        assert!(self.at.1 <= highest, "{:?}: {gap:?}, and such sequence numbers never were", self.key);
        // The state that is shown of it may be old: the newest is said once more.
        self.newest.clear();
        self.book.reset();
        self.is_current = is_lossless;
    }

    fn book(&mut self, record: &Record, truth: &Truth) {
        let Body::Book(book) = &record.body else { panic!("not a book: {record:?}") };
        if !book.snapshot {
            let first = if book.first_sequence == 0 { record.sequence } else { book.first_sequence };
            assert_eq!(first, self.at.1 + 1, "{:?}: a change that does not follow", self.key);
        }
        self.book.apply(record.sequence, book).expect("it applies");
        let known = truth.books(self.key.0, (self.at.0, record.sequence));
        assert!(
            known.iter().any(|known| self.has_best_of(known)),
            "{:?}: the book at {} is {:?}, the ingester's {known:?}",
            self.key,
            record.sequence,
            self.book
        );
        self.deliver(record.sequence);
    }

    /// Returns whether its book is that one, as far as it may be seen.
    pub(crate) fn has_best_of(&self, book: &BookState) -> bool {
        let levels = self.depth.map_or(usize::MAX, |levels| levels as usize);
        self.book.bids().eq(book.bids().take(levels)) && self.book.asks().eq(book.asks().take(levels))
    }

    fn lossless(&mut self, record: &Record, encoding: Encoding, truth: &Truth) {
        let position = (self.at.0, record.sequence);
        self.compare(record, truth.records(self.key, position), encoding);
        if record.sequence <= self.at.1 {
            let is_start = self.key.1.is_critical() && self.records == 1 && self.at == self.granted;
            assert!(is_start, "{record:?} twice");
            return;
        }
        assert_eq!(record.sequence, self.at.1 + 1, "{:?}: a hole that was not announced", self.key);
        self.deliver(record.sequence);
    }

    fn newest(&mut self, record: &Record, encoding: Encoding, truth: &Truth) {
        let position = (self.at.0, record.sequence);
        self.compare(record, truth.records(self.key, position), encoding);
        let before = self.newest.insert(record.conflation_key(), position);
        assert!(
            before.is_none_or(|before| before.0 == position.0 && before.1 < position.1),
            "{:?}: {position:?} after {before:?}",
            self.key
        );
        self.deliver(record.sequence);
    }

    /// Compares a record with what was published. An instrument that was listed anew has sequence numbers from 1 again:
    /// the record is one of those that had the sequence number.
    fn compare(&self, record: &Record, published: &[Record], encoding: Encoding) {
        let is_it = |published: &Record| match encoding {
            Encoding::Json => *record == through_json(published),
            _ => record == published,
        };
        assert!(published.iter().any(is_it), "{:?}: {record:?} is none of {published:?}", self.key);
    }

    /// Checks that the gateway's account equals the client's.
    pub(crate) fn check_account(&self, entry: &LedgerEntry) {
        let LedgerEntry { published, delivered, conflated, dropped, filtered, .. } = *entry;
        assert_eq!(published, delivered + conflated + dropped + filtered, "{entry:?}");
        assert_eq!(
            (delivered, conflated + filtered, dropped),
            (self.delivered, self.skipped, self.dropped),
            "{:?}: gateway and client differ in delivered, conflated and filtered, dropped",
            self.key
        );
    }
}

/// Returns the record as it reads in the JSON encoding, which writes the instrument's name into its definition.
fn through_json(published: &Record) -> Record {
    let symbol = match &published.body {
        Body::Instrument(definition) => format!("{VENUE}:{}", definition.symbol),
        _ => format!("{VENUE}:X"),
    };
    let scale = Scale { symbol, price_decimals: 2, size_decimals: 3 };
    let mut bytes = Vec::new();
    encode_message(Encoding::Json, &Message::Record(published.clone()), &scale, &mut bytes);
    match Batch::new(Encoding::Json, &bytes).next() {
        Some(Ok(Message::Record(mut record))) => {
            if let (Body::Instrument(read), Body::Instrument(original)) = (&mut record.body, &published.body)
            {
                read.symbol.clone_from(&original.symbol);
            }
            record
        }
        other => panic!("{other:?}"),
    }
}
