//! Each part of the path killed and brought back in the middle of a stream. What must hold: clients come back to the
//! right book within seconds, and every trade that they did not get is announced.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tickwire_client::wire::{Encoding, FeedState};
use tickwire_testkit::{NatsServer, Program};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::raw::{Raw, read_spot};
use crate::replay::is_over;
use crate::watcher::{Seen, assert_equals, has_all, watch as watch_until};
use crate::world::{Gateway, TICKWIRE, nats, recording};

const SYMBOL: &str = "binance:BTCUSDT";

/// A recording on its way to two clients in two encodings, and how many trades each of them has.
struct Stream {
    nats: NatsServer,
    gateway: Gateway,
    ingester: Program,
    file: PathBuf,
    raw: Arc<Raw>,
    watchers: Vec<JoinHandle<Seen>>,
    trades: Vec<watch::Receiver<usize>>,
}

impl Stream {
    async fn start(file: PathBuf, is_over: fn(&Seen) -> bool) -> Self {
        let nats = nats();
        let gateway = Gateway::start(&nats.url()).await;
        let mut trades = Vec::new();
        let raw = Arc::new(read_spot(&file));
        let watchers = [Encoding::Proto, Encoding::MsgPack].map(|encoding| {
            let url = gateway.url();
            let (tell, told) = watch::channel(0);
            trades.push(told);
            let raw = Arc::clone(&raw);
            let watching = async move {
                let done = |seen: &Seen| {
                    tell.send_replace(seen.trades.len());
                    is_over(seen) && has_all(seen, &raw)
                };
                watch_until(&url, encoding, SYMBOL, done).await
            };
            tokio::spawn(watching)
        });
        let ingester = ingest(&file, &nats);
        Self { nats, gateway, ingester, file, raw, watchers: watchers.into(), trades }
    }

    /// Waits until every client has so many trades.
    async fn has_trades(&mut self, count: usize) {
        for trades in &mut self.trades {
            let enough = trades.wait_for(|trades| *trades >= count);
            let waited = tokio::time::timeout(std::time::Duration::from_secs(60), enough).await;
            assert!(waited.is_ok_and(|enough| enough.is_ok()), "no {count} trades came");
        }
    }

    async fn finish(self) -> Vec<Seen> {
        let mut all = Vec::new();
        for watcher in self.watchers {
            let seen = watcher.await.unwrap();
            let lost: u64 = seen.trade_gaps.iter().filter_map(|gap| Some(gap.last? + 1 - gap.first)).sum();
            println!(
                "{} trades, {lost} announced as lost in {} gaps, {} connections, books broken {} times",
                seen.trades.len(),
                seen.all_gaps.len(),
                seen.connections,
                seen.books_broken
            );
            assert_equals(&seen, &self.raw);
            all.push(seen);
        }
        all
    }
}

fn ingest(file: &Path, nats: &NatsServer) -> Program {
    Program::start(
        TICKWIRE,
        &["ingest", "replay", file.to_str().unwrap(), "--speed", "30", "--bus", &nats.url(), "--json"],
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_killed_and_restarted() {
    let Some(file) = recording("binance/spot/btcusdt_20240808.gz") else { return };
    let mut stream = Stream::start(file, is_over).await;
    stream.has_trades(1000).await;
    stream.nats.stop();
    let gateway = &stream.gateway;
    let noticed = crate::world::until(|| async {
        gateway
            .get("/readyz")
            .await
            .is_some_and(|(status, body)| status == 503 && body.contains("\"sim\"") || body.contains("down"))
    });
    assert!(noticed.await, "the outage does not show in /readyz");
    stream.nats.restart();
    stream.gateway.is_ready().await;
    assert!(stream.ingester.ended().success(), "{}", stream.ingester.output());
    for seen in stream.finish().await {
        assert_eq!(seen.connections, 1, "a bus outage must not cost sessions: {:?}", seen.ends);
        assert!(!seen.trade_gaps.is_empty(), "an outage of the bus loses trades, and says so");
        assert!(
            seen.feed_states.contains(&FeedState::Down),
            "prices were dead meanwhile: {:?}",
            seen.feed_states
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateway_killed_and_restarted() {
    let Some(file) = recording("binance/spot/btcusdt_20240808.gz") else { return };
    let mut stream = Stream::start(file, is_over).await;
    stream.has_trades(1000).await;
    stream.gateway.crash_and_restart().await;
    assert!(stream.ingester.ended().success(), "{}", stream.ingester.output());
    for seen in stream.finish().await {
        assert!(seen.connections >= 2, "{}", seen.connections);
    }
}

/// Returns whether [`is_over`] holds for the second ingester: its sequence is another one.
fn second_is_over(seen: &Seen) -> bool {
    seen.epochs.len() >= 2 && is_over(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingester_killed_and_restarted() {
    let Some(file) = recording("binance/spot/btcusdt_20240808.gz") else { return };
    let mut stream = Stream::start(file, second_is_over).await;
    stream.has_trades(1000).await;
    stream.ingester.kill();
    let gateway = &stream.gateway;
    let noticed = crate::world::until(|| async {
        gateway.get("/readyz").await.is_some_and(|(_, body)| body.contains("down"))
    });
    assert!(noticed.await, "a dead ingester does not show in /readyz");
    stream.ingester = ingest(&stream.file, &stream.nats);
    assert!(stream.ingester.ended().success(), "{}", stream.ingester.output());
    for seen in stream.finish().await {
        assert_eq!(seen.connections, 1, "an ingester's death must not cost sessions: {:?}", seen.ends);
        assert!(seen.all_gaps.iter().any(|gap| gap.last.is_none()), "the new sequence was not announced");
        assert!(
            seen.feed_states.contains(&FeedState::Down),
            "prices were dead meanwhile: {:?}",
            seen.feed_states
        );
    }
}
