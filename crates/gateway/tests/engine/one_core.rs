//! The loop of a gateway whose hub and one shard share a core, in virtual time: with the schedule of the gateway, and costs of the size
//! that were measured. Nothing in it depends on this machine.

use std::collections::VecDeque;

use tickwire_core::engine::SessionKey;
use tickwire_core::schedule::{Pacing, ShardSchedule, Step};

use super::rig::Rig;

/// Messages that one turn of the hub takes, and how many of its batches wait for the shard.
const TURN: usize = 1024;
const BATCHES_MAX: usize = 16;
/// Messages that the inbox holds. It drops what comes beyond that.
const INBOX_MAX: usize = 65_536;

/// The nanoseconds that each takes: a message at the hub, an event at the shard and for each session that has it, a write, and a record of
/// it.
const HUB: u64 = 2_000;
const EVENT: u64 = 800;
const EVENT_PER_SESSION: u64 = 25;
const WRITE: u64 = 15_000;
const RECORD: u64 = 80;

/// The publishers and clients of the gateway.
pub(super) trait Outside {
    /// Publishes the next message that waits; returns how many sessions have its topic.
    fn publish(&mut self, rig: &mut Rig) -> usize;

    /// Takes what was written to a session.
    fn written(&mut self, rig: &mut Rig, key: SessionKey, bytes: &[u8]);

    /// Lets clients do what they do until now.
    fn passes(&mut self, rig: &mut Rig);
}

pub(super) struct Core<O> {
    pub(super) rig: Rig,
    pub(super) outside: O,
    schedule: ShardSchedule,
    /// Messages that were published so far and a second, those that wait in the inbox, and those that are batched for the shard.
    published: u64,
    per_second: u64,
    began: u64,
    inbox: usize,
    batches: VecDeque<usize>,
    /// The records that sessions were written.
    pub(super) delivered: u64,
}

impl<O: Outside> Core<O> {
    pub(super) fn new(rig: Rig, outside: O, per_second: u64) -> Self {
        let schedule = ShardSchedule::new(Pacing::default(), rig.now);
        let began = rig.now;
        let batches = VecDeque::new();
        Self { rig, outside, schedule, published: 0, per_second, began, inbox: 0, batches, delivered: 0 }
    }

    /// Lets time pass, in which messages come.
    fn passes(&mut self, ns: u64) {
        self.rig.now += ns;
        let due =
            (u128::from(self.rig.now - self.began) * u128::from(self.per_second) / 1_000_000_000) as u64;
        let come = (due - self.published) as usize;
        self.inbox = (self.inbox + come).min(INBOX_MAX);
        self.published = due;
        self.outside.passes(&mut self.rig);
    }

    /// Gives the hub a turn.
    fn hub(&mut self) {
        let messages = self.inbox.min(TURN);
        if messages > 0 && self.batches.len() < BATCHES_MAX {
            self.inbox -= messages;
            self.passes(HUB * messages as u64);
            self.batches.push_back(messages);
        }
    }

    fn take(&mut self) {
        let since = self.rig.now;
        for _ in 0..BATCHES_MAX {
            let Some(events) = self.batches.pop_front() else { break };
            let sessions: usize = (0..events).map(|_| self.outside.publish(&mut self.rig)).sum();
            self.passes(EVENT * events as u64 + EVENT_PER_SESSION * sessions as u64);
            if !self.schedule.takes_more(since, self.rig.now) {
                break;
            }
        }
    }

    fn write(&mut self, key: SessionKey) {
        let (before, mut bytes) =
            (self.rig.engine.session(key).map_or(0, |row| row.account.delivered), Vec::new());
        self.rig.engine.fill(key, self.rig.now, &tickwire_gateway::WebSocket, &mut bytes);
        self.rig.engine.unsent(key, 0, self.rig.now);
        let records = self.rig.engine.session(key).map_or(0, |row| row.account.delivered) - before;
        self.delivered += records;
        self.outside.written(&mut self.rig, key, &bytes);
        self.passes(WRITE + RECORD * records);
    }

    /// Runs for so many virtual nanoseconds.
    pub(super) fn run(&mut self, ns: u64) {
        let end = self.rig.now + ns;
        let mut tick_at = self.rig.now;
        while self.rig.now < end {
            if tick_at <= self.rig.now {
                self.rig.engine.tick(self.rig.now);
                self.schedule.on_busy(1.0, self.rig.now);
                tick_at = self.rig.now + 50_000_000;
            }
            let plan = self.schedule.plan(&self.rig.engine, self.rig.now);
            if plan.writes {
                self.schedule.begin_round(self.rig.now);
                while let Some(step) = self.schedule.step(&mut self.rig.engine, self.rig.now) {
                    match step {
                        Step::Yield => self.hub(),
                        Step::TakeEvents => self.take(),
                        Step::Write => {
                            for key in self.schedule.sessions().to_vec() {
                                self.write(key);
                            }
                        }
                    }
                }
                self.hub();
                continue;
            }
            self.hub();
            if plan.takes_events && !self.batches.is_empty() {
                self.take();
                self.schedule.on_events(&self.rig.engine, self.rig.now);
            } else {
                self.passes(20_000);
            }
            self.schedule.on_time(&mut self.rig.engine, self.rig.now);
        }
    }
}
