//! The sequence of one subscription, and of a lossless one what is pending: what the gateway is known to have, and may still send.
//!
//! A plain state machine. Its clock is the gateway's send time, so that a program that pauses sees no loss that is only
//! its own lateness. What is owed has a clock of its own: what other subscriptions get does not stop it.

use tickwire_wire::{Channel, Gap, GapCause, Missing, Numbered, Sequence, Verdict};

/// Something that is owed may fail to come for so long, in nanoseconds of the gateway's send time: five heartbeats. It
/// counts from when it was owed, or from the last record of this subscription on the way to it.
pub(crate) const OWED_NS_MAX: u64 = 5_000_000_000;

/// The gateway has something that this client does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// Sequence numbers up to this one.
    Until { sequence: u64, cause: GapCause },
    /// All of an epoch that this client never saw the end of: after a reconnect.
    Restart { epoch: u64 },
    /// A heartbeat knows another epoch. What is still to come of this one comes first, then a gap says so.
    Renumbered { epoch: u64 },
}

/// Something that is owed, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    owed: Owed,
    /// None: since the end of the message that is being read.
    since: Option<u64>,
}

/// Patience says how long is too long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Now, by the gateway's send time in nanoseconds.
    pub(crate) time: u64,
    /// The longest wait for what a heartbeat knows.
    pub(crate) ns_max: u64,
    /// When any subscription last got something of what it is owed since the reconnect: back-fills come in turns.
    pub(crate) filled_at: u64,
}

/// A sequence, and what is owed on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) sequence: Sequence,
    owed: Option<Claim>,
    /// This became owed while something was owed already.
    later: Option<Claim>,
}

impl Tracked {
    /// A subscription begins here.
    pub(crate) fn new(channel: Channel, epoch: u64, sequence: u64) -> Self {
        Self { sequence: Sequence::new(channel, epoch, sequence), owed: None, later: None }
    }

    /// The subscription goes on after a reconnect, and was granted at this sequence number.
    pub(crate) fn resume(&mut self, epoch: u64, sequence: u64) {
        (self.owed, self.later) = (None, None);
        if epoch == self.sequence.position().0 {
            self.owe(Owed::Until { sequence, cause: GapCause::Resume });
        } else {
            self.owe(Owed::Restart { epoch });
        }
        self.sequence.resume(epoch, sequence);
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// It waits for what it missed while it was away.
    pub(crate) fn is_filling(&self) -> bool {
        self.owed.is_some_and(|claim| claim.owed.is_of_absence())
    }

    /// Takes a record.
    pub(crate) fn record(&mut self, record: Numbered) -> Verdict {
        let before = self.sequence.position();
        let verdict = self.sequence.record(record);
        self.moved_from(before);
        verdict
    }

    /// The gateway announces a gap. Returns what was missing before it without a word, and the gap as far as it is new.
    pub(crate) fn gap(&mut self, gap: &Gap) -> (Option<Missing>, Option<Missing>) {
        let before = self.sequence.position();
        let missing = self.sequence.gap(gap);
        self.moved_from(before);
        missing
    }

    /// A heartbeat says that this sequence number exists. Heartbeats may overtake records, so it is only owed for now.
    pub(crate) fn heartbeat(&mut self, epoch: u64, sequence: u64) {
        if epoch == self.sequence.position().0 {
            self.owe(Owed::Until { sequence, cause: GapCause::Unknown });
        } else {
            self.owe(Owed::Renumbered { epoch });
        }
    }

    /// Gives up what was waited for too long: to be asked again until it returns None.
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

    /// Gives up what is owed.
    pub(crate) fn give_up(&mut self) -> Option<Missing> {
        let before = self.sequence.position();
        let missing = match self.owed?.owed {
            Owed::Restart { epoch } => self.sequence.restart(epoch, GapCause::Resume),
            Owed::Renumbered { epoch } => self.sequence.restart(epoch, GapCause::Unknown),
            Owed::Until { sequence, cause } => self.sequence.skip_to(sequence, cause),
        };
        self.moved_from(before);
        Some(missing)
    }

    fn owe(&mut self, owed: Owed) {
        if !self.sequence.channel().is_lossless() || !self.is_open(owed) {
            return;
        }
        let claim = Some(Claim { owed, since: None });
        match (self.owed, self.later) {
            (None, _) => self.owed = claim,
            // The new epoch is told of on the way there.
            (Some(Claim { owed: Owed::Restart { .. }, .. }), _) => {}
            (Some(known), _) if known.owed.covers(owed) => {}
            (_, Some(known)) if known.owed.covers(owed) => {}
            _ => self.later = claim,
        }
    }

    fn is_open(&self, owed: Owed) -> bool {
        let (epoch, last) = self.sequence.position();
        match owed {
            Owed::Until { sequence, .. } => sequence > last,
            Owed::Restart { epoch: other } | Owed::Renumbered { epoch: other } => other != epoch,
        }
    }

    /// The sequence may have moved on: then what is owed came, or is on its way.
    fn moved_from(&mut self, before: (u64, u64)) {
        let now = self.sequence.position();
        if now.0 != before.0 {
            (self.owed, self.later) = (None, None);
        } else if now.1 != before.1 {
            match &mut self.owed {
                Some(Claim { owed: Owed::Until { sequence, .. }, .. }) if now.1 >= *sequence => {
                    self.owed = self.later.take().filter(|claim| self.is_open(claim.owed));
                }
                Some(claim) => claim.since = None,
                None => {}
            }
        }
    }
}

impl Owed {
    fn is_of_absence(self) -> bool {
        matches!(self, Self::Restart { .. } | Self::Until { cause: GapCause::Resume, .. })
    }

    /// Whoever has this has the other too.
    fn covers(self, other: Self) -> bool {
        match (self, other) {
            (Self::Until { sequence, .. }, Self::Until { sequence: other, .. }) => sequence >= other,
            _ => self == other,
        }
    }
}

#[cfg(test)]
#[path = "pending_gaps_tests.rs"]
mod tests;
