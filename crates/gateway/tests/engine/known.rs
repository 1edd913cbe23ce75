//! Refusals tell nothing of what exists that their reader may not know, or may not know yet.

use std::sync::Arc;

use tickwire_core::engine::{Entitlement, Pattern, Principal};
use tickwire_core::vocabulary::{Ended, Event, FeedStatus, InstrumentInfo, VenueIndex};
use tickwire_wire::{BookProof, Channel, FeedState, Refused, Scale, SymbolName};

use super::identity::named;
use super::rig::{Client, Rig, SECOND, limits, quote, response};

fn late(seconds: u64) -> Entitlement {
    Entitlement { delay_ns: seconds * SECOND, ..Entitlement::ALL }
}

fn begins(symbols: &str, seconds: u64) -> Entitlement {
    Entitlement { symbols: Pattern::Begins(symbols.to_owned()), ..late(seconds) }
}

fn open(rig: &mut Rig, entitlements: Vec<Entitlement>) -> Client {
    rig.open_as(named("desk", entitlements))
}

fn everything(rig: &mut Rig) -> Client {
    rig.open_as(Principal::clone(&Principal::anonymous()))
}

fn refusal(rig: &mut Rig, client: Client, symbol: &str) -> Refused {
    let messages = rig.subscribe(client, Channel::Quote, &[symbol]);
    response(&messages).refused.first().cloned().unwrap_or_else(|| panic!("{symbol}: {messages:?}"))
}

/// Lets another venue be heard of just now, with one instrument.
fn open_venue(rig: &mut Rig, listed: u64) {
    let venue = VenueIndex(1);
    let (name, state, since) = ("nova".into(), FeedState::Live, rig.now);
    let feed = FeedStatus { venue, name, state, since, reason: "".into(), proof: BookProof::Unknown };
    rig.event(Event::Feed(Arc::new(feed)));
    let index = rig.infos.len() as u32;
    let name = SymbolName { venue: "nova".to_owned(), symbol: "X".to_owned() };
    let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
    let info = Arc::new(InstrumentInfo { index, id: 100 + index, listed, venue, name, scale });
    rig.infos.push(Arc::clone(&info));
    rig.event(Event::Instrument(info));
}

#[test]
fn a_venue_is_as_new_as_its_reader_may_know() {
    for is_delay_in_use in [false, true] {
        let mut rig = Rig::new(limits());
        let client = open(&mut rig, vec![late(10)]);
        let free = everything(&mut rig);
        if is_delay_in_use {
            rig.subscribe(client, Channel::Trade, &["sim:A"]);
        }
        let now = rig.now;
        open_venue(&mut rig, now);
        for seconds in 0..10 {
            for symbol in ["nova:X", "nova:NOPE", "nova:*"] {
                let refused = refusal(&mut rig, client, symbol);
                assert_eq!(
                    (refused.code.as_str(), refused.may_retry),
                    ("unknown_venue", true),
                    "{seconds} s"
                );
                assert!(refused.message.contains("known: sim;"), "{}", refused.message);
            }
            let refused = refusal(&mut rig, client, "void:X");
            assert!(refused.message.contains("known: sim;"), "{}", refused.message);
            rig.engine.on_pong(client.key, b"", rig.now);
            rig.engine.on_pong(free.key, b"", rig.now);
            rig.pass(1);
        }
        assert_eq!(refusal(&mut rig, client, "nova:NOPE").code, "unknown_symbol");
        assert!(refusal(&mut rig, client, "void:X").message.contains("known: nova, sim;"));
        let messages = rig.subscribe(client, Channel::Quote, &["nova:X"]);
        assert_eq!(response(&messages).granted.len(), 1);
    }
}

#[test]
fn who_sees_it_live_is_told_at_once() {
    let mut rig = Rig::new(limits());
    let client =
        open(&mut rig, vec![late(10), Entitlement { venues: Pattern::Is("nova".to_owned()), ..late(0) }]);
    let now = rig.now;
    open_venue(&mut rig, now);
    assert!(refusal(&mut rig, client, "void:X").message.contains("known: nova, sim;"));
    assert_eq!(refusal(&mut rig, client, "nova:NOPE").code, "unknown_symbol");
}

#[test]
fn a_venue_whose_instruments_are_old_is_known() {
    let mut rig = Rig::new(limits());
    let client = open(&mut rig, vec![late(10)]);
    open_venue(&mut rig, 0);
    let messages = rig.subscribe(client, Channel::Quote, &["nova:X"]);
    assert_eq!(response(&messages).granted.len(), 1);
}

#[test]
fn a_hint_is_as_old_as_the_name_in_it() {
    for is_delay_in_use in [false, true] {
        let mut rig = Rig::new(limits());
        // By the name that it asks for it would see it live, by the right one late.
        let client = open(&mut rig, vec![begins("al", 0), begins("AL", 10)]);
        if is_delay_in_use {
            let other = open(&mut rig, vec![late(10)]);
            rig.subscribe(other, Channel::Trade, &["sim:A"]);
        }
        super::delayed::define(&mut rig, 3, "ALFA", 0);
        let words = refusal(&mut rig, client, "sim:alfa").message;
        assert!(!words.contains("ALFA"), "{words}");
        rig.pass(10);
        let words = refusal(&mut rig, client, "sim:alfa").message;
        assert!(words.contains("did you mean `sim:ALFA`"), "{words}");
    }
}

#[test]
fn an_end_is_not_told_by_a_refusal() {
    for is_delay_in_use in [false, true] {
        let mut rig = Rig::new(limits());
        let client = open(&mut rig, vec![late(20)]);
        let live = everything(&mut rig);
        rig.subscribe(live, Channel::Quote, &["sim:A"]);
        rig.publish(0, 1, quote(1));
        if is_delay_in_use {
            rig.subscribe(client, Channel::Trade, &["sim:B"]);
        }
        rig.pass(1);
        let ended = Ended { instrument: 0, reason: "it expired".into(), may_retry: false };
        rig.event(Event::Ended(Arc::new(ended)));
        // Who sees it live is told, and lets go of it.
        assert_eq!(refusal(&mut rig, live, "sim:A").code, "unknown_symbol");
        rig.read(live);
        for _ in 0..19 {
            for client in [live, client] {
                rig.engine.on_pong(client.key, b"", rig.now);
            }
            rig.pass(1);
            let refused = refusal(&mut rig, client, "sim:A");
            assert_eq!(
                (refused.code.as_str(), refused.may_retry),
                ("unavailable", true),
                "{is_delay_in_use}"
            );
            assert!(!refused.message.contains("ended"), "{}", refused.message);
        }
        rig.pass(1);
        assert_eq!(refusal(&mut rig, client, "sim:A").code, "unknown_symbol");
    }
}
