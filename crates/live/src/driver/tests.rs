//! The driver in virtual time, against a venue that answers as a test wants.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use tickwire_feed::adapter::{MarketBody, MarketEvent};
use tickwire_net::Backoff;

use super::*;
use crate::limits::{Limits, Rate};
use crate::venue::{Checked, Loss, Proof, Route, Snapshots, Verification};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const TIME: u64 = 1_700_000_000_000_000_000;

/// A venue whose messages are words: `data N`, `wanted N`, `ok ID`, `no ID`, `down`. Its list of instruments is their
/// number. Topics are `N@A` on route 0 and `N@B` on route 1.
#[derive(Debug)]
struct Words {
    limits: Limits,
    routes: Vec<Route>,
    count: u32,
    wanted: Vec<u32>,
}

fn limits() -> Limits {
    Limits {
        messages: Rate::new(5, SECS(1)),
        messages_for_pongs: 2,
        connects: Rate::new(6, SECS(10)),
        weight: Rate::new(100, SECS(60)),
        topics_per_connection: 8,
        topics_per_command: 3,
        connection_age: SECS(1_000),
    }
}

impl Words {
    fn new() -> Self {
        let route = |name, url: &str| Route { name, url: url.to_owned() };
        let routes = vec![route("a", "ws://a"), route("b", "ws://b")];
        Self { limits: limits(), routes, count: 0, wanted: Vec::new() }
    }
}

fn gap(topic: &Topic) -> FeedEvent {
    let body = MarketBody::UpstreamGap { channel: topic.channel, count: None };
    FeedEvent::Market(MarketEvent { index: topic.index, event_time: 0, receive_time: 0, body })
}

impl Venue for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn verification(&self) -> Verification {
        Verification {
            proof: Proof::Nothing,
            checked: Checked::Never,
            loss: Loss::Unknown,
            snapshots: Snapshots::Rest,
        }
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn routes(&self) -> &[Route] {
        &self.routes
    }

    fn catalogue(&self) -> Call {
        Call { url: "catalogue".to_owned(), weight: 10 }
    }

    fn take_catalogue(&mut self, _: u64, body: &str, _: &mut Vec<FeedEvent>) -> Result<TopicChanges, String> {
        let count: u32 = body.parse().map_err(|_| "no number".to_owned())?;
        let topic = |index: u32, route: u32| Topic {
            id: TopicId(index * 2 + route),
            route: route as usize,
            batch: 0,
            name: format!("{index}@{}", ["A", "B"][route as usize]),
            index,
            symbol: format!("S{index}"),
            channel: [Channel::Book, Channel::Quote][route as usize],
            silent_after: SECS(30),
        };
        let added = (self.count..count).flat_map(|index| [topic(index, 0), topic(index, 1)]).collect();
        let ended =
            (count..self.count).flat_map(|index| [TopicId(index * 2), TopicId(index * 2 + 1)]).collect();
        self.count = count;
        Ok(TopicChanges { added, ended })
    }

    fn subscribe(&self, id: u64, topics: &[&Topic]) -> String {
        let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
        format!("+ {id} {}", names.join(" "))
    }

    fn unsubscribe(&self, id: u64, topics: &[&Topic]) -> String {
        self.subscribe(id, topics).replace('+', "-")
    }

    fn read(&mut self, _: u64, text: &str, _: &mut Vec<FeedEvent>) -> Result<Said, String> {
        let mut words = text.split(' ');
        let word = words.next().unwrap_or_default();
        let number: u64 = words.next().unwrap_or("0").parse().map_err(|_| "no number".to_owned())?;
        let topic = words.next().and_then(|topic| topic.parse().ok()).map(TopicId);
        Ok(match word {
            "data" => Said::Data(TopicId(number as u32)),
            "wanted" => {
                self.wanted.push(number as u32 / 2);
                Said::Data(TopicId(number as u32))
            }
            "broken" => Said::Broken(TopicId(number as u32)),
            "ok" => Said::Granted(number, topic),
            "no" => Said::Refused(number, topic, "it is so".to_owned()),
            "down" => Said::GoingDown,
            _ => return Err("no word".to_owned()),
        })
    }

    fn take_wanted(&mut self, wanted: &mut Vec<u32>) {
        wanted.append(&mut self.wanted);
    }

    fn snapshot(&self, index: u32) -> Option<Call> {
        Some(Call { url: format!("snapshot {index}"), weight: 20 })
    }

    fn take_snapshot(&mut self, _: u32, _: u64, body: &str, _: &mut Vec<FeedEvent>) -> Result<bool, String> {
        Ok(body == "whole")
    }

    fn lost(&mut self, topic: &Topic, _: u64, events: &mut Vec<FeedEvent>) {
        events.push(gap(topic));
    }

    fn is_silent(&mut self, _: &Topic, _: bool, _: u64, _: &mut Vec<FeedEvent>) {}

    fn refusal(&self, body: &str) -> String {
        body.to_owned()
    }
}

/// A driver with its time, and the open connections with their attempts.
struct World {
    driver: Driver<Words>,
    now: Duration,
    events: Vec<FeedEvent>,
    attempts: BTreeMap<LinkId, u64>,
}

impl World {
    fn new() -> Self {
        let timings = Timings {
            reconnect: Backoff::new(SECS(1), SECS(8)),
            retry: Backoff::new(SECS(2), SECS(8)),
            ..Timings::default()
        };
        let driver = Driver::new(Words::new(), timings, 7);
        Self { driver, now: Duration::ZERO, events: Vec::new(), attempts: BTreeMap::new() }
    }

    /// Makes a world with so many instruments whose connections are open and whose topics are granted.
    fn granted(count: u32) -> Self {
        let mut world = Self::new();
        assert_eq!(world.step(), ["fetch 0 catalogue"]);
        let mut pending: VecDeque<_> = world.respond(0, 200, &count.to_string()).into();
        while let Some(output) = pending.pop_front() {
            pending.extend(world.grant(&output));
        }
        world.wait_for(pending_grant);
        world.events.clear();
        world
    }

    /// Opens what is connected, and grants what is asked for.
    fn grant(&mut self, output: &str) -> Vec<String> {
        let words: Vec<_> = output.split(' ').collect();
        match words[..] {
            ["connect", link, ..] => self.opened(link.parse().unwrap()),
            ["send", link, _, id, ..] => self.message(link.parse().unwrap(), &format!("ok {id}")),
            _ => Vec::new(),
        }
    }

    fn moment(&self) -> Moment {
        Moment { elapsed: self.now, time: TIME + self.now.as_nanos() as u64 }
    }

    fn outputs(&mut self) -> Vec<String> {
        let mut outputs = Vec::new();
        while let Some(output) = self.driver.next_output() {
            outputs.push(match output {
                Output::Connect { link, attempt, url } => {
                    self.attempts.insert(link, attempt);
                    format!("connect {} {url}", link.0)
                }
                Output::Send { link, text } => format!("send {} {text}", link.0),
                Output::Ping { link } => format!("ping {}", link.0),
                Output::Pong { link, .. } => format!("pong {}", link.0),
                Output::Close { link } => format!("close {}", link.0),
                Output::Fetch { request, url } => format!("fetch {} {url}", request.0),
            });
        }
        outputs
    }

    /// Does what is due now.
    fn step(&mut self) -> Vec<String> {
        self.driver.advance(self.moment(), &mut self.events);
        self.outputs()
    }

    /// Lets the time pass until the driver wants to be called, at most until a time; returns what it does.
    fn pass(&mut self, until: Duration) -> Vec<String> {
        self.now = self.driver.wake_at().unwrap_or(until).clamp(self.now, until.max(self.now));
        self.step()
    }

    /// Passes the time, and takes each output, until it is quiet for a second.
    fn wait_for(&mut self, mut take: impl FnMut(&mut Self, &str) -> Vec<String>) {
        let mut quiet_until = self.now + SECS(2);
        while self.now < quiet_until {
            let mut outputs: VecDeque<_> = self.pass(quiet_until).into();
            while let Some(output) = outputs.pop_front() {
                outputs.extend(take(self, &output));
                quiet_until = self.now + SECS(2);
            }
        }
    }

    fn input(&mut self, input: Input<'_>) -> Vec<String> {
        self.driver.handle(self.moment(), input, &mut self.events);
        self.outputs()
    }

    fn opened(&mut self, link: usize) -> Vec<String> {
        let link = LinkId(link);
        self.input(Input::Opened { link, attempt: self.attempts[&link] })
    }

    fn message(&mut self, link: usize, text: &str) -> Vec<String> {
        let link = LinkId(link);
        let attempt = self.attempts[&link];
        self.driver.handle(self.moment(), Input::Message { link, attempt, text }, &mut self.events);
        self.outputs()
    }

    fn closed(&mut self, link: usize) -> Vec<String> {
        let link = LinkId(link);
        let (attempt, reason) = (self.attempts[&link], "a cut".to_owned());
        self.input(Input::Closed { link, attempt, reason, retry_after: None })
    }

    fn respond(&mut self, request: u64, status: u16, body: &str) -> Vec<String> {
        let retry_after = (status == 429).then_some(SECS(25));
        let response = Response { status, retry_after, used_weight: None, body: body.to_owned() };
        self.input(Input::Response { request: RequestId(request), outcome: Ok(response) })
    }

    /// Answers a ping of the driver's; returns whether it was one.
    fn ponged(&mut self, output: &str) -> bool {
        let Some(link) = output.strip_prefix("ping ") else { return false };
        let link = LinkId(link.parse().unwrap());
        let attempt = self.attempts[&link];
        self.input(Input::Pong { link, attempt });
        true
    }

    fn gaps(&self) -> Vec<u32> {
        let gap = |event: &FeedEvent| match event {
            FeedEvent::Market(event) => Some(event.index),
            _ => None,
        };
        self.events.iter().filter_map(gap).collect()
    }

    fn reason(&self) -> String {
        match &self.driver.source {
            Some(SourceState::Stale { reason }) => reason.clone(),
            Some(SourceState::Live) => "live".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

fn pending_grant(world: &mut World, output: &str) -> Vec<String> {
    world.grant(output)
}

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
fn a_snapshot_is_given_up_with_the_connection_that_goes_on_from_it() {
    let mut world = World::granted(1);
    let [fetch] = &world.message(0, "wanted 0")[..] else { panic!("one request") };
    assert!(fetch.ends_with("snapshot 0"));
    let request = fetch.split(' ').nth(1).unwrap().parse().unwrap();
    world.closed(0);
    world.respond(request, 200, "old");
    assert_eq!(world.driver.counts().unused_snapshots, 0, "it was not taken");
    let mut fetched = 0;
    world.wait_for(|world, output| {
        fetched += u64::from(output.contains("snapshot"));
        world.grant(output)
    });
    assert_eq!(fetched, 0, "nothing is asked for before the first change");
    assert!(world.message(0, "wanted 0")[0].ends_with("snapshot 0"));
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
    assert_eq!((world.driver.links[0].granted().0, world.driver.counts().refused_topics), (3, 1));
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
    let most = world.driver.timings.retry;
    let is_within = |(count, wait): (usize, &Duration)| *wait <= most.ceiling(count as u32);
    assert!(waits[1..].iter().enumerate().all(is_within) && waits[4] > SECS(0), "{waits:?}");
    assert_eq!((world.driver.counts().renewed_topics, world.driver.counts().losses), (5, 0));
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
    let lost_at = world.now + world.driver.timings.pong_within;
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
fn silence_after_a_grant_is_told_once_until_data_comes() {
    let mut world = World::granted(2);
    world.message(0, "data 0");
    // Pongs keep the connections alive meanwhile.
    let until = world.now + SECS(40);
    while world.now < until {
        for output in world.pass(until) {
            if let Some(link) = output.strip_prefix("ping ") {
                let link = LinkId(link.parse().unwrap());
                let attempt = world.attempts[&link];
                world.input(Input::Pong { link, attempt });
            }
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
fn a_ban_is_waited_for() {
    let mut world = World::granted(3);
    let fetches = world.message(0, "wanted 0");
    let request: u64 = fetches[0].split(' ').nth(1).unwrap().parse().unwrap();
    assert_eq!(world.respond(request, 429, ""), [""; 0]);
    let until = world.now + SECS(25);
    assert_eq!(world.message(0, "wanted 2"), [""; 0]);
    let mut fetched = Vec::new();
    while fetched.len() < 2 {
        let outputs = world.pass(SECS(1_000));
        let is_fetch = |output: &&String| output.starts_with("fetch");
        let count = outputs.iter().filter(is_fetch).count();
        fetched.extend((0..count).map(|_| world.now));
        for output in outputs {
            if let Some(link) = output.strip_prefix("ping ") {
                let link = LinkId(link.parse().unwrap());
                let attempt = world.attempts[&link];
                world.input(Input::Pong { link, attempt });
            }
        }
    }
    assert!(fetched.iter().all(|at| *at >= until), "{fetched:?} before {until:?}");
    assert_eq!(world.driver.counts().bans, 1);
}

#[test]
fn connections_are_made_anew_before_their_age_and_not_all_at_once() {
    let mut world = World::granted(12);
    let mut renewed = Vec::new();
    while world.now < SECS(1_200) {
        for output in world.pass(SECS(1_200)) {
            if let Some(link) = output.strip_prefix("ping ") {
                let link = LinkId(link.parse().unwrap());
                let attempt = world.attempts[&link];
                world.input(Input::Pong { link, attempt });
            } else if output.starts_with("close") {
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
                if let Some(link) = output.strip_prefix("ping ") {
                    let link = LinkId(link.parse().unwrap());
                    let attempt = world.attempts[&link];
                    world.input(Input::Pong { link, attempt });
                }
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
                let granted = world.driver.links.iter().map(|link| link.granted().0).sum();
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
                            let is_opening = matches!(world.driver.links[link].phase, Phase::Opening { .. });
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
                        messages.entry((link, world.attempts[&link])).or_default().push((at, 1));
                    }
                    ["close", link] => {
                        open.remove(&link.parse().unwrap());
                        unanswered.retain(|output| output.split(' ').nth(1) != Some(link) || output.starts_with("fetch"));
                    }
                    ["fetch", request, ..] => {
                        let what = words[2..].join(" ");
                        prop_assert!(world.driver.requests.blocked_until() <= at);
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
        // Nobody sent data for so long that the silence was told.
        let is_granted = |link: &Link| link.granted().0 > 0;
        let link = world.driver.links.iter().position(is_granted).expect("some are granted");
        let is_in_force =
            |topic: &&Subscription| matches!(topic.state, TopicState::Granted(_) | TopicState::Heard);
        let topic = world.driver.links[link].subscriptions.iter().find(is_in_force).expect("one is").topic.id;
        world.message(link, &format!("data {}", topic.0));
        prop_assert_eq!(world.reason(), "live");
        prop_assert_eq!(most_granted, 40);
    }
}
