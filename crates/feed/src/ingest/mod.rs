//! The ingester: it owns the truth of one venue and publishes it.
//!
//! Invariants: a record is published by the turn of the loop that took its event; a response is taken between turns; of
//! each instrument, records leave in the order in which they got their sequence numbers, across channels. There is no
//! queue in here: what the bus does not take is made good for by a gap or by a later state, never kept.

mod derived;
mod heartbeat;
mod instrument;
mod intervals;
mod main_loop;
mod publisher;
mod respond;
mod sequencer;
mod stats;
#[cfg(test)]
mod tests;
mod times;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::lease::Term;
use tickwire_bus::{Backplane, PublishError, ServeError, Subject, SubjectError};
use tickwire_wire::Encoding;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use self::derived::{BAR_PERIOD, STAT_PERIOD};
pub use self::heartbeat::{HEARTBEAT_PERIOD, HEARTBEAT_POSITIONS_MAX};
pub use self::instrument::BOOK_LEVELS_MAX;
pub use self::intervals::{BAR_INTERVALS_MAX, BarInterval, BarIntervalError, BarIntervals};
pub use self::respond::TOPICS_PER_REQUEST_MAX;
pub use self::sequencer::INSTRUMENTS_MAX;
pub use self::stats::{IngestReport, IngestStats, Tally};
pub use self::times::{EVENT_AHEAD_MAX, EVENT_BEHIND_MAX};

use self::main_loop::MainLoop;
use self::publisher::{BusSink, Publisher};
use self::sequencer::Sequencer;
use crate::adapter::Adapter;
use crate::clock::Clock;

/// The configuration of an ingester.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// The epoch of this run: a number that no other run has. `None` takes a random one. Gateways compare it for
    /// equality only.
    pub epoch: Option<u64>,
    /// The encoding of records on the bus: Protobuf or MessagePack.
    pub encoding: Encoding,
    /// The intervals of bars.
    pub bars: BarIntervals,
    /// The silence after which a live source is called stale.
    pub stall_after: Duration,
    /// The action when the source ended.
    pub at_end: AtEnd,
    /// The clock of receive, publish and heartbeat times.
    pub clock: Clock,
    /// The lease by which the run publishes, where there are several and one does; the bus is a
    /// [`LeasedBus`](tickwire_bus::lease::LeasedBus) of it then.
    pub lease: Option<Term>,
}

/// The action when the source ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtEnd {
    /// Heartbeats and responses go on, with state stale.
    Stay,
    /// The ingester stops.
    Stop,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            epoch: None,
            encoding: Encoding::Proto,
            bars: BarIntervals::default(),
            stall_after: Duration::from_secs(30),
            at_end: AtEnd::Stay,
            clock: Clock::system(),
            lease: None,
        }
    }
}

/// The reason why an ingester cannot start.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The bus carries no JSON.
    #[error("records travel on the bus as proto or msgpack, not as {0}")]
    Encoding(Encoding),
    /// The name of the venue cannot be part of a subject.
    #[error("venue `{venue}`: {source}")]
    Venue {
        /// The name of the venue.
        venue: String,
        /// The fault of the name.
        source: SubjectError,
    },
    /// The bus does not let the ingester answer requests for snapshots.
    #[error("cannot take requests: {0}")]
    Serve(#[from] ServeError),
}

/// A control that freezes and thaws a running ingester. Frozen, its source is not read, and heartbeats say `paused`.
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

    /// Returns whether it is frozen.
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }
}

/// The outcome of a run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The report of the run at its end.
    pub report: IngestReport,
    /// The reason why the source was lost, if it was.
    pub lost: Option<String>,
}

/// An ingester, which takes one venue from its adapter to the bus.
pub struct Ingester<A> {
    config: IngestConfig,
    adapter: A,
    bus: Arc<dyn Backplane>,
    stats: IngestStats,
    paused: Arc<watch::Sender<bool>>,
}

impl BusSink for Arc<dyn Backplane> {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        self.as_ref().publish(subject, payload)
    }

    fn payload_max(&self) -> usize {
        self.as_ref().payload_max()
    }
}

impl<A: Adapter> Ingester<A> {
    /// Prepares; nothing is published yet.
    pub fn new(config: IngestConfig, adapter: A, bus: Arc<dyn Backplane>) -> Self {
        let paused = Arc::new(watch::Sender::new(false));
        Self { config, adapter, bus, stats: IngestStats::default(), paused }
    }

    /// Returns a handle to the statistics of the run, from now on.
    pub fn stats(&self) -> IngestStats {
        self.stats.clone()
    }

    /// Returns a control that freezes and thaws the run.
    pub fn control(&self) -> IngestControl {
        IngestControl(Arc::clone(&self.paused))
    }

    /// Publishes until `shutdown`, or until the source ended where the configuration says so. The last heartbeat says
    /// that the ingester stopped.
    ///
    /// # Errors
    /// Returns errors only before anything is published. A source that is lost later makes the feed stale, and a bus
    /// that is down is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future stops without the last heartbeat.
    pub async fn run(self, shutdown: CancellationToken) -> Result<Summary, IngestError> {
        let venue = self.adapter.venue().to_owned();
        if self.config.encoding == Encoding::Json {
            return Err(IngestError::Encoding(Encoding::Json));
        }
        // Two runs of the same time or of wrong clocks must not have the same epoch. 62 bits take nine bytes on the wire.
        let epoch = self.config.epoch.unwrap_or_else(|| (rand::random::<u64>() >> 2) + 1);
        let subject = |subject: Result<Subject, SubjectError>| {
            subject.map_err(|source| IngestError::Venue { venue: venue.clone(), source })
        };
        let (heartbeat_subject, ask_subject) =
            (subject(Subject::heartbeat(&venue))?, subject(Subject::request(&venue, epoch))?);
        let requests = self.bus.serve(&ask_subject).await?;
        let publisher = Publisher::new(Arc::clone(&self.bus), epoch, self.config.encoding);
        let sequencer = Sequencer::new(venue, publisher, self.config.bars.clone());
        let verification = self.adapter.verification();
        let main_loop =
            MainLoop::new(self.config, self.bus, self.stats, sequencer, heartbeat_subject, verification);
        Ok(main_loop.run(self.adapter, requests, self.paused.subscribe(), shutdown).await)
    }
}
