//! A run: threads start, sessions open, the window is measured, ledgers are asked for, all is merged.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::time::Instant;

use crate::cli::{Plan, RunOptions};
use crate::machine::{self, Machine, Ticks};
use crate::progress::Progress;
use crate::report::{Own, Report};
use crate::tally::Tally;
use crate::worker::{self, Phase, Signals};

const SHOW_PERIOD: Duration = Duration::from_millis(500);
const LOOK_PERIOD: Duration = Duration::from_millis(20);

/// # Errors
/// When the command line is wrong, or nothing could be measured.
pub(crate) fn run(options: RunOptions) -> anyhow::Result<Report> {
    let plan = Arc::new(options.plan(machine::cores())?);
    machine::allow_files(plan.sessions)?;
    let signals = Arc::new(Signals::new());
    let threads: Vec<_> = (0..plan.threads)
        .map(|at| {
            let (plan, signals) = (Arc::clone(&plan), Arc::clone(&signals));
            let thread = std::thread::Builder::new().name(format!("read-{at}"));
            thread.spawn(move || worker::run(&plan, &signals, at))
        })
        .collect::<Result<_, _>>()
        .context("cannot start a thread")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let conducted = runtime.block_on(conduct(&plan, &signals));
    signals.enter(Phase::Finish);
    let mut tally = Tally::new();
    for thread in threads {
        let part = thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        tally.merge(part?);
    }
    let measured = match (conducted, tally.not_opened.first.first()) {
        (Err(_), Some(reason)) => bail!("{}: {reason}", plan.url),
        (conducted, _) => conducted?,
    };
    let opened = signals.counts().opened;
    Ok(Report::new(&plan, Machine::look(), opened, &measured, tally))
}

/// Leads through the phases up to the end of the window; Ctrl-C ends it early.
async fn conduct(plan: &Plan, signals: &Signals) -> anyhow::Result<Own> {
    let mut progress = Progress::new();
    let mut show = |phase, left| progress.show(phase, left, plan.sessions, signals.counts());
    let mut looks = tokio::time::interval(LOOK_PERIOD);
    let mut shown = Instant::now();
    loop {
        let counts = signals.counts();
        if counts.opened + counts.not_opened >= plan.sessions as u64 {
            break;
        }
        if shown.elapsed() >= SHOW_PERIOD {
            show(Phase::Open, plan.measure);
            shown = Instant::now();
        }
        tokio::select! {
            _ = looks.tick() => {}
            asked = tokio::signal::ctrl_c() => {
                asked?;
                bail!("stopped before all sessions were open");
            }
        }
    }
    if signals.counts().opened == 0 {
        progress.end();
        bail!("no session was opened");
    }
    let (begin, ticks) = (Instant::now(), Ticks::now());
    signals.enter(Phase::Measure);
    let mut shows = tokio::time::interval(SHOW_PERIOD);
    let end = begin + plan.measure;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(end) => break,
            asked = tokio::signal::ctrl_c() => { asked?; break }
            _ = shows.tick() => {
                show(Phase::Measure, end - Instant::now());
                let counts = signals.counts();
                if counts.ended_early >= counts.opened {
                    break;
                }
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    signals.enter(Phase::Finish);
    show(Phase::Finish, Duration::ZERO);
    let machine_busy = ticks.zip(Ticks::now()).map(|(then, now)| now.busy_since(then));
    let resident_bytes = machine::resident_bytes();
    progress.end();
    Ok(Own { seconds, machine_busy, resident_bytes })
}
