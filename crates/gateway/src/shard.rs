//! One thread with its sessions: sockets on one side, the engine on the other.
//!
//! Reading is a task per session, because the reader of the WebSocket library must not be cancelled between frames.
//! Writing is not: the loop fills one buffer per session that has something and hands it to the kernel with one call.
//! Only a socket that takes less than that gets a task, which waits until it takes the rest.

use std::cell::RefCell;
use std::io;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastwebsockets::{Frame, OpCode, Role, WebSocketError, after_handshake_split};
use governor::{Quota, RateLimiter};
use slotmap::SecondaryMap;
use tickwire_wire::{CloseCode, Encoding};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::admin_sessions::Look;
use crate::clock::Clock;
use crate::engine::{Engine, EngineLimits, Event, SessionKey, Wish};
use crate::stats::{ShardStats, Stats};

const TICK: Duration = Duration::from_millis(50);
/// How long a close frame may take to leave before the connection is cut.
const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// Commands over the rate that are answered; a client that goes on is closed.
const FLOOD_MAX: u32 = 100;

/// A connection that has shaken hands.
pub(crate) struct Arrival {
    pub(crate) id: String,
    pub(crate) stream: std::net::TcpStream,
    /// What the client sent behind its handshake.
    pub(crate) read: bytes::Bytes,
    pub(crate) encoding: Encoding,
    /// Held while the session lives.
    pub(crate) permit: tokio::sync::OwnedSemaphorePermit,
}

/// What the rest of the gateway tells a shard beside events.
pub(crate) enum Order {
    Arrive(Arrival),
    Drain(Duration),
    Look(Look),
}

/// What a shard needs to run.
pub(crate) struct ShardSetup {
    pub(crate) at: usize,
    pub(crate) limits: EngineLimits,
    pub(crate) cork: Duration,
    pub(crate) server: String,
    pub(crate) events: mpsc::Receiver<Vec<Event>>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) wishes: mpsc::Sender<(usize, Wish)>,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) all: Arc<Stats>,
    pub(crate) clock: Clock,
}

struct Connection {
    write: Rc<OwnedWriteHalf>,
    /// What the kernel has not taken yet.
    pending: Vec<u8>,
    reader: Option<AbortHandle>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

struct Shard {
    engine: RefCell<Engine>,
    connections: RefCell<SecondaryMap<SessionKey, Connection>>,
    out: RefCell<Vec<u8>>,
    limits: EngineLimits,
    clock: Clock,
    stats: Arc<ShardStats>,
    all: Arc<Stats>,
}

/// Runs a shard until its orders end and its sessions are gone.
pub(crate) async fn run(setup: ShardSetup) {
    let ShardSetup { at, limits, cork, server, mut events, mut orders, wishes, stats, all, clock } = setup;
    let shard = Rc::new(Shard {
        engine: RefCell::new(Engine::new(limits.clone(), server)),
        connections: RefCell::default(),
        out: RefCell::default(),
        limits,
        clock,
        stats,
        all,
    });
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut write_at = Instant::now();
    let mut ready = Vec::new();
    let mut open = true;
    while open || shard.engine.borrow().sessions() > 0 {
        let has_ready = shard.engine.borrow().has_ready();
        tokio::select! {
            biased;
            order = orders.recv(), if open => match order {
                Some(Order::Arrive(arrival)) => shard.arrive(arrival),
                Some(Order::Drain(window)) => {
                    shard.engine.borrow_mut().drain(window.as_nanos() as u64, clock.now());
                }
                Some(Order::Look(look)) => shard.look(look),
                None => open = false,
            },
            _ = ticks.tick() => {
                shard.engine.borrow_mut().tick(clock.now());
                shard.publish_stats();
            }
            () = tokio::time::sleep_until(write_at), if has_ready => {
                shard.engine.borrow_mut().take_ready(&mut ready);
                for key in ready.drain(..) {
                    shard.write(key);
                }
                write_at = Instant::now() + cork;
                // Readers and blocked sockets get their turn between two rounds.
                tokio::task::yield_now().await;
            }
            Some(batch) = events.recv() => {
                let now = clock.now();
                let mut engine = shard.engine.borrow_mut();
                for event in &batch {
                    engine.on_event(event, now);
                }
            }
        }
        let asked: Vec<_> = shard.engine.borrow_mut().take_wishes().collect();
        for wish in asked {
            if wishes.send((at, wish)).await.is_err() {
                return;
            }
        }
    }
}

impl Shard {
    fn arrive(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { id, stream, read, encoding, permit } = arrival;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                tracing::error!(session = id, %error, "cannot take over a connection");
                return;
            }
        };
        let (read_half, write_half) = stream.into_split();
        let key = self.engine.borrow_mut().open(id.clone(), encoding, self.clock.now());
        let connection =
            Connection { write: Rc::new(write_half), pending: Vec::new(), reader: None, _permit: permit };
        self.connections.borrow_mut().insert(key, connection);
        let reader = tokio::task::spawn_local(Rc::clone(self).read(key, id, read, read_half)).abort_handle();
        if let Some(connection) = self.connections.borrow_mut().get_mut(key) {
            connection.reader = Some(reader);
        }
    }

    /// Reads until the connection ends or breaks the rules.
    async fn read(self: Rc<Self>, key: SessionKey, id: String, first: bytes::Bytes, half: OwnedReadHalf) {
        let source = io::Cursor::new(first).chain(half);
        let mut frames = after_handshake_split(source, tokio::io::sink(), Role::Server).0;
        frames.set_auto_close(false);
        frames.set_auto_pong(false);
        frames.set_max_message_size(self.limits.command_bytes + 1);
        let burst = NonZeroU32::new(self.limits.commands_per_second).unwrap_or(NonZeroU32::MIN);
        let rate = RateLimiter::direct(Quota::per_second(burst));
        let mut floods = 0;
        loop {
            let frame = frames.read_frame(&mut |_| async { Ok::<(), WebSocketError>(()) }).await;
            let now = self.clock.now();
            let ends = match frame {
                Ok(mut frame) => {
                    let is_control = matches!(frame.opcode, OpCode::Ping | OpCode::Pong | OpCode::Close);
                    if !is_masked(&mut frame) || !frame.fin || (is_control && frame.payload.len() > 125) {
                        Some(CloseCode::Protocol)
                    } else if frame.opcode == OpCode::Close {
                        self.answer_close(key, &frame.payload);
                        return;
                    } else if rate.check().is_err() {
                        floods += 1;
                        self.engine.borrow_mut().on_flood(key);
                        (floods > FLOOD_MAX).then_some(CloseCode::Flood)
                    } else {
                        floods = 0;
                        self.on_frame(key, &frame, now)
                    }
                }
                Err(WebSocketError::FrameTooLarge) => Some(CloseCode::TooLarge),
                Err(WebSocketError::UnexpectedEOF | WebSocketError::IoError(_)) => {
                    self.end(key);
                    return;
                }
                Err(error) => {
                    tracing::debug!(session = id, %error, "a client broke the rules of WebSocket");
                    Some(CloseCode::Protocol)
                }
            };
            if let Some(code) = ends {
                self.engine.borrow_mut().close(key, code);
            }
            self.write(key);
            if ends.is_some() {
                // Whatever else comes is not looked at; the connection ends when the close frame has left.
                return;
            }
        }
    }

    fn on_frame(&self, key: SessionKey, frame: &Frame<'_>, now: u64) -> Option<CloseCode> {
        let mut engine = self.engine.borrow_mut();
        match frame.opcode {
            OpCode::Text | OpCode::Binary => engine.on_message(key, &frame.payload, now),
            OpCode::Ping => engine.on_ping(key, &frame.payload, now),
            OpCode::Pong => engine.on_pong(key, now),
            OpCode::Close | OpCode::Continuation => return Some(CloseCode::Protocol),
        }
        None
    }

    /// Echoes the client's close code and ends the connection.
    fn answer_close(self: &Rc<Self>, key: SessionKey, payload: &[u8]) {
        let code = payload.first_chunk::<2>().map_or(1000, |code| u16::from_be_bytes(*code));
        if let Some(connection) = self.connections.borrow().get(key)
            && connection.pending.is_empty()
        {
            let mut frame = vec![0x88, 2];
            frame.extend_from_slice(&code.to_be_bytes());
            let _ = connection.write.try_write(&frame);
        }
        self.end(key);
    }

    /// Writes what a session is owed now, with one call.
    fn write(self: &Rc<Self>, key: SessionKey) {
        let mut connections = self.connections.borrow_mut();
        let Some(connection) = connections.get_mut(key) else { return };
        let now = self.clock.now();
        let mut out = self.out.borrow_mut();
        out.clear();
        let filled = self.engine.borrow_mut().fill(key, now, &mut out);
        if out.is_empty() {
            return;
        }
        if !connection.pending.is_empty() {
            // For a blocked session the engine hands over a close frame at most: it goes behind what the kernel has not
            // taken.
            connection.pending.extend_from_slice(&out);
            let pending = connection.pending.len();
            drop((connections, out));
            self.engine.borrow_mut().unsent(key, pending, now);
            if filled.closed {
                self.finish_later(key);
            }
            return;
        }
        self.stats.writes.fetch_add(1, Ordering::Relaxed);
        let taken = match connection.write.try_write(&out) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => {
                drop((connections, out));
                self.end(key);
                return;
            }
        };
        self.stats.written_bytes.fetch_add(taken as u64, Ordering::Relaxed);
        connection.pending.extend_from_slice(&out[taken..]);
        let pending = connection.pending.len();
        drop((connections, out));
        self.engine.borrow_mut().unsent(key, pending, now);
        if pending > 0 {
            tokio::task::spawn_local(Rc::clone(self).write_rest(key));
        }
        if filled.closed {
            self.finish_later(key);
        }
    }

    /// Hands the kernel what it did not take at once, as it takes it.
    async fn write_rest(self: Rc<Self>, key: SessionKey) {
        loop {
            let Some(write) = self.connections.borrow().get(key).map(|c| Rc::clone(&c.write)) else { return };
            if write.writable().await.is_err() {
                self.end(key);
                return;
            }
            let taken = match self.connections.borrow_mut().get_mut(key) {
                None => return,
                Some(connection) => match write.try_write(&connection.pending) {
                    Ok(taken) => {
                        connection.pending.drain(..taken);
                        if connection.pending.is_empty() {
                            connection.pending = Vec::new();
                        }
                        Some((taken, connection.pending.len()))
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(_) => None,
                },
            };
            let Some((taken, left)) = taken else {
                self.end(key);
                return;
            };
            self.stats.written_bytes.fetch_add(taken as u64, Ordering::Relaxed);
            self.engine.borrow_mut().unsent(key, left, self.clock.now());
            if left == 0 {
                return;
            }
        }
    }

    /// Ends the connection when its last bytes have left, or soon.
    fn finish_later(self: &Rc<Self>, key: SessionKey) {
        let shard = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let until = Instant::now() + CLOSE_GRACE;
            let is_pending =
                |shard: &Self| shard.connections.borrow().get(key).is_some_and(|c| !c.pending.is_empty());
            while is_pending(&shard) && Instant::now() < until {
                tokio::time::sleep(TICK).await;
            }
            // The peer answers with a close frame of its own; without that wait its unread bytes would turn ours into
            // a reset, and the close code would be lost.
            let write = shard.connections.borrow().get(key).map(|c| Rc::clone(&c.write));
            if let Some(write) = write {
                let _ = socket2::SockRef::from((*write).as_ref()).shutdown(std::net::Shutdown::Write);
                tokio::time::sleep(TICK * 4).await;
            }
            shard.end(key);
        });
    }

    fn end(&self, key: SessionKey) {
        let Some(connection) = self.connections.borrow_mut().remove(key) else { return };
        let mut engine = self.engine.borrow_mut();
        if let Some(code) = engine.closing(key)
            && let Some(at) = CloseCode::ALL.iter().position(|known| *known == code)
        {
            self.all.closed[at].fetch_add(1, Ordering::Relaxed);
        }
        engine.ended(key, self.clock.now());
        self.all.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Some(reader) = connection.reader {
            reader.abort();
        }
    }

    fn look(&self, look: Look) {
        let engine = self.engine.borrow();
        let connections = self.connections.borrow();
        let peer = |key| connections.get(key)?.write.peer_addr().ok();
        // Who asked may have gone.
        match look {
            Look::Page(query, reply) => {
                let mut page = engine.session_page(&query);
                page.rows.iter_mut().for_each(|row| row.peer = peer(row.key));
                drop(reply.send(page));
            }
            Look::Detail(id, reply) => {
                let mut detail = engine.session_detail(&id);
                detail.iter_mut().for_each(|detail| detail.row.peer = peer(detail.row.key));
                drop(reply.send(detail));
            }
        }
    }

    fn publish_stats(&self) {
        let engine = self.engine.borrow();
        let set = |count: &AtomicU64, value: u64| count.store(value, Ordering::Relaxed);
        let survey = engine.survey();
        let totals = survey.totals;
        set(&self.stats.sessions, engine.sessions() as u64);
        set(&self.stats.topics, engine.topics() as u64);
        set(&self.stats.log_bytes, engine.log_bytes() as u64);
        set(&self.stats.published, totals.published);
        set(&self.stats.delivered, totals.delivered);
        set(&self.stats.conflated, totals.conflated);
        set(&self.stats.dropped, totals.dropped);
        set(&self.stats.filtered, totals.filtered);
        let parts = survey.pressure;
        for (to, bytes) in
            self.stats.pressure.iter().zip([parts.control, parts.lossless, parts.unsent, parts.in_flight])
        {
            set(to, bytes as u64);
        }
        for (to, count) in self.stats.states.iter().zip(survey.states) {
            set(to, count as u64);
        }
        for (to, count) in self.stats.decisions.iter().zip(survey.decisions) {
            set(to, count);
        }
    }
}

/// Whether a frame came masked, as every frame of a client must: the library keeps the key to itself, but its head
/// shows it.
fn is_masked(frame: &mut Frame<'_>) -> bool {
    let mut head = [0; 16];
    frame.fmt_head(&mut head);
    head[1] & 0x80 != 0
}
