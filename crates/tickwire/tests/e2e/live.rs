//! Live venues: the programs against a simulated venue.

use tickwire_client::wire::{Channel, Encoding, GapCause};
use tickwire_testkit::Program;

use crate::watcher::watch;
use crate::world::{Gateway, TICKWIRE, nats, until};

/// Starts a simulated venue; returns it with its roots of streams and REST.
fn venue(name: &str, more: &[&str]) -> (Program, String, String) {
    let arguments = [&["sim-venue", name, "--listen", "127.0.0.1:0", "--rate", "2000"], more].concat();
    let program = Program::start(TICKWIRE, &arguments);
    let line = program.line_with("simulated ");
    let url = |scheme: &str| line.split([' ', ',']).find(|word| word.starts_with(scheme)).unwrap().to_owned();
    let (streams, rest) = (url("ws://"), url("http://"));
    (program, streams, rest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demo_shows_a_live_venue_and_a_lost_connection_is_a_gap() {
    // They come again and again: whenever the client is there, some are behind it.
    let faults: Vec<_> =
        (1..16).flat_map(|n| [format!("{}s:disconnect", n * 6), format!("{}s:gap", n * 6 + 3)]).collect();
    let faults: Vec<_> = faults.iter().flat_map(|fault| ["--fault", fault.as_str()]).collect();
    let (_venue, streams, rest) = venue("binance", &faults);
    let demo = Program::start(
        TICKWIRE,
        &[
            "demo",
            "--venue",
            "binance",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--set",
            &format!("ingest.binance.stream_url={streams}"),
            "--set",
            &format!("ingest.binance.rest_url={rest}"),
        ],
    );
    let line = demo.line_with("stream: ws://");
    let url = line.strip_prefix("stream: ").unwrap();
    let seen = watch(url, Encoding::Proto, "binance:BTCUSDT", |seen| {
        let gaps = |channel| seen.all_gaps.iter().filter(move |gap| gap.channel == channel).count();
        gaps(Channel::Book) >= 2 && gaps(Channel::Quote) >= 1 && seen.book_live && seen.trades.len() > 10
    })
    .await;
    assert!(seen.all_gaps.iter().all(|gap| gap.cause == GapCause::Upstream), "{:?}", seen.all_gaps);
    assert!(!seen.bids.is_empty() && !seen.asks.is_empty() && seen.is_feed_live);
    let gaps = seen.all_gaps.iter().filter(|gap| gap.channel == Channel::Book).count();
    assert!(seen.books_broken <= gaps, "a book broke without a gap: its checksum was wrong");
    seen.assert_contiguous();
    // What proves the books came over the bus.
    let line = demo.line_with("admin: http://");
    let admin = line.strip_prefix("admin: http://").unwrap().split('/').next().unwrap();
    let (_, body) = tickwire_net::http::get(admin, "/readyz").await.unwrap();
    let page: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(
        page["verification"]["binance"].as_str().unwrap().starts_with("sequence numbers per symbol"),
        "{page}"
    );
    assert_eq!(page["unverifiable"], serde_json::json!([]));
}

#[test]
fn a_dry_run_prints_what_would_be_published() {
    let of_binance = ["btcusdt,eth*", "BTCUSDT", "ETHUSDT", "SOLUSDT"];
    let of_kraken = ["btc/usd,eth/u*", "BTC/USD", "ETH/USD", "SOL/USD"];
    for (name, channels, [symbols, first, second, other]) in [
        ("binance", "quote,trade,book", of_binance),
        ("binance-usdm", "quote,trade,book,derivative", of_binance),
        ("bitstamp", "trade,book", ["btcusd,eth*", "BTCUSD", "ETHUSD", "SOLUSD"]),
        ("bybit", "trade,book", of_binance),
        ("bybit-linear", "trade,book,derivative", of_binance),
        ("coinbase", "trade,book", ["btc-usd,eth-u*", "BTC-USD", "ETH-USD", "SOL-USD"]),
        ("kraken", "quote,trade,book", of_kraken),
        ("okx", "quote,trade,book", ["btc-usdt,eth-u*", "BTC-USDT", "ETH-USDT", "SOL-USDT"]),
    ] {
        let (_venue, streams, rest) = venue(name, &[]);
        let arguments = [
            "ingest",
            name,
            "--symbols",
            symbols,
            "--channels",
            channels,
            "--stream-url",
            &streams,
            "--rest-url",
            &rest,
            "--dry-run",
        ];
        let ingest = Program::start(TICKWIRE, &arguments);
        for channel in channels.split(',').chain(["instrument", "status"]) {
            let line = ingest.line_with(&format!(r#"{{"type":"{channel}","symbol":"{name}:{first}""#));
            let record: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(record["sequence"].as_u64() >= Some(1), "{line}");
        }
        ingest.line_with(&format!(r#""symbol":"{name}:{second}""#));
        assert!(!ingest.output().contains(other), "it was not asked for");
    }
}

#[test]
fn a_demo_says_plainly_that_a_venue_is_not_there() {
    // Nobody listens at port 9 of this machine.
    let demo = Program::start(
        TICKWIRE,
        &[
            "demo",
            "--venue",
            "binance",
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--set",
            "ingest.binance.rest_url=http://127.0.0.1:9",
        ],
    );
    let line = demo.line_with("there is no live data: ");
    assert!(line.contains("binance does not tell its instruments: 127.0.0.1:9 cannot be reached"), "{line}");
    demo.line_with("without internet, `tickwire demo` shows a simulated market");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_venues_are_published_by_one_process_and_one_that_dies_harms_no_other() {
    let names = ["binance", "kraken", "bitstamp"];
    let mut venues: Vec<_> = names.iter().map(|name| venue(name, &[])).collect();
    let nats = nats();
    let bus = nats.url();
    let settings: Vec<_> = names
        .iter()
        .zip(&venues)
        .flat_map(|(name, (_, streams, rest))| {
            [format!("ingest.{name}.stream_url={streams}"), format!("ingest.{name}.rest_url={rest}")]
        })
        .collect();
    let mut arguments = vec!["ingest", "venues", "--bus", &bus, "--json"];
    arguments.extend(names);
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut ingester = Program::start(TICKWIRE, &arguments);
    let gateway = Gateway::start(&bus).await;
    let feeds = async || {
        let (_, body) = gateway.get("/readyz").await.unwrap_or_default();
        let page: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        names.map(|name| page["feeds"][name].as_str().unwrap_or_default().to_owned())
    };
    assert!(until(async || feeds().await == ["live"; 3]).await, "{:?}\n{}", feeds().await, ingester.output());
    venues.remove(1).0.kill();
    let is_lost = async || feeds().await.map(|state| state == "live") == [true, false, true];
    assert!(until(is_lost).await, "{:?}\n{}", feeds().await, ingester.output());
    let url = gateway.url();
    for symbol in ["binance:BTCUSDT", "bitstamp:BTCUSD"] {
        let seen =
            watch(&url, Encoding::Proto, symbol, |seen| seen.trades.len() > 20 && seen.book_live).await;
        assert!(seen.is_feed_live && seen.all_gaps.is_empty(), "{symbol}: {:?}", seen.all_gaps);
    }
    ingester.terminate();
    assert!(ingester.ended().success(), "{}", ingester.output());
    for name in names {
        let line = ingester.line_with(&format!("\"venue\":\"{name}\""));
        let report: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert!(report["records"].as_u64() > Some(20), "{line}");
    }
}

#[test]
fn a_venue_that_is_named_twice_is_refused() {
    let mut ingester = Program::start(TICKWIRE, &["ingest", "venues", "kraken", "okx", "kraken"]);
    assert_eq!(ingester.ended().code(), Some(2));
    assert!(ingester.output().contains("kraken is named twice: leave one out"), "{}", ingester.output());
}
