//! Connections end; what the program sees goes on without a hole that is not announced.

use std::time::Duration;

use tickwire_client::wire::{Channel, Command, GapCause, Message, Notice, ResumePosition};
use tickwire_client::{Backoff, Client, CommandError, Disconnect, Options};
use tokio::time::Instant;

use crate::fake_gateway::{FakeGateway, SYMBOL, Session, gap, trade};
use crate::transcript::{during, next, take, until};

/// Returns a client that has the trades up to 12, and has just lost its connection.
async fn interrupted(gateway: &mut FakeGateway) -> Client {
    let builder = gateway.client().subscribe(Channel::Quote, ["sim:A"]).subscribe(Channel::Trade, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 0).await;
    session.grant(1, 10).await;
    session.send(&[trade(11), trade(12)]).await;
    until(&mut client, "trade 12").await;
    session.close(1001, "").await;
    until(&mut client, "disconnected for now").await;
    client
}

/// Takes the next connection, up to the response to the subscription to trades.
async fn resumed(gateway: &mut FakeGateway, client: &mut Client, epoch: u64, sequence: u64) -> Session {
    let resume = async {
        let mut session = gateway.accept().await;
        match session.command().await {
            Command::Resume(resume) => {
                let (channel, symbol) = ("trade".to_owned(), SYMBOL.to_owned());
                let trades = ResumePosition { channel, symbol, epoch: 1, sequence: 12 };
                assert_eq!(resume.positions, [trades], "lossless channels only");
            }
            other => panic!("{other:?} comes before resume"),
        }
        assert_eq!(session.grant(1, 0).await.channel, "quote");
        assert_eq!(session.grant(epoch, sequence).await.channel, "trade");
        session
    };
    let (session, _) = during(client, resume).await;
    session
}

#[track_caller]
fn records(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).filter(|l| l.starts_with("trade") || l.starts_with("gap")).collect()
}

async fn check(epoch: u64, sequence: u64, messages: &[Message], expected: &[&str], violations: u64) {
    let mut gateway = FakeGateway::new();
    let mut client = interrupted(&mut gateway).await;
    let mut session = resumed(&mut gateway, &mut client, epoch, sequence).await;
    session.send(messages).await;
    let lines = until(&mut client, expected.last().unwrap()).await;
    assert_eq!(records(&lines), expected);
    assert_eq!((client.counters().violations, client.counters().connects), (violations, 2));
}

#[tokio::test(start_paused = true)]
async fn back_fill_closes_the_hole_and_nothing_comes_twice() {
    let messages = [trade(12), trade(13), trade(14), trade(15), trade(16)];
    check(1, 15, &messages, &["trade 13", "trade 14", "trade 15", "trade 16"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_longer_at_hand_is_a_gap() {
    let messages = [gap(Channel::Trade, GapCause::Resume, 13, 14, 1), trade(15), trade(16)];
    let announced = "gap trade sim:BTC-USD from 13 to 14, cause resume by Gateway in epoch 1";
    check(1, 15, &messages, &[announced, "trade 15", "trade 16"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_forgets_to_back_fill_hides_nothing() {
    let noticed = "gap trade sim:BTC-USD from 13 to 15, cause resume by Client in epoch 1";
    check(1, 15, &[trade(16)], &[noticed, "trade 16"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_hole_behind_which_nothing_comes_is_announced_too() {
    let mut gateway = FakeGateway::new();
    let mut client = interrupted(&mut gateway).await;
    let mut session = resumed(&mut gateway, &mut client, 1, 15).await;
    for _ in 0..4 {
        session.send(&[]).await;
    }
    let ((), lines) = during(&mut client, tokio::time::sleep(Duration::from_secs(1))).await;
    assert_eq!(records(&lines), [""; 0], "it may still come");
    for _ in 0..2 {
        session.send(&[]).await;
    }
    let noticed = "gap trade sim:BTC-USD from 13 to 15, cause resume by Client in epoch 1";
    assert_eq!(next(&mut client).await, [noticed]);
}

#[tokio::test(start_paused = true)]
async fn a_new_sequence_while_away_is_a_gap_without_an_end() {
    let noticed = "gap trade sim:BTC-USD from 13 to an unknown end, cause resume by Client in epoch 2";
    check(2, 3, &[trade(4), trade(5)], &[noticed, "trade 4", "trade 5"], 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_code_that_must_not_be_retried_ends_it() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = gateway.session(gateway.client()).await;
    let handle = client.handle();
    session.close(1002, "protocol: mend it").await;
    let lines = take(&mut client, 2).await;
    assert_eq!(lines[1], "disconnected for good (closed by the gateway: code 1002, protocol: mend it)");
    assert!(client.next().await.is_none() && client.next().await.is_none());
    assert!(matches!(client.end(), Some(Disconnect::Closed { code: Some(1002), .. })));
    let outcome = handle.subscribe(Channel::Quote, [SYMBOL], Options::default()).await;
    assert_eq!(outcome, Err(CommandError::Ended));
}

/// Returns how long the client stays away after this close.
async fn absence(notice: Option<u32>, code: u16) -> Duration {
    let mut gateway = FakeGateway::new();
    let jitter = Backoff::new(Duration::from_millis(100), Duration::from_millis(100));
    let builder = gateway.client().backoff(jitter);
    let (mut client, mut session) = gateway.session(builder).await;
    if let Some(retry_after_ms) = notice {
        let code = "draining".to_owned();
        session.send(&[Message::Notice(Notice { code, retry_after_ms, ..Notice::default() })]).await;
    }
    session.close(code, "").await;
    until(&mut client, "disconnected for now").await;
    let start = Instant::now();
    during(&mut client, gateway.accept()).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_client_stays_away_as_long_as_it_was_told() {
    for (notice, code, seconds) in [(None, 1001, 0.0), (None, 4002, 5.0), (Some(60_000), 1001, 60.0)] {
        let absence = absence(notice, code).await.as_secs_f64();
        assert!((seconds..=seconds + 0.11).contains(&absence), "{absence} s after {code}, not {seconds}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_ends_the_connection_and_is_named() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = gateway.session(gateway.client()).await;
    assert!(session.frame(fastwebsockets::OpCode::Binary, vec![0xff; 9]).await);
    let lines = until(&mut client, "disconnected for now").await;
    assert!(
        lines.last().unwrap().contains("broke the protocol: this is not a proto message at byte 0"),
        "{lines:?}"
    );
    during(&mut client, gateway.accept()).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_without_end_is_refused() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().message_bytes_max(1000);
    let (mut client, mut session) = gateway.session(builder).await;
    assert!(session.frame(fastwebsockets::OpCode::Binary, vec![0; 1000]).await);
    let lines = until(&mut client, "disconnected for now").await;
    assert!(lines.last().unwrap().contains("a message reached 1000 bytes"), "{lines:?}");
}
