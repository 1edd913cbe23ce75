//! A session opens: it connects, shakes hands and subscribes.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use rand::RngExt as _;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Protocol, Socket, Type};
use tickwire_machine::now;
use tickwire_wire::{Command, Resume, ResumePosition, Subscribe};

use super::session::{Account, End, OPEN_WAIT, Session, State};
use super::shared::Core;
use super::slow::{Paced, Program};
use super::stream::Stream;
use super::timers::Due;
use crate::board::Phase;
use crate::scenario::ReaderKind;
use crate::websocket;

/// Sessions of one loopback address: it has about 28,000 ports for connections.
const PER_ADDRESS: usize = 20_000;
/// Names in one command: a gateway takes 64 KiB.
const NAMES_MAX: usize = 2000;

impl Session {
    pub(super) fn connect(&mut self, core: &mut Core) {
        self.began = now();
        self.is_paused = false;
        self.out.clear();
        self.partial = Vec::new();
        if let Some(extra) = &mut self.extra {
            (extra.program, extra.receipts) = (None, None);
        }
        match open(core, self.slot, self.number()) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.watched = Some(EventFlags::OUT);
                self.state = State::Connecting;
                core.timers.add(self.began + self.open_wait(core).as_nanos() as u64, self.slot, Due::Late);
            }
            Err(error) => self.lost(core, End::Broken(format!("cannot connect: {error}"))),
        }
    }

    /// Returns how long it may take from the connect to the last answer of a subscription.
    pub(super) fn open_wait(&self, core: &Core) -> Duration {
        core.plan.open_wait(self.number(), OPEN_WAIT)
    }

    pub(super) fn shake(&mut self, core: &mut Core) {
        self.state = State::Shaking;
        if self.kind(core) == ReaderKind::Throttled && core.phase < Phase::Settle {
            // From the first byte on: what comes before the subscriptions are answered counts as well.
            self.is_paused = true;
            let first = core.rng.random_range(0..=self.settings(core).period.as_nanos() as u64);
            self.extra().read_due = now() + first;
            core.timers.add(self.extra().read_due, self.slot, Due::Read);
        }
        let key = websocket::key(u64::from(self.number));
        let encoding = core.plan.encoding(self.number());
        let (path, authorization) = core.plan.admission(self.number());
        self.out = websocket::request(&core.plan.host, &path, &key, encoding, &authorization).into_bytes();
        self.flush(core);
    }

    /// Its handshake is over: it subscribes, or waits for the others.
    pub(super) fn shaken(&mut self, core: &mut Core) {
        if core.plan.scenario.sessions.together && core.phase == Phase::Open {
            self.state = State::Shaken;
            core.counts.shaken += 1;
        } else {
            self.subscribe(core);
        }
    }

    /// All sessions have shaken hands. The time of opening counts from here.
    pub(super) fn subscribe_with_others(&mut self, core: &mut Core) {
        core.counts.shaken -= 1;
        self.began = now();
        core.timers.add(self.began + self.open_wait(core).as_nanos() as u64, self.slot, Due::Late);
        self.subscribe(core);
    }

    pub(super) fn subscribe(&mut self, core: &mut Core) {
        self.state = State::Subscribing;
        self.asked_at = now();
        self.subscriptions.clear();
        self.account = Account::Owed;
        let kind = self.kind(core);
        if kind == ReaderKind::SlowProgram {
            self.extra().program = Some(Program::new(now()));
            self.work(core);
        }
        if let Some(peer) = core.plan.scenario.peer.as_ref() {
            let mut session = peer.kind.session();
            let symbols = core.plan.symbols(self.number());
            session.open(&symbols, &mut self.out);
            self.extra().peer = Some(session);
            return self.flush(core);
        }
        let answers = !matches!(kind, ReaderKind::HalfOpen | ReaderKind::Silent);
        if answers && (self.program().is_some() || core.plan.scenario.sessions.receipts) {
            self.extra().receipts = Some(Paced::default());
        }
        let names = core.plan.names(self.number());
        let before = self.extra.iter().flat_map(|extra| &extra.before);
        let before = before.map(|((symbol, channel), sequence)| {
            let (channel, symbol) = (channel.name().to_owned(), symbol.clone());
            let (epoch, sequence) = sequence.position();
            ResumePosition { channel, symbol, epoch, sequence }
        });
        for positions in before.collect::<Vec<_>>().chunks(NAMES_MAX / 2) {
            self.command(core, &Command::Resume(Resume { id: 0, positions: positions.to_vec() }));
        }
        let sessions = &core.plan.scenario.sessions;
        self.unanswered = 0;
        for channel in &sessions.channels {
            for symbols in names.chunks(NAMES_MAX) {
                self.unanswered += 1;
                let (id, channel) = (self.unanswered.into(), channel.name().to_owned());
                let (symbols, max_rate) = (symbols.to_vec(), sessions.max_rate);
                self.command(core, &Command::Subscribe(Subscribe { id, channel, symbols, max_rate }));
            }
        }
        self.flush(core);
    }

    /// All subscriptions were answered.
    pub(super) fn opened(&mut self, core: &mut Core, time: u64) {
        self.state = State::Open;
        core.counts.live += 1;
        let lost_at = self.extra.as_mut().map_or(0, |extra| std::mem::take(&mut extra.lost_at));
        if lost_at > 0 {
            core.part.sessions.reconnects += 1;
            core.part.timed.reconnect.record(lost_at, time);
            self.extra().attempts = 0;
        } else {
            core.counts.opened += 1;
            core.part.timed.open.record(self.began, time);
            core.part.sessions.subscriptions += match core.plan.scenario.peer {
                Some(_) => core.plan.symbols(self.number()).len(),
                None => self.subscriptions.len(),
            } as u64;
        }
        if self.kind(core) == ReaderKind::HalfOpen {
            self.pause(core, true);
        }
        if self.slot == 0 {
            core.timers.add(time, self.slot, Due::Probe);
        }
        if core.phase > Phase::Measure {
            self.enter(core, core.phase);
        }
    }
}

/// Begins to connect.
fn open(core: &Core, slot: usize, number: usize) -> std::io::Result<Stream> {
    let address = core.plan.address;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    let receive_buffer = core.plan.scenario.sessions.receive_buffer;
    if receive_buffer > 0 {
        socket.set_recv_buffer_size(receive_buffer)?;
    }
    if address.is_ipv4() && address.ip().is_loopback() && core.plan.scenario.sessions.count > PER_ADDRESS {
        let host = 1 + (number / PER_ADDRESS) as u32;
        let own = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 0, 0).to_bits() + host);
        socket.bind(&SocketAddr::from((own, 0)).into())?;
    }
    if let Err(error) = socket.connect(&address.into())
        && error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error())
    {
        return Err(error);
    }
    let stream = TcpStream::from(socket);
    epoll::add(&core.epoll, &stream, EventData::new_u64(slot as u64), EventFlags::OUT)?;
    Stream::new(stream, core.plan.tls.as_ref())
}
