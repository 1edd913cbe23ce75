//! IEX-TP, the transport of the feeds of IEX: segments of messages in datagrams.
//!
//! It does no input or output: a datagram goes in, a header and messages come out.

use crate::framing::{self, bytes};

/// The bytes of a segment's header.
const HEADER_BYTES: usize = 40;
const VERSION: u8 = 1;

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

    /// Returns what its sequence is counted by: a session of a channel.
    pub(crate) fn session(&self) -> (u32, u32) {
        (self.channel, self.session)
    }

    /// Returns the messages. What cannot be one is an error in words, and the last item.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Result<&'a [u8], String>> + use<'a> {
        framing::messages(self.payload, self.stated, self.count, u16::from_le_bytes)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::framing::{Order, Sequences};

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

    fn take_of(sequences: &mut Sequences<(u32, u32)>, segment: &Segment<'_>) -> Result<Order, String> {
        sequences.take(segment.session(), segment.first, segment.count)
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
                take_of(&mut sequences, &Segment::parse(&datagram).unwrap()).unwrap_or_default();
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
                match take_of(&mut sequences, &segment) {
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
            assert_eq!(take_of(&mut sequences, &segment), Ok(Order::default()));
            assert_eq!(take_of(&mut sequences, &segment), Ok(Order { missing: 0, repeated: 2 }));
        }
    }
}
