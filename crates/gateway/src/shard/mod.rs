//! One thread with its sessions: transports on one side, the engine on the other.
//!
//! There is one task for all of it. A session that is quiet has no buffer, no task and no timer here: its socket is in
//! the shard's own readiness list, and what it sends is read into one buffer that all share. A session that is owed
//! something is written to with one call, from another buffer that all share. The bytes that a socket does not take are kept
//! with its connection until the list says that it takes more.
//!
//! It never awaits between reading bytes and keeping what is left of them, so no read can be lost by a cancellation.

mod command_rate;
mod connection;
mod farewell;
mod identity;
mod order;
mod sockets;
mod tell;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slotmap::{SecondaryMap, SparseSecondaryMap};
use tickwire_net::fragments::Joined;
use tickwire_net::frame::{self, Close, Fault, HEAD_BYTES_MAX, OpCode, Sender};
use tickwire_wire::CloseCode;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::audit::{self, End};
use crate::auth::gate::Gate;
use crate::clock::Clock;
use crate::framing::WebSocket;
use crate::gathering::Gathering;
use crate::holders::Held;
use crate::hub::{self, HubSetup};
use crate::stats::{ShardStats, Stats};
use crate::timer::{Busy, Timer, let_others_run};
use crate::traces;
use crate::transport::Came;
use command_rate::Verdict;
use connection::{Connection, Phase};
use farewell::{CLOSE_GRACE, CLOSED_GRACE, Farewells};
pub(crate) use order::{Arrival, Order};
use sockets::Sockets;
use tickwire_core::engine::{BackfillLimits, Engine, EngineLimits, HandedIn, SessionKey};
use tickwire_core::schedule::{Pacing, ShardSchedule, Step};
use tickwire_core::vocabulary::{Event, TopicInterest};

const TICK: Duration = Duration::from_millis(50);
/// The period at which counts are added up over all subscriptions. With many subscriptions that takes milliseconds.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// The code of a close frame that answers one without a code (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;
/// The smallest size of the buffer that sockets are read into. It is larger where commands may be.
const SCRATCH_BYTES_MIN: usize = 64 << 10;
/// The most batches of events that wait for a shard, and that it takes at once.
pub(crate) const EVENT_BATCHES_MAX: usize = 16;
/// The most reads of one session before the others get their turn.
const READS_MAX: usize = 16;

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

/// A write to a socket.
struct Written {
    /// The usual time from one to the next of this session, in nanoseconds.
    cycle_ns: u64,
    /// The nanoseconds that it took the kernel.
    took_ns: u64,
    /// When it ended.
    ended: u64,
}

struct Shard {
    engine: Engine,
    connections: SecondaryMap<SessionKey, Connection>,
    /// The places of sessions whose users may have so many only.
    held: SparseSecondaryMap<SessionKey, Held>,
    gate: Arc<Gate>,
    /// The buffer that sockets are read into.
    scratch: Vec<u8>,
    /// The buffer of what is written to one session.
    out: Vec<u8>,
    /// The sessions whose sockets hold more than one turn reads, and whether the end of the stream is known to be there.
    unread: Vec<(SessionKey, bool)>,
    /// The sessions whose close frames were handed over.
    ending: Vec<SessionKey>,
    /// The connections whose sessions are over because their clients said so.
    farewells: Farewells,
    /// The sessions that are still to be told what their API keys grant now.
    to_regrant: Vec<SessionKey>,
    /// The sessions whose unacknowledged bytes the kernel is asked for at this tick.
    asked: Vec<SessionKey>,
    /// When the counts are published next.
    publish_at: Instant,
    message_ns: u64,
    limits: EngineLimits,
    clock: Clock,
    stats: Arc<ShardStats>,
    all: Arc<Stats>,
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
        to_regrant: Vec::new(),
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
        let wake_in = plan.wake_at.map(|at| Duration::from_nanos(at.saturating_sub(now)));
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

fn code_of(key: SessionKey, fault: Fault) -> CloseCode {
    match fault {
        Fault::TooLarge => CloseCode::TooLarge,
        Fault::NotUtf8 => CloseCode::NotUtf8,
        Fault::Protocol(rule) => {
            tracing::debug!(session = ?key, rule, "a client broke the rules of WebSocket");
            CloseCode::Protocol
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

    /// Reads a socket and takes the whole frames out of it. `ended` says that the end of the stream is known to be there.
    fn read(&mut self, key: SessionKey, ended: bool) {
        for _ in 0..READS_MAX {
            let Some(connection) = self.connections.get_mut(key) else { return };
            let begun = connection.unread().len();
            self.scratch[..begun].copy_from_slice(connection.unread());
            let (count, is_all) = match connection.read(&mut self.scratch[begun..]) {
                Ok(Came::Nothing) if begun > 0 => return self.take_frames(key, begun),
                Ok(Came::Nothing) => return,
                Ok(Came::End) | Err(_) => return self.end(key, End::Lost),
                Ok(Came::Bytes { count, is_all }) => (count, is_all),
            };
            if !connection.is_deaf() {
                self.take_frames(key, begun + count);
            }
            if is_all && !ended {
                return;
            }
        }
        self.unread.push((key, ended));
    }

    /// Takes the frames in the first `length` bytes of the scratch buffer, and keeps what is left of them.
    fn take_frames(&mut self, key: SessionKey, length: usize) {
        let (now, is_ready) = (self.clock.now(), self.engine.is_ready(key));
        let (mut at, mut has_ended) = (0, false);
        let ends = loop {
            let Some(connection) = self.connections.get_mut(key) else { return };
            has_ended |= at > 0 && !connection.has_fragments();
            // All frames of one message together may have as many bytes as a command.
            let room = self.limits.command_bytes - connection.fragment_bytes();
            match frame::find(&self.scratch[at..length], Sender::Client, room) {
                Ok(None) => {
                    let begun = frame::begun(&self.scratch[at..length], Sender::Client);
                    let checked = begun.map_or(Ok(()), |begun| connection.check_begun(&begun));
                    break checked.err().map(|fault| code_of(key, fault));
                }
                Err(fault) => break Some(code_of(key, fault)),
                Ok(Some(found)) => {
                    let payload = found.payload(&mut self.scratch[at..length]);
                    at += found.end;
                    if found.opcode == OpCode::Close {
                        let asked = Close::check(payload);
                        if at > found.end {
                            // What was asked for before is answered before.
                            self.write(key);
                        }
                        return self.meet_close(key, asked);
                    }
                    if found.opcode == OpCode::Pong && self.engine.on_pong(key, payload, now) {
                        continue;
                    }
                    let joined = if found.is_control() {
                        Ok((Joined::Whole, false))
                    } else {
                        connection.take_data(&found, payload, self.limits.command_bytes)
                    };
                    let (message, is_text) = match joined {
                        Ok((Joined::Whole, is_text)) => (Cow::Borrowed(payload), is_text),
                        Ok((Joined::Message(message), is_text)) => (Cow::Owned(message), is_text),
                        // A fragment counts towards the rate with its message. An empty one counts by itself, or it would be free.
                        Ok((Joined::More, _))
                            if payload.is_empty()
                                && connection.rate.next(now, &self.limits) == Verdict::End =>
                        {
                            break Some(CloseCode::Flood);
                        }
                        Ok((Joined::More, _)) => continue,
                        Err(fault) => break Some(code_of(key, fault)),
                    };
                    match connection.rate.next(now, &self.limits) {
                        Verdict::End => break Some(CloseCode::Flood),
                        Verdict::Refuse => self.engine.on_flood(key, &message),
                        Verdict::Take => match found.opcode {
                            OpCode::Ping => self.engine.on_ping(key, &message, now),
                            OpCode::Pong => {}
                            _ if self.engine.on_framed(key, &message, is_text, now) => {
                                connection.rate.refund(&self.limits);
                            }
                            _ => connection.rate.charge(self.engine.price(), now, &self.limits),
                        },
                    }
                }
            }
        };
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(code) = ends {
            connection.deafen();
            self.engine.close(key, code);
        } else {
            connection.keep_unread(&self.scratch[at..length]);
            connection.note_begun(has_ended, now);
        }
        // What waited before, and for its time, waits on: a receipt is no reason for a write.
        let is_owed = at > 0 && (!is_ready || self.engine.owes_response(key));
        if is_owed || ends.is_some() {
            self.write(key);
        }
    }

    /// Ends a session whose client sent a close frame, and sends one back: with the same code, or with what is wrong with it.
    fn meet_close(&mut self, key: SessionKey, asked: Result<Option<u16>, Fault>) {
        let Some(connection) = self.connections.get(key) else { return };
        // It may answer a close frame of ours.
        let is_first = connection.phase() == Phase::Open;
        let (code, text, how) = match asked {
            Ok(code) => {
                let code = code.unwrap_or(NORMAL);
                (code, "", End::Client(code))
            }
            Err(fault) => {
                let code = code_of(key, fault);
                self.count_closed(code);
                (code.code(), code.text(), End::Gateway(code))
            }
        };
        let Some(mut connection) = self.forget(key, how) else { return };
        if is_first {
            let mut frame = Vec::new();
            frame::write(OpCode::Close, &Close::payload(code, text), &mut frame);
            if connection.write(&frame).is_ok() {
                self.farewells.add(connection);
            }
        }
    }

    /// Writes what a session is owed now, with one call.
    fn write(&mut self, key: SessionKey) {
        self.write_at(key, self.clock.now());
    }

    /// Does the same where the clock was just read.
    fn write_at(&mut self, key: SessionKey, now: u64) -> Option<Written> {
        let connection = self.connections.get_mut(key)?;
        self.out.clear();
        let filled = self.engine.fill(key, now, &WebSocket, &mut self.out);
        if self.out.is_empty() {
            return None;
        }
        let begun = self.clock.now();
        // For a blocked session the engine hands over a close frame at most. It goes behind the bytes that wait.
        let Ok(taken) = connection.write(&self.out) else {
            self.end(key, End::Lost);
            return None;
        };
        let ended = self.clock.now();
        let took_ns = ended.saturating_sub(begun);
        self.engine.unsent(key, connection.unsent(), now);
        self.stats.writes.fetch_add(1, Ordering::Relaxed);
        self.stats.written_bytes.fetch_add(taken as u64, Ordering::Relaxed);
        if filled.closed {
            connection.set_phase(Phase::Leaving(Instant::now() + CLOSE_GRACE));
            self.ending.push(key);
            self.leave(key);
        }
        Some(Written { cycle_ns: filled.cycle_ns, took_ns, ended })
    }

    /// Hands over the bytes that the socket did not take at once.
    fn write_rest(&mut self, key: SessionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.unsent() == 0 {
            return;
        }
        let Ok(taken) = connection.write_rest() else { return self.end(key, End::Lost) };
        self.stats.written_bytes.fetch_add(taken as u64, Ordering::Relaxed);
        self.engine.unsent(key, connection.unsent(), self.clock.now());
        self.leave(key);
    }

    /// Tells the peer that nothing more comes, once the close frame has left.
    fn leave(&mut self, key: SessionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && matches!(connection.phase(), Phase::Leaving(_))
            && connection.unsent() == 0
        {
            connection.shut_write();
            connection.set_phase(Phase::Left(Instant::now() + CLOSED_GRACE));
        }
    }

    fn tick(&mut self, schedule: &mut ShardSchedule) {
        self.note_latency_samples(schedule);
        self.engine.tick(self.clock.now());
        self.tell_kernel_numbers();
        let now = Instant::now();
        self.farewells.tick(&mut self.scratch, now);
        self.regrant_some();
        for key in std::mem::take(&mut self.ending) {
            match self.connections.get(key).map(Connection::phase) {
                None => {}
                Some(Phase::Leaving(until) | Phase::Left(until)) if now >= until => {
                    self.end(key, End::Lost);
                }
                Some(_) => self.ending.push(key),
            }
        }
        // This is cheap, and arriving sessions go to the shard with the fewest.
        self.stats.sessions.store(self.engine.sessions() as u64, Ordering::Relaxed);
        if self.publish_at <= now {
            self.publish_at = now + PUBLISH_EVERY;
            self.publish_stats();
            self.close_unfinished();
        }
    }

    /// Closes the sessions whose clients began a message and did not end it in time.
    fn close_unfinished(&mut self) {
        let since = self.clock.now().saturating_sub(self.message_ns);
        let late = self.connections.iter().filter(|(_, connection)| connection.waits_since(since));
        let late: Vec<_> = late.map(|(key, _)| key).collect();
        for key in late {
            if let Some(connection) = self.connections.get_mut(key) {
                connection.deafen();
                self.engine.close(key, CloseCode::Unfinished);
                self.write(key);
            }
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

    fn end(&mut self, key: SessionKey, how: End) {
        drop(self.forget(key, how));
    }

    /// Ends a session, and returns its connection. Where the gateway closed it, that is how it ended, whatever the connection did
    /// then.
    fn forget(&mut self, key: SessionKey, how: End) -> Option<Connection> {
        if !self.connections.contains_key(key) {
            return None;
        }
        let (closed, now) = (self.engine.closing(key), self.clock.now());
        if let Some(code) = closed {
            self.count_closed(code);
        }
        self.audit(key, |row| audit::ended(row, closed.map_or(how, End::Gateway), now));
        let connection = self.connections.remove(key);
        self.held.remove(key);
        self.engine.ended(key, now);
        self.all.sessions.fetch_sub(1, Ordering::Relaxed);
        connection
    }

    fn count_closed(&self, code: CloseCode) {
        if let Some(at) = CloseCode::ALL.iter().position(|known| *known == code) {
            self.all.closed[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}
