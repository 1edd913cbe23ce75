//! The order of a shard's work: when it writes, and when it takes events.
//!
//! Ready sessions are written to in rounds. The pacing decides how soon the next round may begin. While nothing can
//! be written, or nobody wants it yet, events are gathered: to wake a thread for each costs more than most of what it
//! then does.

use std::ops::Range;

use super::pacing::{Pacer, Pacing};
use crate::engine::{Engine, SessionKey};

/// The time for which the hub's events are gathered before the shard takes them, while no session can be written to.
const GATHER_NS: u64 = 300_000;
/// The same time where every session has a delivery window. The windows of the sessions that wanted the last events are shut
/// then, so the next events may wait longer.
const GATHER_WINDOWS_NS: u64 = 1_300_000;
/// Most sessions that are written to before events are taken again.
const WRITES_TOGETHER: usize = 32;

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
    /// Take the events that wait, without waiting for more.
    TakeEvents,
    /// Write to these sessions: places in [`ShardSchedule::sessions`].
    Write(Range<usize>),
    /// Let other threads have the processor. Events that come meanwhile still go to the sessions that are written to later in
    /// this round.
    Yield,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begins,
    Writes,
    Yields,
    TakesEvents,
}

/// The state of a shard's loop; see the module.
#[derive(Debug)]
pub struct ShardSchedule {
    pacer: Pacer,
    /// The time before which no round begins.
    write_at: u64,
    /// Whether the last round was followed by a wait.
    is_paced: bool,
    /// The time until which events are gathered, and for how many nanoseconds they are gathered altogether.
    gathers: Option<(u64, u64)>,
    /// The sessions of the round.
    sessions: Vec<SessionKey>,
    /// The number of them that were written to.
    written: usize,
    /// The next step of the round.
    phase: Phase,
    /// When the round began.
    began: u64,
}

impl ShardSchedule {
    /// Makes a schedule that begins now.
    pub fn new(pacing: Pacing, now: u64) -> Self {
        Self {
            pacer: Pacer::new(pacing, now),
            write_at: now,
            is_paced: false,
            gathers: None,
            sessions: Vec::new(),
            written: 0,
            phase: Phase::Begins,
            began: now,
        }
    }

    /// Returns what to do now. The loop calls it again after everything that happened.
    pub fn plan(&mut self, engine: &Engine, now: u64) -> Plan {
        let has_ready = engine.has_ready();
        let may_write = self.write_at <= now;
        self.is_paced &= has_ready || !may_write;
        let may_gather = self.is_paced || engine.sessions() == 0;
        let gathers = self.gathers.map(|(_, length)| length);
        let write_at = (has_ready && !may_write).then_some(self.write_at);
        let take_at = self.gathers.map(|(until, _)| until);
        Plan {
            writes: has_ready && may_write,
            takes_events: !has_ready && self.gathers.is_none(),
            wake_at: engine.next_due().into_iter().chain(write_at).chain(take_at).min(),
            patience_ns: gathers.or(may_gather.then_some(GATHER_NS)).unwrap_or_default(),
        }
    }

    /// Does what is due at [`Plan::wake_at`].
    pub fn on_time(&mut self, engine: &mut Engine, now: u64) {
        if engine.next_due().is_some_and(|due| due <= now) {
            engine.on_timer(now);
        }
        self.gathers.take_if(|(until, _)| *until <= now);
    }

    /// Notes that events were taken as they came, outside of a round.
    pub fn on_events(&mut self, engine: &Engine, now: u64) {
        // The delivery windows of all sessions that wanted these events are shut, so the next ones may wait, too.
        let wait = if engine.has_windows_only() { GATHER_WINDOWS_NS } else { GATHER_NS };
        self.gathers = (!engine.has_ready()).then_some((now + wait, wait));
    }

    /// Begins a round.
    pub fn begin_round(&mut self, now: u64) {
        (self.began, self.written, self.phase) = (now, 0, Phase::Begins);
        self.sessions.clear();
    }

    /// Returns the next step of the round; `None` when it is over.
    pub fn step(&mut self, engine: &mut Engine) -> Option<Step> {
        match self.phase {
            Phase::Begins | Phase::TakesEvents => {
                self.phase = Phase::Writes;
                return Some(Step::TakeEvents);
            }
            Phase::Writes if self.written == 0 => engine.take_ready(&mut self.sessions),
            Phase::Writes => {}
            Phase::Yields => {
                self.phase = Phase::TakesEvents;
                return Some(Step::Yield);
            }
        }
        let from = self.written;
        self.written = (from + WRITES_TOGETHER).min(self.sessions.len());
        self.phase = Phase::Yields;
        (from < self.written).then_some(Step::Write(from..self.written))
    }

    /// Returns the sessions of the round.
    pub fn sessions(&self) -> &[SessionKey] {
        &self.sessions
    }

    /// Notes that a round is over.
    pub fn end_round(&mut self, now: u64) {
        let wait = self.pacer.wait_after(self.began, now);
        (self.is_paced, self.write_at) = (wait > 0, now + wait);
        self.sessions.clear();
    }
}
