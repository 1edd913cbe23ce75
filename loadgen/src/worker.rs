//! One reading thread: its sessions, and how well it keeps up itself.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::Plan;
use crate::session;
use crate::tally::Tally;

/// How often a thread looks how late it is.
const LAG_PERIOD: Duration = Duration::from_millis(10);

/// Where a run stands. Later phases are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Open,
    Measure,
    Finish,
}

/// What all threads see of each other: the phase, and counts for whoever watches.
#[derive(Debug)]
pub(crate) struct Signals {
    phase: watch::Sender<Phase>,
    opened: AtomicU64,
    not_opened: AtomicU64,
    ended_early: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    violations: AtomicU64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) opened: u64,
    pub(crate) not_opened: u64,
    pub(crate) ended_early: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) violations: u64,
}

impl Signals {
    pub(crate) fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            phase: watch::Sender::new(Phase::Open),
            opened: zero(),
            not_opened: zero(),
            ended_early: zero(),
            records: zero(),
            bytes: zero(),
            violations: zero(),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        *self.phase.borrow() == phase
    }

    /// # Cancel safety
    /// Cancel-safe.
    pub(crate) async fn reaches(&self, phase: Phase) {
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn not_opened(&self) {
        self.not_opened.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn ended_early(&self) {
        self.ended_early.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn violated(&self) {
        self.violations.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn passed(&self, records: u64, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            opened: load(&self.opened),
            not_opened: load(&self.not_opened),
            ended_early: load(&self.ended_early),
            records: load(&self.records),
            bytes: load(&self.bytes),
            violations: load(&self.violations),
        }
    }
}

/// Runs the sessions whose number is `at`, `at` + threads, and so on, to their end.
pub(crate) fn run(plan: &Arc<Plan>, signals: &Arc<Signals>, at: usize) -> anyhow::Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .context("cannot start a thread")?;
    let tally = Rc::new(RefCell::new(Tally::new()));
    runtime.block_on(async {
        let lag = tokio::task::spawn_local(watch_lag(Arc::clone(signals), Rc::clone(&tally)));
        let mut sessions = JoinSet::new();
        let begin = Instant::now();
        for number in (at..plan.sessions).step_by(plan.threads) {
            let (plan, signals, tally) = (Arc::clone(plan), Arc::clone(signals), Rc::clone(&tally));
            sessions.spawn_local(async move {
                let due = plan.ramp.mul_f64(number as f64 / plan.sessions as f64);
                tokio::select! {
                    () = tokio::time::sleep_until(begin + due) => session::run(&plan, &signals, &tally).await,
                    () = signals.reaches(Phase::Finish) => signals.not_opened(),
                }
            });
        }
        while let Some(ended) = sessions.join_next().await {
            ended.context("a session failed")?;
        }
        lag.abort();
        let _ = lag.await;
        anyhow::Ok(())
    })?;
    Rc::into_inner(tally).map(RefCell::into_inner).context("a session did not end")
}

/// Measures how late timers of this thread are, and its share of a processor, while it is measured.
async fn watch_lag(signals: Arc<Signals>, tally: Rc<RefCell<Tally>>) {
    signals.reaches(Phase::Measure).await;
    let (begin, cpu) = (Instant::now(), thread_cpu());
    tally.borrow_mut().cpu_share.push(0.0);
    while signals.is(Phase::Measure) {
        let due = Instant::now() + LAG_PERIOD;
        tokio::time::sleep_until(due).await;
        let mut tally = tally.borrow_mut();
        tally.lag.record(0, due.elapsed().as_nanos() as u64);
        let share = thread_cpu().saturating_sub(cpu).as_secs_f64() / begin.elapsed().as_secs_f64();
        if let Some(known) = tally.cpu_share.last_mut() {
            *known = share;
        }
    }
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
