//! Real recordings, against a naive reading of the same files. They are switched on by `TICKWIRE_DATA`, which names the
//! folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tickwire_feed::binance::Market;
use tickwire_feed::replay::{Passes, Replay, ReplayConfig, Times};
use tickwire_feed::{Clock, EVENT_AHEAD_MAX, IngestConfig, Pace};
use tickwire_wire::decimal::{write, write_unsigned};
use tickwire_wire::{Body, Channel, FeedState, Instrument, Level};

use crate::world::World;

fn data(file: &str) -> Option<PathBuf> {
    let Some(folder) = std::env::var_os("TICKWIRE_DATA") else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: TICKWIRE_DATA does not name the folder of recordings");
        }
        return None;
    };
    Some(Path::new(&folder).join(file))
}

/// The prices and sizes of a side as text, without trailing zeros.
type Side = BTreeMap<String, String>;

#[derive(Default)]
struct Naive {
    bids: Side,
    asks: Side,
    /// The snapshot and each change after it.
    book_records: u64,
    trades: u64,
    quotes: u64,
    /// The number of these with an event time that is too far ahead of the receipt: the clock that recorded was slow.
    ahead: u64,
}

fn trimmed(text: &str) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text.to_owned()
    }
}

fn set(side: &mut Side, levels: &Value) {
    for level in levels.as_array().unwrap() {
        let text = |at: usize| trimmed(level[at].as_str().unwrap());
        if text(1) == "0" {
            side.remove(&text(0));
        } else {
            side.insert(text(0), text(1));
        }
    }
}

/// Applies the snapshot, then every change that ends after it. It does not check continuity: that is the ingester's.
fn read_naively(paths: &[PathBuf]) -> Naive {
    let mut naive = Naive::default();
    let lines: Vec<(u64, Value)> = paths
        .iter()
        .flat_map(|path| BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines())
        .map(|line| {
            let line = line.unwrap();
            let (received, text) = line.split_once(' ').unwrap();
            (received.parse().unwrap(), serde_json::from_str(text).unwrap())
        })
        .collect();
    let is_ahead = |received: u64, data: &Value| {
        let event = data["T"].as_u64().or_else(|| data["E"].as_u64());
        u64::from(event.is_some_and(|ms| ms * 1_000_000 > received + EVENT_AHEAD_MAX.as_nanos() as u64))
    };
    let (received, snapshot) = lines.iter().find(|(_, line)| line["lastUpdateId"].is_u64()).unwrap();
    let end = snapshot["lastUpdateId"].as_u64().unwrap();
    set(&mut naive.bids, &snapshot["bids"]);
    set(&mut naive.asks, &snapshot["asks"]);
    naive.book_records = 1;
    naive.ahead = is_ahead(*received, snapshot);
    for (received, line) in &lines {
        let (Some(stream), data) = (line["stream"].as_str(), &line["data"]) else { continue };
        match stream.split('@').nth(1).unwrap() {
            "trade" => naive.trades += 1,
            "bookTicker" => naive.quotes += 1,
            "depth" if data["u"].as_u64().unwrap() > end => {
                set(&mut naive.bids, &data["b"]);
                set(&mut naive.asks, &data["a"]);
                naive.book_records += 1;
            }
            _ => continue,
        }
        naive.ahead += is_ahead(*received, data);
    }
    naive
}

fn side_of(levels: &[Level], scale: &Instrument) -> Side {
    let text = |level: &Level| {
        let (mut price, mut size) = (String::new(), String::new());
        write(&mut price, level.price, scale.price_decimals);
        write_unsigned(&mut size, level.size, scale.size_decimals);
        (trimmed(&price), trimmed(&size))
    };
    levels.iter().map(text).collect()
}

async fn check(market: Market, files: &[&str], symbol: &str, trades: u64, quotes: u64) {
    let Some(files) = files.iter().map(|file| data(file)).collect::<Option<Vec<_>>>() else { return };
    let naive = read_naively(&files);
    assert_eq!((naive.trades, naive.quotes), (trades, quotes), "the file is another one");
    let replay = Replay::open(ReplayConfig {
        market: None,
        files,
        pace: Pace::FlatOut,
        passes: Passes::Once,
        times: Times::Recorded,
        clock: Clock::system(),
    });
    let replay = replay.unwrap();
    assert_eq!(replay.market(), market, "told by the recording");
    let progress = replay.progress();
    let scale = replay.definitions()[0].clone();
    let mut world = World::start(IngestConfig::default(), replay);
    let ended = |heartbeat: &tickwire_wire::pb::FeedHeartbeat| {
        heartbeat.state() == FeedState::Stale && heartbeat.reason == "source ended"
    };
    let heard = world.hear_heartbeat(ended).await;
    let (response, records) = world.ask_topic(Channel::Book, symbol).await;
    let Body::Book(book) = &records[0].body else { panic!("{response:?}") };
    assert_eq!(side_of(&book.bids, &scale), naive.bids);
    assert_eq!(side_of(&book.asks, &scale), naive.asks);
    assert!(book.bids.is_sorted_by(|a, b| a.price > b.price));
    assert!(book.asks.is_sorted_by(|a, b| a.price < b.price));
    assert_eq!(heard.book(records[0].instrument).to_snapshot(), *book);
    heard.check_numbers();
    let report = world.stats.report();
    let tally = report.tally;
    let problems = (tally.upstream_gaps, tally.crossed_books, tally.faults, tally.orphan_changes);
    assert_eq!(problems, (0, 0, naive.ahead, 0), "{:?}", report.last_fault);
    assert_eq!(tally.replaced_times, naive.ahead);
    assert_eq!(tally.channel(Channel::Quote), quotes);
    assert_eq!(tally.channel(Channel::Book), naive.book_records);
    assert_eq!(tally.channel(Channel::Trade), trades);
    assert_eq!(tally.missed_numbers, 0);
    let progress = progress.get();
    assert_eq!((progress.lines, progress.bytes), (progress.lines_total, progress.bytes_total));
}

#[tokio::test]
async fn spot_btc() {
    check(Market::Spot, &["binance/spot/btcusdt_20240808.gz"], "BTCUSDT", 9_757, 28_040).await;
}

#[tokio::test]
async fn spot_btc_goes_on_in_the_next_file() {
    let files = ["binance/spot/btcusdt_20240808.gz", "binance/spot/btcusdt_20240809.gz"];
    check(Market::Spot, &files, "BTCUSDT", 9_757 + 10_147, 28_040 + 45_134).await;
}

#[tokio::test]
async fn spot_eth() {
    check(Market::Spot, &["binance/spot/ethusdt_20240808.gz"], "ETHUSDT", 6_106, 24_077).await;
}

#[tokio::test]
async fn usdm_btc() {
    check(Market::Usdm, &["binance/usdm/btcusdt_20240808.gz"], "BTCUSDT", 21_313, 66_089).await;
}

#[tokio::test]
async fn cm_btc() {
    check(Market::Cm, &["binance/cm/btcusd_perp_20240808.gz"], "BTCUSD_PERP", 2_286, 19_136).await;
}
