//! A reading thread: an event loop of its own over the sockets of its sessions. One buffer for all reads, frames and
//! records scanned in place, nothing allocated per record.

mod closing;
mod doing;
mod looks;
mod opening;
mod records;
mod second;
mod session;
mod slow;
mod stream;
mod timers;
mod updates;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::thread::sched_yield;

use crate::clock::{now, thread_cpu};
use crate::machine::{self, run_delay};
use crate::part::Part;
use crate::plan::Plan;
use crate::scenario::ReaderKind;
use crate::source;

use self::looks::Looks;
use self::second::Seconds;
pub(crate) use self::second::{SecondPart, histogram};
use self::session::Session;
use self::timers::{Due, Timers};

/// How often a thread looks at the phase when nothing comes, and how late it is then.
const TURN: Duration = Duration::from_millis(10);
const EVENTS_MAX: usize = 512;
/// So long after the last bytes it looks for more before it sleeps. On loopback the sender pays for waking who sleeps, most of
/// all in a virtual machine: a server would be charged for that with each of its writes, and on a network it never is.
const STAY_AWAKE: Duration = Duration::from_micros(50);
/// Enough for what a socket holds, small enough to stay in a cache of second level.
const SCRATCH_BYTES: usize = 256 << 10;
const MS: u64 = 1_000_000;

/// Where a run stands. Later phases are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Sessions open; what comes is checked, and not measured.
    Open,
    Measure,
    /// The source stopped: everybody reads promptly, until last values are there.
    Settle,
    /// Sessions ask for their ledgers, and end.
    Finish,
}

impl Phase {
    const ALL: [Self; 4] = [Self::Open, Self::Measure, Self::Settle, Self::Finish];
}

/// What all threads and whoever conducts them see of each other.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    phase: AtomicU8,
    /// Intended times of what is measured, nanoseconds since the Unix epoch.
    pub(crate) window_from: AtomicU64,
    pub(crate) window_to: AtomicU64,
    pub(crate) counts: Counts,
    /// Last quote of each symbol of the own source: number and intended time. Comes with [`Phase::Settle`].
    pub(crate) finals: OnceLock<Vec<(u64, u64)>>,
    pub(crate) seconds: Mutex<Vec<SecondPart>>,
}

/// Counts while it goes on, of all threads.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: AtomicU64,
    pub(crate) not_opened: AtomicU64,
    pub(crate) ended_early: AtomicU64,
    /// Open now.
    pub(crate) live: AtomicU64,
    pub(crate) violations: AtomicU64,
    /// Subscriptions that have not the last value yet, and threads that said so.
    pub(crate) behind: AtomicU64,
    pub(crate) settled: AtomicU64,
}

impl Shared {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Acquire))]
    }

    pub(crate) fn tell(&self, second: SecondPart) {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).push(second);
    }
}

/// What sessions share within a thread.
struct Core {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    epoll: OwnedFd,
    timers: Timers,
    part: Part,
    seconds: Seconds,
    scratch: Vec<u8>,
    /// What TLS makes plain; empty without.
    sealed: Vec<u8>,
    phase: Phase,
    window: (u64, u64),
    /// Server's clock minus ours, taken out of what came from there.
    clock_offset: i64,
    /// Smallest difference of own clock and send time.
    nearest: i64,
    names: HashMap<u32, String>,
    rng: ChaCha8Rng,
    until_hop: u32,
    /// When the last read ended that brought something.
    read_at: u64,
    open: usize,
    gone: usize,
}

/// The sessions of one thread.
struct Loop {
    core: Core,
    sessions: Vec<Session>,
}

/// Runs the sessions whose number is `at`, `at` + `threads`, and so on, to their end.
///
/// # Errors
/// When the system refuses what a loop needs.
pub(crate) fn run(plan: &Arc<Plan>, shared: Arc<Shared>, at: usize, threads: usize) -> anyhow::Result<Part> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot watch sockets")?;
    let numbers = (at..plan.scenario.sessions.count).step_by(threads);
    let resident_before = machine::resident_bytes();
    let kinds = plan.kinds.len();
    let mut all = Loop {
        core: Core {
            epoll,
            timers: Timers::default(),
            part: Part::new(kinds),
            seconds: Seconds::new(kinds),
            scratch: vec![0; SCRATCH_BYTES],
            sealed: vec![0; if plan.tls.is_some() { SCRATCH_BYTES } else { 0 }],
            phase: Phase::Open,
            window: (u64::MAX, u64::MAX),
            clock_offset: 0,
            nearest: i64::MAX,
            names: HashMap::new(),
            rng: ChaCha8Rng::seed_from_u64(source::mix(plan.scenario.seed ^ at as u64)),
            until_hop: 0,
            read_at: 0,
            open: 0,
            gone: 0,
            plan: Arc::clone(plan),
            shared,
        },
        sessions: numbers.clone().map(|number| Session::new(plan, number)).collect(),
    };
    let (begin, ramp) = (now(), plan.scenario.sessions.ramp());
    for (slot, number) in numbers.enumerate() {
        let due = ramp.mul_f64(number as f64 / plan.scenario.sessions.count as f64);
        all.core.timers.add(begin + due.as_nanos() as u64, slot, Due::Connect);
        let part = &mut all.core.part;
        part.readers[plan.reader(number)].sessions += 1;
    }
    all.core.part.resident_bytes_before = resident_before;
    all.run()?;
    Ok(all.core.part)
}

impl Loop {
    fn run(&mut self) -> anyhow::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let (mut cpu, mut delay, mut began) = (thread_cpu(), run_delay(), now());
        let mut tick = now() + TURN.as_nanos() as u64;
        let (mut awake_until, mut spun) = (0, Duration::ZERO);
        let mut looks = Looks::new(began);
        while self.core.gone < self.sessions.len() {
            let phase = self.core.shared.phase();
            let from = self.core.shared.window_from.load(Ordering::Acquire);
            if phase != self.core.phase || (phase == Phase::Measure && from != self.core.window.0) {
                if phase == Phase::Measure {
                    (cpu, delay, began, spun) = (thread_cpu(), run_delay(), now(), Duration::ZERO);
                } else if self.core.phase == Phase::Measure {
                    self.measured(cpu + spun, delay, began);
                }
                self.core.phase = phase;
                self.enter(phase);
            }
            let due = self.core.timers.next().map_or(tick, |due| due.min(tick));
            let is_awake = now() < awake_until;
            if is_awake {
                sched_yield();
            }
            let slept = now();
            let wait = Duration::from_nanos(if is_awake { 0 } else { due.saturating_sub(slept) });
            let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
            events.clear();
            match epoll::wait(&self.core.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot watch sockets"),
            }
            let woken = now();
            let since = looks.since(slept, due, woken);
            for event in &events {
                let slot = event.data.u64() as usize;
                let before = self.core.seconds.records;
                self.sessions[slot].ready(&mut self.core, slot, event.flags);
                let core = &mut self.core;
                if core.phase == Phase::Measure && core.seconds.records > before {
                    // Each record is one: a look that brings thousands late is not one that brings none.
                    let waited = core.read_at.saturating_sub(since);
                    core.part.lag.record_many(waited, core.seconds.records - before);
                }
            }
            looks.looked(woken, since, events.len() == events.capacity());
            let mut time = now();
            if events.is_empty() {
                spun += Duration::from_nanos(if is_awake { time - slept } else { 0 });
            } else {
                awake_until = time + STAY_AWAKE.as_nanos() as u64;
            }
            while let Some((due, slot, what)) = self.core.timers.pop(time) {
                self.sessions[slot].due(&mut self.core, slot, what, due);
            }
            if time >= tick {
                if self.core.phase == Phase::Measure {
                    self.core.part.lag.record(tick.max(began), woken.max(tick));
                }
                self.tick(time);
                time = now();
                tick = time + TURN.as_nanos() as u64;
            }
        }
        Ok(())
    }

    /// Once each turn of the clock.
    fn tick(&mut self, time: u64) {
        let core = &mut self.core;
        if let Some(second) = core.seconds.turn(time, core.open as u64) {
            core.shared.tell(second);
        }
        if core.phase == Phase::Settle {
            self.look_behind();
        }
        let flaps = self.core.plan.scenario.churn.flaps_per_second;
        if flaps > 0.0 && self.core.phase == Phase::Measure {
            let share = self.sessions.len() as f64 / self.core.plan.scenario.sessions.count as f64;
            let chance = flaps * share * TURN.as_secs_f64();
            let whole = chance.floor() + f64::from(self.core.rng.random::<f64>() < chance.fract());
            for _ in 0..whole as u64 {
                let slot = self.core.rng.random_range(0..self.sessions.len());
                self.sessions[slot].flap(&mut self.core, slot);
            }
        }
    }

    fn enter(&mut self, phase: Phase) {
        let core = &mut self.core;
        core.window =
            (core.shared.window_from.load(Ordering::Acquire), core.shared.window_to.load(Ordering::Acquire));
        match phase {
            Phase::Open => {}
            Phase::Measure => {
                core.part.measure_anew();
                core.part.resident_bytes = machine::resident_bytes();
                core.seconds.start(core.window.0);
                self.plan_churn();
            }
            Phase::Settle | Phase::Finish => {
                for (slot, session) in self.sessions.iter_mut().enumerate() {
                    session.enter(&mut self.core, slot, phase);
                }
            }
        }
    }

    /// Storms and stalls, from the begin of measuring.
    fn plan_churn(&mut self) {
        let (plan, from) = (Arc::clone(&self.core.plan), self.core.window.0);
        for (slot, session) in self.sessions.iter().enumerate() {
            for (at, storm) in plan.scenario.churn.storms.iter().enumerate() {
                if plan.is_in_storm(at, session.number()) {
                    self.core.timers.add(from + storm.at.as_nanos() as u64, slot, Due::Storm(at as u8));
                }
            }
            if let ReaderKind::Stalled { at, lasting } = plan.kinds[plan.reader(session.number())] {
                let at = from + at.as_nanos() as u64;
                self.core.timers.add(at, slot, Due::Stall);
                self.core.timers.add(at + lasting.as_nanos() as u64, slot, Due::Resume);
            }
        }
    }

    fn measured(&mut self, cpu: Duration, delay: Option<Duration>, began: u64) {
        let seconds = (now().saturating_sub(began) as f64 / 1e9).max(1e-6);
        let used = thread_cpu().saturating_sub(cpu).as_secs_f64();
        let part = &mut self.core.part;
        part.cpu_seconds.push(used);
        part.cpu_share.push(used / seconds);
        let waited = run_delay().zip(delay).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
        part.waited_share = waited.unwrap_or(0.0) / seconds;
    }

    /// How many subscriptions have not got what was published last.
    fn look_behind(&mut self) {
        let Some(finals) = self.core.shared.finals.get() else { return };
        let behind: u64 = self.sessions.iter().map(|session| session.behind(finals)).sum();
        let before = self.core.seconds.behind.replace(behind);
        let counts = &self.core.shared.counts;
        match before {
            None => {
                counts.behind.fetch_add(behind, Ordering::AcqRel);
                counts.settled.fetch_add(1, Ordering::AcqRel);
            }
            Some(before) => {
                counts.behind.fetch_add(behind, Ordering::AcqRel);
                counts.behind.fetch_sub(before, Ordering::AcqRel);
            }
        }
    }
}

impl Core {
    /// Records so far that count, of readers of a kind.
    fn measured_records(&self, reader: u8) -> u64 {
        self.part.readers[usize::from(reader)].records
    }

    /// Whether something of this intended time counts.
    fn is_measured(&self, event_time: u64) -> bool {
        if self.plan.scenario.source.is_running {
            return self.phase == Phase::Measure;
        }
        self.window.0 <= event_time && event_time < self.window.1
    }
}
