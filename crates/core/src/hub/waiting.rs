//! Records that wait until the state of their topic is known: bounded for each topic, and for all of them together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::vocabulary::Update;

/// Records that wait for one state, at most: what comes beyond makes the state be asked for again.
pub const BUFFER_MAX: usize = 4096;

/// What a record takes beside its bytes, and how many times these: books are kept decoded.
const RECORD: usize = 256;
const BYTES_TIMES: usize = 4;

/// What all topics of a hub may have waiting, in bytes.
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

/// What waits of one topic.
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

    /// Where there is no room for it, everything that waits of this topic is forgotten: the state that is answered then
    /// lies before what comes, and is asked for again.
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

    /// What waited; it does not any more.
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
mod tests {
    use tickwire_wire::{Channel, GapCause, Scale, SymbolName};

    use super::*;
    use crate::vocabulary::{InstrumentInfo, VenueIndex};

    fn update(number: u64) -> Arc<Update> {
        let name = SymbolName { venue: "sim".to_owned(), symbol: "A".to_owned() };
        let info = InstrumentInfo { index: 0, id: 1, venue: VenueIndex(0), name, scale: Scale::default() };
        Arc::new(Update::gap(Arc::new(info), Channel::Trade, GapCause::Bus, number, number, 7))
    }

    #[test]
    fn all_topics_together_stay_within_their_room() {
        let room = Room::new(10 * RECORD);
        let (mut one, mut other) = (Waiting::new(&room), Waiting::new(&room));
        for number in 1..=6 {
            one.push(update(number));
        }
        for number in 1..=9 {
            other.push(update(number));
            assert!(room.used() <= 10 * RECORD);
        }
        assert_eq!(one.updates.len(), 6, "the others' are left alone");
        let kept: Vec<_> = other.take().iter().map(|update| update.last).collect();
        assert_eq!(kept, [9], "5 and 9 found no room: what was before them is forgotten");
        assert_eq!(room.used(), 6 * RECORD);
        drop(one);
        assert_eq!(room.used(), 0);
        let mut last = Waiting::new(&Room::new(RECORD - 1));
        last.push(update(1));
        assert!(last.take().is_empty());
    }

    #[test]
    fn one_topic_has_so_many_at_most() {
        let mut one = Waiting::new(&Room::new(usize::MAX));
        for number in 1..=BUFFER_MAX as u64 + 3 {
            one.push(update(number));
        }
        assert_eq!(one.take().len(), 3);
    }
}
