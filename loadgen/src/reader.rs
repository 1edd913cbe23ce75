//! A reading thread: an event loop of its own over the sockets of its sessions. One buffer serves all reads, frames and
//! records are scanned in place, and nothing is allocated per record.

mod closing;
mod doing;
mod looks;
mod opening;
mod records;
pub(crate) mod second;
mod session;
mod shared;
mod slow;
mod stream;
mod timers;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::thread::sched_yield;
use tickwire_machine::processes::Watched;
use tickwire_machine::processors::run_delay;
use tickwire_machine::{now, thread_cpu};

use crate::part::{Part, channel_name};
use crate::plan::Plan;
use crate::scenario::ReaderKind;

use self::looks::Looks;
pub(crate) use self::second::SecondPart;
use self::session::Session;
use self::shared::Core;
use self::timers::Due;
use crate::board::Board;
pub(crate) use crate::board::Phase;

/// A thread looks at the phase this often when nothing comes, and is at most so late then.
const TURN: Duration = Duration::from_millis(10);
const EVENTS_MAX: usize = 512;
/// So many due things are done between two looks at the sockets: where all are due at once, what has come waits no longer for that.
const DUE_MAX: usize = 64;
/// So long after the last bytes a thread looks for more before it sleeps. On loopback the sender pays for waking who sleeps, most of
/// all in a virtual machine: a server would be charged for that with each of its writes, and on a network it never is.
const STAY_AWAKE: Duration = Duration::from_micros(50);

/// The sessions of one thread.
struct Loop {
    core: Core,
    board: Arc<Board>,
    sessions: Vec<Session>,
}

/// Processor time, waiting time and the clock at the begin of what is measured.
struct Begin {
    cpu: Duration,
    delay: Option<Duration>,
    time: u64,
    /// Time that the thread looked for something and found nothing.
    spun: Duration,
}

impl Begin {
    fn now() -> Self {
        Self { cpu: thread_cpu(), delay: run_delay(), time: now(), spun: Duration::ZERO }
    }
}

/// Runs the sessions of thread `at` of all threads to their end.
///
/// # Errors
/// When the system refuses what a loop needs.
pub(crate) fn run(plan: &Arc<Plan>, board: Arc<Board>, at: usize) -> anyhow::Result<Part> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("cannot watch sockets")?;
    let scenario = &plan.scenario;
    let numbers = (at..scenario.sessions.count).step_by(scenario.processes * scenario.threads);
    let mut core = Core::new(epoll, plan, at);
    core.part.resident_bytes_before = resident_bytes(plan, at);
    let begin = now();
    for (slot, number) in numbers.clone().enumerate() {
        let due = scenario.sessions.ramp().mul_f64(number as f64 / scenario.sessions.count as f64);
        core.timers.add(begin + due.as_nanos() as u64, slot, Due::Connect);
        core.part.readers[plan.reader(number)].sessions += 1;
    }
    let sessions = numbers.enumerate().map(|(slot, number)| Session::new(plan, number, slot)).collect();
    let mut all = Loop { core, board, sessions };
    all.run(at)?;
    let Core { records_by_channel, mut part, .. } = all.core;
    let counts = (0..).zip(records_by_channel).filter(|(_, count)| *count > 0);
    part.flow.records_by_channel = counts.map(|(channel, count)| (channel_name(channel), count)).collect();
    part.flow.records = records_by_channel.iter().sum();
    Ok(part)
}

/// Returns the memory of this process in bytes, which only its first thread tells.
fn resident_bytes(plan: &Plan, at: usize) -> u64 {
    let is_first = at.is_multiple_of(plan.scenario.threads);
    is_first.then(|| Watched::myself().resident_bytes()).flatten().unwrap_or(0)
}

impl Loop {
    fn run(&mut self, at: usize) -> anyhow::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let mut begin = Begin::now();
        let mut tick = begin.time + TURN.as_nanos() as u64;
        let mut awake_until = 0;
        let mut looks = Looks::new(begin.time);
        while self.core.gone < self.sessions.len() {
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
                let before = self.core.seconds.now.records;
                self.sessions[slot].ready(&mut self.core, event.flags);
                let core = &mut self.core;
                if core.phase == Phase::Measure && core.seconds.now.records > before {
                    // Each record is one: a look that brings thousands late is not one that brings none.
                    let waited = core.read_at.saturating_sub(since);
                    core.part.timed.lag.record_many(waited, core.seconds.now.records - before);
                }
            }
            looks.looked(woken, since, events.len() == events.capacity());
            let time = now();
            if events.is_empty() {
                begin.spun += Duration::from_nanos(if is_awake { time - slept } else { 0 });
            } else {
                awake_until = time + STAY_AWAKE.as_nanos() as u64;
            }
            for _ in 0..DUE_MAX {
                let Some((due, slot, what)) = self.core.timers.pop(time) else { break };
                self.sessions[slot].due(&mut self.core, what, due);
            }
            if time >= tick {
                if self.core.phase == Phase::Measure {
                    self.core.part.timed.lag.record(tick.max(begin.time), woken.max(tick));
                }
                self.tick(time, &mut begin, at);
                tick = now() + TURN.as_nanos() as u64;
            }
        }
        self.board.tell(self.core.counts, None);
        Ok(())
    }

    /// Does what is due once each turn of the clock.
    fn tick(&mut self, time: u64, begin: &mut Begin, at: usize) {
        let core = &mut self.core;
        let second = core.seconds.turn(time, core.counts.live);
        if core.phase == Phase::Settle
            && let Some(finals) = &core.finals
        {
            core.counts.behind = self.sessions.iter().map(|session| session.behind(finals)).sum();
            core.counts.settled = 1;
        }
        self.board.tell(core.counts, second);
        let flaps = core.plan.scenario.churn.flaps_per_second;
        if flaps > 0.0 && core.phase == Phase::Measure {
            let share = self.sessions.len() as f64 / core.plan.scenario.sessions.count as f64;
            let chance = flaps * share * TURN.as_secs_f64();
            let whole = chance.floor() + f64::from(core.rng.random::<f64>() < chance.fract());
            for _ in 0..whole as u64 {
                let slot = core.rng.random_range(0..self.sessions.len());
                self.sessions[slot].flap(core);
            }
        }
        let Some(signal) = self.board.signal() else { return };
        if core.phase == Phase::Measure && signal.phase > Phase::Measure {
            self.measured(begin);
        }
        let core = &mut self.core;
        (core.phase, core.window) = (signal.phase, signal.window);
        core.finals = signal.finals.or(core.finals.take());
        match core.phase {
            Phase::Open => {}
            Phase::Subscribe => {
                for slot in 0..self.sessions.len() {
                    core.timers.add(time, slot, Due::Subscribe);
                }
            }
            Phase::Measure => {
                *begin = Begin::now();
                core.measure_anew();
                core.part.generator.resident_bytes = resident_bytes(&core.plan, at);
                self.plan_churn();
            }
            Phase::Settle | Phase::Finish => {
                for session in &mut self.sessions {
                    session.enter(core, signal.phase);
                }
            }
        }
    }

    /// Plans storms and stalls, from the begin of measuring.
    fn plan_churn(&mut self) {
        let Core { plan, window, timers, .. } = &mut self.core;
        for session in &self.sessions {
            let slot = session.slot;
            for (at, storm) in plan.scenario.churn.storms.iter().enumerate() {
                if plan.is_in_storm(at, session.number()) {
                    timers.add(window.0 + storm.at.as_nanos() as u64, slot, Due::Storm(at as u8));
                }
            }
            let reader = plan.kinds[plan.reader(session.number())];
            if reader.kind == ReaderKind::Stalled {
                let at = window.0 + reader.at.as_nanos() as u64;
                timers.add(at, slot, Due::Stall);
                timers.add(at + reader.lasting.as_nanos() as u64, slot, Due::Resume);
            }
        }
    }

    fn measured(&mut self, begin: &Begin) {
        let seconds = (now().saturating_sub(begin.time) as f64 / 1e9).max(1e-6);
        let used = thread_cpu().saturating_sub(begin.cpu + begin.spun).as_secs_f64();
        let own = &mut self.core.part.generator;
        own.cpu_seconds += used;
        own.cpu_share.push(used / seconds);
        let waited = run_delay().zip(begin.delay).map(|(now, then)| now.saturating_sub(then).as_secs_f64());
        own.waited_share = waited.unwrap_or(0.0) / seconds;
    }
}
