//! Delays and depths are few: only what is held takes one, and it is there for others when its last holder goes.

use std::sync::Arc;

use tickwire_core::engine::{EngineLimits, Entitlement, Pattern, Principal};
use tickwire_core::vocabulary::{Ended, Event};
use tickwire_wire::{Channel, Command, Message, Refused, Unsubscribe};

use super::identity::{named, renew};
use super::rig::{Client, Rig, SECOND, brief, limits, quote, response, subscribe, trade};

/// Returns limits that are so small that each test shows who holds what.
fn one_of_each() -> EngineLimits {
    EngineLimits { delays: 1, depths: 1, ..limits() }
}

fn sees(seconds: u64, depth: impl Into<Option<u32>>) -> Entitlement {
    Entitlement { delay_ns: seconds * SECOND, depth: depth.into(), ..Entitlement::ALL }
}

fn only(symbol: &str, seconds: u64) -> Entitlement {
    Entitlement { symbols: Pattern::Is(symbol.to_owned()), ..sees(seconds, None) }
}

fn of(entitlements: Vec<Entitlement>) -> Principal {
    named("desk", entitlements)
}

fn unsubscribe(rig: &mut Rig, client: Client, channel: &str, symbol: &str) -> Vec<Message> {
    let (channel, symbols) = (channel.to_owned(), vec![symbol.to_owned()]);
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 9, channel, symbols }));
    rig.read(client)
}

/// Returns the code of the refusal of one symbol; nothing where it is granted.
fn ask(rig: &mut Rig, client: Client, channel: Channel, symbol: &str) -> String {
    let messages = rig.subscribe(client, channel, &[symbol]);
    response(&messages).refused.first().map(|refused: &Refused| refused.code.clone()).unwrap_or_default()
}

/// Checks that a session which sees everything by another delay or depth has room, or has none.
#[track_caller]
fn assert_room(rig: &mut Rig, is_free: bool) {
    let longer = rig.open_as(of(vec![sees(77, None)]));
    let code = ask(rig, longer, Channel::Trade, "sim:C");
    assert_eq!(code, if is_free { "" } else { "limit" }, "a delay");
    rig.engine.ended(longer.key, rig.now);
    let shallower = rig.open_as(of(vec![sees(0, 1)]));
    let code = ask(rig, shallower, Channel::Book, "sim:C");
    assert_eq!(code, if is_free { "" } else { "limit" }, "a depth");
    rig.engine.ended(shallower.key, rig.now);
}

#[test]
fn what_was_unsubscribed_holds_nothing() {
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![sees(10, 5)]));
    for symbols in [["sim:A"].as_slice(), &["sim:A", "sim:B"], &["sim:*"]] {
        for symbol in symbols {
            assert_eq!(ask(&mut rig, client, Channel::Book, symbol), "");
        }
        for (left, symbol) in symbols.iter().enumerate().rev() {
            assert_room(&mut rig, false);
            unsubscribe(&mut rig, client, "book", symbol);
            assert_eq!(rig.engine.closing(client.key), None);
            if left == 0 {
                assert_room(&mut rig, true);
            }
        }
    }
}

#[test]
fn a_view_that_nobody_has_is_warm_until_its_slot_is_needed() {
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![sees(20, None)]));
    ask(&mut rig, client, Channel::Trade, "sim:A");
    rig.publish_now(0, 1, trade(1));
    unsubscribe(&mut rig, client, "trade", "sim:A");
    rig.pass(8);
    assert_eq!(ask(&mut rig, client, Channel::Trade, "sim:A"), "", "it goes on where it was");
    unsubscribe(&mut rig, client, "trade", "sim:A");
    assert_room(&mut rig, true);
    // Now it begins anew.
    assert_eq!(ask(&mut rig, client, Channel::Trade, "sim:A"), "delayed");
}

#[test]
fn a_name_that_does_not_exist_takes_nothing() {
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![sees(10, 5)]));
    for (symbol, code) in [
        ("sim:NOPE", "unknown_symbol"),
        ("sim:a", "unknown_symbol"),
        ("void:A", "unknown_venue"),
        ("void:*", "unknown_venue"),
        ("sim", "bad_symbol"),
    ] {
        assert_eq!(ask(&mut rig, client, Channel::Book, symbol), code);
        let held = rig.engine.delayed();
        assert_eq!((held.delays, held.depths, held.topics), (0, 0, 0), "{symbol}");
    }
    unsubscribe(&mut rig, client, "book", "sim:A");
    unsubscribe(&mut rig, client, "book", "sim:*");
    assert_eq!((rig.engine.delayed().delays, rig.engine.delayed().depths), (0, 0));
    assert_room(&mut rig, true);
}

#[test]
fn what_waits_holds_its_view_until_it_is_withdrawn() {
    let mut rig = Rig::new(one_of_each());
    let live = rig.open_as(of(vec![Entitlement::ALL]));
    rig.subscribe(live, Channel::Book, &["sim:A"]);
    rig.publish_now(0, 1, super::rig::snapshot(&[super::rig::level(1, 1)], &[]));
    let client = rig.open_as(of(vec![sees(60, 5)]));
    assert_eq!(ask(&mut rig, client, Channel::Book, "sim:A"), "delayed");
    assert_room_of_delay(&mut rig, 90, "limit");
    unsubscribe(&mut rig, client, "book", "sim:A");
    assert_room_of_delay(&mut rig, 90, "");
}

#[track_caller]
fn assert_room_of_delay(rig: &mut Rig, seconds: u64, code: &str) {
    let client = rig.open_as(of(vec![sees(seconds, None)]));
    assert_eq!(ask(rig, client, Channel::Trade, "sim:C"), code);
    rig.engine.ended(client.key, rig.now);
}

#[test]
fn what_ended_holds_nothing() {
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![sees(3, 5)]));
    assert_eq!(ask(&mut rig, client, Channel::Book, "sim:A"), "");
    let ended = Ended { instrument: 0, reason: "it expired".into(), may_retry: false };
    rig.event(Event::Ended(Arc::new(ended)));
    assert_room(&mut rig, false);
    rig.pass(3);
    rig.read(client);
    assert_room(&mut rig, true);
}

#[test]
fn a_new_token_gives_back_what_it_does_not_need() {
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![sees(10, 5)]));
    rig.subscribe(client, Channel::Book, &["sim:*"]);
    assert_room(&mut rig, false);
    // By this one it sees all of it live.
    renew(&mut rig, client, of(vec![Entitlement::ALL]));
    assert_room(&mut rig, true);
    // What it would see by another view holds that only when it asked for it.
    unsubscribe(&mut rig, client, "book", "sim:*");
    rig.subscribe(client, Channel::Book, &["sim:A"]);
    renew(&mut rig, client, of(vec![sees(10, 5)]));
    assert_room(&mut rig, true);
    assert_eq!(ask(&mut rig, client, Channel::Book, "sim:A"), "");
    assert_room(&mut rig, false);
    // All of a venue that it sees by one delay, and then by another one: its own slot serves.
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![sees(10, None)]));
    rig.subscribe(client, Channel::Trade, &["sim:*"]);
    let messages = renew(&mut rig, client, of(vec![sees(20, None)]));
    let granted = messages.iter().filter_map(|message| match message {
        Message::Subscribed(response) => Some(response.granted.iter().map(|granted| granted.delay_ms)),
        _ => None,
    });
    assert_eq!(granted.flatten().collect::<Vec<_>>(), [20_000; 3], "{messages:?}");
}

#[test]
fn one_command_does_not_take_from_itself() {
    let mut rig = Rig::new(one_of_each());
    let client = rig.open_as(of(vec![only("A", 10), only("B", 20)]));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:A", "sim:B"]);
    let told = response(&messages);
    let granted: Vec<_> = told.granted.iter().map(|one| (one.symbol.as_str(), one.delay_ms)).collect();
    assert_eq!(granted, [("sim:A", 10_000)]);
    assert_eq!((told.refused[0].symbol.as_str(), told.refused[0].code.as_str()), ("sim:B", "limit"));
    rig.publish_now(0, 1, quote(1));
    rig.pass(9);
    assert!(rig.records(client).is_empty());
    rig.pass(1);
    assert_eq!(brief(&rig.records(client)), ["quote 1"]);
}

#[test]
fn all_of_a_venue_misses_no_listing_when_another_delay_begins() {
    let mut rig = Rig::new(one_of_each());
    let other = rig.open_as(of(vec![sees(20, None)]));
    rig.subscribe(other, Channel::Trade, &["sim:A"]);
    // There is no delay of 3 s, so this one sees all of it 20 s late.
    let client = rig.open_as(of(vec![sees(3, None)]));
    rig.subscribe(client, Channel::Quote, &["sim:*"]);
    super::delayed::define(&mut rig, 3, "D", 0);
    rig.grant_interests();
    rig.pass(10);
    unsubscribe(&mut rig, other, "trade", "sim:A");
    let again = rig.open_as(of(vec![sees(3, None)]));
    rig.send(again, &subscribe(1, "quote", &["sim:A"]));
    rig.grant_interests();
    rig.pass(10);
    rig.grant_interests();
    let messages = rig.read(client);
    let granted = messages.iter().filter_map(|message| match message {
        Message::Subscribed(response) => Some(response.granted.iter().map(|granted| granted.symbol.clone())),
        _ => None,
    });
    assert!(granted.flatten().any(|symbol| symbol == "sim:D"), "{messages:?}");
}
