//! The costs of delayed views: each is paid once, and takes no more room than there is.

use std::sync::Arc;

use tickwire_core::engine::{BackfillLimits, EngineLimits, Principal};
use tickwire_core::vocabulary::{BackfillAsk, Backfilled, Event, TopicId, TopicInterest};
use tickwire_wire::{Channel, Command, LedgerRequest, Message, TradingState};

use super::delayed::{got, late};
use super::rig::{Rig, SECOND, change, level, limits, quote, response, snapshot, status, trade};

#[test]
fn a_view_costs_once_and_stays_for_as_long_as_its_delay() {
    let mut rig = Rig::new(limits());
    let live = rig.open_as(Principal::clone(&Principal::anonymous()));
    rig.subscribe(live, Channel::Trade, &["sim:A"]);
    let clients: Vec<_> = [30, 30, 60].map(|seconds| rig.open_as(late(seconds))).to_vec();
    for client in &clients {
        rig.subscribe(*client, Channel::Trade, &["sim:A"]);
    }
    assert_eq!((rig.engine.topics(), rig.engine.delayed().delays), (3, 2));
    for number in 1..=10 {
        rig.publish_now(0, number, trade(1));
        assert_eq!(got(&mut rig, live), [format!("trade {number}")]);
        rig.pass(1);
    }
    let bytes = rig.engine.delayed().bytes;
    let more = rig.open_as(late(30));
    let messages = rig.subscribe(more, Channel::Trade, &["sim:A"]);
    assert_eq!((rig.engine.delayed().bytes, rig.engine.topics()), (bytes, 3));
    assert_eq!(response(&messages).granted[0].sequence, 0);
    rig.pass(20);
    let [first, second] = [clients[0], clients[1]].map(|client| got(&mut rig, client));
    assert_eq!((first.len(), first), (1, second));
    for client in clients.iter().copied().chain([more]) {
        rig.engine.ended(client.key, rig.now);
    }
    // A client that comes back at once sees what it would have seen.
    let again = rig.open_as(late(30));
    let messages = rig.subscribe(again, Channel::Trade, &["sim:A"]);
    assert_eq!(response(&messages).granted[0].sequence, 1);
    rig.engine.ended(again.key, rig.now);
    rig.pass(120);
    assert_eq!((rig.engine.topics(), rig.engine.delayed().delays, rig.engine.delayed().bytes), (1, 0, 0));
}

#[test]
fn what_has_no_room_is_announced() {
    let mut rig = Rig::new(EngineLimits { delayed_bytes: 8_000, ..limits() });
    let client = rig.open_as(late(10));
    for channel in [Channel::Trade, Channel::Quote, Channel::Book, Channel::Status] {
        rig.subscribe(client, channel, &["sim:A"]);
    }
    rig.publish_now(0, 1, snapshot(&[level(1, 1)], &[level(9, 1)]));
    rig.publish_now(0, 1, status(TradingState::Open));
    rig.publish_now(0, 1, quote(1));
    for number in 1..=100 {
        rig.publish_now(0, number, trade(1));
    }
    rig.publish_now(0, 2, quote(2));
    rig.publish_now(0, 2, change(&[level(2, 1)], &[]));
    rig.publish_now(0, 2, status(TradingState::Halted));
    let held = rig.engine.delayed();
    assert!(held.bytes <= 8_000 && held.dropped > 80, "{held:?}");
    rig.pass(10);
    let first = got(&mut rig, client);
    let trades: Vec<_> = first.iter().filter(|brief| brief.starts_with("trade")).collect();
    let cut = trades.len() as u64;
    assert_eq!(*trades[trades.len() - 1], format!("trade gap shed {cut}-{cut}"), "{first:?}");
    assert!(first.contains(&"status 2".to_owned()), "what is critical always has room: {first:?}");
    assert!(first.contains(&"quote 2".to_owned()), "what is quiet has its part: {first:?}");
    // There was room again when these were old enough, and the view went on from the state of then.
    rig.publish_now(0, 101, trade(1));
    rig.pass(10);
    rig.publish_now(0, 102, trade(1));
    rig.pass(10);
    let then = got(&mut rig, client);
    assert_eq!(
        then,
        [format!("trade gap shed {}-100", cut + 1), "trade 101".to_owned(), "trade 102".to_owned()]
    );
    rig.send(client, &Command::Ledger(LedgerRequest { id: 5 }));
    let ledger =
        rig.read(client).into_iter().find_map(|m| if let Message::Ledger(l) = m { Some(l) } else { None });
    let entry = &ledger.unwrap().entries[0];
    assert_eq!((entry.published, entry.delivered, entry.dropped), (102, cut + 1, 101 - cut));
}

#[test]
fn what_has_no_room_is_looked_up_in_the_history() {
    let mut rig = Rig::new(EngineLimits { delayed_bytes: 8_000, ..limits() });
    rig.engine.set_backfill(BackfillLimits { records_max: 1_000, timeout_ns: 3 * SECOND });
    let client = rig.open_as(late(10));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    let mut published = vec![rig.publish_now(0, 1, trade(1))];
    for number in 2..=100 {
        published.push(rig.publish_now(0, number, trade(1)));
    }
    rig.pass(1);
    for number in 101..=120 {
        published.push(rig.publish_now(0, number, trade(1)));
    }
    assert!(rig.engine.delayed().bytes <= 8_000, "{:?}", rig.engine.delayed());
    let asked = |rig: &mut Rig| -> Vec<BackfillAsk> {
        let ask = |interest| if let TopicInterest::Backfill(ask) = interest { Some(ask) } else { None };
        rig.engine.take_interests().filter_map(ask).collect()
    };
    rig.pass(9);
    let first = got(&mut rig, client).len() as u64;
    assert!(first < 30 && asked(&mut rig).is_empty());
    // The mark of the second before is old enough now, and what lies before it is asked for: of the live topic.
    rig.pass(1);
    let asks = asked(&mut rig);
    let ask = asks[0];
    assert_eq!((ask.topic, ask.first, ask.last), (TopicId::new(0, Channel::Trade), first + 1, 99));
    assert_eq!(got(&mut rig, client), [""; 0], "what is behind the hole waits");
    // It comes in two parts, and one record is lost.
    let part = |ticket, range: std::ops::RangeInclusive<u64>| {
        let updates = range
            .clone()
            .filter(|number| *number != 50)
            .map(|number| Arc::clone(&published[number as usize - 1]));
        let (updates, upto, cursor) = (updates.collect(), *range.end(), 7);
        Event::Backfill(Arc::new(Backfilled { ticket, updates, upto, cursor }))
    };
    rig.event(part(ask.ticket, first + 1..=60));
    let next = asked(&mut rig)[0];
    assert_eq!((next.first, next.last, next.cursor), (61, 99, 7));
    rig.event(part(next.ticket, 61..=99));
    let then = got(&mut rig, client);
    let expected = (first + 1..=100).map(|number| match number {
        50 => "trade gap shed 50-50".to_owned(),
        number => format!("trade {number}"),
    });
    assert_eq!(then, expected.collect::<Vec<_>>());
    // What the history does not tell in time is announced.
    rig.pass(1);
    let ask = asked(&mut rig)[0];
    assert_eq!((ask.first, ask.last), (101, 119));
    rig.pass(3);
    let then = got(&mut rig, client);
    assert_eq!(then, ["trade gap shed 101-119", "trade 120"]);
    rig.event(part(ask.ticket, 101..=119));
    assert_eq!(got(&mut rig, client), [""; 0]);
    rig.publish_now(0, 121, trade(1));
    rig.pass(10);
    assert_eq!(got(&mut rig, client), ["trade 121"]);
}
