//! Deterministic simulation of the whole path: a real ingester, a bus that fails, two gateways of real hubs and engines,
//! sockets and strict clients, in one thread, by one seed, in virtual time.
//!
//! `TICKWIRE_SIM_SEED=N cargo test -p tickwire-sim seeds` runs one seed and prints the end of its trace when it
//! fails. `TICKWIRE_SIM_SEEDS=N` says how many seeds a run takes, `TICKWIRE_SIM_FIRST=N` where it begins.

#![allow(clippy::print_stdout, clippy::print_stderr)] // What was run, and how to run it again.

mod client;
mod faults;
mod frames;
mod gateway;
mod gateways;
mod known;
mod market;
mod oracle;
mod pipe;
mod readers;
mod rng;
mod truth;
mod tuning;
mod view;
mod world;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use tickwire_wire::InstrumentNumbers;

use world::World;

/// The epoch, and a sequence number in it.
type Position = (u64, u64);

const MS: u64 = 1_000_000;
const START_NS: u64 = 1_700_000_000_000 * MS;
const VENUE: &str = "sim";
/// The silence after which a feed is down, as the gateway's configuration has it.
const FEED_DOWN_MS: u64 = 1_250;

/// The number of lines of the trace that are kept.
const TRACE_MAX: usize = 200;

thread_local! {
    static TRACE: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// The most instruments of the market.
const SYMBOLS_MAX: usize = 6;

/// Returns an instrument's name, by its number in the market. Each second one would have the number of the one before
/// at an ingester, so that what ingesters call their instruments depends on which they know first.
fn symbol(at: usize) -> String {
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let number = |symbol: &str| InstrumentNumbers::default().take(&format!("{VENUE}:{symbol}"));
        let mut names: Vec<String> = Vec::new();
        for at in 0..SYMBOLS_MAX {
            let like = (at % 2 == 1).then(|| number(&names[at - 1]));
            let candidates = (0..).map(|n| format!("S{at}-{n}"));
            let name = candidates.into_iter().find(|name| like.is_none_or(|like| number(name) == like));
            names.extend(name);
        }
        names
    });
    NAMES.get(at).cloned().unwrap_or_else(|| format!("S{at}-0"))
}

/// Returns its number in the market, from 1.
fn id_of(symbol: &str) -> u32 {
    let (at, _) = symbol[1..].split_once('-').expect("a symbol of this market");
    at.parse::<u32>().expect("a symbol of this market") + 1
}

fn run(seed: u64, is_traced: bool) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async { World::new(seed, is_traced).run().await })
}

/// Runs a seed; on failure once more, with a trace.
fn check(seed: u64) -> World {
    let result = catch_unwind(AssertUnwindSafe(|| run(seed, false)));
    let Err(failure) = result else { return result.expect("it is no failure") };
    TRACE.with_borrow_mut(VecDeque::clear);
    let _ = catch_unwind(AssertUnwindSafe(|| run(seed, true)));
    TRACE.with_borrow(|trace| trace.iter().for_each(|line| eprintln!("{line}")));
    eprintln!("\nseed {seed} fails; once more by");
    eprintln!("    TICKWIRE_SIM_SEED={seed} cargo test -p tickwire-sim seeds\n");
    std::panic::resume_unwind(failure);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: not a number")))
}

#[test]
fn seeds() {
    if let Some(seed) = number("TICKWIRE_SIM_SEED") {
        check(seed);
        return;
    }
    let (first, count) =
        (number("TICKWIRE_SIM_FIRST").unwrap_or(0), number("TICKWIRE_SIM_SEEDS").unwrap_or(60));
    let mut steps = 0;
    let mut total = client::Counts::default();
    let (mut judged, mut prompt, mut stale) = (0, 0, 0);
    for seed in first..first + count {
        let world = check(seed);
        steps += world.steps;
        prompt += world.prompt_records;
        stale += world.stale_checks;
        judged +=
            world.gateways.iter().flatten().flat_map(|g| &g.shards).map(|s| s.known.judged).sum::<u64>();
        for own in &world.clients {
            total.add(own.counts);
        }
    }
    println!(
        "{count} seeds from {first}: {steps} steps, {judged} judged, {prompt} prompt, {stale} stale checks"
    );
    println!("{total:?}");
    assert!(total.records > 0 && total.gaps > 0 && total.ledgers > 0 && total.resumes > 0 && total.ended > 0);
    assert!(total.late > 0 && total.waited > 0 && total.shallow > 0);
    assert!(judged > 0 && prompt > 0 && stale > 0);
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..10 {
        let (once, again) = (run(seed, false), run(seed, false));
        assert_eq!((once.digest, once.steps), (again.digest, again.steps), "seed {seed}");
    }
}
