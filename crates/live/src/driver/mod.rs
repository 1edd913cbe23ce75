//! The connection driver that all venues share: a state machine without I/O and without a clock.
//!
//! What happened goes in ([`Input`]), with the moment; what is to be done comes out ([`Output`]), and events for the
//! ingester. [`Driver::wake_at`] says when the driver wants to be called at the latest.
//!
//! Invariants: no limit of the venue is exceeded in any window of its length; what comes of a connection that was lost, or of
//! a request that nobody wants any more, is not taken; a book is asked for only while the changes that continue it come in.

mod link;
mod requests;
#[cfg(test)]
mod tests;
mod timings;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tickwire_feed::adapter::{Fault, FeedEvent, SourceState};
use tickwire_wire::Channel;

use self::link::{Link, Phase, Sending, Subscription, TopicState};
pub use self::requests::RequestId;
use self::requests::{Purpose, Requests};
pub use self::timings::{Moment, Timings};
use crate::limits::Window;
use crate::venue::{Call, Said, Topic, TopicChanges, TopicId, Venue};

/// The number of a connection, which it keeps when it is made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub usize);

/// A thing that happened.
#[derive(Debug)]
pub enum Input<'i> {
    /// A connection is open.
    Opened {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
    },
    /// A message came.
    Message {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
        /// The text.
        text: &'i str,
    },
    /// The venue sent a ping.
    Ping {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
        /// The payload, which the pong repeats.
        payload: Bytes,
    },
    /// The venue sent a pong.
    Pong {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
    },
    /// A connection ended, or did not come about.
    Closed {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
        /// The reason, for people.
        reason: String,
        /// The wait that the venue demands.
        retry_after: Option<Duration>,
    },
    /// A request has its response, or a reason why there is none.
    Response {
        /// The request.
        request: RequestId,
        /// The response.
        outcome: Result<Response, String>,
    },
}

/// A response of the venue's REST service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status of HTTP.
    pub status: u16,
    /// The wait that the venue demands.
    pub retry_after: Option<Duration>,
    /// The weight that the venue counted in the period that runs.
    pub used_weight: Option<u32>,
    /// The body.
    pub body: String,
}

/// A thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Opens a connection.
    Connect {
        /// The connection.
        link: LinkId,
        /// The attempt.
        attempt: u64,
        /// The URL.
        url: String,
    },
    /// Sends a message.
    Send {
        /// The connection.
        link: LinkId,
        /// The text.
        text: String,
    },
    /// Sends a ping.
    Ping {
        /// The connection.
        link: LinkId,
    },
    /// Answers a ping.
    Pong {
        /// The connection.
        link: LinkId,
        /// The payload of the ping.
        payload: Bytes,
    },
    /// Ends a connection; nothing that comes of it is taken any more.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Asks the REST service.
    Fetch {
        /// The request.
        request: RequestId,
        /// The URL.
        url: String,
    },
}

/// The counts since a driver began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts to connect.
    pub connects: u64,
    /// Connections that were open and ended.
    pub losses: u64,
    /// Commands that were sent.
    pub commands: u64,
    /// Topics that the venue refused.
    pub refused_topics: u64,
    /// Topics that were subscribed to anew, because a checksum said that they are broken.
    pub renewed_topics: u64,
    /// Topics that were granted and brought nothing within their time.
    pub silent_topics: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Responses that said "too many requests".
    pub bans: u64,
    /// Snapshots that helped no book.
    pub unused_snapshots: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
}

/// The connection driver of one venue.
#[derive(Debug)]
pub struct Driver<V> {
    venue: V,
    timings: Timings,
    rng: ChaCha8Rng,
    links: Vec<Link>,
    /// The connection and the place in it of each topic, by its number.
    places: Vec<Option<(usize, usize)>>,
    connects: Window,
    /// No attempt to connect is made before this time, because the venue said so.
    connects_blocked_until: Duration,
    requests: Requests,
    outputs: VecDeque<Output>,
    wanted: Vec<u32>,
    next_command: u64,
    has_catalogue: bool,
    /// The reason why there is no connection, or no list of instruments.
    trouble: String,
    source: Option<SourceState>,
    wake: Option<Duration>,
    counts: Counts,
}

impl<V: Venue> Driver<V> {
    /// Prepares everything; the first call of [`advance`](Self::advance) begins. The seed draws the waits.
    pub fn new(venue: V, timings: Timings, seed: u64) -> Self {
        let limits = venue.limits();
        let mut requests = Requests::new(limits.weight);
        requests.want(Purpose::Catalogue, Duration::ZERO);
        Self {
            connects: Window::new(limits.connects),
            requests,
            venue,
            timings,
            rng: ChaCha8Rng::seed_from_u64(seed),
            links: Vec::new(),
            places: Vec::new(),
            connects_blocked_until: Duration::ZERO,
            outputs: VecDeque::new(),
            wanted: Vec::new(),
            next_command: 1,
            has_catalogue: false,
            trouble: String::new(),
            source: None,
            wake: Some(Duration::ZERO),
            counts: Counts::default(),
        }
    }

    /// Returns the venue.
    pub fn venue(&self) -> &V {
        &self.venue
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the words for the log since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.venue.take_notes()
    }

    /// Returns the next thing to be done.
    pub fn next_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`advance`](Self::advance) is to be called at the latest.
    pub fn wake_at(&self) -> Option<Duration> {
        self.wake
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Moment, input: Input<'_>, events: &mut Vec<FeedEvent>) {
        match input {
            Input::Message { link, attempt, text } => {
                if !self.is_current(link, attempt) {
                    return;
                }
                self.links[link.0].came(now.elapsed);
                if !self.message(link, now, text, events) {
                    return;
                }
            }
            Input::Opened { link, attempt } => {
                let is_opening =
                    self.links.get(link.0).is_some_and(|link| matches!(link.phase, Phase::Opening { .. }));
                if is_opening && self.is_current(link, attempt) {
                    let renewed_at = now.elapsed + self.age();
                    self.links[link.0].opened(now.elapsed, renewed_at, self.venue.limits());
                }
            }
            Input::Ping { link, attempt, payload } => {
                if self.is_current(link, attempt) {
                    self.links[link.0].came(now.elapsed);
                    self.links[link.0].pinged(payload);
                    self.tell_life(events);
                }
            }
            Input::Pong { link, attempt } => {
                if self.is_current(link, attempt) {
                    self.links[link.0].came(now.elapsed);
                    self.tell_life(events);
                }
            }
            Input::Closed { link, attempt, reason, retry_after } => {
                if self.is_current(link, attempt) {
                    if let Some(wait) = retry_after {
                        self.connects_blocked_until = self.connects_blocked_until.max(now.elapsed + wait);
                    }
                    self.lose(link, now, reason, events);
                }
            }
            Input::Response { request, outcome } => self.response(now, request, outcome, events),
        }
        self.advance(now, events);
    }

    /// Does what is due.
    pub fn advance(&mut self, now: Moment, events: &mut Vec<FeedEvent>) {
        while let Some(request) = self.requests.overdue(now.elapsed) {
            let within = self.timings.response_within.as_secs_f64();
            self.response(now, request, Err(format!("no response came within {within} s")), events);
        }
        for at in 0..self.links.len() {
            self.advance_link(LinkId(at), now, events);
        }
        self.send_requests(now);
        self.tell_source(events);
        self.wake = self.due(now);
    }

    fn is_current(&self, link: LinkId, attempt: u64) -> bool {
        self.links.get(link.0).is_some_and(|link| link.attempt == attempt && link.phase != Phase::Idle)
    }

    fn random(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws the age at which a connection is made anew: the last twentieth is left to chance, so that connections which
    /// were opened together do not end together.
    fn age(&mut self) -> Duration {
        let most = self.venue.limits().connection_age;
        most.saturating_sub((most / 20).mul_f64(self.random()))
    }

    fn fault(&self, link: LinkId, reason: String) -> FeedEvent {
        let source = self.venue.routes()[self.links[link.0].route].url.clone();
        FeedEvent::Fault(Fault { source, line: 0, reason })
    }

    /// Takes a message; returns whether something is to be done because of it.
    fn message(&mut self, link: LinkId, now: Moment, text: &str, events: &mut Vec<FeedEvent>) -> bool {
        let said = match self.venue.read(now.time, text, events) {
            Ok(said) => said,
            Err(reason) => {
                self.counts.unreadable += 1;
                events.push(self.fault(link, reason));
                return false;
            }
        };
        match said {
            Said::Data(topic) => {
                let is_news = self.heard(topic, now, events);
                self.venue.take_wanted(&mut self.wanted);
                let has_wanted = !self.wanted.is_empty();
                for index in self.wanted.drain(..) {
                    self.requests.want(Purpose::Snapshot(index), now.elapsed);
                }
                is_news || has_wanted
            }
            Said::Broken(topic) => {
                let random = self.random();
                let Some((link, at)) = self.places.get(topic.0 as usize).copied().flatten() else {
                    return false;
                };
                let is_renewed = self.links[link].renew(at, now.elapsed, &self.timings, random);
                self.counts.renewed_topics += u64::from(is_renewed);
                true
            }
            Said::Granted(id, topic) => {
                self.links[link.0].granted_command(id, topic, now.elapsed);
                true
            }
            Said::Refused(id, None, reason) => {
                let refused = self.links[link.0].refused_command(id);
                self.tell_refused(link, refused, &reason, events);
                true
            }
            Said::Refused(id, Some(topic), reason) => {
                let refused = self.links[link.0].refused_topic(id, |known| known.id == topic);
                self.tell_refused(link, refused, &reason, events);
                true
            }
            Said::RefusedSymbol(id, symbol, reason) => {
                let refused = self.links[link.0].refused_topic(id, |known| known.symbol == symbol);
                self.tell_refused(link, refused, &reason, events);
                true
            }
            Said::GoingDown => {
                self.outputs.push_back(Output::Close { link });
                self.lose(link, now, "the server said that it goes down".to_owned(), events);
                true
            }
            Said::Nothing => false,
        }
    }

    fn tell_refused(
        &mut self,
        link: LinkId,
        topic: Option<TopicId>,
        reason: &str,
        events: &mut Vec<FeedEvent>,
    ) {
        let Some(topic) = topic else { return };
        self.counts.refused_topics += 1;
        let name = self.topic(topic).map(|topic| topic.name.clone()).unwrap_or_default();
        events.push(self.fault(link, format!("`{name}` was refused: {reason}")));
    }

    fn topic(&self, topic: TopicId) -> Option<&Topic> {
        let (link, at) = self.places.get(topic.0 as usize).copied().flatten()?;
        Some(&self.links[link].subscriptions[at].topic)
    }

    /// Takes in that a topic brought data; returns whether that is new.
    fn heard(&mut self, topic: TopicId, now: Moment, events: &mut Vec<FeedEvent>) -> bool {
        let Some((link, at)) = self.places.get(topic.0 as usize).copied().flatten() else { return false };
        let subscription = &mut self.links[link].subscriptions[at];
        // Data may overtake the response to the command, and may come late behind the end of a subscription.
        if matches!(subscription.state, TopicState::Asked | TopicState::Granted(_)) {
            subscription.state = TopicState::Heard;
        }
        let was_silent = std::mem::take(&mut subscription.is_told_silent);
        if was_silent {
            self.venue.is_silent(&subscription.topic, false, now.time, events);
        }
        was_silent
    }

    fn advance_link(&mut self, id: LinkId, now: Moment, events: &mut Vec<FeedEvent>) {
        let link = &mut self.links[id.0];
        if let Some(reason) = link.fault(now.elapsed, &self.timings) {
            self.outputs.push_back(Output::Close { link: id });
            self.lose(id, now, reason, events);
            return;
        }
        match link.phase {
            Phase::Waiting { .. } if link.is_idle() => link.phase = Phase::Idle,
            Phase::Waiting { until } if until <= now.elapsed => {
                if self.connects_ready(now.elapsed) > now.elapsed {
                    return;
                }
                self.connects.take(now.elapsed, 1);
                self.counts.connects += 1;
                let link = &mut self.links[id.0];
                link.phase = Phase::Opening { until: now.elapsed + self.timings.open_within };
                let url = self.venue.routes()[link.route].url.clone();
                self.outputs.push_back(Output::Connect { link: id, attempt: link.attempt, url });
            }
            Phase::Open(open) if open.renewed_at <= now.elapsed => {
                self.outputs.push_back(Output::Close { link: id });
                self.lose(id, now, "it is made anew because of its age".to_owned(), events);
            }
            Phase::Open(_) if link.is_idle() => {
                self.outputs.push_back(Output::Close { link: id });
                link.end(now.elapsed);
            }
            Phase::Open(_) => {
                self.send(id, now);
                self.tell_silence(id, now, events);
            }
            Phase::Waiting { .. } | Phase::Opening { .. } | Phase::Idle => {}
        }
    }

    fn connects_ready(&mut self, now: Duration) -> Duration {
        self.connects.ready_at(now, 1, 0).max(self.connects_blocked_until)
    }

    fn send(&mut self, id: LinkId, now: Moment) {
        let link = &mut self.links[id.0];
        while let Some(sending) =
            link.next_sending(now.elapsed, &self.timings, &self.venue, &mut self.next_command)
        {
            self.outputs.push_back(match sending {
                Sending::Command(text) => {
                    self.counts.commands += 1;
                    Output::Send { link: id, text }
                }
                Sending::Ping => Output::Ping { link: id },
                Sending::Pong(payload) => Output::Pong { link: id, payload },
            });
        }
    }

    /// Tells topics that were granted and brought nothing within their time.
    fn tell_silence(&mut self, id: LinkId, now: Moment, events: &mut Vec<FeedEvent>) {
        let mut silent = Vec::new();
        for subscription in &mut self.links[id.0].subscriptions {
            if subscription.silent_at().is_some_and(|at| at <= now.elapsed) {
                subscription.is_told_silent = true;
                silent.push(subscription.topic.clone());
            }
        }
        for topic in silent {
            self.counts.silent_topics += 1;
            self.venue.is_silent(&topic, true, now.time, events);
            let seconds = topic.silent_after.as_secs_f64();
            let reason = format!(
                "`{}` was granted, and no data came within {seconds} s of the subscription; is it the right route, and \
                 does the symbol trade?",
                topic.name
            );
            events.push(self.fault(id, reason));
        }
    }

    /// Takes in that a connection is lost, or did not come about: what it brought is not current any more.
    fn lose(&mut self, id: LinkId, now: Moment, reason: String, events: &mut Vec<FeedEvent>) {
        let random = self.random();
        let link = &mut self.links[id.0];
        let up_for = link.end(now.elapsed);
        let wait = link.attempts.next(up_for, random);
        link.phase = Phase::Waiting { until: now.elapsed + wait };
        if up_for.is_some() {
            self.counts.losses += 1;
            for subscription in &self.links[id.0].subscriptions {
                self.venue.lost(&subscription.topic, now.time, events);
                if subscription.topic.channel == Channel::Book {
                    self.requests.forget(Purpose::Snapshot(subscription.topic.index));
                }
            }
        }
        let what = if up_for.is_some() { "the connection is lost" } else { "no connection" };
        events.push(self.fault(id, format!("{what}: {reason}")));
        self.trouble = reason;
    }

    fn send_requests(&mut self, now: Moment) {
        let (within, at_once) = (self.timings.response_within, self.timings.snapshots_at_once);
        let venue = &self.venue;
        while let Some((request, call)) =
            self.requests.next(now.elapsed, within, at_once, |purpose| call_of(venue, purpose))
        {
            self.counts.requests += 1;
            self.outputs.push_back(Output::Fetch { request, url: call.url });
        }
    }

    fn response(
        &mut self,
        now: Moment,
        request: RequestId,
        outcome: Result<Response, String>,
        events: &mut Vec<FeedEvent>,
    ) {
        let Some(purpose) = self.requests.responded(request) else { return };
        let fault = match outcome {
            Ok(response) => {
                if let Some(used) = response.used_weight {
                    self.requests.used(now.elapsed, used);
                }
                self.take_response(now, purpose, &response, events)
            }
            Err(reason) => Some(reason),
        };
        let Some(reason) = fault else { return };
        let random = self.random();
        self.requests.failed(purpose, now.elapsed, self.timings.retry, random);
        if purpose == Purpose::Catalogue && !self.has_catalogue {
            self.trouble.clone_from(&reason);
        }
        let source = call_of(&self.venue, purpose).map(|call| call.url).unwrap_or_default();
        events.push(FeedEvent::Fault(Fault { source, line: 0, reason }));
    }

    /// Takes a response; returns why it did not help, if so.
    fn take_response(
        &mut self,
        now: Moment,
        purpose: Purpose,
        response: &Response,
        events: &mut Vec<FeedEvent>,
    ) -> Option<String> {
        if matches!(response.status, 429 | 418) {
            let wait = response.retry_after.unwrap_or(self.timings.banned_for);
            self.requests.block(now.elapsed + wait);
            self.counts.bans += 1;
            return Some(format!(
                "HTTP {}: too many requests; no request is sent for {} s",
                response.status,
                wait.as_secs_f64()
            ));
        }
        if response.status != 200 {
            let words = self.venue.refusal(&response.body);
            return Some(format!("HTTP {}: {words}", response.status));
        }
        match purpose {
            Purpose::Catalogue => match self.venue.take_catalogue(now.time, &response.body, events) {
                Ok(changes) => {
                    self.requests.done(purpose);
                    self.requests.want(purpose, now.elapsed + self.timings.catalogue_every);
                    if !std::mem::replace(&mut self.has_catalogue, true) {
                        self.trouble.clear();
                    }
                    self.place(changes, now);
                    None
                }
                Err(reason) => Some(reason),
            },
            Purpose::Snapshot(index) => {
                match self.venue.take_snapshot(index, now.time, &response.body, events) {
                    Ok(true) => {
                        self.requests.done(purpose);
                        None
                    }
                    Ok(false) => {
                        self.counts.unused_snapshots += 1;
                        let random = self.random();
                        self.requests.failed(purpose, now.elapsed, self.timings.retry, random);
                        None
                    }
                    Err(reason) => Some(reason),
                }
            }
        }
    }

    /// Gives new topics a connection with room, or a new one, and takes ended ones off theirs.
    fn place(&mut self, changes: TopicChanges, now: Moment) {
        for topic in changes.ended {
            let Some((link, at)) = self.places.get_mut(topic.0 as usize).and_then(Option::take) else {
                continue;
            };
            let topic = self.links[link].remove(at);
            if let Some(moved) = self.links[link].subscriptions.get(at) {
                self.places[moved.topic.id.0 as usize] = Some((link, at));
            }
            if topic.channel == Channel::Book {
                self.requests.forget(Purpose::Snapshot(topic.index));
            }
        }
        let most = self.venue.limits().topics_per_connection;
        for topic in changes.added {
            let has_room = |link: &Link| link.route == topic.route && link.subscriptions.len() < most;
            let link = self.links.iter().position(has_room).unwrap_or_else(|| {
                self.links.push(Link::new(topic.route, &self.timings, self.venue.limits()));
                self.links.len() - 1
            });
            let number = topic.id.0 as usize;
            if self.places.len() <= number {
                self.places.resize(number + 1, None);
            }
            self.places[number] = Some((link, self.links[link].subscriptions.len()));
            let link = &mut self.links[link];
            link.subscriptions.push(Subscription::new(topic));
            if link.phase == Phase::Idle {
                link.phase = Phase::Waiting { until: now.elapsed };
            }
        }
    }

    /// Tells the state of the source where it changed: it is live as long as one connection brings something.
    fn tell_source(&mut self, events: &mut Vec<FeedEvent>) {
        let (mut is_open, mut granted, mut silent) = (false, 0, 0);
        for link in self.links.iter().filter(|link| link.open().is_some()) {
            let (all, told) = link.granted();
            (is_open, granted, silent) = (true, granted + all, silent + told);
        }
        let stale = |reason: String| SourceState::Stale { reason };
        let name = self.venue.name();
        let state = if granted > silent {
            SourceState::Live
        } else if granted > 0 {
            stale("no data since the subscription".to_owned())
        } else if is_open {
            stale(format!("subscribing at {name}"))
        } else if !self.has_catalogue && self.trouble.is_empty() {
            stale(format!("asking {name} for its instruments"))
        } else if !self.has_catalogue {
            stale(format!("{name} does not tell its instruments: {}", self.trouble))
        } else if self.trouble.is_empty() {
            stale(format!("connecting to {name}"))
        } else {
            stale(format!("no connection to {name}: {}", self.trouble))
        };
        if self.source.as_ref() != Some(&state) {
            events.push(FeedEvent::Source(state.clone()));
            self.source = Some(state);
        }
    }

    /// Says again that the source is live, because the venue is there: a market that does not move raises no alarm.
    fn tell_life(&self, events: &mut Vec<FeedEvent>) {
        if self.source == Some(SourceState::Live) {
            events.push(FeedEvent::Source(SourceState::Live));
        }
    }

    fn due(&mut self, now: Moment) -> Option<Duration> {
        let now = now.elapsed;
        let connects = self.connects_ready(now);
        let mut due = None;
        let mut add = |at: Option<Duration>| due = [due, at].into_iter().flatten().min();
        for link in &mut self.links {
            let is_waiting = matches!(link.phase, Phase::Waiting { .. });
            let at = link.due(now, &self.timings, self.venue.limits());
            add(at.map(|at| if is_waiting { at.max(connects) } else { at }));
        }
        let venue = &self.venue;
        add(self.requests.due(now, self.timings.snapshots_at_once, |purpose| {
            call_of(venue, purpose).map_or(0, |call| call.weight)
        }));
        due
    }
}

fn call_of(venue: &impl Venue, purpose: Purpose) -> Option<Call> {
    match purpose {
        Purpose::Catalogue => Some(venue.catalogue()),
        Purpose::Snapshot(index) => venue.snapshot(index),
    }
}
