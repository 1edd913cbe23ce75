//! Counts the numbers of one lossless channel of one instrument: whatever is missing is announced, nothing comes twice.
//!
//! A plain state machine. Its clock is the gateway's send time, so that a program that pauses sees no loss that is only
//! its own lateness.

use tickwire_wire::{Gap, GapCause};

/// How long something that is owed may fail to come, in nanoseconds of the gateway's send time during which no lossless
/// record arrived: five heartbeats.
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

/// What to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    /// Numbers before it are missing, and nobody said so.
    TakeAfter(Missing),
    Duplicate,
}

/// What the gateway has, and this client does not have yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    /// Numbers up to this one.
    Until { sequence: u64, cause: GapCause },
    /// All of a numbering that this client never saw the end of.
    Restart { epoch: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbering {
    epoch: u64,
    /// Last number that was delivered or announced, or that had passed when the subscription began. None: numbering
    /// started anew, and the next record says where.
    position: Option<u64>,
    /// Last number that was delivered or announced: a snapshot may repeat the position once.
    shown: u64,
    owed: Option<Owed>,
}

impl Numbering {
    /// A subscription begins here.
    pub(crate) fn new(epoch: u64, sequence: u64) -> Self {
        Self { epoch, position: Some(sequence), shown: 0, owed: None }
    }

    /// The subscription goes on after a reconnect, and the gateway is at this number.
    pub(crate) fn resume(&mut self, epoch: u64, sequence: u64) {
        self.owed = None;
        if epoch != self.epoch {
            self.owed = Some(Owed::Restart { epoch });
        } else if sequence > self.position.unwrap_or(0) {
            self.owed = Some(Owed::Until { sequence, cause: GapCause::Resume });
        }
    }

    /// For the resume vector.
    pub(crate) fn position(&self) -> (u64, u64) {
        (self.epoch, self.position.unwrap_or(0))
    }

    pub(crate) fn is_owed(&self) -> bool {
        self.owed.is_some()
    }

    /// A record with this number came.
    pub(crate) fn record(&mut self, sequence: u64) -> Verdict {
        if let Some(Owed::Restart { epoch }) = self.owed {
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
        let is_ahead = self.position.is_some_and(|position| sequence > position);
        if self.owed.is_none() && epoch == self.epoch && is_ahead {
            self.owed = Some(Owed::Until { sequence, cause: GapCause::Unknown });
        }
    }

    /// It has been too long: what is owed will not come.
    pub(crate) fn give_up(&mut self) -> Option<Missing> {
        match self.owed.take()? {
            Owed::Restart { epoch } => Some(self.restart(epoch, GapCause::Resume)),
            Owed::Until { sequence, cause } => {
                let first = self.position? + 1;
                self.advance(sequence);
                Some(Missing { first, last: Some(sequence), epoch: self.epoch, cause })
            }
        }
    }

    fn advance(&mut self, sequence: u64) {
        self.position = Some(sequence);
        self.shown = sequence;
        if matches!(self.owed, Some(Owed::Until { sequence: owed, .. }) if sequence >= owed) {
            self.owed = None;
        }
    }

    fn restart(&mut self, epoch: u64, cause: GapCause) -> Missing {
        let first = self.position.map_or(1, |position| position + 1);
        *self = Self { epoch, position: None, shown: 0, owed: None };
        Missing { first, last: None, epoch, cause }
    }

    /// What is missing before this number was lost while away if that is what the gateway owed.
    fn cause_before(&self, sequence: u64) -> GapCause {
        match self.owed {
            Some(Owed::Until { sequence: owed, cause }) if sequence <= owed.saturating_add(1) => cause,
            _ => GapCause::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tickwire_wire::Channel;

    use super::*;

    fn missing(first: u64, last: u64, cause: GapCause) -> Missing {
        Missing { first, last: Some(last), epoch: 1, cause }
    }

    fn announced(first: u64, last: u64) -> Gap {
        let (channel, cause) = (Channel::Trade.into(), GapCause::Shed.into());
        Gap { channel, cause, first_sequence: first, last_sequence: last, epoch: 2 }
    }

    #[test]
    fn a_snapshot_repeats_the_last_number_once() {
        let mut numbering = Numbering::new(1, 5);
        assert_eq!(numbering.record(5), Verdict::Take);
        assert_eq!(numbering.record(5), Verdict::Duplicate);
        assert_eq!(numbering.record(6), Verdict::Take);
    }

    #[test]
    fn a_jump_is_a_loss() {
        let mut numbering = Numbering::new(1, 5);
        assert_eq!(numbering.record(6), Verdict::Take);
        assert_eq!(numbering.record(9), Verdict::TakeAfter(missing(7, 8, GapCause::Unknown)));
        assert_eq!(numbering.record(7), Verdict::Duplicate);
        assert_eq!(numbering.record(10), Verdict::Take);
    }

    #[test]
    fn an_announced_gap_is_no_violation() {
        let mut numbering = Numbering::new(1, 5);
        assert_eq!(numbering.gap(&announced(6, 9)), (None, Some(missing(6, 9, GapCause::Shed))));
        assert_eq!(numbering.record(10), Verdict::Take);
        assert_eq!(numbering.gap(&announced(6, 9)), (None, None), "known already");
        let expected = (Some(missing(11, 11, GapCause::Unknown)), Some(missing(12, 13, GapCause::Shed)));
        assert_eq!(numbering.gap(&announced(12, 13)), expected);
        assert_eq!(numbering.gap(&announced(12, 15)), (None, Some(missing(14, 15, GapCause::Shed))));
    }

    #[test]
    fn a_new_numbering_starts_anywhere() {
        let mut numbering = Numbering::new(1, 5);
        let restart = Missing { first: 6, last: None, epoch: 2, cause: GapCause::Shed };
        assert_eq!(numbering.gap(&announced(6, 0)), (None, Some(restart)));
        assert_eq!(numbering.position(), (2, 0));
        assert_eq!(numbering.record(4), Verdict::Take);
        assert_eq!(
            numbering.record(6),
            Verdict::TakeAfter(Missing { epoch: 2, ..missing(5, 5, GapCause::Unknown) })
        );
    }

    #[test]
    fn after_a_reconnect_back_fill_comes_or_the_loss_is_exact() {
        let mut filled = Numbering::new(1, 5);
        filled.resume(1, 7);
        assert!(filled.is_owed());
        assert_eq!([filled.record(5), filled.record(6), filled.record(7)], [Verdict::Take; 3]);
        assert!(!filled.is_owed());

        let mut jumped = Numbering::new(1, 5);
        jumped.resume(1, 7);
        assert_eq!(jumped.record(8), Verdict::TakeAfter(missing(6, 7, GapCause::Resume)));

        let mut silent = Numbering::new(1, 5);
        silent.resume(1, 7);
        assert_eq!(silent.give_up(), Some(missing(6, 7, GapCause::Resume)));
        assert_eq!(silent.give_up(), None);
        assert_eq!(silent.record(8), Verdict::Take);

        let mut restarted = Numbering::new(1, 5);
        restarted.resume(2, 3);
        let lost = Missing { first: 6, last: None, epoch: 2, cause: GapCause::Resume };
        assert_eq!(restarted.record(4), Verdict::TakeAfter(lost));
        assert_eq!(restarted.record(5), Verdict::Take);
    }

    #[test]
    fn a_heartbeat_finds_the_loss_of_a_last_record() {
        let mut numbering = Numbering::new(1, 5);
        numbering.heartbeat(1, 5);
        assert!(!numbering.is_owed());
        numbering.heartbeat(1, 6);
        assert_eq!(numbering.give_up(), Some(missing(6, 6, GapCause::Unknown)));
        numbering.heartbeat(1, 7);
        assert_eq!(numbering.record(7), Verdict::Take);
        assert_eq!(numbering.give_up(), None);
    }

    proptest! {
        /// Whatever is lost and however often the connection breaks: each number after the beginning is delivered or
        /// missing, exactly once and in order.
        #[test]
        fn every_number_is_accounted_for(steps in prop::collection::vec((1u64..4, 0u8..6), 0..200)) {
            let (mut numbering, mut sent, mut accounted) = (Numbering::new(1, 0), 0, Vec::new());
            for (count, what) in steps {
                let range = sent + 1..=sent + count;
                match what {
                    0 => sent += count, // lost without a word
                    1 => numbering.resume(1, sent),
                    2 => {
                        let (before, gap) = numbering.gap(&announced(*range.start(), *range.end()));
                        for missing in [before, gap].into_iter().flatten() {
                            accounted.extend(missing.first..=missing.last.unwrap());
                        }
                        sent += count;
                    }
                    _ => for number in range {
                        match numbering.record(number) {
                            Verdict::Take => {}
                            Verdict::TakeAfter(missing) => accounted.extend(missing.first..=missing.last.unwrap()),
                            Verdict::Duplicate => panic!("{number} came once"),
                        }
                        prop_assert_eq!(numbering.record(number), Verdict::Duplicate);
                        accounted.push(number);
                        sent = number;
                    },
                }
            }
            let (_, position) = numbering.position();
            prop_assert_eq!(accounted, (1..=position).collect::<Vec<_>>());
        }
    }
}
