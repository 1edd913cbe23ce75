//! A new token shows more or less than the one before, or shows it later: every subscription goes on, ends with words, or begins by
//! another view; and what `venue:*` stands for grows.

use std::sync::Arc;

use tickwire_core::engine::{EngineLimits, Entitlement, Pattern, Principal};
use tickwire_core::vocabulary::{Event, InstrumentInfo, VenueIndex};
use tickwire_wire::{Channel, Command, LedgerEntry, Message, Refused, Scale, SetRate, SymbolName};

use super::identity::{named, renew};
use super::rig::{Client, Rig, SECOND, brief, limits, quote, records, response, subscribe_at, trade};

fn late(seconds: u64) -> Entitlement {
    Entitlement { delay_ns: seconds * SECOND, ..Entitlement::ALL }
}

fn only(symbol: &str) -> Entitlement {
    Entitlement { symbols: Pattern::Is(symbol.to_owned()), ..Entitlement::ALL }
}

fn desk(entitlements: Vec<Entitlement>) -> Principal {
    named("desk", entitlements)
}

fn granted(messages: &[Message]) -> Vec<(String, u64)> {
    let responses =
        messages.iter().filter_map(|m| if let Message::Subscribed(s) = m { Some(s) } else { None });
    let granted = responses.flat_map(|response| &response.granted);
    let mut granted: Vec<_> = granted.map(|granted| (granted.symbol.clone(), granted.delay_ms)).collect();
    granted.sort_unstable();
    granted
}

fn refusals(messages: &[Message]) -> Vec<Refused> {
    let responses =
        messages.iter().filter_map(|m| if let Message::Subscribed(s) = m { Some(s) } else { None });
    responses.flat_map(|response| response.refused.iter().cloned()).collect()
}

fn entries(messages: &[Message]) -> Vec<LedgerEntry> {
    let ledgers = messages.iter().filter_map(|m| if let Message::Ledger(l) = m { Some(l) } else { None });
    ledgers.flat_map(|ledger| ledger.entries.iter().cloned()).collect()
}

fn got(rig: &mut Rig, client: Client) -> Vec<String> {
    brief(&rig.records(client))
}

#[test]
fn real_time_that_is_taken_away_ends_at_once_and_comes_back_late() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    rig.publish_now(0, 1, trade(1));
    assert_eq!(got(&mut rig, client), ["trade 1"]);
    rig.pass(3);
    rig.publish_now(0, 2, trade(2));
    // Trade 2 was not sent yet, and it is not sent any more.
    let messages = renew(&mut rig, client, desk(vec![late(10)]));
    let ended = &refusals(&messages)[0];
    assert_eq!((ended.code.as_str(), ended.may_retry), ("ended", true));
    assert!(ended.message.contains("another delay"), "{}", ended.message);
    let entry = &entries(&messages)[0];
    assert_eq!((entry.published, entry.delivered), (1, 1), "it ended where it was");
    assert_eq!(brief(&records(messages)), [""; 0]);
    rig.publish_now(0, 3, trade(3));
    assert_eq!(got(&mut rig, client), [""; 0]);
    // Whoever asks again sees it late. Its state is as old as trade 3, so it takes the whole delay.
    assert_eq!(refusals(&rig.subscribe(client, Channel::Trade, &["sim:A"]))[0].code, "delayed");
    rig.pass(9);
    rig.publish_now(0, 4, trade(4));
    assert_eq!(got(&mut rig, client), [""; 0]);
    rig.pass(1);
    assert_eq!(granted(&rig.read(client)), [("sim:A".to_owned(), 10_000)]);
    rig.pass(9);
    assert_eq!(got(&mut rig, client), ["trade 4"]);
}

#[test]
fn real_time_that_is_given_ends_what_was_late() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(desk(vec![late(10)]));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    rig.publish_now(0, 1, trade(1));
    let messages = renew(&mut rig, client, desk(vec![Entitlement::ALL]));
    assert_eq!((refusals(&messages)[0].code.as_str(), refusals(&messages)[0].may_retry), ("ended", true));
    let messages = rig.subscribe(client, Channel::Trade, &["sim:A"]);
    assert_eq!(granted(&messages), [("sim:A".to_owned(), 0)]);
    rig.publish_now(0, 2, trade(2));
    assert_eq!(got(&mut rig, client), ["trade 2"]);
    // Nobody uses the delay any more, so it is let go when its view has been idle for long enough.
    rig.pass(30);
    assert_eq!(rig.engine.delayed().delays, 0);
}

#[test]
fn a_token_that_says_the_same_changes_nothing() {
    let mut rig = Rig::new(EngineLimits { delays: 1, ..limits() });
    let one = desk(vec![late(7), only("B")]);
    // There is one delay, of 10 s, and it serves those who need 7 s.
    let other = rig.open_as(desk(vec![late(10)]));
    rig.subscribe(other, Channel::Trade, &["sim:A"]);
    let client = rig.open_as(one.clone());
    let messages = rig.subscribe(client, Channel::Trade, &["sim:A", "sim:B"]);
    assert_eq!(granted(&messages), [("sim:A".to_owned(), 10_000), ("sim:B".to_owned(), 0)]);
    rig.publish_now(0, 1, trade(1));
    let messages = renew(&mut rig, client, one);
    assert!(matches!(messages[..], [Message::Identity(_), Message::Sent(_)]), "{messages:?}");
    rig.pass(10);
    assert_eq!(got(&mut rig, client), ["trade 1"]);
}

#[test]
fn where_there_is_no_delay_for_it_a_subscription_ends_with_words() {
    let mut rig = Rig::new(EngineLimits { delays: 1, ..limits() });
    let client = rig.open_as(desk(vec![late(10)]));
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    let messages = renew(&mut rig, client, desk(vec![late(20)]));
    let ended = &refusals(&messages)[0];
    assert_eq!((ended.code.as_str(), ended.may_retry), ("ended", true));
    assert!(ended.message.contains("gateway.limits.delays"), "{}", ended.message);
    rig.publish_now(0, 1, trade(1));
    rig.pass(25);
    assert_eq!(got(&mut rig, client), [""; 0]);
    // The delay that nobody uses any more is gone now, and there is room for the other one.
    assert_eq!(refusals(&rig.subscribe(client, Channel::Trade, &["sim:B"])), []);
}

#[test]
fn what_waits_for_its_view_is_withdrawn() {
    let mut rig = Rig::new(limits());
    let live = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.subscribe(live, Channel::Quote, &["sim:A"]);
    rig.publish_now(0, 1, quote(1));
    let client = rig.open_as(desk(vec![late(60)]));
    assert_eq!(refusals(&rig.subscribe(client, Channel::Quote, &["sim:A"]))[0].code, "delayed");
    let messages = renew(&mut rig, client, desk(vec![late(20)]));
    let refused = &refusals(&messages)[0];
    assert_eq!((refused.code.as_str(), refused.may_retry), ("unavailable", true));
    assert_eq!(rig.engine.subscriptions(), 1);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.pass(20);
    assert_eq!(granted(&rig.read(client)), [("sim:A".to_owned(), 20_000)]);
}

#[test]
fn all_of_a_venue_grows_with_what_a_new_token_grants() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(desk(vec![only("A")]));
    rig.send(client, &subscribe_at(1, "quote", &["sim:*"], 5.0));
    rig.grant_interests();
    assert_eq!(granted(&rig.read(client)), [("sim:A".to_owned(), 0)]);
    let messages = renew(&mut rig, client, desk(vec![only("A"), only("C"), only("LATER")]));
    assert_eq!(granted(&messages), [("sim:C".to_owned(), 0)]);
    let rates: Vec<_> = messages
        .iter()
        .filter_map(|m| if let Message::Subscribed(s) = m { Some(s) } else { None })
        .flat_map(|subscribed| subscribed.granted.iter().map(|granted| granted.max_rate))
        .collect();
    assert_eq!(rates, [5.0], "at the rate that was asked for");
    rig.instrument("LATER");
    rig.grant_interests();
    assert_eq!(granted(&rig.read(client)), [("sim:LATER".to_owned(), 0)]);
    // What was late comes in real time, without being asked for again.
    let messages = renew(&mut rig, client, desk(vec![late(0)]));
    assert_eq!((granted(&messages), refusals(&messages)), (vec![("sim:B".to_owned(), 0)], Vec::new()));
    let messages = renew(&mut rig, client, desk(vec![late(10)]));
    assert_eq!(refusals(&messages).len(), 4);
    assert_eq!(granted(&messages).len(), 4, "nothing happened yet, and that is old enough");
    let messages = renew(&mut rig, client, desk(vec![only("B")]));
    assert_eq!((granted(&messages), refusals(&messages).len()), (vec![("sim:B".to_owned(), 0)], 4));
    for index in 0..4 {
        rig.publish_now(index, 1, quote(1));
    }
    assert_eq!(got(&mut rig, client), ["quote 1"]);
}

#[test]
fn all_of_a_venue_grows_as_far_as_there_is_room() {
    let mut rig = Rig::new(limits());
    let two = Principal { subscriptions_max: 2, ..desk(vec![only("A")]) };
    let client = rig.open_as(two.clone());
    rig.subscribe(client, Channel::Quote, &["sim:*"]);
    let all = Principal { entitlements: vec![Entitlement::ALL], ..two };
    let messages = renew(&mut rig, client, all.clone());
    assert_eq!(granted(&messages), [("sim:B".to_owned(), 0)]);
    let refused = &refusals(&messages)[0];
    assert_eq!((refused.symbol.as_str(), refused.code.as_str(), refused.may_retry), ("sim:*", "limit", true));
    // More room is as good as more names.
    let messages = renew(&mut rig, client, Principal { subscriptions_max: 9, ..all });
    assert_eq!((granted(&messages), refusals(&messages)), (vec![("sim:C".to_owned(), 0)], Vec::new()));
}

#[test]
fn a_token_costs_what_it_may_add() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(desk(vec![only("A")]));
    renew(&mut rig, client, desk(vec![only("A")]));
    let alone = rig.engine.price();
    rig.subscribe(client, Channel::Quote, &["sim:*"]);
    renew(&mut rig, client, desk(vec![only("A")]));
    assert_eq!(rig.engine.price(), alone + 3);
}

#[test]
fn what_is_listed_but_too_young_is_not_named_by_a_new_token() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(desk(vec![only("A")]));
    rig.subscribe(client, Channel::Trade, &["sim:*"]);
    let name = SymbolName { venue: "sim".to_owned(), symbol: "D".to_owned() };
    let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
    let info =
        Arc::new(InstrumentInfo { index: 3, id: 103, listed: rig.now, venue: VenueIndex(0), name, scale });
    rig.infos.push(Arc::clone(&info));
    rig.event(Event::Instrument(info));
    let messages = renew(&mut rig, client, desk(vec![only("A"), late(10)]));
    assert_eq!(granted(&messages), [("sim:B".to_owned(), 10_000), ("sim:C".to_owned(), 10_000)]);
    assert!(!format!("{messages:?}").contains("sim:D"));
    rig.pass(10);
    rig.grant_interests();
    assert!(response(&rig.read(client)).granted.iter().all(|granted| granted.symbol == "sim:D"));
}

/// Returns the symbol and the rate of each grant.
fn rates(messages: &[Message]) -> Vec<(String, f64)> {
    let responses =
        messages.iter().filter_map(|m| if let Message::Subscribed(s) = m { Some(s) } else { None });
    let granted = responses.flat_map(|response| &response.granted);
    granted.map(|granted| (granted.symbol.clone(), granted.max_rate)).collect()
}

#[test]
fn a_lower_rate_holds_for_what_still_waits_for_its_state() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.send(client, &subscribe_at(1, "quote", &["sim:A"], 50.0));
    let slow = Principal { rate_max: 5.0, ..desk(vec![Entitlement::ALL]) };
    assert_eq!(rates(&renew(&mut rig, client, slow.clone())), [("sim:A".to_owned(), 5.0)]);
    // What waits for something that the new token takes away is granted at once, and as slowly.
    rig.send(client, &subscribe_at(1, "stat", &["sim:A"], 0.0));
    rig.grant_interests();
    rig.read(client);
    let other = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.send(other, &subscribe_at(1, "stat", &["sim:A", "sim:B"], 50.0));
    let messages = renew(&mut rig, other, Principal { entitlements: vec![only("A")], ..slow.clone() });
    assert_eq!(rates(&messages), [("sim:A".to_owned(), 5.0)]);
    // So it is where nobody handed in a token: an API key grants less.
    let third = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.send(third, &subscribe_at(1, "bar", &["sim:*"], 0.0));
    rig.engine.regrant(third.key, Arc::new(slow), rig.now);
    rig.grant_interests();
    assert_eq!(rates(&rig.read(third)), ["A", "B", "C"].map(|name| (format!("sim:{name}"), 5.0)));
}

#[test]
fn a_lower_rate_holds_for_what_still_waits_for_its_view() {
    let mut rig = Rig::new(limits());
    let live = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.subscribe(live, Channel::Quote, &["sim:A"]);
    rig.publish_now(0, 1, quote(1));
    let client = rig.open_as(desk(vec![late(20)]));
    rig.send(client, &subscribe_at(1, "quote", &["sim:A"], 50.0));
    assert_eq!(refusals(&rig.read(client))[0].code, "delayed");
    renew(&mut rig, client, Principal { rate_max: 5.0, ..desk(vec![late(20)]) });
    rig.pass(20);
    assert_eq!(rates(&rig.read(client)), [("sim:A".to_owned(), 5.0)]);
}

#[test]
fn the_rate_that_was_asked_for_last_holds_for_what_waits() {
    let mut rig = Rig::new(limits());
    let live = rig.open_as(desk(vec![Entitlement::ALL]));
    rig.subscribe(live, Channel::Quote, &["sim:*"]);
    (0..3).for_each(|index| drop(rig.publish_now(index, 1, quote(1))));
    let [one, all] = [0, 1].map(|_| rig.open_as(desk(vec![late(20)])));
    for rate in [50.0, 2.0] {
        rig.send(one, &subscribe_at(1, "quote", &["sim:A"], rate));
    }
    rig.send(all, &subscribe_at(1, "quote", &["sim:*"], 50.0));
    let (channel, symbols) = ("quote".to_owned(), vec!["sim:*".to_owned()]);
    rig.send(all, &Command::SetRate(SetRate { id: 2, channel, symbols, max_rate: 3.0 }));
    assert!([one, all].iter().all(|client| rates(&rig.read(*client)).is_empty()));
    rig.pass(20);
    assert_eq!(rates(&rig.read(one)), [("sim:A".to_owned(), 2.0)]);
    assert_eq!(rates(&rig.read(all)), ["A", "B", "C"].map(|name| (format!("sim:{name}"), 3.0)));
}
