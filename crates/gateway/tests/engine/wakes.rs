//! The loop of a shard and its hub on one core, in virtual time: how often it wakes and writes, and how old records are when they
//! are written.
//!
//! The loop is the gateway's, with its schedules and costs of the size that were measured. Nothing is asserted on times of this
//! machine.

use std::collections::VecDeque;
use std::sync::Arc;

use tickwire_core::engine::{EngineLimits, SessionKey};
use tickwire_core::schedule::{HubSchedule, Pacing, ShardSchedule, Step};
use tickwire_core::vocabulary::Event;
use tickwire_gateway::WebSocket;
use tickwire_wire::{Channel, Encoding};

use super::rig::{EPOCH, Rig, SECOND, limits, trade};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;

/// The nanoseconds that each takes: to wake, a message at the hub, an event at the shard, and a write.
const WAKE: u64 = 8 * US;
const MESSAGE: u64 = 1_500;
const EVENT: u64 = 1_000;
const WRITE: u64 = 6 * US;

struct Core {
    rig: Rig,
    schedule: ShardSchedule,
    hub: HubSchedule,
    sessions: Vec<(SessionKey, usize)>,
    /// When each record comes into the inbox, in order, and how many the hub and the shard took.
    arrivals: Vec<u64>,
    taken: usize,
    known: usize,
    batches: VecDeque<usize>,
    /// The time before which the shard wants no events, as it told the hub.
    told: u64,
    busy: u64,
    tally: Tally,
}

/// The counts of what happened since they were cleared.
#[derive(Debug, Default)]
struct Tally {
    wakes: u64,
    rounds: u64,
    writes: u64,
    ages: Vec<u64>,
    longest_delay: u64,
}

impl Tally {
    fn age(&mut self, quantile: f64) -> u64 {
        self.ages.sort_unstable();
        self.ages[((self.ages.len() - 1) as f64 * quantile) as usize]
    }
}

impl Core {
    /// Makes a core with so many sessions that take everything, which comes at these times after the start.
    fn new(sessions: usize, window_ms: u16, arrivals: impl IntoIterator<Item = u64>) -> Self {
        let limits = EngineLimits { log_records_per_topic: 1 << 16, ..limits() };
        let mut rig = Rig::new(limits);
        let clients: Vec<_> =
            (0..sessions).map(|_| rig.open_with_window(Encoding::Proto, window_ms)).collect();
        for client in &clients {
            rig.subscribe(*client, Channel::Trade, &["sim:A"]);
        }
        let now = rig.now;
        Self {
            schedule: ShardSchedule::new(Pacing::default(), now),
            hub: HubSchedule::default(),
            sessions: clients.iter().map(|client| (client.key, 0)).collect(),
            arrivals: arrivals.into_iter().map(|at| now + at).collect(),
            taken: 0,
            known: 0,
            batches: VecDeque::new(),
            told: 0,
            busy: 0,
            tally: Tally::default(),
            rig,
        }
    }

    fn works(&mut self, ns: u64) {
        self.rig.now += ns;
        self.busy += ns;
    }

    fn tell(&mut self, until: u64) {
        if self.told > 0 && (self.told <= self.rig.now || until < self.told) {
            self.hub.take_now();
        }
        self.told = until;
    }

    /// Lets the hub take what there is, and what comes meanwhile. Returns whether it took anything.
    fn hub(&mut self) -> bool {
        let is_any = self.hub_turn();
        while self.hub_turn() {}
        is_any
    }

    fn hub_turn(&mut self) -> bool {
        self.hub.on_time(self.rig.now);
        let come = self.arrivals[self.taken..].iter().take_while(|at| **at <= self.rig.now).count();
        if come == 0 || !self.hub.takes_messages() {
            return false;
        }
        self.taken += come;
        self.hub.on_turn(come, self.told, self.rig.now);
        self.works(MESSAGE * come as u64);
        self.batches.push_back(come);
        true
    }

    fn take(&mut self) {
        while let Some(events) = self.batches.pop_front() {
            self.schedule.on_taken(events);
            for _ in 0..events {
                let arrived = self.arrivals[self.known];
                self.known += 1;
                let update = self.rig.bus_update(0, EPOCH, self.known as u64, trade(self.known as i64));
                let update = Arc::into_inner(update).expect("it was just made").at(arrived);
                self.rig.event(Event::Update(Arc::new(update)));
            }
            self.works(EVENT * events as u64);
        }
    }

    fn write(&mut self, key: SessionKey) {
        let mut bytes = Vec::new();
        let filled = self.rig.engine.fill(key, self.rig.now, &WebSocket, &mut bytes);
        if bytes.is_empty() {
            return;
        }
        let at = self.sessions.iter().position(|(own, _)| *own == key).expect("it is open");
        let delivered = self.rig.engine.session(key).expect("it is open").account.delivered as usize;
        let before = std::mem::replace(&mut self.sessions[at].1, delivered);
        let ages = self.arrivals[before..delivered].iter().map(|arrived| self.rig.now - arrived);
        self.tally.ages.extend(ages);
        self.tally.writes += 1;
        self.works(WRITE);
        self.rig.engine.unsent(key, 0, self.rig.now);
        self.schedule.on_write(filled.cycle_ns, WRITE);
    }

    fn round(&mut self) {
        self.tally.rounds += 1;
        self.schedule.begin_round(self.rig.now);
        while let Some(step) = self.schedule.step(&mut self.rig.engine, self.rig.now) {
            match step {
                Step::Yield => {
                    self.tell(self.schedule.gathers_until(&self.rig.engine));
                    self.hub.take_now();
                    self.hub();
                }
                Step::TakeEvents => self.take(),
                Step::Write => {
                    for key in self.schedule.sessions().to_vec() {
                        self.write(key);
                    }
                }
            }
        }
        for sample in self.rig.engine.take_latency_samples().collect::<Vec<_>>() {
            self.schedule.on_age(sample.written.saturating_sub(sample.arrived));
        }
    }

    /// Runs for so long, and returns what happened in the time after `warm_up`.
    fn run(&mut self, warm_up: u64, ns: u64) -> Tally {
        let begin = self.rig.now;
        let (mut tick_at, mut ticked, mut is_warm) = (begin, begin, false);
        while self.rig.now < begin + ns {
            if self.rig.now >= begin + warm_up && !std::mem::replace(&mut is_warm, true) {
                self.tally = Tally::default();
            }
            if tick_at <= self.rig.now {
                self.rig.engine.tick(self.rig.now);
                let passed = (self.rig.now - ticked).max(1);
                self.schedule.on_busy((self.busy as f64 / passed as f64).min(1.0), self.rig.now);
                self.tally.longest_delay = self.tally.longest_delay.max(self.schedule.delay_ns());
                (ticked, self.busy) = (self.rig.now, 0);
                tick_at = self.rig.now + 50 * MS;
            }
            let plan = self.schedule.plan(&self.rig.engine, self.rig.now);
            self.tell(plan.gathers_until);
            if plan.writes {
                self.round();
            } else if plan.takes_events && !self.batches.is_empty() {
                self.take();
                self.schedule.on_events(&self.rig.engine, self.rig.now);
            } else if !self.hub() {
                self.sleep(plan.wake_at, tick_at);
            }
        }
        std::mem::take(&mut self.tally)
    }

    /// Sleeps until the shard is to wake or a message wakes the hub. Both are served by one wake where they come together.
    fn sleep(&mut self, wake_at: Option<u64>, tick_at: u64) {
        let comes_at = self.arrivals.get(self.taken).filter(|_| self.hub.takes_messages());
        let until = wake_at.into_iter().chain(comes_at.copied()).min().unwrap_or(u64::MAX);
        self.tally.wakes += u64::from(until <= tick_at);
        self.rig.now = self.rig.now.max(until.min(tick_at));
        self.works(WAKE);
        self.schedule.on_time(&mut self.rig.engine, self.rig.now);
    }
}

/// Returns arrivals for so many seconds, so many at once, so far apart.
fn bursts(seconds: u64, count: usize, every: u64) -> impl Iterator<Item = u64> {
    let times = (0..seconds * SECOND / every).map(move |at| at * every);
    times.flat_map(move |at| (0..count as u64).map(move |nth| at + nth * US))
}

#[test]
fn a_smooth_flow_wakes_the_core_once_for_each_round_and_writes_to_all_in_it() {
    let mut core = Core::new(20, 0, bursts(4, 1, 50 * US));
    let mut tally = core.run(2 * SECOND, 4 * SECOND);
    let delay = core.schedule.delay_ns();
    assert!((500 * US..2 * MS).contains(&delay), "{delay}");
    assert!(tally.writes >= 19 * tally.rounds, "{} writes in {} rounds", tally.writes, tally.rounds);
    assert!(tally.wakes * 20 <= tally.rounds * 21, "{} wakes for {} rounds", tally.wakes, tally.rounds);
    let round = 20 * WRITE + 40 * (MESSAGE + EVENT) + WAKE;
    let oldest = tally.age(0.999);
    assert!(oldest <= delay + delay / 10 + round, "{oldest} with a delay of {delay}");
    assert!(tally.age(0.5) <= delay / 2 + round, "half are no older than half a delay");
}

#[test]
fn what_comes_in_ticks_leaves_at_once_in_one_round_for_each_tick() {
    let mut core = Core::new(20, 0, bursts(4, 20, MS));
    let mut tally = core.run(2 * SECOND, 4 * SECOND);
    assert!(tally.rounds <= 2_000 * 11 / 10, "{} rounds in 2,000 ticks", tally.rounds);
    assert!(tally.wakes <= 2_000 * 11 / 10, "{} wakes in 2,000 ticks", tally.wakes);
    let oldest = tally.age(0.99);
    assert!(oldest <= 300 * US, "{oldest}: nothing waits longer than taking and writing lasts");
}

#[test]
fn with_windows_the_core_wakes_when_some_open_and_seldom_besides() {
    let mut core = Core::new(200, 16, bursts(4, 1, 200 * US));
    let mut tally = core.run(2 * SECOND, 4 * SECOND);
    assert!(tally.writes > 0 && tally.wakes <= 2_000 * 11 / 10, "{} wakes in 2 s", tally.wakes);
    let oldest = tally.age(0.999);
    assert!(oldest <= 18 * MS + 200 * WRITE, "{oldest}");
}

#[test]
fn a_record_after_a_silence_leaves_at_once() {
    let flow = bursts(1, 1, 50 * US).chain([1_500 * MS, 1_600 * MS, 1_700 * MS]);
    let mut core = Core::new(20, 0, flow);
    let tally = core.run(1_400 * MS, 2 * SECOND);
    assert_eq!(tally.ages.len(), 3 * 20);
    let oldest = tally.ages.iter().max().unwrap();
    assert!(*oldest <= 20 * WRITE + MESSAGE + EVENT + 2 * WAKE, "{oldest}");
}

#[test]
fn no_record_waits_much_longer_than_the_delay_however_records_come() {
    for (sessions, count, every) in [(5, 1, 20 * US), (40, 3, 300 * US), (100, 1, 700 * US), (300, 1, 2 * MS)]
    {
        let mut core = Core::new(sessions, 0, bursts(3, count, every));
        let mut tally = core.run(0, 2 * SECOND);
        let longest = tally.longest_delay;
        let records = longest / every * count as u64 + 2 * count as u64;
        let round = 2 * (sessions as u64 * WRITE + records * (MESSAGE + EVENT)) + 300 * US;
        let oldest = tally.age(1.0);
        assert!(oldest <= longest + round, "{sessions} each {every}: {oldest}, a delay of {longest}");
    }
}
