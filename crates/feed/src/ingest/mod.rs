//! The ingester: owns the truth of one venue and publishes it.
//!
//! Invariants: a record is published by the turn of the loop that took its event; an answer is taken between turns; of
//! each instrument, records leave in the order in which they got their numbers, across channels. There is no queue in
//! here: what the bus does not take is made good for by a gap or by a later state, never kept.

mod answer;
mod beat;
mod derived;
mod instrument;
mod publisher;
mod sequencer;
mod stats;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::{Backplane, PublishError, Questions, ServeError, Subject, SubjectError};
use tickwire_wire::{Encoding, FeedState};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

pub use self::beat::{BEAT_PERIOD, BEAT_POSITIONS_MAX};
pub use self::derived::{BAR_PERIOD, STAT_PERIOD};
pub use self::instrument::BOOK_LEVELS_MAX;
pub use self::sequencer::INSTRUMENTS_MAX;
pub use self::stats::{IngestReport, IngestStats, Tally};

use self::beat::Condition;
use self::publisher::{Outlet, Publisher};
use self::sequencer::Sequencer;
use crate::adapter::{Adapter, FeedEvent, Flow, SourceState};
use crate::clock::Clock;

/// How often it is looked for what is due: bars, running figures, repairs, beats.
const TICK: Duration = Duration::from_millis(50);
/// How long a stop waits for the bus to take the last messages.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// How to ingest.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// Instrument ids start at this plus one, and it must leave room for [`INSTRUMENTS_MAX`] of them that no other
    /// venue uses. `None`: [`instrument_id_base`] of the venue.
    pub instrument_id_base: Option<u32>,
    /// How records travel on the bus: Protobuf or MessagePack.
    pub encoding: Encoding,
    /// A live source that says nothing for so long is called stale.
    pub stall_after: Duration,
    /// What happens when the source ended.
    pub at_end: AtEnd,
    /// Receive, publish and beat times.
    pub clock: Clock,
}

/// What happens when the source ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// Beats and answers go on, with state stale.
    Stay,
    /// The ingester stops.
    Stop,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            instrument_id_base: None,
            encoding: Encoding::Proto,
            stall_after: Duration::from_secs(30),
            at_end: AtEnd::Stay,
            clock: Clock::system(),
        }
    }
}

/// The block of instrument ids of a venue that is known here.
pub fn instrument_id_base(venue: &str) -> Option<u32> {
    ["sim", "binance", "binance-usdm", "binance-cm"]
        .iter()
        .position(|known| *known == venue)
        .map(|at| at as u32 * (INSTRUMENTS_MAX + 1))
}

/// Why an ingester cannot start.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum IngestError {
    #[error("records travel on the bus as proto or msgpack, not as {0}")]
    Encoding(Encoding),
    #[error("venue `{0}` has no block of instrument ids; set `instrument_id_base`")]
    NoIdBase(String),
    #[error("venue `{venue}`: {source}")]
    Venue { venue: String, source: SubjectError },
    #[error("cannot take questions: {0}")]
    Serve(#[from] ServeError),
}

/// Freezes and thaws a running ingester. Frozen, its source is not read, and beats say `paused`.
#[derive(Clone, Debug)]
pub struct IngestControl(Arc<watch::Sender<bool>>);

impl IngestControl {
    /// Stops reading the source.
    pub fn pause(&self) {
        self.0.send_replace(true);
    }

    /// Reads on.
    pub fn resume(&self) {
        self.0.send_replace(false);
    }

    /// Whether it is frozen.
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Figures at the end.
    pub report: IngestReport,
    /// Why the source was lost, if it was.
    pub lost: Option<String>,
}

/// Takes one venue from its adapter to the bus.
pub struct Ingester<A> {
    config: IngestConfig,
    adapter: A,
    bus: Arc<dyn Backplane>,
    stats: IngestStats,
    paused: Arc<watch::Sender<bool>>,
}

impl Outlet for Arc<dyn Backplane> {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        self.as_ref().publish(subject, payload)
    }
}

impl<A: Adapter> Ingester<A> {
    /// Prepares; nothing is published yet.
    pub fn new(config: IngestConfig, adapter: A, bus: Arc<dyn Backplane>) -> Self {
        let paused = Arc::new(watch::Sender::new(false));
        Self { config, adapter, bus, stats: IngestStats::default(), paused }
    }

    /// The figures of the run, from now on.
    pub fn stats(&self) -> IngestStats {
        self.stats.clone()
    }

    /// Freezes and thaws the run.
    pub fn control(&self) -> IngestControl {
        IngestControl(Arc::clone(&self.paused))
    }

    /// Publishes until `shutdown`, or until the source ended where the configuration says so. The last beat says that
    /// the ingester stopped.
    ///
    /// # Errors
    /// Only before anything is published. A source that is lost later makes the feed stale, and a bus that is down
    /// is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future stops without the last beat.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, IngestError> {
        let venue = self.adapter.venue().to_owned();
        if self.config.encoding == Encoding::Json {
            return Err(IngestError::Encoding(Encoding::Json));
        }
        let id_base = self.config.instrument_id_base.or_else(|| instrument_id_base(&venue));
        let id_base = id_base.ok_or_else(|| IngestError::NoIdBase(venue.clone()))?;
        let subject = |subject: Result<Subject, SubjectError>| {
            subject.map_err(|source| IngestError::Venue { venue: venue.clone(), source })
        };
        let (beat_subject, ask_subject) = (subject(Subject::beat(&venue))?, subject(Subject::ask(&venue))?);
        let questions = self.bus.serve(&ask_subject).await?;
        let epoch = self.config.clock.now();
        let publisher = Publisher::new(Arc::clone(&self.bus), epoch, self.config.encoding);
        let main_loop = MainLoop {
            sequencer: Sequencer::new(venue, id_base, publisher),
            condition: Condition::default(),
            told: (FeedState::Unknown, String::new()),
            next_beat: Instant::now(),
            last_input: Instant::now(),
            beat_subject,
            config: self.config,
            bus: self.bus,
            stats: self.stats,
        };
        Ok(main_loop.run(self.adapter, questions, self.paused.subscribe(), shutdown).await)
    }
}

struct MainLoop {
    config: IngestConfig,
    bus: Arc<dyn Backplane>,
    stats: IngestStats,
    sequencer: Sequencer<Arc<dyn Backplane>>,
    condition: Condition,
    /// What the last beat said.
    told: (FeedState, String),
    next_beat: Instant,
    last_input: Instant,
    beat_subject: Subject,
}

impl MainLoop {
    async fn run<A: Adapter>(
        mut self,
        mut adapter: A,
        questions: Questions,
        mut paused: watch::Receiver<bool>,
        shutdown: CancellationToken,
    ) -> Summary {
        let mut questions = Some(questions);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut events = Vec::new();
        let mut is_running = true;
        loop {
            // In this order, because a source that always has data would leave the others waiting.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = paused.changed() => {
                    self.condition.is_paused = *paused.borrow_and_update();
                    self.last_input = Instant::now();
                }
                question = next_question(&mut questions) => match question {
                    Some(question) => {
                        let answer = answer::answer(&self.sequencer, question.payload(), self.told.0);
                        self.sequencer.publisher.tally.answers += 1;
                        if let Err(error) = question.reply(answer.into()) {
                            tracing::debug!(%error, "bus refused an answer");
                        }
                    }
                    None => questions = None,
                },
                _ = ticks.tick() => self.tick(),
                flow = adapter.next(&mut events), if is_running && !self.condition.is_paused => {
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
                    self.take(&mut events);
                    tokio::task::yield_now().await;
                }
            }
            self.beat_if_due();
            if !is_running && self.config.at_end == AtEnd::Stop {
                break;
            }
        }
        // What a cancelled `next` appended belongs to this run.
        self.take(&mut events);
        self.tick();
        self.condition.is_stopped = true;
        self.beat_if_due();
        if let Err(error) = self.bus.flush(STOP_DEADLINE).await {
            tracing::warn!(venue = self.sequencer.venue, %error, "stopped without the bus confirming all");
        }
        Summary { report: self.stats.report(), lost: self.condition.lost }
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
                FeedEvent::Market(event) => self.sequencer.event(event),
                FeedEvent::Source(source) => self.condition.source = Some(source),
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
        // One a power of two: a source that is all faults does not flood the log.
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

    fn beat_if_due(&mut self) {
        let state = self.condition.state();
        let now = Instant::now();
        if state == self.told && now < self.next_beat {
            return;
        }
        let time = self.config.clock.now();
        for beat in beat::beats(&mut self.sequencer, state.0, &state.1, time) {
            if let Err(error) = Outlet::publish(&self.bus, &self.beat_subject, beat.into()) {
                tracing::debug!(%error, "bus refused a beat");
            }
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
        self.next_beat = now + BEAT_PERIOD;
        self.report();
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

/// Never ends where there is no one to ask any more.
async fn next_question(questions: &mut Option<Questions>) -> Option<tickwire_bus::Question> {
    match questions {
        Some(questions) => questions.next().await,
        None => std::future::pending().await,
    }
}
