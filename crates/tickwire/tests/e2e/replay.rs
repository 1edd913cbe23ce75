//! A recorded day-part through NATS and two gateways to clients in every encoding.

use tickwire_client::wire::{Encoding, FeedState};
use tickwire_testkit::Program;

use crate::raw::read_spot;
use crate::watcher::{Seen, assert_equals, watch};
use crate::world::{Gateway, TICKWIRE, nats, recording};

/// The source was live and is not any more: everything before that was told.
pub(crate) fn is_over(seen: &Seen) -> bool {
    seen.epoch > 0
        && seen.feed_states.contains(&FeedState::Live)
        && seen.feed_states.last().is_some_and(|state| *state != FeedState::Live)
        && !seen.trades.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_ends_with_the_recordings_book_and_trades() {
    let Some(file) = recording("binance/spot/btcusdt_20240808.gz") else { return };
    let raw = read_spot(&file);
    assert_eq!(raw.trades.len(), 9757, "the recording's own count");
    let nats = nats();
    let gateways = [Gateway::start(&nats.url()).await, Gateway::start(&nats.url()).await];
    let mut watchers = Vec::new();
    for gateway in &gateways {
        for encoding in Encoding::ALL {
            let url = gateway.url();
            watchers.push(tokio::spawn(
                async move { watch(&url, encoding, "binance:BTCUSDT", is_over).await },
            ));
        }
    }
    let file = file.to_str().unwrap();
    for bus_encoding in ["msgpack"] {
        let arguments =
            ["ingest", "replay", file, "--speed", "30", "--bus", &nats.url(), "--encoding", bus_encoding, "--json"];
        let mut ingester = Program::start(TICKWIRE, &arguments);
        assert!(ingester.ended().success(), "{}", ingester.output());
        let report: serde_json::Value = serde_json::from_str(&ingester.line_with("\"records\"")).unwrap();
        assert_eq!(report["channels"]["trade"], 9757);
        assert_eq!(report["upstream_gaps"], 0);
        assert_eq!(report["refused_messages"], 0);
    }
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
