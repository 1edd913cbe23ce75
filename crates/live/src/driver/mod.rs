//! The connection driver that all venues share: a state machine without I/O and without a clock.
//!
//! What happened goes in ([`Input`]), with the moment; what is to be done comes out ([`Output`]), and events for the
//! ingester. [`Driver::wake_at`] says when the driver wants to be called at the latest.
//!
//! Invariants: no limit of the venue is exceeded in any window of its length; what comes of a connection that was lost, or of
//! a request that nobody wants any more, is not taken; a book is asked for only while the changes that continue it come in.

mod connections;
mod data;
mod io;
mod link;
mod messages;
mod notes;
mod placement;
mod requests;
mod responses;
mod source;
mod subscription;
#[cfg(test)]
mod tests;
mod timings;

use std::time::Duration;

use tickwire_feed::adapter::FeedEvent;

use self::data::Data;
pub use self::io::{Counts, Input, Output, Response};
use self::link::Phase;
pub use self::requests::RequestId;
pub use self::timings::{Moment, Timings};
pub use crate::venue::LinkId;
use crate::venue::{Connection, Venue};

/// The connection driver of one venue.
#[derive(Debug)]
pub struct Driver<V> {
    data: Data<V>,
    wake: Option<Duration>,
}

impl<V: Venue> Driver<V> {
    /// Prepares everything; the first call of [`advance`](Self::advance) begins. The seed draws the waits.
    pub fn new(venue: V, timings: Timings, seed: u64) -> Self {
        Self { data: Data::new(venue, timings, seed), wake: Some(Duration::ZERO) }
    }

    /// Returns the venue.
    pub fn venue(&self) -> &V {
        &self.data.venue
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.data.counts
    }

    /// Takes the words for the log since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        let mut notes = self.data.venue.take_notes();
        notes.extend(self.data.notes.take());
        notes
    }

    /// Returns the next thing to be done.
    pub fn next_output(&mut self) -> Option<Output> {
        self.data.outputs.pop_front()
    }

    /// Returns when [`advance`](Self::advance) is to be called at the latest.
    pub fn wake_at(&self) -> Option<Duration> {
        self.wake
    }

    /// Takes what happened.
    pub fn handle(&mut self, now: Moment, input: Input<'_>, events: &mut Vec<FeedEvent>) {
        if self.take(now, input, events) {
            self.advance(now, events);
        }
    }

    /// Does what is due.
    pub fn advance(&mut self, now: Moment, events: &mut Vec<FeedEvent>) {
        while let Some(request) = self.data.requests.overdue(now.elapsed) {
            let within = self.data.timings.response_within.as_secs_f64();
            let outcome = Err(format!("no response came within {within} s"));
            self.data.outputs.push_back(Output::Abandon { request });
            responses::take(&mut self.data, now, request, outcome, events);
        }
        for at in 0..self.data.links.len() {
            connections::advance(&mut self.data, LinkId(at), now, events);
        }
        responses::send(&mut self.data, now);
        source::tell(&mut self.data, events);
        self.wake = self.due(now.elapsed);
    }

    /// Takes what happened; returns whether something is to be done because of it.
    fn take(&mut self, now: Moment, input: Input<'_>, events: &mut Vec<FeedEvent>) -> bool {
        let connection = match &input {
            Input::Response { .. } => None,
            Input::Opened { link, attempt }
            | Input::Message { link, attempt, .. }
            | Input::Ping { link, attempt, .. }
            | Input::Pong { link, attempt }
            | Input::Closed { link, attempt, .. } => Some(Connection { link: *link, attempt: *attempt }),
        };
        if connection.is_some_and(|connection| !self.is_current(connection)) {
            return false;
        }
        let data = &mut self.data;
        match input {
            Input::Response { request, outcome } => responses::take(data, now, request, outcome, events),
            Input::Opened { link, .. } => connections::opened(data, link, now),
            Input::Message { link, attempt, text } => {
                data.links[link.0].came(now.elapsed);
                return messages::take(data, Connection { link, attempt }, now, text, events);
            }
            Input::Ping { link, payload, .. } => {
                data.links[link.0].came(now.elapsed);
                data.links[link.0].pinged(payload);
                source::tell_life(data, events);
            }
            Input::Pong { link, .. } => {
                data.links[link.0].came(now.elapsed);
                source::tell_life(data, events);
            }
            Input::Closed { link, reason, retry_after, .. } => {
                if let Some(wait) = retry_after {
                    data.connects_blocked_until = data.connects_blocked_until.max(now.elapsed + wait);
                }
                connections::lose(data, link, now, reason, events);
            }
        }
        true
    }

    /// Returns whether a connection is the one that there is: what comes late of an earlier attempt is nothing.
    fn is_current(&self, connection: Connection) -> bool {
        let link = self.data.links.get(connection.link.0);
        link.is_some_and(|link| link.attempt == connection.attempt && link.phase != Phase::Idle)
    }

    fn due(&mut self, now: Duration) -> Option<Duration> {
        let connects = self.data.connects_ready(now);
        let mut due = responses::due(&mut self.data, now);
        let Data { links, timings, venue, of_address, .. } = &mut self.data;
        for link in links {
            let is_waiting = matches!(link.phase, Phase::Waiting { .. });
            let at = link.due(now, timings, &venue.terms().limits, of_address);
            let at = at.map(|at| if is_waiting { at.max(connects) } else { at });
            due = [due, at].into_iter().flatten().min();
        }
        due
    }
}
