//! One thread with its sessions: transports on one side, the engine on the other.
//!
//! There is one task for all of it. A session that is quiet has no buffer, no task and no timer here: its socket is in
//! the shard's own readiness list, and what it sends is read into one buffer that all share. A session that is owed
//! something is written to with one call, from another buffer that all share. The bytes that a socket does not take are kept
//! with its connection until the list says that it takes more.
//!
//! It never awaits between reading bytes and keeping what is left of them, so no read can be lost by a cancellation.

mod closing;
mod command_rate;
mod connection;
mod farewell;
mod identity;
mod order;
mod reading;
mod regrants;
mod sockets;
mod state;
mod tell;
mod writing;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slotmap::{SecondaryMap, SparseSecondaryMap};
use tickwire_net::frame::HEAD_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::audit::{self, End};
use crate::auth::gate::Gate;
use crate::clock::Clock;
use crate::gathering::Gathering;
use crate::hub::{self, HubSetup};
use crate::stats::{ShardStats, Stats};
use crate::timer::{Busy, Timer, let_others_run};
use crate::traces;
use connection::Connection;
use farewell::Farewells;
pub(crate) use order::{Arrival, Order};
use regrants::Regrants;
use sockets::Sockets;
use state::Shard;
use tickwire_core::engine::{BackfillLimits, Engine, EngineLimits, HandedIn};
use tickwire_core::schedule::{Pacing, ShardSchedule, Step};
use tickwire_core::vocabulary::{Event, TopicInterest};

const TICK: Duration = Duration::from_millis(50);
/// The period at which counts are added up over all subscriptions. With many subscriptions that takes milliseconds.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// The smallest size of the buffer that sockets are read into. It is larger where commands may be.
const SCRATCH_BYTES_MIN: usize = 64 << 10;
/// The most batches of events that wait for a shard, and that it takes at once.
pub(crate) const EVENT_BATCHES_MAX: usize = 16;

/// Everything that a shard needs to run.
pub(crate) struct ShardSetup {
    pub(crate) at: usize,
    /// The hub, where it is a second task of this shard's thread.
    pub(crate) hub: Option<HubSetup>,
    pub(crate) limits: EngineLimits,
    /// The limits of look-ups in the history, where the bus has one.
    pub(crate) backfill: Option<BackfillLimits>,
    /// The time that a message may take from its first byte to its last, in nanoseconds.
    pub(crate) message_ns: u64,
    pub(crate) pacing: Pacing,
    pub(crate) server: String,
    pub(crate) events: mpsc::Receiver<Vec<Event>>,
    /// The time before which no session wants the next events; the hub reads it.
    pub(crate) gathering: Arc<Gathering>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) interests: mpsc::Sender<(usize, TopicInterest)>,
    /// The way of tokens to whoever verifies them.
    pub(crate) tokens: mpsc::Sender<(usize, HandedIn)>,
    pub(crate) gate: Arc<Gate>,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) all: Arc<Stats>,
    pub(crate) clock: Clock,
}

/// Runs a shard until its orders end and its sessions are gone.
pub(crate) async fn run(setup: ShardSetup) {
    let ShardSetup {
        at,
        hub,
        limits,
        backfill,
        message_ns,
        pacing,
        server,
        mut events,
        gathering,
        mut orders,
        interests,
        tokens,
        gate,
        stats,
        all,
        clock,
    } = setup;
    let mut sockets = match Sockets::new() {
        Ok(sockets) => sockets,
        Err(error) => {
            tracing::error!(shard = at, %error, "cannot watch sockets");
            return;
        }
    };
    let has_hub = hub.is_some();
    if let Some(hub) = hub {
        tokio::task::spawn_local(hub::run(hub));
    }
    let mut engine = Engine::new(limits.clone(), server);
    if let Some(limits) = backfill {
        engine.set_backfill(limits);
    }
    traces::watch(&mut engine);
    let mut shard = Shard {
        engine,
        connections: SecondaryMap::with_capacity(limits.sessions_expected),
        held: SparseSecondaryMap::new(),
        gate,
        scratch: vec![0; SCRATCH_BYTES_MIN.max(limits.command_bytes + HEAD_BYTES_MAX)],
        out: Vec::new(),
        unread: Vec::new(),
        ending: Vec::new(),
        farewells: Farewells::default(),
        regrants: Regrants::default(),
        asked: Vec::new(),
        publish_at: Instant::now(),
        message_ns,
        limits,
        clock,
        stats,
        all,
    };
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut schedule = ShardSchedule::new(pacing, clock.now());
    let mut readiness = Vec::new();
    let mut busy = Busy::start();
    let mut timer = Timer::new();
    let mut open = true;
    while open || shard.engine.sessions() > 0 {
        let now = clock.now();
        let plan = schedule.plan(&shard.engine, now);
        let regrant_at = shard.regrants.turn_at();
        let wake_at = plan.wake_at.into_iter().chain(regrant_at).min();
        let wake_in = wake_at.map(|at| Duration::from_nanos(at.saturating_sub(now)));
        gathering.tell(plan.gathers_until, now);
        tokio::select! {
            biased;
            order = orders.recv(), if open => match order {
                Some(Order::Arrive(arrival)) => shard.arrive(arrival, &mut sockets),
                Some(Order::Drain(window)) => shard.engine.drain(window.as_nanos() as u64, clock.now()),
                Some(Order::Look(look)) => shard.look(look),
                Some(Order::Identify(verdict)) => shard.identify(verdict),
                Some(Order::Revoke(revocations)) => shard.revoke(&revocations),
                Some(Order::Recheck) => shard.recheck(),
                None => open = false,
            },
            _ = ticks.tick() => {
                shard.tick(&mut schedule);
                schedule.on_busy(busy.share(), clock.now());
                shard.stats.write_delay_us.store(schedule.delay_ns() / 1_000, Ordering::Relaxed);
            }
            () = std::future::ready(()), if regrant_at.is_some_and(|at| at <= now) => shard.regrant_turn(),
            looked = sockets.ready(&mut readiness) => {
                if let Err(error) = looked {
                    tracing::error!(shard = at, %error, "cannot watch sockets");
                    return;
                }
                for socket in readiness.drain(..) {
                    if socket.writable {
                        shard.write_rest(socket.key);
                    }
                    if socket.readable {
                        shard.read(socket.key, socket.ended);
                    }
                }
            }
            () = timer.wait(wake_in.unwrap_or_default()), if wake_in.is_some() => {
                schedule.on_time(&mut shard.engine, clock.now());
                // What is due then is written now: another look at all that may happen costs as much as some records.
                if schedule.plan(&shard.engine, clock.now()).writes {
                    shard.round(&mut schedule, &mut events, &gathering, has_hub).await;
                }
            }
            () = std::future::ready(()), if plan.writes => {
                shard.round(&mut schedule, &mut events, &gathering, has_hub).await;
            }
            () = std::future::ready(()), if !shard.unread.is_empty() => {
                for (key, ended) in std::mem::take(&mut shard.unread) {
                    shard.read(key, ended);
                }
                tokio::task::yield_now().await;
            }
            // While the shard waits to write, events do not wake it: they are taken together, before the round.
            Some(batch) = events.recv(), if plan.takes_events => {
                schedule.on_taken(batch.len());
                shard.take_events(&batch);
                shard.take_batches(&mut events, &mut schedule);
                schedule.on_events(&shard.engine, clock.now());
            }
        }
        shard.pass_tokens(at, &tokens);
        let asked: Vec<_> = shard.engine.take_interests().collect();
        for interest in asked {
            if interests.send((at, interest)).await.is_err() {
                return;
            }
        }
    }
}

impl Shard {
    fn arrive(&mut self, arrival: Arrival, sockets: &mut Sockets) {
        let Arrival { opening, mut transport, read, seat, held } = arrival;
        let key = self.engine.open(opening, self.clock.now());
        if let Some(held) = held {
            self.held.insert(key, held);
        }
        let watched = sockets.add(&mut transport, key);
        let has_input = !read.is_empty() || transport.may_hold_input();
        self.connections.insert(key, Connection::new(transport, &read, seat));
        self.audit(key, |row| audit::opened(row, self.token_id(key)));
        self.check_credential(key);
        if let Err(error) = watched {
            tracing::error!(%error, "cannot take over a connection");
            self.end(key, End::Lost);
        } else if has_input {
            // The readiness list tells only of bytes that come from now on.
            self.read(key, false);
        }
    }

    /// Writes to the sessions that are due, with the events that are there by then.
    async fn round(
        &mut self,
        schedule: &mut ShardSchedule,
        events: &mut mpsc::Receiver<Vec<Event>>,
        gathering: &Gathering,
        has_hub: bool,
    ) {
        schedule.begin_round(self.clock.now());
        while let Some(step) = schedule.step(&mut self.engine, self.clock.now()) {
            match step {
                Step::TakeEvents => self.take_batches(events, schedule),
                Step::Write => {
                    let mut now = self.clock.now();
                    for at in 0..schedule.sessions().len() {
                        if let Some(written) = self.write_at(schedule.sessions()[at], now) {
                            schedule.on_write(written.cycle_ns, written.took_ns);
                            now = written.ended;
                        }
                    }
                }
                // The hub is a task of this thread, or a thread that may share this core.
                Step::Yield if has_hub => {
                    gathering.tell(schedule.gathers_until(&self.engine), self.clock.now());
                    gathering.end();
                    let_others_run().await;
                }
                Step::Yield => {
                    gathering.tell(schedule.gathers_until(&self.engine), self.clock.now());
                    std::thread::yield_now();
                }
            }
        }
        self.note_latency_samples(schedule);
        // Sockets get their turn between two rounds: only a loop that waits lets the runtime look at them.
        if schedule.plan(&self.engine, self.clock.now()).writes {
            tokio::task::yield_now().await;
        }
    }

    /// Takes the batches of events that are there, as many as the schedule allows, without waiting for more.
    fn take_batches(&mut self, events: &mut mpsc::Receiver<Vec<Event>>, schedule: &mut ShardSchedule) {
        let since = self.clock.now();
        for _ in 0..EVENT_BATCHES_MAX {
            let Ok(batch) = events.try_recv() else { break };
            schedule.on_taken(batch.len());
            self.take_events(&batch);
            if !schedule.takes_more(since, self.clock.now()) {
                break;
            }
        }
    }

    fn take_events(&mut self, batch: &[Event]) {
        let now = self.clock.now();
        for event in batch {
            self.engine.on_event(event, now);
        }
    }

    fn tick(&mut self, schedule: &mut ShardSchedule) {
        self.note_latency_samples(schedule);
        self.engine.tick(self.clock.now());
        self.tell_kernel_numbers();
        let now = Instant::now();
        self.farewells.tick(&mut self.scratch, now);
        self.end_silent(now);
        // This is cheap, and arriving sessions go to the shard with the fewest.
        self.stats.sessions.store(self.engine.sessions() as u64, Ordering::Relaxed);
        if self.publish_at <= now {
            self.publish_at = now + PUBLISH_EVERY;
            self.publish_stats();
            self.close_unfinished();
        }
    }

    /// Tells the engine what the kernels of clients have not acknowledged, for those clients that do not answer pings.
    fn tell_kernel_numbers(&mut self) {
        let now = self.clock.now();
        self.engine.wants_kernel_numbers(&mut self.asked);
        for key in self.asked.drain(..) {
            let bytes = self.connections.get_mut(key).map_or(0, Connection::unacknowledged);
            self.engine.kernel_unacknowledged(key, bytes, now);
        }
    }
}
