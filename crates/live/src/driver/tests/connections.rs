//! Connections in virtual time: lost, half open, old.

use super::*;

#[test]
fn a_lost_connection_breaks_what_it_brought_and_nothing_else() {
    let mut world = World::granted(12);
    assert_eq!(world.attempts.len(), 4, "eight topics on each connection");
    let (late, second) = (LinkId(0), world.attempts[&LinkId(0)]);
    assert_eq!(world.closed(0), [""; 0]);
    assert_eq!(world.gaps(), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(world.reason(), "live");
    // What comes late of that attempt is nothing.
    world.input(Input::Message { link: late, attempt: second, text: "wanted 0" });
    world.input(Input::Closed { link: late, attempt: second, reason: String::new(), retry_after: None });
    assert_eq!(world.gaps().len(), 8);
    for link in 1..4 {
        world.closed(link);
    }
    assert_eq!(world.gaps().len(), 24);
    assert_eq!(world.reason(), "no connection to words: a cut");
    world.events.clear();
    world.wait_for(pending_grant);
    assert_eq!(world.reason(), "live");
    assert_eq!(world.driver.counts().losses, 4);
}

#[test]
fn pings_find_a_connection_that_is_half_open() {
    let mut world = World::granted(1);
    assert_eq!(world.pass(SECS(500)), ["ping 0", "ping 1"]);
    let attempt = world.attempts[&LinkId(1)];
    world.events.clear();
    world.input(Input::Pong { link: LinkId(1), attempt });
    assert_eq!(world.events, [FeedEvent::Source(SourceState::Live)], "a quiet market raises no alarm");
    world.events.clear();
    let lost_at = world.now + world.driver.data.timings.pong_within;
    assert_eq!((world.pass(SECS(500)), world.now), (vec!["close 0".to_owned()], lost_at));
    assert_eq!(world.gaps(), [0]);
    assert_eq!(world.reason(), "live");
}

#[test]
fn each_ping_of_the_venue_is_answered_within_its_limit() {
    let mut world = World::granted(1);
    let attempt = world.attempts[&LinkId(0)];
    world.now += SECS(2);
    let mut pongs = 0;
    for _ in 0..7 {
        let payload = Bytes::from_static(b"x");
        pongs += world.input(Input::Ping { link: LinkId(0), attempt, payload }).len();
    }
    assert_eq!(pongs, 5, "five messages a second");
    world.now += SECS(1);
    assert_eq!(world.step(), ["pong 0", "pong 0"]);
}

#[test]
fn connections_are_made_anew_before_their_age_and_not_all_at_once() {
    let mut world = World::granted(12);
    let mut renewed = Vec::new();
    while world.now < SECS(1_200) {
        for output in world.pass(SECS(1_200)) {
            if world.ponged(&output) {
                continue;
            }
            if output.starts_with("close") {
                renewed.push(world.now);
            } else if output.starts_with("fetch") {
                let request = output.split(' ').nth(1).unwrap().parse().unwrap();
                world.respond(request, 200, "12");
            } else {
                let mut pending: VecDeque<_> = world.grant(&output).into();
                while let Some(output) = pending.pop_front() {
                    pending.extend(world.grant(&output));
                }
            }
        }
    }
    assert_eq!(renewed.len(), 4, "{renewed:?}");
    assert!(renewed.iter().all(|at| (SECS(945)..SECS(1_001)).contains(at)), "{renewed:?}");
    assert!(renewed.windows(2).all(|pair| pair[0] < pair[1]), "{renewed:?}");
}

#[test]
fn a_connection_that_misses_a_message_is_made_anew() {
    let mut world = World::granted(12);
    assert_eq!(world.message(2, "hole"), ["close 2"]);
    assert_eq!(world.gaps(), [8, 9, 10, 11], "what the others brought goes on");
    assert_eq!((world.driver.counts().incomplete_connections, world.driver.counts().losses), (1, 1));
    let told = |event: &FeedEvent| matches!(event, FeedEvent::Fault(fault) if fault.reason == "the connection is lost: a message is missing");
    assert!(world.events.iter().any(told), "{:?}", world.events);
    world.driver.data.venue.back.clear();
    world.wait_for(pending_grant);
    let mut back = std::mem::take(&mut world.driver.data.venue.back);
    back.sort();
    assert_eq!(back, [16, 18, 20, 22].map(TopicId), "each topic of it is told once to be back");
}

#[test]
fn a_venue_may_be_pinged_by_a_text_and_say_that_it_is_there() {
    let mut world = World::granted(1);
    world.driver.data.venue.ping = Some("are you there");
    assert_eq!(world.pass(SECS(500)), ["send 0 are you there", "send 1 are you there"]);
    world.events.clear();
    assert_eq!(world.message(0, "alive"), [""; 0]);
    assert_eq!(world.events, [FeedEvent::Source(SourceState::Live)], "a quiet market raises no alarm");
    let lost_at = world.now + world.driver.data.timings.pong_within;
    assert_eq!((world.pass(SECS(500)), world.now), (vec!["close 1".to_owned()], lost_at));
}

#[test]
fn a_venue_that_wants_to_hear_something_is_pinged_while_it_speaks() {
    let mut world = World::new();
    world.driver.data.venue.ping = Some("I am here");
    world.driver.data.venue.ping_every = Some(SECS(20));
    world.step();
    world.respond(0, 200, "1");
    world.opened(0);
    let opened = world.now;
    let mut pings = Vec::new();
    while pings.len() < 3 {
        world.now += SECS(1);
        for output in world.message(0, "data 0").into_iter().chain(world.step()) {
            if output == "send 0 I am here" {
                pings.push(world.now.checked_sub(opened).unwrap().as_secs());
            }
        }
        world.message(0, "ok 1");
    }
    assert_eq!(pings, [20, 40, 60]);
    assert_eq!(world.driver.counts().losses, 0, "what it says is a pong");
}
