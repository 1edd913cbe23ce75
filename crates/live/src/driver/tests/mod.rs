//! The driver in virtual time, against a venue that answers as a test wants.

mod any_venue;
mod connections;
mod snapshots;
mod subscriptions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tickwire_feed::adapter::{FeedEvent, MarketBody, MarketEvent, SourceState};
use tickwire_net::Backoff;
use tickwire_wire::Channel;

use super::link::{Link, Phase};
use super::subscription::{Subscription, TopicState};
use super::{Driver, Input, LinkId, Moment, Output, RequestId, Response, Timings};
use crate::limits::{Limits, Rate};
use crate::venue::{
    Call, Checked, Connection, Loss, Need, Proof, Route, Said, Snapshots, Supply, Terms, Topic, TopicChanges,
    TopicId, Venue, Verification,
};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const TIME: u64 = 1_700_000_000_000_000_000;

/// A venue whose messages are words: `data N`, `wanted N`, `deeper N`, `broken N`, `bookless N`,
/// `ok ID`, `no ID`, `down`, `hole`, `alive`. Its list of instruments is their
/// number. Topics are `N@A` on route 0 and `N@B` on route 1.
#[derive(Debug)]
struct Words {
    terms: Terms,
    count: u32,
    wanted: Vec<(u32, Need)>,
    /// The refusals that were told.
    refused: Vec<(TopicId, String)>,
    /// The topics that were told to be back.
    back: Vec<TopicId>,
    /// The text that it takes for a ping.
    ping: Option<&'static str>,
    ping_every: Option<Duration>,
}

fn limits() -> Limits {
    Limits {
        messages: Rate::new(5, SECS(1)),
        messages_for_pongs: 2,
        messages_of_address: Some(Rate::new(12, SECS(1))),
        commands: Some(Rate::new(20, SECS(100))),
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
        let verification = Verification {
            proof: Proof::Nothing,
            checked: Checked::Never,
            loss: Loss::Unknown,
            snapshots: Snapshots::Rest,
        };
        Self {
            terms: Terms { name: "words", verification, limits: limits(), routes },
            count: 0,
            wanted: Vec::new(),
            refused: Vec::new(),
            back: Vec::new(),
            ping: None,
            ping_every: None,
        }
    }
}

fn gap(topic: &Topic) -> FeedEvent {
    let body = MarketBody::UpstreamGap { channel: topic.channel, count: None };
    FeedEvent::Market(MarketEvent { index: topic.index, event_time: 0, receive_time: 0, body })
}

impl Venue for Words {
    fn terms(&self) -> &Terms {
        &self.terms
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

    fn read(&mut self, _: Connection, _: u64, text: &str, _: &mut Vec<FeedEvent>) -> Result<Said, String> {
        let mut words = text.split(' ');
        let word = words.next().unwrap_or_default();
        let number: u64 = words.next().unwrap_or("0").parse().map_err(|_| "no number".to_owned())?;
        let topic = words.next().and_then(|topic| topic.parse().ok()).map(TopicId);
        Ok(match word {
            "data" => Said::Data(TopicId(number as u32)),
            "wanted" | "deeper" => {
                let need = if word == "wanted" { Need::Whole } else { Need::Deeper };
                self.wanted.push((number as u32 / 2, need));
                Said::Data(TopicId(number as u32))
            }
            "broken" => Said::Broken(TopicId(number as u32), None),
            "bookless" => Said::NoBook(TopicId(number as u32)),
            "ok" => Said::Granted(number, topic),
            "no" => Said::Refused(number, topic, "it is so".to_owned()),
            "down" => Said::GoingDown,
            "hole" => Said::Incomplete("a message is missing".to_owned()),
            "alive" => Said::Alive,
            _ => return Err("no word".to_owned()),
        })
    }

    fn ping(&self) -> Option<&str> {
        self.ping
    }

    fn ping_every(&self) -> Option<Duration> {
        self.ping_every
    }

    fn take_wanted(&mut self) -> Vec<(u32, Need)> {
        std::mem::take(&mut self.wanted)
    }

    fn snapshot(&self, index: u32) -> Option<Call> {
        Some(Call { url: format!("snapshot {index}"), weight: 20 })
    }

    fn take_snapshot(&mut self, _: u32, _: u64, body: &str, _: &mut Vec<FeedEvent>) -> Result<bool, String> {
        Ok(body == "whole")
    }

    fn supply(&mut self, topic: &Topic, supply: Supply<'_>, _: u64, events: &mut Vec<FeedEvent>) {
        match supply {
            Supply::Lost => events.push(gap(topic)),
            Supply::Back => self.back.push(topic.id),
            Supply::Refused(reason) => self.refused.push((topic.id, reason.to_owned())),
            Supply::Silent | Supply::Speaking => {}
        }
    }

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
                Output::Abandon { request } => format!("abandon {}", request.0),
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
        match &self.driver.data.source {
            Some(SourceState::Stale { reason }) => reason.clone(),
            Some(SourceState::Live) => "live".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

fn pending_grant(world: &mut World, output: &str) -> Vec<String> {
    world.grant(output)
}
