//! IEX-TP, the transport of the feeds of IEX: segments of messages in datagrams.
//!
//! It does no input or output: a datagram goes in, a header and messages come out.

use rustc_hash::FxHashMap;

/// The bytes of a segment's header.
const HEADER_BYTES: usize = 40;
const VERSION: u8 = 1;
/// The most messages that a hole is believed to have: a day has some hundred million.
const HOLE_MAX: i64 = 1 << 30;
/// The segments in a row that are passed over as repeated, before the numbers of those before them are doubted.
const BEHIND_MAX: u32 = 3;

/// A segment: one datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    /// The protocol of the messages.
    pub(crate) protocol: u16,
    pub(crate) channel: u32,
    pub(crate) session: u32,
    /// The number of messages; a heartbeat has none.
    pub(crate) count: u16,
    /// The sequence number of the first message; of a heartbeat, that of the next message.
    pub(crate) first: i64,
    /// The time of sending, in nanoseconds since the Unix epoch.
    pub(crate) send_time: i64,
    payload: &'a [u8],
    /// The bytes of the payload that the header says.
    stated: u16,
}

/// Returns so many bytes from an offset on.
pub(crate) fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..)?.first_chunk::<N>().copied()
}

impl<'a> Segment<'a> {
    /// Reads the header of a segment.
    ///
    /// # Errors
    /// Returns what is wrong with it, in words.
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, String> {
        let Some((head, payload)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
            return Err(format!(
                "a datagram of {} bytes is no segment of IEX-TP, whose header has {HEADER_BYTES}",
                datagram.len()
            ));
        };
        if head[0] != VERSION {
            return Err(format!(
                "a segment is of version {} of IEX-TP, and only {VERSION} is known",
                head[0]
            ));
        }
        let u16_at = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes(bytes(head, at).unwrap_or_default());
        let i64_at = |at: usize| i64::from_le_bytes(bytes(head, at).unwrap_or_default());
        let (stated, count, first) = (u16_at(12), u16_at(14), i64_at(24));
        if first < 0 || first.checked_add(i64::from(count)).is_none() {
            return Err(format!("a segment cannot begin with the sequence number {first}"));
        }
        Ok(Self {
            protocol: u16_at(2),
            channel: u32_at(4),
            session: u32_at(8),
            count,
            first,
            send_time: i64_at(32),
            payload: &payload[..payload.len().min(usize::from(stated))],
            stated,
        })
    }

    /// Returns the messages. What cannot be one is an error in words, and the last item.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Result<&'a [u8], String>> + use<'a> {
        let (mut rest, has, stated) = (self.payload, self.payload.len(), self.stated);
        let (mut left, count) = (self.count, self.count);
        std::iter::from_fn(move || {
            if left == 0 {
                let more = std::mem::take(&mut rest).len();
                return (more > 0).then(|| Err(format!("{more} bytes follow the last message of a segment")));
            }
            let message = rest
                .split_first_chunk::<2>()
                .and_then(|(length, rest)| rest.split_at_checked(usize::from(u16::from_le_bytes(*length))));
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
}

/// The place of a segment in its sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The number of messages that are missing before it.
    pub(crate) missing: u64,
    /// The number of its first messages that were there already.
    pub(crate) repeated: u16,
}

/// The sequence numbers that come next, by channel and session.
#[derive(Debug, Default)]
pub(crate) struct Sequences(FxHashMap<(u32, u32), Next>);

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

impl Sequences {
    /// Takes the next segment. The first one of a session begins its sequence. A flipped bit must not make all that follows a repetition. So a jump over
    /// more than [`HOLE_MAX`] messages is believed when the next segment goes on from there; and where [`BEHIND_MAX`] segments in a row were there already, each
    /// going on behind the one before, it was the jump before them that was wrong: what they had is missing, and the sequence goes on with them.
    ///
    /// # Errors
    /// Returns a text about a number that is not believed; the segment is not to be used.
    pub(crate) fn take(&mut self, segment: &Segment<'_>) -> Result<Order, String> {
        let end = segment.first + i64::from(segment.count);
        let session = (segment.channel, segment.session);
        let next = self.0.entry(session).or_insert_with(|| Next::at(segment.first));
        let ahead = segment.first - next.number;
        if ahead > HOLE_MAX && next.doubted != Some(segment.first) {
            next.doubted = Some(end);
            return Err(format!(
                "a segment has the sequence number {}, where {} comes next: it is not used",
                segment.first, next.number
            ));
        }
        if segment.count > 0 && end <= next.number {
            let (successor, segments, messages) = next.behind;
            let (segments, messages) = if successor == segment.first { (segments, messages) } else { (0, 0) };
            if segments == BEHIND_MAX {
                *next = Next::at(end);
                return Ok(Order { missing: messages, repeated: 0 });
            }
            next.behind = (end, segments + 1, messages + u64::from(segment.count));
            return Ok(Order { missing: 0, repeated: segment.count });
        }
        *next = Next::at(next.number.max(end));
        let repeated = (-ahead).clamp(0, i64::from(segment.count)) as u16;
        Ok(Order { missing: ahead.max(0).unsigned_abs(), repeated })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Makes a segment of TOPS 1.6.
    pub(crate) fn segment(first: i64, messages: &[Vec<u8>]) -> Vec<u8> {
        let payload: Vec<u8> = messages
            .iter()
            .flat_map(|message| [&(message.len() as u16).to_le_bytes()[..], message].concat())
            .collect();
        let mut bytes = vec![1, 0, 3, 0x80];
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(7u32.to_le_bytes());
        bytes.extend((payload.len() as u16).to_le_bytes());
        bytes.extend((messages.len() as u16).to_le_bytes());
        bytes.extend(0i64.to_le_bytes());
        bytes.extend(first.to_le_bytes());
        bytes.extend(1_500_000_000_000_000_000i64.to_le_bytes());
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn messages_come_out_as_they_went_in() {
        let datagram = segment(5, &[vec![1, 2, 3], vec![], vec![4]]);
        let segment = Segment::parse(&datagram).unwrap();
        assert_eq!((segment.protocol, segment.channel, segment.session), (0x8003, 1, 7));
        assert_eq!((segment.count, segment.first, segment.send_time), (3, 5, 1_500_000_000_000_000_000));
        let messages: Result<Vec<_>, _> = segment.messages().collect();
        assert_eq!(messages.unwrap(), [&[1, 2, 3][..], &[], &[4]]);
    }

    #[test]
    fn a_segment_that_is_cut_says_so() {
        let whole = segment(5, &[vec![1, 2, 3], vec![4]]);
        for length in 0..whole.len() {
            let Ok(segment) = Segment::parse(&whole[..length]) else {
                assert!(length < HEADER_BYTES);
                continue;
            };
            let messages: Vec<_> = segment.messages().collect();
            assert_eq!(messages.len(), if length < 45 { 1 } else { 2 }, "{length}");
            assert!(messages.last().unwrap().is_err(), "{length}");
        }
        let mut more = whole;
        more[14] = 1;
        let messages: Vec<_> = Segment::parse(&more).unwrap().messages().collect();
        assert_eq!(messages[1], Err("3 bytes follow the last message of a segment".to_owned()));
    }

    #[test]
    fn sequences_tell_what_is_missing_and_what_is_repeated() {
        let mut sequences = Sequences::default();
        let mut take = |first, count| {
            let datagram = segment(first, &vec![vec![0]; count]);
            let Order { missing, repeated } =
                sequences.take(&Segment::parse(&datagram).unwrap()).unwrap_or_default();
            (missing, repeated)
        };
        assert_eq!(take(5, 2), (0, 0));
        assert_eq!(take(7, 1), (0, 0));
        assert_eq!(take(10, 2), (2, 0));
        assert_eq!(take(10, 2), (0, 2));
        assert_eq!(take(11, 2), (0, 1));
        assert_eq!(take(15, 0), (2, 0));
        assert_eq!(take(15, 1), (0, 0));
        assert_eq!(take(15, 0), (0, 0));
        // A flipped bit harms one segment; a sequence that goes on from there is believed.
        assert_eq!(take(16 + (1 << 40), 2), (0, 0));
        assert_eq!(take(18, 1), (2, 0));
        assert_eq!(take(1 << 40, 2), (0, 0));
        assert_eq!(take((1 << 40) + 2, 1), ((1 << 40) + 2 - 19, 0));
        assert_eq!(take((1 << 40) + 3, 1), (0, 0));
    }

    /// Whichever bit of a sequence number flips, and in whichever segment: all but a few messages are used, and those that are not are told.
    #[test]
    fn a_flipped_bit_harms_a_few_segments() {
        for (at, bit) in (0..20).flat_map(|at| (0..63).map(move |bit| (at, bit))) {
            let (mut sequences, mut used, mut told) = (Sequences::default(), 0, 0);
            for n in 0..40 {
                let first = 1 + 2 * n;
                let datagram = segment(if n == at { first ^ (1 << bit) } else { first }, &[vec![0], vec![0]]);
                let Ok(segment) = Segment::parse(&datagram) else { continue };
                match sequences.take(&segment) {
                    Ok(Order { missing, repeated }) => {
                        used += 2 - u64::from(repeated);
                        told += missing;
                    }
                    Err(_) => told += 2,
                }
            }
            assert!(used >= 80 - 10, "segment {at}, bit {bit}: {used} of 80");
            assert!(
                used >= 80 || told > 0 || at == 0,
                "segment {at}, bit {bit}: {used} of 80, and nothing is told"
            );
        }
    }

    /// Two lines of the same messages in one capture: the second copy of each is a repetition, however long that goes on.
    #[test]
    fn the_second_line_is_a_repetition() {
        let mut sequences = Sequences::default();
        for n in 0..100 {
            let datagram = segment(1 + 2 * n, &[vec![0], vec![0]]);
            let segment = Segment::parse(&datagram).unwrap();
            assert_eq!(sequences.take(&segment), Ok(Order::default()));
            assert_eq!(sequences.take(&segment), Ok(Order { missing: 0, repeated: 2 }));
        }
    }
}
