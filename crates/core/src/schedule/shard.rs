//! The order of a shard's work: when it writes, and when it takes events.
//!
//! A session that is ready is written to when the delay of the pacing is over for it; those whose time is near go with
//! it, so that the thread wakes once for many. While nothing is due, events are gathered: to wake a thread for each costs
//! more than most of what it then does.
//!
//! Where more comes than a core can deliver, events must not take what writing needs: a shard that takes all that comes and writes to
//! few sessions meanwhile delivers the less the more comes. So the time for taking is limited until
//! nothing is due any more, and what does not fit stays with the hub, in front of it in the inbox, and beyond that is dropped there, unread.

use super::flow::Flow;
use super::pacing::{Pacer, Pacing};
use crate::engine::{Engine, SessionKey};

/// The time for which the hub's events are gathered before the shard takes them, while no session can be written to.
const GATHER_NS: u64 = 300_000;
/// The longest time for which they are gathered where every session has a delivery window, and none opens before.
const GATHER_WINDOWS_NS: u64 = 4_000_000;
/// The grain of the times at which delivery windows open, which last at least 1 ms: to wake for each would cost more than all
/// else.
const WINDOW_GRAIN_NS: u64 = 1_000_000;
/// The same for subscriptions that are throttled. It is finer, because one that may have 1,000 updates a second waits 1 ms.
const RATE_GRAIN_NS: u64 = 250_000;
/// Most sessions that are written to before events are taken again.
const WRITES_TOGETHER: usize = 32;
/// The time after which a round ends, whatever is due: sockets and orders get their turn.
const ROUND_NS_MAX: u64 = 1_000_000;
/// The time that taking events may have of a pass, the turns of a hub on the same thread among it. Then sessions are written to
/// until the pass is over.
const TAKE_NS_MAX: u64 = 10_000_000;
/// The time after which a pass ends, whatever is due: what comes meanwhile must not grow old behind what is owed to a few.
const PASS_NS_MAX: u64 = 100_000_000;
/// The part of the delay by which a session may be written to before its time: with those that are due.
const EARLY: u64 = 4;

/// The decision of the schedule: what the shard does now, and when it has to ask again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whether to begin a round of writing.
    pub writes: bool,
    /// Whether to take events as they come. Otherwise they wait for the round.
    pub takes_events: bool,
    /// When [`ShardSchedule::on_time`] has something to do, if nothing else happens before.
    pub wake_at: Option<u64>,
    /// The time before which no session of the shard wants the next events, so that the hub may gather them: a time that has come
    /// where they are wanted as they come, and `u64::MAX` where there are no sessions. Nothing is to be done then unless another shard
    /// says so.
    pub gathers_until: u64,
}

/// The next step of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the batches of events that wait, as long as [`ShardSchedule::takes_more`] says so, without waiting for more.
    TakeEvents,
    /// Write to each of [`ShardSchedule::sessions`].
    Write,
    /// Let the hub hand over what it gathered, and other threads have the processor. Events that come meanwhile still go to the
    /// sessions that are written to later in this round. The hub may gather again until [`ShardSchedule::gathers_until`].
    Yield,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Chooses,
    TakesEvents,
    Writes,
    IsOver,
}

/// The state of a shard's loop; see the module.
#[derive(Debug)]
pub struct ShardSchedule {
    pacer: Pacer,
    /// The time until which events are gathered, and are not taken as they come. Then a round begins, which takes them first.
    gathers: Option<u64>,
    /// Whether that time has come.
    is_gathered: bool,
    flow: Flow,
    /// The sessions that are written to together.
    sessions: Vec<SessionKey>,
    /// The next step of the round.
    phase: Phase,
    /// When the round began, and how many events were taken since.
    began: u64,
    events: usize,
    pass: Pass,
}

/// The time from when nothing is due to when nothing is due again.
#[derive(Clone, Copy, Debug, Default)]
struct Pass {
    /// When it began.
    began: u64,
    /// The nanoseconds in which events were taken since it began.
    taken_ns: u64,
    /// When a step began that takes events and is not over.
    takes_since: Option<u64>,
}

impl ShardSchedule {
    /// Makes a schedule that begins now.
    pub fn new(pacing: Pacing, now: u64) -> Self {
        Self {
            pacer: Pacer::new(pacing, now),
            gathers: None,
            is_gathered: false,
            flow: Flow::default(),
            sessions: Vec::new(),
            phase: Phase::IsOver,
            began: now,
            events: 0,
            pass: Pass::default(),
        }
    }

    /// Returns what to do now. The loop calls it again after everything that happened.
    pub fn plan(&mut self, engine: &Engine, now: u64) -> Plan {
        let write_at = self.write_at(engine);
        let writes = self.is_gathered || write_at.is_some_and(|at| at <= now);
        let take_at = self.gathers.filter(|_| write_at.is_none());
        let opens_at = engine.next_due_within(RATE_GRAIN_NS, WINDOW_GRAIN_NS);
        let is_empty = engine.sessions() == 0;
        Plan {
            writes,
            takes_events: write_at.is_none() && self.gathers.is_none(),
            wake_at: opens_at.into_iter().chain(write_at.filter(|_| !writes)).chain(take_at).min(),
            gathers_until: match write_at.or(take_at) {
                Some(at) => at,
                None if is_empty => u64::MAX,
                None => 0,
            },
        }
    }

    fn write_at(&self, engine: &Engine) -> Option<u64> {
        engine.ready_since().map(|since| since.saturating_add(self.pacer.delay_ns()))
    }

    /// Returns the time before which no session wants the events that come behind those for this round; see [`Step::Yield`].
    pub fn gathers_until(&self, engine: &Engine) -> u64 {
        self.write_at(engine).or(self.next_round(engine)).unwrap_or_default()
    }

    /// Returns when the next round begins, where nothing is ready but so much comes that something will be due then.
    fn next_round(&self, engine: &Engine) -> Option<u64> {
        let delay = self.pacer.delay_ns();
        if engine.has_windows_only() {
            return Some(windows_gather(engine, self.began));
        }
        self.flow.is_dense(delay).then_some(self.began + delay)
    }

    /// Does what is due at [`Plan::wake_at`].
    pub fn on_time(&mut self, engine: &mut Engine, now: u64) {
        if engine.next_due().is_some_and(|due| due <= now) {
            engine.on_timer(now);
        }
        self.is_gathered |= self.gathers.take_if(|until| *until <= now).is_some();
    }

    /// Returns whether to take another batch of events, after one that was taken. `since` is when taking began.
    pub fn takes_more(&self, since: u64, now: u64) -> bool {
        self.pass.taken_ns + now.saturating_sub(since) < TAKE_NS_MAX
    }

    /// Notes that so many events were taken.
    pub fn on_taken(&mut self, events: usize) {
        self.flow.on_events(events);
        self.events += events;
    }

    /// Notes that events were taken as they came, outside of a round.
    pub fn on_events(&mut self, engine: &Engine, now: u64) {
        if !engine.has_ready() {
            // Nobody who wanted these events can be written to, so the next ones may wait, too.
            let until = if engine.has_windows_only() { windows_gather(engine, now) } else { now + GATHER_NS };
            self.gathers = Some(until);
        }
    }

    /// Begins a round.
    pub fn begin_round(&mut self, now: u64) {
        // Where events were gathered, who gathers them hands them over before anything is written.
        let is_gathered = self.is_gathered || self.pacer.delay_ns() > 0;
        self.phase = if is_gathered { Phase::Chooses } else { Phase::TakesEvents };
        self.gathers = None;
        self.sessions.clear();
        self.events = 0;
        self.began = now;
    }

    /// Returns the next step of the round; `None` when it is over.
    pub fn step(&mut self, engine: &mut Engine, now: u64) -> Option<Step> {
        if let Some(since) = self.pass.takes_since.take() {
            self.pass.taken_ns += now.saturating_sub(since);
        }
        if now.saturating_sub(self.pass.began) > PASS_NS_MAX {
            self.pass = Pass { began: now, ..Pass::default() };
        }
        // Sessions that were chosen are written to, however long the round is.
        let is_long = self.phase == Phase::Chooses && now.saturating_sub(self.began) > ROUND_NS_MAX;
        let step = if is_long { None } else { self.next_step(engine, now) };
        if step.is_none() {
            self.is_gathered = false;
            // Where nothing came, the next event is not waited for: it is taken as it comes.
            self.gathers = self.next_round(engine).filter(|_| self.events > 0 && !engine.has_ready());
        }
        step
    }

    fn next_step(&mut self, engine: &mut Engine, now: u64) -> Option<Step> {
        let has_time = self.pass.taken_ns <= TAKE_NS_MAX;
        match self.phase {
            Phase::Chooses => {
                // What is written to is known before the hub gets its turn, so that it is told until when it may gather then.
                self.sessions.clear();
                self.choose(engine, now);
                if has_time && (self.is_gathered || !self.sessions.is_empty()) {
                    self.phase = Phase::TakesEvents;
                    self.pass.takes_since = Some(now);
                    return Some(Step::Yield);
                }
            }
            Phase::TakesEvents if has_time => {
                self.phase = Phase::Writes;
                self.pass.takes_since = Some(now);
                return Some(Step::TakeEvents);
            }
            Phase::TakesEvents | Phase::Writes => self.choose(engine, now),
            Phase::IsOver => return None,
        }
        // Where fewer were due than are written to together, those that became due meanwhile are a round of their own.
        let is_last = self.sessions.len() < WRITES_TOGETHER;
        self.phase = if is_last { Phase::IsOver } else { Phase::Chooses };
        if is_last {
            self.pass = Pass { began: now, ..Pass::default() };
        }
        (!self.sessions.is_empty()).then_some(Step::Write)
    }

    /// Chooses further sessions that are written to together: those that are due, and those that soon are.
    fn choose(&mut self, engine: &mut Engine, now: u64) {
        let delay = self.pacer.delay_ns();
        // Where each session has something new soon after each write, all are written to in one round.
        let since =
            if self.pacer.is_dense() { self.began } else { (now + delay / EARLY).saturating_sub(delay) };
        engine.take_due(since, WRITES_TOGETHER - self.sessions.len(), &mut self.sessions);
    }

    /// Returns the sessions that [`Step::Write`] is about.
    pub fn sessions(&self) -> &[SessionKey] {
        &self.sessions
    }

    /// Notes a write that took the kernel `took_ns`, to a session that is usually written to each `cycle_ns`.
    pub fn on_write(&mut self, cycle_ns: u64, took_ns: u64) {
        self.pacer.on_write(cycle_ns, took_ns);
    }

    /// Notes that a record was written so long after it came to this gateway.
    pub fn on_age(&mut self, age_ns: u64) {
        self.pacer.on_age(age_ns);
    }

    /// Notes the share of a core that this shard's thread took since it was last told: from 0 to 1.
    pub fn on_busy(&mut self, busy: f64, now: u64) {
        self.pacer.adjust(busy, now);
        self.flow.adjust(now);
    }

    /// Returns how long what is ready waits now, in nanoseconds.
    pub fn delay_ns(&self) -> u64 {
        self.pacer.delay_ns()
    }
}

/// Returns until when events may gather where each session has a delivery window: nobody wants them before one opens.
fn windows_gather(engine: &Engine, now: u64) -> u64 {
    let opens_at = engine.next_due_within(RATE_GRAIN_NS, WINDOW_GRAIN_NS).filter(|at| *at > now);
    opens_at.map_or(now + GATHER_NS, |at| at.min(now + GATHER_WINDOWS_NS))
}
