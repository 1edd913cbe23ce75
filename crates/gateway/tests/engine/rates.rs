//! Requested rates and delivery windows: the tests show what is held back, until when, and how it is accounted for.
#![allow(clippy::float_cmp)] // Rates are echoed to the last bit.

use tickwire_core::engine::EngineLimits;
use tickwire_wire::{
    Bar, Body, Channel, Command, Encoding, FeedState, GapCause, Granted, LedgerEntry, LedgerRequest, Message,
    SetRate, Subscribed, Unsubscribe,
};

use super::rig::{
    Client, EPOCH, Rig, brief, change, level, limits, quote, records, response, snapshot, subscribe_at, trade,
};

const MS: u64 = 1_000_000;

fn asked(channel: Channel, symbols: &[&str], max_rate: f64) -> Command {
    subscribe_at(1, channel.name(), symbols, max_rate)
}

/// Makes a rig, and a client with this channel of `sim:A` at a rate.
fn rated(channel: Channel, max_rate: f64) -> (Rig, Client) {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &asked(channel, &["sim:A"], max_rate));
    rig.grant_interests();
    assert_eq!(response(&rig.read(client)).granted[0].max_rate, max_rate);
    (rig, client)
}

/// Sets a rate; returns the response, and what is read with it.
fn set_rate(rig: &mut Rig, client: Client, channel: Channel, max_rate: f64) -> (Subscribed, Vec<String>) {
    let symbols = vec!["sim:A".to_owned()];
    let command = SetRate { id: 7, channel: channel.name().to_owned(), symbols, max_rate };
    rig.send(client, &Command::SetRate(command));
    let messages = rig.read(client);
    assert!(matches!(messages[0], Message::Subscribed(_)), "the response comes before what it sets free");
    (response(&messages).clone(), brief(&records(messages)))
}

/// Returns what is read after this time.
fn after(rig: &mut Rig, client: Client, ns: u64) -> Vec<String> {
    rig.now += ns;
    let now = rig.now;
    rig.engine.on_timer(now);
    assert!(rig.engine.next_due().is_none_or(|due| due > now), "something is due and was not done");
    brief(&rig.records(client))
}

/// Returns delivered, conflated, dropped, filtered of the only subscription; the sum is checked.
#[track_caller]
fn account(rig: &mut Rig, client: Client) -> (u64, u64, u64, u64) {
    rig.send(client, &Command::Ledger(LedgerRequest { id: 1 }));
    let messages = rig.read(client);
    let ledger = messages.iter().find_map(|m| if let Message::Ledger(l) = m { Some(l) } else { None });
    let LedgerEntry { published, delivered, conflated, dropped, filtered, .. } =
        ledger.unwrap_or_else(|| panic!("{messages:?}")).entries[0];
    assert_eq!(published, delivered + conflated + dropped + filtered);
    (delivered, conflated, dropped, filtered)
}

fn publish(rig: &mut Rig, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        rig.publish(0, number, quote(number as i64));
    }
}

#[test]
fn the_newest_leaves_once_in_an_interval() {
    let (mut rig, client) = rated(Channel::Quote, 10.0);
    publish(&mut rig, 1..=1);
    assert_eq!(brief(&rig.records(client)), ["quote 1"], "the first leaves at once");
    rig.engine.take_ready(&mut Vec::new());
    publish(&mut rig, 2..=4);
    assert!(!rig.engine.has_ready(), "a throttled one is not looked at");
    assert_eq!(rig.engine.next_due(), Some(rig.now + 100 * MS));
    assert_eq!(after(&mut rig, client, 100 * MS - 1), Vec::<String>::new());
    assert_eq!(after(&mut rig, client, 1), ["quote 4"]);
    assert_eq!(account(&mut rig, client), (2, 0, 0, 2));
    assert_eq!(after(&mut rig, client, 100 * MS), Vec::<String>::new());
    assert_eq!(rig.engine.next_due(), None, "nobody waits for a time while nothing happens");
    publish(&mut rig, 5..=5);
    assert_eq!(brief(&rig.records(client)), ["quote 5"], "the first after silence leaves at once");
}

#[test]
fn an_update_after_the_interval_needs_no_timer() {
    let (mut rig, client) = rated(Channel::Quote, 10.0);
    publish(&mut rig, 1..=1);
    rig.read(client);
    publish(&mut rig, 2..=2);
    rig.now += 100 * MS;
    publish(&mut rig, 3..=3);
    assert_eq!(brief(&rig.records(client)), ["quote 3"]);
    publish(&mut rig, 4..=4);
    assert_eq!(
        after(&mut rig, client, 0),
        Vec::<String>::new(),
        "the old timer does not end the new throttling"
    );
    assert_eq!(after(&mut rig, client, 100 * MS), ["quote 4"]);
    assert_eq!(account(&mut rig, client), (3, 0, 0, 1));
}

#[test]
fn what_a_slow_socket_supersedes_is_conflated_and_not_filtered() {
    let (mut rig, client) = rated(Channel::Quote, 10.0);
    publish(&mut rig, 1..=1);
    rig.read(client);
    publish(&mut rig, 2..=4);
    rig.engine.unsent(client.key, 10, rig.now);
    rig.now += 100 * MS;
    rig.engine.on_timer(rig.now);
    publish(&mut rig, 5..=7);
    rig.engine.unsent(client.key, 0, rig.now);
    assert_eq!(brief(&rig.records(client)), ["quote 7"]);
    assert_eq!(
        account(&mut rig, client),
        (2, 3, 0, 2),
        "2 and 3 were throttled; 4, 5 and 6 waited for the socket"
    );
}

#[test]
fn a_gap_ends_the_rest() {
    let (mut rig, client) = rated(Channel::Quote, 0.01);
    publish(&mut rig, 1..=1);
    rig.read(client);
    publish(&mut rig, 2..=3);
    rig.gap(0, Channel::Quote, GapCause::Upstream, 4, 4, EPOCH);
    assert_eq!(brief(&rig.records(client)), ["quote 3", "quote gap upstream 4-4"]);
    publish(&mut rig, 5..=5);
    assert_eq!(after(&mut rig, client, 0), Vec::<String>::new(), "3 began another throttling");
    rig.gap(0, Channel::Quote, GapCause::Ingest, 6, 0, EPOCH + 1);
    assert_eq!(brief(&rig.records(client)), ["quote gap ingest 6-0"], "5 is of a sequence that is no more");
    assert_eq!(account(&mut rig, client), (2, 0, 1, 2));
    let update = rig.bus_update(0, EPOCH + 1, 1, quote(1));
    rig.event(tickwire_core::vocabulary::Event::Update(update));
    assert_eq!(brief(&rig.records(client)), ["quote 1"], "the first of the new sequence");
}

#[test]
fn a_book_rests_as_one_change_and_is_mended_at_once() {
    let (mut rig, client) = rated(Channel::Book, 1.0);
    let levels: Vec<_> = (0..20).rev().map(|price| level(price, 5)).collect();
    rig.publish(0, 1, snapshot(&levels, &[level(50, 5)]));
    assert_eq!(brief(&rig.records(client)), ["book 1 snapshot"]);
    for number in 2..=5 {
        rig.publish(0, number, change(&[level(19, number)], &[]));
    }
    assert_eq!(after(&mut rig, client, 1000 * MS), ["book 2-5"]);
    assert_eq!(account(&mut rig, client), (2, 0, 0, 3));
    rig.publish(0, 6, change(&[level(19, 6)], &[]));
    rig.gap(0, Channel::Book, GapCause::Bus, 7, 8, EPOCH);
    assert_eq!(brief(&rig.records(client)), ["book gap bus 7-8"]);
    let repair = rig.bus_update(0, EPOCH, 9, snapshot(&levels, &[]));
    rig.state(tickwire_core::vocabulary::TopicId::new(0, Channel::Book), 9, vec![repair]);
    assert_eq!(brief(&rig.records(client)), ["book 9 snapshot"]);
    assert_eq!(account(&mut rig, client), (3, 0, 2, 4));
}

#[test]
fn each_key_of_a_turn_leaves_once_however_many_writes_it_takes() {
    let mut rig = Rig::new(EngineLimits { write_bytes: 1, ..limits() });
    let client = rig.open(Encoding::Proto);
    rig.send(client, &asked(Channel::Bar, &["sim:A"], 10.0));
    rig.grant_interests();
    rig.read(client);
    let bar = |rig: &mut Rig, number, interval| {
        rig.publish(0, number, Body::Bar(Bar { interval, close: number as i64, ..Bar::default() }));
    };
    for (number, interval) in [(1, 60), (2, 300), (3, 900)] {
        bar(&mut rig, number, interval);
    }
    let (first, filled) = rig.fill(client);
    assert!(filled.more && !first.is_empty());
    rig.engine.unsent(client.key, 0, rig.now);
    rig.now += 50 * MS;
    for (number, interval) in [(4, 60), (5, 300)] {
        bar(&mut rig, number, interval);
    }
    assert_eq!(brief(&rig.records(client)), ["bar 3"], "2 was superseded, 5 is of the next turn");
    assert_eq!(after(&mut rig, client, 99 * MS), Vec::<String>::new());
    assert_eq!(after(&mut rig, client, MS), ["bar 4", "bar 5"]);
}

#[test]
fn a_trade_does_not_wait_for_the_quote_before_it() {
    let (mut rig, client) = rated(Channel::Quote, 10.0);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    publish(&mut rig, 1..=1);
    rig.read(client);
    publish(&mut rig, 2..=2);
    rig.publish(0, 1, trade(1));
    assert_eq!(brief(&rig.records(client)), ["trade 1"]);
    assert_eq!(after(&mut rig, client, 100 * MS), ["quote 2"]);
}

#[track_caller]
fn check_granted(channel: Channel, asked_rate: f64, granted: f64) {
    let mut rig = Rig::new(EngineLimits { rate_max: 100.0, ..limits() });
    let client = rig.open(Encoding::Json);
    rig.send(client, &asked(channel, &["sim:A"], asked_rate));
    rig.grant_interests();
    assert_eq!(response(&rig.read(client)).granted[0].max_rate, granted);
    let (again, _) = set_rate(&mut rig, client, channel, asked_rate);
    assert_eq!((again.id, again.granted[0].max_rate), (7, granted), "set_rate says the same");
}

#[test]
fn rates_are_clamped_and_echoed() {
    check_granted(Channel::Quote, 0.0, 0.0);
    check_granted(Channel::Stat, 2.5, 2.5);
    check_granted(Channel::Bar, 101.0, 100.0);
    check_granted(Channel::Book, 1e9, 100.0);
    check_granted(Channel::Quote, 0.0001, 0.01);
    check_granted(Channel::Trade, 5.0, 0.0);
    check_granted(Channel::Status, 5.0, 0.0);
    check_granted(Channel::Instrument, 5.0, 0.0);
}

#[test]
fn what_is_no_rate_is_refused_and_changes_nothing() {
    let (mut rig, client) = rated(Channel::Quote, 10.0);
    for rate in [-1.0, f64::NAN, f64::INFINITY] {
        let symbols = vec!["sim:A".to_owned()];
        let command = SetRate { id: 7, channel: "quote".to_owned(), symbols, max_rate: rate };
        rig.send(client, &Command::SetRate(command));
        let messages = rig.read(client);
        let Message::Error(error) = &messages[0] else { panic!("{messages:?}") };
        assert_eq!(error.code, "bad_command");
        assert!(error.message.contains(&format!("max_rate {rate} is no rate")), "{}", error.message);
    }
    publish(&mut rig, 1..=1);
    rig.read(client);
    publish(&mut rig, 2..=2);
    assert_eq!(after(&mut rig, client, 99 * MS), Vec::<String>::new());
}

#[test]
fn a_rate_changes_live() {
    let (mut rig, client) = rated(Channel::Quote, 1.0);
    publish(&mut rig, 1..=1);
    rig.read(client);
    publish(&mut rig, 2..=3);
    let (_, freed) = set_rate(&mut rig, client, Channel::Quote, 1.0);
    assert_eq!(freed, Vec::<String>::new(), "the same rate changes nothing");
    let (response, freed) = set_rate(&mut rig, client, Channel::Quote, 10.0);
    let Granted { max_rate, sequence, .. } = response.granted[0];
    assert_eq!((max_rate, sequence), (10.0, 1), "where it stands, not where it will");
    assert_eq!(freed, ["quote 3"], "what was held back leaves at once");
    publish(&mut rig, 4..=4);
    assert_eq!(after(&mut rig, client, 99 * MS), Vec::<String>::new());
    assert_eq!(after(&mut rig, client, MS), ["quote 4"]);
    publish(&mut rig, 5..=6);
    assert_eq!(set_rate(&mut rig, client, Channel::Quote, 0.0).1, ["quote 6"]);
    publish(&mut rig, 7..=7);
    assert_eq!(after(&mut rig, client, 0), ["quote 7"], "every update");
    set_rate(&mut rig, client, Channel::Quote, 10.0);
    publish(&mut rig, 8..=8);
    assert_eq!(after(&mut rig, client, 0), ["quote 8"]);
    publish(&mut rig, 9..=9);
    assert_eq!(after(&mut rig, client, 0), Vec::<String>::new());
    assert_eq!(account(&mut rig, client), (6, 0, 0, 2), "2 and 5 were throttled");
}

#[test]
fn all_of_a_venue_has_the_rate_later_symbols_too() {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    rig.send(client, &asked(Channel::Quote, &["sim:*"], 2.0));
    rig.grant_interests();
    let granted = response(&rig.read(client)).granted.clone();
    assert_eq!(granted.iter().map(|granted| granted.max_rate).collect::<Vec<_>>(), [2.0; 3]);
    rig.instrument("D");
    rig.grant_interests();
    assert_eq!(response(&rig.read(client)).granted[0].max_rate, 2.0);
    let symbols = vec!["sim:*".to_owned()];
    let command = SetRate { id: 7, channel: "quote".to_owned(), symbols, max_rate: 3.0 };
    rig.send(client, &Command::SetRate(command));
    assert_eq!(response(&rig.read(client)).granted.len(), 4);
    rig.instrument("E");
    rig.grant_interests();
    assert_eq!(response(&rig.read(client)).granted[0].max_rate, 3.0);
}

#[test]
fn those_who_left_are_not_woken() {
    let (mut rig, client) = rated(Channel::Quote, 10.0);
    let other = rig.open_with_window(Encoding::Json, 16);
    rig.send(other, &asked(Channel::Quote, &["sim:A"], 10.0));
    rig.read(other);
    publish(&mut rig, 1..=1);
    rig.read(client);
    rig.read(other);
    publish(&mut rig, 2..=2);
    rig.engine.ended(other.key, rig.now);
    let command = Unsubscribe { id: 2, channel: "quote".to_owned(), symbols: vec!["sim:A".to_owned()] };
    rig.send(client, &Command::Unsubscribe(command));
    rig.send(client, &asked(Channel::Stat, &["sim:A"], 0.5));
    rig.grant_interests();
    rig.read(client);
    // It takes the place of the one that left, and is throttled for longer.
    rig.publish(0, 1, Body::Stat(tickwire_wire::Stat::default()));
    assert_eq!(brief(&rig.records(client)), ["stat 1"]);
    rig.publish(0, 2, Body::Stat(tickwire_wire::Stat::default()));
    assert_eq!(after(&mut rig, client, 100 * MS), Vec::<String>::new());
    assert_eq!(after(&mut rig, client, 1900 * MS), ["stat 2"]);
}

#[test]
fn a_window_gathers_data_and_lets_control_pass() {
    let mut rig = Rig::new(limits());
    let client = rig.open_with_window(Encoding::Proto, 16);
    let Message::Hello(hello) = rig.read(client).remove(0) else { panic!() };
    assert_eq!(hello.window_ms, 16);
    for channel in [Channel::Quote, Channel::Trade] {
        rig.subscribe(client, channel, &["sim:A"]);
    }
    publish(&mut rig, 1..=1);
    assert_eq!(brief(&rig.records(client)), ["quote 1"], "the first leaves at once");
    rig.engine.take_ready(&mut Vec::new());
    publish(&mut rig, 2..=3);
    rig.publish(0, 1, trade(1));
    rig.publish(0, 2, trade(2));
    assert!(!rig.engine.has_ready());
    assert_eq!(rig.engine.next_due(), Some(rig.now + 16 * MS));
    assert_eq!(account(&mut rig, client), (1, 0, 0, 0), "a response leaves, and nothing with it");
    rig.engine.on_ping(client.key, b"?", rig.now);
    let (bytes, filled) = rig.fill(client);
    assert!(!bytes.is_empty() && !filled.more);
    assert_eq!(after(&mut rig, client, 16 * MS - 1), Vec::<String>::new());
    assert_eq!(after(&mut rig, client, 1), ["quote 3", "trade 1", "trade 2"]);
    assert_eq!(after(&mut rig, client, 16 * MS), Vec::<String>::new());
    assert_eq!(rig.engine.next_due(), None);
    assert_eq!(account(&mut rig, client), (2, 1, 0, 0), "a window is no rate");
    publish(&mut rig, 4..=4);
    assert_eq!(brief(&rig.records(client)), ["quote 4"], "the first after silence leaves at once");
}

#[test]
fn a_feed_that_is_live_again_does_not_overtake_what_was_lost_before() {
    let mut rig = Rig::new(limits());
    let client = rig.open_with_window(Encoding::Proto, 250);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    publish(&mut rig, 1..=1);
    assert_eq!(brief(&rig.records(client)), ["quote 1"]);
    rig.feed(FeedState::Stale);
    publish(&mut rig, 2..=2);
    assert_eq!(brief(&rig.records(client)), [""; 0], "a feed that is stale opens no window");
    rig.feed(FeedState::Live);
    assert_eq!(brief(&rig.records(client)), ["quote 2"]);
    publish(&mut rig, 3..=3);
    assert_eq!(after(&mut rig, client, 249 * MS), [""; 0], "it is shut again");
    assert_eq!(after(&mut rig, client, MS), ["quote 3"]);
}

#[test]
fn what_is_too_much_for_one_write_does_not_wait_for_the_next_window() {
    let mut rig = Rig::new(EngineLimits { write_bytes: 200, ..limits() });
    let client = rig.open_with_window(Encoding::Proto, 1000);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    for number in 1..=50 {
        rig.publish(0, number, trade(number as i64));
    }
    assert_eq!(rig.records(client).len(), 50);
    rig.publish(0, 51, trade(51));
    assert_eq!(rig.records(client).len(), 0);
    for number in 52..=100 {
        rig.publish(0, number, trade(number as i64));
    }
    assert_eq!(rig.records(client).len(), 50, "a full write of lossless records does not wait either");
    assert_eq!(account(&mut rig, client), (100, 0, 0, 0));
}

#[test]
fn a_snapshot_is_the_first_update() {
    let mut rig = Rig::new(limits());
    let first = rig.open(Encoding::Proto);
    rig.subscribe(first, Channel::Quote, &["sim:A"]);
    publish(&mut rig, 1..=1);
    let client = rig.open(Encoding::Proto);
    rig.send(client, &asked(Channel::Quote, &["sim:A"], 10.0));
    assert_eq!(brief(&records(rig.read(client))), ["quote 1"]);
    publish(&mut rig, 2..=2);
    assert_eq!(after(&mut rig, client, 99 * MS), Vec::<String>::new());
    assert_eq!(after(&mut rig, client, MS), ["quote 2"]);
}
