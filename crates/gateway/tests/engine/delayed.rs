//! Delayed views: the same stream later, and nothing that is younger. `delayed_room` has what they cost, and `delayed_random` random
//! beginnings of views.

use std::sync::Arc;

use tickwire_core::engine::{EngineLimits, Entitlement, Pattern, Principal};
use tickwire_core::vocabulary::{Ended, Event, InstrumentInfo, TopicId, TopicInterest, Update, VenueIndex};
use tickwire_wire::{
    Bar, Body, Channel, Command, Derivative, FeedState, Message, Record, Resume, ResumePosition, Scale, Stat,
    SymbolName, TradingState, Unsubscribe,
};

use super::rig::{
    Client, EPOCH, Rig, SECOND, brief, change, level, limits, quote, records, response, snapshot, status,
    subscribe, trade,
};

/// Returns who sees everything so many seconds late.
pub(super) fn late(seconds: u64) -> Principal {
    of(vec![Entitlement { delay_ns: seconds * SECOND, ..Entitlement::ALL }])
}

fn of(entitlements: Vec<Entitlement>) -> Principal {
    Principal { name: "late".to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

/// Passes over what a client is told apart from records.
pub(super) fn got(rig: &mut Rig, client: Client) -> Vec<String> {
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
fn what_a_view_begins_with_is_not_said_again() {
    let bodies = [
        quote(2),
        Body::Stat(Stat::default()),
        Body::Bar(Bar { interval: 60, ..Bar::default() }),
        Body::Derivative(Derivative::default()),
        snapshot(&[level(1, 1)], &[level(9, 1)]),
        trade(2),
        status(TradingState::Open),
    ];
    for body in bodies {
        let mut rig = Rig::new(limits());
        let client = rig.open_as(late(10));
        let record = Record { receive_time: rig.now - SECOND, ..rig.record(0, 2, body.clone()) };
        let channel = record.channel();
        rig.send(client, &subscribe(1, channel.name(), &["sim:A"]));
        rig.engine.take_interests();
        // The hub has told the record already when the state comes that contains it, which was so before the record arrived here.
        rig.publish_now(0, 2, body.clone());
        let state = Update::from_record(Arc::clone(&rig.infos[0]), EPOCH, 2, record);
        rig.state(TopicId::new(0, channel), 2, vec![Arc::new(state)]);
        rig.pass(1);
        rig.publish_now(0, 3, body);
        rig.pass(8);
        let first = got(&mut rig, client);
        assert!(first.len() <= 1 && first.iter().all(|brief| brief.contains(" 2")), "{channel:?} {first:?}");
        rig.pass(1);
        assert_eq!(got(&mut rig, client), [""; 0], "{channel:?} {first:?}");
        rig.pass(1);
        let then = got(&mut rig, client);
        assert_eq!((then.len(), then[0].contains(" 3")), (1, true), "{channel:?} {then:?}");
    }
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
pub(super) fn define(rig: &mut Rig, index: u32, symbol: &str, listed_before_s: u64) {
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
