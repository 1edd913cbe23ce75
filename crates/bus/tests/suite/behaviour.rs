//! The behaviour that both kinds of bus share.

use std::time::Duration;

use bytes::Bytes;
use tickwire_bus::{
    BusEvent, InboxLimits, InterestError, LostCause, PublishError, RequestError, ServeError, Subject,
};
use tokio::time::timeout;

use crate::fixture::{Fixture, PATIENCE, data, messages, take, take_until};

/// Runs each function as a test against a bus in memory and against NATS.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod in_memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Fixture::memory()).await;
            })+
        }
        mod over_nats {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(super::Fixture::nats().await).await;
            })+
        }
    };
}

both!(
    a_message_arrives_with_its_token,
    a_wildcard_tells_the_subject,
    exact_and_wildcard_both_get_it,
    unsubscribing_stops_delivery,
    subscribing_twice_delivers_once,
    a_new_token_replaces_the_old,
    subjects_are_limited,
    every_inbox_gets_everything,
    order_holds_across_subjects,
    small_batches_keep_the_order,
    loss_at_capacity_is_counted_exactly,
    a_request_gets_a_response,
    no_responder_is_told_at_once,
    a_slow_responder_times_out,
    a_responder_that_left_is_no_responder,
    interest_is_in_force_before_a_request,
    big_payloads_pass_and_bigger_are_refused,
    wildcards_are_for_subscribing_only,
    an_outage_is_told_and_survived,
    interest_changed_while_down_counts_afterwards,
    a_request_fails_when_the_bus_breaks,
    ten_thousand_subjects,
    a_dropped_inbox_leaves_nothing,
    closing_ends_everything,
);

async fn a_message_arrives_with_its_token(bus: Fixture) {
    let subject = data("BRK.B/> *");
    let (_interest, mut inbox) = bus.inbox(&[(&subject, 7)]).await;
    bus.publish(&data("other"), "no");
    bus.publish(&subject, "yes");
    let events = take(&mut inbox, 1).await;
    let wanted = BusEvent::Message { token: 7, subject: None, payload: Bytes::from("yes") };
    assert_eq!(events, [wanted]);
}

async fn a_wildcard_tells_the_subject(bus: Fixture) {
    let all = Subject::data_all_symbols("sim", "quote").unwrap();
    let (_interest, mut inbox) = bus.inbox(&[(&all, 1), (&Subject::heartbeats_all(), 2)]).await;
    let odd = data("a.*");
    let heartbeat = Subject::heartbeat("sim").unwrap();
    bus.publish(&Subject::data("sim", "trade", "A").unwrap(), "other channel");
    bus.publish(&Subject::data("sim2", "quote", "A").unwrap(), "other venue");
    bus.publish(&odd, "1");
    bus.publish(&heartbeat, "2");
    let events = take(&mut inbox, 2).await;
    let message = |token, subject: &Subject, payload: &'static str| BusEvent::Message {
        token,
        subject: Some(subject.clone()),
        payload: Bytes::from(payload),
    };
    assert_eq!(events, [message(1, &odd, "1"), message(2, &heartbeat, "2")]);
}

async fn exact_and_wildcard_both_get_it(bus: Fixture) {
    let all = Subject::data_all_symbols("sim", "quote").unwrap();
    let (_interest, mut inbox) = bus.inbox(&[(&all, 1), (&data("A"), 2)]).await;
    bus.publish(&data("A"), "x");
    let events = take(&mut inbox, 2).await;
    let mut tokens: Vec<_> = messages(&events).iter().map(|(token, _)| *token).collect();
    tokens.sort_unstable();
    assert_eq!(tokens, [1, 2]);
}

async fn unsubscribing_stops_delivery(bus: Fixture) {
    let (a, b) = (data("A"), data("B"));
    let (interest, mut inbox) = bus.inbox(&[(&a, 1), (&b, 2)]).await;
    interest.unsubscribe(&a);
    interest.unsubscribe(&a);
    interest.unsubscribe(&data("never there"));
    bus.consumer.flush(PATIENCE).await.unwrap();
    bus.publish(&a, "no");
    bus.publish(&b, "yes");
    assert_eq!(messages(&take(&mut inbox, 1).await), [(2, b"yes".as_slice())]);
    interest.subscribe(&a, 3).unwrap();
    bus.consumer.flush(PATIENCE).await.unwrap();
    bus.publish(&a, "again");
    assert_eq!(messages(&take(&mut inbox, 1).await), [(3, b"again".as_slice())]);
}

async fn subscribing_twice_delivers_once(bus: Fixture) {
    let a = data("A");
    let (interest, mut inbox) = bus.inbox(&[(&a, 1), (&a, 1)]).await;
    interest.clone().subscribe(&a, 1).unwrap();
    bus.consumer.flush(PATIENCE).await.unwrap();
    bus.publish(&a, "1");
    bus.publish(&a, "2");
    let events = take(&mut inbox, 2).await;
    assert_eq!(messages(&events), [(1, b"1".as_slice()), (1, b"2".as_slice())]);
}

async fn a_new_token_replaces_the_old(bus: Fixture) {
    let a = data("A");
    let (interest, mut inbox) = bus.inbox(&[(&a, 1)]).await;
    interest.subscribe(&a, 2).unwrap();
    bus.consumer.flush(PATIENCE).await.unwrap();
    bus.publish(&a, "x");
    assert_eq!(messages(&take(&mut inbox, 1).await), [(2, b"x".as_slice())]);
}

async fn subjects_are_limited(bus: Fixture) {
    let limits = InboxLimits { subjects_max: 2, ..InboxLimits::default() };
    let (interest, _inbox) = bus.inbox_with(limits, &[(&data("A"), 1), (&data("B"), 2)]).await;
    assert_eq!(interest.subscribe(&data("C"), 3), Err(InterestError::Full));
    assert_eq!(interest.subscribe(&data("A"), 1), Ok(()));
    interest.unsubscribe(&data("A"));
    assert_eq!(interest.subscribe(&data("C"), 3), Ok(()));
}

async fn every_inbox_gets_everything(bus: Fixture) {
    let a = data("A");
    let (_first, mut first) = bus.inbox(&[(&a, 1)]).await;
    let (_second, mut second) = bus.inbox(&[(&a, 2)]).await;
    let limits = InboxLimits { messages_max: 1, ..InboxLimits::default() };
    let (_stuck, _never_read) = bus.inbox_with(limits, &[(&a, 3)]).await;
    for index in 0..100_u8 {
        bus.publish(&a, vec![index]);
    }
    for (inbox, token) in [(&mut first, 1), (&mut second, 2)] {
        let events = take(inbox, 100).await;
        let wanted: Vec<_> = (0..100_u8).map(|index| (token, vec![index])).collect();
        let got: Vec<_> = messages(&events).into_iter().map(|(t, payload)| (t, payload.to_vec())).collect();
        assert_eq!(got, wanted);
    }
}

/// Publishes `count` numbers, each to another of 64 subjects.
fn publish_numbers(bus: &Fixture, subjects: &[Subject], count: u32) {
    for number in 0..count {
        let subject = &subjects[(number.wrapping_mul(2_654_435_761) >> 7) as usize % subjects.len()];
        bus.publish(subject, number.to_be_bytes().to_vec());
    }
}

fn numbers(events: &[BusEvent]) -> Vec<u32> {
    let number = |(_, payload): (u64, &[u8])| u32::from_be_bytes(payload.try_into().unwrap());
    messages(events).into_iter().map(number).collect()
}

async fn order_holds_across_subjects(bus: Fixture) {
    let subjects: Vec<_> = (0..64).map(|index| data(&format!("S{index}"))).collect();
    let pairs: Vec<_> = subjects.iter().zip(0..).collect();
    let (_interest, mut inbox) = bus.inbox(&pairs).await;
    publish_numbers(&bus, &subjects, 20_000);
    let events = take(&mut inbox, 20_000).await;
    assert_eq!(numbers(&events), (0..20_000).collect::<Vec<_>>());
}

async fn small_batches_keep_the_order(bus: Fixture) {
    let subjects: Vec<_> = (0..64).map(|index| data(&format!("S{index}"))).collect();
    let pairs: Vec<_> = subjects.iter().zip(0..).collect();
    let (_interest, mut inbox) = bus.inbox(&pairs).await;
    publish_numbers(&bus, &subjects, 5_000);
    let mut events = Vec::new();
    while messages(&events).len() < 5_000 {
        let before = events.len();
        assert!(timeout(PATIENCE, inbox.recv_batch(&mut events, 7)).await.unwrap());
        assert!((1..=7).contains(&(events.len() - before)));
    }
    assert_eq!(numbers(&events), (0..5_000).collect::<Vec<_>>());
}

async fn loss_at_capacity_is_counted_exactly(bus: Fixture) {
    let a = data("A");
    let limits = InboxLimits { messages_max: 10, ..InboxLimits::default() };
    let (_interest, mut inbox) = bus.inbox_with(limits, &[(&a, 1), (&data("end"), 2)]).await;
    publish_numbers(&bus, std::slice::from_ref(&a), 1_000);
    // A second inbox sees the end, so the first must have met all of it.
    let (_other, mut other) = bus.inbox(&[(&data("end"), 0)]).await;
    bus.publish(&data("end"), vec![0; 4]);
    take(&mut other, 1).await;
    let events = take_until(&mut inbox, |events| numbers(events).contains(&999)).await;
    // The end may be among them, with a 0.
    let left: Vec<_> = numbers(&events).into_iter().filter(|number| *number > 0).collect();
    assert!((4..=10).contains(&left.len()), "{left:?}");
    assert_eq!(left, (1_000 - left.len() as u32..1_000).collect::<Vec<_>>(), "the newest");
    let lost: u64 = events
        .iter()
        .map(|event| match event {
            BusEvent::Lost { messages: Some(count), cause: LostCause::InboxFull, .. } => *count,
            BusEvent::Message { .. } => 0,
            other => panic!("{other:?}"),
        })
        .sum();
    assert_eq!(lost + left.len() as u64, 1_000);
    bus.publish(&a, 7_u32.to_be_bytes().to_vec());
    let events = take_until(&mut inbox, |events| numbers(events).last() == Some(&7)).await;
    assert!(!numbers(&events).is_empty());
}

async fn a_request_gets_a_response(bus: Fixture) {
    let ask = Subject::request("sim", 7).unwrap();
    let mut requests = bus.publisher.serve(&ask).await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let response = [request.payload().as_ref(), b"!"].concat();
            request.reply(response.into()).unwrap();
        }
    });
    for text in ["a", "b"] {
        let response = bus.consumer.request(&ask, Bytes::from(text), PATIENCE).await;
        assert_eq!(response, Ok(Bytes::from(format!("{text}!"))));
    }
    let many = (0..50_u8).map(|index| bus.consumer.request(&ask, vec![index].into(), PATIENCE));
    for (index, response) in futures_util::future::join_all(many).await.into_iter().enumerate() {
        assert_eq!(response.unwrap().as_ref(), [index as u8, b'!']);
    }
}

async fn no_responder_is_told_at_once(bus: Fixture) {
    let ask = Subject::request("nobody", 7).unwrap();
    let response = timeout(PATIENCE, bus.consumer.request(&ask, Bytes::new(), PATIENCE * 2)).await;
    assert_eq!(response.unwrap(), Err(RequestError::NoResponder));
}

async fn a_slow_responder_times_out(bus: Fixture) {
    let ask = Subject::request("sim", 7).unwrap();
    let mut requests = bus.publisher.serve(&ask).await.unwrap();
    let response = bus.consumer.request(&ask, Bytes::new(), Duration::from_millis(50)).await;
    assert_eq!(response, Err(RequestError::TimedOut));
    let request = timeout(PATIENCE, requests.next()).await.unwrap().unwrap();
    assert_eq!(request.reply(Bytes::new()), Ok(()), "too late, and no one's fault");
}

async fn a_responder_that_left_is_no_responder(bus: Fixture) {
    let ask = Subject::request("sim", 7).unwrap();
    drop(bus.publisher.serve(&ask).await.unwrap());
    let left = async {
        while bus.consumer.request(&ask, Bytes::new(), Duration::from_millis(20)).await
            != Err(RequestError::NoResponder)
        {}
    };
    timeout(PATIENCE, left).await.unwrap();
}

/// Subscribes first, then makes a request: what is published after the response must arrive, without any flush between.
async fn interest_is_in_force_before_a_request(bus: Fixture) {
    let ask = Subject::request("sim", 7).unwrap();
    let mut requests = bus.publisher.serve(&ask).await.unwrap();
    let publisher = std::sync::Arc::clone(&bus.publisher);
    tokio::spawn(async move {
        while let Some(request) = requests.next().await {
            let symbol = String::from_utf8(request.payload().to_vec()).unwrap();
            publisher.publish(&data(&symbol), Bytes::from("after the snapshot")).unwrap();
            request.reply(Bytes::from("snapshot")).unwrap();
        }
    });
    let (interest, mut inbox) = bus.consumer.inbox(InboxLimits::default());
    for token in 0..200 {
        let symbol = format!("S{token}");
        interest.subscribe(&data(&symbol), token).unwrap();
        bus.consumer.request(&ask, symbol.into(), PATIENCE).await.unwrap();
        assert_eq!(messages(&take(&mut inbox, 1).await), [(token, b"after the snapshot".as_slice())]);
    }
}

async fn big_payloads_pass_and_bigger_are_refused(bus: Fixture) {
    let a = data("A");
    let ask = Subject::request("sim", 7).unwrap();
    let (_interest, mut inbox) = bus.inbox(&[(&a, 1)]).await;
    let mut requests = bus.publisher.serve(&ask).await.unwrap();
    let payload_max = bus.publisher.payload_max();
    assert!((1_000_000..=1 << 20).contains(&payload_max), "{payload_max}");
    let largest = Bytes::from(vec![9; payload_max]);
    let bigger = Bytes::from(vec![9; payload_max + 1]);
    let too_large = PublishError::TooLarge { bytes: payload_max + 1, bytes_max: payload_max };
    bus.publish(&a, largest.clone());
    let events = take(&mut inbox, 1).await;
    assert!(messages(&events) == [(1, largest.as_ref())]);
    assert_eq!(bus.publisher.publish(&a, bigger.clone()), Err(too_large));
    let asked = bus.consumer.request(&ask, bigger.clone(), PATIENCE).await;
    assert_eq!(asked, Err(RequestError::TooLarge));
    let responding = async {
        requests.next().await.unwrap().reply(largest.clone()).unwrap();
        requests.next().await.unwrap().reply(bigger.clone())
    };
    let asking = async {
        let first = bus.consumer.request(&ask, largest.clone(), PATIENCE).await;
        let second = bus.consumer.request(&ask, Bytes::new(), Duration::from_millis(50)).await;
        (first, second)
    };
    let ((first, second), refused) = futures_util::future::join(asking, responding).await;
    assert!(first.as_ref() == Ok(&largest));
    assert_eq!(refused, Err(too_large), "whoever responds is told");
    assert_eq!(second, Err(RequestError::TimedOut));
}

async fn wildcards_are_for_subscribing_only(bus: Fixture) {
    let all = Subject::heartbeats_all();
    assert_eq!(bus.publisher.publish(&all, Bytes::new()), Err(PublishError::Wildcard));
    assert_eq!(bus.publisher.serve(&all).await.err(), Some(ServeError::Wildcard));
}

async fn an_outage_is_told_and_survived(mut bus: Fixture) {
    let a = data("A");
    let ask = Subject::request("sim", 7).unwrap();
    let (_interest, mut inbox) = bus.inbox(&[(&a, 1)]).await;
    let mut requests = bus.publisher.serve(&ask).await.unwrap();
    let first = bus.consumer.state().borrow().generation().unwrap();
    bus.publish(&a, "before");
    take(&mut inbox, 1).await;
    bus.down().await;
    assert_eq!(bus.publisher.publish(&a, Bytes::from("lost")), Err(PublishError::Down));
    let asked = bus.consumer.request(&ask, Bytes::new(), PATIENCE).await;
    assert_eq!(asked, Err(RequestError::Down));
    let events = take_until(&mut inbox, |events| !events.is_empty()).await;
    assert_eq!(events, [BusEvent::Disconnected]);
    bus.up().await;
    let second = bus.consumer.state().borrow().generation().unwrap();
    assert!(second > first);
    bus.publish(&a, "after");
    let events = take(&mut inbox, 1).await;
    assert_eq!(events[0], BusEvent::Reconnected { generation: second });
    assert_eq!(messages(&events), [(1, b"after".as_slice())]);
    let responding = async { requests.next().await.unwrap().reply(Bytes::from("back")).unwrap() };
    let (response, ()) =
        futures_util::future::join(bus.consumer.request(&ask, Bytes::new(), PATIENCE), responding).await;
    assert_eq!(response, Ok(Bytes::from("back")));
}

async fn interest_changed_while_down_counts_afterwards(mut bus: Fixture) {
    let (a, b, c) = (data("A"), data("B"), data("C"));
    let (interest, mut inbox) = bus.inbox(&[(&a, 1), (&b, 2)]).await;
    bus.down().await;
    interest.unsubscribe(&a);
    interest.subscribe(&c, 3).unwrap();
    interest.subscribe(&data("D"), 4).unwrap();
    interest.unsubscribe(&data("D"));
    bus.up().await;
    for subject in [&a, &data("D"), &b, &c] {
        bus.publish(subject, "x");
    }
    let events = take(&mut inbox, 2).await;
    assert_eq!(messages(&events), [(2, b"x".as_slice()), (3, b"x".as_slice())]);
}

async fn a_request_fails_when_the_bus_breaks(mut bus: Fixture) {
    let ask = Subject::request("sim", 7).unwrap();
    let mut requests = bus.publisher.serve(&ask).await.unwrap();
    let consumer = std::sync::Arc::clone(&bus.consumer);
    let asking = tokio::spawn(async move {
        let ask = Subject::request("sim", 7).unwrap();
        consumer.request(&ask, Bytes::new(), PATIENCE * 2).await
    });
    let request = timeout(PATIENCE, requests.next()).await.unwrap().unwrap();
    bus.down().await;
    assert_eq!(timeout(PATIENCE, asking).await.unwrap().unwrap(), Err(RequestError::Down));
    assert_eq!(request.reply(Bytes::new()), Err(PublishError::Down));
}

async fn ten_thousand_subjects(bus: Fixture) {
    let subjects: Vec<_> = (0..10_000).map(|index| data(&format!("S{index}"))).collect();
    let pairs: Vec<_> = subjects.iter().zip(0..).collect();
    let (interest, mut inbox) = bus.inbox(&pairs).await;
    for (number, subject) in subjects.iter().enumerate() {
        bus.publish(subject, (number as u32).to_be_bytes().to_vec());
    }
    let events = take(&mut inbox, 10_000).await;
    assert_eq!(numbers(&events), (0..10_000).collect::<Vec<_>>());
    for subject in &subjects {
        interest.unsubscribe(subject);
    }
    interest.subscribe(&data("last"), 0).unwrap();
    bus.consumer.flush(PATIENCE).await.unwrap();
    bus.publish(&subjects[5], vec![0; 4]);
    bus.publish(&data("last"), "end");
    assert_eq!(messages(&take(&mut inbox, 1).await), [(0, b"end".as_slice())]);
}

async fn a_dropped_inbox_leaves_nothing(bus: Fixture) {
    let a = data("A");
    let (interest, inbox) = bus.inbox(&[(&a, 1)]).await;
    drop(inbox);
    assert_eq!(interest.subscribe(&data("B"), 2), Err(InterestError::Closed));
    interest.unsubscribe(&a);
    let (_interest, mut inbox) = bus.inbox(&[(&a, 3)]).await;
    bus.publish(&a, "x");
    assert_eq!(messages(&take(&mut inbox, 1).await), [(3, b"x".as_slice())]);
}

async fn closing_ends_everything(bus: Fixture) {
    let a = data("A");
    let (interest, mut inbox) = bus.inbox(&[(&a, 1)]).await;
    let mut requests = bus.consumer.serve(&Subject::request("sim", 7).unwrap()).await.unwrap();
    bus.publish(&a, "x");
    let events = take(&mut inbox, 1).await;
    assert_eq!(messages(&events).len(), 1);
    timeout(PATIENCE, bus.consumer.close()).await.unwrap();
    assert!(!bus.consumer.state().borrow().is_up());
    assert!(!timeout(PATIENCE, inbox.recv_batch(&mut Vec::new(), 10)).await.unwrap());
    assert!(timeout(PATIENCE, requests.next()).await.unwrap().is_none());
    assert_eq!(bus.consumer.publish(&a, Bytes::new()), Err(PublishError::Down));
    assert_eq!(interest.subscribe(&data("B"), 2), Err(InterestError::Closed));
    assert_eq!(
        bus.consumer.serve(&Subject::request("sim", 7).unwrap()).await.err(),
        Some(ServeError::Closed)
    );
    let asked = bus.consumer.request(&Subject::request("sim", 7).unwrap(), Bytes::new(), PATIENCE).await;
    assert_eq!(asked, Err(RequestError::Down));
    let (interest, mut inbox) = bus.consumer.inbox(InboxLimits::default());
    assert_eq!(interest.subscribe(&a, 1), Err(InterestError::Closed));
    assert!(!timeout(PATIENCE, inbox.recv_batch(&mut Vec::new(), 10)).await.unwrap());
    timeout(PATIENCE, bus.consumer.close()).await.unwrap();
}
