use tickwire_wire::{Channel, GapCause, Scale, SymbolName};

use super::*;
use crate::vocabulary::{InstrumentInfo, VenueIndex};

fn update(number: u64) -> Arc<Update> {
    let name = SymbolName { venue: "sim".to_owned(), symbol: "A".to_owned() };
    let info =
        InstrumentInfo { index: 0, id: 1, listed: 0, venue: VenueIndex(0), name, scale: Scale::default() };
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
