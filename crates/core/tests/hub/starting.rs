//! The first state of a topic, and shards that come later.

use tickwire_wire::Channel;

use super::rig::{EPOCH, Rig, limits};
use tickwire_core::hub::HubLimits;
use tickwire_core::vocabulary::TopicInterest;

/// Checks the first state: records come before the response (to 9), then a response that contains some of them, and
/// records after it.
#[track_caller]
fn check_first(channel: Channel, answered: u64, expected: &[&str]) {
    let mut rig = Rig::new(channel);
    rig.want(0);
    let request = rig.request();
    rig.records(EPOCH, 7, 9);
    assert!(rig.told().is_empty(), "nothing is told before the state is known");
    rig.respond_to(request, EPOCH, answered);
    rig.records(EPOCH, 10, 10);
    assert_eq!(rig.told(), expected, "{channel:?}");
    assert!(rig.take_requests().is_empty());
}

#[test]
fn what_came_before_the_response_is_neither_lost_nor_told_twice() {
    check_first(Channel::Trade, 8, &["state 8@7 []", "9", "10"]);
    check_first(Channel::Trade, 9, &["state 9@7 []", "10"]);
    check_first(Channel::Trade, 6, &["state 6@7 []", "7", "8", "9", "10"]);
    check_first(Channel::Trade, 5, &["state 5@7 []", "gap bus 6-6", "7", "8", "9", "10"]);
    check_first(Channel::Quote, 8, &["state 8@7 [8]", "9", "10"]);
    check_first(Channel::Quote, 12, &["state 12@7 [12]"]);
    check_first(Channel::Book, 8, &["state 8@7 [8]", "9", "10"]);
    check_first(Channel::Status, 8, &["state 8@7 [8]", "9", "10"]);
}

#[test]
fn a_topic_without_a_past_starts_empty() {
    let mut rig = Rig::live(Channel::Quote, 0);
    rig.records(EPOCH, 1, 1);
    assert_eq!(rig.told(), ["1"]);
}

#[test]
fn a_shard_that_comes_later_gets_the_state_as_it_is() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.records(EPOCH, 6, 6);
    rig.want(1);
    rig.records(EPOCH, 7, 7);
    assert_eq!(rig.told_to(0), ["6", "7"]);
    assert_eq!(rig.told_to(1), ["state 6@7 [6]", "7"]);
}

#[test]
fn a_shard_that_wants_it_again_is_told_the_state_again_and_no_ingester_is_asked() {
    let mut rig = Rig::live(Channel::Quote, 5);
    rig.want(1);
    rig.records(EPOCH, 6, 6);
    rig.want(0);
    rig.records(EPOCH, 7, 7);
    assert_eq!(rig.told_to(0), ["6", "state 6@7 [6]", "7"]);
    assert_eq!(rig.told_to(1), ["state 5@7 [5]", "6", "7"]);
    assert!(rig.take_requests().is_empty());
}

#[test]
fn a_shard_that_comes_while_the_state_is_broken_gets_it_when_it_is_mended() {
    let mut rig = Rig::live(Channel::Status, 5);
    rig.position(EPOCH, 8);
    rig.wait(300);
    let request = rig.request();
    rig.want(1);
    rig.respond_to(request, EPOCH, 8);
    assert_eq!(rig.told_to(0), ["gap bus 6-7", "8"]);
    assert_eq!(rig.told_to(1), ["state 8@7 [8]"]);
}

#[test]
fn a_topic_is_let_go_when_no_shard_wants_it() {
    let mut rig = Rig::live(Channel::Trade, 5);
    rig.want(1);
    rig.told_to(1);
    let topic = rig.topic();
    rig.hub.on_interest(0, TopicInterest::Drop(topic));
    rig.records(EPOCH, 6, 6);
    assert_eq!((rig.told_to(0), rig.told_to(1)), (vec![], vec!["6".to_owned()]));
    rig.hub.on_interest(1, TopicInterest::Drop(topic));
    assert_eq!(rig.hub.topics(), 0);
    rig.records(EPOCH, 7, 7);
    assert!(rig.hub.events.is_empty());
}

#[test]
fn a_response_to_a_topic_that_was_let_go_is_no_response_to_the_next_one() {
    let mut rig = Rig::new(Channel::Trade);
    rig.want(0);
    let old = rig.request();
    let topic = rig.topic();
    rig.hub.on_interest(0, TopicInterest::Drop(topic));
    rig.want(0);
    let new = rig.request();
    rig.respond_to(old, EPOCH, 3);
    assert!(rig.told().is_empty(), "3 may be from before the subscription");
    rig.respond_to(new, EPOCH, 5);
    assert_eq!(rig.told(), ["state 5@7 []"]);
}

#[test]
fn there_is_a_limit_to_topics() {
    let mut rig = Rig::new(Channel::Trade);
    rig.hub.set_limits(HubLimits { topics: 1, ..limits() });
    rig.want(0);
    rig.channel = Channel::Quote;
    rig.want(0);
    assert_eq!(rig.told(), ["unavailable this gateway follows as many topics as it may"]);
    assert_eq!(rig.hub.topics(), 1);
}
