//! The state of one instrument in the ingester.

use tickwire_bus::{Subject, SubjectError};
use tickwire_wire::{Body, Book, BookState, Channel, Instrument, Level, Record};

use super::derived::{BarSeries, StatSeries};
use super::intervals::BarIntervals;
use super::publisher::Run;
use crate::reach::Reach;

/// The number of levels per side that a book keeps. Where there are more, the worse ones are dropped, and what comes beyond the
/// worst one that was kept is not taken until the next snapshot: the book is all that there is up to there.
pub const BOOK_LEVELS_MAX: usize = 20_000;

#[derive(Debug)]
pub(crate) struct InstrumentState {
    /// The adapter's number.
    pub(crate) index: u32,
    pub(crate) id: u32,
    pub(crate) book: BookState,
    /// The end of the book, where levels were dropped.
    reach: Reach,
    /// Whether the venue gives quotes of its own; else they are derived from the book, and end with it.
    pub(crate) has_quotes: bool,
    /// The event time of the newest trade.
    pub(crate) traded: u64,
    pub(crate) bars: Box<[BarSeries]>,
    pub(crate) stat: StatSeries,
    pub(crate) run: Option<Run>,
    pub(crate) is_damaged: bool,
    pub(crate) definition: Option<Record>,
    pub(crate) quote: Option<Record>,
    pub(crate) status: Option<Record>,
    pub(crate) derivative: Option<Record>,
    /// The gap that stands for the book while it is broken.
    pub(crate) book_gap: Option<Record>,
    /// The event and receive time of the last change of the book.
    pub(crate) book_times: (u64, u64),
    sequences: [ChannelSequence; Channel::COUNT],
    subjects: [Subject; Channel::COUNT],
}

/// The position of one channel's sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ChannelSequence {
    /// The last sequence number that was published.
    pub(crate) last: u64,
    /// The number of heartbeats that are still to say its position.
    pub(crate) heartbeats_due: u8,
    /// The first and last sequence number that the bus refused and that nothing made good for.
    pub(crate) missed: Option<(u64, u64)>,
}

impl InstrumentState {
    pub(crate) fn new(
        index: u32,
        id: u32,
        definition: &Instrument,
        bars: &BarIntervals,
    ) -> Result<Self, SubjectError> {
        let subject = |channel: Channel| Subject::data(&definition.venue, channel.name(), &definition.symbol);
        let subjects = Channel::ALL.into_iter().map(subject).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            index,
            id,
            book: BookState::new(),
            reach: Reach::default(),
            has_quotes: false,
            traded: 0,
            bars: bars.iter().map(BarSeries::new).collect(),
            stat: StatSeries::default(),
            run: None,
            is_damaged: false,
            definition: None,
            quote: None,
            status: None,
            derivative: None,
            book_gap: None,
            book_times: (0, 0),
            sequences: [ChannelSequence::default(); Channel::COUNT],
            subjects: subjects.try_into().unwrap_or_else(|_| unreachable!("there is one for each channel")),
        })
    }

    /// Returns the last sequence numbers, by channel.
    pub(crate) fn sequences(&self) -> [u64; Channel::COUNT] {
        self.sequences.map(|sequence| sequence.last)
    }

    /// Goes on behind these sequence numbers, because its symbol was there before in this epoch.
    pub(crate) fn go_on_behind(&mut self, sequences: [u64; Channel::COUNT]) {
        for (sequence, last) in self.sequences.iter_mut().zip(sequences) {
            sequence.last = last;
        }
    }

    /// Begins all sequences anew; what was published last stays, the book apart, whose reach is returned.
    pub(crate) fn begin_anew(&mut self) -> Reach {
        self.sequences = [ChannelSequence::default(); Channel::COUNT];
        (self.run, self.is_damaged, self.book_gap) = (None, false, None);
        self.book = BookState::new();
        std::mem::take(&mut self.reach)
    }

    /// Says how far the book reaches, which its levels do not tell.
    pub(crate) fn restore(&mut self, reach: Reach) {
        self.reach = reach;
    }

    pub(crate) fn sequence(&self, channel: Channel) -> &ChannelSequence {
        &self.sequences[channel as usize - 1]
    }

    pub(crate) fn sequence_mut(&mut self, channel: Channel) -> &mut ChannelSequence {
        &mut self.sequences[channel as usize - 1]
    }

    pub(crate) fn subject(&self, channel: Channel) -> &Subject {
        &self.subjects[channel as usize - 1]
    }

    /// Keeps a record that was published as the state of its channel. Books and trades are kept, or not, on their own.
    pub(crate) fn keep(&mut self, record: Record) {
        let place = match &record.body {
            Body::Quote(_) => &mut self.quote,
            Body::Bar(bar) => match self.bars.iter_mut().find(|bars| bars.has(bar)) {
                Some(bars) => &mut bars.last[usize::from(bar.correction)],
                None => return,
            },
            Body::Stat(_) => &mut self.stat.last,
            Body::Status(_) => &mut self.status,
            Body::Instrument(_) => &mut self.definition,
            Body::Derivative(_) => &mut self.derivative,
            _ => return,
        };
        *place = Some(record);
    }

    /// Forgets the state of a conflated channel: what was lost cannot be told from what is known, so there is none
    /// until the next record.
    pub(crate) fn forget(&mut self, channel: Channel) {
        match channel {
            Channel::Quote => self.quote = None,
            Channel::Bar => self.bars.iter_mut().for_each(|bars| bars.last = [None, None]),
            Channel::Stat => self.stat.last = None,
            Channel::Derivative => self.derivative = None,
            _ => {}
        }
    }

    /// Returns the records that are the state of a channel, as they were published last. Trades have no such thing.
    pub(crate) fn last_records(&self, channel: Channel) -> Vec<Record> {
        match channel {
            Channel::Quote => self.quote.iter().cloned().collect(),
            Channel::Book => self.book_record().or_else(|| self.book_gap.clone()).into_iter().collect(),
            Channel::Bar => self.bars.iter().flat_map(|bars| bars.last.iter().flatten().cloned()).collect(),
            Channel::Stat => self.stat.last.iter().cloned().collect(),
            Channel::Status => self.status.iter().cloned().collect(),
            Channel::Instrument => self.definition.iter().cloned().collect(),
            Channel::Derivative => self.derivative.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Makes a record of all levels under the last sequence number, where there is a book.
    pub(crate) fn book_record(&self) -> Option<Record> {
        self.book.is_synced().then(|| Record {
            instrument: self.id,
            sequence: self.book.sequence(),
            event_time: self.book_times.0,
            receive_time: self.book_times.1,
            body: Body::Book(self.book.to_snapshot()),
        })
    }

    /// Makes the book as it is stand for this sequence number too.
    pub(crate) fn carry_book_to(&mut self, sequence: u64) {
        // A change of nothing applies to any book that is complete up to the sequence number before.
        let unchanged = Book { first_sequence: self.book.sequence() + 1, ..Book::default() };
        let _ = self.book.apply(sequence, &unchanged);
    }

    /// Applies a record's body under its sequence number to be and completes it: levels too far away are taken out, the
    /// checksum is put in.
    pub(crate) fn apply_book(&mut self, book: &mut Book) -> Applied {
        let before = if book.snapshot { Reach::default() } else { self.reach };
        let was_empty = book.bids.is_empty() && book.asks.is_empty();
        before.cut(&mut book.bids, &mut book.asks);
        if !book.snapshot {
            book.first_sequence = 0;
            if !was_empty && book.bids.is_empty() && book.asks.is_empty() {
                return Applied::Beyond;
            }
        }
        let is_deeper = |side: &[Level]| book.snapshot && side.len() > BOOK_LEVELS_MAX;
        let (mut cuts_bids, mut cuts_asks) = (is_deeper(&book.bids), is_deeper(&book.asks));
        if book.snapshot {
            book.bids.truncate(BOOK_LEVELS_MAX);
            book.asks.truncate(BOOK_LEVELS_MAX);
        }
        let sequence = self.sequence(Channel::Book).last + 1;
        if self.book.apply(sequence, book).is_err() {
            return Applied::Orphan;
        }
        let removal = |level| Level { size: 0, ..level };
        let far_bids: Vec<_> = self.book.bids().skip(BOOK_LEVELS_MAX).map(removal).collect();
        let far_asks: Vec<_> = self.book.asks().skip(BOOK_LEVELS_MAX).map(removal).collect();
        cuts_bids |= !far_bids.is_empty();
        cuts_asks |= !far_asks.is_empty();
        for level in far_bids {
            self.book.set_bid(level);
            book.bids.push(level);
        }
        for level in far_asks {
            self.book.set_ask(level);
            book.asks.push(level);
        }
        book.checksum = Some(self.book.checksum());
        let worst = |level: Option<Level>| level.map(|level| level.price);
        self.reach = Reach {
            bids: if cuts_bids { worst(self.book.bids().next_back()) } else { before.bids },
            asks: if cuts_asks { worst(self.book.asks().next_back()) } else { before.asks },
        };
        if before == Reach::default() && self.reach != before { Applied::Cut } else { Applied::Whole }
    }

    /// Returns whether of a side from which levels were dropped none is left: what the venue has there is not known.
    pub(crate) fn is_book_exhausted(&self) -> bool {
        let best = self.book.best();
        (self.reach.bids.is_some() && best.bid.is_none()) || (self.reach.asks.is_some() && best.ask.is_none())
    }
}

/// The outcome of a change of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// There is no book to change.
    Orphan,
    /// All of it is beyond the levels that are kept.
    Beyond,
    /// It was applied.
    Whole,
    /// It was applied, and the book was cut for the first time since its snapshot.
    Cut,
}
