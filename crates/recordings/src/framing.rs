//! The parts that the framings of multicast feeds have in common: messages behind their lengths, and the sequence numbers of a session.
//!
//! It does no input or output. A datagram is called a segment here.

use rustc_hash::FxHashMap;

/// The most messages that a hole is believed to have: a day has some hundred million.
const HOLE_MAX: i64 = 1 << 30;
/// The segments in a row that are passed over as repeated, before the numbers of those before them are doubted.
const BEHIND_MAX: u32 = 3;

/// Returns so many bytes from an offset on.
pub(crate) fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk::<N>().copied()
}

/// Returns the messages of a datagram: a length of two bytes stands before each one. What cannot be one is an error in words, and the last item.
pub(crate) fn messages(
    payload: &[u8],
    stated: u16,
    count: u16,
    length_of: fn([u8; 2]) -> u16,
) -> impl Iterator<Item = Result<&[u8], String>> {
    let (mut rest, has) = (payload, payload.len());
    let mut left = count;
    std::iter::from_fn(move || {
        if left == 0 {
            let more = std::mem::take(&mut rest).len();
            return (more > 0).then(|| Err(format!("{more} bytes follow the last message of a segment")));
        }
        let message = rest
            .split_first_chunk::<2>()
            .and_then(|(length, rest)| rest.split_at_checked(usize::from(length_of(*length))));
        let Some((message, more)) = message else {
            let number = count - left + 1;
            (left, rest) = (0, &[]);
            return Some(Err(format!(
                "message {number} of {count} of a segment is not whole: {has} of {stated} bytes are there"
            )));
        };
        (left, rest) = (left - 1, more);
        Some(Ok(message))
    })
}

/// The place of a segment in its sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The number of messages that are missing before it.
    pub(crate) missing: u64,
    /// The number of its first messages that were there already.
    pub(crate) repeated: u16,
}

/// The sequence numbers that come next, by session.
#[derive(Debug)]
pub(crate) struct Sequences<K>(FxHashMap<K, Next>);

/// The next sequence number of a session.
#[derive(Debug)]
struct Next {
    number: i64,
    /// The number that a segment with a number that nobody believed would be followed by.
    doubted: Option<i64>,
    /// The segments in a row that were there already, where each one goes on behind the one before it: the number of the last one's
    /// successor, how many there are, and the messages in them.
    behind: (i64, u32, u64),
}

impl Next {
    fn at(number: i64) -> Self {
        Self { number, doubted: None, behind: (0, 0, 0) }
    }
}

impl<K> Default for Sequences<K> {
    fn default() -> Self {
        Self(FxHashMap::default())
    }
}

impl<K: std::hash::Hash + Eq> Sequences<K> {
    /// Takes the next segment. The first one of a session begins its sequence. A flipped bit must not make all that follows a repetition. So a jump over
    /// more than [`HOLE_MAX`] messages is believed when the next segment goes on from there; and where [`BEHIND_MAX`] segments in a row were there already, each
    /// going on behind the one before, it was the jump before them that was wrong: what they had is missing, and the sequence goes on with them.
    ///
    /// # Errors
    /// Returns a text about a number that is not believed; the segment is not to be used.
    pub(crate) fn take(&mut self, session: K, first: i64, count: u16) -> Result<Order, String> {
        let end = first + i64::from(count);
        let next = self.0.entry(session).or_insert_with(|| Next::at(first));
        let ahead = first - next.number;
        if ahead > HOLE_MAX && next.doubted != Some(first) {
            next.doubted = Some(end);
            return Err(format!(
                "a segment has the sequence number {}, where {} comes next: it is not used",
                first, next.number
            ));
        }
        if count > 0 && end <= next.number {
            let (successor, segments, messages) = next.behind;
            let (segments, messages) = if successor == first { (segments, messages) } else { (0, 0) };
            if segments == BEHIND_MAX {
                *next = Next::at(end);
                return Ok(Order { missing: messages, repeated: 0 });
            }
            next.behind = (end, segments + 1, messages + u64::from(count));
            return Ok(Order { missing: 0, repeated: count });
        }
        *next = Next::at(next.number.max(end));
        let repeated = (-ahead).clamp(0, i64::from(count)) as u16;
        Ok(Order { missing: ahead.max(0).unsigned_abs(), repeated })
    }
}
