//! Whatever a venue does, the driver keeps to its limits, and in the end everything is granted.

use proptest::prelude::*;

use super::*;

/// The steps after which a venue is well again.
const CALM: usize = 400;

/// A deed of a venue.
#[derive(Clone, Debug)]
enum Deed {
    /// It responds as it should.
    Respond,
    /// It cuts a connection.
    Cut(usize),
    /// It refuses requests for a while.
    Ban,
    /// It sends pings.
    Ping(usize),
    /// It goes down.
    Down(usize),
    /// It says nothing for a while.
    Silence(u64),
    /// A book breaks.
    Want(u32),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        8 => Just(Deed::Respond),
        2 => (0usize..6).prop_map(Deed::Cut),
        1 => Just(Deed::Ban),
        2 => (0usize..6).prop_map(Deed::Ping),
        1 => (0usize..6).prop_map(Deed::Down),
        2 => (1u64..60).prop_map(Deed::Silence),
        3 => (0u32..20).prop_map(Deed::Want),
    ]
}

/// Checks that no window of a period holds more than a limit.
#[track_caller]
fn within(taken: &[(Duration, u32)], rate: Rate, what: &str) {
    for (from, _) in taken {
        let window = taken.iter().filter(|(at, _)| (*from..*from + rate.period).contains(at));
        let sum: u32 = window.map(|(_, amount)| amount).sum();
        assert!(sum <= rate.count, "{what}: {sum} within {:?} from {from:?}", rate.period);
    }
}

proptest! {
    /// Whatever a venue does: no limit is exceeded in any window, no request is sent during a ban, nothing is asked for twice
    /// at the same time, what was lost was told, and when the venue is well again everything is granted.
    #[test]
    fn limits_hold_and_everything_is_granted_in_the_end(deeds in prop::collection::vec(deed(), 1..60)) {
        let mut world = World::new();
        let (mut connects, mut weights) = (Vec::new(), Vec::new());
        let mut messages: BTreeMap<(LinkId, u64), Vec<(Duration, u32)>> = BTreeMap::new();
        let mut commands: BTreeMap<(LinkId, u64), Vec<(Duration, u32)>> = BTreeMap::new();
        let mut of_address = Vec::new();
        let mut open: BTreeSet<usize> = BTreeSet::new();
        let mut unanswered: VecDeque<String> = VecDeque::new();
        let mut banned_until = Duration::ZERO;
        let mut fetching: BTreeMap<u64, String> = BTreeMap::new();
        let calm = std::iter::repeat_n(Deed::Respond, CALM);
        let (mut left, mut most_granted) = (deeds.len() + CALM, 0);
        for deed in deeds.into_iter().chain(calm) {
            left -= 1;
            if left < CALM / 2 {
                // Not at the end alone: connections are made anew because of their age, too.
                let granted = world.driver.data.links.iter().map(|link| link.granted().0).sum();
                most_granted = most_granted.max(granted);
            }
            let mut outputs = Vec::new();
            let has = |open: &BTreeSet<usize>, link: usize| open.iter().nth(link % open.len().max(1)).copied();
            let mut is_answering = false;
            match deed {
                Deed::Respond => is_answering = true,
                Deed::Cut(link) => if let Some(link) = has(&open, link) {
                    open.remove(&link);
                    outputs.extend(world.closed(link));
                },
                Deed::Ban => banned_until = banned_until.max(world.now + SECS(25)),
                Deed::Ping(link) => if let Some(link) = has(&open, link) {
                    let (link, payload) = (LinkId(link), Bytes::from_static(b"x"));
                    let attempt = world.attempts[&link];
                    outputs.extend(world.input(Input::Ping { link, attempt, payload }));
                },
                Deed::Down(link) => if let Some(link) = has(&open, link) {
                    outputs.extend(world.message(link, "down"));
                },
                Deed::Silence(seconds) => {
                    let until = world.now + SECS(seconds);
                    while world.now < until {
                        let more = world.pass(until);
                        let at = world.now;
                        outputs.extend(more.into_iter().map(|output| format!("{}|{output}", at.as_nanos())));
                    }
                }
                Deed::Want(index) => if open.contains(&0) {
                    outputs.extend(world.message(0, &format!("wanted {}", index * 2)));
                },
            }
            if is_answering {
                let until = world.now + SECS(3);
                outputs.extend(world.pass(until));
            }
            let mut outputs: VecDeque<_> = outputs.into();
            loop {
                let Some(output) = outputs.pop_front() else {
                    let Some(output) = unanswered.pop_front().filter(|_| is_answering) else { break };
                    let words: Vec<_> = output.split(' ').collect();
                    match words[..] {
                        ["connect", link, ..] => {
                            let link: usize = link.parse().unwrap();
                            let is_opening = matches!(world.driver.data.links[link].phase, Phase::Opening { .. });
                            outputs.extend(world.opened(link));
                            if is_opening {
                                open.insert(link);
                            }
                        }
                        ["send", link, _, id, ..] => {
                            let link: usize = link.parse().unwrap();
                            outputs.extend(world.message(link, &format!("ok {id}")));
                        }
                        ["ping", link] => {
                            let link = LinkId(link.parse().unwrap());
                            let attempt = world.attempts[&link];
                            outputs.extend(world.input(Input::Pong { link, attempt }));
                        }
                        ["fetch", request, what, ..] => {
                            let request: u64 = request.parse().unwrap();
                            fetching.remove(&request);
                            let body = if what == "catalogue" { "20" } else { "whole" };
                            let status = if world.now < banned_until { 429 } else { 200 };
                            let response = Response {
                                status,
                                retry_after: (status == 429).then(|| banned_until.saturating_sub(world.now)),
                                used_weight: None,
                                body: body.to_owned(),
                            };
                            let request = RequestId(request);
                            outputs.extend(world.input(Input::Response { request, outcome: Ok(response) }));
                        }
                        _ => {}
                    }
                    continue;
                };
                let (at, output) = match output.split_once('|') {
                    Some((at, output)) => (Duration::from_nanos(at.parse().unwrap()), output.to_owned()),
                    None => (world.now, output),
                };
                let words: Vec<_> = output.split(' ').collect();
                match words[..] {
                    ["connect", ..] => connects.push((at, 1)),
                    ["send" | "ping" | "pong", link, ..] => {
                        let link = LinkId(link.parse().unwrap());
                        let life = (link, world.attempts[&link]);
                        messages.entry(life).or_default().push((at, 1));
                        of_address.push((at, 1));
                        if words[0] == "send" {
                            commands.entry(life).or_default().push((at, 1));
                        }
                    }
                    ["close", link] => {
                        open.remove(&link.parse().unwrap());
                        unanswered.retain(|output| output.split(' ').nth(1) != Some(link) || output.starts_with("fetch"));
                    }
                    ["fetch", request, ..] => {
                        let what = words[2..].join(" ");
                        prop_assert!(world.driver.data.requests.blocked_until() <= at);
                        weights.push((at, if what == "catalogue" { 10 } else { 20 }));
                        fetching.insert(request.parse().unwrap(), what);
                    }
                    _ => {}
                }
                unanswered.push_back(output);
            }
        }
        within(&connects, limits().connects, "connects");
        within(&weights, limits().weight, "weight");
        for (link, messages) in &messages {
            within(messages, limits().messages, &format!("messages of {link:?}"));
        }
        for (link, commands) in &commands {
            within(commands, limits().commands.unwrap(), &format!("commands of {link:?}"));
        }
        within(&of_address, limits().messages_of_address.unwrap(), "messages of the address");
        // Nobody sent data for so long that the silence was told.
        let is_granted = |link: &Link| link.granted().0 > 0;
        let link = world.driver.data.links.iter().position(is_granted).expect("some are granted");
        let is_in_force =
            |topic: &&Subscription| matches!(topic.state, TopicState::Granted(_) | TopicState::Heard);
        let topic = world.driver.data.links[link].subscriptions.iter().find(is_in_force).expect("one is").topic.id;
        world.message(link, &format!("data {}", topic.0));
        prop_assert_eq!(world.reason(), "live");
        prop_assert_eq!(most_granted, 40);
    }
}
