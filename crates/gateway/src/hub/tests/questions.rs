//! Questions that fail, and how many there are at a time.

use tickwire_wire::Channel;

use super::super::ask::{ASKS_MAX, RETRY_NS_MAX, retry_ns};
use super::super::{Hub, Target};
use super::rig::{EPOCH, Rig, definition, limits, record, refusal};
use crate::engine::{TopicId, VenueIndex, Wish};

#[test]
fn a_question_that_fails_is_asked_again_after_growing_waits() {
    let mut rig = Rig::new(Channel::Quote);
    rig.want(0);
    for attempt in 0..8 {
        let question = rig.question();
        let reason = if attempt % 2 == 0 { "no one answers here" } else { "no answer in time" };
        rig.fail(question, reason);
        let told = rig.told();
        assert_eq!(told.len(), usize::from(attempt > 0), "the first failure may be chance: {told:?}");
        let wait = retry_ns(attempt);
        assert!(wait <= RETRY_NS_MAX);
        rig.now += wait - 1;
        rig.tick();
        assert!(!rig.asked().iter().any(|target| matches!(target, Target::Topic(..))), "too soon");
        rig.now += 1;
    }
    rig.answer(EPOCH, 3);
    assert_eq!(rig.told(), ["state 3@7 [3]"]);
}

#[test]
fn an_answer_that_cannot_be_used_is_as_good_as_none() {
    let wrong_number = record(101, 9, super::rig::body(Channel::Quote, 9, true));
    let wrong_instrument = record(102, 3, super::rig::body(Channel::Quote, 3, true));
    let wrong_channel = record(101, 3, super::rig::body(Channel::Trade, 3, true));
    for record in [wrong_number, wrong_instrument, wrong_channel] {
        let mut rig = Rig::new(Channel::Quote);
        rig.want(0);
        let question = rig.question();
        rig.hub.on_answer(question, Ok(super::rig::answer(EPOCH, 3, &[record])), rig.now);
        assert!(rig.told().is_empty());
        assert_eq!(rig.hub.counts.malformed, 1);
        rig.now += retry_ns(0);
        rig.answer(EPOCH, 3);
        assert_eq!(rig.told(), ["state 3@7 [3]"]);
    }
}

/// A hub with many instruments, all of whose quotes are wanted.
fn many(count: u32) -> Hub {
    let mut rig = Rig::of(Hub::new(limits()), Channel::Quote);
    rig.hub.limits.instruments = count as usize;
    rig.hub.limits.topics = count as usize;
    rig.hub.on_bus_state(Ok(1), rig.now);
    rig.beat("sim", EPOCH, &[]);
    let definitions: Vec<_> = (0..count).map(|id| definition(id + 1, "sim", &format!("S{id}"), 2)).collect();
    rig.catalogue(Target::Catalogue(VenueIndex(0)), &definitions);
    for index in 0..count {
        rig.hub.on_wish(0, Wish::Want(TopicId::new(index, Channel::Quote)));
    }
    rig.hub
}

#[test]
fn few_questions_are_under_way_at_a_time_and_each_answer_makes_room() {
    let mut rig = Rig::of(many(200), Channel::Quote);
    rig.asked();
    let mut asked = 0;
    let mut open = Vec::new();
    loop {
        rig.hub.ask_due(rig.now);
        open.extend(rig.asked().into_iter().filter(|target| matches!(target, Target::Topic(..))));
        assert!(open.len() <= ASKS_MAX);
        let Some(target) = open.pop() else { break };
        asked += 1;
        rig.answer_to(target, EPOCH, 0);
    }
    assert_eq!(asked, 200);
    rig.wait(1000);
    assert!(rig.asked().iter().all(|target| matches!(target, Target::Catalogue(_))));
}

#[test]
fn questions_about_topics_that_were_let_go_count_until_they_are_answered() {
    let mut rig = Rig::of(many(100), Channel::Quote);
    rig.asked();
    rig.hub.ask_due(rig.now);
    let open = rig.asked();
    for index in 0..100 {
        let id = TopicId::new(index, Channel::Quote);
        rig.hub.on_wish(0, Wish::Drop(id));
        rig.hub.on_wish(0, Wish::Want(id));
    }
    let asks = |rig: &mut Rig| {
        rig.hub.ask_due(rig.now);
        rig.asked().into_iter().filter(|target| matches!(target, Target::Topic(..))).count()
    };
    assert_eq!(asks(&mut rig), 0, "no more than {ASKS_MAX} at a time");
    let topics = open.iter().filter(|target| matches!(target, Target::Topic(..)));
    for target in topics.copied().collect::<Vec<_>>() {
        rig.fail(target, "no answer in time");
    }
    assert_eq!(asks(&mut rig), ASKS_MAX);
}

#[test]
fn a_turn_costs_what_it_touches() {
    let count = 10_000;
    let mut rig = Rig::of(many(count), Channel::Quote);
    rig.asked();
    for _ in 0..count {
        rig.hub.ask_due(rig.now);
        let asked = rig.asked();
        if asked.is_empty() {
            break;
        }
        for target in asked.into_iter().filter(|target| matches!(target, Target::Topic(..))) {
            rig.answer_to(target, EPOCH, 0);
        }
    }
    // Nothing is left in a queue, so that there is nothing to look at.
    assert_eq!((rig.hub.questions.len(), rig.hub.suspicions.len()), (0, 0));
    rig.beat("sim", EPOCH, &[]);
    rig.records(EPOCH, 1, 1);
    assert_eq!((rig.hub.questions.len(), rig.hub.suspicions.len()), (0, 0));
    // And what is queued is queued once.
    for _ in 0..100 {
        rig.hub.on_lost(Some(u64::from(rig.topic().0)));
    }
    assert_eq!(rig.hub.questions.len(), 1);
}

#[test]
fn the_catalogue_is_asked_for_until_it_comes() {
    let mut rig = Rig::of(Hub::new(limits()), Channel::Quote);
    rig.hub.on_bus_state(Ok(1), rig.now);
    rig.beat("sim", EPOCH, &[]);
    for attempt in 0..3 {
        rig.tick();
        assert_eq!(rig.asked(), [Target::Catalogue(VenueIndex(0))]);
        rig.tick();
        assert!(rig.asked().is_empty(), "one at a time");
        if attempt == 1 {
            rig.hub.on_answer(Target::Catalogue(VenueIndex(0)), Ok(refusal(EPOCH, "not now")), rig.now);
        } else {
            rig.fail(Target::Catalogue(VenueIndex(0)), "no answer in time");
        }
        rig.now += retry_ns(attempt) - 1;
        rig.tick();
        assert!(rig.asked().is_empty(), "too soon");
        rig.now += 1;
    }
    rig.tick();
    rig.catalogue(Target::Catalogue(VenueIndex(0)), &[definition(101, "sim", "A", 2)]);
    assert_eq!(rig.told(), ["sim:A is 101 with 2"]);
    rig.asked();
    rig.wait(10_000);
    assert!(rig.asked().is_empty());
}

#[test]
fn nothing_is_asked_while_the_bus_is_down() {
    let mut rig = Rig::new(Channel::Quote);
    rig.hub.on_bus_state(Err(super::rig::reason("gone")), rig.now);
    rig.want(0);
    rig.wait(1000);
    assert!(rig.asked().is_empty());
    rig.hub.on_bus_state(Ok(2), rig.now);
    rig.answer(EPOCH, 3);
    assert_eq!(rig.told(), ["state 3@7 [3]"]);
}
