//! A recorded day-part through NATS and two gateways to clients in every encoding.

use tickwire_client::wire::Encoding;
use tickwire_testkit::Program;

use crate::raw::read_spot;
use crate::watcher::{Seen, assert_equals, watch};
use crate::world::{Gateway, TICKWIRE, nats, recording};

/// A hand-made recording in the format of the real ones: a snapshot, two changes, two trades, a quote.
pub(crate) const RECORDING: &str = r#"1723161253900000000 {"lastUpdateId":100,"bids":[["100.00","1.000"],["99.50","2.000"]],"asks":[["100.50","1.500"],["101.00","3.000"]]}
1723161254000000000 {"stream":"abcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161254000,"s":"ABCUSDT","U":101,"u":102,"b":[["100.00","0.500"]],"a":[]}}
1723161254050000000 {"stream":"abcusdt@trade","data":{"e":"trade","E":1723161254050,"s":"ABCUSDT","t":1,"p":"100.00","q":"0.500","T":1723161254049,"m":true,"M":true}}
1723161254100000000 {"stream":"abcusdt@bookTicker","data":{"u":103,"s":"ABCUSDT","b":"100.00","B":"0.500","a":"100.50","A":"1.500"}}
1723161254150000000 {"stream":"abcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161254150,"s":"ABCUSDT","U":103,"u":104,"b":[],"a":[["100.50","0.000"]]}}
1723161254200000000 {"stream":"abcusdt@trade","data":{"e":"trade","E":1723161254200,"s":"ABCUSDT","t":2,"p":"100.50","q":"1.500","T":1723161254199,"m":false,"M":true}}
"#;

/// The ingester said that it is done: everything before that was told.
pub(crate) fn is_over(seen: &Seen) -> bool {
    seen.is_stopped && !seen.trades.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_ends_with_the_recordings_book_and_trades() {
    let Some(file) = recording("binance/spot/btcusdt_20240808.gz") else { return };
    let raw = read_spot(&file);
    assert_eq!(raw.trades.len(), 9757, "the recording's own count");
    let nats = nats();
    let sharded = Gateway::start_with(&nats.url(), &["--set", "gateway.shards=3"]).await;
    let gateways = [Gateway::start(&nats.url()).await, sharded];
    let mut watchers = Vec::new();
    for gateway in &gateways {
        for encoding in Encoding::ALL {
            let url = gateway.url();
            watchers
                .push(tokio::spawn(async move { watch(&url, encoding, "binance:BTCUSDT", is_over).await }));
        }
    }
    // Another venue beside it, whose records travel in the other encoding.
    let sim = Program::start(TICKWIRE, &["ingest", "sim", "--bus", &nats.url(), "--encoding", "proto"]);
    let url = gateways[0].url();
    let beside = tokio::spawn(async move {
        watch(&url, Encoding::MsgPack, "sim:BTC-USD", |seen| seen.trades.len() >= 100 && seen.book_live).await
    });
    let file = file.to_str().unwrap();
    let arguments =
        ["ingest", "replay", file, "--speed", "30", "--bus", &nats.url(), "--encoding", "msgpack", "--json"];
    let mut ingester = Program::start(TICKWIRE, &arguments);
    assert!(ingester.ended().success(), "{}", ingester.output());
    let report: serde_json::Value = serde_json::from_str(&ingester.line_with("\"records\"")).unwrap();
    assert_eq!(report["channels"]["trade"], 9757);
    assert_eq!(report["upstream_gaps"], 0);
    assert_eq!(report["refused_messages"], 0);
    let beside = beside.await.unwrap();
    beside.assert_contiguous();
    assert_eq!(beside.all_gaps, [], "{}", sim.output());
    for watcher in watchers {
        let seen = watcher.await.unwrap();
        println!(
            "{} trades from number {}, {} quotes, {} + {} levels, {} gaps",
            seen.trades.len(),
            seen.trades_before + 1,
            seen.quote_numbers.len(),
            seen.bids.len(),
            seen.asks.len(),
            seen.all_gaps.len()
        );
        assert_equals(&seen, &raw);
        assert_eq!(seen.all_gaps, []);
        assert_eq!(seen.trades_before + seen.trades.len() as u64, 9757);
        assert_eq!(seen.books_broken, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_recording_arrives_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("abcusdt.txt");
    // Repeated at later times, so that clients are there before the end.
    let again = |at: u64| {
        RECORDING.lines().map(move |line| {
            let (time, json) = line.split_once(' ').unwrap();
            let json = json.replace("\"t\":1,", &format!("\"t\":{},", 2 * at + 1));
            let json = json.replace("\"t\":2,", &format!("\"t\":{},", 2 * at + 2));
            let time = time.parse::<u64>().unwrap() + at * 1_000_000_000;
            let is_book = json.contains("depth") || json.contains("lastUpdateId");
            (!is_book || at == 0).then(|| format!("{time} {json}\n"))
        })
    };
    let text: String = (0..8).flat_map(again).flatten().collect();
    std::fs::write(&file, text).unwrap();
    let raw = read_spot(&file);
    assert_eq!((raw.trades.len(), raw.bids.len(), raw.asks.len()), (16, 2, 1));
    let nats = nats();
    let gateway = Gateway::start(&nats.url()).await;
    let url = gateway.url();
    let watcher = tokio::spawn(async move { watch(&url, Encoding::Json, "binance:ABCUSDT", is_over).await });
    let arguments = ["ingest", "replay", file.to_str().unwrap(), "--bus", &nats.url()];
    let mut ingester = Program::start(TICKWIRE, &arguments);
    assert!(ingester.ended().success(), "{}", ingester.output());
    let seen = watcher.await.unwrap();
    assert_equals(&seen, &raw);
    assert!(seen.trades.len() >= 4, "{seen:#?}");
}
