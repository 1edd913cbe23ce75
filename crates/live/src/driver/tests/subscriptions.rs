//! Subscriptions in virtual time: granted, refused, broken, silent, ended.

use super::*;

#[test]
fn the_way_from_the_list_of_instruments_to_a_live_source() {
    let mut world = World::new();
    assert_eq!(world.step(), ["fetch 0 catalogue"]);
    assert_eq!(world.reason(), "asking words for its instruments");
    assert_eq!(world.respond(0, 500, "out of order"), [""; 0]);
    assert_eq!(world.reason(), "words does not tell its instruments: HTTP 500: out of order");
    assert_eq!(world.pass(SECS(9)), ["fetch 1 catalogue"]);
    assert_eq!(world.respond(1, 200, "2"), ["connect 0 ws://a", "connect 1 ws://b"]);
    assert_eq!(world.reason(), "connecting to words");
    assert_eq!(world.opened(0), ["send 0 + 1 0@A 1@A"]);
    assert_eq!(world.reason(), "subscribing at words");
    assert_eq!(world.opened(1), ["send 1 + 2 0@B 1@B"]);
    assert_eq!(world.message(1, "ok 2"), [""; 0]);
    assert_eq!(world.reason(), "live");
    assert_eq!(world.message(0, "ok 1"), [""; 0]);
    assert_eq!(world.message(0, "wanted 0"), ["fetch 2 snapshot 0"]);
    assert_eq!(world.message(0, "wanted 0"), [""; 0], "it is under way");
    assert_eq!(world.respond(2, 200, "old"), [""; 0]);
    assert_eq!(world.driver.counts().unused_snapshots, 1);
    assert_eq!(world.pass(SECS(90)), ["fetch 3 snapshot 0"]);
    assert_eq!(world.respond(3, 200, "whole"), [""; 0]);
    assert_eq!(world.driver.counts().requests, 4);
}

#[test]
fn one_bad_topic_spoils_no_other() {
    let mut world = World::new();
    world.step();
    let mut pending: VecDeque<_> = world.respond(0, 200, "7").into();
    let is_bad = |output: &str| output.contains(" 4@A");
    let mut granted = BTreeSet::new();
    let mut answer = |world: &mut World, output: &str| {
        let words: Vec<_> = output.split(' ').collect();
        match words[..] {
            ["send", link, _, id, ..] if is_bad(output) => {
                world.message(link.parse().unwrap(), &format!("no {id}"))
            }
            ["send", _, "+", _, ..] => {
                granted.extend(words[4..].iter().map(|name| (*name).to_owned()));
                world.grant(output)
            }
            _ => world.grant(output),
        }
    };
    while let Some(output) = pending.pop_front() {
        pending.extend(answer(&mut world, &output));
    }
    world.wait_for(&mut answer);
    assert_eq!(granted.len(), 13);
    assert_eq!(world.driver.counts().refused_topics, 1);
    let told = |event: &FeedEvent| matches!(event, FeedEvent::Fault(fault) if fault.reason == "`4@A` was refused: it is so");
    assert!(world.events.iter().any(told));
}

#[test]
fn a_command_may_be_answered_topic_by_topic() {
    let mut world = World::new();
    world.step();
    world.respond(0, 200, "4");
    assert_eq!(world.opened(0), ["send 0 + 1 0@A 1@A 2@A"]);
    assert_eq!(world.message(0, "ok 1 0"), [""; 0]);
    assert_eq!(world.message(0, "no 1 2"), [""; 0]);
    assert_eq!(world.message(0, "ok 1 6"), [""; 0], "it was not asked for");
    assert_eq!(world.message(0, "ok 1 4"), ["send 0 + 2 3@A"], "the next command waits for all responses");
    world.message(0, "ok 2 6");
    assert_eq!((world.driver.data.links[0].granted().0, world.driver.counts().refused_topics), (3, 1));
}

#[test]
fn a_broken_topic_is_subscribed_to_anew_and_not_too_often() {
    let mut world = World::granted(1);
    let mut waits = Vec::new();
    for _ in 0..5 {
        world.now += SECS(2);
        world.message(0, "data 0");
        let broken_at = world.now;
        let mut ended = world.message(0, "broken 0");
        ended.retain(|output| !world.ponged(output));
        let ended = ended.concat();
        assert!(ended.contains(" - ") && ended.ends_with("0@A"), "{ended}");
        assert_eq!(world.message(0, "broken 0"), [""; 0], "it is known already");
        world.message(0, "data 0");
        let id = ended.split(' ').nth(3).unwrap();
        let mut outputs = world.message(0, &format!("ok {id}"));
        while outputs.is_empty() {
            outputs = world.pass(SECS(1_000));
            outputs.retain(|output| !world.ponged(output));
        }
        assert!(outputs[0].contains(" + ") && outputs[0].ends_with("0@A"), "{outputs:?}");
        waits.push(world.now.saturating_sub(broken_at));
        world.grant(&outputs[0]);
    }
    assert_eq!(waits[0], Duration::ZERO, "the first time it is done at once");
    let most = world.driver.data.timings.retry;
    let is_within = |(count, wait): (usize, &Duration)| *wait <= most.ceiling(count as u32);
    assert!(waits[1..].iter().enumerate().all(is_within) && waits[4] > SECS(0), "{waits:?}");
    assert_eq!((world.driver.counts().renewed_topics, world.driver.counts().losses), (5, 0));
}

#[test]
fn silence_after_a_grant_is_told_once_until_data_comes() {
    let mut world = World::granted(2);
    world.message(0, "data 0");
    // Pongs keep the connections alive meanwhile.
    let until = world.now + SECS(40);
    while world.now < until {
        for output in world.pass(until) {
            world.ponged(&output);
        }
    }
    assert_eq!(world.driver.counts().silent_topics, 3, "all but the one that spoke");
    assert_eq!(world.reason(), "live");
    let silent = |event: &FeedEvent| matches!(event, FeedEvent::Fault(fault) if fault.reason.contains("no data came within 30 s"));
    assert_eq!(world.events.iter().filter(|event| silent(event)).count(), 3);
    world.closed(0);
    assert_eq!(world.reason(), "no data since the subscription");
    world.message(1, "data 1");
    assert_eq!(world.reason(), "live");
}

#[test]
fn instruments_come_and_go_while_connections_stay() {
    let mut world = World::granted(4);
    let list = |world: &mut World, count: &str| {
        let mut said = Vec::new();
        loop {
            let outputs = world.pass(SECS(10_000));
            for output in outputs {
                if output.starts_with("fetch") {
                    let request = output.split(' ').nth(1).unwrap().parse().unwrap();
                    said.extend(world.respond(request, 200, count));
                    while let Some(more) =
                        said.iter().position(|it| it.starts_with("send") && !it.ends_with('.'))
                    {
                        let output = said[more].clone();
                        said[more].push('.');
                        said.extend(world.grant(&output));
                    }
                    return said;
                }
                world.ponged(&output);
            }
        }
    };
    let said = list(&mut world, "5");
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].ends_with("4@A.") && said[1].ends_with("4@B."), "{said:?}");
    let said = list(&mut world, "3");
    assert!(said.iter().all(|said| said.contains(" - ")), "{said:?}");
    let names: String = said.concat();
    assert!(["3@A", "4@A", "3@B", "4@B"].iter().all(|name| names.contains(name)), "{said:?}");
    assert_eq!(world.driver.counts().losses, 0);
    let said = list(&mut world, "0");
    assert!(said.iter().any(|said| said.starts_with("close")), "{said:?}");
}

#[test]
fn an_end_of_a_subscription_that_is_refused_is_an_end() {
    let mut world = World::granted(1);
    world.message(0, "data 0");
    world.now += SECS(2);
    let ended = world.message(0, "broken 0").concat();
    let id = ended.split(' ').nth(3).unwrap();
    let anew = world.message(0, &format!("no {id} 0"));
    assert!(anew[0].contains(" + ") && anew[0].ends_with("0@A"), "{anew:?}");
    assert_eq!((world.driver.counts().refused_topics, world.driver.counts().losses), (0, 0));
}

#[test]
fn a_topic_that_is_refused_is_tried_again_later_and_later() {
    let mut world = World::new();
    world.driver.data.venue.terms.limits.connection_age = SECS(100_000);
    world.step();
    world.respond(0, 200, "2");
    assert_eq!(world.opened(0), ["send 0 + 1 0@A 1@A"]);
    assert_eq!(world.message(0, "no 1 0"), [""; 0]);
    assert_eq!(world.message(0, "ok 1 2"), [""; 0]);
    assert_eq!(world.reason(), "live");
    let words = world.driver.take_notes();
    assert!(matches!(&words[..], [words] if words.starts_with("`0@A` was refused: it is so; ")), "{words:?}");
    let mut waits = Vec::new();
    for _ in 0..9 {
        let before = world.now;
        let mut outputs = Vec::new();
        while outputs.is_empty() {
            assert!(world.now < SECS(5_000), "it is not tried again: {waits:?}");
            outputs = world.pass(SECS(10_000));
            outputs.retain(|output| !world.ponged(output) && output.starts_with("send 0"));
        }
        waits.push(world.now.checked_sub(before).unwrap().as_secs());
        let [output] = &outputs[..] else { panic!("{outputs:?}") };
        assert!(output.ends_with(" 0@A"), "alone: {output}");
        let id = output.split(' ').nth(3).unwrap();
        // Behind the second refusal the subscription is ended first: the venue may think that there is one.
        let said = world.message(0, &format!("no {id}"));
        let ends: Vec<_> = said.iter().filter(|output| output.starts_with("send 0 - ")).collect();
        let [end] = &ends[..] else { panic!("{said:?}") };
        assert!(end.ends_with(" 0@A"), "{end}");
        world.message(0, &format!("no {} 0", end.split(' ').nth(3).unwrap()));
        if world.now > SECS(900) {
            break;
        }
    }
    let ceilings = [30, 60, 120, 240, 480];
    let is_right = |(wait, ceiling): (&u64, &u64)| (ceiling / 2..=*ceiling).contains(wait);
    assert!(waits.len() >= 4 && waits.iter().zip(&ceilings).all(is_right), "{waits:?}");
    assert_eq!(world.driver.take_notes(), [""; 0], "the log has it once");
    assert_eq!(world.driver.data.venue.refused.len(), waits.len() + 1);
    assert_eq!(world.driver.counts().refused_topics as usize, waits.len() + 1);
    // What is granted in the end is like any other.
    let mut granted = false;
    while !granted {
        assert!(world.now < SECS(10_000), "it is not tried again");
        for output in world.pass(SECS(20_000)) {
            if output.starts_with("send 0 +") {
                world.grant(&output);
                granted = true;
            }
            world.ponged(&output);
        }
    }
    assert_eq!((world.driver.data.links[0].granted().0, world.driver.data.links[0].refused()), (2, 0));
    assert_eq!(world.driver.data.venue.back.last(), Some(&TopicId(0)));
}

#[test]
fn a_venue_that_refuses_everything_is_not_asked_without_a_wait() {
    let mut world = World::new();
    world.step();
    world.respond(0, 200, "3");
    let mut pending: VecDeque<_> = world.opened(0).into();
    let mut sent = Vec::new();
    while world.now < SECS(14) {
        while let Some(output) = pending.pop_front() {
            if let Some(id) = output.strip_prefix("send 0 + ").and_then(|rest| rest.split(' ').next()) {
                sent.push(world.now);
                pending.extend(world.message(0, &format!("no {id}")));
            }
            world.ponged(&output);
        }
        pending.extend(world.pass(SECS(14)));
    }
    // Three topics are five commands: all, one, two, and each of these.
    assert_eq!((sent.len(), world.driver.counts().refused_topics), (5, 3), "{sent:?}");
    assert!(
        sent[3].checked_sub(sent[2]).unwrap() >= SECS(1) && sent[4].checked_sub(sent[3]).unwrap() >= SECS(2),
        "{sent:?}"
    );
    assert_eq!(world.reason(), "words refuses what is subscribed to: it is so");
}

#[test]
fn a_broken_book_may_overtake_the_response_to_its_subscription() {
    let mut world = World::new();
    world.step();
    world.respond(0, 200, "2");
    assert_eq!(world.opened(0), ["send 0 + 1 0@A 1@A"]);
    assert_eq!(world.message(0, "bookless 0"), [""; 0], "it may be of the subscription before");
    assert_eq!(world.message(0, "broken 0"), [""; 0], "the other one is not answered yet");
    assert_eq!(world.message(0, "ok 1 2"), ["send 0 - 2 0@A"]);
    assert_eq!(world.message(0, "ok 1 0"), [""; 0], "it comes late");
    assert_eq!(world.message(0, "ok 2"), ["send 0 + 3 0@A"]);
    world.message(0, "ok 3 0");
    world.now += SECS(1);
    let ended = world.message(0, "bookless 0");
    assert_eq!(ended, ["send 0 - 4 0@A"], "its snapshot did not come");
    assert_eq!(world.message(0, "bookless 0"), [""; 0]);
    assert_eq!(world.driver.counts().renewed_topics, 2);
}
