//! Prints how much one thread can simulate, replay and publish: `cargo run --release -p tickwire-feed --example
//! throughput`. With `TICKWIRE_DATA` set it replays the recordings there. The bus is in memory and nobody listens, so
//! this is the cost of the feed alone.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tickwire_bus::{MemoryBus, MemoryLimits};
use tickwire_feed::adapter::Adapter;
use tickwire_feed::binance::Market;
use tickwire_feed::replay::{Passes, Replay, ReplayConfig, Times};
use tickwire_feed::sim::{Sim, SimAdapter, SimConfig};
use tickwire_feed::{AtEnd, Clock, IngestConfig, Ingester, Pace};
use tokio_util::sync::CancellationToken;

const STEPS: u64 = 2_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    for instruments in [24, 5_000] {
        let config = SimConfig { instruments, ..SimConfig::default() };
        let mut sim = Sim::new(config.clone())?;
        let (began, mut events, mut count) = (Instant::now(), Vec::new(), 0);
        for _ in 0..STEPS {
            sim.next_event(&mut events);
            count += events.len();
            events.clear();
        }
        print_rate(&format!("sim, {instruments} instruments, events"), count as u64, began);
        let adapter = SimAdapter::new(Sim::new(config)?, Pace::FlatOut, Clock::system()).with_steps(STEPS);
        ingest(&format!("sim, {instruments} instruments, published records"), adapter).await?;
    }
    let Some(data) = std::env::var_os("TICKWIRE_DATA").map(PathBuf::from) else { return Ok(()) };
    for (market, file) in [
        (Market::Spot, "binance/spot/btcusdt_20240808.gz"),
        (Market::Usdm, "binance/usdm/btcusdt_20240808.gz"),
    ] {
        let config = ReplayConfig {
            market: Some(market),
            files: vec![data.join(file)],
            pace: Pace::FlatOut,
            passes: Passes::Once,
            times: Times::Recorded,
            clock: Clock::system(),
        };
        let began = Instant::now();
        let replay = Replay::open(config)?;
        print_rate(&format!("{file}, lines scanned"), replay.progress().get().lines_total, began);
        ingest(&format!("{file}, published records"), replay).await?;
    }
    Ok(())
}

async fn ingest(what: &str, adapter: impl Adapter) -> Result<(), Box<dyn Error>> {
    let bus = Arc::new(MemoryBus::new(MemoryLimits::default()));
    let config = IngestConfig { at_end: AtEnd::Stop, ..IngestConfig::default() };
    let began = Instant::now();
    let summary = Ingester::new(config, adapter, bus).run(CancellationToken::new()).await?;
    let tally = summary.report.tally;
    print_rate(what, tally.records, began);
    println!("    {} messages, {} bytes a record", tally.messages, tally.bytes / tally.records.max(1));
    Ok(())
}

fn print_rate(what: &str, count: u64, began: Instant) {
    let seconds = began.elapsed().as_secs_f64();
    println!("{what}: {count} in {seconds:.2} s, {:.0} a second", count as f64 / seconds);
}
