//! Looking up what was published before: both kinds do the same, and NATS alone can go wrong in ways of its own.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::{
    Backplane, HistoryConfig, HistoryError, HistoryState, MemoryBus, NatsConfig, Recall, Recalled, Subject,
};
use tickwire_testkit::{NatsServer, NatsServerConfig};

use super::fixture::{PATIENCE, connect, nats_config, up};

fn subject(symbol: &str) -> Subject {
    Subject::data("sim", "trade", symbol).unwrap()
}

/// Makes a payload that says its sequence number.
fn payload(number: u64) -> Bytes {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(40, 0);
    payload.into()
}

/// Makes a payload of one sequence.
fn payload_of(epoch: u64, number: u64) -> Bytes {
    [number.to_be_bytes(), epoch.to_be_bytes()].concat().into()
}

fn epoch(payload: &[u8]) -> u64 {
    payload.get(8..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_be_bytes)
}

fn number(payload: &[u8]) -> u64 {
    payload.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

fn numbers(recalled: &Recalled) -> Vec<u64> {
    recalled.messages.iter().map(|payload| number(payload)).collect()
}

fn recall(symbol: &str, first: u64, last: u64) -> Recall {
    recall_of(0, symbol, first, last)
}

/// Makes a request for part of one sequence; a payload of another one cannot tell.
fn recall_of(wanted: u64, symbol: &str, first: u64, last: u64) -> Recall {
    let place = move |payload: &[u8]| {
        (epoch(payload) == wanted).then(|| match number(payload) {
            before if before < first => Ordering::Less,
            behind if behind > last => Ordering::Greater,
            _ => Ordering::Equal,
        })
    };
    let (subject, place) = (subject(symbol), Arc::new(place));
    Recall { subject, place, cursor: 0, messages_max: 100_000, bytes_max: 100 << 20 }
}

fn jetstream() -> NatsServer {
    NatsServer::start(NatsServerConfig { jetstream: true, ..NatsServerConfig::default() })
}

fn history(make: bool) -> HistoryConfig {
    HistoryConfig {
        stream: "TICKWIRE".to_owned(),
        channels: vec!["trade".to_owned(), "status".to_owned()],
        make,
        max_age: Duration::from_hours(1),
        max_bytes: 1 << 30,
        replicas: 1,
    }
}

fn with_history(server: &NatsServer, history: HistoryConfig) -> NatsConfig {
    NatsConfig { history: Some(history), ..nats_config(server) }
}

async fn state(bus: &dyn Backplane, wanted: impl Fn(&HistoryState) -> bool) -> HistoryState {
    let mut state = bus.history().unwrap().state();
    let found = tokio::time::timeout(PATIENCE, state.wait_for(|state| wanted(state))).await;
    found
        .map_or_else(|_| panic!("stays {:?}", bus.history().unwrap().state()), |found| found.unwrap().clone())
}

async fn ready(bus: &dyn Backplane) {
    state(bus, |state| *state == HistoryState::Ready).await;
}

/// Publishes sequence numbers 1 to `count` to `A`, and others between them.
async fn publish(bus: &dyn Backplane, count: u64) {
    for at in 1..=count {
        bus.publish(&subject("A"), payload(at)).unwrap();
        for other in 0..at % 3 {
            bus.publish(&subject("B"), payload(at * 10 + other)).unwrap();
        }
        bus.publish(&Subject::data("sim", "quote", "A").unwrap(), payload(at)).unwrap();
        if at % 100 == 0 {
            bus.flush(PATIENCE).await.unwrap();
        }
    }
    bus.flush(PATIENCE).await.unwrap();
}

/// Waits until the history keeps sequence number `last` of `A`: a flush says that the server has a message, and a
/// stream stores it behind that.
async fn settled(bus: &dyn Backplane, last: u64) {
    let history = bus.history().unwrap();
    let is_settled = async {
        while numbers(&history.recall(recall("A", last, last)).await.unwrap()) != [last] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_settled).await.expect("everything is kept");
}

/// Checks what must hold of both kinds.
async fn check(bus: &dyn Backplane) {
    const COUNT: u64 = 3000;
    publish(bus, COUNT).await;
    settled(bus, COUNT).await;
    let history = bus.history().unwrap();
    for (first, last) in
        [(1, COUNT), (1, 1), (2, 5), (1500, 1500), (1499, 2222), (COUNT - 300, COUNT), (COUNT, COUNT)]
    {
        let found = history.recall(recall("A", first, last)).await.unwrap();
        assert!(numbers(&found).into_iter().eq(first..=last), "{first} to {last}: {:?}", numbers(&found));
        assert!(!found.more);
    }
    let behind = history.recall(recall("A", COUNT + 1, COUNT + 9)).await.unwrap();
    assert!(behind.messages.is_empty() && !behind.more);
    let unknown = history.recall(recall("Z", 1, 9)).await.unwrap();
    assert!(unknown.messages.is_empty() && !unknown.more);
    // It comes in parts, by number of messages and by bytes.
    for limits in [(700, 100 << 20), (100_000, 40 * 450)] {
        let (mut cursor, mut all, mut parts) = (0, Vec::new(), 0);
        loop {
            let (messages_max, bytes_max) = limits;
            let part = Recall { cursor, messages_max, bytes_max, ..recall("A", 101, 2900) };
            let found = history.recall(part).await.unwrap();
            assert!(found.messages.len() <= messages_max);
            assert!(found.messages.iter().map(Bytes::len).sum::<usize>() <= bytes_max);
            all.extend(numbers(&found));
            (cursor, parts) = (found.cursor, parts + 1);
            if !found.more {
                break;
            }
        }
        assert!(all.into_iter().eq(101..=2900));
        assert_eq!(parts, 2800_usize.div_ceil(limits.0.min(limits.1 / 40)));
    }
}

/// Checks that several ingesters may publish the same subject, one after another and at the same time, each with a
/// sequence of its own; damaged messages lie between.
async fn check_sequences(bus: &dyn Backplane) {
    const EPOCHS: [u64; 4] = [0xC0FF_EE00_0000_0001, 7, u64::MAX, 0x1234_5678_9ABC_DEF0];
    let mut last = [0; 4];
    let mut say = |at: usize, count: u64| {
        for _ in 0..count {
            last[at] += 1;
            bus.publish(&subject("A"), payload_of(EPOCHS[at], last[at])).unwrap();
        }
    };
    say(0, 700);
    say(1, 300);
    // They overlap for a while: alone, in turns, and one silent for longer than a search looks ahead.
    for turn in 0..60 {
        say(1, 1 + turn % 7);
        say(2, 1 + turn % 11);
        if turn % 20 == 0 {
            bus.publish(&subject("A"), Bytes::from("?")).unwrap();
            say(2, 150);
        }
    }
    say(2, 200);
    say(3, 900);
    say(0, 1);
    bus.flush(PATIENCE).await.unwrap();
    let history = bus.history().unwrap();
    let is_settled = async {
        while history.recall(recall_of(EPOCHS[0], "A", 701, 701)).await.unwrap().messages.is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_settled).await.expect("everything is kept");
    for (epoch, last) in EPOCHS.into_iter().zip(last) {
        for (from, to) in [(1, last), (1, 1), (last / 3, last / 2), (last - 1, last + 5), (last, last)] {
            let found = history.recall(recall_of(epoch, "A", from, to)).await.unwrap();
            assert!(
                numbers(&found).into_iter().eq(from..=to.min(last)),
                "{from} to {to} of {epoch}: {:?}",
                numbers(&found)
            );
        }
        let behind = history.recall(recall_of(epoch, "A", last + 1, last + 9)).await.unwrap();
        assert!(behind.messages.is_empty() && !behind.more);
    }
    let unknown = history.recall(recall_of(99, "A", 1, 9)).await.unwrap();
    assert!(unknown.messages.is_empty() && !unknown.more);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_tells_sequences_apart() {
    let bus = MemoryBus::default();
    bus.keep_history(100_000);
    check_sequences(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_tells_sequences_apart() {
    let server = jetstream();
    let bus = connect(&with_history(&server, history(true)));
    up(bus.as_ref()).await;
    ready(bus.as_ref()).await;
    check_sequences(bus.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_finds_what_was_published() {
    let bus = MemoryBus::default();
    assert!(bus.history().is_none(), "off unless asked for");
    bus.keep_history(100_000);
    check(&bus).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_finds_what_was_published() {
    let server = jetstream();
    let bus = connect(&with_history(&server, history(true)));
    up(bus.as_ref()).await;
    ready(bus.as_ref()).await;
    check(bus.as_ref()).await;
}

#[tokio::test]
async fn memory_forgets_the_oldest() {
    let bus = MemoryBus::default();
    bus.keep_history(10);
    publish(&bus, 25).await;
    let found = bus.history().unwrap().recall(recall("A", 1, 20)).await.unwrap();
    assert!(numbers(&found).into_iter().eq(16..=20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_outlives_the_server_and_is_found_by_others() {
    let mut server = jetstream();
    let ingester = connect(&with_history(&server, history(true)));
    up(ingester.as_ref()).await;
    ready(ingester.as_ref()).await;
    publish(ingester.as_ref(), 100).await;
    settled(ingester.as_ref(), 100).await;
    server.restart();
    let gateway = connect(&with_history(&server, history(false)));
    up(gateway.as_ref()).await;
    ready(gateway.as_ref()).await;
    let found = gateway.history().unwrap().recall(recall("A", 3, 100)).await.unwrap();
    assert!(numbers(&found).into_iter().eq(3..=100), "{:?}", numbers(&found));
}

/// Checks that a reason says what to do, and that nothing else failed.
#[track_caller]
fn assert_unavailable(state: &HistoryState, parts: &[&str]) {
    let HistoryState::Unavailable { reason } = state else { panic!("{state:?}") };
    for part in parts {
        assert!(reason.contains(part), "`{part}` is missing in: {reason}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_named() {
    let is_told = |state: &HistoryState| *state != HistoryState::Checking;
    let plain = NatsServer::start(NatsServerConfig::default());
    let bus = connect(&with_history(&plain, history(true)));
    assert_unavailable(&state(bus.as_ref(), is_told).await, &["JetStream", "switch it on"]);
    let error = bus.history().unwrap().recall(recall("A", 1, 2)).await.unwrap_err();
    assert!(matches!(error, HistoryError::Unavailable(_)), "{error:?}");
    bus.publish(&subject("A"), payload(1)).unwrap();

    let server = jetstream();
    let gateway = connect(&with_history(&server, history(false)));
    assert_unavailable(
        &state(gateway.as_ref(), is_told).await,
        &["no stream `TICKWIRE`", "bus.history.make"],
    );
    // It is looked for again.
    let ingester = connect(&with_history(&server, history(true)));
    ready(ingester.as_ref()).await;
    ready(gateway.as_ref()).await;
    // Another one wants more of it than it captures.
    let mut more = history(false);
    more.channels.push("instrument".to_owned());
    let other = connect(&with_history(&server, more.clone()));
    assert_unavailable(&state(other.as_ref(), is_told).await, &["tw.v1.*.instrument.*", "add it"]);
    // The one that makes it may change it.
    let maker = connect(&with_history(&server, HistoryConfig { make: true, ..more }));
    ready(maker.as_ref()).await;
    ready(other.as_ref()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_that_is_down_says_so() {
    let mut server = jetstream();
    let bus = connect(&with_history(&server, history(true)));
    ready(bus.as_ref()).await;
    server.stop();
    super::fixture::wait_state(bus.as_ref(), |state| !state.is_up()).await;
    let error = bus.history().unwrap().recall(recall("A", 1, 2)).await.unwrap_err();
    assert_eq!(error, HistoryError::Down);
}
