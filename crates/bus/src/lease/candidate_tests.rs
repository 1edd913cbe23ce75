//! Candidates in virtual time, with a register whose responses are slow or lost, and processes that stand still, die and come back. At no moment do two of
//! them publish, and who dies is replaced.

use std::collections::BinaryHeap;
use std::time::Duration;

use bytes::Bytes;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::candidate::{Candidate, Response, Step};
use super::{Entry, LeaseTiming};

const MS: u64 = 1_000_000;
/// The virtual time of one run.
const RUN_MS: u64 = 60_000;
/// The time that a lease may have nobody, where those who stand by are well and the register responses.
const VACANT_MAX_MS: u64 = 1_600;

fn timing() -> LeaseTiming {
    LeaseTiming::default()
}

/// The register: it writes at the moment at which a request reaches it.
#[derive(Default)]
struct Store {
    entry: Option<Entry>,
    revision: u64,
}

impl Store {
    fn take(&mut self, step: &Step) -> Response {
        match step {
            Step::Read => Response::Read(self.entry.clone()),
            Step::Write { value, expected } => {
                if self.entry.as_ref().map_or(0, |entry| entry.revision) != *expected {
                    return Response::Written(None);
                }
                self.revision += 1;
                self.entry = Some(Entry { revision: self.revision, value: value.clone() });
                Response::Written(Some(self.revision))
            }
            Step::Wait(_) | Step::Lost => Response::Failed,
        }
    }
}

struct Process {
    candidate: Candidate,
    /// The speed of its clock, in parts of a million: 1 % fast or slow at most.
    speed: u64,
    /// Whether it waits for a response, and the number of that request: responses to older ones are of no use.
    asking: Option<u64>,
    sent: u64,
    stands_still_until: u64,
    is_dead: bool,
}

impl Process {
    fn clock(&self, now: u64) -> u64 {
        (u128::from(now) * u128::from(self.speed) / 1_000_000) as u64
    }

    fn publishes(&self, now: u64) -> bool {
        !self.is_dead && now >= self.stands_still_until && self.candidate.held(self.clock(now)).is_some()
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Wake(usize),
    Arrives(usize, u64),
    Returns(usize, u64),
    TimesOut(usize, u64),
}

struct World {
    rng: ChaCha8Rng,
    now: u64,
    store: Store,
    processes: Vec<Process>,
    events: BinaryHeap<std::cmp::Reverse<(u64, u64, Event)>>,
    steps: Vec<(u64, usize, Step, Option<Response>)>,
    number: u64,
    /// The number of requests in a hundred that are lost; as many responses are.
    lost: u32,
    slowest_ms: u64,
}

impl World {
    fn new(seed: u64, processes: usize, lost: u32, slowest_ms: u64) -> Self {
        let mut world = Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: 0,
            store: Store::default(),
            processes: Vec::new(),
            events: BinaryHeap::new(),
            steps: Vec::new(),
            number: 0,
            lost,
            slowest_ms,
        };
        (0..processes).for_each(|_| world.start());
        world
    }

    fn start(&mut self) {
        let at = self.processes.len();
        let owner = Bytes::from(format!("process {at}"));
        let speed = self.rng.random_range(990_000..=1_010_000);
        self.processes.push(Process {
            candidate: Candidate::new(owner, &timing()),
            speed,
            asking: None,
            sent: 0,
            stands_still_until: 0,
            is_dead: false,
        });
        self.push(self.now, Event::Wake(at));
    }

    fn push(&mut self, at: u64, event: Event) {
        self.number += 1;
        self.events.push(std::cmp::Reverse((at, self.number, event)));
    }

    fn way(&mut self) -> Option<u64> {
        let is_lost = self.rng.random_range(0..100) < self.lost;
        let ms = self.rng.random_range(0..=self.slowest_ms);
        (!is_lost).then_some(self.now + ms * MS)
    }

    fn publishing(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|at| self.processes[*at].publishes(self.now)).collect()
    }

    /// Lets the next thing happen; a process that stands still does what is due when it goes on.
    fn step(&mut self) {
        let Some(std::cmp::Reverse((at, _, event))) = self.events.pop() else {
            panic!("nothing happens any more")
        };
        self.now = self.now.max(at);
        let of = match event {
            Event::Wake(of) | Event::Arrives(of, _) | Event::Returns(of, _) | Event::TimesOut(of, _) => of,
        };
        let process = &self.processes[of];
        let is_asleep = self.now < process.stands_still_until && !matches!(event, Event::Arrives(..));
        if process.is_dead && !matches!(event, Event::Arrives(..)) {
            return;
        }
        if is_asleep {
            let until = process.stands_still_until;
            return self.push(until, event);
        }
        match event {
            Event::Wake(_) => self.wake(of),
            Event::Arrives(_, id) => {
                let step = self.steps.iter_mut().find(|(step, ..)| *step == id);
                if let Some((_, _, step, response)) = step {
                    *response = Some(self.store.take(step));
                }
                if let Some(at) = self.way() {
                    self.push(at, Event::Returns(of, id));
                }
            }
            Event::Returns(_, id) => {
                let response = self.steps.iter().find(|(step, ..)| *step == id).and_then(|it| it.3.clone());
                self.response(of, id, response.unwrap_or(Response::Failed));
            }
            Event::TimesOut(_, id) => self.response(of, id, Response::Failed),
        }
        let publishing = self.publishing();
        assert!(publishing.len() <= 1, "at {} ms {publishing:?} publish", self.now / MS);
    }

    fn response(&mut self, of: usize, id: u64, response: Response) {
        let process = &mut self.processes[of];
        if process.asking != Some(id) {
            return;
        }
        process.asking = None;
        let clock = process.clock(self.now);
        process.candidate.answered(process.sent, clock, response);
        self.wake(of);
    }

    fn wake(&mut self, of: usize) {
        if self.processes[of].asking.is_some() {
            return;
        }
        let clock = self.processes[of].clock(self.now);
        match self.processes[of].candidate.step(clock) {
            Step::Wait(until) => {
                let wait = u128::from(until - clock) * 1_000_000 / u128::from(self.processes[of].speed);
                self.push(self.now + wait as u64 + 1, Event::Wake(of));
            }
            Step::Lost => {
                // The program begins anew, as another process would.
                self.processes[of].is_dead = true;
                self.start();
            }
            step => {
                self.number += 1;
                let id = self.number;
                (self.processes[of].asking, self.processes[of].sent) = (Some(id), clock);
                self.steps.push((id, of, step, None));
                if let Some(at) = self.way() {
                    self.push(at, Event::Arrives(of, id));
                }
                let timeout = timing().request_timeout.as_nanos() as u64;
                self.push(self.now + timeout, Event::TimesOut(of, id));
                if self.steps.len() > 256 {
                    self.steps.drain(..128);
                }
            }
        }
    }

    fn run_to(&mut self, until: u64) {
        while self.events.peek().is_some_and(|event| event.0.0 <= until) {
            self.step();
        }
        self.now = until;
    }
}

/// One hundred and fifty runs with losses, delays, clocks at different speeds, and processes that die or stand still for up to 30 s.
#[test]
fn never_two_publish() {
    let mut had_in_all = 0;
    for seed in 0..150 {
        let mut world = World::new(seed, 3, 10, 180);
        let mut had = 0;
        while world.now < RUN_MS * MS {
            let pause = world.rng.random_range(100..4_000) * MS;
            let until = world.now + pause;
            world.run_to(until);
            let publishing = world.publishing();
            had += publishing.len();
            let victim = publishing.first().copied();
            match (world.rng.random_range(0..4), victim) {
                (0, Some(victim)) => {
                    world.processes[victim].is_dead = true;
                    world.start();
                }
                (1, Some(victim)) => {
                    let still = world.rng.random_range(10..30_000) * MS;
                    world.processes[victim].stands_still_until = world.now + still;
                }
                _ => {}
            }
        }
        assert!(had > 0, "seed {seed}: nobody ever published");
        had_in_all += had;
    }
    assert!(had_in_all > 150 * 8, "{had_in_all}: hardly anybody published");
}

/// Where the register responses, a holder that dies or stands still is replaced in time, and one that is well stays.
#[test]
fn the_next_one_takes_over_in_time() {
    for seed in 0..100 {
        let mut world = World::new(seed, 2, 0, 20);
        world.run_to(3_000 * MS);
        let [first] = world.publishing()[..] else { panic!("seed {seed}: nobody publishes") };
        world.run_to(20_000 * MS);
        assert_eq!(world.publishing(), [first], "seed {seed}");
        if seed % 2 == 0 {
            world.processes[first].is_dead = true;
        } else {
            world.processes[first].stands_still_until = world.now + 30_000 * MS;
        }
        let died = world.now;
        let mut taken = None;
        while taken.is_none() {
            world.step();
            taken = world.publishing().first().map(|_| (world.now - died) / MS);
            assert!(world.now < died + VACANT_MAX_MS * MS, "seed {seed}: nobody took over");
        }
        world.run_to(died + 40_000 * MS);
        assert_eq!(world.publishing().len(), 1, "seed {seed}");
        assert_ne!(world.publishing(), [first], "seed {seed}: who stood still publishes again");
    }
}

/// A lease that is given back is taken at once.
#[test]
fn a_lease_that_is_given_back_is_free() {
    let (timing, mut store) = (LeaseTiming { margin: Duration::ZERO, ..timing() }, Store::default());
    let mut first = Candidate::new(Bytes::from_static(b"first"), &timing);
    let mut second = Candidate::new(Bytes::from_static(b"second"), &timing);
    let mut turn = |candidate: &mut Candidate, now: u64| {
        let step = candidate.step(now);
        let response = store.take(&step);
        candidate.answered(now, now, response);
        step
    };
    assert_eq!(turn(&mut first, 1), Step::Read);
    assert!(matches!(turn(&mut first, 2), Step::Write { expected: 0, .. }));
    assert_eq!(first.held(3), Some((1, 2 + 1_000 * MS)));
    assert_eq!(turn(&mut second, 3), Step::Read);
    assert!(matches!(second.step(4), Step::Wait(_)));
    let release = first.release().unwrap();
    assert_eq!(store.take(&release), Response::Written(Some(2)));
    let mut turn = |now: u64| {
        let step = second.step(now);
        let response = store.take(&step);
        second.answered(now, now, response);
    };
    turn(200 * MS);
    turn(201 * MS);
    assert_eq!(second.held(202 * MS).map(|held| held.0), Some(3));
}
