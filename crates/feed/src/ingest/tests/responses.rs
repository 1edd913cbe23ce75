//! Requests of gateways, and the responses to them.

use prost::Message as _;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{
    Body, BookState, Channel, Encoding, FeedState, Instrument, Quote, Record, Status, Trade, TradingState, pb,
};

use super::rig::{
    EPOCH, FakeBus, NATS_PAYLOAD_MAX, ask, ask_all, bid, definition, happens, id, level, one_instrument,
    records_of, request, sequencer, snapshot, trade,
};
use crate::adapter::{Levels, MarketBody};
use crate::ingest::heartbeat::{RunStatus, heartbeats};
use crate::ingest::respond::{Responder, TOPICS_PER_REQUEST_MAX};
use crate::ingest::sequencer::Sequencer;

#[test]
fn responses_say_where_each_channel_stands() {
    let (mut sequencer, _bus) = one_instrument();
    assert!(ask(&sequencer, Channel::Quote, "A/B").frame.is_empty());
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, bid(10, 4));
    happens(&mut sequencer, trade(1));
    let halted = Status { state: TradingState::Halted.into(), reason: "why".to_owned() };
    happens(&mut sequencer, MarketBody::Status(halted.clone()));
    sequencer.tick(1 << 60);
    let state_of = |channel| {
        let snapshot = ask(&sequencer, channel, "A/B");
        assert_eq!(snapshot.error, "");
        (records_of(&snapshot.frame), snapshot.sequence)
    };
    let (books, sequence) = state_of(Channel::Book);
    let Body::Book(book) = &books[0].body else { panic!("{books:?}") };
    assert_eq!((sequence, books[0].sequence, book.snapshot), (2, 2, true));
    assert_eq!(book.bids, [level(10, 4), level(9, 1)]);
    let (quotes, sequence) = state_of(Channel::Quote);
    let quote = Quote { bid: Some(level(10, 4)), ask: Some(level(11, 2)) };
    assert_eq!((sequence, &quotes[0].body), (2, &Body::Quote(quote)));
    assert_eq!(state_of(Channel::Trade), (vec![], 1));
    assert_eq!(state_of(Channel::Status).0[0].body, Body::Status(halted));
    assert_eq!(state_of(Channel::Instrument).1, 1);
    assert_eq!(state_of(Channel::Stat).0.len(), 1);
    let intervals: Vec<_> = state_of(Channel::Bar).0.into_iter().map(|record| record.body).collect();
    assert!(
        matches!(&intervals[..], [Body::Bar(a), Body::Bar(b)] if a.interval == 1_000_000_000 && b.interval == 60_000_000_000)
    );
}

#[track_caller]
fn check_error(response: &pb::FeedResponse, expected: &str) {
    assert!(response.error.contains(expected), "{}", response.error);
    assert_eq!(response.epoch, EPOCH);
}

#[test]
fn requests_without_a_response_say_why() {
    let (sequencer, _bus) = one_instrument();
    let response =
        ask_all(&sequencer, &[(Channel::Quote, "NOPE"), (Channel::Unknown, "A/B"), (Channel::Trade, "A/B")]);
    let errors: Vec<_> = response.snapshots.iter().map(|s| (s.error.as_str(), s.is_unknown)).collect();
    let expected = [("unknown symbol `NOPE` at venue `sim`", true), ("unknown channel", false), ("", false)];
    assert_eq!(errors, expected, "one bad topic never spoils the others");
    let mut responder = Responder::default();
    let mut raw = |bytes: &[u8]| {
        pb::FeedResponse::decode(responder.respond(&sequencer, bytes, FeedState::Live, 0).as_slice()).unwrap()
    };
    check_error(&raw(b"\xff\xff"), "not a request");
    check_error(&raw(b""), "there is no request in it");
    let topics = vec![pb::Topic::default(); TOPICS_PER_REQUEST_MAX + 1];
    let many = pb::feed_request::Request::Snapshots(pb::Snapshots { topics });
    check_error(&raw(&pb::FeedRequest { request: Some(many) }.encode_to_vec()), "name 64 at most");
    let part = pb::feed_request::Request::Part(pb::Part { ticket: 9, index: 0 });
    check_error(&raw(&pb::FeedRequest { request: Some(part) }.encode_to_vec()), "not kept any more");
    let catalogue = pb::FeedRequest { request: Some(pb::feed_request::Request::Catalogue(pb::Catalogue {})) };
    let definitions = records_of(&raw(&catalogue.encode_to_vec()).frame);
    assert!(
        matches!(&definitions[..], [Record { body: Body::Instrument(i), .. }] if i.symbol == "A/B" && i.venue == "sim")
    );
}

#[test]
fn an_instrument_ends_in_words_and_its_number_is_not_used_again() {
    let (mut sequencer, bus) = one_instrument();
    let first = id(&sequencer, 0);
    happens(&mut sequencer, trade(1));
    sequencer.end(0);
    let records = bus.take_records();
    let Body::Instrument(last) = &records.last().unwrap().body else { panic!("{records:?}") };
    assert!(last.ended && last.symbol == "A/B");
    // Behind it a gateway knows whether something was lost: trades, bars, statistics and this definition have ended so far.
    let of = |channel: Channel| last.last_sequences[channel as usize - 1];
    assert_eq!((of(Channel::Trade), of(Channel::Quote), of(Channel::Instrument)), (1, 0, 2));
    for channel in Channel::ALL {
        let newest =
            records.iter().filter(|record| record.channel() == channel).map(|record| record.sequence).max();
        assert!(newest.is_none_or(|newest| newest == of(channel)), "{channel:?}: {records:?}");
    }
    assert_eq!(sequencer.ends.back(), records.last(), "the catalogue tells the end, too");
    assert!(ask(&sequencer, Channel::Trade, "A/B").is_unknown);
    happens(&mut sequencer, trade(2));
    sequencer.end_turn();
    assert!(bus.take_records().is_empty(), "nothing follows");
    // The same name again, and another scale of a name that is there, get other numbers.
    sequencer.define(0, definition("A/B")).unwrap();
    let second = id(&sequencer, 0);
    sequencer.define(0, Instrument { price_decimals: 4, ..definition("A/B") }).unwrap();
    let third = id(&sequencer, 0);
    sequencer.end_turn();
    assert!(first != second && second != third && third != first);
    let states: Vec<_> = bus
        .take_records()
        .iter()
        .map(|record| match &record.body {
            Body::Instrument(i) => (record.instrument, record.sequence, i.ended),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(states, [(second, 3, false), (second, 4, true), (third, 5, false)], "sequences go on");
    let state = sequencer.instruments[0].as_ref().unwrap();
    assert_eq!(state.sequence(Channel::Trade).last, 1, "also where nothing was published anew");
    assert_eq!(sequencer.catalogue, 5, "each change counts");
}

#[test]
fn nothing_that_can_outgrow_a_message_is_one_message() {
    for payload_max in [BusHeader::PAYLOAD_LEAST, 10_000, NATS_PAYLOAD_MAX] {
        for encoding in [Encoding::Proto, Encoding::MsgPack] {
            let (mut sequencer, bus) = sequencer(encoding);
            bus.0.lock().unwrap().payload_max = payload_max;
            for index in 0..1_500 {
                sequencer.define(index, definition(&format!("{}{index}", "X".repeat(120)))).unwrap();
            }
            let side = |sign: i64| (0..2_000).map(|n| level(sign * (i64::MAX / 2 + n), u64::MAX)).collect();
            for _ in 0..3 {
                happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
                happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: side(-1), asks: side(1) }));
            }
            let text = "ä".repeat(5_000);
            for id in 0..200 {
                let name = Trade { price: 1, size: 1, id, id_text: text.clone(), ..Trade::default() };
                happens(&mut sequencer, MarketBody::Trade(name));
            }
            let status = Status { state: TradingState::Halted.into(), reason: text.clone() };
            happens(&mut sequencer, MarketBody::Status(status));
            sequencer.end_turn();
            let status = RunStatus {
                state: FeedState::Stale,
                reason: text,
                time: 7,
                number: 1,
                uptime_ns: 1,
                last: false,
                verification: None,
                lease: 0,
            };
            assert!(
                heartbeats(&mut sequencer, &status).iter().all(|heartbeat| heartbeat.len() <= payload_max)
            );
            let mut book = BookState::new();
            for (_, records) in bus.take() {
                for record in records {
                    if let Body::Book(body) = &record.body {
                        book.apply(record.sequence, body).expect("each part follows on the one before");
                    }
                }
            }
            assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
            // The state that the bus refused meanwhile is mended in parts, too.
            bus.set_full(true);
            happens(&mut sequencer, bid(1, 1));
            sequencer.end_turn();
            bus.set_full(false);
            sequencer.tick(1);
            for record in bus.take_records() {
                if let Body::Book(body) = &record.body {
                    book.apply(record.sequence, body).unwrap();
                }
            }
            assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
            let catalogue = pb::feed_request::Request::Catalogue(pb::Catalogue {});
            let response = request(&mut Responder::default(), &sequencer, catalogue);
            assert_eq!((records_of(&response.frame).len(), response.catalogue), (1_500, 1_500));
            let symbol = format!("{}0", "X".repeat(120));
            let [Record { body: Body::Book(answered), .. }] =
                &records_of(&ask(&sequencer, Channel::Book, &symbol).frame)[..]
            else {
                panic!("a book")
            };
            assert_eq!(answered.bids.len(), book.bids().len());
        }
    }
}

#[test]
fn a_response_in_pieces_is_the_state_of_one_moment_and_is_not_kept_for_ever() {
    let (mut sequencer, bus) = one_instrument();
    bus.0.lock().unwrap().payload_max = BusHeader::PAYLOAD_LEAST;
    let side = |sign: i64| (1..2_000).map(|n| level(sign * n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
    let before = sequencer.instruments[0].as_ref().unwrap().sequence(Channel::Book).last;
    let mut responder = Responder::default();
    let ask = |responder: &mut Responder, sequencer: &Sequencer<FakeBus>, request, now| {
        let ask = pb::FeedRequest { request: Some(request) }.encode_to_vec();
        pb::FeedResponse::decode(responder.respond(sequencer, &ask, FeedState::Live, now).as_slice()).unwrap()
    };
    let topics = vec![pb::Topic { channel: Channel::Book.into(), symbol: "A/B".to_owned() }];
    let book = pb::feed_request::Request::Snapshots(pb::Snapshots { topics });
    let parts = ask(&mut responder, &sequencer, book, 0).parts.unwrap();
    let mut whole = Vec::new();
    for index in 0..parts.count {
        happens(&mut sequencer, bid(-1, 7));
        let part = pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index });
        whole.extend(ask(&mut responder, &sequencer, part, 1).piece);
    }
    let response = pb::FeedResponse::decode(whole.as_slice()).unwrap();
    assert_eq!(response.snapshots[0].sequence, before, "before the changes");
    let part = pb::feed_request::Request::Part(pb::Part { ticket: parts.ticket, index: 0 });
    let late = ask(&mut responder, &sequencer, part, 11_000_000_000);
    assert!(late.error.contains("not kept any more"), "{late:?}");
}
