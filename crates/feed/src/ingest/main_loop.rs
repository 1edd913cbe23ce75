//! The loop around the sequencer: source, requests, ticks, heartbeats, pause and stop.

use std::sync::Arc;
use std::time::Duration;

use tickwire_bus::lease::Term;
use tickwire_bus::{Backplane, BusState, Request, Requests, Subject};
use tickwire_wire::FeedState;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::heartbeat::{self, Condition, HEARTBEAT_PERIOD, RunStatus};
use super::publisher::BusSink;
use super::respond::Responder;
use super::sequencer::Sequencer;
use super::{AtEnd, IngestConfig, IngestStats, Summary};
use crate::adapter::{Adapter, AdapterError, FeedEvent, Flow, SourceState};
use crate::verification::Verification;

/// The time between two looks for what is due: bars, ticker statistics, repairs, heartbeats.
const TICK: Duration = Duration::from_millis(50);
/// The time that a stop waits for the bus to take the last messages.
const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// The time for which a run whose source ended stays after an outage of the bus: gateways ask then for what they missed.
const RECOVERY: Duration = Duration::from_secs(5);
/// The longest time for which a run stays whose source ended.
const END_WAIT_MAX: Duration = Duration::from_secs(30);
/// The most events of one turn of the source that are taken without a pause.
const PART_EVENTS: usize = 256;
/// The number of definitions in a part beyond which the bus is waited for.
const PART_DEFINITIONS: usize = 64;
/// The longest time that the bus is waited for after a part with that many definitions.
const PART_DEADLINE: Duration = Duration::from_secs(1);

/// The one loop of an ingester. All of its clocks are read in here.
pub(super) struct MainLoop {
    config: IngestConfig,
    bus: Arc<dyn Backplane>,
    stats: IngestStats,
    sequencer: Sequencer<Arc<dyn Backplane>>,
    condition: Condition,
    desk: Responder,
    started: Instant,
    /// The number of heartbeats so far.
    heartbeats: u64,
    /// The state and reason of the last heartbeat.
    told: (FeedState, String),
    next_heartbeat: Instant,
    last_input: Instant,
    heartbeat_subject: Subject,
    /// The proof of the source's books, where it says one.
    verification: Option<Verification>,
    bus_state: watch::Receiver<BusState>,
    /// When the bus came back after an outage.
    bus_back: Option<Instant>,
    /// When the source ended.
    ended: Option<Instant>,
    /// Whether the bus refused a heartbeat with positions.
    has_lost_heartbeat: bool,
}

impl MainLoop {
    pub(super) fn new(
        config: IngestConfig,
        bus: Arc<dyn Backplane>,
        stats: IngestStats,
        sequencer: Sequencer<Arc<dyn Backplane>>,
        heartbeat_subject: Subject,
        verification: Option<Verification>,
    ) -> Self {
        let now = Instant::now();
        Self {
            config,
            stats,
            sequencer,
            condition: Condition::default(),
            desk: Responder::default(),
            started: now,
            heartbeats: 0,
            told: (FeedState::Unknown, String::new()),
            next_heartbeat: now,
            last_input: now,
            heartbeat_subject,
            verification,
            bus_state: bus.state(),
            bus_back: None,
            ended: None,
            has_lost_heartbeat: false,
            bus,
        }
    }

    pub(super) async fn run<A: Adapter>(
        mut self,
        mut adapter: A,
        requests: Requests,
        mut paused: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) -> Summary {
        let mut requests = Some(requests);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        let mut is_running = true;
        // Source and requests take turns: neither a source that always has data nor gateways that ask after thousands of
        // topics at once leave the other waiting for longer than one turn.
        let mut prefers_source = true;
        loop {
            let reads = is_running && !self.condition.is_paused;
            let source =
                async { if reads { adapter.next(&mut events).await } else { std::future::pending().await } };
            let turn = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = paused.changed() => Turn::Paused,
                _ = ticks.tick() => Turn::Tick,
                turn = source_or_request(prefers_source, source, next_request(&mut requests)) => turn,
            };
            match turn {
                Turn::Paused => {
                    self.condition.is_paused = *paused.borrow_and_update();
                    self.last_input = Instant::now();
                }
                Turn::Tick => self.tick(),
                Turn::Request(Some(request)) => {
                    self.respond(request);
                    prefers_source = true;
                }
                Turn::Request(None) => requests = None,
                Turn::Source(flow) => {
                    match flow {
                        Ok(Flow::More) => {}
                        Ok(Flow::Ended) => {
                            self.condition.source = Some(SourceState::Ended);
                            is_running = false;
                        }
                        Err(error) => {
                            tracing::error!(venue = self.sequencer.venue, %error, "source lost");
                            self.condition.lost = Some(error.to_string());
                            is_running = false;
                        }
                    }
                    self.take_in_parts(&mut events).await;
                    if !is_running {
                        self.sequencer.source_ended();
                    }
                    prefers_source = false;
                    tokio::task::yield_now().await;
                }
            }
            self.heartbeat_if_due();
            if !is_running && self.config.at_end == AtEnd::Stop && !self.is_waited_for() {
                break;
            }
        }
        // The events that a cancelled `next` appended belong to this run.
        self.take(&mut events);
        self.tick();
        self.condition.is_stopped = true;
        self.heartbeat_if_due();
        if let Err(error) = self.bus.flush(STOP_DEADLINE).await {
            tracing::warn!(venue = self.sequencer.venue, %error, "stopped without the bus confirming all");
        }
        Summary { report: self.stats.report(), lost: self.condition.lost }
    }

    fn respond(&mut self, request: Request) {
        let now = self.config.clock.now();
        let response = self.desk.respond(&self.sequencer, request.payload(), self.told.0, now);
        self.sequencer.publisher.tally.responses += 1;
        if let Err(error) = request.reply(response.into()) {
            let refused = &mut self.sequencer.publisher.tally.refused_responses;
            *refused += 1;
            if refused.is_power_of_two() {
                tracing::warn!(venue = self.sequencer.venue, refused = *refused, %error, "bus refused a response");
            }
        }
    }

    /// Takes a turn of the source. A long one goes in parts, so that the bus can keep up: a venue may define thousands of
    /// instruments at once, each in a message of its own.
    async fn take_in_parts(&mut self, events: &mut Vec<FeedEvent>) {
        let mut is_bus_there = true;
        while events.len() > PART_EVENTS {
            let rest = events.split_off(PART_EVENTS);
            let definitions = events.iter().filter(|event| matches!(event, FeedEvent::Define { .. })).count();
            self.take(events);
            *events = rest;
            if definitions > PART_DEFINITIONS && is_bus_there {
                is_bus_there = self.bus.flush(PART_DEADLINE).await.is_ok();
            } else {
                tokio::task::yield_now().await;
            }
        }
        self.take(events);
    }

    fn take(&mut self, events: &mut Vec<FeedEvent>) {
        if events.is_empty() {
            return;
        }
        self.sequencer.publisher.now = self.config.clock.now();
        self.last_input = Instant::now();
        self.condition.stalled = None;
        for event in events.drain(..) {
            match event {
                FeedEvent::Define { index, definition } => {
                    if let Err(reason) = self.sequencer.define(index, definition) {
                        self.fault(&format!("instrument refused: {reason}"));
                    }
                }
                FeedEvent::End { index } => self.sequencer.end(index),
                FeedEvent::Market(event) => {
                    if let Err(error) = self.sequencer.event(event) {
                        self.fault(&error.to_string());
                    }
                }
                FeedEvent::Source(source) => {
                    if source == SourceState::Ended {
                        self.sequencer.source_ended();
                    }
                    self.condition.source = Some(source);
                }
                FeedEvent::Fault(fault) => self.fault(&fault.to_string()),
                FeedEvent::Repeat => self.sequencer.publisher.tally.repeats += 1,
            }
        }
        self.sequencer.end_turn();
        self.report();
    }

    fn fault(&mut self, fault: &str) {
        let faults = &mut self.sequencer.publisher.tally.faults;
        *faults += 1;
        // It logs one for each power of two, so that a source that is all faults does not flood the log.
        if faults.is_power_of_two() {
            tracing::warn!(venue = self.sequencer.venue, faults = *faults, "{fault}");
        }
        self.stats.update(|report| report.last_fault = Some(fault.to_owned()));
    }

    fn tick(&mut self) {
        self.sequencer.tick(self.config.clock.now());
        let silence = self.last_input.elapsed();
        self.condition.stalled = (silence >= self.config.stall_after).then_some(self.config.stall_after);
        self.report();
    }

    /// Begins to publish where the lease has come. Returns whether it has.
    fn opens(&mut self) -> bool {
        let Some(term) = &self.config.lease else { return false };
        if term.opened() > 0 || term.open() == 0 {
            return false;
        }
        self.sequencer.publisher.now = self.config.clock.now();
        // What was numbered so far was never heard, so no heartbeat is to say how far it went.
        self.sequencer.publisher.forget();
        true
    }

    fn heartbeat_if_due(&mut self) {
        let state = self.condition.state();
        let now = Instant::now();
        let is_new_holder = self.opens();
        let lease = self.config.lease.as_ref().map_or(0, Term::opened);
        if state == self.told && now < self.next_heartbeat && !is_new_holder {
            return;
        }
        let generation = self.new_connection();
        let is_bus_new = generation.is_some();
        if generation.is_some_and(|generation| generation > 1) {
            self.bus_back = Some(now);
        }
        if std::mem::take(&mut self.has_lost_heartbeat) || is_bus_new {
            self.sequencer.move_all();
        }
        self.heartbeats += 1;
        let status = RunStatus {
            state: state.0,
            reason: state.1.clone(),
            time: self.config.clock.now(),
            number: self.heartbeats,
            uptime_ns: self.started.elapsed().as_nanos() as u64,
            last: self.condition.is_stopped,
            verification: self.verification,
            lease,
        };
        for heartbeat in heartbeat::heartbeats(&mut self.sequencer, &status) {
            if let Err(error) = BusSink::publish(&self.bus, &self.heartbeat_subject, heartbeat.into()) {
                let refused = &mut self.sequencer.publisher.tally.refused_heartbeats;
                *refused += 1;
                if refused.is_power_of_two() {
                    tracing::warn!(venue = self.sequencer.venue, refused = *refused, %error, "bus refused a heartbeat");
                }
                self.has_lost_heartbeat = true;
            }
        }
        if is_new_holder {
            // Gateways follow this run by its heartbeat, and take what comes behind it.
            self.sequencer.begin_anew();
        }
        if state != self.told {
            tracing::info!(
                venue = self.sequencer.venue,
                state = state.0.as_str_name(),
                reason = state.1,
                "feed"
            );
        }
        self.told = state;
        self.next_heartbeat = now + HEARTBEAT_PERIOD;
        self.report();
    }

    /// Returns the number of the bus's connection, where it is a new one.
    fn new_connection(&mut self) -> Option<u64> {
        let has_changed = self.bus_state.has_changed().unwrap_or(false);
        if has_changed { self.bus_state.borrow_and_update().generation() } else { None }
    }

    /// Returns whether gateways may still want something of a run whose source ended: the bus is or was away, so they missed
    /// what nobody else can tell them.
    fn is_waited_for(&mut self) -> bool {
        let now = Instant::now();
        let ended = *self.ended.get_or_insert(now);
        let is_away = !self.bus_state.borrow().is_up() || self.bus_state.has_changed().unwrap_or(false);
        let is_back = self.bus_back.is_some_and(|back| now - back < RECOVERY);
        (is_away || is_back) && now - ended < END_WAIT_MAX
    }

    fn report(&self) {
        let tally = self.sequencer.publisher.tally;
        let instruments = self.sequencer.by_symbol.len();
        let (state, reason) = &self.told;
        self.stats.update(|report| {
            (report.tally, report.instruments, report.state) = (tally, instruments, *state);
            report.reason.clone_from(reason);
        });
    }
}

/// The subject of one turn of the loop.
enum Turn {
    Paused,
    Tick,
    Source(Result<Flow, AdapterError>),
    Request(Option<Request>),
}

/// Waits for the first of both that is there; of two that are there, returns the preferred one.
///
/// # Cancel safety
/// It is cancel-safe, as both of its parts are.
async fn source_or_request(
    prefers_source: bool,
    source: impl Future<Output = Result<Flow, AdapterError>>,
    request: impl Future<Output = Option<Request>>,
) -> Turn {
    tokio::pin!(source, request);
    if prefers_source {
        tokio::select! {
            biased;
            flow = &mut source => Turn::Source(flow),
            request = &mut request => Turn::Request(request),
        }
    } else {
        tokio::select! {
            biased;
            request = &mut request => Turn::Request(request),
            flow = &mut source => Turn::Source(flow),
        }
    }
}

/// Waits for the next request. Never ends where there is no one to make requests any more.
async fn next_request(requests: &mut Option<Requests>) -> Option<Request> {
    match requests {
        Some(requests) => requests.next().await,
        None => std::future::pending().await,
    }
}
