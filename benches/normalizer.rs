//! The normalizer: text of Binance becomes events. One iteration is 1000 messages; each is an element. The work that a
//! reader of a recording does before (splitting lines, receive times) is not in it.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use tickwire_benches::criterion;
use tickwire_feed::adapter::FeedEvent;
use tickwire_feed::binance::{Market, Normalizer};
use tickwire_wire::Instrument;

const MESSAGES: u64 = 1000;
const RECEIVED: u64 = 1_700_000_000_123_456_789;

fn trade(id: u64) -> String {
    format!(
        r#"{{"stream":"btcusdt@trade","data":{{"e":"trade","E":1700000000200,"s":"BTCUSDT","t":{id},"p":"61837.64000000","q":"0.01250000","T":1700000000199,"m":false,"M":true}}}}"#
    )
}

fn ticker(id: u64) -> String {
    let size = id % 100_000;
    format!(
        r#"{{"stream":"btcusdt@bookTicker","data":{{"u":{id},"s":"BTCUSDT","b":"61837.63000000","B":"1.{size:05}000","a":"61837.64000000","A":"0.98765000"}}}}"#
    )
}

/// Makes a change of five levels a side, as they come ten times a second.
fn depth(id: u64) -> String {
    let side = |sign: i64| {
        let level = |at: i64| {
            format!(
                r#"["{}.{:02}000000","{}.50000000"]"#,
                61_837 + sign * (1 + at),
                at * 7,
                (id as i64 + at) % 9
            )
        };
        (0..5).map(level).collect::<Vec<_>>().join(",")
    };
    format!(
        r#"{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":1700000000300,"s":"BTCUSDT","U":{id},"u":{id},"b":[{}],"a":[{}]}}}}"#,
        side(-1),
        side(1)
    )
}

const SNAPSHOT: &str =
    r#"{"lastUpdateId":10,"bids":[["61837.63","1.00000"]],"asks":[["61837.64","3.00000"]]}"#;

/// Makes a normalizer whose book is in step up to update 10.
fn normalizer() -> Normalizer {
    let definition = Instrument {
        symbol: "BTCUSDT".to_owned(),
        price_decimals: 2,
        size_decimals: 5,
        ..Instrument::default()
    };
    let mut normalizer = Normalizer::new(Market::Spot, &[definition]);
    let mut events = Vec::new();
    let taken = normalizer.message(RECEIVED, SNAPSHOT, Some("BTCUSDT"), &mut events);
    assert!(taken.is_ok() && events.len() == 1);
    normalizer
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("normalize");
    let kinds = [("trade", trade as fn(u64) -> String), ("bookTicker", ticker), ("depth_5+5", depth)];
    for (name, message) in kinds {
        let messages: Vec<_> = (11..11 + MESSAGES).map(message).collect();
        let bytes = messages.iter().map(String::len).sum::<usize>() as u64;
        let (mut state, mut events) = (normalizer(), Vec::new());
        for message in &messages {
            assert!(state.message(RECEIVED, message, None, &mut events).is_ok());
        }
        let markets = events.iter().filter(|event| matches!(event, FeedEvent::Market(_))).count();
        assert_eq!(markets, messages.len(), "each message is one event");
        group.throughput(Throughput::ElementsAndBytes { elements: MESSAGES, bytes });
        group.bench_function(name, |b| {
            b.iter_batched_ref(
                normalizer,
                |state| {
                    for message in &messages {
                        events.clear();
                        let _ = black_box(state.message(RECEIVED, black_box(message), None, &mut events));
                    }
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    benches(&mut criterion);
    criterion.final_summary();
}
