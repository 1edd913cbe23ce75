//! Delayed views: the same stream later, and nothing that is younger.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_core::engine::{BackfillLimits, EngineLimits, Entitlement, Pattern, Principal};
use tickwire_core::vocabulary::{
    BackfillAsk, Backfilled, Ended, Event, InstrumentInfo, TopicId, TopicInterest, Update, VenueIndex,
};
use tickwire_wire::{
    Bar, Body, BookState, Channel, Command, FeedState, LedgerRequest, Message, Record, Resume,
    ResumePosition, Scale, SymbolName, TradingState, Unsubscribe,
};

use super::rig::{
    Client, EPOCH, Rig, SECOND, brief, change, level, limits, quote, records, response, snapshot, status,
    subscribe, trade,
};

/// Returns who sees everything so many seconds late.
fn late(seconds: u64) -> Principal {
    of(vec![Entitlement { delay_ns: seconds * SECOND, ..Entitlement::ALL }])
}

fn of(entitlements: Vec<Entitlement>) -> Principal {
    Principal { name: "late".to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

/// Passes over what a client is told apart from records.
fn got(rig: &mut Rig, client: Client) -> Vec<String> {
    brief(&rig.records(client))
}

fn refusal(messages: &[Message]) -> (String, bool, String) {
    let refused = &response(messages).refused[0];
    (refused.code.clone(), refused.may_retry, refused.message.clone())
}

fn feeds(messages: &[Message]) -> Vec<FeedState> {
    let heartbeats =
        messages.iter().filter_map(|m| if let Message::Heartbeat(h) = m { Some(h) } else { None });
    heartbeats.flat_map(|heartbeat| heartbeat.feeds.iter().map(tickwire_wire::Feed::state)).collect()
}

#[test]
fn what_is_published_comes_when_it_is_old_enough() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(10));
    for channel in [Channel::Quote, Channel::Trade, Channel::Book, Channel::Status] {
        let messages = rig.subscribe(client, channel, &["sim:A"]);
        let granted = &response(&messages).granted[0];
        assert_eq!((granted.delay_ms, granted.sequence), (10_000, 0));
    }
    rig.publish_now(0, 1, quote(1));
    rig.publish_now(0, 1, trade(1));
    rig.publish_now(0, 1, snapshot(&[level(1, 1)], &[level(9, 1)]));
    rig.publish_now(0, 1, status(TradingState::Open));
    rig.pass(5);
    rig.publish_now(0, 2, quote(2));
    rig.publish_now(0, 2, trade(2));
    rig.publish_now(0, 2, change(&[level(1, 0)], &[]));
    rig.pass(4);
    assert_eq!(got(&mut rig, client), [""; 0]);
    rig.pass(1);
    let told = rig.records(client);
    assert_eq!(brief(&told), ["quote 1", "trade 1", "book 1 snapshot", "status 1"]);
    assert!(told.iter().all(|record| record.receive_time == rig.now - 10 * SECOND), "the original times");
    rig.pass(4);
    assert_eq!(got(&mut rig, client), [""; 0]);
    rig.pass(1);
    assert_eq!(got(&mut rig, client), ["quote 2", "trade 2", "book 2"]);
}

#[test]
fn a_heartbeat_says_how_far_the_view_is_and_not_how_far_the_topic_is() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(10));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    rig.publish_now(0, 1, trade(1));
    let mut positions = Vec::new();
    for _ in 0..15 {
        rig.pass(1);
        for message in rig.read(client) {
            if let Message::Heartbeat(heartbeat) = message {
                positions.extend(heartbeat.positions.iter().map(|p| (rig.now / SECOND, p.sequence)));
            }
        }
    }
    assert!(positions.iter().all(|(at, _)| *at >= 1_010), "{positions:?}");
}

#[test]
fn a_new_view_shows_the_state_as_soon_as_that_is_old_enough() {
    let mut rig = Rig::new(limits());
    let live = rig.open_as(Principal::clone(&Principal::anonymous()));
    rig.subscribe(live, Channel::Quote, &["sim:A", "sim:B"]);
    rig.publish_now(1, 1, quote(1));
    rig.pass(30);
    rig.publish_now(0, 1, quote(1));
    rig.pass(2);
    // What did not change for longer than the delay is shown at once.
    let client = rig.open_as(late(10));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:B"]);
    assert_eq!(
        (response(&messages).granted[0].sequence, brief(&records(messages))),
        (1, vec!["quote 1".to_owned()])
    );
    // What changed 2 s ago is shown in 8 s, which is longer than a response may take.
    let messages = rig.subscribe(client, Channel::Quote, &["sim:A"]);
    let (code, may_retry, words) = refusal(&messages);
    assert_eq!((code.as_str(), may_retry), ("delayed", true));
    assert!(words.contains("10 s late") && words.contains("about 8 s"), "{words}");
    // Whoever asks again is told so again, and granted once.
    rig.pass(1);
    assert_eq!(refusal(&rig.subscribe(client, Channel::Quote, &["sim:A"])).0, "delayed");
    rig.publish_now(0, 2, quote(2));
    rig.pass(6);
    assert_eq!(got(&mut rig, client), [""; 0]);
    rig.pass(1);
    let messages = rig.read(client);
    let granted = response(&messages);
    assert_eq!((granted.id, granted.granted[0].sequence, granted.granted.len()), (0, 1, 1));
    assert_eq!(brief(&records(messages)), ["quote 1"]);
    rig.pass(3);
    assert_eq!(got(&mut rig, client), ["quote 2"]);
    assert_eq!(rig.engine.subscriptions(), 4);
}

#[test]
fn a_state_is_as_old_as_the_latest_of_its_records() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(10));
    rig.send(client, &subscribe(1, "bar", &["sim:A"]));
    rig.engine.take_interests();
    // The bar with the lower number was received later.
    let bar = |rig: &Rig, number, interval, receive_time| {
        let body = Body::Bar(Bar { interval, ..Bar::default() });
        let record = Record { receive_time, ..rig.record(0, number, body) };
        Arc::new(Update::from_record(Arc::clone(&rig.infos[0]), EPOCH, number, record))
    };
    let records = vec![bar(&rig, 1, 60, rig.now - SECOND), bar(&rig, 2, 300, rig.now - 30 * SECOND)];
    rig.state(TopicId::new(0, Channel::Bar), 2, records);
    assert_eq!(refusal(&rig.read(client)).0, "delayed");
    rig.pass(8);
    assert_eq!(got(&mut rig, client), [""; 0]);
    rig.pass(1);
    assert_eq!(got(&mut rig, client), ["bar 1", "bar 2"]);
}

#[test]
fn what_is_old_enough_soon_is_waited_for() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(6));
    rig.send(client, &subscribe(1, "trade", &["sim:A"]));
    let live = TopicId::new(0, Channel::Trade);
    assert_eq!(rig.engine.take_interests().collect::<Vec<_>>(), [TopicInterest::Want(live)]);
    rig.pass(2);
    // Nobody knows when the last trade was, so it may have been now.
    rig.state(live, 7, Vec::new());
    rig.pass(1);
    let messages = rig.read(client);
    assert_eq!(refusal(&messages).0, "delayed");
    rig.pass(5);
    let messages = rig.read(client);
    assert_eq!(response(&messages).granted[0].sequence, 7);
}

#[test]
fn a_subscribe_that_waits_for_a_view_may_be_withdrawn() {
    let mut rig = Rig::new(limits());
    let live = rig.open_as(Principal::clone(&Principal::anonymous()));
    rig.subscribe(live, Channel::Quote, &["sim:A"]);
    rig.publish_now(0, 1, quote(1));
    let client = rig.open_as(late(60));
    assert_eq!(refusal(&rig.subscribe(client, Channel::Quote, &["sim:A"])).0, "delayed");
    assert_eq!(rig.engine.subscriptions(), 2);
    let symbols = vec!["sim:A".to_owned()];
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 2, channel: "quote".to_owned(), symbols }));
    assert_eq!(rig.engine.subscriptions(), 1);
    rig.read(client);
    rig.pass(61);
    assert_eq!(got(&mut rig, client), [""; 0]);
}

#[test]
fn a_feed_is_what_it_was() {
    let mut rig = Rig::new(limits());
    rig.pass(20);
    let live = rig.open_as(Principal::clone(&Principal::anonymous()));
    rig.subscribe(live, Channel::Quote, &["sim:A"]);
    let client = rig.open_as(late(10));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:A"]);
    assert_eq!(feeds(&messages), [FeedState::Live]);
    rig.read(live);
    rig.publish_now(0, 1, quote(1));
    rig.feed(FeedState::Down);
    assert_eq!(feeds(&rig.read(live)), [FeedState::Down]);
    // It is not written to because of news that it is not to know.
    assert_eq!(rig.read(client), []);
    for _ in 0..9 {
        rig.pass(1);
        assert!(feeds(&rig.read(client)).iter().all(|state| *state == FeedState::Live));
    }
    // The value is shown and is dead at the same time, as it was.
    rig.pass(1);
    let messages = rig.read(client);
    assert_eq!(feeds(&messages)[0], FeedState::Down);
    assert_eq!(brief(&records(messages)), ["quote 1"]);
    // A view that begins now begins with what was.
    rig.feed(FeedState::Live);
    let other = rig.open_as(late(5));
    assert_eq!(feeds(&rig.subscribe(other, Channel::Quote, &["sim:A"])), [FeedState::Down]);
    // Where nobody knows what was, nothing is called live.
    let longer = rig.open_as(late(600));
    let messages = rig.subscribe(longer, Channel::Trade, &["sim:A"]);
    assert_eq!(feeds(&messages), [FeedState::Stale]);
    // Who sees a venue live and late is told the worse of both.
    let both = Entitlement { channels: Some(vec![Channel::Trade]), ..Entitlement::ALL };
    let later = Entitlement { delay_ns: 10 * SECOND, ..Entitlement::ALL };
    let mixed = rig.open_as(of(vec![both, later]));
    rig.subscribe(mixed, Channel::Trade, &["sim:A"]);
    let messages = rig.subscribe(mixed, Channel::Quote, &["sim:A"]);
    assert_eq!(feeds(&messages), [FeedState::Down]);
}

#[test]
fn an_end_is_told_when_it_is_old_enough() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(10));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    rig.publish_now(0, 1, trade(1));
    rig.pass(3);
    rig.event(Event::Ended(Arc::new(Ended { instrument: 0, reason: "it expired".into(), may_retry: false })));
    let live = rig.open_as(Principal::clone(&Principal::anonymous()));
    assert_eq!(refusal(&rig.subscribe(live, Channel::Trade, &["sim:A"])).0, "unknown_symbol");
    // Who sees it late still sees it, and may come and go.
    let other = rig.open_as(late(10));
    assert_eq!(response(&rig.subscribe(other, Channel::Trade, &["sim:A"])).granted.len(), 1);
    rig.pass(7);
    assert_eq!(got(&mut rig, client), ["trade 1"]);
    rig.pass(2);
    let messages = rig.read(client);
    assert!(
        messages.iter().all(|message| matches!(message, Message::Heartbeat(_) | Message::Sent(_))),
        "{messages:?}"
    );
    assert_eq!(rig.engine.take_interests().filter(|i| matches!(i, TopicInterest::LetGo(_))).count(), 0);
    rig.pass(1);
    for one in [client, other] {
        let messages = rig.read(one);
        assert_eq!(refusal(&messages).0, "ended");
        assert!(messages.iter().any(|message| matches!(message, Message::Ledger(_))));
    }
    assert_eq!(rig.engine.take_interests().filter(|i| *i == TopicInterest::LetGo(0)).count(), 1);
    assert_eq!(refusal(&rig.subscribe(client, Channel::Trade, &["sim:A"])).0, "unknown_symbol");
}

#[test]
fn a_listing_is_told_when_it_is_old_enough() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(10));
    rig.subscribe(client, Channel::Trade, &["sim:*"]);
    define(&mut rig, 3, "D", 0);
    rig.grant_interests();
    rig.publish_now(3, 1, trade(1));
    // Neither it, nor its name, nor how many there are.
    let (code, may_retry, words) = refusal(&rig.subscribe(client, Channel::Trade, &["sim:d"]));
    assert_eq!((code.as_str(), may_retry), ("unknown_symbol", true));
    assert!(words.contains("to see what there is") && !words.contains("sim:D"), "{words}");
    rig.pass(9);
    let messages = rig.read(client);
    assert!(
        messages.iter().all(|message| matches!(message, Message::Heartbeat(_) | Message::Sent(_))),
        "{messages:?}"
    );
    // It comes with everything that happened to it.
    rig.pass(1);
    let messages = rig.read(client);
    let granted = &response(&messages).granted[0];
    assert_eq!((granted.symbol.as_str(), granted.sequence), ("sim:D", 0));
    assert_eq!(brief(&records(messages)), ["trade 1"]);
}

/// Defines an instrument of this name, listed so many seconds before now.
fn define(rig: &mut Rig, index: u32, symbol: &str, listed_before_s: u64) {
    let name = SymbolName { venue: "sim".to_owned(), symbol: symbol.to_owned() };
    let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
    let (id, listed) = (100 + index, rig.now - listed_before_s * SECOND);
    let info = Arc::new(InstrumentInfo { index, id, listed, venue: VenueIndex(0), name, scale });
    rig.infos.push(Arc::clone(&info));
    rig.event(Event::Instrument(info));
}

fn end(rig: &mut Rig, instrument: u32) {
    let ended =
        Ended { instrument, reason: "its ingester does not list it any more".into(), may_retry: false };
    rig.event(Event::Ended(Arc::new(ended)));
}

#[test]
fn a_name_stands_for_what_had_it_last_whatever_the_times_of_listing_say() {
    // The instruments of a name, each listed so many seconds before it is told of: ingesters that take over from each other may
    // date the later one before the other.
    for (ages, ends_first) in [([0, 4], true), ([4, 0], true), ([0, 4], false), ([0, 30], true)] {
        let mut rig = Rig::new(limits());
        let client = rig.open_as(late(10));
        rig.subscribe(client, Channel::Trade, &["sim:A"]);
        define(&mut rig, 3, "D", ages[0]);
        rig.pass(1);
        if ends_first {
            end(&mut rig, 3);
        }
        rig.pass(1);
        define(&mut rig, 4, "D", ages[1]);
        if !ends_first {
            end(&mut rig, 3);
        }
        rig.pass(20);
        rig.grant_interests();
        rig.publish_now(4, 1, trade(1));
        let messages = rig.subscribe(client, Channel::Trade, &["sim:D"]);
        let granted =
            response(&messages).granted.iter().map(|granted| granted.symbol.as_str()).collect::<Vec<_>>();
        assert_eq!(granted, ["sim:D"], "{ages:?} {ends_first} {messages:?}");
    }
}

#[test]
fn there_are_so_many_delays_and_no_more() {
    let mut rig = Rig::new(EngineLimits { delays: 1, ..limits() });
    let client = rig.open_as(late(10));
    assert_eq!(response(&rig.subscribe(client, Channel::Quote, &["sim:A"])).granted[0].delay_ms, 10_000);
    // One that is longer than needed will do, a shorter one will not.
    let client = rig.open_as(late(7));
    assert_eq!(response(&rig.subscribe(client, Channel::Quote, &["sim:A"])).granted[0].delay_ms, 10_000);
    let client = rig.open_as(late(11));
    for symbol in ["sim:A", "sim:*"] {
        let (code, may_retry, words) = refusal(&rig.subscribe(client, Channel::Quote, &[symbol]));
        assert_eq!((code.as_str(), may_retry), ("limit", true));
        assert!(words.contains("gateway.limits.delays"), "{words}");
    }
    assert_eq!((rig.engine.delayed().delays, rig.engine.delayed().topics), (1, 1));
}

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
fn a_session_comes_back_to_a_view_where_it_left_off() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(late(10));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    for number in 1..=6 {
        rig.publish_now(0, number, trade(1));
        rig.pass(3);
    }
    // 18 s have passed: those of the first 8 s are old enough.
    assert_eq!(got(&mut rig, client), ["trade 1", "trade 2", "trade 3"]);
    let back = rig.open_as(late(10));
    let position = |sequence| {
        let (channel, symbol) = ("trade".to_owned(), "sim:A".to_owned());
        Command::Resume(Resume {
            id: 1,
            positions: vec![ResumePosition { channel, symbol, epoch: EPOCH, sequence }],
        })
    };
    rig.send(back, &position(1));
    let messages = rig.subscribe(back, Channel::Trade, &["sim:A"]);
    assert_eq!(response(&messages).granted[0].sequence, 1);
    assert_eq!(brief(&records(messages)), ["trade 2", "trade 3"]);
    // A client that was live before is not shown what it has not seen.
    let was_live = rig.open_as(late(10));
    rig.send(was_live, &position(6));
    let messages = rig.subscribe(was_live, Channel::Trade, &["sim:A"]);
    assert_eq!((response(&messages).granted[0].sequence, brief(&records(messages)).len()), (3, 0));
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

#[test]
fn many_subscriptions_are_found_by_their_names() {
    let mut rig = Rig::new(limits());
    for number in 0..20 {
        rig.instrument(&format!("N{number}"));
    }
    let quotes = Entitlement { channels: Some(vec![Channel::Quote]), ..Entitlement::ALL };
    let client = rig.open_as(of(vec![quotes, Entitlement { delay_ns: 10 * SECOND, ..Entitlement::ALL }]));
    for (channel, delay_ms) in [(Channel::Quote, 0), (Channel::Trade, 10_000)] {
        let messages = rig.subscribe(client, channel, &["sim:*"]);
        assert_eq!(response(&messages).granted.len(), 23);
        assert!(response(&messages).granted.iter().all(|granted| granted.delay_ms == delay_ms));
    }
    // The order of arrival holds within a view.
    rig.publish_now(5, 1, trade(1));
    rig.publish_now(5, 1, quote(1));
    assert_eq!(got(&mut rig, client), ["quote 1"]);
    rig.pass(10);
    assert_eq!(got(&mut rig, client), ["trade 1"]);
    let again = rig.subscribe(client, Channel::Trade, &["sim:N3"]);
    assert_eq!(refusal(&again).0, "already_subscribed");
    let symbols = vec!["sim:N3".to_owned(), "sim:*".to_owned()];
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 2, channel: "trade".to_owned(), symbols }));
    let messages = rig.read(client);
    assert!(matches!(&messages[0], Message::Ledger(ledger) if ledger.entries.len() == 23), "{messages:?}");
}

#[test]
fn a_venue_that_is_too_young_is_granted_by_and_by() {
    let mut rig = Rig::new(EngineLimits { subscriptions_per_session: 1_000, ..limits() });
    for number in 0..100 {
        rig.instrument(&format!("N{number}"));
    }
    let live = rig.open_as(Principal::clone(&Principal::anonymous()));
    rig.subscribe(live, Channel::Quote, &["sim:*"]);
    for index in 0..103 {
        rig.publish_now(index, 1, quote(1));
    }
    let client = rig.open_as(late(30));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:*"]);
    assert_eq!((response(&messages).granted.len(), response(&messages).refused.len()), (0, 0));
    let words =
        messages.iter().find_map(|m| if let Message::Notice(n) = m { Some(&n.message) } else { None });
    assert!(words.is_some_and(|words| words.starts_with("103 ")), "{words:?}");
    rig.pass(29);
    assert!(records(rig.read(client)).is_empty());
    rig.pass(1);
    assert_eq!(rig.records(client).len(), 103);
}

/// The sequence numbers that were published, and when.
#[derive(Default)]
struct Published {
    /// Sequence numbers by topic, each with its time.
    times: HashMap<TopicId, Vec<u64>>,
}

impl Published {
    /// Returns the last sequence number at a time.
    fn at(&self, id: TopicId, time: u64) -> u64 {
        self.times.get(&id).map_or(0, |times| times.partition_point(|at| *at <= time) as u64)
    }
}

const CHANNELS: [Channel; 4] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Status];

/// Checks that nothing of what a client got is younger than its delay.
fn check(
    rig: &mut Rig,
    client: Client,
    seconds: u64,
    published: &Published,
    books: &mut HashMap<u32, BookState>,
) {
    // A client that is never heard would be closed.
    rig.engine.on_ping(client.key, b"", rig.now);
    let then = rig.now - seconds * SECOND;
    let id = |instrument: u32, channel: i32| {
        TopicId::new(instrument - 100, Channel::try_from(channel).expect("a channel"))
    };
    for message in rig.read(client) {
        match message {
            Message::Record(Record { body: Body::Gap(gap), instrument, .. }) => {
                assert!(gap.last_sequence <= published.at(id(instrument, gap.channel), then), "{gap:?}");
            }
            Message::Record(record) => {
                assert!(record.receive_time <= then, "{record:?} at {}", rig.now);
                if let Body::Book(book) = &record.body {
                    let known = books.entry(record.instrument).or_default();
                    known.apply(record.sequence, book).expect("it applies, and its checksum is right");
                }
            }
            Message::Subscribed(response) => {
                for granted in response.granted {
                    let known = published.at(id(granted.instrument, granted.channel), then);
                    assert!(granted.sequence <= known, "{granted:?}, {known} were published");
                    assert_eq!(granted.delay_ms, seconds * 1_000);
                    if granted.channel == Channel::Book as i32 {
                        books.remove(&granted.instrument);
                    }
                }
            }
            Message::Heartbeat(heartbeat) => {
                for position in heartbeat.positions {
                    assert!(
                        position.sequence <= published.at(id(position.instrument, position.channel), then)
                    );
                }
            }
            _ => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whenever a view begins, and whatever happens to it.
    #[test]
    fn nothing_is_younger_than_the_delay(steps in prop::collection::vec(any::<[u8; 3]>(), 1..300)) {
        const DELAYS: [u64; 4] = [0, 3, 12, 40];
        let mut rig = Rig::new(EngineLimits { delayed_bytes: 30_000, log_records_per_topic: 6, linger_ns: 2 * SECOND, ..limits() });
        let (mut published, mut books) = (Published::default(), vec![HashMap::new(); DELAYS.len()]);
        let mut clients: Vec<_> = DELAYS.iter().map(|delay| rig.open_as(late(*delay))).collect();
        let mut ingester: HashMap<TopicId, BookState> = HashMap::new();
        for [what, a, b] in steps {
            let (index, channel) = (u32::from(a) % 3, CHANNELS[usize::from(a / 3) % 4]);
            let (id, at) = (TopicId::new(index, channel), usize::from(b) % DELAYS.len());
            let symbol = rig.infos[index as usize].name.to_string();
            match what % 12 {
                0..=5 => {
                    let now = rig.now;
                    let times = published.times.entry(id).or_default();
                    times.push(now);
                    let number = times.len() as u64;
                    let body = match channel {
                        Channel::Quote => quote(i64::from(b)),
                        Channel::Trade => trade(i64::from(b)),
                        Channel::Book => {
                            let book = ingester.entry(id).or_default();
                            let body = if number == 1 {
                                snapshot(&[level(1, 1)], &[level(300, 1)])
                            } else {
                                change(&[level(i64::from(b), u64::from(a % 5))], &[])
                            };
                            if let Body::Book(change) = &body {
                                book.apply(number, change).expect("it follows");
                            }
                            body
                        }
                        _ => status(TradingState::Open),
                    };
                    rig.publish_now(index, number, body);
                }
                6..=7 => rig.send(clients[at], &subscribe(1, channel.name(), &[&symbol])),
                8 => {
                    if channel == Channel::Book {
                        books[at].remove(&(100 + index));
                    }
                    let (channel, symbols) = (channel.name().to_owned(), vec![symbol]);
                    rig.send(clients[at], &Command::Unsubscribe(Unsubscribe { id: 2, channel, symbols }));
                }
                9 => {
                    rig.engine.ended(clients[at].key, rig.now);
                    clients[at] = rig.open_as(late(DELAYS[at]));
                    books[at].clear();
                }
                _ => rig.pass(u64::from(b) % 16),
            }
            // The ingester answers with what it knows.
            let wants: Vec<_> = rig.engine.take_interests().collect();
            for want in wants {
                let TopicInterest::Want(id) = want else { continue };
                let times = published.times.get(&id).map_or(&[][..], Vec::as_slice);
                let body = match id.channel() {
                    Channel::Quote => Some(quote(0)),
                    Channel::Status => Some(status(TradingState::Open)),
                    Channel::Book => ingester.get(&id).map(|book| Body::Book(book.to_snapshot())),
                    _ => None,
                };
                let number = times.len() as u64;
                let record = body.zip(times.last()).map(|(body, at)| {
                    let record = Record { receive_time: *at, ..rig.record(id.instrument_index(), number, body) };
                    Arc::new(Update::from_record(
                        Arc::clone(&rig.infos[id.instrument_index() as usize]), EPOCH, number, record,
                    ))
                });
                rig.state(id, number, record.into_iter().collect());
            }
            for (at, client) in clients.iter().enumerate() {
                check(&mut rig, *client, DELAYS[at], &published, &mut books[at]);
            }
        }
        // At the end everybody has what there is.
        for _ in 0..90 {
            rig.pass(1);
            for (at, client) in clients.iter().enumerate() {
                check(&mut rig, *client, DELAYS[at], &published, &mut books[at]);
            }
        }
        for books in &books {
            for (instrument, book) in books {
                let id = TopicId::new(instrument - 100, Channel::Book);
                let truth = &ingester[&id];
                prop_assert!(book.bids().eq(truth.bids()) && book.asks().eq(truth.asks()));
            }
        }
    }
}

#[test]
fn symbols_may_be_late_and_others_not() {
    let mut rig = Rig::new(limits());
    let live = Entitlement { symbols: Pattern::Is("A".to_owned()), ..Entitlement::ALL };
    let later = Entitlement { delay_ns: 10 * SECOND, ..Entitlement::ALL };
    let client = rig.open_as(of(vec![live, later]));
    let messages = rig.subscribe(client, Channel::Trade, &["sim:*"]);
    let mut granted: Vec<_> =
        response(&messages).granted.iter().map(|g| (g.symbol.clone(), g.delay_ms)).collect();
    granted.sort_unstable();
    let expected = [("sim:A", 0), ("sim:B", 10_000), ("sim:C", 10_000)];
    assert_eq!(granted, expected.map(|(symbol, delay)| (symbol.to_owned(), delay)));
    for index in 0..3 {
        rig.publish_now(index, 1, trade(1));
    }
    assert_eq!(rig.records(client).len(), 1);
    rig.pass(10);
    assert_eq!(rig.records(client).len(), 2);
}
