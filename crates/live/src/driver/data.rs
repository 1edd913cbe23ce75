//! The state of the driver.

use std::collections::VecDeque;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use tickwire_feed::adapter::{Fault, FeedEvent, SourceState};

use super::io::{Counts, Output};
use super::link::Link;
use super::notes::Notes;
use super::requests::{Purpose, Requests};
use super::subscription::TopicState;
use super::timings::Timings;
use crate::limits::{Allowance, Window};
use crate::venue::{LinkId, Need, Topic, TopicId, Venue};

/// The state of the driver of a venue.
#[derive(Debug)]
pub(super) struct Data<V> {
    pub(super) venue: V,
    pub(super) timings: Timings,
    rng: ChaCha8Rng,
    pub(super) links: Vec<Link>,
    /// The connection and the place in it of each topic, by its number.
    pub(super) places: Vec<Option<(usize, usize)>>,
    pub(super) connects: Window,
    /// The messages of all connections, where the venue counts by address.
    pub(super) of_address: Allowance,
    /// No attempt to connect is made before this time, because the venue said so.
    pub(super) connects_blocked_until: Duration,
    pub(super) requests: Requests,
    pub(super) outputs: VecDeque<Output>,
    pub(super) next_command: u64,
    pub(super) has_catalogue: bool,
    /// The reason why there is no connection, or no list of instruments.
    pub(super) trouble: String,
    /// The state of the source that was told last.
    pub(super) source: Option<SourceState>,
    pub(super) counts: Counts,
    pub(super) notes: Notes,
    /// The reason of the last refusal of a subscription.
    pub(super) refusal: String,
}

impl<V: Venue> Data<V> {
    pub(super) fn new(venue: V, timings: Timings, seed: u64) -> Self {
        let limits = &venue.terms().limits;
        let mut requests = Requests::new(limits.weight);
        requests.want(Purpose::Catalogue, Duration::ZERO, Need::Whole);
        Self {
            connects: Window::new(limits.connects),
            of_address: Allowance::new(limits.messages_of_address),
            requests,
            venue,
            timings,
            rng: ChaCha8Rng::seed_from_u64(seed),
            links: Vec::new(),
            places: Vec::new(),
            connects_blocked_until: Duration::ZERO,
            outputs: VecDeque::new(),
            next_command: 1,
            has_catalogue: false,
            trouble: String::new(),
            source: None,
            counts: Counts::default(),
            notes: Notes::default(),
            refusal: String::new(),
        }
    }

    /// Draws a number from 0 to 1, without 1.
    pub(super) fn random(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Returns the connection of a topic and its place in it.
    pub(super) fn place(&self, topic: TopicId) -> Option<(usize, usize)> {
        self.places.get(topic.0 as usize).copied().flatten()
    }

    pub(super) fn topic(&self, topic: TopicId) -> Option<&Topic> {
        let (link, at) = self.place(topic)?;
        Some(&self.links[link].subscriptions[at].topic)
    }

    /// Returns whether a topic is subscribed to.
    pub(super) fn is_in_force(&self, topic: TopicId) -> bool {
        let state = self.place(topic).map(|(link, at)| self.links[link].subscriptions[at].state);
        matches!(state, Some(TopicState::Granted(_) | TopicState::Heard))
    }

    /// Gives up the snapshot of an instrument's book; the request that is under way is given up with it.
    pub(super) fn forget_snapshot(&mut self, index: u32) {
        let request = self.requests.forget(Purpose::Snapshot(index));
        self.outputs.extend(request.map(|request| Output::Abandon { request }));
    }

    /// Makes the event that tells a fault of a connection.
    pub(super) fn fault(&self, link: LinkId, reason: String) -> FeedEvent {
        let source = self.venue.terms().routes[self.links[link.0].route].url.clone();
        FeedEvent::Fault(Fault { source, line: 0, reason })
    }

    /// Returns when the next attempt to connect may be made.
    pub(super) fn connects_ready(&mut self, now: Duration) -> Duration {
        self.connects.ready_at(now, 1, 0).max(self.connects_blocked_until)
    }
}
