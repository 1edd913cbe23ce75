//! A thousand slow readers beside a hundred fast ones.
//!
//! The ages are printed, not compared: with three busy threads on two processors they say how the machine shares these. That the slow
//! ones cost the fast ones next to nothing is shown in virtual time, in `tests/engine/crowd.rs`.

use std::time::Duration;

use hdrhistogram::Histogram;
use tickwire_testkit::{Pace, StockClient, in_ms};
use tokio::sync::oneshot;

use super::server::{Plan, Server, client};
use super::slow::{SLOW, SLOW_BYTES_PER_SECOND, assert_in_flight, in_bytes, in_flight};

const SLOW_SESSIONS: usize = 1_000;
const FAST_SESSIONS: usize = 100;
/// The number of instruments of a fast session; the slow ones have all.
const FAST_INSTRUMENTS: u32 = 10;
const ALONE: Duration = Duration::from_secs(15);
const WARM_UP: Duration = Duration::from_secs(10);
const TOGETHER: Duration = Duration::from_secs(30);
/// The growth of the server that is allowed in the last half minute, 32 KiB for each slow session: what it notes of its
/// decisions, six runs for each of a session's hundred topics, fills up in the first minute and is bounded then.
const MEMORY_MIB: f64 = 32.0;

/// The part of the quotes that a fast one gets at least: a machine that stands still for a moment costs it some that are superseded,
/// and one that is starved by the slow ones gets few.
const FAST_PART: f64 = 0.5;

/// The bytes that may be on their way to a slow one at the median and at p99. It is 1,536 and 3,072 for one alone; beside 999 others in
/// its thread its reads are late, on a busy machine the more. A session without a window has 64 KiB and more on its way.
const IN_FLIGHT: [(f64, u64); 2] = [(0.5, 3_072), (0.99, 16_384)];

struct Crowd {
    clients: Vec<StockClient>,
}

impl Crowd {
    async fn open(address: &str, sessions: usize, instruments: u32, pace: Pace) -> Self {
        let mut clients = Vec::new();
        // They come a few at a time: a throttled one takes a second to read its grants.
        for _ in 0..sessions / 50 {
            let open = (0..50).map(|_| {
                let address = address.to_owned();
                tokio::task::spawn_local(async move { client(&address, instruments, pace).await })
            });
            let open: Vec<_> = open.collect();
            for client in open {
                clients.push(client.await.unwrap());
            }
        }
        Self { clients }
    }

    /// Reads with all at once, each at times of its own.
    async fn read(&mut self, pace: Pace, time: Duration) {
        let reading = self.clients.drain(..).enumerate().map(|(at, mut client)| {
            tokio::task::spawn_local(async move {
                tokio::time::sleep(Duration::from_millis(at as u64 % 100)).await;
                client.read_for(pace, time).await.unwrap();
                client
            })
        });
        let reading: Vec<_> = reading.collect();
        for client in reading {
            self.clients.push(client.await.unwrap());
        }
    }

    fn take_ages(&mut self) -> Histogram<u64> {
        let ages = self.clients.iter_mut().map(|client| client.seen.take_ages());
        ages.reduce(|mut sum, ages| {
            sum.add(ages).unwrap();
            sum
        })
        .unwrap()
    }

    fn take_bytes(&mut self) -> u64 {
        self.clients.iter_mut().map(|client| std::mem::take(&mut client.seen.bytes)).sum()
    }

    /// Returns the bytes that were on their way to each, from its log; it is not kept any longer.
    fn take_in_flight(&mut self) -> Histogram<u64> {
        let mut sum = Histogram::new(2).unwrap();
        for client in &mut self.clients {
            sum.add(in_flight(client.seen.log.take().iter().flatten())).unwrap();
        }
        sum
    }

    async fn check_ledgers(&mut self, pace: Pace) {
        let asking: Vec<_> = self
            .clients
            .drain(..)
            .map(|mut client| {
                tokio::task::spawn_local(async move {
                    client.ask_ledger(pace, Duration::from_secs(120)).await.unwrap();
                    client
                })
            })
            .collect();
        for client in asking {
            self.clients.push(client.await.unwrap());
        }
        for client in &self.clients {
            assert_eq!(client.seen.violations, [""; 0]);
        }
    }
}

/// Runs the fast ones on a thread of their own: what the slow ones cost this process is not to be seen in their ages.
fn fast(
    address: String,
    joined: oneshot::Receiver<()>,
    alone: oneshot::Sender<Histogram<u64>>,
) -> Histogram<u64> {
    local(async move {
        let mut crowd = Crowd::open(&address, FAST_SESSIONS, FAST_INSTRUMENTS, Pace::Prompt).await;
        crowd.read(Pace::Prompt, Duration::from_secs(2)).await;
        crowd.take_ages();
        crowd.read(Pace::Prompt, ALONE).await;
        alone.send(crowd.take_ages()).unwrap();
        let mut joined = joined;
        while joined.try_recv().is_err() {
            crowd.read(Pace::Prompt, Duration::from_secs(1)).await;
        }
        crowd.take_ages();
        crowd.read(Pace::Prompt, TOGETHER).await;
        let ages = crowd.take_ages();
        crowd.check_ledgers(Pace::Prompt).await;
        ages
    })
}

fn local<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

#[test]
#[ignore = "two minutes, in a release build: scripts/test-sockets.sh"]
fn costs_the_fast_ones_nothing() {
    local(async {
        let server = Server::start(Plan { instruments: 100, updates: 20, ..Plan::default() }).await;
        let (alone, was_alone) = oneshot::channel();
        let (join, joined) = oneshot::channel();
        let address = server.address.clone();
        let fast = std::thread::spawn(move || fast(address, joined, alone));
        let alone = was_alone.await.unwrap();

        let mut slow = Crowd::open(&server.address, SLOW_SESSIONS, server.plan.instruments, SLOW).await;
        slow.read(SLOW, WARM_UP).await;
        slow.take_ages();
        slow.take_bytes();
        slow.clients.iter_mut().for_each(|client| client.seen.log = Some(Vec::new()));
        let memory_before = server.resident_mib();
        let (ran_before, waited_before) = server.program.ran_and_waited();
        join.send(()).unwrap();
        slow.read(SLOW, TOGETHER).await;
        let memory = server.resident_mib();
        let (ran, waited) = server.program.ran_and_waited();
        let ran = ran.saturating_sub(ran_before).as_secs_f64();
        let waited = waited.saturating_sub(waited_before).as_secs_f64();
        let (ages, bytes, under_way) = (slow.take_ages(), slow.take_bytes(), slow.take_in_flight());
        let used = bytes as f64 / TOGETHER.as_secs_f64() / SLOW_BYTES_PER_SECOND / SLOW_SESSIONS as f64;
        println!("{SLOW_SESSIONS} slow readers: {}", in_ms(&ages));
        println!("{SLOW_SESSIONS} slow readers: {}", in_bytes(&under_way));
        println!("{SLOW_SESSIONS} slow readers: {:.1} % of their rate used", 100.0 * used);
        println!(
            "server memory: {memory_before:.1} MiB with all sessions, {memory:.1} MiB {TOGETHER:?} later"
        );
        println!("the server ran for {ran:.1} s and waited for a processor for {waited:.1} s");
        slow.check_ledgers(SLOW).await;
        let beside = fast.join().unwrap();
        println!("{FAST_SESSIONS} fast clients alone:       {}", in_ms(&alone));
        println!("{FAST_SESSIONS} fast clients beside them: {}", in_ms(&beside));
        assert!(memory - memory_before < MEMORY_MIB, "memory is not flat");
        assert_in_flight(&under_way, IN_FLIGHT);
        let offered = FAST_SESSIONS as f64 * f64::from(FAST_INSTRUMENTS * 20) * TOGETHER.as_secs_f64();
        let part = beside.len() as f64 / offered;
        assert!(part >= FAST_PART, "the fast ones got {:.0} % of the quotes", 100.0 * part);
    });
}
