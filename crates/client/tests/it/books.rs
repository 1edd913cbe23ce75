//! Books: kept, marked as broken at once, repaired.

use std::time::Duration;

use tickwire_client::Client;
use tickwire_client::wire::{
    BookState, Channel, Command, FeedState, GapCause, Granted, Ledger, Level, Message, Subscribed,
};
use tokio::time::Instant;

use crate::fake_gateway::{FakeGateway, SYMBOL, Session, book, gap, granted, heartbeat};
use crate::transcript::{during, take, until};

/// Returns a client with a live book of sequence number 5.
async fn with_book(gateway: &mut FakeGateway) -> (Client, Session) {
    let builder = gateway.client().subscribe(Channel::Book, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    session.grant(1, 5).await;
    until(&mut client, "subscribed").await;
    assert!(!client.book(SYMBOL).unwrap().is_live() && !client.is_live(SYMBOL), "no snapshot yet");
    session.send(&[book(5, true, &[(99, 1), (98, 2)], None)]).await;
    until(&mut client, "book 5").await;
    assert!(client.book(SYMBOL).unwrap().is_live() && client.is_live(SYMBOL));
    (client, session)
}

#[track_caller]
fn assert_best(client: &Client, price: i64, size: u64) {
    let view = client.book(SYMBOL).unwrap();
    assert!(view.is_live());
    assert_eq!(view.best().bid, Some(Level { price, size }));
}

/// Takes the two commands of a repair and answers them with a book of this number.
async fn repair(session: &mut Session, sequence: u64) {
    match session.command().await {
        Command::Unsubscribe(command) => {
            assert_eq!((command.channel.as_str(), command.symbols), ("book", vec![SYMBOL.to_owned()]));
            // A snapshot of the old subscription crosses with the command.
            session.send(&[book(9, true, &[(97, 1)], None)]).await;
            session.send(&[Message::Ledger(Ledger { id: command.id, ..Ledger::default() })]).await;
        }
        other => panic!("{other:?} is no unsubscribe"),
    }
    session.grant(1, sequence).await;
    session.send(&[book(sequence, true, &[(100, 7)], None)]).await;
}

#[tokio::test(start_paused = true)]
async fn changes_apply() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = with_book(&mut gateway).await;
    let mut expected = BookState::new();
    expected.set_bid(Level { price: 98, size: 2 });
    let messages = [book(5, false, &[(99, 9)], None), book(6, false, &[(99, 0)], Some(expected.checksum()))];
    session.send(&messages).await;
    assert_eq!(take(&mut client, 1).await, ["book 6"], "5 is in the snapshot already");
    assert_best(&client, 98, 2);
}

#[tokio::test(start_paused = true)]
async fn a_book_to_a_depth_says_so_and_is_right() {
    let mut gateway = FakeGateway::new();
    let builder = gateway.client().subscribe(Channel::Book, [SYMBOL]);
    let (mut client, mut session) = gateway.session(builder).await;
    let subscribe = session.subscribe().await;
    let granted = vec![Granted { depth: 2, sequence: 5, ..granted(Channel::Book, SYMBOL) }];
    session
        .send(&[Message::Subscribed(Subscribed { id: subscribe.id, granted, ..Subscribed::default() })])
        .await;
    session.send(&[book(5, true, &[(99, 1), (98, 2)], None), heartbeat(FeedState::Live, &[])]).await;
    // A better level comes, and the one that is not among the best two any more goes.
    let mut expected = BookState::new();
    for (price, size) in [(100, 3), (99, 1)] {
        expected.set_bid(Level { price, size });
    }
    session.send(&[book(6, false, &[(100, 3), (98, 0)], Some(expected.checksum()))]).await;
    until(&mut client, "book 6").await;
    let view = client.book(SYMBOL).unwrap();
    assert_eq!((view.depth(), view.bids().len()), (Some(2), 2));
    assert!(!view.is_broken());
}

#[tokio::test(start_paused = true)]
async fn a_broken_book_is_marked_at_once_and_subscribed_anew() {
    let breaking = [
        (
            book(7, false, &[(99, 3)], None),
            "broken (the book continues with sequence number 6, the change begins with 7; it is asked for again)",
        ),
        (book(6, false, &[(99, 3)], Some(1)), "broken (the best levels have the checksum"),
    ];
    for (record, reason) in breaking {
        let mut gateway = FakeGateway::new();
        let (mut client, mut session) = with_book(&mut gateway).await;
        session.send(&[record, book(8, false, &[(99, 4)], None)]).await;
        let lines = take(&mut client, 1).await;
        assert!(lines[0].starts_with(reason) && lines.len() == 1, "{lines:?}");
        let view = client.book(SYMBOL).unwrap();
        assert!(view.is_broken() && !view.is_live() && !client.is_live(SYMBOL));

        let ((), lines) = during(&mut client, repair(&mut session, 20)).await;
        assert_eq!(lines, [""; 0]);
        assert_eq!(take(&mut client, 2).await, ["book 20", "repaired"]);
        assert_best(&client, 100, 7);
        session.send(&[book(21, false, &[(101, 1)], None)]).await;
        assert_eq!(take(&mut client, 1).await, ["book 21"]);
        assert_eq!(client.counters().broken_books, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn repairs_keep_their_distance() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = with_book(&mut gateway).await;
    let mut waits = Vec::new();
    for round in 1..=4 {
        let sequence = round * 100;
        session.send(&[book(sequence + 50, false, &[(99, 3)], None)]).await;
        until(&mut client, "broken").await;
        let start = Instant::now();
        during(&mut client, repair(&mut session, sequence + 100)).await;
        waits.push(start.elapsed());
        until(&mut client, "repaired").await;
    }
    assert_eq!(waits.iter().map(Duration::as_secs).collect::<Vec<_>>(), [0, 1, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn after_an_announced_gap_a_snapshot_may_come_by_itself() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = with_book(&mut gateway).await;
    session.send(&[gap(Channel::Book, GapCause::Upstream, 6, 8, 1), book(9, false, &[(99, 3)], None)]).await;
    let lines = take(&mut client, 2).await;
    assert!(lines[0].starts_with("gap book") && lines[1].starts_with("broken"), "{lines:?}");
    assert!(!client.is_live(SYMBOL));
    session.send(&[book(10, true, &[(96, 1)], None)]).await;
    assert_eq!(take(&mut client, 2).await, ["book 10", "repaired"]);
    assert_best(&client, 96, 1);
    let (said, _) = during(&mut client, session.said_within(Duration::from_secs(100))).await;
    let is_receipt = said.is_none_or(|said| format!("{said:?}").contains("Receipt"));
    assert!(is_receipt, "nothing needed a repair");
}

#[tokio::test(start_paused = true)]
async fn after_an_announced_gap_without_a_snapshot_the_client_asks() {
    let mut gateway = FakeGateway::new();
    let (mut client, mut session) = with_book(&mut gateway).await;
    session.send(&[gap(Channel::Book, GapCause::Upstream, 6, 8, 1)]).await;
    until(&mut client, "broken").await;
    during(&mut client, repair(&mut session, 30)).await;
    until(&mut client, "repaired").await;
    assert_best(&client, 100, 7);
}
