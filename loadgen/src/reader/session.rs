//! One session: its socket, and how far it is. It is small, because there are ten thousands of them.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustc_hash::FxHashMap;
use rustix::event::epoll::{self, EventData, EventFlags};
use tickwire_client::receipts::ping_time;
use tickwire_machine::now;
use tickwire_net::frame::{self, Close, Found, Sender};
use tickwire_net::tls::{self, Brought};
use tickwire_wire::{Channel, Command, Encoding, Sequence, encode_command};

use super::shared::Core;
use super::slow::{MS, Paced, Program, Waiting};
use super::stream::Stream;
use super::timers::Due;
use crate::board::Phase;
use crate::peer::PeerSession;
use crate::plan::Plan;
use crate::scenario::access::TLS_SETTINGS;
use crate::scenario::{Reader, ReaderKind};
use crate::websocket::{self, Opcode};

/// Longest time from the connect to the last answer of a subscription.
pub(super) const OPEN_WAIT: Duration = Duration::from_secs(30);
/// The ledger comes before anything else that waits, but behind what is under way.
pub(super) const LEDGER_WAIT: Duration = Duration::from_secs(20);
/// Id of the command that asks for the ledger. Those of subscriptions count from 1.
pub(super) const LEDGER_ID: u64 = 1 << 40;
pub(super) const WORK_PERIOD: u64 = 5 * MS;
const PROBE_PERIOD: u64 = 100 * MS;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// The session is not connected, and will be.
    #[default]
    Waiting,
    Connecting,
    Shaking,
    /// It shook hands, and subscribes together with the others.
    Shaken,
    Subscribing,
    Open,
    /// The ledger was asked for.
    Ending,
    Gone,
}

/// The gateway's ledger of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Account {
    #[default]
    Owed,
    /// Nothing follows.
    Given,
}

/// One subscription of a session.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) sequence: Sequence,
    /// Event time of the last quote, and a digest of what it said. 0 where none came.
    pub(super) event_time: u64,
    pub(super) value: u64,
    /// Index of the symbol at the own source.
    pub(super) symbol: Option<u32>,
}

impl Subscription {
    pub(super) fn new(sequence: Sequence, symbol: Option<u32>) -> Self {
        Self { sequence, event_time: 0, value: 0, symbol }
    }

    /// Takes what the last record said. Returns whether it is older than the one before it.
    pub(super) fn says(&mut self, event_time: u64, value: u64) -> bool {
        let is_older = event_time < self.event_time;
        (self.event_time, self.value) = (event_time, value);
        is_older
    }

    /// Returns the symbol, with the sequence number and the intended time of what the own source published last.
    pub(super) fn published(&self, finals: Option<&[(u64, u64)]>) -> Option<(u32, (u64, u64))> {
        let symbol = self.symbol?;
        Some((symbol, *finals?.get(symbol as usize)?))
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Session {
    pub(super) number: u32,
    /// Its place among the sessions of its thread.
    pub(super) slot: usize,
    pub(super) reader: u8,
    pub(super) state: State,
    /// Something is left that the kernel has not taken.
    is_writing: bool,
    /// Nothing is read until it is told to.
    pub(super) is_paused: bool,
    pub(super) is_settled: bool,
    pub(super) account: Account,
    pub(super) unanswered: u16,
    pub(super) violations: u32,
    pub(super) gaps: u32,
    pub(super) stream: Option<Stream>,
    /// The socket is watched for this.
    pub(super) watched: Option<EventFlags>,
    /// Bytes of a frame that is not whole yet.
    pub(super) partial: Vec<u8>,
    /// Bytes that the kernel has not taken yet.
    pub(super) out: Vec<u8>,
    /// Subscriptions by the instrument's number and the channel.
    pub(super) subscriptions: FxHashMap<(u32, Channel), Subscription>,
    pub(super) began: u64,
    /// When it subscribed; 0: its first record has come.
    pub(super) asked_at: u64,
    pub(super) extra: Option<Box<Extra>>,
}

/// Few sessions need this.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) peer: Option<Box<dyn PeerSession>>,
    pub(super) program: Option<Program>,
    pub(super) receipts: Option<Paced>,
    /// When a throttled reader reads next.
    pub(super) read_due: u64,
    /// Lossless subscriptions that it had before it lost its connection.
    pub(super) before: HashMap<(String, Channel), Sequence>,
    pub(super) lost_at: u64,
    pub(super) attempts: u32,
    pub(super) flaps: u64,
    /// When the last probe left.
    probed_at: u64,
}

/// Sessions end for one of these reasons.
pub(super) enum End {
    Closed(u16, String),
    Broken(String),
    /// Trying again would not help.
    Refused(String),
}

impl Session {
    pub(super) fn new(plan: &Plan, number: usize, slot: usize) -> Self {
        Self { number: number as u32, slot, reader: plan.reader(number) as u8, ..Self::default() }
    }

    pub(super) fn number(&self) -> usize {
        self.number as usize
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Returns the program that works slowly, where it has one.
    pub(super) fn program(&mut self) -> Option<&mut Program> {
        self.extra.as_mut()?.program.as_mut()
    }

    pub(super) fn settings(&self, core: &Core) -> Reader {
        core.plan.kinds[usize::from(self.reader)]
    }

    pub(super) fn kind(&self, core: &Core) -> ReaderKind {
        core.plan.kinds[usize::from(self.reader)].kind
    }

    /// Returns whether it reads as fast as it can, from begin to end.
    pub(super) fn is_prompt(&self, core: &Core) -> bool {
        self.kind(core) == ReaderKind::Prompt
    }

    pub(super) fn encoding(&self, core: &Core) -> Encoding {
        core.plan.encoding(self.number()).unwrap_or(Encoding::Proto)
    }

    /// Something is due.
    pub(super) fn due(&mut self, core: &mut Core, what: Due, due: u64) {
        match (what, self.state) {
            (Due::Connect, State::Waiting) => self.connect(core),
            (Due::Subscribe, State::Shaken) => self.subscribe_with_others(core),
            (Due::Late, State::Connecting | State::Shaking | State::Subscribing) => {
                let wait = self.open_wait(core);
                if due == self.began + wait.as_nanos() as u64 {
                    self.lost(core, End::Broken(format!("no answer within {wait:?}")));
                }
            }
            (Due::Read, State::Shaking | State::Subscribing | State::Open)
                if self.is_paused && self.extra().read_due == due =>
            {
                let Reader { bytes_per_second, period, .. } = self.settings(core);
                self.extra().read_due = due + period.as_nanos() as u64;
                core.timers.add(self.extra().read_due, self.slot, Due::Read);
                self.read(core, (bytes_per_second * period.as_secs_f64()).max(1.0) as usize);
            }
            (Due::Stall, State::Open) if !self.is_settled => self.pause(core, true),
            (Due::Resume, State::Open | State::Ending) => self.pause(core, false),
            (Due::Work, State::Subscribing | State::Open)
                if self.program().is_some_and(|program| program.due == due) =>
            {
                self.work(core);
            }
            (Due::Receipt, State::Subscribing | State::Open) => {
                if let Some(receipts) = &mut self.extra().receipts {
                    receipts.is_timed = false;
                }
                self.send_receipt(core);
            }
            (Due::Storm(at), State::Open) => {
                let within = core.plan.scenario.churn.storms[usize::from(at)].within;
                self.come_back(core, within);
            }
            (Due::NoLedger, State::Ending) => {
                self.lost(core, End::Broken(format!("no ledger within {LEDGER_WAIT:?}")));
            }
            (Due::Probe, State::Open) => {
                core.timers.add(due.max(now()) + PROBE_PERIOD, self.slot, Due::Probe);
                self.extra().probed_at = now();
                self.send(core, Opcode::Ping, b"probe");
            }
            _ => {}
        }
    }

    /// The socket can be read or written, or has failed.
    pub(super) fn ready(&mut self, core: &mut Core, flags: EventFlags) {
        let Some(stream) = self.stream.as_ref() else { return };
        if self.state == State::Connecting {
            if let Some(error) = stream.socket().take_error().ok().flatten() {
                self.lost(core, End::Broken(format!("cannot connect: {error}")));
            } else if flags.contains(EventFlags::OUT) {
                self.shake(core);
            }
            return;
        }
        if flags.contains(EventFlags::OUT) {
            self.flush(core);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
            self.read(core, usize::MAX);
        }
    }

    /// Reads once, at most so many bytes, and takes what is whole.
    fn read(&mut self, core: &mut Core, most: usize) {
        let Some(stream) = self.stream.as_mut() else { return };
        let mut scratch = std::mem::take(&mut core.scratch);
        let kept = self.partial.len();
        if scratch.len() < kept * 2 {
            scratch.resize(kept * 2, 0);
        }
        scratch[..kept].copy_from_slice(&self.partial);
        let is_agreeing = stream.is_agreeing();
        match stream.read(&mut scratch[kept..], most, &mut core.sealed) {
            Ok(Brought { sealed: 0, .. }) => {
                let text = if is_agreeing {
                    "the server ended the connection before TLS was agreed on, as one does that speaks none (ws://)"
                } else {
                    "the server ended the connection without a word"
                };
                self.lost(core, End::Broken(text.to_owned()));
            }
            Ok(Brought { sealed, plain }) => {
                let time = now();
                core.read_at = time;
                core.part.flow.reads += 1;
                let reader = &mut core.part.readers[usize::from(self.reader)];
                reader.bytes += sealed as u64;
                if core.phase == Phase::Measure {
                    core.part.measured_bytes[usize::from(self.reader)] += sealed as u64;
                }
                if stream.wants_write() {
                    self.flush(core);
                }
                let bytes = &scratch[..kept + plain];
                match self.take(core, bytes, time) {
                    Ok(used) if self.stream.is_some() && used < bytes.len() => {
                        self.partial.clear();
                        self.partial.extend_from_slice(&bytes[used..]);
                    }
                    Ok(_) => self.partial = Vec::new(),
                    Err(end) => self.lost(core, end),
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.lost(core, broken(core, &error, is_agreeing)),
        }
        core.scratch = scratch;
    }

    /// Takes all that is whole; returns how many bytes that is.
    fn take(&mut self, core: &mut Core, bytes: &[u8], time: u64) -> Result<usize, End> {
        let mut used = 0;
        if self.state == State::Shaking {
            if websocket::is_tls(bytes) {
                return Err(End::Refused("the server speaks TLS: write wss://".to_owned()));
            }
            let read = websocket::read_response(bytes).map_err(|fault| End::Broken(fault.to_string()))?;
            let Some((response, end)) = read else { return Ok(0) };
            used = end;
            // Before it is cut short: half a token is one too.
            let body = String::from_utf8_lossy(&bytes[used..]).into_owned();
            let body = core.plan.redacted(self.number(), body);
            let key = websocket::key(u64::from(self.number));
            let encoding = core.plan.encoding(self.number());
            let verified = websocket::verify(&response, &body, &key, encoding);
            verified.map_err(|error| {
                let text = format!("{error:#}");
                if websocket::is_refusal(&response) { End::Refused(text) } else { End::Broken(text) }
            })?;
            self.shaken(core);
        }
        while self.stream.is_some() {
            let found = frame::find(&bytes[used..], Sender::Server, websocket::PAYLOAD_BYTES_MAX);
            let found =
                found.map_err(|fault| End::Broken(format!("it broke the rules of WebSocket: {fault}")))?;
            let Some(found) = found else { break };
            let payload = &bytes[used..][found.range()];
            used += found.end;
            self.frame(core, &found, payload, time)?;
        }
        Ok(used)
    }

    fn frame(&mut self, core: &mut Core, found: &Found, payload: &[u8], time: u64) -> Result<(), End> {
        match found.opcode {
            Opcode::Ping if self.kind(core) == ReaderKind::Silent => {}
            Opcode::Ping => {
                self.send(core, Opcode::Pong, payload);
                self.passes(core, Waiting::Ping(ping_time(payload)));
            }
            Opcode::Pong => {
                let took = time.saturating_sub(self.extra().probed_at);
                let shortest = core.part.clock.map_or(took, |(known, _)| known.min(took));
                let offset = shortest as i64 / 2 - core.nearest;
                core.part.clock = Some((shortest, offset));
                if !core.plan.address.ip().is_loopback() && core.nearest != i64::MAX {
                    core.clock_offset = offset;
                }
            }
            Opcode::Close => {
                let Close { code, text } = Close::read(payload);
                return Err(End::Closed(code.unwrap_or(1005), text.into_owned()));
            }
            opcode @ (Opcode::Text | Opcode::Binary) if found.is_last => {
                self.message(core, opcode, payload, time)?;
            }
            _ => return Err(End::Broken("a message came in fragments".to_owned())),
        }
        Ok(())
    }

    /// Appends a command; a flush sends it.
    pub(super) fn command(&mut self, core: &Core, command: &Command) {
        let encoding = self.encoding(core);
        let mut payload = Vec::new();
        encode_command(encoding, command, &mut payload);
        let opcode = if encoding.is_text() { Opcode::Text } else { Opcode::Binary };
        websocket::put(&mut self.out, opcode, &payload);
    }

    pub(super) fn send(&mut self, core: &mut Core, opcode: Opcode, payload: &[u8]) {
        websocket::put(&mut self.out, opcode, payload);
        self.flush(core);
    }

    pub(super) fn flush(&mut self, core: &Core) {
        let Some(stream) = self.stream.as_mut() else { return };
        self.is_writing = stream.write(&mut self.out);
        self.watch(core);
    }

    pub(super) fn pause(&mut self, core: &Core, is_paused: bool) {
        self.is_paused = is_paused;
        self.watch(core);
    }

    fn watch(&mut self, core: &Core) {
        let Some(stream) = self.stream.as_ref() else { return };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, !self.is_paused);
        flags.set(EventFlags::OUT, self.is_writing);
        if self.watched.replace(flags) != Some(flags) {
            let _ = epoll::modify(&core.epoll, stream.socket(), EventData::new_u64(self.slot as u64), flags);
        }
    }
}

/// The socket, or TLS over it, failed.
fn broken(core: &Core, error: &io::Error, is_agreeing: bool) -> End {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
    match of_tls {
        Some(error) => End::Refused(tls::explain(error, &core.plan.host, is_agreeing, &TLS_SETTINGS)),
        None => End::Broken(format!("the connection broke: {error}")),
    }
}
