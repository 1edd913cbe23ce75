//! Prints how long the source of an ingester waits while four gateways request 5,000 topics each, all at once: `cargo
//! run --release -p tickwire-feed --example requests`. The bus is in memory.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use prost::Message as _;
use tickwire_bus::{Backplane, MemoryBus, MemoryLimits, Subject};
use tickwire_feed::adapter::{Adapter, AdapterError, FeedEvent, Flow, MarketBody, MarketEvent};
use tickwire_feed::{IngestConfig, Ingester, TOPICS_PER_REQUEST_MAX};
use tickwire_wire::{Channel, Instrument, Level, Quote, pb};
use tokio_util::sync::CancellationToken;

const GATEWAYS: usize = 4;
const TOPICS: u32 = 5_000;
const EPOCH: u64 = 1;

/// The waits between two readings of the source.
#[derive(Default)]
struct Waits {
    /// Whether the gateways are sending requests.
    counts: AtomicBool,
    longest_ns: AtomicU64,
    turns: AtomicU64,
}

/// A source that has a quote whenever it is read.
struct Source {
    waits: Arc<Waits>,
    /// The last reading, and whether it counted. A wait that began before the requests did does not count.
    last: Option<(Instant, bool)>,
    next: u32,
}

fn quote(index: u32) -> FeedEvent {
    let bid = Some(Level { price: i64::from(index), size: 1 });
    let body = MarketBody::Quote(Quote { bid, ask: None });
    let time = 1_800_000_000_000_000_000;
    FeedEvent::Market(MarketEvent { index, event_time: time, receive_time: time, body })
}

impl Adapter for Source {
    fn venue(&self) -> &'static str {
        "sim"
    }

    async fn next(&mut self, events: &mut Vec<FeedEvent>) -> Result<Flow, AdapterError> {
        let (now, counts) = (Instant::now(), self.waits.counts.load(Ordering::Relaxed));
        match self.last.replace((now, counts)) {
            None => {
                for index in 0..TOPICS {
                    let definition = Instrument { symbol: format!("S{index}"), ..Instrument::default() };
                    events.extend([FeedEvent::Define { index, definition }, quote(index)]);
                }
            }
            Some((last, counted)) => {
                if counted && counts {
                    let wait = now.duration_since(last).as_nanos() as u64;
                    self.waits.longest_ns.fetch_max(wait, Ordering::Relaxed);
                    self.waits.turns.fetch_add(1, Ordering::Relaxed);
                }
                self.next = (self.next + 1) % TOPICS;
                events.push(quote(self.next));
            }
        }
        Ok(Flow::More)
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    let bus = MemoryBus::new(MemoryLimits::default());
    let waits = Arc::new(Waits::default());
    let source = Source { waits: Arc::clone(&waits), last: None, next: 0 };
    let config = IngestConfig { epoch: Some(EPOCH), ..IngestConfig::default() };
    let ingester = Ingester::new(config, source, Arc::new(bus.clone()));
    let (stats, shutdown) = (ingester.stats(), CancellationToken::new());
    let run = tokio::spawn(ingester.run(shutdown.clone()));
    while stats.report().instruments < TOPICS as usize {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let topic = |index: &u32| pb::Topic { channel: Channel::Quote.into(), symbol: format!("S{index}") };
    let topics: Vec<_> = (0..TOPICS).collect();
    let requests: Vec<Vec<u8>> = topics
        .chunks(TOPICS_PER_REQUEST_MAX)
        .map(|batch| pb::Snapshots { topics: batch.iter().map(topic).collect() })
        .map(|batch| {
            pb::FeedRequest { request: Some(pb::feed_request::Request::Snapshots(batch)) }.encode_to_vec()
        })
        .collect();
    let subject = Subject::request("sim", EPOCH)?;
    let all = requests.iter().cycle().take(GATEWAYS * requests.len());
    waits.counts.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let responses =
        try_join_all(all.map(|ask| bus.request(&subject, ask.clone().into(), Duration::from_secs(20))))
            .await?;
    let took = began.elapsed();
    waits.counts.store(false, Ordering::Relaxed);
    let mut answered = 0;
    for response in &responses {
        answered += pb::FeedResponse::decode(response.as_ref())?.snapshots.len();
    }
    println!(
        "{answered} topics in {} responses took {took:.1?}; {} turns of the source meanwhile, the longest wait {:.2?}",
        responses.len(),
        waits.turns.load(Ordering::Relaxed),
        Duration::from_nanos(waits.longest_ns.load(Ordering::Relaxed))
    );
    shutdown.cancel();
    run.await??;
    Ok(())
}
