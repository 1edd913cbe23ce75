//! The fan-out: what leaves, in which order, of which records; the newest, all, merged, and gaps.

use std::sync::Arc;

use tickwire_core::vocabulary::{Form, TopicId, TopicState};
use tickwire_wire::{
    Bar, Body, BookState, Channel, Command, Encoding, GapCause, LedgerRequest, Message, Record, TradingState,
};

use super::rig::{
    Client, EPOCH, Rig, brief, change, level, limits, quote, records, snapshot, status, subscribe,
    subscribed, trade,
};

fn bar(interval: u64, close: i64) -> Body {
    Body::Bar(Bar { interval, close, ..Bar::default() })
}

/// Returns delivered, conflated, dropped of the only subscription; the sum is checked.
#[track_caller]
fn account(rig: &mut Rig, client: Client) -> (u64, u64, u64) {
    rig.send(client, &Command::Ledger(LedgerRequest { id: 1 }));
    let messages = rig.read(client);
    let Message::Ledger(ledger) = &messages[0] else { panic!("{messages:?}") };
    let entry = &ledger.entries[0];
    assert_eq!(entry.published, entry.delivered + entry.conflated + entry.dropped + entry.filtered);
    (entry.delivered, entry.conflated, entry.dropped)
}

#[test]
fn only_the_newest_quote_leaves() {
    let (mut rig, client) = subscribed(&[Channel::Quote]);
    for number in 1..=5 {
        rig.publish(0, number, quote(number as i64));
    }
    let got = rig.records(client);
    assert_eq!(brief(&got), ["quote 5"]);
    assert_eq!(got[0].body, quote(5));
    assert_eq!(rig.records(client), []);
    assert_eq!(account(&mut rig, client), (1, 4, 0));
}

#[test]
fn trades_are_complete_and_in_order() {
    let (mut rig, client) = subscribed(&[Channel::Trade]);
    for number in 1..=300 {
        rig.publish(0, number, trade(number as i64));
    }
    let numbers: Vec<_> = rig.records(client).iter().map(|record| record.sequence).collect();
    assert_eq!(numbers, (1..=300).collect::<Vec<_>>());
    assert_eq!(account(&mut rig, client), (300, 0, 0));
}

#[test]
fn records_of_an_instrument_leave_in_order_of_arrival() {
    let all = [Channel::Quote, Channel::Trade, Channel::Status, Channel::Bar];
    let (mut rig, client) = subscribed(&all);
    rig.publish(0, 1, quote(1));
    rig.publish(0, 1, trade(1));
    assert_eq!(brief(&rig.records(client)), ["quote 1", "trade 1"], "nothing newer: the quote leaves first");
    rig.publish(0, 2, quote(2));
    rig.publish(0, 2, trade(2));
    rig.publish(0, 1, status(TradingState::Halted));
    rig.publish(0, 1, bar(60, 1));
    rig.publish(0, 3, quote(3));
    assert_eq!(brief(&rig.records(client)), ["trade 2", "status 1", "bar 1", "quote 3"]);
}

#[test]
fn bars_are_the_newest_of_each_interval_with_rising_numbers() {
    let (mut rig, client) = subscribed(&[Channel::Bar]);
    for (number, interval) in [(1, 60), (2, 300), (3, 60), (4, 900), (5, 60)] {
        rig.publish(0, number, bar(interval, number as i64));
    }
    assert_eq!(brief(&rig.records(client)), ["bar 2", "bar 4", "bar 5"]);
    assert_eq!(account(&mut rig, client), (3, 2, 0));
    rig.publish(0, 6, bar(300, 6));
    rig.publish(0, 7, bar(60, 7));
    assert_eq!(brief(&rig.records(client)), ["bar 6", "bar 7"]);
    let late = rig.open(Encoding::MsgPack);
    let messages = rig.subscribe(late, Channel::Bar, &["sim:A"]);
    assert_eq!(brief(&records(messages)), ["bar 4", "bar 6", "bar 7"]);
    assert_eq!(account(&mut rig, late), (0, 0, 0), "what was before the grant is in no account");
}

fn correction(interval: u64) -> Body {
    Body::Bar(Bar { interval, correction: true, closed: true, ..Bar::default() })
}

/// A bar that was lost, and that a state brings after the correction behind it came, leaves with its lower sequence
/// number. A client counts as this does: by the highest sequence number that it saw.
#[test]
fn a_bar_that_is_said_again_behind_a_later_one_counts_once() {
    let (mut rig, client) = subscribed(&[Channel::Bar]);
    rig.publish(0, 1, bar(60, 1));
    assert_eq!(brief(&rig.records(client)), ["bar 1"]);
    rig.gap(0, Channel::Bar, GapCause::Bus, 2, 3, EPOCH);
    let corrected = rig.publish(0, 4, correction(60));
    assert_eq!(brief(&rig.records(client)), ["bar gap bus 2-3", "bar 4"]);
    let running = rig.bus_update(0, EPOCH, 3, bar(60, 3));
    rig.state(TopicId::new(0, Channel::Bar), 4, vec![running, corrected]);
    let got = rig.records(client);
    assert_eq!(brief(&got), ["bar 3"], "the correction came already");
    assert_eq!(got[0].body, bar(60, 3));
    rig.publish(0, 5, bar(60, 5));
    assert_eq!(brief(&rig.records(client)), ["bar 5"]);
    assert_eq!(account(&mut rig, client), (3, 0, 2));
}

fn deep_book() -> Body {
    snapshot(
        &(0..20).rev().map(|price| level(price, 5)).collect::<Vec<_>>(),
        &(50..70).map(|price| level(price, 5)).collect::<Vec<_>>(),
    )
}

#[track_caller]
fn apply(book: &mut BookState, record: &Record) {
    let Body::Book(change) = &record.body else { panic!("{record:?}") };
    book.apply(record.sequence, change).expect("it applies");
}

#[test]
fn one_change_passes_through_and_several_become_one() {
    let (mut rig, client) = subscribed(&[Channel::Book]);
    let mut book = BookState::new();
    rig.publish(0, 1, deep_book());
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book 1 snapshot"]);
    apply(&mut book, &got[0]);

    let update = rig.publish(0, 2, change(&[level(19, 0)], &[]));
    let (bytes, _) = rig.fill(client);
    let passed = update.bytes(&Form::own(Encoding::Proto));
    assert!(bytes.windows(passed.len()).any(|window| window == passed), "the change left as it came");
    rig.engine.unsent(client.key, 0, rig.now);
    apply(&mut book, update.record());

    rig.publish(0, 3, change(&[level(19, 3)], &[level(50, 1)]));
    rig.publish(0, 4, change(&[level(19, 0), level(7, 9)], &[]));
    rig.publish(0, 5, change(&[level(18, 8)], &[level(69, 0)]));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book 3-5"]);
    apply(&mut book, &got[0]);
    let Body::Book(merged) = &got[0].body else { panic!() };
    assert_eq!(merged.bids, [level(19, 0), level(18, 8), level(7, 9)], "each level once, best first");
    assert_eq!(merged.checksum, Some(book.checksum()), "of the best ten levels after it");
    assert_eq!((book.bid_size(18), book.bid_size(19), book.ask_size(50), book.sequence()), (8, 0, 1, 5));
    assert_eq!(account(&mut rig, client), (3, 2, 0));
}

#[test]
fn a_snapshot_goes_where_it_is_smaller_or_the_only_way() {
    let (mut rig, client) = subscribed(&[Channel::Book]);
    rig.publish(0, 1, snapshot(&[level(1, 1)], &[level(2, 2)]));
    rig.read(client);
    rig.publish(0, 2, change(&[level(0, 1)], &[level(5, 1)]));
    rig.publish(0, 3, change(&[level(0, 0)], &[level(5, 0)]));
    rig.publish(0, 4, change(&[level(1, 4)], &[]));
    assert_eq!(brief(&rig.records(client)), ["book 4 snapshot"], "five changes of a book with two levels");

    let mut limits = limits();
    limits.log_records_per_topic = 2;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Book, &["sim:A"]);
    rig.publish(0, 1, deep_book());
    rig.read(client);
    for number in 2..=3 {
        rig.publish(0, number, change(&[level(3, number)], &[]));
    }
    assert_eq!(brief(&rig.records(client)), ["book 2-3"]);
    for number in 4..=6 {
        rig.publish(0, number, change(&[level(3, number)], &[]));
    }
    assert_eq!(
        brief(&rig.records(client)),
        ["book 6 snapshot"],
        "the log holds two records, three were missing"
    );
}

#[test]
fn a_loss_in_a_book_is_told_at_once_and_mended_by_the_next_state() {
    let (mut rig, client) = subscribed(&[Channel::Book]);
    rig.publish(0, 1, deep_book());
    rig.read(client);
    rig.publish(0, 2, change(&[level(3, 4)], &[]));
    rig.gap(0, Channel::Book, GapCause::Bus, 3, 6, EPOCH);
    assert_eq!(brief(&rig.records(client)), ["book gap bus 3-6"], "the change before it leads nowhere");
    assert_eq!(rig.records(client), []);
    let state = rig.bus_update(0, EPOCH, 7, snapshot(&[level(1, 1)], &[]));
    rig.state(TopicId::new(0, Channel::Book), 7, vec![state]);
    rig.publish(0, 8, change(&[level(2, 2)], &[]));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book 8 snapshot"]);
    assert_eq!(account(&mut rig, client), (2, 2, 4));
}

#[test]
fn a_book_that_starts_again_is_a_snapshot_though_older_gaps_leave_the_log() {
    let mut limits = limits();
    limits.log_records_per_topic = 3;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Book, &["sim:A"]);
    rig.gap(0, Channel::Book, GapCause::Upstream, 1, 1, EPOCH);
    rig.gap(0, Channel::Book, GapCause::Bus, 2, 2, EPOCH);
    rig.read(client);
    let state = rig.bus_update(0, EPOCH, 2, deep_book());
    rig.state(TopicId::new(0, Channel::Book), 2, vec![state]);
    rig.publish(0, 3, change(&[level(3, 3)], &[]));
    rig.publish(0, 4, change(&[level(3, 4)], &[]));
    assert_eq!(brief(&rig.records(client)), ["book 4 snapshot"]);
}

#[test]
fn nothing_of_a_book_leaves_while_it_is_not_known() {
    let (mut rig, client) = subscribed(&[Channel::Book]);
    rig.publish(0, 1, deep_book());
    rig.read(client);
    rig.gap(0, Channel::Book, GapCause::Upstream, 2, 2, EPOCH);
    rig.publish(0, 3, change(&[level(2, 2)], &[]));
    assert_eq!(brief(&rig.records(client)), ["book gap upstream 2-2"]);
    let late = rig.open(Encoding::Proto);
    assert_eq!(records(rig.subscribe(late, Channel::Book, &["sim:A"])), []);
    rig.publish(0, 4, deep_book());
    assert_eq!(brief(&rig.records(client)), ["book 4 snapshot"]);
    assert_eq!(brief(&rig.records(late)), ["book 4 snapshot"]);
}

#[test]
fn gaps_of_lossless_channels_come_in_order() {
    let (mut rig, client) = subscribed(&[Channel::Trade]);
    rig.publish(0, 1, trade(1));
    rig.gap(0, Channel::Trade, GapCause::Bus, 2, 4, EPOCH);
    rig.publish(0, 5, trade(5));
    rig.gap(0, Channel::Trade, GapCause::Ingest, 6, 0, EPOCH + 1);
    let update = rig.bus_update(0, EPOCH + 1, 1, trade(1));
    rig.event(tickwire_core::vocabulary::Event::Update(update));
    let expected = ["trade 1", "trade gap bus 2-4", "trade 5", "trade gap ingest 6-0", "trade 1"];
    assert_eq!(brief(&rig.records(client)), expected);
    assert_eq!(account(&mut rig, client), (3, 0, 3));
}

#[test]
fn a_new_sequence_of_quotes_is_told_before_its_first_record() {
    let (mut rig, client) = subscribed(&[Channel::Quote]);
    rig.publish(0, 1, quote(1));
    rig.read(client);
    rig.publish(0, 2, quote(2));
    rig.gap(0, Channel::Quote, GapCause::Ingest, 3, 0, EPOCH + 1);
    let update = rig.bus_update(0, EPOCH + 1, 4, quote(4));
    rig.event(tickwire_core::vocabulary::Event::Update(update));
    assert_eq!(brief(&rig.records(client)), ["quote gap ingest 3-0", "quote 4"]);
    assert_eq!(
        account(&mut rig, client),
        (2, 1 + 3, 0),
        "2 was superseded, 1 to 3 of the new one never came"
    );
}

#[test]
fn a_state_that_jumps_is_announced_as_what_it_is() {
    let (mut rig, client) = subscribed(&[Channel::Trade]);
    rig.publish(0, 1, trade(1));
    rig.state(TopicId::new(0, Channel::Trade), 4, Vec::new());
    rig.publish(0, 5, trade(5));
    assert_eq!(brief(&rig.records(client)), ["trade 1", "trade gap bus 2-4", "trade 5"]);
    let state =
        TopicState { topic: TopicId::new(0, Channel::Trade), epoch: 99, sequence: 3, records: Vec::new() };
    rig.event(tickwire_core::vocabulary::Event::State(Arc::new(state)));
    assert_eq!(brief(&rig.records(client)), ["trade gap ingest 6-0", "trade gap bus 1-3"]);
}

#[test]
fn quotes_are_sent_again_after_a_repair() {
    let (mut rig, client) = subscribed(&[Channel::Quote]);
    rig.publish(0, 1, quote(1));
    rig.read(client);
    let newest = rig.bus_update(0, EPOCH, 9, quote(9));
    rig.state(TopicId::new(0, Channel::Quote), 9, vec![newest]);
    assert_eq!(brief(&rig.records(client)), ["quote 9"]);
    assert_eq!(account(&mut rig, client), (2, 7, 0));
}

#[test]
fn a_client_further_behind_than_the_log_is_told_so() {
    let mut limits = limits();
    limits.log_records_per_topic = 3;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    for number in 1..=5 {
        rig.publish(0, number, trade(number as i64));
    }
    assert_eq!(brief(&rig.records(client)), ["trade gap shed 1-2", "trade 3", "trade 4", "trade 5"]);
    for number in 6..=8 {
        rig.publish(0, number, trade(number as i64));
    }
    rig.gap(0, Channel::Trade, GapCause::Bus, 9, 9, EPOCH);
    let expected = ["trade gap shed 6-6", "trade 7", "trade 8", "trade gap bus 9-9"];
    assert_eq!(brief(&rig.records(client)), expected);
    assert_eq!(account(&mut rig, client), (5, 0, 4));
    assert_eq!(rig.engine.pressure().0, 0);
}

#[test]
fn a_client_further_behind_than_two_sequences_is_told_of_the_last() {
    let mut limits = limits();
    limits.log_records_per_topic = 2;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    rig.publish(0, 1, trade(1));
    rig.read(client);
    rig.gap(0, Channel::Trade, GapCause::Ingest, 2, 0, EPOCH + 1);
    for number in 1..=5 {
        let update = rig.bus_update(0, EPOCH + 1, number, trade(1));
        rig.event(tickwire_core::vocabulary::Event::Update(update));
    }
    rig.gap(0, Channel::Trade, GapCause::Ingest, 6, 0, EPOCH + 2);
    let update = rig.bus_update(0, EPOCH + 2, 1, trade(1));
    rig.event(tickwire_core::vocabulary::Event::Update(update));
    assert_eq!(brief(&rig.records(client)), ["trade gap ingest 2-0", "trade 1"]);
    assert_eq!(account(&mut rig, client), (2, 0, 0), "how many the lost sequence had, nobody knows any more");
}

#[test]
fn each_instrument_has_its_turn() {
    let mut limits = limits();
    limits.write_bytes = 300;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Proto);
    rig.subscribe(client, Channel::Trade, &["sim:A"]);
    rig.subscribe(client, Channel::Quote, &["sim:B", "sim:C"]);
    for number in 1..=200 {
        rig.publish(0, number, trade(number as i64));
    }
    rig.publish(1, 1, quote(1));
    rig.publish(2, 1, quote(1));
    let mut fills = Vec::new();
    for _ in 0..3 {
        let (bytes, filled) = rig.fill(client);
        rig.engine.unsent(client.key, 0, rig.now);
        assert!(filled.more && bytes.len() < 300 + 100, "{} bytes", bytes.len());
        let messages = super::rig::parse_frames(&bytes)[0].messages(Encoding::Proto);
        fills.push(brief(&records(messages)));
        rig.publish(1, 1 + fills.len() as u64, quote(2));
    }
    assert!(fills[0].iter().all(|record| record.starts_with("trade")), "{fills:?}");
    assert!(
        fills[1].contains(&"quote 2".to_owned()) && fills[1].contains(&"quote 1".to_owned()),
        "{fills:?}"
    );
    assert_eq!(rig.records(client).last().map(|record| record.sequence), Some(200));
}

#[test]
fn one_instrument_that_never_rests_starves_nobody() {
    let mut limits = limits();
    limits.write_bytes = 200;
    let mut rig = Rig::new(limits);
    let client = rig.open(Encoding::Json);
    rig.send(client, &subscribe(1, "trade", &["sim:A", "sim:B"]));
    rig.grant_interests();
    rig.read(client);
    let mut number = 0;
    let mut hot = |rig: &mut Rig| {
        for _ in 0..20 {
            number += 1;
            rig.publish(0, number, trade(1));
        }
    };
    hot(&mut rig);
    rig.publish(1, 1, trade(7));
    let mut fills = 0;
    loop {
        fills += 1;
        assert!(fills < 4, "the quiet instrument waits for {fills} writes");
        let (bytes, _) = rig.fill(client);
        rig.engine.unsent(client.key, 0, rig.now);
        let messages = super::rig::parse_frames(&bytes)[0].messages(Encoding::Json);
        if records(messages).iter().any(|record| record.instrument == 101) {
            break;
        }
        hot(&mut rig);
    }
}
