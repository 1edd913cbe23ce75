//! The order of a shard's work: when it writes, and when it takes events.
//!
//! A session that is ready is written to when the delay of the pacing is over for it; those whose time is near go with
//! it, so that the thread wakes once for many. While nothing is due, events are gathered: to wake a thread for each costs
//! more than most of what it then does.
//!
//! Where more comes than a core can deliver, events must not take what writing needs: a shard that takes all that comes and writes to
//! few sessions meanwhile delivers the less the more comes. So the time for taking is limited until
//! nothing is due any more, and what does not fit stays with the hub, in front of it in the inbox, and beyond that is dropped there, unread.

use super::pacing::{Pacer, Pacing};
use crate::engine::{Engine, SessionKey};

/// The time for which the hub's events are gathered before the shard takes them, while no session can be written to.
const GATHER_NS: u64 = 300_000;
/// The same time where every session has a delivery window. The windows of the sessions that wanted the last events are shut
/// then, so the next events may wait longer.
const GATHER_WINDOWS_NS: u64 = 1_300_000;
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
    /// The nanoseconds for which no session of the shard wants the next events, so that the hub may gather them.
    pub patience_ns: u64,
}

/// The next step of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Take the batches of events that wait, as long as [`ShardSchedule::takes_more`] says so, without waiting for more.
    TakeEvents,
    /// Write to each of [`ShardSchedule::sessions`].
    Write,
    /// Let other threads have the processor. Events that come meanwhile still go to the sessions that are written to later in
    /// this round.
    Yield,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Yields,
    TakesEvents,
    Writes,
    IsOver,
}

/// The state of a shard's loop; see the module.
#[derive(Debug)]
pub struct ShardSchedule {
    pacer: Pacer,
    /// The time until which events are gathered, and for how many nanoseconds they are gathered altogether.
    gathers: Option<(u64, u64)>,
    /// The sessions that are written to together.
    sessions: Vec<SessionKey>,
    /// The next step of the round.
    phase: Phase,
    /// When the round began.
    began: u64,
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
            sessions: Vec::new(),
            phase: Phase::Yields,
            began: now,
            pass: Pass::default(),
        }
    }

    /// Returns what to do now. The loop calls it again after everything that happened.
    pub fn plan(&mut self, engine: &Engine, now: u64) -> Plan {
        let write_at = engine.ready_since().map(|since| since.saturating_add(self.pacer.delay_ns()));
        let writes = write_at.is_some_and(|at| at <= now);
        let gathers = self.gathers.map(|(_, length)| length);
        let take_at = self.gathers.map(|(until, _)| until);
        let is_empty = engine.sessions() == 0;
        let opens_at = engine.next_due_within(RATE_GRAIN_NS, WINDOW_GRAIN_NS);
        let until_write = write_at.map(|at| at.saturating_sub(now));
        Plan {
            writes,
            takes_events: write_at.is_none() && self.gathers.is_none(),
            wake_at: opens_at.into_iter().chain(write_at.filter(|_| !writes)).chain(take_at).min(),
            patience_ns: gathers.or(until_write).or(is_empty.then_some(GATHER_NS)).unwrap_or_default(),
        }
    }

    /// Does what is due at [`Plan::wake_at`].
    pub fn on_time(&mut self, engine: &mut Engine, now: u64) {
        if engine.next_due().is_some_and(|due| due <= now) {
            engine.on_timer(now);
        }
        self.gathers.take_if(|(until, _)| *until <= now);
    }

    /// Returns whether to take another batch of events, after one that was taken. `since` is when taking began.
    pub fn takes_more(&self, since: u64, now: u64) -> bool {
        self.pass.taken_ns + now.saturating_sub(since) < TAKE_NS_MAX
    }

    /// Notes that events were taken as they came, outside of a round.
    pub fn on_events(&mut self, engine: &Engine, now: u64) {
        // The delivery windows of all sessions that wanted these events are shut, so the next ones may wait, too.
        let wait = if engine.has_windows_only() { GATHER_WINDOWS_NS } else { GATHER_NS };
        self.gathers = (!engine.has_ready()).then_some((now + wait, wait));
    }

    /// Begins a round.
    pub fn begin_round(&mut self, now: u64) {
        // Where events were gathered, who gathers them hands them over before anything is written.
        self.phase = if self.pacer.delay_ns() > 0 { Phase::Yields } else { Phase::TakesEvents };
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
        if now.saturating_sub(self.began) > ROUND_NS_MAX {
            return None;
        }
        if self.pass.taken_ns > TAKE_NS_MAX && matches!(self.phase, Phase::Yields | Phase::TakesEvents) {
            self.phase = Phase::Writes;
        }
        match self.phase {
            Phase::Yields => {
                self.phase = Phase::TakesEvents;
                self.pass.takes_since = Some(now);
                Some(Step::Yield)
            }
            Phase::TakesEvents => {
                self.phase = Phase::Writes;
                self.pass.takes_since = Some(now);
                Some(Step::TakeEvents)
            }
            Phase::IsOver => None,
            Phase::Writes => {
                let delay = self.pacer.delay_ns();
                self.sessions.clear();
                let early = now + delay / EARLY;
                engine.take_due(early.saturating_sub(delay), WRITES_TOGETHER, &mut self.sessions);
                // Where fewer were due than are written to together, those that became due meanwhile are a round of their own.
                let is_last = self.sessions.len() < WRITES_TOGETHER;
                self.phase = if is_last { Phase::IsOver } else { Phase::Yields };
                if is_last {
                    self.pass = Pass { began: now, ..Pass::default() };
                }
                (!self.sessions.is_empty()).then_some(Step::Write)
            }
        }
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
    }

    /// Returns how long what is ready waits now, in nanoseconds.
    pub fn delay_ns(&self) -> u64 {
        self.pacer.delay_ns()
    }
}
