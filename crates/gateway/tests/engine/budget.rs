//! The budgets that all topics and all sessions share.

use tickwire_core::engine::EngineLimits;
use tickwire_core::vocabulary::TopicId;
use tickwire_wire::{Channel, CloseCode, Encoding, Message, TradingState};

use super::rig::{
    EPOCH, Rig, brief, change, level, limits, quote, response, snapshot, status, subscribe, trade,
};

#[test]
fn logs_together_stay_below_their_share_and_the_longest_give() {
    let share = 20_000;
    let mut rig = Rig::new(EngineLimits { log_bytes: share, ..limits() });
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A", "sim:B", "sim:C"]);
    rig.read(client);
    rig.engine.unsent(client.key, 1, rig.now);
    for number in 1..=10 {
        rig.publish(1, number, trade(1));
    }
    for number in 1..=500 {
        rig.publish(0, number, trade(1));
        assert!(rig.engine.log_bytes() <= share, "{}", rig.engine.log_bytes());
    }
    assert!(rig.engine.log_bytes() > share * 9 / 10, "no more is cut than must be");
    rig.engine.unsent(client.key, 0, rig.now);
    let got = brief(&rig.records(client));
    let first = got.iter().position(|line| line.starts_with("trade gap shed 1-")).expect("it lagged too far");
    let (_, last) = got[first].rsplit_once('-').unwrap();
    let last: u64 = last.parse().unwrap();
    assert_eq!(got[first + 1], format!("trade {}", last + 1), "the gap is exact");
    assert_eq!(got.last().unwrap(), "trade 500");
    let of_quiet = (1..=10).filter(|number| got.contains(&format!("trade {number}"))).count();
    assert_eq!(of_quiet, 10, "a short log is left alone: {got:?}");
}

#[test]
fn critical_channels_keep_their_newest_whatever_the_budget() {
    let mut rig = Rig::new(EngineLimits { log_bytes: 100, ..limits() });
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Status, &["sim:A"]);
    rig.engine.unsent(client.key, 1, rig.now);
    for number in 1..=16 {
        rig.publish(0, number, status(TradingState::Halted));
    }
    rig.engine.unsent(client.key, 0, rig.now);
    assert_eq!(rig.records(client).len(), 16);
}

#[test]
fn the_session_that_holds_most_is_closed_and_the_others_are_not() {
    let mut rig = Rig::new(EngineLimits { private_bytes: 10_000, ..limits() });
    let clients: Vec<_> = (0..4).map(|_| rig.open(Encoding::Proto)).collect();
    for client in &clients {
        rig.read(*client);
        rig.engine.unsent(client.key, 1_000, rig.now);
    }
    for _ in 0..1_000 {
        rig.engine.on_flood(clients[2].key, b"");
        assert!(rig.engine.private_bytes() <= 10_000, "{}", rig.engine.private_bytes());
    }
    assert_eq!(rig.engine.closing(clients[2].key), Some(CloseCode::SlowConsumer));
    for at in [0, 1, 3] {
        assert_eq!(rig.engine.closing(clients[at].key), None);
    }
    rig.engine.ended(clients[2].key, rig.now);
    assert_eq!(rig.engine.private_bytes(), 3_000);
}

#[test]
fn subscriptions_together_are_limited_and_free_again() {
    let mut rig = Rig::new(EngineLimits { subscriptions: 3, ..limits() });
    let (one, two) = (rig.open(Encoding::Proto), rig.open(Encoding::Proto));
    rig.subscribe(one, Channel::Quote, &["sim:A", "sim:B"]);
    let messages = rig.subscribe(two, Channel::Quote, &["sim:A", "sim:B"]);
    let told = response(&messages);
    assert_eq!((told.granted.len(), told.refused.len()), (1, 1));
    assert_eq!(told.refused[0].code, "limit");
    assert!(told.refused[0].message.contains("another"), "{}", told.refused[0].message);
    rig.engine.ended(one.key, rig.now);
    let messages = rig.subscribe(two, Channel::Quote, &["sim:B"]);
    assert_eq!(response(&messages).granted.len(), 1);
    assert!(!messages.iter().any(|message| matches!(message, Message::Error(_))));
    rig.publish(1, 1, quote(1));
    assert_eq!(brief(&rig.records(two)), ["quote 1"]);
    assert_eq!(rig.engine.subscriptions(), 2);
}

/// Publishes a book with so many bids on the bus, wanted by a client.
fn book(rig: &mut Rig, instrument: u32, levels: i64) {
    let bids: Vec<_> = (1..=levels).map(|price| level(price, 1)).collect();
    let update = rig.bus_update(instrument, EPOCH, 1, snapshot(&bids, &[]));
    rig.state(TopicId::new(instrument, Channel::Book), 1, vec![update]);
}

#[test]
fn books_together_are_limited() {
    let mut rig = Rig::new(EngineLimits { book_levels: 100, ..limits() });
    let (one, two) = (rig.open(Encoding::Proto), rig.open(Encoding::Proto));
    let ask = |rig: &mut Rig, client, symbol: &str, instrument, levels| {
        rig.send(client, &subscribe(1, "book", &[symbol]));
        if rig.engine.take_interests().count() > 0 {
            book(rig, instrument, levels);
        }
        let messages = rig.read(client);
        let told = response(&messages);
        told.refused.first().map(|refused| (refused.code.clone(), refused.message.clone()))
    };
    assert_eq!(ask(&mut rig, one, "sim:A", 0, 60), None);
    let (code, message) = ask(&mut rig, one, "sim:B", 1, 60).expect("refused");
    assert!(code == "limit" && message.contains("book_levels"), "{code} {message}");
    assert_eq!(ask(&mut rig, two, "sim:A", 0, 60), None, "one that is there costs nothing more");
    // When the other one is let go, there is room again.
    rig.now += limits().linger_ns;
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.book_levels(), 60);
    assert_eq!(ask(&mut rig, two, "sim:C", 2, 40), None);
    rig.read(one);
    // They grow: up to a quarter more, then the one that grows is given up, and the others are not.
    for number in 2..=26 {
        rig.publish(0, number, change(&[level(1_000 + number as i64, 1)], &[]));
    }
    assert_eq!((rig.engine.book_levels(), rig.engine.closing(one.key)), (125, None));
    rig.publish(2, 2, change(&[level(2_000, 1)], &[]));
    assert_eq!(rig.engine.book_levels(), 85);
    assert_eq!(rig.engine.closing(two.key), Some(CloseCode::Internal));
    assert_eq!(rig.engine.closing(one.key), None);
    rig.publish(2, 3, change(&[level(2_001, 1)], &[]));
    assert_eq!(rig.engine.book_levels(), 85, "what was given up grows no more");
}
