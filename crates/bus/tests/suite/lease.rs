//! Leases over both kinds of bus: a register that changes for one of two writers, and holders of whom one publishes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::lease::{Entry, Held, LeaseHolder, LeaseTiming, LeasedBus, Term};
use tickwire_bus::{Backplane, BusEvent, InboxLimits, MemoryBus, Subject};
use tickwire_testkit::{NatsServer, NatsServerConfig};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::fixture::{PATIENCE, connect, nats_config, take, up};

type Bus = Arc<dyn Backplane>;

async fn over_nats() -> (NatsServer, Bus, Bus) {
    let server = NatsServer::start(NatsServerConfig { jetstream: true, ..NatsServerConfig::default() });
    let [first, second] = [connect(&nats_config(&server)), connect(&nats_config(&server))];
    up(first.as_ref()).await;
    up(second.as_ref()).await;
    (server, first, second)
}

async fn one_of_two_writers_writes(first: Bus, second: Bus) {
    let (first, second) = (first.register().unwrap(), second.register().unwrap());
    assert_eq!(first.read("a").await, Ok(None));
    let one = first.write("a", Bytes::from("one"), 0).await.unwrap().unwrap();
    assert_eq!(second.write("a", Bytes::from("two"), 0).await, Ok(None));
    assert_eq!(second.read("a").await, Ok(Some(Entry { revision: one, value: Bytes::from("one") })));
    let two = second.write("a", Bytes::new(), one).await.unwrap().unwrap();
    assert!(two > one);
    assert_eq!(first.write("a", Bytes::from("three"), one).await, Ok(None));
    assert_eq!(first.read("a").await, Ok(Some(Entry { revision: two, value: Bytes::new() })));
    assert_eq!(first.read("b").await, Ok(None));
}

#[tokio::test]
async fn one_of_two_writers_writes_in_memory() {
    let bus: Bus = Arc::new(MemoryBus::default());
    one_of_two_writers_writes(Arc::clone(&bus), bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_writers_writes_over_nats() {
    let (_server, first, second) = over_nats().await;
    one_of_two_writers_writes(first, second).await;
}

struct Candidate {
    bus: LeasedBus,
    term: Term,
    stop: CancellationToken,
    task: JoinHandle<Held>,
}

/// Times that a machine which stands still for a moment does not lose a lease by.
const TIMING: LeaseTiming = LeaseTiming {
    length: Duration::from_secs(5),
    margin: Duration::from_secs(1),
    renew_every: Duration::from_millis(250),
    look_every: Duration::from_millis(100),
    request_timeout: Duration::from_secs(1),
};

fn candidate(bus: &Bus, owner: &str) -> Candidate {
    let holder = LeaseHolder::new(Arc::clone(bus), "feed", owner, TIMING).unwrap();
    let (term, stop) = (holder.term(), CancellationToken::new());
    let task = tokio::spawn(holder.run(stop.clone()));
    Candidate { bus: LeasedBus::new(Arc::clone(bus), term.clone()), term, stop, task }
}

/// Waits until one of these holds the lease, and returns which.
async fn holder(candidates: &[&Candidate]) -> usize {
    let find = async {
        loop {
            if let Some(at) = candidates.iter().position(|it| it.term.open() > 0) {
                return at;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, find).await.expect("nobody holds the lease")
}

async fn the_next_one_holds_it(first: Bus, second: Bus) {
    let subject = Subject::data("sim", "trade", "A").unwrap();
    let (interest, mut inbox) = first.inbox(InboxLimits::default());
    interest.subscribe(&subject, 1).unwrap();
    first.flush(PATIENCE).await.unwrap();
    let one = candidate(&first, "one");
    assert_eq!(holder(&[&one]).await, 0);
    let lease = one.term.opened();
    let two = candidate(&second, "two");
    // Longer than a lease: it is held on.
    sleep(TIMING.length.mul_f64(1.2)).await;
    assert_eq!((one.term.lease(), two.term.lease()), (lease, 0));
    two.bus.publish(&subject, Bytes::from("of who stands by")).unwrap();
    one.bus.publish(&subject, Bytes::from("of the holder")).unwrap();

    // The process dies.
    one.task.abort();
    assert_eq!(holder(&[&two]).await, 0);
    assert!(two.term.lease() > lease);
    assert_eq!(one.term.lease(), 0, "its bus is shut before the next one has the lease");
    one.bus.publish(&subject, Bytes::from("of the dead")).unwrap();
    two.bus.publish(&subject, Bytes::from("of the next one")).unwrap();

    // One that is given back is free at once.
    let three = candidate(&first, "three");
    two.stop.cancel();
    assert_eq!(two.task.await.unwrap(), Held::GivenBack);
    assert_eq!(holder(&[&three]).await, 0);
    three.bus.publish(&subject, Bytes::from("of the third")).unwrap();
    let events = take(&mut inbox, 3).await;
    let payload = |event: &BusEvent| match event {
        BusEvent::Message { payload, .. } => payload.clone(),
        other => panic!("{other:?}"),
    };
    let payloads: Vec<_> = events.iter().map(payload).collect();
    assert_eq!(payloads, ["of the holder", "of the next one", "of the third"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_one_holds_it_in_memory() {
    let bus: Bus = Arc::new(MemoryBus::default());
    the_next_one_holds_it(Arc::clone(&bus), bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_one_holds_it_over_nats() {
    let (_server, first, second) = over_nats().await;
    the_next_one_holds_it(first, second).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_without_its_server_publishes_nothing() {
    let (mut server, first, _second) = over_nats().await;
    let one = candidate(&first, "one");
    assert_eq!(holder(&[&one]).await, 0);
    let lease = one.term.lease();
    server.stop();
    let Candidate { term, task, .. } = one;
    assert_eq!(timeout(PATIENCE, task).await.unwrap().unwrap(), Held::Lost);
    assert_eq!(term.lease(), 0);
    server.restart();
    up(first.as_ref()).await;
    let two = candidate(&first, "two");
    assert_eq!(holder(&[&two]).await, 0);
    assert!(two.term.lease() > lease, "numbers go on behind a restart of the server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_no_leases_is_told() {
    let server = NatsServer::start(NatsServerConfig::default());
    let bus = connect(&nats_config(&server));
    up(bus.as_ref()).await;
    let error = bus.register().unwrap().read("a").await.unwrap_err().to_string();
    assert!(error.contains("tickwire-leases") && error.contains("needs JetStream"), "{error}");
}
