//! A shard and its hub on one core that is offered more than it can deliver: it delivers as much as it can.
//!
//! The loop is the gateway's, in virtual time, with the schedule of the gateway and costs of the size that were measured. Nothing
//! is asserted on times of this machine.

use std::collections::VecDeque;

use tickwire_core::engine::{EngineLimits, SessionKey};
use tickwire_core::schedule::{Pacing, ShardSchedule, Step};
use tickwire_wire::{Channel, Encoding};

use super::rig::{Rig, limits, trade};

const SESSIONS: usize = 200;
/// Messages that one turn of the hub takes, and how many of its batches wait for the shard.
const TURN: usize = 1024;
const BATCHES_MAX: usize = 16;
/// Messages that the inbox holds. It drops what comes beyond that.
const INBOX_MAX: usize = 65_536;

/// The nanoseconds that each takes: a message at the hub, an event at the shard and for each of its sessions, a write, and a record
/// of it.
const HUB: u64 = 2_000;
const EVENT: u64 = 800;
const EVENT_PER_SESSION: u64 = 25;
const WRITE: u64 = 15_000;
const RECORD: u64 = 80;

struct Core {
    rig: Rig,
    schedule: ShardSchedule,
    /// Messages that were published so far and a second, those that wait in the inbox, and those that are batched for the shard.
    published: u64,
    per_second: u64,
    began: u64,
    inbox: usize,
    batches: VecDeque<usize>,
    sequence: u64,
    delivered: u64,
}

impl Core {
    fn new(per_second: u64) -> Self {
        // All records are of one topic here, so its log has to hold what comes in a pass.
        let limits = EngineLimits {
            log_records_per_topic: 1 << 20,
            log_bytes_per_topic: 1 << 30,
            log_bytes: 1 << 30,
            ..limits()
        };
        let mut rig = Rig::new(limits);
        for _ in 0..SESSIONS {
            let client = rig.open(Encoding::Proto);
            rig.subscribe(client, Channel::Trade, &["sim:A"]);
        }
        let schedule = ShardSchedule::new(Pacing::default(), rig.now);
        let began = rig.now;
        Self {
            rig,
            schedule,
            published: 0,
            per_second,
            began,
            inbox: 0,
            batches: VecDeque::new(),
            sequence: 0,
            delivered: 0,
        }
    }

    /// Lets time pass, in which messages come.
    fn passes(&mut self, ns: u64) {
        self.rig.now += ns;
        let due =
            (u128::from(self.rig.now - self.began) * u128::from(self.per_second) / 1_000_000_000) as u64;
        let come = (due - self.published) as usize;
        self.inbox = (self.inbox + come).min(INBOX_MAX);
        self.published = due;
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
            for _ in 0..events {
                self.sequence += 1;
                self.rig.publish(0, self.sequence, trade(self.sequence as i64));
            }
            self.passes((EVENT + EVENT_PER_SESSION * SESSIONS as u64) * events as u64);
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
        self.passes(WRITE + RECORD * records);
    }

    /// Runs for so many virtual nanoseconds, and returns the deliveries a second.
    fn run(mut self, ns: u64) -> f64 {
        let end = self.began + ns;
        let mut tick_at = self.began;
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
        self.delivered as f64 * 1e9 / ns as f64
    }
}

#[test]
fn more_than_a_core_can_deliver_makes_it_deliver_no_less() {
    let rates = [10_000_u64, 20_000, 30_000, 60_000, 120_000, 240_000];
    let delivered: Vec<_> = rates.iter().map(|rate| Core::new(*rate).run(3_000_000_000)).collect();
    let most = delivered.iter().copied().fold(0.0, f64::max);
    let offered = (rates[0] * SESSIONS as u64) as f64;
    assert!(delivered[0] > 0.97 * offered, "what it can deliver, it delivers: {delivered:?}");
    assert!(*delivered.last().unwrap() < 0.5 * (240_000 * SESSIONS) as f64, "the last rates are overload");
    let all = &delivered;
    for (rate, delivered) in rates.iter().zip(all).skip(3) {
        assert!(*delivered > 0.9 * most, "at {rate}/s {delivered:.0} of {most:.0}: {rates:?} {all:.0?}");
    }
}
