//! Tests of what only a real server can do: not be there, die, hang, and come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tickwire_bus::{
    Backplane, BusEvent, BusState, ConnectError, InboxLimits, LostCause, NatsBus, NatsConfig, PublishError,
};
use tickwire_testkit::{NatsServer, NatsServerConfig};
use tokio::time::timeout;

use crate::fixture::{PATIENCE, connect, data, messages, nats_config, take, take_until, up, wait_state};

#[tokio::test]
async fn connecting_does_not_wait_and_tells_why_it_fails() {
    let mut server = NatsServer::start(NatsServerConfig::default());
    server.stop();
    let started = Instant::now();
    let bus = connect(&nats_config(&server));
    assert!(started.elapsed() < Duration::from_millis(500));
    assert_eq!(bus.publish(&data("A"), Bytes::new()), Err(PublishError::Down));
    let state = wait_state(bus.as_ref(), |state| matches!(state, BusState::Down { .. })).await;
    let BusState::Down { reason } = state else { unreachable!() };
    assert!(reason.contains("refused") && reason.contains(&server.port().to_string()), "{reason}");
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    server.restart();
    assert_eq!(up(bus.as_ref()).await, 1);
    bus.publish(&data("A"), Bytes::from("x")).unwrap();
    let events = take(&mut inbox, 1).await;
    assert_eq!(messages(&events), [(1, b"x".as_slice())]);
    assert_eq!(events.len(), 1, "the first connection is not a return");
}

#[tokio::test]
async fn a_bad_configuration_is_refused_with_all_errors() {
    let config = NatsConfig { servers: vec![], publish_queue: 0, ..NatsConfig::default() };
    let error = NatsBus::connect(&config).unwrap_err();
    assert!(matches!(&error, ConnectError::Config(errors) if errors.len() == 2));
    assert_eq!(error.to_string().lines().count(), 2);
}

/// A server that is stopped by a signal keeps its sockets open and says nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_server_is_noticed_and_publishing_never_waits() {
    let server = NatsServer::start(NatsServerConfig::default());
    let ping_interval = Duration::from_millis(200);
    let bus = connect(&NatsConfig { publish_queue: 64, ping_interval, ..nats_config(&server) });
    up(bus.as_ref()).await;
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    bus.flush(PATIENCE).await.unwrap();
    server.pause();
    let paused = Instant::now();
    let payload = Bytes::from(vec![0; 10_000]);
    let mut refused = 0;
    while bus.state().borrow().is_up() {
        refused += u32::from(bus.publish(&data("A"), payload.clone()) == Err(PublishError::Full));
        tokio::task::yield_now().await;
        assert!(paused.elapsed() < PATIENCE);
    }
    let noticed = paused.elapsed();
    assert!(noticed < Duration::from_secs(10), "{noticed:?} at a ping interval of 200 ms");
    assert!(refused > 1_000, "a call that waits would be refused at most once: {refused}");
    assert_eq!(bus.publish(&data("A"), Bytes::new()), Err(PublishError::Down));
    server.resume();
    assert!(up(bus.as_ref()).await >= 2);
    let is_back =
        |events: &[BusEvent]| events.iter().any(|event| matches!(event, BusEvent::Reconnected { .. }));
    take_until(&mut inbox, is_back).await;
    bus.publish(&data("A"), Bytes::from("fresh")).unwrap();
    take_until(&mut inbox, |events| messages(events).last() == Some(&(1, b"fresh".as_slice()))).await;
}

/// The client drops at the capacity of a subscription; that is told, though neither how much nor where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_overflow_inside_the_client_is_told() {
    let server = NatsServer::start(NatsServerConfig::default());
    let consumer = connect(&NatsConfig { subscription_queue: 1, ..nats_config(&server) });
    let publisher = connect(&nats_config(&server));
    up(consumer.as_ref()).await;
    up(publisher.as_ref()).await;
    let (interest, mut inbox) = consumer.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    consumer.flush(PATIENCE).await.unwrap();
    for number in 0..10_000_u32 {
        publisher.publish(&data("A"), Bytes::from(number.to_be_bytes().to_vec())).unwrap();
    }
    let is_told = |event: &BusEvent| {
        matches!(event, BusEvent::Lost { tokens: None, messages: None, cause: LostCause::Upstream })
    };
    let events = take_until(&mut inbox, |events| events.iter().any(is_told)).await;
    let numbers: Vec<_> = messages(&events).into_iter().map(|(_, payload)| payload.to_vec()).collect();
    assert!(numbers.is_sorted());
}

/// After an outage consumers get what is published then, not what waited in queues.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_stale_is_delivered_after_an_outage() {
    let mut server = NatsServer::start(NatsServerConfig::default());
    let bus = connect(&nats_config(&server));
    up(bus.as_ref()).await;
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    bus.flush(PATIENCE).await.unwrap();
    server.stop();
    wait_state(bus.as_ref(), |state| !state.is_up()).await;
    for _ in 0..10_000 {
        assert_eq!(bus.publish(&data("A"), Bytes::from("stale")), Err(PublishError::Down));
    }
    server.restart();
    up(bus.as_ref()).await;
    bus.publish(&data("A"), Bytes::from("fresh")).unwrap();
    let events = take(&mut inbox, 1).await;
    assert_eq!(messages(&events), [(1, b"fresh".as_slice())]);
}

/// The largest message is what this server says, and changes when another server answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_payload_is_what_the_server_takes_now() {
    const ENVELOPE: usize = 16;
    let text = "max_payload: 5000".to_owned();
    let mut server = NatsServer::start(NatsServerConfig { text, ..NatsServerConfig::default() });
    let bus = connect(&nats_config(&server));
    for (max_payload, next) in [(5_000, "max_payload: 2000"), (2_000, "max_payload: 9000"), (9_000, "")] {
        up(bus.as_ref()).await;
        assert_eq!(bus.payload_max(), max_payload - ENVELOPE);
        let (interest, mut inbox) = bus.inbox(InboxLimits::default());
        interest.subscribe(&data("A"), 1).unwrap();
        bus.flush(PATIENCE).await.unwrap();
        let largest = vec![7; bus.payload_max()];
        bus.publish(&data("A"), largest.clone().into()).unwrap();
        assert!(messages(&take(&mut inbox, 1).await) == [(1, largest.as_slice())]);
        let refused = bus.publish(&data("A"), vec![7; bus.payload_max() + 1].into());
        assert!(matches!(refused, Err(PublishError::TooLarge { .. })), "{refused:?}");
        server.stop();
        wait_state(bus.as_ref(), |state| !state.is_up()).await;
        server.set_config(next);
        server.restart();
    }
}

fn cluster_of_two() -> [NatsServer; 2] {
    let cluster = |name: &str, listen: &str, routes: &str| {
        format!(
            "server_name: {name}\ncluster {{ name: c, listen: \"{listen}\", routes: [{routes}], no_advertise: true }}"
        )
    };
    let route_port = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    let first = cluster("one", &format!("127.0.0.1:{route_port}"), "");
    let second = cluster("two", "127.0.0.1:-1", &format!("\"nats://127.0.0.1:{route_port}\""));
    [first, second].map(|text| NatsServer::start(NatsServerConfig { text, ..Default::default() }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_servers_dies() {
    let mut servers = cluster_of_two();
    let both: Vec<_> = servers.iter().map(NatsServer::url).collect();
    let consumer = connect(&NatsConfig { servers: both.clone(), ..nats_config(&servers[0]) });
    let publisher = connect(&NatsConfig { servers: both, ..nats_config(&servers[0]) });
    let (interest, mut inbox) = consumer.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    for round in 0_u8..4 {
        let dies = usize::from(round % 2);
        up(consumer.as_ref()).await;
        up(publisher.as_ref()).await;
        reaches(&publisher, &mut inbox, round).await;
        servers[dies].stop();
        servers[1 - dies].log();
        reaches(&publisher, &mut inbox, round + 100).await;
        servers[dies].restart();
    }
}

/// Publishes until one arrives; the first may be lost while connections and routes move.
async fn reaches(publisher: &Arc<dyn Backplane>, inbox: &mut tickwire_bus::Inbox, mark: u8) {
    let repeating = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            let _ = publisher.publish(&data("A"), Bytes::from(vec![mark]));
        }
    };
    let arriving = async {
        let mut events = Vec::new();
        while !messages(&events).contains(&(1, [mark].as_slice())) {
            assert!(inbox.recv_batch(&mut events, 1_000).await);
        }
    };
    let arrived = timeout(PATIENCE, async {
        tokio::select! { () = arriving => {}, () = repeating => {} }
    });
    assert!(arrived.await.is_ok(), "mark {mark} never arrived");
}

/// Foreign messages on our subjects are not handed to consumers.
#[tokio::test]
async fn messages_without_envelope_are_ignored() {
    let server = NatsServer::start(NatsServerConfig::default());
    let bus = connect(&nats_config(&server));
    up(bus.as_ref()).await;
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    interest.subscribe(&data("A"), 1).unwrap();
    bus.flush(PATIENCE).await.unwrap();
    let foreign = async_nats::connect(server.url()).await.unwrap();
    for text in ["", "short", "longer than an envelope is, but no envelope"] {
        foreign.publish(data("A").to_string(), text.into()).await.unwrap();
    }
    foreign.flush().await.unwrap();
    // A round trip on the foreign connection makes sure that its messages are before ours.
    let _ = foreign.request("nobody", Bytes::new()).await;
    bus.publish(&data("A"), Bytes::from("ours")).unwrap();
    assert_eq!(messages(&take(&mut inbox, 1).await), [(1, b"ours".as_slice())]);
}

#[tokio::test]
async fn dropping_the_handle_ends_the_connection() {
    let server = NatsServer::start(NatsServerConfig::default());
    let bus = connect(&nats_config(&server));
    up(bus.as_ref()).await;
    let (interest, mut inbox) = bus.inbox(InboxLimits::default());
    let state = bus.state();
    drop(bus);
    assert!(!timeout(PATIENCE, inbox.recv_batch(&mut Vec::new(), 1)).await.unwrap());
    assert!(!state.borrow().is_up());
    assert!(interest.subscribe(&data("A"), 1).is_err());
}
