//! The faults that a bus in memory can be told to have.

use bytes::Bytes;
use futures_util::FutureExt;
use tickwire_bus::{Backplane, BusEvent, InboxLimits, LostCause, MemoryBus, MemoryLimits, PublishError};

use crate::fixture::{data, messages};

fn payload(number: u8) -> Bytes {
    Bytes::from(vec![number])
}

fn numbers(events: &[BusEvent]) -> Vec<u8> {
    messages(events).iter().map(|(_, payload)| payload[0]).collect()
}

#[tokio::test]
async fn the_nth_message_is_lost_without_a_word() {
    let bus = MemoryBus::default();
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    interest.subscribe(&data("B"), 2).unwrap();
    bus.drop_nth(2);
    bus.drop_nth_on(&data("B"), 2);
    for number in 1..=8 {
        let subject = if number % 2 == 0 { data("B") } else { data("A") };
        assert_eq!(bus.publish(&subject, payload(number)), Ok(()));
    }
    let mut events = Vec::new();
    inbox.recv_batch(&mut events, 100).await;
    assert_eq!(numbers(&events), [1, 3, 5, 6, 7, 8], "2 by count, 4 by subject");
    assert_eq!(events.len(), 6, "nothing tells of it");
}

#[test]
fn a_small_bus_takes_small_payloads() {
    let bus = MemoryBus::new(MemoryLimits { payload_bytes_max: 3, ..MemoryLimits::default() });
    assert_eq!((bus.payload_max(), MemoryBus::default().payload_max()), (3, 1 << 20));
    assert_eq!(bus.publish(&data("A"), Bytes::from("abc")), Ok(()));
    let refused = PublishError::TooLarge { bytes: 4, bytes_max: 3 };
    assert_eq!(bus.publish(&data("A"), Bytes::from("abcd")), Err(refused));
}

#[tokio::test]
async fn a_stalled_inbox_overflows_and_recovers() {
    let bus = MemoryBus::default();
    let limits = InboxLimits { messages_max: 3, ..InboxLimits::default() };
    let (interest, mut inbox) = bus.inbox(limits);
    interest.subscribe(&data("A"), 1).unwrap();
    bus.set_stalled(true);
    for number in 0..10 {
        bus.publish(&data("A"), payload(number)).unwrap();
    }
    let mut events = Vec::new();
    assert_eq!(inbox.recv_batch(&mut events, 100).now_or_never(), None);
    bus.set_stalled(false);
    assert!(inbox.recv_batch(&mut events, 100).await);
    let tokens = Some([1].into());
    let lost = BusEvent::Lost { tokens, messages: Some(8), cause: LostCause::InboxFull };
    assert_eq!((&events[0], numbers(&events)), (&lost, vec![8, 9]));
}

#[tokio::test]
async fn a_dropped_inbox_and_a_dropped_bus_leave_nothing() {
    let bus = MemoryBus::default();
    let (interest, inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    assert_eq!((bus.inbox_count(), bus.subject_count()), (1, 1));
    drop(inbox);
    assert_eq!((bus.inbox_count(), bus.subject_count()), (0, 0));
    let (_interest, mut inbox) = bus.inbox(InboxLimits::default());
    drop(bus);
    assert!(!inbox.recv_batch(&mut Vec::new(), 1).await);
}

#[test]
fn order_and_counts_hold_with_many_publishing_threads() {
    const THREADS: u8 = 4;
    const EACH: u32 = 5_000;
    let bus = MemoryBus::default();
    let (interest, mut inbox) = bus.inbox(InboxLimits { messages_max: 1_000, ..InboxLimits::default() });
    for index in 0..16 {
        interest.subscribe(&data(&format!("S{index}")), index).unwrap();
    }
    let publishers: Vec<_> = (0..THREADS)
        .map(|thread| {
            let bus = bus.clone();
            std::thread::spawn(move || {
                let subjects: Vec<_> = (0..16).map(|index| data(&format!("S{index}"))).collect();
                for number in 0..EACH {
                    let mut payload = vec![thread];
                    payload.extend(number.to_be_bytes());
                    bus.publish(&subjects[number as usize % 16], payload.into()).unwrap();
                }
            })
        })
        .collect();
    let mut next = [0; THREADS as usize];
    let mut total = 0;
    let mut take = |events: Vec<BusEvent>| {
        for event in events {
            match event {
                BusEvent::Message { payload, .. } => {
                    let number = u32::from_be_bytes(payload[1..].try_into().unwrap());
                    let expected = &mut next[usize::from(payload[0])];
                    assert!(number >= *expected, "out of order");
                    *expected = number + 1;
                    total += 1;
                }
                BusEvent::Lost { messages: Some(count), cause: LostCause::InboxFull, .. } => total += count,
                other => panic!("{other:?}"),
            }
        }
        total
    };
    let all = u64::from(THREADS) * u64::from(EACH);
    loop {
        let mut events = Vec::new();
        let taken = inbox.recv_batch(&mut events, 100).now_or_never();
        let is_done = publishers.iter().all(std::thread::JoinHandle::is_finished);
        let total = take(events);
        if taken.is_none() && is_done && total == all {
            break;
        }
        assert!(total <= all);
        std::thread::yield_now();
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
}
