//! Requests that fail, and how many there are at a time.

use tickwire_wire::Channel;

use super::rig::{EPOCH, HubRequest, ID, Rig, catalogue_of, definition, limits, record, refusal};
use tickwire_core::hub::{ASKS_MAX, BATCH_TOPICS_MAX, Hub, HubLimits, RETRY_NS_MAX, retry_ns};
use tickwire_core::vocabulary::{TopicId, TopicInterest, VenueIndex};

#[test]
fn a_request_that_fails_is_asked_again_after_growing_waits() {
    let mut rig = Rig::new(Channel::Quote);
    rig.want(0);
    for attempt in 0..8 {
        let request = rig.request();
        let reason = if attempt % 2 == 0 { "no one serves this subject" } else { "no response in time" };
        rig.fail(request, reason);
        let told = rig.told();
        assert_eq!(told.len(), usize::from(attempt > 0), "the first failure may be chance: {told:?}");
        let wait = retry_ns(attempt);
        assert!(wait <= RETRY_NS_MAX);
        rig.now += wait - 1;
        rig.tick();
        assert!(rig.topic_requests().is_empty(), "too soon");
        rig.now += 1;
    }
    rig.respond(EPOCH, 3);
    assert_eq!(rig.told(), ["state 3@7 [3]"]);
}

#[test]
fn a_response_that_cannot_be_used_is_as_good_as_none() {
    let wrong_number = record(ID, 9, super::rig::body(Channel::Quote, 9, true));
    let wrong_instrument = record(ID + 1, 3, super::rig::body(Channel::Quote, 3, true));
    let wrong_channel = record(ID, 3, super::rig::body(Channel::Trade, 3, true));
    for record in [wrong_number, wrong_instrument, wrong_channel] {
        let mut rig = Rig::new(Channel::Quote);
        rig.want(0);
        let request = rig.request();
        rig.hub.on_response(request, Ok(super::rig::response(EPOCH, 3, &[record])), rig.now);
        assert!(rig.told().is_empty());
        assert_eq!(rig.hub.counts.malformed, 1);
        rig.now += retry_ns(0);
        rig.respond(EPOCH, 3);
        assert_eq!(rig.told(), ["state 3@7 [3]"]);
    }
}

/// Makes a hub with many instruments, all of whose quotes are wanted.
fn many(count: u32) -> Hub {
    let limits = HubLimits { instruments: count as usize, topics: count as usize, ..limits() };
    let mut rig = Rig::of(Hub::new(limits), Channel::Quote);
    rig.hub.on_bus_state(Ok(1), rig.now);
    rig.heartbeat("sim", EPOCH, &[]);
    let definitions: Vec<_> = (0..count).map(|id| definition(id + 1, "sim", &format!("S{id}"), 2)).collect();
    rig.catalogue(EPOCH, &definitions);
    for index in 0..count {
        rig.hub.on_interest(0, TopicInterest::Want(TopicId::new(index, Channel::Quote)));
    }
    rig.hub
}

#[test]
fn few_requests_are_under_way_at_a_time_and_each_response_makes_room() {
    let mut rig = Rig::of(many(600), Channel::Quote);
    rig.take_requests();
    let mut asked = 0;
    let mut open = Vec::new();
    loop {
        rig.hub.ask_due(rig.now);
        open.extend(rig.take_requests().into_iter().filter_map(|asked| match asked {
            HubRequest::Topics(topics, target) => Some((topics.len(), target)),
            HubRequest::Catalogue(_) => None,
        }));
        assert!(open.iter().all(|(topics, _)| *topics <= BATCH_TOPICS_MAX));
        assert!(open.iter().map(|(topics, _)| topics).sum::<usize>() <= ASKS_MAX);
        let Some((topics, target)) = open.pop() else { break };
        asked += topics;
        rig.respond_to(target, EPOCH, 0);
    }
    assert_eq!(asked, 600);
    rig.wait(1000);
    assert!(rig.topic_requests().is_empty());
}

#[test]
fn requests_about_topics_that_were_let_go_count_until_they_are_answered() {
    let mut rig = Rig::of(many(300), Channel::Quote);
    rig.take_requests();
    rig.hub.ask_due(rig.now);
    let open = rig.topic_requests();
    for index in 0..300 {
        let id = TopicId::new(index, Channel::Quote);
        rig.hub.on_interest(0, TopicInterest::Drop(id));
        rig.hub.on_interest(0, TopicInterest::Want(id));
    }
    let asks = |rig: &mut Rig| {
        rig.hub.ask_due(rig.now);
        let asked = rig.take_requests().into_iter();
        let topics =
            asked.map(|asked| if let HubRequest::Topics(topics, _) = asked { topics.len() } else { 0 });
        topics.sum::<usize>()
    };
    assert_eq!(asks(&mut rig), 0, "no more than {ASKS_MAX} at a time");
    for target in open {
        rig.fail(target, "no response in time");
    }
    assert_eq!(asks(&mut rig), ASKS_MAX);
}

#[test]
fn a_turn_costs_what_it_touches() {
    let count = 10_000;
    let mut rig = Rig::of(many(count), Channel::Quote);
    rig.take_requests();
    for _ in 0..count {
        rig.hub.ask_due(rig.now);
        let asked = rig.topic_requests();
        if asked.is_empty() {
            break;
        }
        for target in asked {
            rig.respond_to(target, EPOCH, 0);
        }
    }
    // Nothing is left in a queue, so that there is nothing to look at.
    assert_eq!(rig.hub.queued(), (0, 0));
    rig.heartbeat("sim", EPOCH, &[]);
    rig.records(EPOCH, 1, 1);
    assert_eq!(rig.hub.queued(), (0, 0));
    // Each that is queued is queued once.
    for _ in 0..100 {
        rig.hub.on_lost(Some([u64::from(rig.topic().0)]));
    }
    assert_eq!(rig.hub.queued().0, 1);
}

#[test]
fn the_catalogue_is_asked_for_until_it_comes() {
    let mut rig = Rig::of(Hub::new(limits()), Channel::Quote);
    rig.hub.on_bus_state(Ok(1), rig.now);
    rig.heartbeat("sim", EPOCH, &[]);
    for attempt in 0..3 {
        rig.tick();
        assert_eq!(rig.take_requests(), [HubRequest::Catalogue(VenueIndex(0))]);
        rig.tick();
        assert!(rig.take_requests().is_empty(), "one at a time");
        if attempt == 1 {
            rig.hub.on_response(catalogue_of(EPOCH), Ok(refusal(EPOCH, "not now")), rig.now);
        } else {
            rig.fail(catalogue_of(EPOCH), "no response in time");
        }
        rig.now += retry_ns(attempt) - 1;
        rig.tick();
        assert!(rig.take_requests().is_empty(), "too soon");
        rig.now += 1;
    }
    rig.tick();
    rig.catalogue(EPOCH, &[definition(ID, "sim", "A", 2)]);
    assert_eq!(rig.told(), ["sim:A is 101 with 2"]);
    rig.take_requests();
    rig.wait(10_000);
    assert!(rig.take_requests().is_empty());
}

#[test]
fn nothing_is_asked_while_the_bus_is_down() {
    let mut rig = Rig::new(Channel::Quote);
    rig.hub.on_bus_state(Err(super::rig::reason("gone")), rig.now);
    rig.want(0);
    rig.wait(1000);
    assert!(rig.take_requests().is_empty());
    rig.hub.on_bus_state(Ok(2), rig.now);
    rig.respond(EPOCH, 3);
    assert_eq!(rig.told(), ["state 3@7 [3]"]);
}

#[test]
fn one_bad_topic_of_a_batch_never_spoils_the_others() {
    let mut rig = Rig::new(Channel::Quote);
    rig.want(0);
    rig.channel = Channel::Trade;
    rig.want(0);
    rig.hub.ask_due(rig.now);
    let asked = rig.take_requests();
    let [HubRequest::Topics(topics, target)] = &asked[..] else { panic!("one request: {asked:?}") };
    assert_eq!(topics.len(), 2);
    let mut response = super::rig::unknown(EPOCH, "unknown symbol");
    response.snapshots.push(super::rig::response(EPOCH, 4, &[]).snapshots[0].clone());
    rig.hub.on_response(*target, Ok(response), rig.now);
    assert_eq!(rig.told(), ["unavailable sim:A: unknown symbol", "state 4@7 []"]);
    // Nor does one that has fewer states than were asked for.
    let mut rig = Rig::new(Channel::Quote);
    rig.want(0);
    let target = rig.request();
    let short = tickwire_wire::pb::FeedResponse { epoch: EPOCH, ..Default::default() };
    rig.hub.on_response(target, Ok(short), rig.now);
    rig.wait_heard(100);
    rig.respond(EPOCH, 3);
    assert_eq!(rig.told(), ["state 3@7 [3]"]);
}
