//! The order across subjects over NATS, under everything that might break it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::{Backplane, BusEvent, InboxLimits, LostCause, PublishError, Subject};
use tokio::time::timeout;

use crate::fixture::{Fixture, PATIENCE, connect, data, nats_config, take, up};
use tickwire_testkit::{NatsServer, NatsServerConfig};

const SUBJECTS: usize = 64;

fn subjects() -> Vec<Subject> {
    (0..SUBJECTS).map(|index| data(&format!("S{index}"))).collect()
}

/// Publishes numbers below `count`, each preceded by the publisher, waiting while the queue is full.
async fn publish_all(bus: Arc<dyn Backplane>, publisher: u8, count: u32) {
    let subjects = subjects();
    for number in 0..count {
        let mut payload = vec![publisher];
        payload.extend(number.to_be_bytes());
        let payload = Bytes::from(payload);
        let subject = &subjects[(number.wrapping_mul(2_654_435_761) >> 9) as usize % SUBJECTS];
        while let Err(error) = bus.publish(subject, payload.clone()) {
            assert_eq!(error, PublishError::Full);
            tokio::task::yield_now().await;
        }
    }
}

/// A check that each publisher's numbers rise, and a count of how many came.
#[derive(Default)]
struct Checker {
    next: [u32; 4],
    count: usize,
}

impl Checker {
    #[track_caller]
    fn check(&mut self, events: &[BusEvent]) {
        for event in events {
            match event {
                BusEvent::Message { payload, .. } => {
                    let number = u32::from_be_bytes(payload[1..].try_into().unwrap());
                    let next = &mut self.next[usize::from(payload[0])];
                    assert!(number >= *next, "{number} of {} after {}", payload[0], *next - 1);
                    *next = number + 1;
                    self.count += 1;
                }
                BusEvent::Lost { cause, .. } => assert_ne!(*cause, LostCause::Late),
                BusEvent::Disconnected | BusEvent::Reconnected { .. } => {}
            }
        }
    }
}

/// Three publishers send as fast as they can; a consumer takes odd batches, and other consumers keep the bus threads
/// busy: all of it arrives, and in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holds_at_full_speed_with_several_publishers() {
    const COUNT: u32 = 60_000;
    let server = NatsServer::start(NatsServerConfig::default());
    let consumer = connect(&nats_config(&server));
    up(consumer.as_ref()).await;
    let limits = InboxLimits { messages_max: 1 << 20, bytes_max: 1 << 30, ..InboxLimits::default() };
    let mut inboxes = Vec::new();
    for _ in 0..3 {
        let (interest, inbox) = consumer.inbox(limits);
        for (subject, token) in subjects().iter().zip(0..) {
            interest.subscribe(subject, token).unwrap();
        }
        inboxes.push((interest, inbox));
    }
    consumer.flush(PATIENCE).await.unwrap();
    let mut publishing = Vec::new();
    for publisher in 0..3 {
        let bus = connect(&nats_config(&server));
        up(bus.as_ref()).await;
        publishing.push(tokio::spawn(async move {
            publish_all(Arc::clone(&bus), publisher, COUNT).await;
            bus.flush(PATIENCE).await.unwrap();
            assert_eq!(bus.state().borrow().generation(), Some(1), "a connection broke");
        }));
    }
    let consuming: Vec<_> = inboxes
        .into_iter()
        .zip([3, 1_000, 1_000_000])
        .map(|((_interest, mut inbox), max)| {
            tokio::spawn(async move {
                let mut checker = Checker::default();
                let mut events = Vec::new();
                while checker.count < 3 * COUNT as usize {
                    events.clear();
                    let more = timeout(PATIENCE, inbox.recv_batch(&mut events, max)).await;
                    assert_eq!(more, Ok(true), "{} messages came, up to {:?}", checker.count, checker.next);
                    checker.check(&events);
                    let is_note = |event: &&BusEvent| !matches!(event, BusEvent::Message { .. });
                    assert_eq!(events.iter().find(is_note), None, "nothing may be lost here");
                }
            })
        })
        .collect();
    for task in publishing.into_iter().chain(consuming) {
        task.await.unwrap();
    }
}

/// Subjects come and go all the time while messages flow.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holds_while_interest_changes() {
    let bus = Fixture::nats().await;
    let (interest, mut inbox) = bus.inbox(&[]).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (publisher, is_done) = (Arc::clone(&bus.publisher), Arc::clone(&is_done));
        async move {
            publish_all(publisher, 0, 60_000).await;
            is_done.store(true, Ordering::Release);
        }
    });
    let changing = tokio::spawn({
        let (interest, is_done) = (interest.clone(), Arc::clone(&is_done));
        async move {
            let subjects = subjects();
            for round in 0_usize.. {
                if is_done.load(Ordering::Acquire) {
                    break;
                }
                interest.subscribe(&subjects[round % SUBJECTS], round as u64).unwrap();
                interest.unsubscribe(&subjects[round.wrapping_mul(7) % SUBJECTS]);
                tokio::task::yield_now().await;
            }
        }
    });
    let mut checker = Checker::default();
    let mut events = Vec::new();
    while !(publishing.is_finished() && changing.is_finished()) {
        events.clear();
        let _ = timeout(Duration::from_millis(20), inbox.recv_batch(&mut events, 100_000)).await;
        checker.check(&events);
    }
    publishing.await.unwrap();
    changing.await.unwrap();
    assert!(checker.count > 0);
}

/// More than the budget of a tokio task lies in one channel: a drain that stopped there would break the order.
#[tokio::test]
async fn a_drain_does_not_end_at_the_budget_of_a_task() {
    let bus = Fixture::nats().await;
    let (a, b) = (data("A"), data("B"));
    let (_interest, mut inbox) = bus.inbox(&[(&a, 1), (&b, 2)]).await;
    let mut expected = Vec::new();
    for round in 0..200 {
        for _ in 0..300 {
            bus.publish(&a, "a");
        }
        expected.extend([1; 300]);
        bus.publish(&b, "b");
        expected.push(2);
        if round % 50 == 49 {
            let events = take(&mut inbox, expected.len()).await;
            let tokens: Vec<_> = crate::fixture::messages(&events).iter().map(|(token, _)| *token).collect();
            assert!(tokens == expected, "round {round}");
            expected.clear();
        }
    }
}

/// The server is killed and comes back several times: what arrives is in order, nothing is late, nothing is invented.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holds_through_reconnects() {
    let mut bus = Fixture::nats().await;
    let subjects = subjects();
    let pairs: Vec<_> = subjects.iter().zip(0..).collect();
    let (_interest, mut inbox) = bus.inbox(&pairs).await;
    let is_done = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let (publisher, is_done) = (Arc::clone(&bus.publisher), Arc::clone(&is_done));
        let subjects = subjects.clone();
        async move {
            let mut number = 0_u32;
            while !is_done.load(Ordering::Acquire) {
                let mut payload = vec![0];
                payload.extend(number.to_be_bytes());
                // The bus is down or full, so this one is lost.
                let _ = publisher.publish(&subjects[number as usize % SUBJECTS], payload.into());
                number += 1;
                if number.is_multiple_of(50) {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
        }
    });
    let checking = tokio::spawn(async move {
        let mut checker = Checker::default();
        let mut events = Vec::new();
        let mut returns = 0;
        let mut after_last = 0;
        while returns < 3 || after_last < 1_000 {
            events.clear();
            assert!(timeout(PATIENCE, inbox.recv_batch(&mut events, 100_000)).await.unwrap());
            checker.check(&events);
            for event in &events {
                match event {
                    BusEvent::Reconnected { .. } => (returns, after_last) = (returns + 1, 0),
                    BusEvent::Message { .. } => after_last += 1,
                    _ => {}
                }
            }
        }
        checker.count
    });
    for _ in 0..3 {
        bus.down().await;
        bus.up().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let count = timeout(PATIENCE, checking).await.unwrap().unwrap();
    is_done.store(true, Ordering::Release);
    publishing.await.unwrap();
    assert!(count > 1_000, "{count}");
}
