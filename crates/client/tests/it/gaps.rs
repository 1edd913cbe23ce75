//! Every loss is announced: by the gateway, or by the client itself.

use tickwire_client::Client;
use tickwire_client::wire::{Body, Channel, FeedState, GapCause, Message, Notice, Trade};

use crate::fake_gateway::{FakeGateway, SYMBOL, Session, gap, granted, heartbeat, quote, record_of, trade};
use crate::transcript::{during, take, until};

async fn subscribed(gateway: &mut FakeGateway, channel: Channel, sequence: u64) -> (Client, Session) {
    let builder = gateway.client().subscribe(channel, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, sequence).await;
    until(&mut client, "subscribed").await;
    (client, session)
}

/// Checks what becomes of these messages on this channel after sequence number 10, and how many violations there are.
async fn check(channel: Channel, messages: &[Message], expected: &[&str], violations: u64) {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = subscribed(&mut gateway, channel, 10).await;
    session.send(messages).await;
    assert_eq!(take(&mut client, expected.len()).await, expected);
    assert_eq!(client.counters().violations, violations);
}

#[tokio::test(start_paused = true)]
async fn an_announced_gap_is_handed_on_in_order() {
    let messages = [trade(11), gap(Channel::Trade, GapCause::Shed, 12, 20, 1), trade(21)];
    let expected =
        ["trade 11", "gap trade sim:BTC-USD from 12 to 20, cause shed by Gateway in epoch 1", "trade 21"];
    check(Channel::Trade, &messages, &expected, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_jump_that_nobody_announced_is_a_violation() {
    let expected =
        ["trade 11", "gap trade sim:BTC-USD from 12 to 14, cause unknown by Client in epoch 1", "trade 15"];
    check(Channel::Trade, &[trade(11), trade(15)], &expected, 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_jump_on_a_conflated_channel_means_superseded() {
    check(Channel::Quote, &[quote(10), quote(14), quote(99)], &["quote 10", "quote 14", "quote 99"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn sequence_may_start_anew() {
    let messages = [trade(11), gap(Channel::Trade, GapCause::Ingest, 12, 0, 2), trade(3), trade(4)];
    let expected = [
        "trade 11",
        "gap trade sim:BTC-USD from 12 to an unknown end, cause ingest by Gateway in epoch 2",
        "trade 3",
        "trade 4",
    ];
    check(Channel::Trade, &messages, &expected, 0).await;
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_a_last_record_is_found_in_the_silence() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = subscribed(&mut gateway, Channel::Trade, 10).await;
    session.send(&[trade(11)]).await;
    // The heartbeat overtakes trade 12, which still comes; 13 does not.
    session.send(&[heartbeat(FeedState::Live, &[(Channel::Trade, 12)])]).await;
    session.send(&[trade(12)]).await;
    session.send(&[heartbeat(FeedState::Live, &[(Channel::Trade, 13)])]).await;
    for _ in 0..10 {
        session.send(&[heartbeat(FeedState::Live, &[])]).await;
    }
    session.send(&[trade(14)]).await;
    let expected = [
        "trade 11",
        "feed sim Live",
        "trade 12",
        "gap trade sim:BTC-USD from 13 to 13, cause unknown by Client in epoch 1",
        "trade 14",
    ];
    assert_eq!(take(&mut client, 5).await, expected);
    assert_eq!(client.counters().violations, 1);
}

/// A market that goes on elsewhere does not hide that one symbol lost its last record.
#[tokio::test(start_paused = true)]
async fn a_lost_last_record_is_told_while_other_symbols_trade() {
    let mut gateway = FakeGateway::new();
    let builder =
        gateway.client().subscribe(Channel::Trade, [SYMBOL]).subscribe(Channel::Trade, ["sim:OTHER"]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 10).await;
    until(&mut client, "subscribed").await;
    let other = granted(Channel::Trade, "sim:OTHER").instrument;
    let elsewhere =
        |number| record_of(other, number, Body::Trade(Trade { price: 1, size: 1, ..Trade::default() }));
    session.send(&[trade(11), heartbeat(FeedState::Live, &[(Channel::Trade, 12)])]).await;
    let trading = async {
        for number in 11..=20 {
            session.send(&[elsewhere(number)]).await;
        }
    };
    let ((), mut lines) = during(&mut client, trading).await;
    if !lines.iter().any(|line| line == "trade 20") {
        lines.extend(until(&mut client, "trade 20").await);
    }
    let missing = "gap trade sim:BTC-USD from 12 to 12, cause unknown by Client in epoch 1";
    let at = lines.iter().position(|line| line == missing).expect("it is told");
    let after = lines[..at].iter().filter(|line| line.starts_with("trade 1")).count();
    assert!((5..=7).contains(&after), "a second each: {lines:?}");
    assert_eq!(client.counters().violations, 1);
}

/// While the gateway says that it holds this session back, what it owes may be behind what it sends.
#[tokio::test(start_paused = true)]
async fn a_session_that_is_held_back_waits_longer() {
    let missing = "gap trade sim:BTC-USD from 11 to 12, cause unknown by Client in epoch 1";
    let notice = |code: &str| Message::Notice(Notice { code: code.to_owned(), ..Notice::default() });
    for (notices, expected) in [
        (vec!["conflating"], vec!["trade 11", "trade 12", "trade 13"]),
        (vec!["conflating", "conflating_ended"], vec![missing, "trade 13"]),
    ] {
        let mut gateway = FakeGateway::new();
        let (mut client, mut session) = subscribed(&mut gateway, Channel::Trade, 10).await;
        let notices: Vec<_> = notices.into_iter().map(notice).collect();
        session.send(&notices).await;
        let serving = async {
            session.send(&[heartbeat(FeedState::Live, &[(Channel::Trade, 12)])]).await;
            for _ in 0..20 {
                session.send(&[heartbeat(FeedState::Live, &[])]).await;
            }
            session.send(&[trade(11), trade(12), trade(13)]).await;
        };
        let ((), mut lines) = during(&mut client, serving).await;
        if !lines.iter().any(|line| line == "trade 13") {
            lines.extend(until(&mut client, "trade 13").await);
        }
        lines.retain(|line| line.starts_with("trade") || line.starts_with("gap"));
        assert_eq!(lines, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_quote_is_not_live_until_the_next() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = subscribed(&mut gateway, Channel::Quote, 0).await;
    session.send(&[quote(1)]).await;
    until(&mut client, "quote 1").await;
    assert!(client.quote(SYMBOL).unwrap().is_live());
    session.send(&[gap(Channel::Quote, GapCause::Bus, 2, 2, 1)]).await;
    until(&mut client, "gap").await;
    assert!(!client.quote(SYMBOL).unwrap().is_live() && !client.is_live(SYMBOL));
    session.send(&[quote(3)]).await;
    until(&mut client, "quote 3").await;
    assert!(client.quote(SYMBOL).unwrap().is_live() && client.is_live(SYMBOL));
}
