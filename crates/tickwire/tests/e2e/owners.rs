//! Several ingesters of one venue, at once and one after another, and books that are larger than a message of the bus: what
//! comes is of the symbol that it says, and each end is told in words.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tickwire_client::wire::Encoding;
use tickwire_testkit::{NatsServer, NatsServerConfig, Program};

use crate::raw::read_spot;
use crate::replay::is_over;
use crate::watcher::{assert_equals, watch};
use crate::world::{Gateway, TICKWIRE, nats, until};

const START_MS: u64 = 1_700_000_000_000;
/// The rounds of 100 ms: two minutes, which is longer than any of these tests waits.
const ROUNDS: u64 = 1_200;

/// The prices of a symbol are within ten units above this.
fn base(symbol: &str) -> u64 {
    match symbol {
        "AAUSDT" => 10,
        "SHUSDT" => 1_000,
        "BBUSDT" => 9_000,
        "CCUSDT" => 50_000,
        other => panic!("{other} was never published"),
    }
}

/// Writes a recording of two minutes of trades and quotes of these symbols, each ten times a second.
fn market(folder: &Path, name: &str, symbols: &[&str]) -> PathBuf {
    let mut text = String::new();
    for round in 0..ROUNDS {
        for symbol in symbols {
            let (time, id) = (START_MS + round * 100, round + 1);
            let (low, price) = (symbol.to_lowercase(), base(symbol) + round % 9);
            let _ = writeln!(
                text,
                r#"{time}000000 {{"stream":"{low}@trade","data":{{"e":"trade","E":{time},"s":"{symbol}","t":{id},"p":"{price}.00","q":"1.0","T":{time},"m":true,"M":true}}}}"#
            );
            let _ = writeln!(
                text,
                r#"{time}000000 {{"stream":"{low}@bookTicker","data":{{"u":{id},"s":"{symbol}","b":"{price}.00","B":"1.0","a":"{price}.50","A":"2.0"}}}}"#
            );
        }
    }
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn ingest(file: &Path, bus: &str) -> Program {
    Program::start(TICKWIRE, &["ingest", "replay", file.to_str().unwrap(), "--bus", bus])
}

/// Returns what `tap` printed up to now, of complete lines.
fn lines(tap: &Program) -> Vec<Value> {
    tap.output().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn is(line: &Value, kind: &str, symbol: &str) -> bool {
    line["type"] == kind && line["symbol"] == format!("binance:{symbol}")
}

/// Returns where in the lines it is said that a subscription ended or that records are missing.
fn breaks(lines: &[Value], channel: &str, symbol: &str) -> Vec<usize> {
    let is_it =
        |line: &Value| (is(line, "ended", symbol) || is(line, "gap", symbol)) && line["channel"] == channel;
    (0..lines.len()).filter(|at| is_it(&lines[*at])).collect()
}

/// Each price is one of its symbol. Returns the symbols that had one.
#[track_caller]
fn assert_attributed(lines: &[Value]) -> BTreeSet<String> {
    let mut symbols = BTreeSet::new();
    for line in lines.iter().filter(|line| line["type"] == "trade" || line["type"] == "quote") {
        let symbol = line["symbol"].as_str().unwrap().strip_prefix("binance:").unwrap();
        let price = if line["type"] == "trade" { &line["price"] } else { &line["bid_price"] };
        let price: f64 = price.as_str().unwrap_or_else(|| panic!("{line}")).parse().unwrap();
        let base = base(symbol) as f64;
        assert!((base..base + 10.0).contains(&price), "a price of another symbol: {line}");
        symbols.insert(symbol.to_owned());
    }
    symbols
}

/// Runs one ingester, then another with other symbols of the same venue, which takes over when the first one is killed.
async fn taken_over(first: &[&str], second: &[&str], overlap: bool) {
    let folder = tempfile::tempdir().unwrap();
    let files = [market(folder.path(), "first.txt", first), market(folder.path(), "second.txt", second)];
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let mut owner = ingest(&files[0], &nats.url());
    let live = || async { gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""live""#)) };
    assert!(until(live).await, "{}", owner.output());
    let arguments =
        ["tap", "--wait", "--url", &gateway.url(), "--json", "--channel", "trade,quote", "binance:*"];
    let tap = Program::start(TICKWIRE, &arguments);
    let has = |count: usize, kind: &'static str, symbol: &str, from: usize| {
        lines(&tap).iter().skip(from).filter(|line| is(line, kind, symbol)).count() >= count
    };
    let all_first = || async { first.iter().all(|symbol| has(5, "trade", symbol, 0)) };
    assert!(until(all_first).await, "{}", tap.output());

    let mut other = None;
    if overlap {
        let rival = other.insert(ingest(&files[1], &nats.url()));
        let contested = || async {
            let (_, body) = gateway.get("/readyz").await.unwrap();
            let body: Value = serde_json::from_str(&body).unwrap();
            body["contested"]["binance"]["others"] == 1
        };
        assert!(until(contested).await, "{:?}\n{}", gateway.get("/readyz").await, rival.output());
        let from = lines(&tap).len();
        let goes_on = || async { first.iter().all(|symbol| has(5, "trade", symbol, from)) };
        assert!(until(goes_on).await, "the followed one is disturbed: {}", tap.output());
        let seen = assert_attributed(&lines(&tap));
        assert_eq!(
            seen,
            first.iter().map(|symbol| (*symbol).to_owned()).collect(),
            "of the followed one only"
        );
    }
    let before = lines(&tap).len();
    owner.kill();
    let _other = other.unwrap_or_else(|| ingest(&files[1], &nats.url()));
    let over: Vec<_> = first.iter().filter(|symbol| !second.contains(symbol)).collect();
    let came = || async {
        second.iter().all(|symbol| has(5, "trade", symbol, before) && has(5, "quote", symbol, before))
            && over.iter().all(|symbol| has(2, "ended", symbol, before))
    };
    assert!(until(came).await, "{}\n{}", tap.output(), gateway.program.output());

    let lines = lines(&tap);
    let seen = assert_attributed(&lines);
    assert_eq!(seen, first.iter().chain(second).map(|symbol| (*symbol).to_owned()).collect());
    for channel in ["trade", "quote"] {
        for symbol in first {
            let broken = breaks(&lines, channel, symbol);
            let at =
                *broken.first().unwrap_or_else(|| panic!("{channel} of {symbol} goes on without a word"));
            assert!(at >= before, "{}", lines[at]);
            let mut later = lines[at..].iter().filter(|line| is(line, channel, symbol));
            match later.next() {
                Some(line) => assert!(second.contains(symbol), "it ended: {line}"),
                None => assert!(!second.contains(symbol), "{channel} of {symbol} never came back"),
            }
            let ended = broken.iter().any(|at| lines[*at]["type"] == "ended");
            assert_eq!(ended, !second.contains(symbol), "{channel} of {symbol}");
        }
    }
    // Trades are numbered without a hole from the grant or from a gap on.
    for symbol in first.iter().chain(second) {
        let mut last: Option<u64> = None;
        for line in &lines {
            if is(line, "gap", symbol) && line["channel"] == "trade" {
                last = line["last_sequence"].as_u64().or(Some(0)).filter(|_| last.is_some());
            } else if is(line, "trade", symbol) {
                let number = line["sequence"].as_u64().unwrap();
                assert!(last.is_none_or(|last| number == last + 1), "after {last:?}: {line}");
                last = Some(number);
            }
        }
    }
    let uncontested =
        || async { gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""contested":{}"#)) };
    assert!(until(uncontested).await, "{:?}", gateway.get("/readyz").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_with_other_symbols_of_one_venue() {
    taken_over(&["AAUSDT", "SHUSDT"], &["SHUSDT", "BBUSDT"], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_at_once_in_the_other_order() {
    taken_over(&["SHUSDT", "BBUSDT"], &["AAUSDT", "SHUSDT"], true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_rolled_back_to_fewer_and_other_symbols() {
    taken_over(&["AAUSDT", "BBUSDT", "SHUSDT"], &["CCUSDT", "SHUSDT"], false).await;
}

/// Writes a recording of a book of 800 levels, whose snapshot has several times the bytes that the bus takes in one
/// message.
fn deep_recording(folder: &Path) -> PathBuf {
    let side = |price: &dyn Fn(u64) -> u64| {
        let levels: Vec<_> = (0..400).map(|at| format!(r#"["{}.00","{}.125"]"#, price(at), at + 1)).collect();
        levels.join(",")
    };
    let (bids, asks) = (side(&|at| 5_000 - at), side(&|at| 5_001 + at));
    let mut text = format!("{START_MS}000000 {{\"lastUpdateId\":100,\"bids\":[{bids}],\"asks\":[{asks}]}}\n");
    for at in 1..=80_u64 {
        let (time, id) = (START_MS + at * 100, 100 + at);
        let _ = writeln!(
            text,
            r#"{time}000000 {{"stream":"abcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{time},"s":"ABCUSDT","U":{id},"u":{id},"b":[["{}.00","{at}.500"]],"a":[["{}.00","{at}.250"]]}}}}"#,
            5_000 - at * 3,
            5_001 + at * 2
        );
        let _ = writeln!(
            text,
            r#"{time}000000 {{"stream":"abcusdt@trade","data":{{"e":"trade","E":{time},"s":"ABCUSDT","t":{at},"p":"5000.00","q":"0.500","T":{time},"m":true,"M":true}}}}"#
        );
        let _ = writeln!(
            text,
            r#"{time}000000 {{"stream":"abcusdt@bookTicker","data":{{"u":{id},"s":"ABCUSDT","b":"5000.00","B":"1.125","a":"5001.00","A":"1.125"}}}}"#
        );
    }
    let path = folder.join("deep.txt");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_that_is_larger_than_a_message_of_the_bus_arrives_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = deep_recording(folder.path());
    let raw = read_spot(&file);
    assert_eq!((raw.bids.len(), raw.asks.len(), raw.trades.len()), (400, 400, 80));
    let text = "max_payload: 4096".to_owned();
    let nats = NatsServer::start(NatsServerConfig { text, ..NatsServerConfig::default() });
    let gateways = [Gateway::start(&nats.url()).await, Gateway::start(&nats.url()).await];
    gateways[0].program.line_with("payload_max=4");
    let start = |gateway: &Gateway, encoding| {
        let url = gateway.url();
        tokio::spawn(async move { watch(&url, encoding, "binance:ABCUSDT", is_over).await })
    };
    let early = start(&gateways[0], Encoding::Proto);
    let mut ingester = ingest(&file, &nats.url());
    let live =
        || async { gateways[1].get("/readyz").await.is_some_and(|(_, body)| body.contains(r#""live""#)) };
    assert!(until(live).await, "{}", ingester.output());
    // It asks for the state of a book that is there already.
    let late = start(&gateways[1], Encoding::MsgPack);
    assert!(ingester.ended().success(), "{}", ingester.output());
    for watcher in [early, late] {
        let seen = watcher.await.unwrap();
        assert_equals(&seen, &raw);
        assert_eq!((seen.all_gaps.len(), seen.books_broken), (0, 0), "{:?}", seen.all_gaps);
    }
}
