//! The envelope that this crate puts before each payload on NATS, so that the receiving side can restore the
//! publisher's order.
//!
//! ```text
//! byte 0      version, 1
//! bytes 1..8  publisher, random per bus handle, big endian
//! bytes 8..16 counter of the publisher, across all its subjects, big endian
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

pub(super) const ENVELOPE_BYTES: usize = 16;

const VERSION: u64 = 1;

/// The memory that is taken at once for outgoing messages, so that small ones share an allocation.
const ARENA_BYTES: usize = 64 * 1_024;

/// The place of a message in the order of its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) publisher: u64,
    pub(super) counter: u64,
}

/// The state that puts envelopes before payloads, with one counter.
pub(super) struct Sealer {
    publisher: u64,
    counter: u64,
    arena: BytesMut,
}

impl Sealer {
    pub(super) fn new(publisher: u64) -> Self {
        Self { publisher: publisher >> 8, counter: 0, arena: BytesMut::new() }
    }

    pub(super) fn seal(&mut self, payload: &[u8]) -> Bytes {
        self.counter += 1;
        let bytes = ENVELOPE_BYTES + payload.len();
        if self.arena.capacity() < bytes {
            self.arena.reserve(bytes.max(ARENA_BYTES));
        }
        self.arena.put_u64(VERSION << 56 | self.publisher);
        self.arena.put_u64(self.counter);
        self.arena.put_slice(payload);
        self.arena.split().freeze()
    }
}

/// Splits a message into its place and its payload; returns `None` when it was not sealed by this version.
pub(super) fn open(mut message: Bytes) -> Option<(Place, Bytes)> {
    let (head, rest) = message.split_first_chunk::<8>()?;
    let (counter, _) = rest.split_first_chunk::<8>()?;
    let head = u64::from_be_bytes(*head);
    if head >> 56 != VERSION {
        return None;
    }
    let publisher = head & (u64::MAX >> 8);
    let place = Place { publisher, counter: u64::from_be_bytes(*counter) };
    message.advance(ENVELOPE_BYTES);
    Some((place, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_pinned() {
        let mut sealer = Sealer::new(0x0102_0304_0506_07FF);
        assert_eq!(sealer.seal(b"hi").as_ref(), [1, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 1, b'h', b'i']);
        let second = sealer.seal(b"");
        let place = Place { publisher: 0x01_0203_0405_0607, counter: 2 };
        assert_eq!(open(second), Some((place, Bytes::new())));
    }

    #[test]
    fn what_was_not_sealed_does_not_open() {
        assert_eq!(open(Bytes::from_static(b"short")), None);
        assert_eq!(open(Bytes::from_static(&[1; 15])), None);
        assert_eq!(open(Bytes::from_static(&[2; 40])), None);
    }

    #[test]
    fn large_payloads_fit() {
        let mut sealer = Sealer::new(7);
        let payload = vec![5; 1 << 20];
        let (_, opened) = open(sealer.seal(&payload)).unwrap();
        assert_eq!(opened, payload);
    }
}
