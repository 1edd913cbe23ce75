//! Finding one frame of a client in the bytes that were read (RFC 6455, section 5.2). No I/O.
//!
//! What a frame claims about its length is checked before a byte of its payload is waited for. Messages in several frames are put
//! together by `fragments.rs`.

use fastwebsockets::{Frame, OpCode, Payload};

/// Largest payload of a ping, pong or close frame, as the RFC has it.
const CONTROL_BYTES_MAX: usize = 125;
/// Longest head of a frame from a client: two bytes, eight of length, four of mask.
pub(crate) const HEAD_BYTES_MAX: usize = 14;

/// Where a whole frame lies in the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) opcode: OpCode,
    /// It ends its message.
    pub(crate) is_last: bool,
    pub(crate) mask: [u8; 4],
    /// Bytes of the head; the payload begins behind them.
    pub(crate) head: usize,
    /// Bytes of head and payload.
    pub(crate) end: usize,
}

impl Found {
    /// Unmasks the payload in place, in the bytes that the frame was found in.
    pub(crate) fn payload<'b>(&self, bytes: &'b mut [u8]) -> &'b [u8] {
        let payload = &mut bytes[self.head..self.end];
        Frame::new(true, self.opcode, Some(self.mask), Payload::BorrowedMut(payload)).unmask();
        payload
    }
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A rule of WebSocket is broken: which.
    Protocol(&'static str),
    /// The payload is larger than any command may be.
    TooLarge,
}

/// The frame at the start of `bytes`; `None` while it is not complete. `payload_max` bounds text and binary frames.
///
/// # Errors
/// As soon as the head shows that the frame cannot be taken, however much of it is there.
pub(crate) fn find(bytes: &[u8], payload_max: usize) -> Result<Option<Found>, Fault> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Fault::Protocol("reserved bits are set"));
    }
    let Ok(opcode) = OpCode::try_from(first & 0x0f) else {
        return Err(Fault::Protocol("unknown opcode"));
    };
    let is_last = first & 0x80 != 0;
    let is_control = matches!(opcode, OpCode::Ping | OpCode::Pong | OpCode::Close);
    if is_control && !is_last {
        return Err(Fault::Protocol("a control frame in fragments"));
    }
    if second & 0x80 == 0 {
        return Err(Fault::Protocol("not masked"));
    }
    let (length, head) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 2 + 2 + 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 2 + 8 + 4),
            None => return Ok(None),
        },
        length => (u64::from(length), 2 + 4),
    };
    if is_control && length > CONTROL_BYTES_MAX as u64 {
        return Err(Fault::Protocol("a control frame above 125 bytes"));
    }
    if length > payload_max.max(CONTROL_BYTES_MAX) as u64 {
        return Err(Fault::TooLarge);
    }
    let end = head + length as usize;
    if bytes.len() < end {
        return Ok(None);
    }
    let mut mask = [0; 4];
    mask.copy_from_slice(&bytes[head - 4..head]);
    Ok(Some(Found { opcode, is_last, mask, head, end }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 70_000;

    /// A frame as the library writes it.
    fn frame(opcode: OpCode, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut frame = Frame::new(true, opcode, mask, Payload::Owned(payload.to_vec()));
        if mask.is_some() {
            frame.mask();
        }
        let mut bytes = Vec::new();
        frame.write(&mut bytes).to_vec()
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<Option<(OpCode, usize)>, Fault>) {
        let found = find(bytes, MAX).map(|found| found.map(|found| (found.opcode, found.end)));
        assert_eq!(found, expected, "{bytes:02x?}");
    }

    #[test]
    fn whole_and_incomplete() {
        check(&[], Ok(None));
        check(&[0x81], Ok(None));
        check(&[0x81, 0x80], Ok(None));
        check(&[0x81, 0x80, 1, 2, 3], Ok(None));
        check(&[0x81, 0x80, 1, 2, 3, 4], Ok(Some((OpCode::Text, 6))));
        check(&[0x81, 0x80, 1, 2, 3, 4, 0x81], Ok(Some((OpCode::Text, 6))));
        check(&[0x82, 0x81, 1, 2, 3, 4], Ok(None));
        check(&[0x82, 0x81, 1, 2, 3, 4, 5], Ok(Some((OpCode::Binary, 7))));
        check(&[0x89, 0x80, 0, 0, 0, 0], Ok(Some((OpCode::Ping, 6))));
        check(&[0x8a, 0x80, 0, 0, 0, 0], Ok(Some((OpCode::Pong, 6))));
        check(&[0x88, 0x80, 0, 0, 0, 0], Ok(Some((OpCode::Close, 6))));
        check(&[0x82, 0xfe, 0], Ok(None));
        check(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0], Ok(None));
    }

    #[test]
    fn refused_by_the_head() {
        let protocol = |why| Err(Fault::Protocol(why));
        check(&[0xc1, 0x80], protocol("reserved bits are set"));
        check(&[0xff, 0xff], protocol("reserved bits are set"));
        check(&[0x83, 0x80], protocol("unknown opcode"));
        check(&[0x8f, 0x80], protocol("unknown opcode"));
        check(&[0x09, 0x80], protocol("a control frame in fragments"));
        check(&[0x01, 0x80], Ok(None));
        check(&[0x80, 0x80], Ok(None));
        check(&[0x81, 0x02], protocol("not masked"));
        check(&[0x88, 0x00], protocol("not masked"));
        check(&[0x89, 0xfe, 0, 126], protocol("a control frame above 125 bytes"));
        check(&[0x88, 0xff, 0, 0, 0, 0, 0, 0, 1, 0], protocol("a control frame above 125 bytes"));
    }

    #[test]
    fn lengths_at_their_bounds() {
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, MAX] {
            let bytes = frame(OpCode::Binary, Some([1, 2, 3, 4]), &vec![7; length]);
            check(&bytes, Ok(Some((OpCode::Binary, bytes.len()))));
            check(&bytes[..bytes.len() - 1], Ok(None));
        }
        check(&frame(OpCode::Binary, Some([1; 4]), &vec![7; MAX + 1])[..10], Err(Fault::TooLarge));
        check(&[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], Err(Fault::TooLarge));
        check(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0], Err(Fault::TooLarge));
    }

    #[test]
    fn a_pong_fits_where_commands_may_be_shorter() {
        let bytes = frame(OpCode::Pong, Some([1; 4]), &[7; 125]);
        assert!(find(&bytes, 16).unwrap().is_some());
    }

    proptest! {
        /// What the library writes is found and unmasked, byte for byte, at whichever place the reads are cut.
        #[test]
        fn what_the_library_writes_is_found(
            payload in proptest::collection::vec(any::<u8>(), 0..300),
            mask in any::<[u8; 4]>(),
            cut in 0_usize..320,
        ) {
            let mut bytes = frame(OpCode::Text, Some(mask), &payload);
            let cut = cut.min(bytes.len());
            if cut < bytes.len() {
                prop_assert_eq!(find(&bytes[..cut], MAX), Ok(None));
            }
            let found = find(&bytes, MAX).unwrap().unwrap();
            prop_assert_eq!(found.end, bytes.len());
            prop_assert_eq!(found.payload(&mut bytes), &payload[..]);
        }

        /// Hostile bytes never make it look behind their end or past the limit, and a verdict never changes when more
        /// comes.
        #[test]
        fn hostile_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..64), max in 0_usize..64) {
            let whole = find(&bytes, max);
            if let Ok(Some(found)) = whole {
                prop_assert!(found.head >= 6 && found.head <= HEAD_BYTES_MAX);
                prop_assert!(found.head <= found.end && found.end <= bytes.len());
                prop_assert!(found.end - found.head <= max.max(CONTROL_BYTES_MAX));
            }
            for cut in 0..bytes.len() {
                let part = find(&bytes[..cut], max);
                prop_assert!(part == Ok(None) || part == whole);
            }
        }
    }
}
