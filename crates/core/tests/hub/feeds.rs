//! The states of feeds that are told: nothing broken is shown as live.

use super::rig::BusEvent;
use tickwire_wire::{BookProof, Channel, FeedState, Position};

use super::rig::{EPOCH, HubRequest, ID, MS, Rig, both, reason, unknown};
use tickwire_core::hub::{DEFINITIONS, HEARTBEATS};
use tickwire_core::vocabulary::VenueIndex;

const CATCHING_UP: &str = "sim Stale catching up after an outage";

#[test]
fn a_feed_that_is_not_heard_is_down_and_then_compared() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.wait(1250);
    assert!(rig.feeds().is_empty());
    rig.wait(50);
    assert_eq!(rig.feeds(), ["sim Down the ingester is not heard"]);
    // The positions in the heartbeats that did not come are not known.
    rig.heartbeat("sim", EPOCH, &[]);
    assert_eq!(rig.feeds(), [CATCHING_UP]);
    rig.respond(EPOCH, 6);
    assert_eq!(rig.told(), ["state 6@7 [6]"]);
    assert_eq!(rig.feeds(), ["sim Live"]);
}

#[test]
fn a_feed_is_what_its_ingester_says() {
    let mut rig = Rig::new(Channel::Quote);
    rig.wait_heard(1_000);
    rig.heartbeat_in(FeedState::Stale, "sim", EPOCH, &[]);
    rig.heartbeat_in(FeedState::Stale, "sim", EPOCH, &[]);
    rig.heartbeat("sim", EPOCH - 1, &[]);
    assert_eq!(rig.feeds(), ["sim Stale"], "once, and another ingester has no say");
    rig.heartbeat("sim", EPOCH, &[]);
    assert_eq!(rig.feeds(), ["sim Live"]);
}

#[test]
fn what_proves_the_books_of_a_feed_is_told_when_it_changes() {
    let mut rig = Rig::new(Channel::Quote);
    rig.wait_heard(1_000);
    for (proof, expected) in [
        (BookProof::Unverifiable, ", Unverifiable"),
        (BookProof::Checksum, ", Checksum"),
        (BookProof::Unknown, ""),
    ] {
        rig.proof = proof;
        rig.heartbeat("sim", EPOCH, &[]);
        rig.heartbeat("sim", EPOCH, &[]);
        assert_eq!(rig.feeds(), [format!("sim Live{expected}")], "once");
    }
}

#[test]
fn without_a_bus_all_feeds_are_down_at_once() {
    let mut rig = Rig::new(Channel::Quote);
    rig.heartbeat("other", EPOCH, &[]);
    rig.feeds();
    rig.hub.on_bus_state(Err(reason("gone")), rig.now);
    assert_eq!(rig.feeds(), ["sim Down gone", "other Down gone"]);
}

/// Checks an outage: the bus is away while 6 to 8 are published. Its return is told by the inbox, by the state, or by
/// both.
#[track_caller]
fn check_outage(channel: Channel, inbox: bool, state_first: bool, expected: &[&str]) {
    let mut rig = Rig::live(channel, 5);
    rig.hub.on_bus_state(Err(reason("gone")), rig.now);
    rig.bus(BusEvent::Disconnected);
    rig.wait(5000);
    rig.feeds();
    rig.hub.actions.clear();
    let back = BusEvent::Reconnected { generation: 2 };
    if inbox && !state_first {
        rig.bus(back.clone());
        assert!(rig.feeds().is_empty(), "still down");
    }
    rig.hub.on_bus_state(Ok(2), rig.now);
    assert_eq!(rig.feeds(), [CATCHING_UP]);
    let request = rig.request();
    if inbox && state_first {
        rig.bus(back);
    }
    rig.heartbeat("sim", EPOCH, &[]);
    assert!(rig.feeds().is_empty(), "heard, but not compared");
    rig.respond_to(request, EPOCH, 8);
    if channel.is_lossless() || channel == Channel::Book {
        assert!(rig.feeds().is_empty(), "the records may be on their way");
        rig.wait_heard(300);
        if channel != Channel::Trade {
            assert!(rig.feeds().is_empty(), "the state is not there yet");
            rig.respond(EPOCH, 8);
        }
    }
    assert_eq!(rig.feeds(), ["sim Live"]);
    assert_eq!(rig.told(), expected);
    rig.tick();
    assert!(rig.topic_requests().is_empty(), "compared once");
}

#[test]
fn after_an_outage_nothing_is_live_before_it_was_compared() {
    for (inbox, state_first) in [(false, true), (true, true), (true, false)] {
        check_outage(Channel::Quote, inbox, state_first, &["state 8@7 [8]"]);
        check_outage(Channel::Trade, inbox, state_first, &["gap bus 6-8"]);
        check_outage(Channel::Book, inbox, state_first, &["gap bus 6-8", "state 8@7 [8]"]);
        check_outage(Channel::Status, inbox, state_first, &["gap bus 6-7", "8"]);
    }
}

#[test]
fn after_an_outage_a_feed_without_topics_is_live_when_it_is_heard() {
    let mut rig = Rig::new(Channel::Quote);
    rig.hub.on_bus_state(Err(reason("gone")), rig.now);
    rig.wait(5000);
    rig.feeds();
    rig.hub.on_bus_state(Ok(2), rig.now);
    rig.tick();
    assert_eq!(rig.feeds(), [CATCHING_UP]);
    rig.heartbeat("sim", EPOCH, &[]);
    assert_eq!(rig.feeds(), ["sim Live"]);
}

#[test]
fn a_response_from_before_the_outage_proves_nothing() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.lost(Some(u64::from(rig.topic().0)));
    let request = rig.request();
    rig.bus(BusEvent::Reconnected { generation: 2 });
    rig.heartbeat("sim", EPOCH, &[]);
    rig.feeds();
    rig.respond_to(request, EPOCH, 5);
    assert!(rig.feeds().is_empty());
    rig.respond(EPOCH, 8);
    assert_eq!((rig.told(), rig.feeds()), (vec!["state 8@7 [8]".to_owned()], vec!["sim Live".to_owned()]));
}

#[test]
fn an_outage_ends_the_wait_of_requests_that_failed() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.lost(Some(u64::from(rig.topic().0)));
    for attempt in 0..6 {
        let request = rig.request();
        rig.fail(request, "no response in time");
        rig.now += tickwire_core::hub::retry_ns(attempt);
    }
    rig.now -= 2000 * MS;
    rig.bus(BusEvent::Reconnected { generation: 2 });
    rig.respond(EPOCH, 5);
}

#[test]
fn a_loss_of_one_topic_asks_about_it_only() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.channel = Channel::Trade;
    rig.want(0);
    rig.respond(EPOCH, 5);
    rig.told();
    rig.lost(Some(u64::from(rig.topic().0)));
    rig.hub.ask_due(rig.now);
    let asked = rig.take_requests();
    assert!(matches!(&asked[..], [HubRequest::Topics(topics, _)] if *topics == [rig.topic()]), "{asked:?}");
    // Nothing comes of a topic that was let go, or of one that never was.
    rig.lost(Some(999));
    rig.tick();
    assert!(rig.take_requests().is_empty() && rig.feeds().is_empty());
}

#[test]
fn a_loss_of_unknown_topics_asks_about_all() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.lost(None);
    assert_eq!(rig.feeds(), [CATCHING_UP]);
    rig.respond(EPOCH, 5);
    assert_eq!(rig.feeds(), ["sim Live"]);
}

#[test]
fn so_many_lost_heartbeats_that_a_position_may_be_unknown_ask_about_all() {
    let mut rig = Rig::live(Channel::Quote, 5);
    for lost in 0..4 {
        rig.lost(Some(HEARTBEATS));
        rig.skip_heartbeats(lost);
        rig.heartbeat("sim", EPOCH, &[]);
        rig.tick();
        if lost < 3 {
            assert!(rig.take_requests().is_empty() && rig.feeds().is_empty(), "{lost} lost");
        }
    }
    assert_eq!(rig.feeds(), [CATCHING_UP]);
}

#[test]
fn a_loss_of_definitions_asks_for_the_catalogue() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.lost(Some(DEFINITIONS));
    rig.tick();
    assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
}

#[test]
fn what_is_broken_and_cannot_be_mended_is_not_live() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.position(EPOCH, 8);
    rig.wait_heard(300);
    let request = rig.request();
    rig.fail(request, "no response in time");
    assert!(rig.feeds().is_empty(), "once is chance");
    rig.wait_heard(100);
    let request = rig.request();
    rig.fail(request, "no response in time");
    assert_eq!(rig.feeds(), [CATCHING_UP]);
    rig.wait_heard(200);
    rig.respond(EPOCH, 8);
    assert_eq!(rig.feeds(), ["sim Live"]);
}

#[test]
fn an_instrument_that_is_gone_holds_nothing_up() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.replace(EPOCH + 1);
    assert_eq!(rig.feeds(), ["sim Stale", CATCHING_UP]);
    let request = rig.request();
    rig.hub.on_response(request, Ok(unknown(EPOCH + 1, "unknown symbol")), rig.now);
    assert_eq!(rig.feeds(), ["sim Live"]);
    assert_eq!(
        rig.told(),
        ["gap ingest 6-0 @8", "unavailable sim:A: unknown symbol"],
        "what was told is taken back"
    );
    // The catalogue may be out of date.
    rig.tick();
    assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
    rig.catalogue(EPOCH + 1, &both());
    rig.respond(EPOCH + 1, 1);
    assert_eq!(rig.told(), ["state 1@8 [1]"]);
}

#[test]
fn a_topic_that_is_let_go_holds_nothing_up() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.replace(EPOCH + 1);
    rig.feeds();
    let topic = rig.topic();
    rig.hub.on_interest(0, tickwire_core::vocabulary::TopicInterest::Drop(topic));
    assert_eq!(rig.feeds(), ["sim Live"]);
}

#[test]
fn malformed_heartbeats_are_counted_and_harmless() {
    let mut rig = Rig::live(Channel::Quote, 5);
    let before = rig.hub.counts.malformed;
    rig.message(HEARTBEATS, b"\xff\xff\xff".to_vec());
    rig.heartbeat("not a venue!", EPOCH, &[]);
    let channel = Channel::Quote as i32;
    let foreign = Position { instrument: ID, channel, epoch: EPOCH + 5, sequence: 1 };
    let unknown = Position { instrument: 9999, channel: 77, epoch: EPOCH, sequence: 1 };
    rig.heartbeat("sim", EPOCH, &[foreign, unknown]);
    assert_eq!(rig.hub.counts.malformed, before + 3);
    for number in 0..10 {
        rig.heartbeat(&format!("v{number}"), EPOCH, &[]);
    }
    assert_eq!(rig.hub.counts.malformed, before + 10, "no more venues than the limit says");
    rig.wait(500);
    rig.records(EPOCH, 6, 6);
    assert_eq!(rig.told(), ["6"]);
}

#[test]
fn an_ingester_has_no_say_in_the_instruments_of_another() {
    let mut rig = Rig::live(Channel::Quote, 5);
    let channel = Channel::Quote as i32;
    let position = Position { instrument: ID, channel, epoch: EPOCH + 9, sequence: 70 };
    rig.heartbeat("other", EPOCH + 9, &[position]);
    rig.wait(500);
    rig.records(EPOCH, 6, 6);
    assert_eq!(rig.told(), ["6"]);
}

#[test]
fn an_ingester_that_is_replaced_is_followed_whatever_its_epoch() {
    for next in [EPOCH + 1, EPOCH - 1, u64::MAX, 1] {
        let mut rig = Rig::live(Channel::Quote, 5);
        rig.wait_heard(1_000);
        // Killed: it is not heard any more, and the one in its place is.
        for _ in 0..14 {
            rig.now += 50 * MS;
            rig.heartbeat("sim", next, &[]);
            rig.tick();
            assert_eq!(rig.hub.feeds(rig.now).next().map(|feed| (feed.epoch, feed.rivals)), Some((EPOCH, 1)));
        }
        rig.now += 100 * MS;
        rig.heartbeat("sim", next, &[]);
        rig.hub.ask_due(rig.now);
        rig.catalogue(next, &both());
        rig.respond(next, 3);
        assert_eq!(rig.told(), [format!("gap ingest 6-0 @{next}"), format!("state 3@{next} [3]")]);
        assert_eq!(rig.feeds(), [CATCHING_UP, "sim Live"]);
        rig.records(EPOCH, 6, 6);
        assert_eq!((rig.told().len(), rig.hub.counts.foreign), (0, 1));
    }
}

#[test]
fn of_two_ingesters_at_a_time_one_is_followed_and_the_other_is_told_of() {
    let mut rig = Rig::live(Channel::Trade, 5);
    rig.wait_heard(1_000);
    for step in 0..100 {
        rig.now += 50 * MS;
        rig.heartbeat("sim", EPOCH, &[]);
        rig.heartbeat("sim", 3, &[]);
        rig.records(3, 70 + step, 70 + step);
        rig.tick();
    }
    rig.records(EPOCH, 6, 6);
    assert_eq!((rig.told(), rig.feeds()), (vec!["6".to_owned()], vec![]));
    let feed = rig.hub.feeds(rig.now).next().unwrap();
    assert_eq!((feed.epoch, feed.rivals, rig.hub.counts.foreign), (EPOCH, 1, 100));
    // A rollback: the other one goes, and nothing happens.
    rig.wait_heard(2_000);
    rig.records(EPOCH, 7, 7);
    assert_eq!((rig.told(), rig.feeds()), (vec!["7".to_owned()], vec![]));
    assert_eq!(rig.hub.feeds(rig.now).next().unwrap().rivals, 0);
}
