//! Quiet, mute, stale: three different things.

use std::time::Duration;

use tickwire_client::Client;
use tickwire_client::wire::{Channel, FeedState, Granted, Message, Subscribed};

use crate::fake_gateway::{FakeGateway, SYMBOL, Session, granted, heartbeat, quote, refused};
use crate::transcript::{during, take, until};

async fn live(gateway: &mut FakeGateway) -> (Client, Session) {
    live_with(gateway, 1000).await
}

async fn live_with(gateway: &mut FakeGateway, heartbeat_ms: u32) -> (Client, Session) {
    gateway.hello.heartbeat_ms = heartbeat_ms;
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
    assert!(client.is_live(SYMBOL));
    (client, session)
}

#[tokio::test(start_paused = true)]
async fn a_quiet_market_never_alarms() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = live(&mut gateway).await;
    let heartbeats = async {
        for _ in 0..3600 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            session.send(&[heartbeat(FeedState::Live, &[])]).await;
        }
    };
    let ((), lines) = during(&mut client, heartbeats).await;
    assert_eq!(lines, ["feed sim Live"]);
    assert!(client.is_live(SYMBOL));
}

#[tokio::test(start_paused = true)]
async fn what_comes_late_is_current_and_not_live() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Quote, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    // The gateway grants it by itself when it is old enough.
    let subscribe = session.subscribe().await;
    let waits = refused(Channel::Quote, SYMBOL, "delayed", true);
    let response = Subscribed { id: subscribe.id, granted: Vec::new(), refused: vec![waits] };
    session.send(&[Message::Subscribed(response)]).await;
    let late = Granted { delay_ms: 900_000, sequence: 1, ..granted(Channel::Quote, SYMBOL) };
    session
        .send(&[Message::Subscribed(Subscribed { granted: vec![late], ..Subscribed::default() }), quote(1)])
        .await;
    until(&mut client, "quote 1").await;
    let delay = Duration::from_secs(900);
    let quote = client.quote(SYMBOL).unwrap();
    assert!(quote.is_current() && !quote.is_live() && quote.delay() == delay);
    assert!(client.is_current(SYMBOL) && !client.is_live(SYMBOL) && client.delay(SYMBOL) == delay);
}

#[tokio::test(start_paused = true)]
async fn a_mute_connection_is_replaced() {
    let mut gateway = FakeGateway::new();
    let (mut client, session) = live(&mut gateway).await;
    let lines = take(&mut client, 2).await;
    assert_eq!(lines[0], "mute 2s");
    assert!(lines[1].starts_with("disconnected for now"), "{lines:?}");
    assert!(!client.is_live(SYMBOL) && !client.quote(SYMBOL).unwrap().is_live() && !client.is_connected());
    let (mut again, lines) = during(&mut client, gateway.accept()).await;
    assert!(lines.is_empty() || lines == ["connected"], "{lines:?}");
    drop(session);
    during(&mut client, again.grant(1, 1)).await;
    assert!(!client.is_live(SYMBOL), "the quote is older than the connection");
    again.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
    assert!(client.is_live(SYMBOL));
}

#[tokio::test(start_paused = true)]
async fn a_quote_of_a_sequence_that_is_gone_is_not_shown() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = live(&mut gateway).await;
    session.close(4000, "").await;
    until(&mut client, "disconnected").await;
    assert_eq!(client.quote(SYMBOL).unwrap().sequence(), 1);
    let (mut again, _) = during(&mut client, gateway.accept()).await;
    during(&mut client, again.grant(2, 0)).await;
    until(&mut client, "subscribed").await;
    assert!(client.quote(SYMBOL).is_none() && client.is_live(SYMBOL), "live, and without a quote yet");
}

#[tokio::test(start_paused = true)]
async fn a_feed_that_is_stale_or_down_is_not_live() {
    for state in [FeedState::Stale, FeedState::Down] {
        let mut gateway = FakeGateway::new();
        let (mut client, mut session) = live(&mut gateway).await;
        session.send(&[heartbeat(state, &[]), heartbeat(state, &[])]).await;
        assert_eq!(take(&mut client, 1).await, [format!("feed sim {state:?}")]);
        assert!(!client.is_live(SYMBOL) && !client.quote(SYMBOL).unwrap().is_live());
        assert_eq!(client.quote(SYMBOL).unwrap().sequence(), 1, "the old quote is there to be looked at");
        session.send(&[heartbeat(FeedState::Live, &[])]).await;
        assert_eq!(take(&mut client, 1).await, ["feed sim Live"]);
        assert!(client.is_live(SYMBOL));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_judged_by_the_interval_that_is_in_force() {
    // The client asks for none: what the gateway says counts.
    for (heartbeat_ms, mute) in [(250, "mute 500ms"), (10_000, "mute 20s"), (60_000, "mute 120s")] {
        let mut gateway = FakeGateway::new();
        let (mut client, mut session) = live_with(&mut gateway, heartbeat_ms).await;
        // Heartbeats that come in time keep a quiet market alive.
        let in_time = Duration::from_millis(u64::from(heartbeat_ms) + 50);
        let heartbeats = async {
            for _ in 0..10 {
                tokio::time::sleep(in_time).await;
                session.send(&[heartbeat(FeedState::Live, &[])]).await;
            }
        };
        let ((), lines) = during(&mut client, heartbeats).await;
        assert_eq!(lines, ["feed sim Live"]);
        assert!(client.is_live(SYMBOL));
        let lines = take(&mut client, 2).await;
        assert_eq!(lines[0], mute);
        assert!(!client.is_live(SYMBOL) && !client.quote(SYMBOL).unwrap().is_live());
    }
}
