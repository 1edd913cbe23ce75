//! Counts the numbers of one lossless channel of one instrument: whatever is missing is announced, nothing comes twice.
//!
//! A plain state machine. Its clock is the gateway's send time, so that a program that pauses sees no loss that is only
//! its own lateness. What is owed has a clock of its own: what other subscriptions get does not stop it.

use tickwire_wire::{Gap, GapCause};

/// The time that something owed may fail to come, in nanoseconds of the gateway's send time: five heartbeats. It
/// counts from when it was owed, or from the last record of this subscription on the way to it.
pub(crate) const OWED_NS_MAX: u64 = 5_000_000_000;

/// Numbers that will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) first: u64,
    /// None: up to an unknown end, after which `epoch` starts at 1.
    pub(crate) last: Option<u64>,
    pub(crate) epoch: u64,
    pub(crate) cause: GapCause,
}

/// The verdict on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    /// Numbers before it are missing, and nobody said so.
    TakeAfter(Missing),
    Duplicate,
}

/// A claim of records that the gateway has and this client does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// Numbers up to this one.
    Until { sequence: u64, cause: GapCause },
    /// All of a sequence that this client never saw the end of: after a reconnect.
    Restart { epoch: u64 },
    /// A heartbeat knows another sequence. What is still to come of this one comes first, then a gap says so.
    Renumbered { epoch: u64 },
}

/// Something that is owed, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    owed: Owed,
    /// None: since the end of the message that is being read.
    since: Option<u64>,
}

/// The time after which what is owed counts as lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Now, by the gateway's send time in nanoseconds.
    pub(crate) time: u64,
    /// The limit for records that only a heartbeat told of.
    pub(crate) ns_max: u64,
    /// When any subscription last got something of what it is owed since the reconnect: back-fills come in turns.
    pub(crate) filled_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceTracker {
    epoch: u64,
    /// Last number that was delivered or announced, or that had passed when the subscription began. None: sequence
    /// started anew, and the next record says where.
    position: Option<u64>,
    /// Last number that was delivered or announced: a snapshot may repeat the position once.
    shown: u64,
    owed: Option<Claim>,
    /// The claim that came while something was owed already.
    later: Option<Claim>,
}

impl SequenceTracker {
    /// A subscription begins here.
    pub(crate) fn new(epoch: u64, sequence: u64) -> Self {
        Self { epoch, position: Some(sequence), shown: 0, owed: None, later: None }
    }

    /// The subscription goes on after a reconnect, and the gateway is at this number.
    pub(crate) fn resume(&mut self, epoch: u64, sequence: u64) {
        (self.owed, self.later) = (None, None);
        if epoch == self.epoch {
            self.owe(Owed::Until { sequence, cause: GapCause::Resume });
        } else {
            self.owe(Owed::Restart { epoch });
        }
    }

    /// Returns epoch and sequence number for the resume vector.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.epoch, self.position.unwrap_or(0))
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// It waits for what it missed while it was away.
    pub(crate) fn is_filling(&self) -> bool {
        self.owed.is_some_and(|claim| claim.owed.is_of_absence())
    }

    /// A record with this number came.
    pub(crate) fn record(&mut self, sequence: u64) -> Verdict {
        if let Some(Claim { owed: Owed::Restart { epoch }, .. }) = self.owed {
            let missing = self.restart(epoch, GapCause::Resume);
            self.advance(sequence);
            return Verdict::TakeAfter(missing);
        }
        let Some(position) = self.position else {
            self.advance(sequence);
            return Verdict::Take;
        };
        if sequence <= position {
            if sequence <= self.shown {
                return Verdict::Duplicate;
            }
            self.shown = sequence;
            return Verdict::Take;
        }
        let missing = (sequence > position + 1).then(|| Missing {
            first: position + 1,
            last: Some(sequence - 1),
            epoch: self.epoch,
            cause: self.cause_before(sequence),
        });
        self.advance(sequence);
        missing.map_or(Verdict::Take, Verdict::TakeAfter)
    }

    /// The gateway announces a gap. Returns what was missing before it without a word, and the gap as far as it is new.
    pub(crate) fn gap(&mut self, gap: &Gap) -> (Option<Missing>, Option<Missing>) {
        let first = match self.position {
            Some(position) => gap.first_sequence.max(position + 1),
            None => gap.first_sequence,
        };
        let unannounced = self.position.filter(|position| first > position + 1).map(|position| Missing {
            first: position + 1,
            last: Some(first - 1),
            epoch: self.epoch,
            cause: self.cause_before(first),
        });
        if gap.last_sequence == 0 {
            let restart = self.restart(gap.epoch, gap.cause());
            return (unannounced, Some(Missing { first, ..restart }));
        }
        if gap.last_sequence < first {
            return (None, None);
        }
        self.advance(gap.last_sequence);
        let announced =
            Missing { first, last: Some(gap.last_sequence), epoch: self.epoch, cause: gap.cause() };
        (unannounced, Some(announced))
    }

    /// A heartbeat says that this number exists. Heartbeats may overtake records, so it is only owed for now.
    pub(crate) fn heartbeat(&mut self, epoch: u64, sequence: u64) {
        if epoch == self.epoch {
            self.owe(Owed::Until { sequence, cause: GapCause::Unknown });
        } else {
            self.owe(Owed::Renumbered { epoch });
        }
    }

    /// Gives up what is owed and was waited for too long; to be called again until it returns `None`.
    pub(crate) fn settle(&mut self, patience: Patience) -> Option<Missing> {
        let Patience { time, ns_max, filled_at } = patience;
        for claim in self.owed.iter_mut().chain(&mut self.later) {
            // A clock that was set back starts the wait anew.
            claim.since = Some(claim.since.map_or(time, |since| since.min(time)));
        }
        let claim = self.owed?;
        let (since, ns_max) = if claim.owed.is_of_absence() {
            (claim.since.unwrap_or(time).max(filled_at), OWED_NS_MAX)
        } else {
            (claim.since.unwrap_or(time), ns_max)
        };
        if time.saturating_sub(since) >= ns_max { self.give_up() } else { None }
    }

    /// Gives up all that is owed, because it will not come.
    pub(crate) fn give_up(&mut self) -> Option<Missing> {
        match self.owed?.owed {
            Owed::Restart { epoch } => Some(self.restart(epoch, GapCause::Resume)),
            Owed::Renumbered { epoch } => Some(self.restart(epoch, GapCause::Unknown)),
            Owed::Until { sequence, cause } => {
                let first = self.position.unwrap_or(0) + 1;
                self.advance(sequence);
                Some(Missing { first, last: Some(sequence), epoch: self.epoch, cause })
            }
        }
    }

    fn owe(&mut self, owed: Owed) {
        if !self.is_open(owed) {
            return;
        }
        let claim = Some(Claim { owed, since: None });
        match (self.owed, self.later) {
            (None, _) => self.owed = claim,
            // The new sequence is told of on the way there.
            (Some(Claim { owed: Owed::Restart { .. }, .. }), _) => {}
            (Some(known), _) if known.owed.covers(owed) => {}
            (_, Some(known)) if known.owed.covers(owed) => {}
            _ => self.later = claim,
        }
    }

    fn is_open(&self, owed: Owed) -> bool {
        match owed {
            Owed::Until { sequence, .. } => sequence > self.position.unwrap_or(0),
            Owed::Restart { epoch } | Owed::Renumbered { epoch } => epoch != self.epoch,
        }
    }

    fn advance(&mut self, sequence: u64) {
        self.position = Some(sequence);
        self.shown = sequence;
        match &mut self.owed {
            Some(Claim { owed: Owed::Until { sequence: owed, .. }, .. }) if sequence >= *owed => {
                self.owed = self.later.take().filter(|claim| self.is_open(claim.owed));
            }
            // It is on its way.
            Some(claim) => claim.since = None,
            None => {}
        }
    }

    fn restart(&mut self, epoch: u64, cause: GapCause) -> Missing {
        let first = self.position.map_or(1, |position| position + 1);
        *self = Self { epoch, position: None, shown: 0, owed: None, later: None };
        Missing { first, last: None, epoch, cause }
    }

    /// Returns why what is missing before this sequence number is missing: it was lost while away if the gateway owed that.
    fn cause_before(&self, sequence: u64) -> GapCause {
        match self.owed {
            Some(Claim { owed: Owed::Until { sequence: owed, cause }, .. })
                if sequence <= owed.saturating_add(1) =>
            {
                cause
            }
            _ => GapCause::Unknown,
        }
    }
}

impl Owed {
    fn is_of_absence(self) -> bool {
        matches!(self, Self::Restart { .. } | Self::Until { cause: GapCause::Resume, .. })
    }

    /// Returns whether whoever has this has the other too.
    fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Until { sequence, .. }, Self::Until { sequence: other, .. }) => sequence >= other,
            _ => self == other,
        }
    }
}

#[cfg(test)]
#[path = "sequence_tests.rs"]
mod tests;
