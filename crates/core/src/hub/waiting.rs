//! Records that wait until the state of their topic is known: bounded for each topic, and for all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::vocabulary::Update;

/// Most records that wait for one state: where more come, the state is asked for again.
pub const BUFFER_MAX: usize = 4096;

/// The memory that a record takes: so many bytes beside its own, and so many times its own, because books are kept
/// decoded.
const RECORD: usize = 256;
const BYTES_TIMES: usize = 4;

/// The bytes that all topics of a hub may have waiting.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Room {
    pub(crate) fn new(max: usize) -> Self {
        Self { used: Arc::default(), max }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// The records of one topic that wait.
#[derive(Debug)]
pub(crate) struct Waiting {
    updates: Vec<Arc<Update>>,
    bytes: usize,
    room: Room,
}

impl Waiting {
    pub(crate) fn new(room: &Room) -> Self {
        Self { updates: Vec::new(), bytes: 0, room: room.clone() }
    }

    /// Adds a record. Where there is no room for it, everything that waits of this topic is forgotten: the state in
    /// the response then lies before what comes, and is asked for again.
    pub(crate) fn push(&mut self, update: Arc<Update>) {
        let bytes = RECORD + BYTES_TIMES * update.source_bytes();
        if self.updates.len() == BUFFER_MAX || self.room.used() + bytes > self.room.max {
            self.clear();
        }
        if self.room.used() + bytes <= self.room.max {
            self.bytes += bytes;
            self.room.used.fetch_add(bytes, Ordering::Relaxed);
            self.updates.push(update);
        }
    }

    /// Takes out what waited.
    pub(crate) fn take(mut self) -> Vec<Arc<Update>> {
        let updates = std::mem::take(&mut self.updates);
        self.clear();
        updates
    }

    pub(crate) fn clear(&mut self) {
        self.updates.clear();
        self.room.used.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
