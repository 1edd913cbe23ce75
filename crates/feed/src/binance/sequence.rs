//! The sequence of a venue's ids: it tells messages that repeat or come late from a sequence that starts again.
//!
//! A message whose id is not above the highest so far is late, repeated, or of a new sequence. It is of a new one when
//! messages go on from there: ids that increase, none above the highest in between, and
//!
//! - the venue's time moved on while the ids fell ([`TIMED`] messages; what is late or repeated is not newer), or
//! - where there is no such time: they are far below, less than half ([`FAR`] messages), or there are [`UNTIMED`] of
//!   them, which is more than are resent or overtaken.
//!
//! Until it is sure, messages are pending; then they are given out, so that none is lost.

/// The number of messages that prove a new sequence where the venue's time tells.
pub(crate) const TIMED: usize = 3;
/// The number of messages that prove it where only the distance tells.
pub(crate) const FAR: usize = 3;
/// The number of messages that prove it where only their count tells.
pub(crate) const UNTIMED: usize = 16;
/// The distance that is no matter of messages that come late.
const FAR_DISTANCE: u64 = 1_000;
/// The distance from the receive time within which a venue's time is believed, in nanoseconds.
const CLOCKS_APART_MAX: u64 = 60_000_000_000;

/// The position of a message in the sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceMark {
    pub(crate) id: u64,
    /// The time by the venue's clock.
    pub(crate) time: Option<u64>,
    pub(crate) receive_time: u64,
}

/// The sequence of one channel of one symbol; `T` is a pending message.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    highest: Option<SequenceMark>,
    pending: Vec<(u64, T)>,
}

/// The place of a message in its sequence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival<T> {
    /// It is the next; `repeats` that were pending are none of a new sequence.
    Next { message: T, previous: Option<u64>, repeats: usize },
    /// It is repeated or late, as so many are.
    Repeat { repeats: usize },
    /// It is not known yet.
    Pending,
    /// A new sequence began with the first of these.
    Restart(Vec<(u64, T)>),
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self { highest: None, pending: Vec::new() }
    }
}

impl<T> Sequence<T> {
    pub(crate) fn take(&mut self, mark: SequenceMark, message: T) -> Arrival<T> {
        let mark = SequenceMark {
            time: mark.time.filter(|time| time.abs_diff(mark.receive_time) <= CLOCKS_APART_MAX),
            ..mark
        };
        let highest = match self.highest {
            Some(highest) if mark.id <= highest.id => highest,
            before => {
                self.highest = Some(mark);
                let repeats = self.pending.drain(..).count();
                return Arrival::Next { message, previous: before.map(|before| before.id), repeats };
            }
        };
        let times = mark.time.zip(highest.time);
        let is_old = match times {
            Some((time, before)) => time <= before,
            None => mark.receive_time < highest.receive_time,
        };
        let last_pending = self.pending.last().map(|(id, _)| *id);
        if is_old || mark.id == highest.id || last_pending == Some(mark.id) {
            return Arrival::Repeat { repeats: 1 };
        }
        let mut repeats = 0;
        if last_pending.is_some_and(|last| mark.id < last) {
            // These did not go on: perhaps this one does.
            repeats = self.pending.drain(..).count();
        }
        self.pending.push((mark.id, message));
        let is_far = mark.id < highest.id / 2 && highest.id - mark.id > FAR_DISTANCE;
        let needed = if times.is_some() {
            TIMED
        } else if is_far {
            FAR
        } else {
            UNTIMED
        };
        if self.pending.len() >= needed {
            self.highest = Some(mark);
            return Arrival::Restart(std::mem::take(&mut self.pending));
        }
        if repeats > 0 { Arrival::Repeat { repeats } } else { Arrival::Pending }
    }

    /// Returns the time at which the highest was received.
    pub(crate) fn receive_time(&self) -> Option<u64> {
        self.highest.map(|mark| mark.receive_time)
    }

    /// Returns how many messages are pending.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    fn mark(id: u64, milliseconds: u64, is_timed: bool) -> SequenceMark {
        let receive_time = START + milliseconds * 1_000_000;
        SequenceMark { id, time: is_timed.then_some(receive_time - 5_000_000), receive_time }
    }

    /// Takes ids, one each millisecond; returns at which of them a new sequence was found, and with which ids.
    fn restarts(ids: impl IntoIterator<Item = u64>, is_timed: bool) -> Vec<(usize, Vec<u64>)> {
        let mut sequence = Sequence::default();
        let mut found = Vec::new();
        for (at, id) in ids.into_iter().enumerate() {
            if let Arrival::Restart(pending) = sequence.take(mark(id, at as u64, is_timed), ()) {
                found.push((at, pending.into_iter().map(|(id, ())| id).collect()));
            }
        }
        found
    }

    #[test]
    fn a_sequence_that_goes_on_from_below_is_new() {
        assert_eq!(restarts([500, 501, 1, 2, 3, 4], true), [(4, vec![1, 2, 3])]);
        assert_eq!(restarts([500, 501, 300, 300, 301, 301, 302], true), [(6, vec![300, 301, 302])]);
        assert_eq!(restarts([50_000, 1, 2, 3], false), [(3, vec![1, 2, 3])]);
        let near = restarts((1_000..1_100).chain(900..950), false);
        assert_eq!(near, [(100 + UNTIMED - 1, (900..900 + UNTIMED as u64).collect())]);
        // A single wild id shuts nobody out.
        assert_eq!(restarts([5, 6, u64::MAX, 7, 8, 9, 10], true), [(5, vec![7, 8, 9])]);
        assert_eq!(restarts([500, 1, 2, 501, 3, 4, 502], true), []);
    }

    #[test]
    fn what_was_pending_is_counted_when_it_was_nothing() {
        let mut sequence = Sequence::default();
        let take = |sequence: &mut Sequence<()>, id, at| sequence.take(mark(id, at, true), ());
        assert_eq!(take(&mut sequence, 500, 0), Arrival::Next { message: (), previous: None, repeats: 0 });
        assert_eq!(take(&mut sequence, 7, 1), Arrival::Pending);
        assert_eq!(take(&mut sequence, 8, 2), Arrival::Pending);
        assert_eq!(take(&mut sequence, 3, 3), Arrival::Repeat { repeats: 2 });
        assert_eq!(
            take(&mut sequence, 501, 4),
            Arrival::Next { message: (), previous: Some(500), repeats: 1 }
        );
        assert_eq!(sequence.pending(), 0);
    }

    proptest! {
        /// Sends each id up to `REACH` places late, and some again. Without a time of the venue; with one they carry
        /// the time of their first coming.
        #[test]
        fn late_and_repeated_messages_are_never_a_new_sequence(
            from in 1u64..10_000,
            moves in prop::collection::vec((0u64..7, 0u64..4), 1..300),
            is_timed in any::<bool>(),
        ) {
            let mut sent: Vec<(u64, u64)> = moves.iter().zip(0..).map(|((late, _), at)| (at + late, at)).collect();
            sent.extend(moves.iter().zip(0..).filter(|((_, again), _)| *again == 0).map(|((late, _), at)| (at + late + 5, at)));
            sent.sort_unstable();
            let mut sequence = Sequence::default();
            let (mut next, mut repeats) = (0, 0);
            for (now, (_, at)) in (0..).zip(&sent) {
                let time = is_timed.then_some(START + at * 1_000_000);
                let mark = SequenceMark { id: from + at, time, receive_time: START + now * 1_000_000 };
                match sequence.take(mark, ()) {
                    Arrival::Next { repeats: more, .. } => (next, repeats) = (next + 1, repeats + more),
                    Arrival::Repeat { repeats: more } => repeats += more,
                    Arrival::Pending => {}
                    Arrival::Restart(pending) => prop_assert!(false, "taken for new: {pending:?} of {sent:?}"),
                }
            }
            prop_assert_eq!(next + repeats + sequence.pending(), sent.len());
        }

        /// Whatever was before, a true reset is found after a known count, and nothing of it is lost.
        #[test]
        fn a_true_reset_is_always_found(
            before in 100u64..1_000_000,
            low in 1u64..90,
            steps in prop::collection::vec(1u64..3, 32),
            is_timed in any::<bool>(),
        ) {
            let mut id = low;
            let after: Vec<u64> = steps.iter().map(|step| { id += step; id }).collect();
            // In the untimed case the new ids must stay below for long enough to be told from late ones.
            prop_assume!(is_timed || before > 2_500);
            prop_assume!(after[TIMED] < before);
            let found = restarts((before..before + 5).chain(after.iter().copied()), is_timed);
            prop_assert_eq!(found.len(), 1);
            let (at, pending) = &found[0];
            prop_assert_eq!(*at, 4 + TIMED.max(FAR));
            prop_assert_eq!(&pending[..], &after[..pending.len()]);
        }
    }
}
