//! The search for the highest rate that holds: doubled until a bound breaks, then halved in between.
//!
//! A bound breaks where it does so twice in a row. One moment in which others took the processor would otherwise end a search far below
//! what holds, and each run would find another rate.

use std::time::Duration;

use tickwire_machine::now;

use super::{LOOK_PERIOD, Run, TOLD_WITHIN, begin_of, pause};
use crate::report::model::{Event, Saturation, SaturationStep};
use crate::run::watch::Watch;
use crate::scenario::Search;
use crate::serve::Told;
use crate::source::Published;
use crate::workers::WorkerPool;

/// The source has this part of the lowest rate between two steps, so that what has piled up can drain.
const REST_SHARE: f64 = 0.1;
const STEPS_MAX: usize = 60;

/// The next rate follows from what has held and what has not.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    held: f64,
    broken: f64,
    /// The rate that did not hold at its first trial.
    doubted: Option<f64>,
    to: f64,
    precision: f64,
}

impl Bracket {
    fn new(to: f64, precision: f64) -> Self {
        Self { held: 0.0, broken: f64::INFINITY, doubted: None, to, precision }
    }

    fn note(&mut self, rate: f64, holds: bool) {
        let is_second = self.doubted.take().is_some();
        if holds {
            self.held = rate;
        } else if is_second {
            self.broken = rate;
        } else {
            self.doubted = Some(rate);
        }
    }

    fn next(&self, from: f64) -> Option<f64> {
        if self.doubted.is_some() {
            return self.doubted;
        }
        if self.broken.is_infinite() {
            let next = if self.held == 0.0 { from } else { self.held * 2.0 };
            return (self.held < self.to).then_some(next.min(self.to));
        }
        let next = f64::midpoint(self.held, self.broken);
        let is_known = self.broken - self.held <= self.precision * self.broken;
        (!is_known && next >= 1.0).then_some(next)
    }
}

pub(super) async fn run(
    run: &mut Run,
    workers: &mut WorkerPool,
    search: &Search,
) -> anyhow::Result<Saturation> {
    let mut bracket = Bracket::new(search.to, search.precision);
    let mut found = Saturation::default();
    while let Some(rate) = bracket.next(search.from).filter(|_| found.steps.len() < STEPS_MAX) {
        let step = step(run, workers, search, rate).await?;
        bracket.note(rate, step.held);
        if step.held {
            found.updates_per_second = rate;
            found.deliveries_per_second = step.deliveries_per_second;
        } else {
            if bracket.doubted.is_none() {
                found.limited_by = format!("at {rate:.0} updates/s {}", step.reason);
            }
            run.tell_source(&Told::Rate(search.from * REST_SHARE)).await?;
            pause(search.settle * 2).await?;
        }
        run.progress.note(&format!(
            "{:>12.0} updates/s: {:.0} deliveries/s, p99 {:.2} ms, {}",
            rate,
            step.deliveries_per_second,
            step.p99_ns as f64 / 1e6,
            if step.held { "holds" } else { step.reason.as_str() }
        ));
        found.steps.push(step);
    }
    if found.limited_by.is_empty() {
        found.limited_by = format!("every rate up to `saturation.to` held, {:.0} updates/s", search.to);
    }
    let rate = if found.updates_per_second > 0.0 { found.updates_per_second } else { search.from };
    run.events.push(Event {
        at: 0.0,
        text: format!("measured at {rate:.0} updates per second, the highest that held"),
    });
    run.tell_source(&Told::Rate(rate)).await?;
    pause(search.settle).await?;
    Ok(found)
}

async fn step(
    run: &mut Run,
    workers: &mut WorkerPool,
    search: &Search,
    rate: f64,
) -> anyhow::Result<SaturationStep> {
    run.tell_source(&Told::Rate(rate)).await?;
    pause(search.settle).await?;
    let window = run.tell_window(workers, search.step).await?;
    let mut watch = Watch::new(run.watched, None);
    begin_of(window).await?;
    watch.begin();
    while now() < window.1 + TOLD_WITHIN {
        let (counts, seconds) = workers.now();
        watch.look(&seconds, window, rate).await;
        run.progress.measuring(counts, Duration::from_nanos(window.1.saturating_sub(now())), &watch);
        pause(LOOK_PERIOD).await?;
    }
    watch.end();
    let published = match &mut run.served {
        Some(served) => served.published().await?,
        None => Published::default(),
    };
    let seconds = search.step.as_secs_f64().floor().max(1.0);
    let sum = watch.sum().map(|(sum, _)| sum).unwrap_or_default();
    let records = sum.records;
    let per_update = run.expected.per_update(&published);
    // What was published is of the whole window, what was read of its whole seconds.
    let expected = published.in_window as f64 * per_update * seconds / search.step.as_secs_f64();
    let offered = rate * seconds * per_update;
    let delivered_share = if offered > 0.0 { records as f64 / offered } else { 0.0 };
    let late = published.lag.summary().p99_ns;
    let mut step = SaturationStep {
        updates_per_second: rate,
        deliveries_per_second: records as f64 / seconds,
        delivered_share,
        p50_ns: sum.p50_ns,
        p99_ns: sum.p99_ns,
        max_ns: sum.max_ns,
        server_cpu: run.watched.map(|_| watch.cpu.own() / seconds),
        held: false,
        reason: String::new(),
    };
    let p99 = search.p99.as_nanos() as u64;
    step.reason = if delivered_share < search.delivered_share && expected < offered * search.delivered_share {
        format!("the source published {:.1} % of what was due: it is the limit", expected / offered * 100.0)
    } else if delivered_share < search.delivered_share {
        format!("{:.2} % of the updates due were delivered", delivered_share * 100.0)
    } else if step.p99_ns > p99 && late > p99 / 2 {
        format!("the source itself was {:.1} ms late: it is the limit", late as f64 / 1e6)
    } else if step.p99_ns > p99 {
        format!("p99 of {:.1} ms is above {:.1} ms", step.p99_ns as f64 / 1e6, p99 as f64 / 1e6)
    } else {
        step.held = true;
        String::new()
    };
    Ok(step)
}

#[cfg(test)]
#[path = "../../tests/units/search.rs"]
mod tests;
