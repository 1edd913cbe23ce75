//! One session: its socket, and how far it is. Small, because there are ten thousands of them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt as _;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};
use tickwire_wire::{
    Command, Encoding, LedgerRequest, Receipt, Resume, ResumePosition, Subscribe, Unsubscribe, encode_command,
};

use super::slow::Program;
use super::timers::Due;
use super::{Core, MS, Phase};
use crate::clock::now;
use crate::handshake;
use crate::numbering::Numbering;
use crate::peer::PeerSession;
use crate::plan::Plan;
use crate::scenario::ReaderKind;
use crate::source;
use crate::ws::{self, Front, Opcode};

/// From the connect to the last answer of a subscription.
const OPEN_WAIT: Duration = Duration::from_secs(30);
/// The ledger comes before anything else that waits, but behind what is under way.
const LEDGER_WAIT: Duration = Duration::from_secs(20);
/// Of the command that asks for the ledger. Those of subscriptions count from 1.
pub(super) const LEDGER_ID: u64 = 1 << 40;
/// Commands beyond those of the opening.
const FLAP_ID: u64 = 1 << 20;
const RECEIPT_PERIOD: u64 = 100 * MS;
const WORK_PERIOD: u64 = 5 * MS;
const PROBE_PERIOD: u64 = 100 * MS;
/// Sessions of one loopback address: it has about 28,000 ports for connections.
const PER_ADDRESS: usize = 20_000;
/// Names in one command: a gateway takes 64 KiB.
const NAMES_MAX: usize = 2000;
/// First wait before a lost session connects again; a random part of it is waited, and it doubles.
const BACK_OFF: Duration = Duration::from_millis(500);

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
    is_writing: bool,
    /// Nothing is read until it is told to.
    is_paused: bool,
    pub(super) is_settled: bool,
    pub(super) unanswered: u16,
    pub(super) violations: u32,
    pub(super) gaps: u32,
    stream: Option<TcpStream>,
    /// What was read of a frame that is not whole yet.
    partial: Vec<u8>,
    /// What the kernel has not taken yet.
    out: Vec<u8>,
    pub(super) numberings: Numberings,
    pub(super) began: u64,
    pub(super) extra: Option<Box<Extra>>,
}

/// What few sessions need.
#[derive(Default)]
pub(super) struct Extra {
    pub(super) peer: Option<PeerSession>,
    pub(super) program: Option<Program>,
    /// What it had before it lost its connection.
    pub(super) before: Vec<(String, u64, Numbering)>,
    pub(super) lost_at: u64,
    attempts: u32,
    flaps: u64,
    /// When the last probe left.
    probed_at: u64,
    pub(super) last_sent: u64,
}

/// Why a session ended.
pub(super) enum End {
    Closed(u16, String),
    Broken(String),
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

    pub(super) fn kind(&self, core: &Core) -> ReaderKind {
        core.plan.kinds[usize::from(self.reader)]
    }

    pub(super) fn encoding(&self, core: &Core) -> Encoding {
        core.plan.encoding(self.number()).unwrap_or(Encoding::Proto)
    }

    /// Something is due.
    pub(super) fn due(&mut self, core: &mut Core, slot: usize, what: Due, due: u64) {
        match (what, self.state) {
            (Due::Connect, State::Waiting) => self.connect(core, slot),
            (Due::Late, State::Connecting | State::Shaking | State::Subscribing)
                if now() >= self.began + OPEN_WAIT.as_nanos() as u64 =>
            {
                self.lost(core, slot, End::Broken(format!("no answer within {OPEN_WAIT:?}")));
            }
            (Due::Read, State::Open) if !self.is_settled => {
                if let ReaderKind::Throttled { bytes_per_second, period } = self.kind(core) {
                    core.timers.add(due + period.as_nanos() as u64, slot, Due::Read);
                    self.read(core, slot, (bytes_per_second * period.as_secs_f64()).max(1.0) as usize);
                }
            }
            (Due::Stall, State::Open) if !self.is_settled => self.pause(core, slot, true),
            (Due::Resume, State::Open | State::Ending) => self.pause(core, slot, false),
            (Due::Work, State::Open) => {
                core.timers.add(due.max(now()) + WORK_PERIOD, slot, Due::Work);
                self.work(core);
            }
            (Due::Receipt, State::Open) => {
                core.timers.add(due.max(now()) + RECEIPT_PERIOD, slot, Due::Receipt);
                self.receipt(core, slot);
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

    fn connect(&mut self, core: &mut Core, slot: usize) {
        self.began = now();
        self.is_paused = false;
        self.out.clear();
        self.partial = Vec::new();
        match open(core, slot, self.number()) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.state = State::Connecting;
                core.timers.add(self.began + OPEN_WAIT.as_nanos() as u64, slot, Due::Late);
            }
            Err(error) => self.lost(core, slot, End::Broken(format!("cannot connect: {error}"))),
        }
    }

    /// The socket can be read or written, or has failed.
    pub(super) fn ready(&mut self, core: &mut Core, slot: usize, flags: EventFlags) {
        if self.stream.is_none() {
            return;
        }
        if self.state == State::Connecting {
            let error = self.stream.as_ref().and_then(|stream| stream.take_error().ok().flatten());
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

    fn shake(&mut self, core: &mut Core, slot: usize) {
        self.state = State::Shaking;
        let key = handshake::key(u64::from(self.number));
        let encoding = core.plan.encoding(self.number());
        self.out = handshake::request(&core.plan.host, &core.plan.path, &key, encoding).into_bytes();
        self.is_writing = true;
        self.flush(core, slot);
    }

    /// Reads once, at most so many bytes, and takes what is whole.
    fn read(&mut self, core: &mut Core, slot: usize, most: usize) {
        let mut scratch = std::mem::take(&mut core.scratch);
        let kept = self.partial.len();
        if scratch.len() < kept * 2 {
            scratch.resize(kept * 2, 0);
        }
        scratch[..kept].copy_from_slice(&self.partial);
        let until = scratch.len().min(kept.saturating_add(most));
        let read = match self.stream.as_ref() {
            Some(mut stream) => stream.read(&mut scratch[kept..until]),
            None => Err(ErrorKind::WouldBlock.into()),
        };
        match read {
            Ok(0) => self.lost(
                core,
                slot,
                End::Broken("the server ended the connection without a word".to_owned()),
            ),
            Ok(count) => {
                let time = now();
                core.part.reads += 1;
                let reader = &mut core.part.readers[usize::from(self.reader)];
                reader.bytes += count as u64;
                reader.measured_bytes += if core.phase == Phase::Measure { count as u64 } else { 0 };
                let bytes = &scratch[..kept + count];
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
            Err(error) => self.lost(core, slot, End::Broken(format!("the connection broke: {error}"))),
        }
        core.scratch = scratch;
    }

    /// Takes all that is whole; returns how many bytes that is.
    fn take(&mut self, core: &mut Core, slot: usize, bytes: &[u8], time: u64) -> Result<usize, End> {
        let mut used = 0;
        if self.state == State::Shaking {
            let Some(end) = handshake::head_end(bytes) else {
                return if bytes.len() < handshake::HEAD_BYTES_MAX {
                    Ok(0)
                } else {
                    Err(End::Broken("it answers with too long a head".to_owned()))
                };
            };
            let (head, body) =
                (String::from_utf8_lossy(&bytes[..end]), String::from_utf8_lossy(&bytes[end..]));
            let key = handshake::key(u64::from(self.number));
            let encoding = core.plan.encoding(self.number());
            let verified = handshake::verify(&head, &body, &key, encoding);
            verified.map_err(|error| End::Broken(format!("{error:#}")))?;
            used = end;
            self.subscribe(core, slot);
        }
        loop {
            match ws::front(&bytes[used..]) {
                Front::Frame { opcode, is_final, head, length } => {
                    let payload = &bytes[used + head..used + head + length];
                    used += head + length;
                    self.frame(core, slot, (opcode, is_final), payload, time)?;
                    if self.stream.is_none() {
                        return Ok(used);
                    }
                }
                Front::Part { .. } => return Ok(used),
                Front::Wrong(reason) => return Err(End::Broken(reason.to_owned())),
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
                if payload.len() > ws::CONTROL_BYTES_MAX {
                    return Err(End::Broken("a ping of more than 125 bytes".to_owned()));
                }
                if self.kind(core) != ReaderKind::Silent {
                    self.send(core, slot, Opcode::Pong, payload);
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
                return Err(match payload {
                    [high, low, text @ ..] => End::Closed(
                        u16::from_be_bytes([*high, *low]),
                        String::from_utf8_lossy(text).into_owned(),
                    ),
                    _ => End::Closed(1005, String::new()),
                });
            }
            Opcode::Text | Opcode::Binary if is_final => self.message(core, slot, opcode, payload, time)?,
            _ => return Err(End::Broken("a message came in fragments".to_owned())),
        }
        Ok(())
    }

    fn subscribe(&mut self, core: &mut Core, slot: usize) {
        self.state = State::Subscribing;
        self.numberings = Numberings::default();
        if let Some(peer) = core.plan.scenario.peer.as_ref() {
            let mut session = peer.kind.session();
            let symbols = core.plan.symbols(self.number());
            session.open(&symbols, &mut self.out);
            self.extra().peer = Some(session);
            self.is_writing = true;
            return self.flush(core, slot);
        }
        let names = core.plan.names(self.number());
        let before = self.extra.as_ref().map_or(Vec::new(), |extra| {
            let position = |(symbol, epoch, numbering): &(String, u64, Numbering)| ResumePosition {
                channel: numbering.channel().name().to_owned(),
                symbol: symbol.clone(),
                epoch: *epoch,
                sequence: numbering.position().1,
            };
            extra.before.iter().map(position).collect()
        });
        for positions in before.chunks(NAMES_MAX / 2) {
            self.command(core, &Command::Resume(Resume { id: 0, positions: positions.to_vec() }));
        }
        let max_rate = core.plan.scenario.sessions.max_rate;
        let channels: Vec<_> =
            core.plan.scenario.sessions.channels.iter().map(|channel| channel.name()).collect();
        self.unanswered = 0;
        for channel in channels {
            for symbols in names.chunks(NAMES_MAX) {
                self.unanswered += 1;
                let (id, channel, symbols) =
                    (u64::from(self.unanswered), channel.to_owned(), symbols.to_vec());
                self.command(core, &Command::Subscribe(Subscribe { id, channel, symbols, max_rate }));
            }
        }
        self.flush(core, slot);
    }

    /// All subscriptions were answered.
    pub(super) fn opened(&mut self, core: &mut Core, slot: usize, time: u64) {
        self.state = State::Open;
        core.open += 1;
        let counts = &core.shared.counts;
        counts.live.fetch_add(1, Ordering::Relaxed);
        let lost_at = self.extra.as_mut().map_or(0, |extra| std::mem::take(&mut extra.lost_at));
        if lost_at > 0 {
            core.part.reconnects += 1;
            core.part.reconnect.record(lost_at, time);
            self.extra().attempts = 0;
        } else {
            counts.opened.fetch_add(1, Ordering::Relaxed);
            core.part.open.record(self.began, time);
            core.part.subscriptions += match core.plan.scenario.peer {
                Some(_) => core.plan.symbols(self.number()).len(),
                None => self.numberings.len(),
            } as u64;
        }
        match self.kind(core) {
            ReaderKind::Throttled { period, .. } if core.phase < Phase::Settle => {
                self.pause(core, slot, true);
                let first = core.rng.random_range(0..=period.as_nanos() as u64);
                core.timers.add(time + first, slot, Due::Read);
            }
            ReaderKind::HalfOpen => self.pause(core, slot, true),
            ReaderKind::SlowProgram { .. } => {
                let program = self.extra().program.get_or_insert_default();
                program.work(time, 0.0, |_| {});
                core.timers.add(time + WORK_PERIOD, slot, Due::Work);
                core.timers.add(time + RECEIPT_PERIOD, slot, Due::Receipt);
            }
            _ => {}
        }
        if core.plan.scenario.sessions.receipts && self.kind(core) == ReaderKind::Prompt {
            core.timers.add(time + RECEIPT_PERIOD, slot, Due::Receipt);
        }
        if slot == 0 {
            core.timers.add(time, slot, Due::Probe);
        }
        if core.phase > Phase::Measure {
            self.enter(core, slot, core.phase);
        }
    }

    fn work(&mut self, core: &mut Core) {
        let ReaderKind::SlowProgram { records_per_second } = self.kind(core) else { return };
        let rate = if self.is_settled { f64::INFINITY } else { records_per_second };
        let reader = usize::from(self.reader);
        let Some(program) = self.extra.as_mut().and_then(|extra| extra.program.as_mut()) else { return };
        let time = now();
        program.work(time, rate.min(1e12), |record| {
            if core.is_measured(record.event_time) {
                core.part.age(reader, record.channel, record.event_time, time);
                core.seconds.age(reader, record.event_time, time);
            }
        });
    }

    fn receipt(&mut self, core: &mut Core, slot: usize) {
        let time = now();
        let extra = self.extra();
        let (sent_time, reader_lag_ns) = match &extra.program {
            Some(program) => (program.done, program.lag(time)),
            None => (extra.last_sent, 0),
        };
        if sent_time > 0 {
            self.command(core, &Command::Receipt(Receipt { sent_time, reader_lag_ns }));
            self.flush(core, slot);
        }
    }

    /// Drops one symbol and takes it again.
    pub(super) fn flap(&mut self, core: &mut Core, slot: usize) {
        if self.state != State::Open
            || core.plan.scenario.peer.is_some()
            || core.plan.scenario.source.is_running
        {
            return;
        }
        let symbols = core.plan.symbols(self.number());
        let symbol = crate::plan::name(symbols[core.rng.random_range(0..symbols.len())]);
        let channel = core.plan.scenario.sessions.channels[0].name().to_owned();
        let extra = self.extra();
        extra.flaps += 1;
        let id = FLAP_ID + 2 * extra.flaps;
        let symbols = vec![symbol];
        let max_rate = core.plan.scenario.sessions.max_rate;
        let (again, again_symbols) = (channel.clone(), symbols.clone());
        self.command(core, &Command::Unsubscribe(Unsubscribe { id, channel, symbols }));
        let subscribe = Subscribe { id: id + 1, channel: again, symbols: again_symbols, max_rate };
        self.command(core, &Command::Subscribe(subscribe));
        self.flush(core, slot);
    }

    pub(super) fn enter(&mut self, core: &mut Core, slot: usize, phase: Phase) {
        let kind = self.kind(core);
        match (phase, self.state) {
            (Phase::Settle, State::Open) => {
                self.is_settled = true;
                if kind != ReaderKind::HalfOpen {
                    self.pause(core, slot, false);
                }
            }
            (Phase::Finish, State::Open)
                if kind == ReaderKind::HalfOpen || core.plan.scenario.peer.is_some() =>
            {
                self.end(core, slot);
            }
            (Phase::Finish, State::Open) => {
                self.is_settled = true;
                self.work(core);
                self.pause(core, slot, false);
                self.state = State::Ending;
                core.timers.add(now() + LEDGER_WAIT.as_nanos() as u64, slot, Due::NoLedger);
                self.command(core, &Command::Ledger(LedgerRequest { id: LEDGER_ID }));
                self.flush(core, slot);
            }
            (Phase::Finish, State::Ending | State::Gone) => {}
            (Phase::Finish, _) => {
                self.lost(core, slot, End::Broken("it was not open when the run ended".to_owned()));
            }
            _ => {}
        }
    }

    /// Its ledger came, or it has none: it closes.
    pub(super) fn end(&mut self, core: &mut Core, slot: usize) {
        if core.plan.scenario.peer.is_some() {
            self.check_finals(core);
        }
        if self.kind(core) != ReaderKind::HalfOpen {
            self.send(core, slot, Opcode::Close, &1000_u16.to_be_bytes());
        }
        if self.stream.take().is_some() {
            core.open = core.open.saturating_sub(1);
            core.shared.counts.live.fetch_sub(1, Ordering::Relaxed);
        }
        if self.state != State::Gone {
            self.state = State::Gone;
            core.gone += 1;
        }
        self.numberings = Numberings::default();
    }

    /// The connection is gone: as planned, for a while, or against the plan.
    pub(super) fn lost(&mut self, core: &mut Core, slot: usize, end: End) {
        let kind = self.kind(core);
        let was_open = matches!(self.state, State::Open | State::Ending);
        if self.state == State::Gone {
            return;
        }
        let may_return = core.plan.scenario.churn.reconnects() && core.phase < Phase::Finish;
        if may_return && (was_open || self.extra.as_ref().is_some_and(|extra| extra.lost_at > 0)) {
            let attempts = self.extra().attempts;
            self.extra().attempts += 1;
            return self.come_back(core, slot, BACK_OFF * (1 << attempts.min(3)));
        }
        let text = match end {
            End::Closed(code, text) => format!("closed by the server: {code} {text}"),
            End::Broken(text) => text,
        };
        let counts = &core.shared.counts;
        if self.stream.take().is_some() && was_open {
            core.open = core.open.saturating_sub(1);
            counts.live.fetch_sub(1, Ordering::Relaxed);
        }
        self.state = State::Gone;
        core.gone += 1;
        let number = self.number;
        if was_open && kind.may_be_closed() {
            core.part.closed_as_expected += 1;
        } else if was_open || self.extra.as_ref().is_some_and(|extra| extra.lost_at > 0) {
            counts.ended_early.fetch_add(1, Ordering::Relaxed);
            core.part.ended_early.note(|| format!("session {number}: {text}"));
        } else {
            counts.not_opened.fetch_add(1, Ordering::Relaxed);
            core.part.not_opened.note(|| format!("session {number}: {text}"));
        }
        self.numberings = Numberings::default();
    }

    /// Cuts the connection and connects again after a random part of `within`; what it had of lossless channels, it
    /// resumes.
    fn come_back(&mut self, core: &mut Core, slot: usize, within: Duration) {
        if matches!(self.state, State::Open | State::Ending) {
            core.open = core.open.saturating_sub(1);
            core.shared.counts.live.fetch_sub(1, Ordering::Relaxed);
        }
        self.stream = None;
        self.state = State::Waiting;
        let mut before = Vec::new();
        for (key, numbering) in self.numberings.drain() {
            if numbering.channel().is_lossless()
                && let Some(name) = core.names.get(&((key >> 3) as u32))
            {
                before.push((name.clone(), numbering.position().0, numbering));
            }
        }
        let extra = self.extra();
        if !before.is_empty() {
            extra.before = before;
        }
        let time = now();
        if extra.lost_at == 0 {
            extra.lost_at = time;
        }
        let wait = core.rng.random_range(0..=within.as_nanos() as u64);
        core.timers.add(time + wait, slot, Due::Connect);
    }

    fn command(&mut self, core: &Core, command: &Command) {
        let encoding = self.encoding(core);
        let mut payload = Vec::new();
        encode_command(encoding, command, &mut payload);
        let opcode = if encoding.is_text() { Opcode::Text } else { Opcode::Binary };
        ws::put(&mut self.out, opcode, &payload);
        self.is_writing = true;
    }

    fn send(&mut self, core: &mut Core, slot: usize, opcode: Opcode, payload: &[u8]) {
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

    fn flush(&mut self, core: &mut Core, slot: usize) {
        let Some(mut stream) = self.stream.as_ref() else { return };
        let mut written = 0;
        while written < self.out.len() {
            match stream.write(&self.out[written..]) {
                Ok(count) => written += count,
                // A connection that failed says so when it is read.
                Err(_) => break,
            }
        }
        self.out.drain(..written);
        if self.out.is_empty() {
            self.out = Vec::new();
        }
        let is_writing = !self.out.is_empty();
        if is_writing || self.is_writing {
            self.is_writing = is_writing;
            self.watch(core, slot);
        }
    }

    fn pause(&mut self, core: &mut Core, slot: usize, is_paused: bool) {
        self.is_paused = is_paused;
        self.watch(core, slot);
    }

    fn watch(&self, core: &Core, slot: usize) {
        let Some(stream) = self.stream.as_ref() else { return };
        let mut flags = EventFlags::empty();
        flags.set(EventFlags::IN, !self.is_paused);
        flags.set(EventFlags::OUT, self.is_writing);
        let _ = epoll::modify(&core.epoll, stream, EventData::new_u64(slot as u64), flags);
    }
}

/// Begins to connect.
fn open(core: &Core, slot: usize, number: usize) -> std::io::Result<TcpStream> {
    let address = core.plan.address;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    let receive_buffer = core.plan.scenario.sessions.receive_buffer;
    if receive_buffer > 0 {
        socket.set_recv_buffer_size(receive_buffer)?;
    }
    if let SocketAddr::V4(v4) = address
        && v4.ip().is_loopback()
        && core.plan.scenario.sessions.count > PER_ADDRESS
    {
        let host = 1 + (number / PER_ADDRESS) as u32;
        let own = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 0, 0).to_bits() + host);
        socket.bind(&SocketAddr::from((own, 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            return Err(error);
        }
        _ => {}
    }
    let stream = TcpStream::from(socket);
    epoll::add(&core.epoll, &stream, EventData::new_u64(slot as u64), EventFlags::OUT)?;
    Ok(stream)
}

/// Key of a subscription.
pub(super) fn key(instrument: u32, channel: u8) -> u64 {
    u64::from(instrument) << 3 | u64::from(channel)
}

/// Index of a symbol of the own source, from its instrument's id.
pub(super) fn own_symbol(instrument: u32) -> Option<u32> {
    instrument.checked_sub(source::INSTRUMENT_BASE + 1)
}
