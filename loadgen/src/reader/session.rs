//! One session: its socket, and how far it is. Small, because there are ten thousands of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use tickwire_net::frame::{self, Close, Sender};
use tickwire_net::tls;
use tickwire_wire::{Command, Encoding, encode_command};

use super::slow::{Program, Receipts};
use super::stream::{Brought, Stream};
use super::timers::Due;
use super::{Core, MS, Phase};
use crate::clock::now;
use crate::handshake;
use crate::numbering::Numbering;
use crate::peer::PeerSession;
use crate::plan::Plan;
use crate::scenario::ReaderKind;
use crate::scenario::access::TLS_SETTINGS;
use crate::ws::{self, Opcode};

/// From the connect to the last answer of a subscription.
pub(super) const OPEN_WAIT: Duration = Duration::from_secs(30);
/// The ledger comes before anything else that waits, but behind what is under way.
pub(super) const LEDGER_WAIT: Duration = Duration::from_secs(20);
/// Of the command that asks for the ledger. Those of subscriptions count from 1.
pub(super) const LEDGER_ID: u64 = 1 << 40;
pub(super) const WORK_PERIOD: u64 = 5 * MS;
const PROBE_PERIOD: u64 = 100 * MS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Not connected, and will be.
    Waiting,
    Connecting,
    Shaking,
    Subscribing,
    Open,
    /// The ledger was asked for.
    Ending,
    Gone,
}

/// The gateway's ledger of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Account {
    Owed,
    /// Nothing follows.
    Given,
}

/// Subscriptions by instrument and channel.
pub(super) type Numberings = HashMap<u64, Numbering, BuildHasherDefault<KeyHasher>>;

/// Keys are small numbers of our own: one multiplication spreads them.
#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = product ^ product >> 32;
    }
}

/// See the module.
pub(super) struct Session {
    pub(super) number: u32,
    pub(super) reader: u8,
    pub(super) state: State,
    pub(super) is_writing: bool,
    /// Nothing is read until it is told to.
    pub(super) is_paused: bool,
    pub(super) is_settled: bool,
    pub(super) account: Account,
    pub(super) unanswered: u16,
    pub(super) violations: u32,
    pub(super) gaps: u32,
    pub(super) stream: Option<Stream>,
    /// What was read of a frame that is not whole yet.
    pub(super) partial: Vec<u8>,
    /// What the kernel has not taken yet.
    pub(super) out: Vec<u8>,
    pub(super) numberings: Numberings,
    pub(super) began: u64,
    pub(super) extra: Option<Box<Extra>>,
}

/// What few sessions need.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) peer: Option<PeerSession>,
    pub(super) program: Option<Program>,
    pub(super) receipts: Option<Receipts>,
    /// When a throttled reader reads next.
    pub(super) read_due: u64,
    /// What it had before it lost its connection.
    pub(super) before: Vec<(String, u64, Numbering)>,
    pub(super) lost_at: u64,
    pub(super) attempts: u32,
    pub(super) flaps: u64,
    /// When the last probe left.
    pub(super) probed_at: u64,
}

/// Why a session ended.
pub(super) enum End {
    Closed(u16, String),
    Broken(String),
    /// Trying again would not help.
    Refused(String),
}

impl Session {
    pub(super) fn new(plan: &Plan, number: usize) -> Self {
        Self {
            number: number as u32,
            reader: plan.reader(number) as u8,
            state: State::Waiting,
            is_writing: false,
            is_paused: false,
            is_settled: false,
            account: Account::Owed,
            unanswered: 0,
            violations: 0,
            gaps: 0,
            stream: None,
            partial: Vec::new(),
            out: Vec::new(),
            numberings: Numberings::default(),
            began: 0,
            extra: None,
        }
    }

    pub(super) fn number(&self) -> usize {
        self.number as usize
    }

    pub(super) fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// A program that works slowly.
    pub(super) fn program(&mut self) -> Option<&mut Program> {
        self.extra.as_mut()?.program.as_mut()
    }

    pub(super) fn kind(&self, core: &Core) -> ReaderKind {
        core.plan.kinds[usize::from(self.reader)]
    }

    /// Reads as fast as it can, from begin to end.
    pub(super) fn is_prompt(&self, core: &Core) -> bool {
        self.kind(core) == ReaderKind::Prompt
    }

    pub(super) fn encoding(&self, core: &Core) -> Encoding {
        core.plan.encoding(self.number()).unwrap_or(Encoding::Proto)
    }

    /// Something is due.
    pub(super) fn due(&mut self, core: &mut Core, slot: usize, what: Due, due: u64) {
        match (what, self.state) {
            (Due::Connect, State::Waiting) => self.connect(core, slot),
            (Due::Late, State::Connecting | State::Shaking | State::Subscribing)
                if due == self.began + self.open_wait(core).as_nanos() as u64 =>
            {
                let wait = self.open_wait(core);
                self.lost(core, slot, End::Broken(format!("no answer within {wait:?}")));
            }
            (Due::Read, State::Shaking | State::Subscribing | State::Open)
                if self.is_paused && self.extra().read_due == due =>
            {
                if let ReaderKind::Throttled { bytes_per_second, period } = self.kind(core) {
                    self.extra().read_due = due + period.as_nanos() as u64;
                    core.timers.add(self.extra().read_due, slot, Due::Read);
                    self.read(core, slot, (bytes_per_second * period.as_secs_f64()).max(1.0) as usize);
                }
            }
            (Due::Stall, State::Open) if !self.is_settled => self.pause(core, slot, true),
            (Due::Resume, State::Open | State::Ending) => self.pause(core, slot, false),
            (Due::Work, State::Subscribing | State::Open)
                if self.program().is_some_and(|program| program.due == due) =>
            {
                self.work(core, slot);
            }
            (Due::Receipt, State::Subscribing | State::Open) => {
                if let Some(receipts) = &mut self.extra().receipts {
                    receipts.is_timed = false;
                }
                self.send_receipt(core, slot);
            }
            (Due::Storm(at), State::Open) => {
                let within = core.plan.scenario.churn.storms[usize::from(at)].within;
                self.come_back(core, slot, within);
            }
            (Due::NoLedger, State::Ending) => {
                self.lost(core, slot, End::Broken(format!("no ledger within {LEDGER_WAIT:?}")));
            }
            (Due::Probe, State::Open) => {
                core.timers.add(due.max(now()) + PROBE_PERIOD, slot, Due::Probe);
                self.extra().probed_at = now();
                self.send(core, slot, Opcode::Ping, b"probe");
            }
            _ => {}
        }
    }

    /// The socket can be read or written, or has failed.
    pub(super) fn ready(&mut self, core: &mut Core, slot: usize, flags: EventFlags) {
        if self.stream.is_none() {
            return;
        }
        if self.state == State::Connecting {
            let error = self.stream.as_ref().and_then(|stream| stream.socket().take_error().ok().flatten());
            if let Some(error) = error {
                return self.lost(core, slot, End::Broken(format!("cannot connect: {error}")));
            }
            if flags.contains(EventFlags::OUT) {
                self.shake(core, slot);
            }
            return;
        }
        if flags.contains(EventFlags::OUT) {
            self.flush(core, slot);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
            self.read(core, slot, usize::MAX);
        }
    }

    /// Reads once, at most so many bytes, and takes what is whole.
    fn read(&mut self, core: &mut Core, slot: usize, most: usize) {
        let mut scratch = std::mem::take(&mut core.scratch);
        let kept = self.partial.len();
        if scratch.len() < kept * 2 {
            scratch.resize(kept * 2, 0);
        }
        scratch[..kept].copy_from_slice(&self.partial);
        let (mut is_agreeing, mut read) = (false, Err(ErrorKind::WouldBlock.into()));
        if let Some(stream) = self.stream.as_mut() {
            is_agreeing = stream.is_agreeing();
            read = stream.read(&mut scratch[kept..], most, &mut core.sealed);
        }
        match read {
            Ok(Brought { wire: 0, .. }) => {
                let text = if is_agreeing {
                    "the server ended the connection before TLS was agreed on, as one does that speaks none (ws://)"
                } else {
                    "the server ended the connection without a word"
                };
                self.lost(core, slot, End::Broken(text.to_owned()));
            }
            Ok(Brought { wire, plain, wants_write }) => {
                let time = now();
                core.read_at = time;
                core.part.reads += 1;
                let reader = &mut core.part.readers[usize::from(self.reader)];
                reader.bytes += wire as u64;
                reader.measured_bytes += if core.phase == Phase::Measure { wire as u64 } else { 0 };
                if wants_write {
                    self.flush(core, slot);
                }
                let bytes = &scratch[..kept + plain];
                match self.take(core, slot, bytes, time) {
                    Ok(used) if self.stream.is_some() => {
                        let rest = &bytes[used..];
                        if rest.is_empty() {
                            self.partial = Vec::new();
                        } else {
                            self.partial.clear();
                            self.partial.extend_from_slice(rest);
                        }
                    }
                    Ok(_) => self.partial = Vec::new(),
                    Err(end) => self.lost(core, slot, end),
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => self.lost(core, slot, broken(core, &error, is_agreeing)),
        }
        core.scratch = scratch;
    }

    /// Takes all that is whole; returns how many bytes that is.
    fn take(&mut self, core: &mut Core, slot: usize, bytes: &[u8], time: u64) -> Result<usize, End> {
        let mut used = 0;
        if self.state == State::Shaking {
            if handshake::is_tls(bytes) {
                return Err(End::Refused("the server speaks TLS: write wss://".to_owned()));
            }
            let read = handshake::read_response(bytes).map_err(|fault| End::Broken(fault.to_string()))?;
            let Some((response, end)) = read else { return Ok(0) };
            // Before it is cut short: half a token is one too.
            let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
            let body = core.plan.redacted(self.number(), body);
            let key = handshake::key(u64::from(self.number));
            let encoding = core.plan.encoding(self.number());
            let verified = handshake::verify(&response, &body, &key, encoding);
            verified.map_err(|error| {
                let text = format!("{error:#}");
                if handshake::is_refusal(&response) { End::Refused(text) } else { End::Broken(text) }
            })?;
            used = end;
            self.subscribe(core, slot);
        }
        loop {
            let found = frame::find(&bytes[used..], Sender::Server, ws::PAYLOAD_BYTES_MAX);
            let found =
                found.map_err(|fault| End::Broken(format!("it broke the rules of WebSocket: {fault}")))?;
            let Some(found) = found else { return Ok(used) };
            let payload = &bytes[used..][found.range()];
            used += found.end;
            self.frame(core, slot, (found.opcode, found.is_last), payload, time)?;
            if self.stream.is_none() {
                return Ok(used);
            }
        }
    }

    fn frame(
        &mut self,
        core: &mut Core,
        slot: usize,
        (opcode, is_final): (Opcode, bool),
        payload: &[u8],
        time: u64,
    ) -> Result<(), End> {
        match opcode {
            Opcode::Ping => {
                if self.kind(core) != ReaderKind::Silent {
                    self.send(core, slot, Opcode::Pong, payload);
                    self.ping_read(core, slot, payload);
                }
            }
            Opcode::Pong => {
                let took = time.saturating_sub(self.extra().probed_at);
                let shortest = core.part.round_trip_ns.map_or(took, |known| known.min(took));
                core.part.round_trip_ns = Some(shortest);
                core.part.clock_offset_ns = Some(shortest as i64 / 2 - core.nearest);
                if !core.plan.address.ip().is_loopback() && core.nearest != i64::MAX {
                    core.clock_offset = shortest as i64 / 2 - core.nearest;
                }
            }
            Opcode::Close => {
                let Close { code, text } = Close::read(payload);
                return Err(End::Closed(code.unwrap_or(1005), text.into_owned()));
            }
            Opcode::Text | Opcode::Binary if is_final => self.message(core, slot, opcode, payload, time)?,
            _ => return Err(End::Broken("a message came in fragments".to_owned())),
        }
        Ok(())
    }

    pub(super) fn command(&mut self, core: &Core, command: &Command) {
        let encoding = self.encoding(core);
        let mut payload = Vec::new();
        encode_command(encoding, command, &mut payload);
        let opcode = if encoding.is_text() { Opcode::Text } else { Opcode::Binary };
        ws::put(&mut self.out, opcode, &payload);
        self.is_writing = true;
    }

    pub(super) fn send(&mut self, core: &mut Core, slot: usize, opcode: Opcode, payload: &[u8]) {
        ws::put(&mut self.out, opcode, payload);
        self.is_writing = true;
        self.flush(core, slot);
    }

    /// Appends what was answered to a message already.
    pub(super) fn answer(&mut self, core: &mut Core, slot: usize, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.is_writing = true;
        self.flush(core, slot);
    }

    pub(super) fn flush(&mut self, core: &mut Core, slot: usize) {
        let Some(stream) = self.stream.as_mut() else { return };
        let is_writing = stream.write(&mut self.out);
        if is_writing || self.is_writing {
            self.is_writing = is_writing;
            self.watch(core, slot);
        }
    }

    pub(super) fn pause(&mut self, core: &mut Core, slot: usize, is_paused: bool) {
        self.is_paused = is_paused;
        self.watch(core, slot);
    }

    fn watch(&self, core: &Core, slot: usize) {
        let Some(stream) = self.stream.as_ref() else { return };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, !self.is_paused);
        flags.set(EventFlags::OUT, self.is_writing);
        let _ = epoll::modify(&core.epoll, stream.socket(), EventData::new_u64(slot as u64), flags);
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

/// Key of a subscription.
pub(super) fn key(instrument: u32, channel: u8) -> u64 {
    u64::from(instrument) << 3 | u64::from(channel)
}
