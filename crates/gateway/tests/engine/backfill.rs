//! Sessions that come back for more than the log holds, and a history that answers well, late, in part, or never.

use std::collections::VecDeque;
use std::sync::Arc;

use tickwire_core::engine::{BackfillLimits, EngineLimits};
use tickwire_core::vocabulary::{BackfillAsk, Backfilled, Event, TopicId, TopicInterest};
use tickwire_wire::{
    Channel, Command, Encoding, GapCause, LedgerEntry, LedgerRequest, Message, Resume, ResumePosition,
    Unsubscribe,
};

use super::rig::{Client, EPOCH, Rig, SECOND, brief, limits, quote, records, response, subscribe, trade};

const TIMEOUT: u64 = 3 * SECOND;

fn small_log() -> EngineLimits {
    EngineLimits { log_records_per_topic: 4, ..limits() }
}

pub(crate) fn rig(limits: EngineLimits, records_max: u64) -> Rig {
    let mut rig = Rig::new(limits);
    rig.engine.set_backfill(BackfillLimits { records_max, timeout_ns: TIMEOUT });
    rig
}

fn topic(instrument: u32) -> TopicId {
    TopicId::new(instrument, Channel::Trade)
}

/// Keeps the topic at this shard, and lets so many trades of it pass.
pub(crate) fn with_trades(rig: &mut Rig, instrument: u32, count: u64) -> Client {
    let keeper = rig.open(Encoding::Proto);
    let symbol = rig.infos[instrument as usize].name.to_string();
    rig.subscribe(keeper, Channel::Trade, &[&symbol]);
    for number in 1..=count {
        rig.publish(instrument, number, trade(number as i64));
    }
    rig.read(keeper);
    keeper
}

/// Subscribes once more, from sequence number 2 on; returns what that asks for.
fn the_resumed(rig: &mut Rig, client: Client) -> BackfillAsk {
    let (channel, symbol) = ("trade".to_owned(), "sim:A".to_owned());
    let positions = vec![ResumePosition { channel, symbol, epoch: EPOCH, sequence: 2 }];
    rig.send(client, &Command::Resume(Resume { id: 1, positions }));
    rig.send(client, &subscribe(2, "trade", &["sim:A"]));
    the_ask(rig)
}

/// Comes back with this position; returns the client and what it is told at once.
pub(crate) fn resume(rig: &mut Rig, symbols: &[&str], epoch: u64, sequence: u64) -> (Client, Vec<Message>) {
    let client = rig.open(Encoding::Proto);
    let position = |symbol: &&str| ResumePosition {
        channel: "trade".to_owned(),
        symbol: (*symbol).to_owned(),
        epoch,
        sequence,
    };
    let positions = symbols.iter().map(position).collect();
    rig.send(client, &Command::Resume(Resume { id: 1, positions }));
    rig.send(client, &subscribe(2, "trade", symbols));
    let told = rig.read(client);
    (client, told)
}

pub(crate) fn asks(rig: &mut Rig) -> Vec<BackfillAsk> {
    let ask = |interest| if let TopicInterest::Backfill(ask) = interest { Some(ask) } else { None };
    rig.engine.take_interests().filter_map(ask).collect()
}

#[track_caller]
fn the_ask(rig: &mut Rig) -> BackfillAsk {
    let asks = asks(rig);
    assert_eq!(asks.len(), 1, "{asks:?}");
    asks[0]
}

/// Answers with these sequence numbers; everything up to `upto` is settled.
pub(crate) fn found(rig: &mut Rig, ask: &BackfillAsk, numbers: impl IntoIterator<Item = u64>, upto: u64) {
    let instrument = ask.topic.instrument_index();
    let update = |number| rig.bus_update(instrument, ask.epoch, number, trade(number as i64));
    let updates = numbers.into_iter().map(update).collect();
    rig.event(Event::Backfill(Arc::new(Backfilled {
        ticket: ask.ticket,
        updates,
        upto,
        cursor: upto + 100,
    })));
}

fn ledger(rig: &mut Rig, client: Client) -> Vec<LedgerEntry> {
    rig.send(client, &Command::Ledger(LedgerRequest { id: 9 }));
    let told = rig.read(client);
    let ledger =
        told.into_iter().find_map(|m| if let Message::Ledger(ledger) = m { Some(ledger) } else { None });
    ledger.expect("a ledger").entries
}

#[track_caller]
pub(crate) fn check_ledger(rig: &mut Rig, client: Client, delivered: u64, dropped: u64) {
    let entries = ledger(rig, client);
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(
        (entry.published, entry.delivered, entry.dropped, entry.conflated, entry.filtered),
        (delivered + dropped, delivered, dropped, 0, 0)
    );
}

#[test]
fn what_the_log_lacks_comes_from_history_and_before_what_is_newer() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, told) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    assert_eq!(response(&told).granted[0].sequence, 2, "the sequence goes on where the client left off");
    assert!(records(told).is_empty(), "the log waits for the history");
    let ask = the_ask(&mut rig);
    assert_eq!((ask.topic, ask.epoch, ask.first, ask.last, ask.cursor), (topic(0), EPOCH, 3, 6, 0));
    assert!(rig.records(client).is_empty());
    found(&mut rig, &ask, 3..=6, 6);
    let expected: Vec<_> = (3..=10).map(|number| format!("trade {number}")).collect();
    assert_eq!(brief(&rig.records(client)), expected);
    check_ledger(&mut rig, client, 8, 0);
}

#[test]
fn a_quiet_topic_that_is_new_here_comes_whole() {
    let mut rig = rig(small_log(), 1000);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    rig.state(topic(0), 5, Vec::new());
    assert_eq!(response(&rig.read(client)).granted[0].sequence, 2);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.first, ask.last), (3, 5));
    found(&mut rig, &ask, 3..=5, 5);
    assert_eq!(brief(&rig.records(client)), ["trade 3", "trade 4", "trade 5"]);
    check_ledger(&mut rig, client, 3, 0);
}

#[test]
fn others_do_not_wait() {
    let mut rig = rig(small_log(), 1000);
    let keeper = with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    rig.subscribe(client, Channel::Trade, &["sim:B"]);
    rig.subscribe(client, Channel::Quote, &["sim:A"]);
    rig.publish(1, 1, trade(1));
    rig.publish(0, 1, quote(1));
    rig.publish(0, 11, trade(11));
    let mut told = brief(&rig.records(client));
    told.sort();
    assert_eq!(told, ["quote 1", "trade 1"], "other topics of the session");
    assert_eq!(brief(&rig.records(keeper)), ["trade 11"], "other sessions");
}

#[test]
fn parts_are_asked_for_one_after_another() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 0);
    let first = the_ask(&mut rig);
    assert_eq!((first.first, first.last), (1, 6));
    found(&mut rig, &first, 1..=4, 4);
    assert_eq!(brief(&rig.records(client)), ["trade 1", "trade 2", "trade 3", "trade 4"]);
    let second = the_ask(&mut rig);
    assert_eq!((second.first, second.last, second.cursor), (5, 6, 104));
    found(&mut rig, &second, 5..=6, 6);
    assert_eq!(rig.records(client).len(), 6);
    check_ledger(&mut rig, client, 10, 0);
}

#[test]
fn what_history_lacks_is_announced_exactly() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 14);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.first, ask.last), (3, 10));
    found(&mut rig, &ask, [4, 5, 8], 10);
    let expected = [
        "trade gap resume 3-3",
        "trade 4",
        "trade 5",
        "trade gap resume 6-7",
        "trade 8",
        "trade gap resume 9-10",
        "trade 11",
        "trade 12",
        "trade 13",
        "trade 14",
    ];
    assert_eq!(brief(&rig.records(client)), expected);
    check_ledger(&mut rig, client, 7, 5);
}

#[test]
fn what_does_not_come_in_time_is_announced_and_not_sent_later() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    rig.now += TIMEOUT - 1;
    rig.engine.tick(rig.now);
    assert!(records(rig.read(client)).is_empty());
    rig.now += 1;
    rig.engine.tick(rig.now);
    assert_eq!(
        brief(&rig.records(client)),
        ["trade gap resume 3-6", "trade 7", "trade 8", "trade 9", "trade 10"]
    );
    found(&mut rig, &ask, 3..=6, 6);
    assert!(rig.records(client).is_empty());
    assert_eq!(rig.engine.backfills(), 0);
    check_ledger(&mut rig, client, 4, 4);
}

#[test]
fn no_more_is_asked_for_than_may_be() {
    let mut rig = rig(small_log(), 3);
    with_trades(&mut rig, 0, 10);
    let (client, told) = resume(&mut rig, &["sim:A"], EPOCH, 1);
    assert_eq!(response(&told).granted[0].sequence, 3);
    assert_eq!(brief(&records(told)), ["trade gap resume 2-3"]);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.first, ask.last), (4, 6));
    found(&mut rig, &ask, 4..=6, 6);
    assert_eq!(rig.records(client).len(), 7);
    check_ledger(&mut rig, client, 7, 0);
}

#[test]
fn the_log_may_move_on_meanwhile() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    (11..=20).for_each(|number| drop(rig.publish(0, number, trade(number as i64))));
    found(&mut rig, &ask, 3..=6, 6);
    assert_eq!(rig.records(client).len(), 4);
    let more = the_ask(&mut rig);
    assert_eq!((more.first, more.last), (7, 16));
    found(&mut rig, &more, 7..=16, 16);
    assert_eq!(rig.records(client).len(), 14);
    check_ledger(&mut rig, client, 18, 0);
}

#[test]
fn another_sequence_is_announced_and_followed_from_its_start() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 6);
    let (client, told) = resume(&mut rig, &["sim:A"], EPOCH - 1, 40);
    assert_eq!(response(&told).granted[0].sequence, 0);
    assert_eq!(brief(&records(told)), ["trade gap resume 41-0"]);
    let ask = the_ask(&mut rig);
    assert_eq!((ask.epoch, ask.first, ask.last), (EPOCH, 1, 2));
    found(&mut rig, &ask, 1..=2, 2);
    assert_eq!(rig.records(client).len(), 6);
    check_ledger(&mut rig, client, 6, 0);
}

#[test]
fn the_sequence_may_change_meanwhile() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 8);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    rig.gap(0, Channel::Trade, GapCause::Ingest, 9, 0, EPOCH + 1);
    let update = rig.bus_update(0, EPOCH + 1, 1, trade(1));
    rig.event(Event::Update(update));
    found(&mut rig, &ask, 3..=4, 4);
    // The records that came meanwhile took two of the log's four places: 5 and 6 are asked for too.
    assert_eq!(brief(&rig.records(client)), ["trade 3", "trade 4"]);
    let more = the_ask(&mut rig);
    assert_eq!((more.epoch, more.first, more.last), (EPOCH, 5, 6));
    found(&mut rig, &more, 5..=6, 6);
    let expected = ["trade 5", "trade 6", "trade 7", "trade 8", "trade gap ingest 9-0", "trade 1"];
    assert_eq!(brief(&rig.records(client)), expected);
}

#[test]
fn unsubscribed_and_ended_meanwhile() {
    let mut rig = rig(small_log(), 1000);
    with_trades(&mut rig, 0, 10);
    let (client, _) = resume(&mut rig, &["sim:A"], EPOCH, 2);
    let ask = the_ask(&mut rig);
    let symbols = vec!["sim:A".to_owned()];
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 3, channel: "trade".to_owned(), symbols }));
    assert!(rig.records(client).is_empty());
    // The place is taken by another subscription, which must not get the old response.
    let again = the_resumed(&mut rig, client);
    rig.event(Event::Backfill(Arc::new(Backfilled {
        ticket: ask.ticket,
        updates: Vec::new(),
        upto: 6,
        cursor: 0,
    })));
    assert!(rig.records(client).is_empty(), "it waits for its own");
    found(&mut rig, &again, 3..=6, 6);
    assert_eq!(rig.records(client).len(), 8);
    let (other, _) = resume(&mut rig, &["sim:A"], EPOCH, 4);
    let ask = the_ask(&mut rig);
    rig.engine.ended(other.key, rig.now);
    found(&mut rig, &ask, 5..=6, 6);
    rig.engine.tick(rig.now);
    assert_eq!(rig.engine.backfills(), 0);
}

#[test]
fn a_session_has_few_parts_at_a_time() {
    let mut rig = rig(small_log(), 1000);
    let names: Vec<_> = (3..9).map(|at| format!("N{at}")).collect();
    for name in &names {
        rig.instrument(name);
    }
    for instrument in 0..9 {
        with_trades(&mut rig, instrument, 10);
    }
    let symbols: Vec<_> = rig.infos.iter().map(|info| info.name.to_string()).collect();
    let symbols: Vec<_> = symbols.iter().map(String::as_str).collect();
    let (client, _) = resume(&mut rig, &symbols, EPOCH, 2);
    let (mut open, mut seen, mut count) = (VecDeque::new(), 0, 0);
    open.extend(asks(&mut rig));
    while let Some(ask) = open.pop_front() {
        assert!(open.len() < 4, "{} parts under way", open.len() + 1);
        // They come in two parts, so that those who go on and those who wait take turns.
        let upto = ask.last.min(ask.first + 1);
        found(&mut rig, &ask, ask.first..=upto, upto);
        seen += rig.records(client).len();
        open.extend(asks(&mut rig));
        count += 1;
    }
    assert_eq!((seen, count), (9 * 8, 18));
}
