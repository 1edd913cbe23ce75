//! The logged records of a lossless topic, one behind the other, as the bytes that leave.
//!
//! A session that is not at the end of a log would find each of its records in three places of memory, none of which
//! is near: under an overload that costs ten times what copying does, and makes the overload last. From an encoded
//! log a session is sent one stretch of bytes, however many records it has.

use std::collections::VecDeque;

/// Most bytes of forgotten records that are kept before they are given back.
const SPENT_MIN: usize = 16 << 10;

/// The encoded log of one topic in one encoding. Positions count the records that the topic ever logged.
#[derive(Debug)]
pub(crate) struct EncodedLog {
    /// Position of the first record in it.
    first: u64,
    /// The place where each record ends, counted from the first byte that ever was in the encoded log. The place
    /// where the first record begins stands before them.
    ends: VecDeque<u64>,
    bytes: Vec<u8>,
    /// The count of bytes, at the beginning of `bytes`, that belong to forgotten records.
    spent: usize,
}

impl EncodedLog {
    /// Makes an encoded log for the records from a position on.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, ends: VecDeque::from([0]), bytes: Vec::new(), spent: 0 }
    }

    /// Appends the next record. For a gap `bytes` is empty: no stretch that is asked for has one in it.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push_back(self.end() + bytes.len() as u64);
    }

    /// Forgets what was logged before a position.
    pub(crate) fn cut(&mut self, to: u64) {
        while self.first < to && self.ends.len() > 1 {
            let begin = self.ends.pop_front().unwrap_or_default();
            self.spent += (self.ends[0] - begin) as usize;
            self.first += 1;
        }
        self.first = self.first.max(to);
        if self.spent > SPENT_MIN.max(self.bytes.len() / 2) {
            self.bytes.drain(..self.spent);
            self.spent = 0;
        }
    }

    /// Returns the bytes of the records from `from` up to `to`, the last of which begins within `room` bytes, and how
    /// many they are. `None` where the first is not in the encoded log.
    #[inline]
    pub(crate) fn stretch(&self, from: u64, to: u64, room: usize) -> Option<(&[u8], u64)> {
        let at = from.checked_sub(self.first)? as usize;
        let most = (to - from) as usize;
        let begin = *self.ends.get(at)?;
        let whole = *self.ends.get(at + most)? - begin;
        let room = room as u64;
        let count = if whole <= room {
            most
        } else {
            // The first record always goes.
            self.ends.partition_point(|end| *end < begin + room).saturating_sub(at).clamp(1, most)
        };
        let start = self.spent + (begin - self.ends[0]) as usize;
        let length = (self.ends[at + count] - begin) as usize;
        Some((&self.bytes[start..start + length], count as u64))
    }

    fn end(&self) -> u64 {
        self.ends.back().copied().unwrap_or_default()
    }
}

#[cfg(test)]
#[path = "encoded_log_tests.rs"]
mod tests;
