//! Records on their way to the bus: runs, gaps, books, definitions, heartbeats and ends.

mod follower;
mod responses;
mod rig;

use prost::Message as _;
use tickwire_wire::{
    Body, Book, BookState, Channel, Encoding, FeedState, GapCause, Instrument, Quote, Record, pb,
};

use self::rig::{
    EPOCH, FakeBus, NATS_PAYLOAD_MAX, ask, bid, definition, happens, id, level, one_instrument, records_of,
    sequencer, sequencer_of, snapshot, trade,
};
use crate::adapter::{Levels, MarketBody, MarketEvent};
use crate::ingest::heartbeat::{RunStatus, heartbeats};
use crate::ingest::intervals::{BarIntervals, DAY, SECOND};
use crate::ingest::publisher::{HEARTBEATS_PER_MOVE, RUN_BYTES_MAX};
use crate::ingest::sequencer::Sequencer;
use crate::ingest::{BOOK_LEVELS_MAX, HEARTBEAT_POSITIONS_MAX};
use crate::verification::{Checked, Loss, Proof, Snapshots, Verification};

#[test]
fn consecutive_records_of_a_channel_share_a_message_and_keep_their_order() {
    let (mut sequencer, bus) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3), bid(7, 1)] {
        happens(&mut sequencer, body);
    }
    assert_eq!(bus.take_records().last().unwrap().channel(), Channel::Trade, "the last run is still open");
    happens(&mut sequencer, bid(6, 1));
    sequencer.end_turn();
    let (header, records) = bus.take().pop().unwrap();
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Book, 3, 4));
    assert_eq!((header.epoch, records.len()), (EPOCH, 2));
}

#[test]
fn order_across_channels_holds() {
    let (mut sequencer, bus) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let channels: Vec<_> = bus.take().iter().map(|(header, _)| header.channel).collect();
    // The quote comes from the book, as long as the venue gives none.
    assert_eq!(channels, [Channel::Trade, Channel::Book, Channel::Quote, Channel::Book, Channel::Trade]);
}

#[test]
fn runs_are_bounded() {
    let (mut sequencer, bus) = one_instrument();
    for id in 0..200 {
        happens(&mut sequencer, trade(id));
    }
    sequencer.end_turn();
    let counts: Vec<_> = bus.take().iter().map(|(_, records)| records.len()).collect();
    assert_eq!(counts, [64, 64, 64, 8]);
    let levels = |side: i64| (1..=1_000).map(|n| level(side * n * 1_000_000, 1 << 40)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: levels(-1), asks: levels(1) }));
    for _ in 0..10 {
        happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: levels(-1), asks: vec![] }));
    }
    sequencer.end_turn();
    for (header, _) in bus.take() {
        assert!(header.last_sequence - header.first_sequence < (RUN_BYTES_MAX / 1_000) as u64);
    }
}

#[test]
fn the_largest_book_fits_into_a_message_of_nats() {
    for encoding in [Encoding::Proto, Encoding::MsgPack] {
        let (mut sequencer, bus) = sequencer(encoding);
        sequencer.define(0, definition("A/B")).unwrap();
        // The steps are so wide that every price takes the most bytes.
        let step = i64::MAX / (BOOK_LEVELS_MAX as i64 * 2);
        let side = |sign: i64| {
            let price = |n: usize| sign * (i64::MAX - step * (BOOK_LEVELS_MAX * 2 - n) as i64);
            (0..BOOK_LEVELS_MAX + 500).map(|n| level(price(n), u64::MAX)).collect()
        };
        happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids: side(-1), asks: side(1) }));
        sequencer.end_turn();
        let largest = bus.0.lock().unwrap().messages.iter().map(|(_, bytes)| bytes.len()).max().unwrap();
        assert!(largest > NATS_PAYLOAD_MAX / 2, "{largest} bytes: not the worst case");
        let records = bus.take_records();
        let book = records.iter().find_map(|record| match &record.body {
            Body::Book(book) => Some(book),
            _ => None,
        });
        assert_eq!(book.unwrap().asks.len(), BOOK_LEVELS_MAX);
        let records = records_of(&ask(&sequencer, Channel::Book, "A/B").frame);
        assert!(matches!(&records[0].body, Body::Book(book) if book.asks.len() == BOOK_LEVELS_MAX));
    }
}

#[test]
fn a_book_that_grows_too_deep_loses_its_far_levels_with_everyone() {
    let (mut sequencer, bus) = one_instrument();
    let bids = (0..BOOK_LEVELS_MAX as i64).map(|n| level(1_000_000 - n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids, asks: vec![] }));
    happens(&mut sequencer, bid(1_000_001, 5));
    sequencer.end_turn();
    let mut book = BookState::new();
    for record in bus.take_records() {
        if let Body::Book(body) = &record.body {
            book.apply(record.sequence, body).unwrap();
        }
    }
    assert_eq!(book.bids().len(), BOOK_LEVELS_MAX);
    assert_eq!(book, sequencer.instruments[0].as_ref().unwrap().book);
}

#[test]
fn a_book_that_was_cut_ends_where_it_was_cut() {
    let (mut sequencer, bus) = one_instrument();
    let bids = (0..BOOK_LEVELS_MAX as i64 + 10).map(|n| level(1_000_000 - n, 1)).collect();
    happens(&mut sequencer, MarketBody::BookSnapshot(Levels { bids, asks: vec![level(2_000_000, 1)] }));
    assert_eq!(sequencer.publisher.tally.cut_books, 1);
    let worst = 1_000_001 - BOOK_LEVELS_MAX as i64;
    sequencer.end_turn();
    let before = sequencer.publisher.tally.channel(Channel::Book);
    // The ten that were dropped do not come back one by one, when there is room again: others would be missing.
    happens(&mut sequencer, bid(worst - 5, 7));
    assert_eq!(sequencer.publisher.tally.channel(Channel::Book), before, "nothing is told of it");
    for n in 0..20 {
        happens(&mut sequencer, bid(1_000_000 - n, 0));
    }
    happens(&mut sequencer, bid(worst - 5, 8));
    happens(&mut sequencer, bid(worst, 9));
    let worst_bid =
        |sequencer: &Sequencer<FakeBus>| sequencer.instruments[0].as_ref().unwrap().book.bids().next_back();
    assert_eq!(worst_bid(&sequencer), Some(level(worst, 9)));
    // A side of which nothing is left is not empty: it is not known.
    let removed = (0..BOOK_LEVELS_MAX as i64).map(|n| level(1_000_000 - n, 0)).collect();
    sequencer.end_turn();
    bus.take();
    happens(&mut sequencer, MarketBody::BookDelta(Levels { bids: removed, asks: vec![] }));
    sequencer.end_turn();
    assert!(!sequencer.instruments[0].as_ref().unwrap().book.is_synced());
    let is_gap = |record: &Record| matches!(record.body, Body::Gap(_)) && record.sequence > 0;
    assert!(bus.take_records().iter().any(is_gap));
    // A snapshot is taken as a whole again.
    let all = Levels { bids: vec![level(worst - 5, 1)], asks: vec![level(2_000_000, 1)] };
    happens(&mut sequencer, MarketBody::BookSnapshot(all));
    assert_eq!(worst_bid(&sequencer), Some(level(worst - 5, 1)));
    assert_eq!(sequencer.publisher.tally.cut_books, 1);
}

#[test]
fn upstream_gaps_use_up_numbers() {
    let (mut sequencer, bus) = one_instrument();
    let gap = |channel, count| MarketBody::UpstreamGap { channel, count };
    happens(&mut sequencer, snapshot());
    for body in [trade(1), gap(Channel::Trade, Some(7)), trade(9), gap(Channel::Book, None), bid(8, 1)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let messages = bus.take();
    let (header, records) = &messages[3];
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Trade, 2, 8));
    let Body::Gap(gap) = &records[0].body else { panic!("{records:?}") };
    assert_eq!((gap.cause(), gap.first_sequence, gap.last_sequence), (GapCause::Upstream, 2, 8));
    assert_eq!(messages[4].1[0].sequence, 9);
    let (header, _) = &messages[5];
    assert_eq!((header.channel, header.first_sequence, header.last_sequence), (Channel::Book, 2, 2));
    assert_eq!(messages[6].0.channel, Channel::Quote, "it was made from the book");
    assert_eq!(messages.len(), 7, "a change of a broken book is not published");
    let broken = ask(&sequencer, Channel::Book, "A/B");
    assert!(matches!(records_of(&broken.frame)[0].body, Body::Gap(_)));
    assert_eq!(broken.sequence, 2);
    happens(&mut sequencer, snapshot());
    sequencer.end_turn();
    let records = bus.take_records();
    assert!(matches!(&records[0].body, Body::Book(book) if book.snapshot && records[0].sequence == 3));
    assert_eq!(channels(&records[1..]), [(Channel::Quote, 3, false)]);
}

#[test]
fn a_gap_that_no_market_can_have_takes_one_number() {
    let (mut sequencer, bus) = one_instrument();
    for (channel, count) in [(Channel::Trade, u64::MAX), (Channel::Trade, 0), (Channel::Unknown, 3)] {
        happens(&mut sequencer, MarketBody::UpstreamGap { channel, count: Some(count) });
    }
    sequencer.end_turn();
    let ranges: Vec<_> =
        bus.take().iter().map(|(header, _)| (header.first_sequence, header.last_sequence)).collect();
    assert_eq!(ranges, [(1, 1), (2, 2)]);
}

#[test]
fn definitions_are_published_when_they_change_and_refused_when_they_are_wrong() {
    let (mut sequencer, bus) = one_instrument();
    sequencer.define(0, definition("A/B")).unwrap();
    sequencer.define(0, Instrument { tick_size: 5, ..definition("A/B") }).unwrap();
    sequencer.end_turn();
    let [record] = bus.take_records().try_into().unwrap();
    assert_eq!((record.sequence, record.instrument), (2, id(&sequencer, 0)));
    let mut refused = |index, definition| sequencer.define(index, definition).unwrap_err();
    assert!(refused(1, definition("")).contains("empty"));
    assert!(refused(1, definition(&"x".repeat(129))).contains("longer than 128"));
    assert!(refused(65_536, definition("X")).contains("more than 65536 instruments at the same time"));
    assert!(refused(1, definition("A/B")).contains("another instrument has this name"));
    let long = Instrument { base: "x".repeat(65), ..definition("X") };
    assert!(refused(1, long).contains("longer than 64 bytes"));
    let too_fine = Instrument { size_decimals: 19, ..definition("X") };
    assert!(refused(1, too_fine).contains("more than 18 decimals"));
}

#[test]
fn heartbeats_carry_what_moved_in_bounded_messages() {
    let (mut sequencer, _bus) = sequencer(Encoding::Proto);
    let count = HEARTBEAT_POSITIONS_MAX as u32 + 5;
    for index in 0..count {
        sequencer.define(index, definition(&format!("S{index}"))).unwrap();
    }
    sequencer.end_turn();
    let verification = Verification {
        proof: Proof::Nothing,
        checked: Checked::Never,
        loss: Loss::Unknown,
        snapshots: Snapshots::InBand,
    };
    let next = |sequencer: &mut Sequencer<FakeBus>| -> Vec<pb::FeedHeartbeat> {
        let status = RunStatus {
            state: FeedState::Stale,
            reason: "why".to_owned(),
            time: 7,
            number: 3,
            uptime_ns: 11,
            last: false,
            verification: Some(verification),
            lease: 7,
        };
        let heartbeats = heartbeats(sequencer, &status);
        heartbeats.iter().map(|heartbeat| pb::FeedHeartbeat::decode(heartbeat.as_slice()).unwrap()).collect()
    };
    for _ in 0..HEARTBEATS_PER_MOVE {
        let counts: Vec<_> = next(&mut sequencer).iter().map(|heartbeat| heartbeat.positions.len()).collect();
        assert_eq!(counts, [HEARTBEAT_POSITIONS_MAX, 5]);
    }
    happens(&mut sequencer, trade(1));
    happens(&mut sequencer, trade(2));
    for _ in 0..HEARTBEATS_PER_MOVE {
        let [heartbeat] = next(&mut sequencer).try_into().unwrap();
        assert_eq!(
            (heartbeat.venue.as_str(), heartbeat.state(), heartbeat.reason.as_str()),
            ("sim", FeedState::Stale, "why")
        );
        assert_eq!((heartbeat.epoch, heartbeat.time, heartbeat.positions.len()), (EPOCH, 7, 1));
        assert_eq!(heartbeat.book_proof(), pb::BookProof::Unverifiable);
        assert_eq!(heartbeat.verification, "unverifiable");
        assert_eq!((heartbeat.number, heartbeat.uptime_ns, heartbeat.catalogue), (3, 11, u64::from(count)));
        assert_eq!(
            (heartbeat.positions[0].instrument, heartbeat.positions[0].sequence),
            (id(&sequencer, 0), 2)
        );
    }
    let [quiet] = next(&mut sequencer).try_into().unwrap();
    assert!(quiet.positions.is_empty());
}

#[test]
fn what_the_bus_refused_is_announced_before_anything_else() {
    let (mut sequencer, bus) = one_instrument();
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, trade(1));
    sequencer.end_turn();
    bus.take();
    bus.set_full(true);
    for body in [trade(2), trade(3), bid(8, 3)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    sequencer.tick(1);
    bus.set_full(false);
    happens(&mut sequencer, trade(4));
    sequencer.end_turn();
    let [(gap_header, gap), (next, _)] = bus.take().try_into().unwrap();
    assert_eq!((gap_header.first_sequence, gap_header.last_sequence), (2, 3));
    assert!(matches!(&gap[0].body, Body::Gap(gap) if gap.cause() == GapCause::Ingest));
    assert_eq!((next.first_sequence, next.channel), (4, Channel::Trade));
    sequencer.tick(2);
    let records = bus.take_records();
    assert!(
        records.iter().any(|r| matches!(&r.body, Body::Book(book) if book.snapshot && book.bids.len() == 2))
    );
    assert!(sequencer.publisher.tally.missed_numbers >= 3);
}

#[test]
fn an_empty_change_still_is_a_record() {
    let (mut sequencer, bus) = one_instrument();
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, MarketBody::BookDelta(Levels::default()));
    sequencer.end_turn();
    let last = bus.take_records().pop().unwrap();
    let Body::Book(Book { snapshot: false, checksum: Some(_), .. }) = last.body else { panic!("{last:?}") };
}

fn channels(records: &[Record]) -> Vec<(Channel, u64, bool)> {
    records.iter().map(|r| (r.channel(), r.sequence, matches!(r.body, Body::Gap(_)))).collect()
}

#[test]
fn a_quote_that_comes_from_the_book_is_lost_with_it() {
    let (mut sequencer, bus) = one_instrument();
    let broken = MarketBody::UpstreamGap { channel: Channel::Book, count: None };
    happens(&mut sequencer, snapshot());
    happens(&mut sequencer, broken.clone());
    sequencer.end_turn();
    let expected = [
        (Channel::Book, 1, false),
        (Channel::Quote, 1, false),
        (Channel::Book, 2, true),
        (Channel::Quote, 2, true),
    ];
    assert_eq!(channels(&bus.take_records()), expected);
    let state = ask(&sequencer, Channel::Quote, "A/B");
    assert_eq!((state.sequence, state.frame.len()), (2, 0), "nobody is told a quote of a broken book");
    happens(&mut sequencer, snapshot());
    sequencer.end_turn();
    assert_eq!(channels(&bus.take_records()), [(Channel::Book, 3, false), (Channel::Quote, 3, false)]);
    // The venue's own quotes are no worse for it.
    happens(&mut sequencer, MarketBody::Quote(Quote { bid: Some(level(9, 1)), ask: None }));
    happens(&mut sequencer, broken);
    sequencer.end_turn();
    assert_eq!(channels(&bus.take_records()), [(Channel::Quote, 4, false), (Channel::Book, 4, true)]);
    assert!(!ask(&sequencer, Channel::Quote, "A/B").frame.is_empty());
}

#[test]
fn what_was_lost_of_a_conflated_channel_leaves_no_state() {
    let (mut sequencer, _bus) = one_instrument();
    happens(&mut sequencer, MarketBody::Quote(Quote { bid: Some(level(9, 1)), ask: None }));
    happens(&mut sequencer, MarketBody::UpstreamGap { channel: Channel::Quote, count: Some(1) });
    let state = ask(&sequencer, Channel::Quote, "A/B");
    assert_eq!((state.sequence, state.frame.len()), (2, 0));
}

#[test]
fn missing_trades_make_bars_and_statistics_incomplete() {
    let (mut sequencer, bus) = one_instrument();
    happens(&mut sequencer, trade(1));
    happens(&mut sequencer, MarketBody::UpstreamGap { channel: Channel::Trade, count: Some(3) });
    sequencer.tick(1 << 60);
    let records = bus.take_records();
    let is_incomplete = |record: &Record| match &record.body {
        Body::Bar(bar) => Some(bar.incomplete),
        Body::Stat(stat) => Some(stat.incomplete),
        _ => None,
    };
    assert_eq!(records.iter().filter_map(is_incomplete).collect::<Vec<_>>(), [true, true, true]);
}

#[test]
fn one_wrong_time_is_replaced_and_harms_no_bar() {
    const SECOND: u64 = 1_000_000_000;
    const START: u64 = 1_700_000_000 * SECOND;
    let (mut sequencer, bus) = sequencer(Encoding::Proto);
    for (index, symbol) in ["A", "B"].into_iter().enumerate() {
        sequencer.define(index as u32, definition(symbol)).unwrap();
    }
    let mut told = Vec::new();
    for step in 0..100_u64 {
        let receive_time = START + step * SECOND / 10;
        let wild = match step {
            33 => receive_time + 3_600 * SECOND,
            34 => receive_time + 60 * SECOND,
            35 => u64::MAX,
            36 => 5,
            _ => receive_time - 20_000_000,
        };
        for (index, event_time) in [(0, wild), (1, receive_time - 20_000_000)] {
            let event = MarketEvent { index, event_time, receive_time, body: trade(step) };
            told.extend(sequencer.event(event).err().map(|error| error.to_string()));
        }
        sequencer.tick(receive_time);
    }
    sequencer.source_ended();
    sequencer.tick(START + 20 * SECOND);
    assert_eq!((told.len(), sequencer.publisher.tally.replaced_times), (4, 4));
    assert!(told[0].contains("is 3600 s ahead of its receipt") && told[3].contains("before its receipt"));
    let records = bus.take_records();
    let mut trades = records.iter().filter(|record| record.channel() == Channel::Trade);
    assert!(trades.all(|trade| trade.event_time.abs_diff(trade.receive_time) < SECOND));
    for index in 0..2 {
        let of = |record: &&Record| record.instrument == id(&sequencer, index);
        let closed = records.iter().filter(of).filter_map(|record| match &record.body {
            Body::Bar(bar) if bar.interval == SECOND && bar.closed => {
                Some((bar.open_time, bar.trades, bar.correction))
            }
            _ => None,
        });
        let closed: Vec<_> = closed.collect();
        // The first trade was 20 ms before the second began.
        let expected: Vec<_> = (0..11)
            .map(|second| {
                let trades = match second {
                    0 => 1,
                    10 => 9,
                    _ => 10,
                };
                (START - SECOND + second * SECOND, trades, false)
            })
            .collect();
        if index == 1 {
            assert_eq!(closed, expected);
        } else {
            // The replaced times moved a trade by 20 ms at most.
            assert_eq!(
                closed.iter().map(|(open, ..)| open).collect::<Vec<_>>(),
                expected.iter().map(|(open, ..)| open).collect::<Vec<_>>()
            );
            assert_eq!(closed.iter().map(|(_, trades, _)| trades).sum::<u32>(), 100);
        }
    }
}

/// A run that stood by and takes over: its numbers begin at 1, what holds is there, and what follows continues it.
#[test]
fn a_run_that_takes_over_begins_anew() {
    let (mut sequencer, bus) = one_instrument();
    for body in [trade(1), trade(2), snapshot(), bid(8, 1), trade(3), bid(7, 5)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let book_before = sequencer.instruments[0].as_ref().unwrap().book.clone();
    // Nobody hears this.
    bus.take();
    sequencer.begin_anew();
    let records = bus.take_records();
    assert!(records.iter().all(|record| record.sequence == 1), "{records:#?}");
    let channels: Vec<_> = records.iter().map(Record::channel).collect();
    assert_eq!(channels[0], Channel::Instrument, "an instrument is defined before anything is said of it");
    assert!(channels.contains(&Channel::Quote) && channels.contains(&Channel::Book), "{channels:?}");
    assert!(!channels.contains(&Channel::Trade), "trades are no state");
    for body in [trade(4), bid(6, 2)] {
        happens(&mut sequencer, body);
    }
    sequencer.end_turn();
    let mut book = BookState::new();
    let behind = bus.take_records();
    for record in records.iter().chain(&behind) {
        if let Body::Book(levels) = &record.body {
            book.apply(record.sequence, levels).unwrap();
        }
    }
    let now = &sequencer.instruments[0].as_ref().unwrap().book;
    assert_eq!((book.checksum(), book.sequence()), (now.checksum(), now.sequence()));
    assert_ne!(book.checksum(), book_before.checksum());
    let trades: Vec<_> = behind.iter().filter(|record| record.channel() == Channel::Trade).collect();
    assert_eq!(trades.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1]);

    // A book that is broken is announced as such.
    happens(&mut sequencer, MarketBody::UpstreamGap { channel: Channel::Book, count: None });
    sequencer.end_turn();
    bus.take();
    sequencer.begin_anew();
    let of_book: Vec<_> = bus
        .take_records()
        .into_iter()
        .filter(|record| matches!(&record.body, Body::Gap(gap) if gap.channel() == Channel::Book))
        .collect();
    assert_eq!(of_book.iter().map(|record| record.sequence).collect::<Vec<_>>(), [1]);
}

/// Several intervals run side by side, and the state has the newest bar of each.
#[test]
fn bars_are_made_of_the_intervals_that_were_asked_for() {
    let intervals = BarIntervals::parse(&["7s", "1h", "1d"]).unwrap();
    let (mut sequencer, bus) = sequencer_of(Encoding::Proto, intervals);
    sequencer.define(0, definition("A/B")).unwrap();
    let midnight = 20_000 * DAY;
    for (id, second) in [(1, 3), (2, 10), (3, 3_700)] {
        let time = midnight + second * SECOND;
        let event = MarketEvent { index: 0, event_time: time, receive_time: time, body: trade(id) };
        sequencer.publisher.now = time;
        sequencer.event(event).unwrap();
        sequencer.tick(time);
        sequencer.tick(time + 20 * SECOND);
    }
    let bars = |records: Vec<Record>| {
        let bars = records.into_iter().filter_map(|record| match record.body {
            Body::Bar(bar) => {
                Some((bar.interval / SECOND, (bar.open_time - midnight) / SECOND, bar.trades, bar.closed))
            }
            _ => None,
        });
        bars.collect::<Vec<_>>()
    };
    let closed: Vec<_> = bars(bus.take_records()).into_iter().filter(|bar| bar.3).collect();
    assert_eq!(closed, [(7, 0, 1, true), (7, 7, 1, true), (3_600, 0, 2, true), (7, 3_696, 1, true)]);
    let state = ask(&sequencer, Channel::Bar, "A/B");
    let newest = bars(records_of(&state.frame));
    // The bar of the second trade was over when that came, so it is the last correction of its interval.
    assert_eq!(
        newest,
        [(7, 3_696, 1, true), (7, 7, 1, true), (3_600, 3_600, 1, false), (86_400, 0, 3, false)]
    );
}

/// Without intervals there are no bars, and all else is as it was.
#[test]
fn there_may_be_no_bars() {
    let (mut sequencer, bus) = sequencer_of(Encoding::Proto, BarIntervals::parse::<&str>(&[]).unwrap());
    sequencer.define(0, definition("A/B")).unwrap();
    happens(&mut sequencer, trade(1));
    sequencer.tick(10 * SECOND);
    let channels: Vec<_> = bus.take_records().iter().map(Record::channel).collect();
    assert_eq!(channels, [Channel::Instrument, Channel::Trade, Channel::Stat]);
}
