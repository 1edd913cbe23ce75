//! The sequence numbers of one subscription, by the rules of `docs/protocol.md`: what must come next, what a record or a gap means
//! for that, and the account that the gateway's ledger has to agree with.
//!
//! A plain state machine without a clock. Whoever reads a stream keeps one [`Sequence`] for each subscription.

use crate::account::Account;
use crate::pb::{Channel, Gap, GapCause};
use crate::record::{Body, Record};

/// The parts of a record that the rules are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbered {
    /// Its sequence number.
    pub sequence: u64,
    /// First sequence number of a book change that covers several; else 0.
    pub first_sequence: u64,
    /// It is a whole book.
    pub is_snapshot: bool,
}

impl From<&Record> for Numbered {
    fn from(record: &Record) -> Self {
        let (first_sequence, is_snapshot) = match &record.body {
            Body::Book(book) => (book.first_sequence, book.snapshot),
            _ => (0, false),
        };
        Self { sequence: record.sequence, first_sequence, is_snapshot }
    }
}

/// Sequence numbers that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The first one.
    pub first: u64,
    /// The last one. None: nobody knows it, and sequence numbers start at 1 in `epoch` behind it.
    pub last: Option<u64>,
    /// The epoch that holds behind it.
    pub epoch: u64,
    /// They were lost there; unknown where nobody said so.
    pub cause: GapCause,
}

/// A record is one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// News.
    News,
    /// It was known at the grant, or is known already and may be said again.
    State,
    /// News, and sequence numbers before it are missing though the gateway has to announce that.
    After(Missing),
    /// It came already, and must not come again.
    Repeated,
}

impl Missing {
    /// Returns how many there are. None: nobody knows.
    pub fn count(self) -> Option<u64> {
        self.last.map(|last| last + 1 - self.first)
    }
}

/// The sequence numbers of one (instrument, channel) of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The client is in this epoch. A client that resumed may be behind its account, which begins with the grant.
    epoch: u64,
    /// Last sequence number that came, was announced, or had passed at the grant.
    last: u64,
    account: Account,
    channel: Channel,
    /// The next record may repeat the state.
    may_repeat: bool,
    /// Sequence numbers began anew, and the next record says where. Of a book: no snapshot came since it was broken.
    is_open: bool,
    /// The client resumed in another epoch, and the gateway has to announce that first.
    owes_restart: bool,
}

impl Sequence {
    /// Returns the sequence of a subscription that was granted at this position.
    pub fn new(channel: Channel, epoch: u64, sequence: u64) -> Self {
        Self {
            epoch,
            last: sequence,
            account: Account::new(epoch, sequence),
            channel,
            may_repeat: true,
            is_open: channel == Channel::Book,
            owes_restart: false,
        }
    }

    /// The subscription was granted again, after a reconnect, at this position. A lossless one goes on where it was: what lies between
    /// has to come or to be announced. The others begin anew.
    pub fn resume(&mut self, epoch: u64, sequence: u64) {
        if self.channel.is_lossless() {
            self.account = Account::new(epoch, sequence);
            self.owes_restart = epoch != self.epoch;
        } else {
            *self = Self::new(self.channel, epoch, sequence);
        }
    }

    /// Returns the channel of the subscription.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Returns the epoch and the last sequence number, as the command `resume` states them.
    pub fn position(&self) -> (u64, u64) {
        (self.epoch, self.last)
    }

    /// Returns what came since the grant.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Returns the sequence number that has to come next on a lossless channel. None: whichever comes is right.
    pub fn due(&self) -> Option<u64> {
        (self.channel.is_lossless() && !self.is_open).then_some(self.last + 1)
    }

    /// Takes a record. Whatever the verdict is, the sequence goes on from there.
    #[inline]
    pub fn record(&mut self, record: Numbered) -> Verdict {
        let (sequence, before, granted) = (record.sequence, self.last, self.account.position());
        self.account.record(sequence);
        if self.owes_restart {
            let missing = self.restart(granted.0, GapCause::Resume);
            (self.last, self.is_open) = (sequence, false);
            return Verdict::After(missing);
        }
        let may_repeat = std::mem::take(&mut self.may_repeat);
        let is_open = self.is_open;
        self.is_open = is_open && self.channel == Channel::Book && !record.is_snapshot;
        if sequence <= before {
            // Bars of several intervals share one sequence, and each interval is conflated by itself.
            let may_repeat = may_repeat || matches!(self.channel, Channel::Book | Channel::Bar);
            return if may_repeat { Verdict::State } else { Verdict::Repeated };
        }
        self.last = sequence;
        let follows = match self.channel {
            _ if is_open || record.is_snapshot => before + 1,
            Channel::Book if record.first_sequence > 0 => record.first_sequence,
            channel if channel == Channel::Book || channel.is_lossless() => sequence,
            _ => before + 1,
        };
        if follows == before + 1 {
            return Verdict::News;
        }
        if follows <= before {
            return Verdict::Repeated;
        }
        Verdict::After(self.unannounced(before + 1, follows - 1, granted.1))
    }

    /// Takes a gap that the gateway announced. Returns what was missing before it without a word, and the gap as far as it is new.
    pub fn gap(&mut self, gap: &Gap) -> (Option<Missing>, Option<Missing>) {
        let (due, granted) = (self.due(), self.account.position());
        let first = gap.first_sequence.max(due.unwrap_or(0));
        let unannounced = due.filter(|due| first > *due);
        let unannounced = unannounced.map(|due| self.unannounced(due, first - 1, granted.1));
        self.account.gap(gap);
        if gap.last_sequence == 0 {
            let begun = self.restart(gap.epoch, gap.cause());
            return (unannounced, Some(Missing { first, ..begun }));
        }
        if gap.last_sequence < first {
            return (None, None);
        }
        self.pass(gap.last_sequence);
        let announced =
            Missing { first, last: Some(gap.last_sequence), epoch: self.epoch, cause: gap.cause() };
        (unannounced, Some(announced))
    }

    /// Gives up sequence numbers up to this one.
    pub fn skip_to(&mut self, sequence: u64, cause: GapCause) -> Missing {
        let missing = Missing { first: self.last + 1, last: Some(sequence), epoch: self.epoch, cause };
        self.pass(sequence);
        missing
    }

    /// Gives up what is left of this epoch: whichever number of another one comes next is right.
    pub fn restart(&mut self, epoch: u64, cause: GapCause) -> Missing {
        let missing = Missing { first: self.last + 1, last: None, epoch, cause };
        (self.epoch, self.last, self.is_open, self.owes_restart) = (epoch, 0, true, false);
        self.may_repeat = !self.channel.is_lossless();
        missing
    }

    /// Sequence numbers up to this one are settled without a record.
    fn pass(&mut self, sequence: u64) {
        self.last = self.last.max(sequence);
        // What is shown of the other channels is said again, and of a book as a whole.
        self.may_repeat = !self.channel.is_lossless();
        self.is_open = self.channel == Channel::Book;
    }

    /// Tells what is missing: what the gateway owed at the grant was lost while the client was away.
    fn unannounced(&self, first: u64, last: u64, granted: u64) -> Missing {
        let cause = if last <= granted { GapCause::Resume } else { GapCause::Unknown };
        Missing { first, last: Some(last), epoch: self.epoch, cause }
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
