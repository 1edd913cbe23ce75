//! The sockets and tasks around a [`Driver`]: a source for the ingester.
//!
//! A task for each connection reads whole messages and hands them over through one bounded channel, so that no read is ever
//! given up in the middle of a frame. Where the ingester does not keep up, the tasks wait, and the venue's sockets fill.

mod endpoint;
mod fetch;
mod handover;
mod socket;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tickwire_feed::Clock;
use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use self::endpoint::Security;
use self::handover::{Arrived, Handover, What};
use self::socket::{Outgoing, Socket};
use crate::driver::{Counts, Driver, Input, LinkId, Moment, Output, RequestId, Timings};
use crate::venue::{Venue, Verification};

/// The messages that wait for the ingester, over all connections.
const WAITING_MAX: usize = 4_096;
/// The bytes of messages that wait for the ingester, over all connections.
const WAITING_BYTES_MAX: usize = 32 << 20;
/// The messages that are taken per call: about a millisecond of work.
const TAKEN_MAX: usize = 256;
/// The messages to the venue that wait on one connection; the driver's limits allow fewer a second.
const OUTGOING_MAX: usize = 64;
/// The silence after which the driver is called, where it names no time.
const IDLE: Duration = Duration::from_secs(1);

/// A source of the market data of a live venue.
#[derive(Debug)]
pub struct LiveAdapter<V> {
    driver: Driver<V>,
    clock: Clock,
    started: Instant,
    security: Arc<Security>,
    handover: Handover,
    incoming: mpsc::Receiver<Arrived>,
    sockets: HashMap<LinkId, Socket>,
    fetches: HashMap<RequestId, AbortHandle>,
}

impl<V: Venue> LiveAdapter<V> {
    /// Prepares a source; nothing is connected yet. `clock` gives the times of receipt.
    pub fn new(venue: V, timings: Timings, clock: Clock) -> Self {
        tracing::info!(venue = venue.terms().name, verification = %venue.terms().verification, "live");
        let (sender, incoming) = mpsc::channel(WAITING_MAX);
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        Self {
            driver: Driver::new(venue, timings, rand::random()),
            handover: Handover { sender, room, room_max: WAITING_BYTES_MAX, clock },
            clock,
            started: Instant::now(),
            security: Arc::default(),
            incoming,
            sockets: HashMap::new(),
            fetches: HashMap::new(),
        }
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.driver.counts()
    }

    fn moment(&self, time: u64) -> Moment {
        Moment { elapsed: self.started.elapsed(), time }
    }

    fn take(&mut self, arrived: Arrived, events: &mut Vec<FeedEvent>) {
        let Arrived { link, attempt, time, what, room: _room } = arrived;
        let now = self.moment(time);
        let text;
        let input = match what {
            What::Message(message) => {
                text = message;
                Input::Message { link, attempt, text: &text }
            }
            What::Opened => Input::Opened { link, attempt },
            What::Ping(payload) => Input::Ping { link, attempt, payload },
            What::Pong => Input::Pong { link, attempt },
            What::Closed { reason, retry_after } => Input::Closed { link, attempt, reason, retry_after },
            What::Response { request, outcome } => Input::Response { request, outcome },
        };
        self.driver.handle(now, input, events);
    }

    /// Does what the driver wants.
    fn dispatch(&mut self) {
        while let Some(output) = self.driver.next_output() {
            match output {
                Output::Connect { link, attempt, url } => {
                    let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
                    let (handover, security) = (self.handover.clone(), Arc::clone(&self.security));
                    let task = tokio::spawn(socket::run(url, security, handover, (link, attempt), queue));
                    self.sockets.insert(link, Socket { outgoing, task: task.abort_handle() });
                }
                Output::Send { link, text } => self.send(link, Outgoing::Text(text)),
                Output::Ping { link } => self.send(link, Outgoing::Ping),
                Output::Pong { link, payload } => self.send(link, Outgoing::Pong(payload)),
                Output::Close { link } => drop(self.sockets.remove(&link)),
                Output::Fetch { request, url } => {
                    self.fetches.retain(|_, fetch| !fetch.is_finished());
                    let (handover, security) = (self.handover.clone(), Arc::clone(&self.security));
                    let header = self.driver.venue().used_weight_header();
                    let task = tokio::spawn(fetch::run(url, security, handover, request, header));
                    self.fetches.insert(request, task.abort_handle());
                }
                Output::Abandon { request } => {
                    if let Some(fetch) = self.fetches.remove(&request) {
                        fetch.abort();
                    }
                }
            }
        }
        for note in self.driver.take_notes() {
            tracing::warn!(venue = self.driver.venue().terms().name, "{note}");
        }
    }

    fn send(&mut self, link: LinkId, outgoing: Outgoing) {
        let sent = self.sockets.get(&link).map(|socket| socket.outgoing.try_send(outgoing));
        // A connection that takes nothing is found by the pongs and responses that do not come.
        if let Some(Err(error)) = sent {
            tracing::debug!(venue = self.driver.venue().terms().name, %error, "not sent");
        }
    }
}

impl<V: Venue> Adapter for LiveAdapter<V> {
    fn venue(&self) -> &str {
        self.driver.venue().terms().name
    }

    fn verification(&self) -> Option<Verification> {
        Some(self.driver.venue().terms().verification)
    }

    /// # Cancel safety
    /// What was received is taken before anything else is waited for.
    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        loop {
            let now = self.moment(self.clock.now());
            if self.driver.wake_at().is_some_and(|at| at <= now.elapsed) {
                self.driver.advance(now, events);
            }
            self.dispatch();
            if !events.is_empty() {
                return Ok(Flow::More);
            }
            let wake = self.driver.wake_at().unwrap_or(now.elapsed + IDLE);
            let arrived = tokio::select! {
                biased;
                arrived = self.incoming.recv() => arrived,
                () = sleep_until(self.started + wake) => None,
            };
            let Some(arrived) = arrived else { continue };
            self.take(arrived, events);
            for _ in 0..TAKEN_MAX {
                let Ok(arrived) = self.incoming.try_recv() else { break };
                self.take(arrived, events);
            }
        }
    }
}

impl<V> Drop for LiveAdapter<V> {
    fn drop(&mut self) {
        self.fetches.values().for_each(AbortHandle::abort);
    }
}
