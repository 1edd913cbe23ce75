//! Quotes or trades at a fixed rate, in turn over all symbols, each stamped with the time when it is due.

use std::sync::Arc;
use std::time::Duration;

use tickwire_bus::Backplane;
use tickwire_feed::open_loop::{self, OpenLoop, Orders, Step};
use tickwire_feed::{IngestConfig, Ingester};
use tokio_util::sync::CancellationToken;

use crate::{Plan, usage};

/// Starts it on a thread of its own, away from the gateway's core.
pub(crate) fn start(plan: &Plan, bus: Arc<dyn Backplane>) {
    let trades = if plan.channel == "trade" { 1.0 } else { 0.0 };
    let rates = vec![Step { lasting: Duration::ZERO, rate: plan.rate }];
    let (tick, skew, seed) = (Duration::ZERO, 0.0, 1);
    let plan = open_loop::Plan { venue: "sim", symbols: plan.symbols, rates, tick, trades, skew, seed };
    let ingest = move || {
        usage::pin(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ingested = runtime.block_on(async {
            let (_orders, ordered) = tokio::sync::watch::channel(Orders::default());
            let adapter = OpenLoop::new(&plan, ordered, |_, _| {});
            Ingester::new(IngestConfig::default(), adapter, bus).run(CancellationToken::new()).await
        });
        ingested.expect("an ingester");
    };
    std::thread::Builder::new().name("source".into()).spawn(ingest).expect("a thread");
}
