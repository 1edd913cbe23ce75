//! Tells messages that repeat or come late from a sequence that starts again.
//!
//! A message whose number is not above the highest so far is late, repeated, or of a new sequence. It is of a new one
//! when messages go on from there: numbers that increase, none above the highest in between, and
//! - the venue's time moved on while the numbers fell ([`TIMED`] messages; what is late or repeated is not newer), or
//! - where there is no such time: they are far below, less than half ([`FAR`] messages), or there are [`UNTIMED`] of
//!   them, which is more than are resent or overtaken.
//!
//! Until it is sure, messages are held; then they are given out, so that none is lost.

/// Messages that prove a new sequence where the venue's time tells.
pub(crate) const TIMED: usize = 3;
/// Where only the distance tells.
pub(crate) const FAR: usize = 3;
/// Where only their count tells.
pub(crate) const UNTIMED: usize = 16;
/// A distance that is no matter of messages that come late.
const FAR_DISTANCE: u64 = 1_000;
/// A venue's time is believed when it is so close to the receive time, in nanoseconds.
const CLOCKS_APART_MAX: u64 = 60_000_000_000;

/// Where a message stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) id: u64,
    /// By the venue's clock.
    pub(crate) time: Option<u64>,
    pub(crate) receive_time: u64,
}

/// The sequence of one channel of one symbol; `T` is what is held.
#[derive(Debug)]
pub(crate) struct Sequence<T> {
    highest: Option<Mark>,
    held: Vec<(u64, T)>,
}

/// What a message is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order<T> {
    /// The next; `repeats` that were held are none of a new sequence.
    Next { message: T, previous: Option<u64>, repeats: usize },
    /// Repeated or late, as so many are.
    Repeat { repeats: usize },
    /// Not known yet.
    Held,
    /// A new sequence began with the first of these.
    Restart(Vec<(u64, T)>),
}

impl<T> Default for Sequence<T> {
    fn default() -> Self {
        Self { highest: None, held: Vec::new() }
    }
}

impl<T> Sequence<T> {
    pub(crate) fn take(&mut self, mark: Mark, message: T) -> Order<T> {
        let mark = Mark {
            time: mark.time.filter(|time| time.abs_diff(mark.receive_time) <= CLOCKS_APART_MAX),
            ..mark
        };
        let highest = match self.highest {
            Some(highest) if mark.id <= highest.id => highest,
            before => {
                self.highest = Some(mark);
                let repeats = self.held.drain(..).count();
                return Order::Next { message, previous: before.map(|before| before.id), repeats };
            }
        };
        let times = mark.time.zip(highest.time);
        let is_old = match times {
            Some((time, before)) => time <= before,
            None => mark.receive_time < highest.receive_time,
        };
        let last_held = self.held.last().map(|(id, _)| *id);
        if is_old || mark.id == highest.id || last_held == Some(mark.id) {
            return Order::Repeat { repeats: 1 };
        }
        let mut repeats = 0;
        if last_held.is_some_and(|last| mark.id < last) {
            // These did not go on: perhaps this one does.
            repeats = self.held.drain(..).count();
        }
        self.held.push((mark.id, message));
        let is_far = mark.id < highest.id / 2 && highest.id - mark.id > FAR_DISTANCE;
        let needed = if times.is_some() {
            TIMED
        } else if is_far {
            FAR
        } else {
            UNTIMED
        };
        if self.held.len() >= needed {
            self.highest = Some(mark);
            return Order::Restart(std::mem::take(&mut self.held));
        }
        if repeats > 0 { Order::Repeat { repeats } } else { Order::Held }
    }

    /// When the highest was received.
    pub(crate) fn receive_time(&self) -> Option<u64> {
        self.highest.map(|mark| mark.receive_time)
    }

    /// How many are held.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: u64 = 1_700_000_000_000_000_000;

    fn mark(id: u64, milliseconds: u64, is_timed: bool) -> Mark {
        let receive_time = START + milliseconds * 1_000_000;
        Mark { id, time: is_timed.then_some(receive_time - 5_000_000), receive_time }
    }

    /// Takes numbers, one each millisecond; says at which of them a new sequence was found, and with which numbers.
    fn restarts(ids: impl IntoIterator<Item = u64>, is_timed: bool) -> Vec<(usize, Vec<u64>)> {
        let mut sequence = Sequence::default();
        let mut found = Vec::new();
        for (at, id) in ids.into_iter().enumerate() {
            if let Order::Restart(held) = sequence.take(mark(id, at as u64, is_timed), ()) {
                found.push((at, held.into_iter().map(|(id, ())| id).collect()));
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
        // A single wild number shuts nobody out.
        assert_eq!(restarts([5, 6, u64::MAX, 7, 8, 9, 10], true), [(5, vec![7, 8, 9])]);
        assert_eq!(restarts([500, 1, 2, 501, 3, 4, 502], true), []);
    }

    #[test]
    fn what_was_held_is_counted_when_it_was_nothing() {
        let mut sequence = Sequence::default();
        let take = |sequence: &mut Sequence<()>, id, at| sequence.take(mark(id, at, true), ());
        assert_eq!(take(&mut sequence, 500, 0), Order::Next { message: (), previous: None, repeats: 0 });
        assert_eq!(take(&mut sequence, 7, 1), Order::Held);
        assert_eq!(take(&mut sequence, 8, 2), Order::Held);
        assert_eq!(take(&mut sequence, 3, 3), Order::Repeat { repeats: 2 });
        assert_eq!(take(&mut sequence, 501, 4), Order::Next { message: (), previous: Some(500), repeats: 1 });
        assert_eq!(sequence.held(), 0);
    }

    proptest! {
        /// Each number comes up to `REACH` places late, and some come again. Without a time of the venue; with one they
        /// carry the time of their first coming.
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
                let mark = Mark { id: from + at, time, receive_time: START + now * 1_000_000 };
                match sequence.take(mark, ()) {
                    Order::Next { repeats: more, .. } => (next, repeats) = (next + 1, repeats + more),
                    Order::Repeat { repeats: more } => repeats += more,
                    Order::Held => {}
                    Order::Restart(held) => prop_assert!(false, "taken for new: {held:?} of {sent:?}"),
                }
            }
            prop_assert_eq!(next + repeats + sequence.held(), sent.len());
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
            // In the untimed case the new numbers must stay below for long enough to be told from late ones.
            prop_assume!(is_timed || before > 2_500);
            prop_assume!(after[TIMED] < before);
            let found = restarts((before..before + 5).chain(after.iter().copied()), is_timed);
            prop_assert_eq!(found.len(), 1);
            let (at, held) = &found[0];
            prop_assert_eq!(*at, 4 + TIMED.max(FAR));
            prop_assert_eq!(&held[..], &after[..held.len()]);
        }
    }
}
