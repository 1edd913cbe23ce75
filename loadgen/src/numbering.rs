//! The numbers of one subscription, by the rules of `docs/protocol.md`: what must come next, and an account of what came
//! that the gateway's ledger has to agree with.

use tickwire_wire::{Channel, Gap, GapCause, LedgerEntry};

/// One (instrument, channel) of one session. Kept small: there is one for each session and symbol.
#[derive(Clone, Debug)]
pub(crate) struct Numbering {
    epoch: u64,
    /// Last number that came, was announced, or had passed at the grant.
    last: u64,
    delivered: u64,
    dropped: u64,
    /// Of the last record: event time, and a digest of what it said.
    event_time: u64,
    value: u64,
    /// After a reconnect: the number behind the last one that came before it; 0: none, or settled.
    resumes_at: u64,
    /// Index of the symbol at the own source; `u32::MAX` for another source's.
    symbol: u32,
    channel: Channel,
    /// The first record may repeat the state.
    is_first: bool,
    /// The numbering began anew, and the next record says where. Of a book: no snapshot came since it was broken.
    is_open: bool,
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// News: its latency means something.
    Live,
    /// What was known at the grant, or is known already.
    State,
    /// It breaks the rules; `expected` is the number that had to come, or the one that it had to exceed.
    Violation { expected: u64 },
}

/// The parts of a record that the rules are about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Numbered {
    pub(crate) sequence: u64,
    /// Of a book change that covers several numbers; else 0.
    pub(crate) first_sequence: u64,
    /// Of a book.
    pub(crate) is_snapshot: bool,
}

impl Numbering {
    /// Of a symbol of the own source.
    pub(crate) fn of_own(self, symbol: Option<u32>) -> Self {
        Self { symbol: symbol.unwrap_or(u32::MAX), ..self }
    }

    /// Index of the symbol at the own source.
    pub(crate) fn own_symbol(&self) -> Option<u32> {
        (self.symbol != u32::MAX).then_some(self.symbol)
    }

    /// A subscription was granted, and the numbering stands here.
    pub(crate) fn new(channel: Channel, epoch: u64, sequence: u64) -> Self {
        let is_open = channel == Channel::Book;
        Self {
            epoch,
            last: sequence,
            delivered: 0,
            dropped: 0,
            event_time: 0,
            value: 0,
            resumes_at: 0,
            symbol: u32::MAX,
            channel,
            is_first: true,
            is_open,
        }
    }

    /// The grant continues what was there before a reconnect. Numbers up to the grant have to be announced, if there are
    /// any.
    pub(crate) fn resumed(&mut self, epoch: u64, sequence: u64) {
        if epoch == self.epoch && self.last > sequence {
            self.resumes_at = sequence + 1;
        }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel
    }

    /// Numbering, and the last number.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.epoch, self.last)
    }

    /// Event time and digest of the last record; 0 where none came.
    pub(crate) fn last_value(&self) -> (u64, u64) {
        (self.event_time, self.value)
    }

    /// What the last record said. Returns whether it is older than the one before it.
    pub(crate) fn says(&mut self, event_time: u64, value: u64) -> bool {
        let is_older = event_time < self.event_time;
        (self.event_time, self.value) = (event_time, value);
        is_older
    }

    /// A record came. After a violation it goes on from what came.
    pub(crate) fn record(&mut self, record: Numbered) -> Verdict {
        let sequence = record.sequence;
        let is_first = std::mem::take(&mut self.is_first);
        if self.resumes_at > 0 && sequence > self.last {
            let expected = std::mem::take(&mut self.resumes_at);
            (self.delivered, self.last) = (self.delivered + 1, sequence);
            return Verdict::Violation { expected };
        }
        let is_new = sequence > self.last;
        let next = self.last + 1;
        let first = if record.first_sequence == 0 { sequence } else { record.first_sequence };
        let is_right = match self.channel {
            Channel::Book if record.is_snapshot => {
                self.is_open = false;
                true
            }
            Channel::Book => !is_new || self.is_open || first == next,
            // Several intervals share one numbering, and each is conflated by itself.
            Channel::Bar => true,
            channel if channel.is_lossless() => {
                let is_open = std::mem::take(&mut self.is_open);
                sequence == next || (!is_new && is_first) || (is_new && is_open)
            }
            _ => is_new || is_first,
        };
        if is_new {
            (self.delivered, self.last) = (self.delivered + 1, sequence);
        }
        match (is_right, is_new) {
            (false, _) => Verdict::Violation { expected: next },
            (true, true) => Verdict::Live,
            (true, false) => Verdict::State,
        }
    }

    /// Numbers were announced as lost. Returns how many that settles, or what the gap had to begin with.
    pub(crate) fn gap(&mut self, gap: &Gap) -> Result<u64, Verdict> {
        if self.channel == Channel::Book {
            self.is_open = true;
        }
        if gap.cause() == GapCause::Resume && self.resumes_at > 0 && gap.last_sequence <= self.last {
            // It stands outside of the ledger: those numbers passed before the subscription began.
            let expected = std::mem::take(&mut self.resumes_at);
            let is_right = gap.first_sequence == expected && gap.last_sequence == self.last;
            let numbers = gap.last_sequence + 1 - gap.first_sequence.min(gap.last_sequence + 1);
            return if is_right { Ok(numbers) } else { Err(Verdict::Violation { expected }) };
        }
        if gap.last_sequence == 0 {
            (self.epoch, self.last, self.is_open) = (gap.epoch, 0, true);
            return Ok(0);
        }
        let expected = self.last + 1;
        let passed = gap.last_sequence.saturating_sub(self.last);
        let dropped = passed.min((gap.last_sequence + 1).saturating_sub(gap.first_sequence));
        self.dropped += dropped;
        self.last = self.last.max(gap.last_sequence);
        let is_open = self.channel.is_lossless() && std::mem::take(&mut self.is_open);
        if self.channel.is_lossless() && gap.first_sequence != expected && !is_open {
            return Err(Verdict::Violation { expected });
        }
        Ok(dropped)
    }

    /// Compares the gateway's account with this one; says what does not agree.
    pub(crate) fn check(&self, entry: &LedgerEntry) -> Result<(), String> {
        let (published, delivered, dropped) = (entry.published, entry.delivered, entry.dropped);
        let sum = delivered + entry.conflated + dropped + entry.filtered;
        let name = format!("{} of {}", self.channel.name(), entry.symbol);
        if sum != published {
            return Err(format!("the ledger of {name} does not add up: {entry:?}"));
        }
        if delivered != self.delivered || dropped != self.dropped {
            let (own, own_dropped) = (self.delivered, self.dropped);
            return Err(format!(
                "the ledger of {name} says {delivered} delivered and {dropped} dropped; {own} came and {own_dropped} were announced"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tickwire_wire::GapCause;

    use super::*;

    /// `5` a record, `4-5` a merged book change, `*5` a book snapshot, `!3-5` a gap, `!3-0` a new numbering.
    #[track_caller]
    fn check(channel: Channel, granted: u64, records: &str, expected: &str) -> Numbering {
        let mut numbering = Numbering::new(channel, 1, granted);
        let mut got = String::new();
        for text in records.split(' ') {
            let digits = text.trim_start_matches(['!', '*']);
            let (first, last) = digits.split_once('-').unwrap_or((digits, digits));
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            let verdict = if text.starts_with('!') {
                let cause = GapCause::Bus as i32;
                let channel = channel as i32;
                let gap = Gap { channel, cause, first_sequence: first, last_sequence: last, epoch: 2 };
                numbering.gap(&gap).map_or_else(|violation| violation, |_| Verdict::State)
            } else {
                let first_sequence = if first == last { 0 } else { first };
                let is_snapshot = text.starts_with('*');
                numbering.record(Numbered { sequence: last, first_sequence, is_snapshot })
            };
            got.push(match verdict {
                Verdict::Live => 'l',
                Verdict::State => 's',
                Verdict::Violation { .. } => 'V',
            });
        }
        assert_eq!(got, expected, "{} from {granted}: {records}", channel.name());
        numbering
    }

    #[test]
    fn lossless_numbers_are_contiguous_or_announced() {
        check(Channel::Trade, 5, "6 7 8", "lll");
        check(Channel::Trade, 5, "6 8 9", "lVl");
        check(Channel::Trade, 5, "6 6", "lV");
        check(Channel::Status, 5, "5 6", "sl");
        check(Channel::Status, 5, "6 5", "lV");
        check(Channel::Trade, 5, "6 !7-9 10", "lsl");
        check(Channel::Trade, 5, "6 !8-9 10", "lVl");
        check(Channel::Trade, 5, "6 !7-0 1", "lsl");
        check(Channel::Trade, 5, "6 !7-0 40 41 43", "lsllV");
        check(Channel::Trade, 5, "6 !7-0 !30-31 32 34", "lsslV");
    }

    #[test]
    fn conflated_numbers_grow() {
        check(Channel::Quote, 5, "4 9 10 30", "slll");
        check(Channel::Quote, 5, "9 9", "lV");
        check(Channel::Quote, 5, "9 8", "lV");
        check(Channel::Quote, 5, "9 !12-0 4", "lsl");
        check(Channel::Bar, 5, "9 8 10", "lsl");
    }

    #[test]
    fn book_changes_join_or_wait_for_a_snapshot() {
        check(Channel::Book, 5, "*5 6 7-9 10", "slll");
        check(Channel::Book, 5, "*5 6 8", "slV");
        check(Channel::Book, 5, "*5 6 8-9", "slV");
        check(Channel::Book, 5, "*5 6 *20 21", "slll");
        check(Channel::Book, 5, "*7 6 8", "lsl");
        check(Channel::Book, 5, "*5 !6-8 11 *12 14", "ssllV");
    }

    #[test]
    fn what_passed_during_a_reconnect_is_announced_first() {
        let resumed = || {
            let mut numbering = Numbering::new(Channel::Trade, 1, 9);
            numbering.resumed(1, 5);
            numbering
        };
        let record = |sequence| Numbered { sequence, first_sequence: 0, is_snapshot: false };
        let gap = |first_sequence| Gap {
            channel: Channel::Trade as i32,
            cause: GapCause::Resume as i32,
            first_sequence,
            last_sequence: 9,
            epoch: 0,
        };
        let mut announced = resumed();
        assert_eq!(announced.gap(&gap(6)), Ok(4));
        assert_eq!(announced.record(record(10)), Verdict::Live);
        assert_eq!(
            announced.check(&LedgerEntry { published: 1, delivered: 1, ..LedgerEntry::default() }),
            Ok(())
        );
        assert_eq!(resumed().gap(&gap(7)), Err(Verdict::Violation { expected: 6 }));
        assert_eq!(resumed().record(record(10)), Verdict::Violation { expected: 6 });
        let mut other = Numbering::new(Channel::Trade, 1, 9);
        other.resumed(2, 5);
        assert_eq!(other.record(record(10)), Verdict::Live);
    }

    #[test]
    fn the_ledger_must_agree() {
        let numbering = check(Channel::Trade, 5, "6 7 !8-9 10", "llsl");
        let entry = |published, delivered, dropped| LedgerEntry {
            published,
            delivered,
            dropped,
            ..LedgerEntry::default()
        };
        assert_eq!(numbering.check(&entry(5, 3, 2)), Ok(()));
        assert!(numbering.check(&entry(6, 3, 2)).unwrap_err().contains("add up"));
        assert!(numbering.check(&entry(6, 4, 2)).unwrap_err().contains("3 came"));
        assert!(numbering.check(&entry(6, 3, 3)).unwrap_err().contains("2 were announced"));
    }
}
