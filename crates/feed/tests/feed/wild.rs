//! Recordings with anything in them: nothing panics, what plays makes sense, and each line is played or named.

use std::io::Write as _;

use proptest::prelude::*;
use tickwire_feed::adapter::{Adapter, FeedEvent, Flow, Levels, MarketBody, MarketEvent};
use tickwire_feed::replay::{Passes, Replay, ReplayConfig, Times};
use tickwire_feed::{Clock, Pace};

const LINES: [&str; 7] = [
    r#"1700000001500000000 {"stream":"ab@trade","data":{"e":"trade","E":1700000001500,"s":"AB","t":7,"p":"1.5","q":"1","T":1700000001500,"m":true}}"#,
    r#"1700000001500 {"u":6,"s":"AB","b":"1.2","B":"0.1","a":"1.3","A":"2"}"#,
    r#"1700000001.5 {"e":"depthUpdate","E":1700000001500,"s":"AB","U":11,"u":12,"b":[["1.1","2"],["1.0","0"]],"a":[]}"#,
    r#"1700000002500000 {"lastUpdateId":10,"bids":[["1.0","1"],["1.0","3"]],"asks":[["1.3","1"],["1.4","0"]]}"#,
    r#"1700000001500 [{"e":"aggTrade","s":"XY","a":1,"p":1e-8,"q":"1","f":1,"T":null}]"#,
    r#"1700000001500 {"symbols":[{"symbol":"AB","status":"BREAK","filters":[{"filterType":"LOT_SIZE","stepSize":1e-5}]}]}"#,
    r#"1700000001500 {"result":null,"id":1}"#,
];

/// The texts by which a number or a text may be replaced.
const WILD: [&str; 16] = [
    "",
    "0",
    "-1",
    "1e999999999",
    "18446744073709551615",
    "\"",
    "\\u0000",
    "null",
    "[]",
    "{",
    "]",
    "1.5",
    " ",
    "\n",
    "0.30000000000000004",
    "9223372036854775808",
];

fn check_levels(levels: &Levels, is_snapshot: bool) {
    assert!(levels.bids.is_sorted_by(|a, b| a.price > b.price), "{levels:?}");
    assert!(levels.asks.is_sorted_by(|a, b| a.price < b.price), "{levels:?}");
    let has_empty = levels.bids.iter().chain(&levels.asks).any(|level| level.size == 0);
    assert!(!(is_snapshot && has_empty), "{levels:?}");
}

fn check(event: &FeedEvent, lines: u64) {
    match event {
        FeedEvent::Market(MarketEvent { event_time, receive_time, body, .. }) => {
            for time in [event_time, receive_time] {
                assert!((1_000_000_000_000_000_000..4_100_000_000_000_000_000).contains(time), "{event:?}");
            }
            match body {
                MarketBody::BookSnapshot(levels) => check_levels(levels, true),
                MarketBody::BookDelta(levels) => check_levels(levels, false),
                MarketBody::Trade(trade) => assert!(trade.size > 0),
                _ => {}
            }
        }
        FeedEvent::Fault(fault) => {
            assert!((1..=lines + 1).contains(&fault.line) && !fault.reason.is_empty(), "{fault:?}");
        }
        _ => {}
    }
}

/// Plays to the end, if it can be opened.
async fn play(bytes: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
    let config = ReplayConfig {
        market: None,
        files: vec![file.path().to_owned()],
        pace: Pace::FlatOut,
        passes: Passes::Once,
        times: Times::Recorded,
        clock: Clock::system(),
    };
    let Ok(mut replay) = Replay::open(config) else { return };
    let progress = replay.progress();
    let mut events = Vec::new();
    while replay.next(&mut events).await.unwrap() == Flow::More {
        events.drain(..).for_each(|event| check(&event, lines));
    }
    let at = progress.get();
    assert_eq!(at.lines, at.lines_total, "a line was neither played nor named");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn whatever_stands_in_a_recording_is_played_or_named(
        chosen in prop::collection::vec((0..LINES.len(), any::<prop::sample::Index>(), 0usize..12, 0..WILD.len() * 3), 1..60),
    ) {
        let mut text = Vec::new();
        for (line, at, length, wild) in chosen {
            let mut line = LINES[line].as_bytes().to_vec();
            if let Some(wild) = WILD.get(wild) {
                let from = at.index(line.len());
                let to = (from + length).min(line.len());
                line.splice(from..to, wild.bytes());
            }
            text.extend(line);
            text.push(b'\n');
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(play(&text));
    }
}
