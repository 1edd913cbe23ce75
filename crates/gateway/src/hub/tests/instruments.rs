//! Definitions: new ones, changed ones, two with the same id.

use tickwire_wire::{Channel, Position};

use super::super::{DEFINITIONS, Hub, Target};
use super::rig::{EPOCH, ID, Rig, definition, limits};
use crate::engine::VenueIndex;

#[test]
fn a_definition_is_told_once() {
    let mut rig = Rig::new(Channel::Quote);
    for _ in 0..2 {
        rig.define(&definition(ID + 2, "sim", "C", 2));
    }
    assert_eq!(rig.told(), ["sim:C is 103 with 2"]);
}

#[test]
fn another_id_or_scale_starts_the_topics_anew() {
    for (id, decimals) in [(ID + 5, 2), (ID, 3)] {
        let mut rig = Rig::live(Channel::Quote, 5);
        rig.define(&definition(id, "sim", "A", decimals));
        assert_eq!(rig.told(), [format!("sim:A is {id} with {decimals}")]);
        rig.records(EPOCH, 6, 6);
        assert!(rig.told().is_empty(), "nothing before the state");
        let Target::Topic(topic, _) = rig.question() else { panic!("a topic") };
        assert_eq!(topic, rig.topic());
    }
}

#[test]
fn an_ingester_may_number_its_instruments_in_another_way() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.define(&definition(ID + 1, "sim", "A", 2));
    rig.define(&definition(ID, "sim", "B", 2));
    assert_eq!(rig.told(), ["sim:A is 102 with 2", "sim:B is 101 with 2"]);
    rig.define(&definition(ID + 1, "sim", "A", 2));
    rig.define(&definition(ID, "sim", "B", 2));
    assert!(rig.told().is_empty());
    assert_eq!(rig.hub.by_id.len(), 2);
}

#[test]
fn of_two_ingesters_with_the_same_id_the_second_is_ignored() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.beat("other", EPOCH, &[]);
    rig.tick();
    rig.asked();
    let stranger = definition(ID, "other", "X", 2);
    rig.catalogue(Target::Catalogue(VenueIndex(1)), std::slice::from_ref(&stranger));
    for _ in 0..3 {
        rig.define(&stranger);
    }
    assert!(rig.told().is_empty());
    assert_eq!(rig.hub.conflicts.len(), 1, "told once");
    assert_eq!(rig.hub.instruments(), 2);
    rig.records(EPOCH, 6, 6);
    assert_eq!(rig.told(), ["6"]);
}

#[test]
fn there_is_a_limit_to_instruments() {
    let mut rig = Rig::new(Channel::Quote);
    rig.hub.limits.instruments = 2;
    rig.define(&definition(ID + 2, "sim", "C", 2));
    assert_eq!((rig.hub.instruments(), rig.hub.counts.malformed), (2, 1));
    rig.message(DEFINITIONS, b"short".to_vec());
    assert_eq!(rig.hub.counts.malformed, 2);
}

#[test]
fn a_definition_that_was_lost_is_asked_for() {
    let mut rig = Rig::new(Channel::Quote);
    let unknown = Position { instrument: ID + 9, channel: Channel::Quote.into(), epoch: EPOCH, sequence: 3 };
    rig.beat("sim", EPOCH, &[unknown]);
    rig.tick();
    assert_eq!(rig.asked(), [Target::Catalogue(VenueIndex(0))]);
}

#[test]
fn a_feed_is_not_live_before_its_instruments_are_known() {
    let mut rig = Rig::of(Hub::new(limits()), Channel::Quote);
    rig.hub.on_bus_state(Ok(1), rig.now);
    rig.beat("sim", EPOCH, &[]);
    rig.tick();
    let before = rig.feeds();
    assert!(before.last().is_some_and(|last| last.contains("not known yet")), "{before:?}");
    let asked = rig.asked();
    rig.catalogue(asked[0], &[definition(ID, "sim", "A", 2)]);
    assert_eq!(rig.feeds().len(), 1, "live");
}
