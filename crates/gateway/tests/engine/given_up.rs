//! Books that are too large for all books together: whoever asks for one is told so, nothing of it stays live, and it is tried again.

use std::sync::Arc;

use tickwire_core::engine::{EngineLimits, Entitlement, Principal};
use tickwire_core::vocabulary::{TopicId, TopicInterest};
use tickwire_wire::{Channel, CloseCode, Message, Refused};

use super::rig::{
    Client, EPOCH, Rig, SECOND, brief, change, level, limits, records, response, snapshot, subscribe,
};

/// The time between two attempts at a book that was given up, in seconds.
const BACK_OFF: u64 = 10;

fn small() -> EngineLimits {
    EngineLimits { book_levels: 20, linger_ns: 60 * SECOND, ..limits() }
}

/// Returns somebody who sees books to a depth, so many seconds late.
fn sees(depth: impl Into<Option<u32>>, seconds: u64) -> Principal {
    let entitlements =
        vec![Entitlement { depth: depth.into(), delay_ns: seconds * SECOND, ..Entitlement::ALL }];
    Principal { name: "part".to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

/// Tells the state of a book with so many bids. Its record came long ago.
fn book(rig: &mut Rig, instrument: u32, sequence: u64, levels: i64) {
    let bids: Vec<_> = (1..=levels).map(|price| level(price, 1)).collect();
    let update = rig.bus_update(instrument, EPOCH, sequence, snapshot(&bids, &[]));
    rig.state(TopicId::new(instrument, Channel::Book), sequence, vec![update]);
}

/// Returns how many books the engine asked for.
fn wants(rig: &mut Rig) -> usize {
    rig.engine.take_interests().filter(|interest| matches!(interest, TopicInterest::Want(_))).count()
}

fn ask(rig: &mut Rig, client: Client) {
    rig.send(client, &subscribe(1, "book", &["sim:A"]));
}

#[track_caller]
fn assert_too_large(refused: &Refused) {
    assert_eq!((refused.code.as_str(), refused.may_retry), ("limit", true), "{refused:?}");
    assert!(refused.message.contains("gateway.limits.book_levels"), "{}", refused.message);
}

#[test]
fn a_book_whose_state_is_too_large_leaves_nothing_of_it_live() {
    for (depth, delay) in [(None, 0), (Some(2), 0), (None, 3), (Some(2), 3)] {
        let mut rig = Rig::new(small());
        let [first, second] = [0, 1].map(|_| rig.open_as(sees(depth, delay)));
        ask(&mut rig, first);
        assert_eq!(wants(&mut rig), 1);
        book(&mut rig, 0, 7, 40);
        let messages = rig.read(first);
        assert_eq!(response(&messages).granted, [], "{depth:?} {delay}");
        assert_too_large(&response(&messages).refused[0]);
        assert_eq!((rig.engine.book_levels(), rig.engine.subscriptions()), (0, 0));
        // Nor is it there for somebody else, whatever is published of it, and who asks is told at once.
        rig.publish(0, 8, change(&[level(9, 9)], &[]));
        ask(&mut rig, second);
        let messages = rig.read(second);
        assert_eq!(response(&messages).granted, [], "{depth:?} {delay}");
        assert_too_large(&response(&messages).refused[0]);
        assert!(records(messages).is_empty());
    }
}

#[test]
fn a_book_that_a_state_makes_too_large_closes_those_who_have_a_part_of_it() {
    let mut rig = Rig::new(small());
    let [client, next] = [0, 1].map(|_| rig.open_as(sees(2, 0)));
    ask(&mut rig, client);
    book(&mut rig, 0, 1, 5);
    assert_eq!(brief(&rig.records(client)), ["book 1 snapshot"]);
    // A loss is mended by a state.
    book(&mut rig, 0, 9, 40);
    assert_eq!(rig.engine.closing(client.key), Some(CloseCode::Internal));
    ask(&mut rig, next);
    let messages = rig.read(next);
    assert_eq!(response(&messages).granted, []);
    assert_too_large(&response(&messages).refused[0]);
    assert_eq!(rig.engine.book_levels(), 0);
}

#[test]
fn a_book_that_was_given_up_is_tried_again_while_many_ask() {
    for (depth, delay) in [(None, 0), (Some(2), 0), (None, 3), (Some(2), 3)] {
        let mut rig = Rig::new(small());
        let clients = [0, 1, 2].map(|_| rig.open_as(sees(depth, delay)));
        ask(&mut rig, clients[0]);
        wants(&mut rig);
        book(&mut rig, 0, 7, 40);
        let begin = rig.now;
        let (mut asked, mut levels) = (0, 40);
        let granted_at = (0..60).find(|second| {
            for client in clients {
                rig.engine.on_pong(client.key, b"", rig.now);
                ask(&mut rig, client);
            }
            if wants(&mut rig) > 0 {
                asked += 1;
                book(&mut rig, 0, 7 + *second, levels);
            }
            if *second == 15 {
                // It has become smaller, so that the delayed one and the part of it have room, too.
                levels = 6;
            }
            let granted = clients.map(|client| {
                let messages = rig.read(client);
                let responses = messages.iter().filter_map(|message| match message {
                    Message::Subscribed(response) => Some(response.granted.len()),
                    _ => None,
                });
                responses.sum::<usize>()
            });
            rig.pass(1);
            granted == [1, 1, 1]
        });
        let granted_at = granted_at.unwrap_or_else(|| panic!("{depth:?} {delay}: it never came back"));
        assert!((2 * BACK_OFF..=3 * BACK_OFF).contains(&granted_at), "{depth:?} {delay}: {granted_at} s");
        assert!(asked <= (rig.now - begin) / SECOND / BACK_OFF + 1, "{depth:?} {delay}: {asked} requests");
        // It is right, and goes on.
        rig.publish_now(0, 1_000, snapshot(&[level(3, 1), level(2, 1), level(1, 1)], &[]));
        rig.pass(delay);
        for client in clients {
            let got = brief(&rig.records(client));
            // Of a book to a depth it is a change, where that is shorter.
            let last = got.last().unwrap_or_else(|| panic!("{depth:?} {delay}: nothing came"));
            assert!(["book 1000 snapshot", "book 28-1000"].contains(&&**last), "{depth:?} {delay}: {got:?}");
        }
    }
}

#[test]
fn a_book_that_was_given_up_while_it_was_had_comes_back() {
    for delay in [0, 3] {
        let mut rig = Rig::new(small());
        let client = rig.open_as(sees(None, delay));
        ask(&mut rig, client);
        book(&mut rig, 0, 7, 5);
        assert_eq!(response(&rig.read(client)).granted.len(), 1);
        let bids: Vec<_> = (1..=40).map(|price| level(price, 1)).collect();
        rig.publish_now(0, 8, snapshot(&bids, &[]));
        rig.pass(delay);
        assert_eq!(rig.engine.closing(client.key), Some(CloseCode::Internal));
        // The session is there until its client has answered the close frame, and others ask meanwhile.
        let other = rig.open_as(sees(None, delay));
        wants(&mut rig);
        rig.publish_now(0, 9, snapshot(&bids[..3], &[]));
        rig.pass(delay);
        ask(&mut rig, other);
        assert_too_large(&response(&rig.read(other)).refused[0]);
        rig.pass(BACK_OFF);
        rig.engine.on_pong(other.key, b"", rig.now);
        ask(&mut rig, other);
        if wants(&mut rig) > 0 {
            book(&mut rig, 0, 9, 3);
        }
        let messages = rig.read(other);
        assert_eq!(response(&messages).granted.len(), 1, "{delay}: {messages:?}");
        assert_eq!(brief(&records(messages)), ["book 9 snapshot"]);
        rig.engine.ended(client.key, rig.now);
        rig.publish_now(0, 10, change(&[level(1, 5)], &[]));
        rig.pass(delay);
        assert_eq!(brief(&rig.records(other)), ["book 10"]);
    }
}

#[test]
fn a_delayed_book_goes_on_when_the_live_one_is_given_up() {
    let mut rig = Rig::new(EngineLimits { book_levels: 40, ..small() });
    let live = rig.open_as(sees(None, 0));
    let late = rig.open_as(sees(None, 5));
    for client in [live, late] {
        ask(&mut rig, client);
        if wants(&mut rig) > 0 {
            book(&mut rig, 0, 1, 20);
        }
        assert_eq!(brief(&rig.records(client)), ["book 1 snapshot"]);
    }
    let bids: Vec<_> = (1..=45).map(|price| level(price, 1)).collect();
    rig.publish_now(0, 2, change(&bids, &[]));
    assert_eq!(rig.engine.closing(live.key), Some(CloseCode::Internal));
    rig.publish_now(0, 3, change(&bids.iter().map(|one| level(one.price, 0)).collect::<Vec<_>>()[10..], &[]));
    rig.pass(5);
    assert_eq!(rig.engine.closing(late.key), None);
    assert_eq!(brief(&rig.records(late)), ["book 3 snapshot"]);
    // Who asks for the live one again has it as it is.
    rig.engine.ended(live.key, rig.now);
    rig.pass(BACK_OFF);
    let again = rig.open_as(sees(None, 0));
    ask(&mut rig, again);
    assert_eq!(
        rig.engine.take_interests().collect::<Vec<_>>(),
        [TopicInterest::Want(TopicId::new(0, Channel::Book))]
    );
    book(&mut rig, 0, 3, 10);
    assert_eq!(brief(&rig.records(again)), ["book 3 snapshot"]);
}

#[test]
fn a_name_that_stands_for_another_instrument_is_not_refused_for_the_one_before() {
    let mut rig = Rig::new(small());
    let client = rig.open_as(sees(None, 0));
    ask(&mut rig, client);
    wants(&mut rig);
    book(&mut rig, 0, 7, 40);
    assert_too_large(&response(&rig.read(client)).refused[0]);
    let ended =
        tickwire_core::vocabulary::Ended { instrument: 0, reason: "it expired".into(), may_retry: true };
    rig.event(tickwire_core::vocabulary::Event::Ended(Arc::new(ended)));
    // Its index is used again.
    let info = Arc::clone(&rig.infos[0]);
    rig.event(tickwire_core::vocabulary::Event::Instrument(info));
    ask(&mut rig, client);
    assert_eq!(wants(&mut rig), 1);
    book(&mut rig, 0, 1, 4);
    assert_eq!(response(&rig.read(client)).granted.len(), 1);
}
