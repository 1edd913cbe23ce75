//! One connection and what is subscribed to over it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tickwire_net::Attempts;

use super::subscription::{Asked, Subscription, TopicState};
use super::timings::Timings;
use crate::limits::{Allowance, Limits, Window};
use crate::venue::{Topic, TopicId, Venue};

/// The pings of the venue that wait for their pongs; of more, the newest count.
const PONGS_MAX: usize = 4;

/// The commands in a row that are refused where one of their topics is bad: the first one, and the half with the topic in it.
const REFUSALS_OF_ONE_TOPIC: u32 = 2;

/// One connection: it is tried, opened, lost and tried again.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) route: usize,
    pub(crate) phase: Phase,
    /// The number of the attempt; what comes of an earlier one is not taken.
    pub(crate) attempt: u64,
    pub(crate) attempts: Attempts,
    pub(crate) subscriptions: Vec<Subscription>,
    /// Topics that are not wanted any more, and that the venue may still send.
    leaving: Vec<Topic>,
    /// Topics of commands that were refused: each part is tried alone, so that one bad topic spoils no other.
    parts: VecDeque<Vec<TopicId>>,
    asked: Option<Asked>,
    messages: Window,
    commands: Allowance,
    /// The commands in a row that were refused, and the time before which no other is sent because of that.
    refusals: u32,
    held_until: Duration,
    pongs: VecDeque<Bytes>,
    /// The texts that are to be sent first.
    greetings: VecDeque<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has nothing to bring.
    Idle,
    /// It is tried again at this time.
    Waiting {
        until: Duration,
    },
    /// It has until this time to open.
    Opening {
        until: Duration,
    },
    Open(Open),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) since: Duration,
    pub(crate) last_input: Duration,
    pub(crate) last_ping: Duration,
    /// The time after which a ping is sent, whatever comes.
    pub(crate) ping_every: Option<Duration>,
    /// The time until which a ping has to be answered.
    pub(crate) pong_until: Option<Duration>,
    /// The time at which it is made anew, because of its age.
    pub(crate) renewed_at: Duration,
}

impl Open {
    /// Returns when a ping is due, unless one is under way.
    fn ping_due(&self, timings: &Timings) -> Duration {
        let silent = self.last_input + timings.ping_after;
        self.ping_every.map_or(silent, |every| silent.min(self.last_ping + every))
    }
}

/// A thing to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    Command(String),
    Ping,
    Pong(Bytes),
}

impl Link {
    pub(crate) fn new(route: usize, timings: &Timings, limits: &Limits) -> Self {
        Self {
            route,
            phase: Phase::Idle,
            attempt: 0,
            attempts: Attempts::new(timings.reconnect, timings.stable_after),
            subscriptions: Vec::new(),
            leaving: Vec::new(),
            parts: VecDeque::new(),
            asked: None,
            messages: Window::new(limits.messages),
            commands: Allowance::new(limits.commands),
            refusals: 0,
            held_until: Duration::ZERO,
            pongs: VecDeque::new(),
            greetings: VecDeque::new(),
        }
    }

    pub(crate) fn open(&self) -> Option<&Open> {
        if let Phase::Open(open) = &self.phase { Some(open) } else { None }
    }

    /// Returns how many topics are refused.
    pub(crate) fn refused(&self) -> usize {
        self.subscriptions.iter().filter(|topic| topic.refusals > 0).count()
    }

    /// Returns how many topics are granted, and how many of these were told as silent.
    pub(crate) fn granted(&self) -> (usize, usize) {
        let granted = self
            .subscriptions
            .iter()
            .filter(|topic| matches!(topic.state, TopicState::Granted(_) | TopicState::Heard));
        granted.fold((0, 0), |(all, silent), topic| (all + 1, silent + usize::from(topic.is_told_silent)))
    }

    pub(crate) fn opened(&mut self, now: Duration, renewed_at: Duration, venue: &impl Venue) {
        let ping_every = venue.ping_every();
        self.phase = Phase::Open(Open {
            since: now,
            last_input: now,
            last_ping: now,
            ping_every,
            pong_until: None,
            renewed_at,
        });
        self.messages = Window::new(venue.terms().limits.messages);
        self.commands = Allowance::new(venue.terms().limits.commands);
        (self.refusals, self.held_until) = (0, Duration::ZERO);
        self.greetings = venue.greetings().into();
    }

    /// Takes in that something came, whatever it was.
    pub(crate) fn came(&mut self, now: Duration) {
        if let Phase::Open(open) = &mut self.phase {
            (open.last_input, open.pong_until) = (now, None);
        }
    }

    pub(crate) fn pinged(&mut self, payload: Bytes) {
        if self.pongs.len() == PONGS_MAX {
            self.pongs.pop_front();
        }
        self.pongs.push_back(payload);
    }

    /// Ends the connection; what was subscribed to is wanted again. Returns how long it was open.
    pub(crate) fn end(&mut self, now: Duration) -> Option<Duration> {
        let up_for = self.open().map(|open| now.saturating_sub(open.since));
        self.phase = Phase::Idle;
        // What comes late of this attempt is not taken.
        self.attempt += 1;
        (self.asked, self.leaving) = (None, Vec::new());
        self.parts.clear();
        self.pongs.clear();
        for subscription in &mut self.subscriptions {
            if subscription.state != TopicState::Refused {
                subscription.state = TopicState::Wanted;
                subscription.wanted_from = Duration::ZERO;
            }
        }
        up_for
    }

    /// Takes a topic out, and returns it with the place that it had: the last one has that place now.
    pub(crate) fn remove(&mut self, at: usize) -> Topic {
        let subscription = self.subscriptions.swap_remove(at);
        // Nobody waits for the response about it any more.
        if let Some(asked) = &mut self.asked {
            let is_done = asked.settle(subscription.topic.id);
            self.asked.take_if(|_| is_done);
        }
        if self.open().is_some() && !matches!(subscription.state, TopicState::Wanted | TopicState::Refused) {
            self.leaving.push(subscription.topic.clone());
        }
        subscription.topic
    }

    /// Returns whether nothing is subscribed to, nor to be ended.
    pub(crate) fn is_idle(&self) -> bool {
        self.subscriptions.is_empty() && self.leaving.is_empty() && self.asked.is_none()
    }

    /// Takes in that a command was granted, for one topic or for all. Returns the topics that are granted by it.
    pub(crate) fn granted_command(&mut self, id: u64, topic: Option<TopicId>, now: Duration) -> Vec<TopicId> {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.id == id) else { return Vec::new() };
        let mut granted = match topic {
            Some(topic) => vec![topic],
            None => std::mem::take(&mut asked.topics),
        };
        if asked.topics.is_empty() || topic.is_some_and(|topic| asked.settle(topic)) {
            self.asked = None;
        }
        if !granted.is_empty() {
            self.refusals = 0;
        }
        granted.retain(|topic| {
            let subscription = self.subscriptions.iter_mut().find(|known| known.topic.id == *topic);
            let asked = subscription.filter(|known| known.state == TopicState::Asked);
            asked.map(|known| (known.state, known.refusals) = (TopicState::Granted(now), 0)).is_some()
        });
        granted
    }

    /// Takes in that these are all topics that the connection is subscribed to. Returns the topics that are granted by it.
    pub(crate) fn subscriptions(&mut self, all: &[TopicId], now: Duration) -> Vec<TopicId> {
        let Some(asked) = &self.asked else { return Vec::new() };
        let id = asked.id;
        if asked.topics.is_empty() {
            self.asked = None;
            return Vec::new();
        }
        let granted: Vec<_> = asked.topics.iter().copied().filter(|topic| all.contains(topic)).collect();
        granted.into_iter().flat_map(|topic| self.granted_command(id, Some(topic), now)).collect()
    }

    /// Returns whether a command is under way.
    pub(crate) fn has_command(&self) -> bool {
        self.asked.is_some()
    }

    /// Takes in that the command that is under way was refused as a whole.
    pub(crate) fn refused_any(&mut self, now: Duration, timings: &Timings, random: f64) -> Option<TopicId> {
        let id = self.asked.as_ref()?.id;
        self.refused_command(id, now, timings, random)
    }

    /// Takes in that a command was refused as a whole: its halves are tried. Returns the topic that is refused, where it
    /// was the only one.
    pub(crate) fn refused_command(
        &mut self,
        id: u64,
        now: Duration,
        timings: &Timings,
        random: f64,
    ) -> Option<TopicId> {
        let asked = self.asked.take_if(|asked| asked.id == id)?;
        let was_refused = |topic: &TopicId| {
            let known = self.subscriptions.iter().find(|known| known.topic.id == *topic);
            known.is_some_and(|known| known.refusals > 0)
        };
        // One that was refused before waits by itself.
        if !asked.topics.iter().all(was_refused) {
            self.hold_back(now, timings, random);
        }
        if let [topic] = asked.topics[..] {
            return self.refuse(topic, now, timings, random);
        }
        let (left, right) = asked.topics.split_at(asked.topics.len() / 2);
        self.parts.extend([left, right].iter().filter(|part| !part.is_empty()).map(|part| part.to_vec()));
        None
    }

    /// Takes in that a command was refused for one of its topics. Returns the topic, where it was one of them.
    pub(crate) fn refused_topic(
        &mut self,
        id: u64,
        is_it: impl Fn(&Topic) -> bool,
        now: Duration,
        timings: &Timings,
        random: f64,
    ) -> Option<TopicId> {
        let asked = self.asked.as_mut().filter(|asked| asked.id == id)?;
        if asked.topics.is_empty() {
            // The end of a subscription was refused: there is none, as it is wanted.
            self.asked = None;
            return None;
        }
        let of_command =
            |known: &&Subscription| asked.topics.contains(&known.topic.id) && is_it(&known.topic);
        let topic = self.subscriptions.iter().find(of_command)?.topic.id;
        if asked.settle(topic) {
            self.asked = None;
        }
        self.refuse(topic, now, timings, random)
    }

    /// Takes in that a topic was refused: it is tried again, later and later.
    fn refuse(&mut self, topic: TopicId, now: Duration, timings: &Timings, random: f64) -> Option<TopicId> {
        let subscription = self.subscriptions.iter_mut().find(|known| known.topic.id == topic)?;
        subscription.state = TopicState::Refused;
        // Half of the ceiling at least, so that the first wait is one.
        let ceiling = timings.refused.ceiling(subscription.refusals);
        subscription.wanted_from = now + ceiling / 2 + (ceiling / 2).mul_f64(random);
        subscription.refusals = subscription.refusals.saturating_add(1);
        if subscription.refusals > 1 && matches!(self.phase, Phase::Open(_)) {
            // The venue may think that it is subscribed to already, because it refused to end that.
            self.leaving.push(subscription.topic.clone());
        }
        Some(topic)
    }

    /// Takes in that a whole command was refused. One bad topic has its command refused, and one half of that; where it goes on so,
    /// it is no matter of topics, and there is a wait.
    fn hold_back(&mut self, now: Duration, timings: &Timings, random: f64) {
        self.refusals = self.refusals.saturating_add(1);
        if let Some(waits) = self.refusals.checked_sub(REFUSALS_OF_ONE_TOPIC + 1) {
            let ceiling = timings.retry.ceiling(waits);
            self.held_until = now + ceiling / 2 + (ceiling / 2).mul_f64(random);
        }
    }

    /// Ends a subscription and makes it anew: at once for the first time, and later and later where that does not help.
    /// Returns whether it was in force.
    pub(crate) fn renew(&mut self, at: usize, now: Duration, timings: &Timings, random: f64) -> bool {
        let subscription = &mut self.subscriptions[at];
        if subscription.state == TopicState::Asked {
            // Data overtook the response to the command, which says nothing new.
            let topic = subscription.topic.id;
            let is_asked = self.asked.as_ref().is_some_and(|asked| asked.topics.contains(&topic));
            if !is_asked {
                return false;
            }
            self.asked.take_if(|asked| asked.settle(topic));
        } else if !matches!(subscription.state, TopicState::Granted(_) | TopicState::Heard) {
            return false;
        }
        let before = subscription.renewed.filter(|(at, _)| *at + timings.stable_after > now);
        let count = before.map_or(0, |(_, count)| count);
        let wait = if count == 0 { Duration::ZERO } else { timings.retry.delay(count - 1, random) };
        subscription.state = TopicState::Wanted;
        subscription.wanted_from = now + wait;
        subscription.renewed = Some((now, count + 1));
        self.leaving.push(subscription.topic.clone());
        true
    }

    /// Returns what may be sent now: pongs first, then pings, then commands.
    pub(crate) fn next_sending(
        &mut self,
        now: Duration,
        timings: &Timings,
        venue: &impl Venue,
        of_address: &mut Allowance,
        next_id: &mut u64,
    ) -> Option<Sending> {
        let Phase::Open(open) = &mut self.phase else { return None };
        let limits = &venue.terms().limits;
        if self.messages.ready_at(now, 1, 0).max(of_address.ready_at(now, 0)) <= now {
            if let Some(payload) = self.pongs.pop_front() {
                self.messages.take(now, 1);
                of_address.take(now);
                return Some(Sending::Pong(payload));
            }
            if open.ping_due(timings) <= now && open.pong_until.is_none() {
                open.pong_until = Some(now + timings.pong_within);
                open.last_ping = now;
                self.messages.take(now, 1);
                of_address.take(now);
                return Some(Sending::Ping);
            }
        }
        if self.command_ready_at(now, limits, of_address) > now {
            return None;
        }
        if let Some(text) = self.greetings.pop_front() {
            self.take_command(now, of_address);
            return Some(Sending::Command(text));
        }
        if self.asked.is_some() || self.held_until > now {
            return None;
        }
        let (text, topics) = self.command(venue, *next_id, now)?;
        self.take_command(now, of_address);
        self.asked = Some(Asked { id: *next_id, until: now + timings.command_within, topics });
        *next_id += 1;
        Some(Sending::Command(text))
    }

    /// Returns when a command may be sent within all limits.
    fn command_ready_at(&mut self, now: Duration, limits: &Limits, of_address: &mut Allowance) -> Duration {
        let reserved = limits.messages_for_pongs;
        let messages = self.messages.ready_at(now, 1, reserved);
        messages.max(of_address.ready_at(now, reserved)).max(self.commands.ready_at(now, 0))
    }

    fn take_command(&mut self, now: Duration, of_address: &mut Allowance) {
        self.messages.take(now, 1);
        self.commands.take(now);
        of_address.take(now);
    }

    /// Returns the next command and the topics that it subscribes to.
    fn command(&mut self, venue: &impl Venue, id: u64, now: Duration) -> Option<(String, Vec<TopicId>)> {
        let most = venue.terms().limits.topics_per_command;
        if let Some(first) = self.leaving.first() {
            let batch = first.batch;
            let leaving: Vec<_> =
                self.leaving.iter().filter(|topic| topic.batch == batch).take(most).collect();
            let text = venue.unsubscribe(id, &leaving);
            let ids: Vec<_> = leaving.iter().map(|topic| topic.id).collect();
            self.leaving.retain(|topic| !ids.contains(&topic.id));
            return Some((text, Vec::new()));
        }
        let part = self.parts.pop_front();
        let is_meant = |subscription: &Subscription| match &part {
            Some(part) => part.contains(&subscription.topic.id),
            None => subscription.state == TopicState::Wanted && subscription.wanted_from <= now,
        };
        let Some(first) = self.subscriptions.iter().find(|known| is_meant(known)) else {
            return self.refused_before(venue, id, now);
        };
        let batch = first.topic.batch;
        let mut topics = Vec::new();
        let of_batch = |known: &&mut Subscription| known.topic.batch == batch && is_meant(known);
        for subscription in self.subscriptions.iter_mut().filter(of_batch).take(most) {
            subscription.state = TopicState::Asked;
            topics.push(&subscription.topic);
        }
        let ids = topics.iter().map(|topic| topic.id).collect();
        Some((venue.subscribe(id, &topics), ids))
    }

    /// Returns the command that tries a topic again which was refused: alone, so that it spoils no other.
    fn refused_before(
        &mut self,
        venue: &impl Venue,
        id: u64,
        now: Duration,
    ) -> Option<(String, Vec<TopicId>)> {
        let is_due =
            |known: &&mut Subscription| known.state == TopicState::Refused && known.wanted_from <= now;
        let subscription = self.subscriptions.iter_mut().find(is_due)?;
        subscription.state = TopicState::Asked;
        Some((venue.subscribe(id, &[&subscription.topic]), vec![subscription.topic.id]))
    }

    /// Returns from when on there is something to tell the venue.
    fn command_due(&self, now: Duration) -> Option<Duration> {
        if !self.leaving.is_empty() || !self.parts.is_empty() || !self.greetings.is_empty() {
            return Some(now);
        }
        let is_open = |topic: &&Subscription| matches!(topic.state, TopicState::Wanted | TopicState::Refused);
        let wanted = self.subscriptions.iter().filter(is_open);
        wanted.map(|topic| topic.wanted_from).min()
    }

    /// Returns why the connection has to end, if so.
    pub(crate) fn fault(&self, now: Duration, timings: &Timings) -> Option<String> {
        match &self.phase {
            Phase::Opening { until } if *until <= now => {
                Some(format!("it did not open within {} s", timings.open_within.as_secs_f64()))
            }
            Phase::Open(Open { pong_until: Some(until), .. }) if *until <= now => Some(format!(
                "nothing came for {} s, and no pong",
                (timings.ping_after + timings.pong_within).as_secs_f64()
            )),
            Phase::Open(_) if self.asked.as_ref().is_some_and(|asked| asked.until <= now) => {
                Some(format!("a command was not answered within {} s", timings.command_within.as_secs_f64()))
            }
            _ => None,
        }
    }

    /// Returns when something is due, but for the limit on connects.
    pub(crate) fn due(
        &mut self,
        now: Duration,
        timings: &Timings,
        limits: &Limits,
        of_address: &mut Allowance,
    ) -> Option<Duration> {
        let open = match self.phase {
            Phase::Idle => return None,
            Phase::Waiting { until } | Phase::Opening { until } => return Some(until),
            Phase::Open(open) => open,
        };
        let ping = open.pong_until.unwrap_or_else(|| open.ping_due(timings));
        let pong_ready = self.messages.ready_at(now, 1, 0).max(of_address.ready_at(now, 0));
        let pong = (!self.pongs.is_empty()).then_some(pong_ready);
        let ping = if open.pong_until.is_none() { ping.max(pong_ready) } else { ping };
        let command = match &self.asked {
            Some(asked) => Some(asked.until),
            None => {
                let due = self.command_due(now);
                let held = if self.greetings.is_empty() { self.held_until } else { now };
                due.map(|due| due.max(held).max(self.command_ready_at(now, limits, of_address)))
            }
        };
        let silence = self.subscriptions.iter().filter_map(Subscription::silent_at).min();
        [Some(ping), Some(open.renewed_at), pong, command, silence].into_iter().flatten().min()
    }
}
