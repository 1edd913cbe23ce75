//! Quotes at a fixed rate, in turn over all symbols, each stamped with the time when it was made.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tickwire_bus::Backplane;
use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent, SourceState};
use tickwire_feed::{IngestConfig, Ingester};
use tickwire_wire::{Instrument, Level, Quote, Trade};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{Plan, usage};

struct Paced {
    defined: usize,
    symbols: usize,
    events: mpsc::Receiver<Vec<FeedEvent>>,
}

impl Adapter for Paced {
    fn venue(&self) -> &'static str {
        "sim"
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        if self.defined < self.symbols {
            let symbol = format!("S{}", self.defined);
            let definition = Instrument { symbol, price_decimals: 2, tick_size: 1, ..Instrument::default() };
            events.push(FeedEvent::Define { index: self.defined as u32, definition });
            self.defined += 1;
            if self.defined == self.symbols {
                events.push(FeedEvent::Source(SourceState::Live));
            }
            return Ok(Flow::More);
        }
        match self.events.recv().await {
            Some(more) => events.extend(more),
            None => std::future::pending().await,
        }
        Ok(Flow::More)
    }
}

/// Starts it on threads of its own, away from the gateway's core.
pub(crate) fn start(plan: &Plan, bus: Arc<dyn Backplane>) {
    let (send, events) = mpsc::channel(1024);
    let adapter = Paced { defined: 0, symbols: plan.symbols, events };
    let plan = plan.clone();
    let ingest = move || {
        usage::pin(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let ingester = Ingester::new(IngestConfig::default(), adapter, bus);
        runtime.block_on(ingester.run(CancellationToken::new())).expect("an ingester");
    };
    std::thread::Builder::new().name("ingest".into()).spawn(ingest).expect("a thread");
    std::thread::Builder::new().name("source".into()).spawn(move || pace(&plan, &send)).expect("a thread");
}

fn pace(plan: &Plan, send: &mpsc::Sender<Vec<FeedEvent>>) {
    usage::pin(1);
    if plan.rate <= 0.0 {
        std::thread::park();
    }
    let start = Instant::now();
    let mut made = 0_u64;
    loop {
        let due = (start.elapsed().as_secs_f64() * plan.rate) as u64;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let events: Vec<_> = (made..due).map(|number| event(plan, number, time)).collect();
        made = due;
        if !events.is_empty() && send.blocking_send(events).is_err() {
            return;
        }
        let next = Duration::from_secs_f64((made + 1) as f64 / plan.rate);
        std::thread::sleep(next.saturating_sub(start.elapsed()).max(Duration::from_micros(100)));
    }
}

fn event(plan: &Plan, number: u64, time: u64) -> FeedEvent {
    let price = 6_183_763 + (number % 100) as i64;
    let body = if plan.channel == "trade" {
        MarketBody::Trade(Trade {
            price,
            size: 1 + number % 1000,
            id: 3_141_592_653 + number,
            ..Trade::default()
        })
    } else {
        let bid = Level { price, size: 150_000 };
        MarketBody::Quote(Quote { bid: Some(bid), ask: Some(Level { price: price + 1, size: 98_765 }) })
    };
    let index = (number % plan.symbols as u64) as u32;
    FeedEvent::Market(MarketEvent { index, event_time: time, receive_time: time, body })
}
