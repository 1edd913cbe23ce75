//! Real recordings through the driver, switched on by `TICKWIRE_DATA`, which names their folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tickwire_feed::adapter::{FeedEvent, Levels, MarketBody};
use tickwire_feed::binance::Market;
use tickwire_live::binance::{Binance, SPOT, USDM};
use tickwire_live::driver::{Input, LinkId, Output, RequestId, Response};
use tickwire_live::row::Row;
use tickwire_live::simulator::{SimKind, SimVenueConfig};
use tickwire_live::{Driver, Moment, Timings};
use tickwire_wire::decimal::{parse, parse_unsigned};
use tickwire_wire::{Channel, Level};

use crate::client::{Client, config, quick, venue_with};

/// The sides of a book by price.
#[derive(Debug, Default, PartialEq, Eq)]
struct Book {
    bids: BTreeMap<i64, u64>,
    asks: BTreeMap<i64, u64>,
}

impl Book {
    fn apply(&mut self, levels: &Levels) {
        for (side, levels) in [(&mut self.bids, &levels.bids), (&mut self.asks, &levels.asks)] {
            for Level { price, size } in levels {
                if *size == 0 {
                    side.remove(price);
                } else {
                    side.insert(*price, *size);
                }
            }
        }
    }
}

/// The scales of a recording's symbol, in decimals.
#[derive(Clone, Copy)]
struct Scales {
    price: u32,
    size: u32,
    /// The decimals of the step that the venue announced for sizes; what is in its books may be finer.
    step: u32,
}

impl Scales {
    fn levels(self, bids: &Value, asks: &Value) -> Levels {
        let side = |levels: &Value| {
            let level = |level: &Value| Level {
                price: parse(level[0].as_str().unwrap(), self.price).unwrap(),
                size: parse_unsigned(level[1].as_str().unwrap(), self.size).unwrap(),
            };
            levels.as_array().unwrap().iter().map(level).collect()
        };
        Levels { bids: side(bids), asks: side(asks) }
    }

    fn catalogue(self, symbol: &str) -> String {
        let step = |decimals: u32| format!("0.{}1", "0".repeat(decimals as usize - 1));
        serde_json::json!({ "symbols": [{
            "symbol": symbol, "status": "TRADING", "baseAsset": "B", "quoteAsset": "Q",
            "filters": [
                { "filterType": "PRICE_FILTER", "tickSize": step(self.price) },
                { "filterType": "LOT_SIZE", "stepSize": step(self.step) },
            ],
        }] })
        .to_string()
    }
}

struct Played {
    driver: Driver<Binance>,
    events: Vec<FeedEvent>,
    /// The snapshots in the recording so far, and the request that waits for the next one.
    snapshot: Option<String>,
    waiting: Option<RequestId>,
    catalogue: String,
    now: Moment,
}

impl Played {
    fn dispatch(&mut self) {
        while let Some(output) = self.driver.next_output() {
            match output {
                Output::Connect { link, attempt, .. } => {
                    self.driver.handle(self.now, Input::Opened { link, attempt }, &mut self.events);
                }
                Output::Send { link, text } => {
                    let command: Value = serde_json::from_str(&text).unwrap();
                    let text = format!(r#"{{"result":null,"id":{}}}"#, command["id"]);
                    self.message(link, &text);
                }
                Output::Fetch { request, url } if url.contains("exchangeInfo") => {
                    let body = self.catalogue.clone();
                    self.respond(request, body);
                }
                Output::Fetch { request, .. } => {
                    self.waiting = Some(request);
                    self.answer();
                }
                Output::Ping { link } => {
                    self.driver.handle(self.now, Input::Pong { link, attempt: 0 }, &mut self.events);
                }
                Output::Pong { .. } | Output::Close { .. } | Output::Abandon { .. } => panic!("{output:?}"),
            }
        }
    }

    fn message(&mut self, link: LinkId, text: &str) {
        self.driver.handle(self.now, Input::Message { link, attempt: 0, text }, &mut self.events);
    }

    fn respond(&mut self, request: RequestId, body: String) {
        let response = Response { status: 200, retry_after: None, used_weight: None, body };
        self.driver.handle(self.now, Input::Response { request, outcome: Ok(response) }, &mut self.events);
    }

    fn answer(&mut self) {
        if let (Some(request), Some(body)) = (self.waiting, self.snapshot.clone()) {
            self.waiting = None;
            self.respond(request, body);
        }
    }
}

fn row(market: Market) -> &'static Row {
    if market == Market::Spot { &SPOT } else { &USDM }
}

/// Plays recordings of one symbol, and checks what comes against a plain reading of the same lines. Their snapshots have a
/// thousand levels on each side.
fn check(market: Market, symbol: &str, scales: Scales, files: &[&str]) {
    // More were asked for, so there are no more: all that the changes say is known.
    check_with(5_000, market, symbol, scales, files);
    // No more were asked for: nothing is told beyond them, and a book that the price has left is one no more.
    check_with(1_000, market, symbol, scales, files);
}

fn check_with(levels: u32, market: Market, symbol: &str, scales: Scales, files: &[&str]) {
    let Some(folder) = std::env::var_os("TICKWIRE_DATA") else {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("skipped: TICKWIRE_DATA does not name the folder of recordings");
        }
        return;
    };
    let mut config = row(market).config("wss://s", "https://r", &[symbol.to_owned()]);
    config.depth = levels;
    if market != Market::Spot {
        // These recordings have trades one by one, and the driver subscribes to aggregates.
        config.channels = vec![Channel::Quote, Channel::Book];
    }
    let timings = Timings { response_within: Duration::from_secs(3_600), ..Timings::default() };
    let mut played = Played {
        driver: Driver::new(Binance::new(market, config), timings, 1),
        events: Vec::new(),
        snapshot: None,
        waiting: None,
        catalogue: scales.catalogue(symbol),
        now: Moment { elapsed: Duration::ZERO, time: 0 },
    };
    let (mut naive, mut naive_end, mut changes) = (Book::default(), None, Vec::new());
    let (mut trades, mut quotes, mut first) = (0, 0, None);
    let mut lines = 0;
    for path in files.iter().map(|file| Path::new(&folder).join(file)) {
        for line in BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines() {
            let line = line.unwrap().replace("@depth@0ms", "@depth@100ms");
            let (time, text) = line.split_once(' ').unwrap();
            let time: u64 = time.parse().unwrap();
            let elapsed = Duration::from_nanos(time - *first.get_or_insert(time));
            played.now = Moment { elapsed: elapsed.max(played.now.elapsed), time };
            if played.driver.wake_at().is_some_and(|at| at <= played.now.elapsed) {
                played.driver.advance(played.now, &mut played.events);
            }
            played.dispatch();
            lines += 1;
            let value: Value = serde_json::from_str(text).unwrap();
            if value["lastUpdateId"].is_u64() {
                if naive_end.is_none() {
                    naive.apply(&scales.levels(&value["bids"], &value["asks"]));
                    naive_end = value["lastUpdateId"].as_u64();
                }
                played.snapshot = Some(text.to_owned());
                played.answer();
                played.dispatch();
                continue;
            }
            let (stream, data) = (value["stream"].as_str().unwrap(), &value["data"]);
            trades += u64::from(stream.ends_with("@trade"));
            quotes += u64::from(stream.ends_with("@bookTicker"));
            if stream.contains("@depth") {
                changes.push((data["u"].as_u64().unwrap(), scales.levels(&data["b"], &data["a"])));
            }
            played.message(LinkId(0), text);
            played.dispatch();
        }
    }
    for (end, levels) in &changes {
        if naive_end.is_some_and(|last| *end > last) {
            naive.apply(levels);
        }
    }
    let (mut book, mut told_trades, mut told_quotes, mut snapshots) = (Book::default(), 0, 0, 0);
    let (mut crossed, mut reach, mut is_left) = (0, (i64::MIN, i64::MAX), false);
    for event in &played.events {
        let FeedEvent::Market(event) = event else {
            assert!(!matches!(event, FeedEvent::Fault(_)), "{event:?}");
            continue;
        };
        match &event.body {
            MarketBody::BookSnapshot(levels) => {
                book = Book::default();
                book.apply(levels);
                assert_eq!(
                    (levels.bids.len(), levels.asks.len()),
                    (1_000, 1_000),
                    "the recording is another one"
                );
                reach = (levels.bids[999].price, levels.asks[999].price);
                snapshots += 1;
            }
            MarketBody::BookDelta(told) => {
                book.apply(told);
                if levels == 1_000 {
                    assert!(
                        told.bids.iter().all(|level| level.price >= reach.0),
                        "{told:?} beyond {reach:?}"
                    );
                    assert!(
                        told.asks.iter().all(|level| level.price <= reach.1),
                        "{told:?} beyond {reach:?}"
                    );
                    assert!(!book.bids.is_empty() && !book.asks.is_empty(), "what is not known is not empty");
                }
            }
            MarketBody::Trade(_) => told_trades += 1,
            MarketBody::Quote(_) => told_quotes += 1,
            MarketBody::UpstreamGap { .. } if levels == 1_000 => is_left = true,
            MarketBody::UpstreamGap { .. } => panic!("the recording has no gap: {event:?}"),
            _ => {}
        }
        let best = book.bids.last_key_value().zip(book.asks.first_key_value());
        crossed += u64::from(best.is_some_and(|((bid, _), (ask, _))| bid >= ask));
    }
    assert_eq!((snapshots, crossed), (1, 0));
    if levels == 1_000 {
        let within = |side: &BTreeMap<i64, u64>, range: std::ops::RangeInclusive<i64>| {
            side.range(range).map(|(price, size)| (*price, *size)).collect::<Vec<_>>()
        };
        let is_right = within(&naive.bids, reach.0..=i64::MAX) == within(&book.bids, reach.0..=i64::MAX)
            && within(&naive.asks, i64::MIN..=reach.1) == within(&book.asks, i64::MIN..=reach.1);
        assert!(is_left || is_right, "the book is another one where it is known");
    } else {
        assert!(book == naive, "the book is another than that of a plain reading");
    }
    assert!(lines > 30_000 && !book.bids.is_empty());
    assert_eq!(told_quotes, quotes);
    if market == Market::Spot {
        assert_eq!(told_trades, trades);
    }
    let counts = played.driver.counts();
    assert_eq!((counts.unreadable, counts.losses, counts.silent_topics), (0, 0, 0));
}

#[test]
fn spot_recordings() {
    let files = ["binance/spot/btcusdt_20240808.gz", "binance/spot/btcusdt_20240809.gz"];
    check(Market::Spot, "BTCUSDT", Scales { price: 2, size: 8, step: 5 }, &files);
    let scales = Scales { price: 2, size: 8, step: 4 };
    check(Market::Spot, "ETHUSDT", scales, &["binance/spot/ethusdt_20240808.gz"]);
}

#[test]
fn recordings_of_the_futures() {
    let scales = Scales { price: 1, size: 3, step: 3 };
    check(Market::Usdm, "BTCUSDT", scales, &["binance/usdm/btcusdt_20240808.gz"]);
}

/// Plays a recording by a simulated venue, over sockets: the driver's book is the venue's.
#[tokio::test]
async fn a_recording_by_a_simulated_venue() {
    let Some(folder) = std::env::var_os("TICKWIRE_DATA") else { return };
    let recording = Some(Path::new(&folder).join("binance/spot/ethusdt_20240808.gz"));
    // A venue cuts off who reads too slowly: some 500 messages a second are read on a busy machine, too.
    let venue = venue_with(SimVenueConfig { recording, speed: 5.0, ..quick(SimKind::Binance) }).await;
    let mut config = config(SimKind::Binance, &venue);
    config.symbols = vec!["ETHUSDT".to_owned()];
    config.depth = 5_000;
    let mut client = Client::configured(&venue, SimKind::Binance, config);
    client
        .until("a book and trades", |client| {
            client.known.get("ETHUSDT").is_some_and(|known| known.book.is_some() && known.trades > 200)
        })
        .await;
    venue.pause();
    client
        .until("the venue's book", |client| client.known["ETHUSDT"].levels() == Some(venue.book("ETHUSDT")))
        .await;
    assert_eq!(client.known["ETHUSDT"].gaps, []);
}
