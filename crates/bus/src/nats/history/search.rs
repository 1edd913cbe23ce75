//! The search for wanted messages in a stream, without I/O of its own.
//!
//! Messages that cannot tell their place belong to another sequence of the same subject, and sequences have no order:
//! such messages may lie before, between or behind those that can tell. So halving needs a message that can tell to go
//! by, and [`find`] looks for one where it meets none. What it may assume, and what that costs, is said at each step.
//!
//! Invariant of the halving: no wanted message that it knows of, or could have met, lies at or before `low`. Where it
//! has to guess it guesses so that too much is read rather than too little, as long as it knows a message that lies
//! before what is wanted.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::history::{HistoryError, Recall, Recalled};

/// The number of stream sequences that are read instead of halved when the first wanted message is known to be within
/// them. It is also how many messages behind one that cannot tell its place are tried instead of it.
pub(super) const NEAR: u64 = 64;
/// The depth to which a message that can tell is looked for: at the halves, quarters and so on of the range, so often.
const DEPTH: u32 = 5;
/// The same depth, before a stretch that cannot tell is taken to lie before all that is wanted.
const DEPTH_BEFORE: u32 = 3;
/// The most requests of the latter kind in one search.
const BEFORE_MAX: u32 = 42;
/// The number of messages in a row that are not wanted, before the next wanted one is searched for instead of read
/// towards.
const PASSED_MAX: usize = 256;
/// The most searches in one response, beside the first.
const JUMPS_MAX: usize = 8;

/// A message of the stream.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) sequence: u64,
    pub(super) place: Option<Ordering>,
    pub(super) payload: Bytes,
}

/// Messages that follow each other.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) found: Vec<Found>,
    /// Whether there is none behind them.
    pub(super) is_end: bool,
}

/// The messages that the stream keeps of one subject.
pub(super) trait StoredMessages {
    /// Returns the first message from a stream sequence on.
    async fn next(&mut self, from: u64) -> Result<Option<Found>, HistoryError>;
    /// Returns the last message.
    async fn last(&mut self) -> Result<Option<Found>, HistoryError>;
    /// Returns the messages from a stream sequence on, at most [`NEAR`].
    async fn near(&mut self, from: u64) -> Result<Part, HistoryError>;
    /// Returns the messages from a stream sequence on, as many as one request brings.
    async fn read(&mut self, from: u64) -> Result<Part, HistoryError>;
}

/// The limits of one response, and the place from which it goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    cursor: u64,
    messages_max: usize,
    bytes_max: usize,
}

impl Limits {
    pub(super) fn of(recall: &Recall) -> Self {
        let Recall { cursor, messages_max, bytes_max, .. } = *recall;
        Self { cursor, messages_max, bytes_max }
    }
}

/// Finds what is wanted and reads it, up to the limits.
pub(super) async fn recall(
    stored: &mut impl StoredMessages,
    limits: Limits,
) -> Result<Recalled, HistoryError> {
    let mut from = match limits.cursor {
        0 => match find(stored, 1).await? {
            Some(from) => from,
            None => return Ok(Recalled::default()),
        },
        cursor => cursor,
    };
    let mut recalled = Recalled { cursor: from, ..Recalled::default() };
    let (mut bytes, mut passed, mut jumps) = (0, 0, 0);
    loop {
        let part = stored.read(from).await?;
        for found in part.found {
            let is_full = recalled.messages.len() >= limits.messages_max
                || (bytes + found.payload.len() > limits.bytes_max && !recalled.messages.is_empty());
            match found.place {
                Some(Ordering::Greater) => return Ok(recalled),
                Some(Ordering::Equal) if is_full => {
                    recalled.more = true;
                    return Ok(recalled);
                }
                Some(Ordering::Equal) => {
                    bytes += found.payload.len();
                    passed = 0;
                    recalled.messages.push(found.payload);
                }
                None | Some(Ordering::Less) => passed += 1,
            }
            from = found.sequence + 1;
            recalled.cursor = from;
        }
        if part.is_end {
            return Ok(recalled);
        }
        if passed > PASSED_MAX {
            if jumps == JUMPS_MAX {
                recalled.more = !recalled.messages.is_empty();
                return Ok(recalled);
            }
            (jumps, passed) = (jumps + 1, 0);
            let Some(next) = find(stored, from).await? else { return Ok(recalled) };
            from = next;
        }
    }
}

/// The finding of a look from a place on.
enum Look {
    /// There is nothing of the subject.
    Empty,
    /// There are messages that cannot tell, and nothing else up to this one.
    Silent(u64),
    /// The first message that can tell.
    Told(u64, Ordering),
}

/// The range in which the first wanted message may be: behind `low`, and before `high` or at it.
struct Range {
    low: u64,
    high: u64,
    /// Whether a message at `low` or before it said that it lies before what is wanted.
    is_low_told: bool,
    /// Whether a message at `high` or behind it said that it does not.
    is_high_told: bool,
}

impl Range {
    /// Looks at what lies from `at` on, before `high`: at the first message, and further where that cannot tell.
    async fn look(&self, stored: &mut impl StoredMessages, at: u64) -> Result<Look, HistoryError> {
        let Some(first) = stored.next(at).await?.filter(|first| first.sequence < self.high) else {
            return Ok(Look::Empty);
        };
        match first.place {
            Some(place) => Ok(Look::Told(first.sequence, place)),
            None => Ok(match look_near(stored, first.sequence + 1, self.high).await? {
                Look::Empty => Look::Silent(first.sequence),
                look => look,
            }),
        }
    }

    /// Takes over what a message said that was met by looking from `at` on.
    fn told(&mut self, at: u64, sequence: u64, place: Ordering) {
        if place == Ordering::Less {
            (self.low, self.is_low_told) = (sequence, true);
        } else {
            // What lies between could not tell.
            (self.high, self.is_high_told) = (at.max(self.low + 1), true);
        }
    }

    /// Looks at these places until a message can tell; returns true when one did.
    async fn try_places(
        &mut self,
        stored: &mut impl StoredMessages,
        places: impl Iterator<Item = u64>,
        high: u64,
    ) -> Result<bool, HistoryError> {
        for at in places {
            if let Look::Told(sequence, place) = look_near(stored, at, high).await? {
                self.told(at, sequence, place);
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Looks at what lies from `at` on, before `high`, where messages are expected that cannot tell.
async fn look_near(stored: &mut impl StoredMessages, at: u64, high: u64) -> Result<Look, HistoryError> {
    let mut look = Look::Empty;
    for found in stored.near(at).await?.found {
        if found.sequence >= high {
            break;
        }
        if let Some(place) = found.place {
            return Ok(Look::Told(found.sequence, place));
        }
        look = Look::Silent(found.sequence);
    }
    Ok(look)
}

/// Returns the stream sequence from which on to read; `None` when nothing of the subject is wanted. What lies between
/// it and the first wanted message can tell, at most [`NEAR`] messages aside.
async fn find(stored: &mut impl StoredMessages, from: u64) -> Result<Option<u64>, HistoryError> {
    let Some(first) = stored.next(from).await? else { return Ok(None) };
    match first.place {
        Some(Ordering::Equal) => return Ok(Some(first.sequence)),
        Some(Ordering::Greater) => return Ok(None),
        Some(Ordering::Less) | None => {}
    }
    let last = stored.last().await?.filter(|last| last.sequence > first.sequence);
    let Some(last) = last.filter(|last| last.place != Some(Ordering::Less)) else { return Ok(None) };
    let mut range = Range {
        low: first.sequence,
        high: last.sequence + u64::from(last.place.is_none()),
        is_low_told: first.place.is_some(),
        is_high_told: last.place.is_some(),
    };
    if !range.is_low_told && !range.is_high_told {
        let places = backwards(range.low, range.high).chain(halves(range.low, range.high, DEPTH));
        let high = range.high;
        if !range.try_places(stored, places, high).await? {
            return Ok(None);
        }
    }
    let mut asked = 0;
    while range.high - range.low > NEAR {
        let middle = range.low + (range.high - range.low) / 2;
        match range.look(stored, middle).await? {
            Look::Told(sequence, place) => range.told(middle, sequence, place),
            Look::Empty => range.high = middle,
            // Either what is wanted went before and ended, or more of it follows: to begin here is right for both.
            Look::Silent(_) if range.is_low_told => range.high = middle,
            // This is another sequence before the wanted one, or between two stretches of it.
            Look::Silent(upto) => {
                let places = halves(range.low, middle, DEPTH_BEFORE);
                let is_told = asked < BEFORE_MAX && range.try_places(stored, places, middle).await?;
                asked += (1 << DEPTH_BEFORE) - 1;
                if !is_told {
                    range.low = upto;
                }
            }
        }
    }
    Ok(Some(range.low + 1))
}

/// Returns places between, further and further from the end: what is looked for is mostly young.
fn backwards(low: u64, high: u64) -> impl Iterator<Item = u64> {
    let distances = std::iter::successors(Some(NEAR / 2), |distance| distance.checked_mul(2));
    distances.take_while(move |distance| *distance < high - low).map(move |distance| high - distance)
}

/// Returns places between: the half, the quarters that are no halves, and so on.
fn halves(low: u64, high: u64, depth: u32) -> impl Iterator<Item = u64> {
    (1..=depth).flat_map(move |power| {
        (1..1_u64 << power).step_by(2).map(move |part| low + ((high - low) >> power) * part)
    })
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
