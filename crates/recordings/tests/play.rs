//! Recordings play: merged by time, from any moment on, at one scale, and through damage.

mod common;
#[path = "common/encoded.rs"]
mod encoded;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dbn::enums::{Action, Schema, Side};
use dbn::{FlagSet, MboMsg, RecordHeader, TradeMsg, flags};
use proptest::prelude::*;
use tickwire_feed::adapter::{Adapter as _, FeedEvent, Flow, Levels, MarketBody, MarketEvent, SourceState};
use tickwire_feed::replay::{Passes, Times};
use tickwire_feed::{Clock, Pace};
use tickwire_recordings::{Hints, Player, PlayerConfig, PlayerError, Recording};

const SECOND: u64 = 1_000_000_000;
const START: u64 = 1_700_000_000 * SECOND;
const UNIT: i64 = SECOND as i64;

fn trade(instrument: u32, time: u64, price: i64) -> TradeMsg {
    TradeMsg { ts_recv: time + 10, ..encoded::trade(instrument, time, price) }
}

fn order(time: u64, action: Action, id: u64, price: i64, size: u32) -> MboMsg {
    let side = if price < 100 * UNIT { Side::Bid } else { Side::Ask };
    MboMsg {
        hd: RecordHeader::new::<MboMsg>(dbn::rtype::MBO, 1, 7, time),
        order_id: id,
        price,
        size,
        flags: FlagSet::new(flags::LAST),
        action: action as std::ffi::c_char,
        side: side as std::ffi::c_char,
        ts_recv: time,
        ..MboMsg::default()
    }
}

fn trades(list: &[TradeMsg]) -> Vec<u8> {
    encoded::encoded(Schema::Trades, START, list)
}

fn orders(list: &[MboMsg]) -> Vec<u8> {
    encoded::encoded(Schema::Mbo, START, list)
}

fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn flat_out() -> PlayerConfig {
    PlayerConfig {
        pace: Pace::FlatOut,
        passes: Passes::Once,
        times: Times::Recorded,
        from: None,
        to: None,
        clock: Clock::system(),
    }
}

fn player(files: &[PathBuf], config: PlayerConfig) -> Result<Player, PlayerError> {
    let open = |path: &PathBuf| Recording::open(path, &Hints::default());
    let recordings = files.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    Player::open(recordings, config, &Arc::default()).map(|(player, _)| player)
}

/// Plays so many turns, or to the end.
fn play(player: &mut Player, turns: usize) -> Vec<FeedEvent> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut events = Vec::new();
    for _ in 0..turns {
        if runtime.block_on(player.next(&mut events)).unwrap() == Flow::Ended {
            break;
        }
    }
    events
}

fn market(events: &[FeedEvent]) -> Vec<MarketEvent> {
    let of =
        |event: &FeedEvent| if let FeedEvent::Market(event) = event { Some(event.clone()) } else { None };
    events.iter().filter_map(of).collect()
}

fn faults(events: &[FeedEvent]) -> Vec<String> {
    let of =
        |event: &FeedEvent| if let FeedEvent::Fault(fault) = event { Some(fault.to_string()) } else { None };
    events.iter().filter_map(of).collect()
}

#[test]
fn files_are_merged_by_time_at_one_scale() {
    let folder = tempfile::tempdir().unwrap();
    let at = |tenth: u64| START + tenth * SECOND / 10;
    let first =
        trades(&[trade(5, at(0), 10 * UNIT), trade(6, at(20), 7 * UNIT), trade(5, at(40), 11 * UNIT)]);
    let second = trades(&[trade(5, at(10), 10 * UNIT + UNIT / 4), trade(5, at(30), 12 * UNIT)]);
    let files = [file(folder.path(), "a.dbn", &first), file(folder.path(), "b.dbn", &second)];
    let mut player = player(&files, flat_out()).unwrap();
    let of = |symbol: &str| player.definitions().iter().find(|it| it.symbol == symbol).unwrap().clone();
    let scale = |symbol: &str| (of(symbol).price_decimals, of(symbol).size_decimals);
    assert_eq!((scale("5"), scale("6"), of("5").venue.as_str()), ((2, 0), (0, 0), "test-set"));
    let events = play(&mut player, 100);
    let prices: Vec<_> = market(&events)
        .iter()
        .map(|event| match &event.body {
            MarketBody::Trade(trade) => {
                (event.index, trade.price, trade.size, event.receive_time - event.event_time)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        prices,
        [(0, 1_000, 3, 10), (0, 1_025, 3, 10), (1, 7, 3, 10), (0, 1_200, 3, 10), (0, 1_100, 3, 10)]
    );
    assert_eq!(events.last(), Some(&FeedEvent::Source(SourceState::Ended)));
    let at = player.progress().get();
    assert_eq!((at.statements, at.statements_total), (5, 5));
}

#[test]
fn a_loop_goes_on_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let files =
        [file(folder.path(), "a.dbn", &trades(&[trade(5, START, UNIT), trade(5, START + SECOND, UNIT)]))];
    let mut player = player(&files, PlayerConfig { passes: Passes::Endless, ..flat_out() }).unwrap();
    let times: Vec<_> =
        market(&play(&mut player, 3)).iter().map(|event| (event.event_time - START) / SECOND).collect();
    assert_eq!(times[..6], [0, 1, 2, 3, 4, 5]);
}

#[test]
fn what_cannot_be_played_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let check = |bytes: &[u8], config: PlayerConfig, part: &str| {
        let path = file(folder.path(), "a.dbn", bytes);
        let error = player(&[path], config).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    };
    let one = trades(&[trade(5, START, UNIT)]);
    check(b"", flat_out(), "is empty");
    check(b"hello", flat_out(), "in no format that is known here");
    check(&one[..20], flat_out(), "it ends within its head");
    check(&trades(&[]), flat_out(), "nothing in `");
    check(
        &one,
        PlayerConfig { from: Some(START + SECOND), ..flat_out() },
        "the recordings have nothing from",
    );
    check(&one, PlayerConfig { to: Some(START), ..flat_out() }, "the recordings have nothing from");
    check(&one, PlayerConfig { pace: Pace::Speed(0.0), ..flat_out() }, "speed 0 is not above 0");
    assert!(matches!(player(&[], flat_out()), Err(PlayerError::NoFiles)));
}

/// A recording that ends anywhere gives what came before, and a fault that names the place; packed ones do, too.
#[test]
fn a_file_may_end_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let list: Vec<_> = (0..5).map(|n| trade(5, START + n * SECOND, UNIT * n as i64)).collect();
    let (whole, none) = (trades(&list), trades(&[]));
    for end in none.len() + 1..whole.len() {
        let path = file(folder.path(), "a.dbn", &whole[..end]);
        let reading = common::read(&path);
        let size = size_of::<TradeMsg>();
        let count = (end - none.len()) / size;
        assert_eq!((reading.said.len(), reading.records), (count, count as u64), "{end}");
        let cut = (end - none.len()) % size != 0;
        let place = none.len() + count * size;
        let told: Vec<_> =
            reading.faults.iter().map(|(place, reason)| format!("{place}: {reason}")).collect();
        let expected = cut.then(|| format!("byte {place}: the file ends within a record"));
        assert_eq!(told, expected.into_iter().collect::<Vec<_>>(), "{end}");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&whole).unwrap();
    let many: Vec<_> = (0..9_000).map(|n| trade(5, START + n * SECOND, (n * n * 7_919) as i64)).collect();
    let packed = [(gzip.finish().unwrap(), 5), (zstd::encode_all(&trades(&many)[..], 3).unwrap(), 9_000)];
    for (packed, count) in packed {
        assert_eq!(common::read(&file(folder.path(), "b.dbn", &packed)).said.len(), count);
        let path = file(folder.path(), "b.dbn", &packed[..packed.len() - 3]);
        // All of the records may be there; that the file is not whole is told all the same.
        let reading = common::read(&path);
        assert_eq!(reading.faults.len(), 1, "{:?}", reading.faults);
    }
}

/// A flipped bit never ends the process; what cannot be is told.
#[test]
fn a_flipped_bit_harms_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let whole =
        trades(&[trade(5, START, UNIT), trade(5, START + SECOND, UNIT), trade(5, START + 2 * SECOND, UNIT)]);
    for at in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[at / 8] ^= 1 << (at % 8);
        let path = file(folder.path(), "a.dbn", &bytes);
        if let Ok(mut player) = player(&[path], flat_out()) {
            let events = play(&mut player, 100);
            assert!(market(&events).len() <= 3, "{at}");
            assert!(faults(&events).len() <= 3, "{at}");
        }
    }
}

type Book = (BTreeMap<i64, u64>, BTreeMap<i64, u64>);

fn book(events: &[MarketEvent]) -> Option<Book> {
    let mut book = None;
    let apply = |book: &mut Book, levels: &Levels| {
        for (side, levels) in [(&mut book.0, &levels.bids), (&mut book.1, &levels.asks)] {
            side.extend(levels.iter().map(|level| (level.price, level.size)));
            side.retain(|_, size| *size > 0);
        }
    };
    for event in events {
        match &event.body {
            MarketBody::BookSnapshot(levels) => apply(book.insert(Book::default()), levels),
            MarketBody::BookDelta(levels) => apply(book.as_mut().expect("a book before its changes"), levels),
            _ => {}
        }
    }
    book
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever begins in the middle has the same book in the end, and nothing older than the beginning but what held then.
    #[test]
    fn a_beginning_in_the_middle_has_what_held_then(
        steps in prop::collection::vec((0u64..8, 95i64..106, 1u32..9, any::<bool>()), 1..40),
        from in 0u64..45,
    ) {
        let (mut list, mut open) = (vec![order(START, Action::Clear, 0, 0, 0)], BTreeMap::new());
        for (n, (id, price, size, ends)) in steps.into_iter().enumerate() {
            let time = START + (n as u64 + 1) * SECOND;
            match open.get(&id).copied() {
                Some((price, size)) if ends => {
                    open.remove(&id);
                    list.push(order(time, Action::Cancel, id, price, size));
                }
                Some(_) => {}
                None => {
                    open.insert(id, (price * UNIT, size));
                    list.push(order(time, Action::Add, id, price * UNIT, size));
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let files = [file(folder.path(), "a.dbn", &orders(&list))];
        let all = market(&play(&mut player(&files, flat_out()).unwrap(), 1_000));
        let last = all.last().unwrap().receive_time;
        let from = (START + from * SECOND).min(last);
        let config = PlayerConfig { from: Some(from), ..flat_out() };
        let part = market(&play(&mut player(&files, config).unwrap(), 1_000));
        prop_assert_eq!(book(&part), book(&all));
        prop_assert!(part.iter().all(|event| event.receive_time >= from));
        let behind = all.iter().filter(|event| event.receive_time >= from).count();
        prop_assert!(part.len() <= behind + 1);
        // The parts before and behind a moment are the whole.
        if from > START {
            let config = PlayerConfig { to: Some(from), ..flat_out() };
            let before = market(&play(&mut player(&files, config).unwrap(), 1_000));
            prop_assert_eq!(before.len() + behind, all.len());
        }
    }
}
