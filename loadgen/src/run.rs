//! A run from begin to end: server and source start, sessions open, a window is measured, last values and ledgers are
//! compared, and a report is made of it.

mod admin;
pub(crate) mod hops;
mod search;
pub(crate) mod watch;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tickwire_machine::now;
use tickwire_machine::processes::{Processes, Used, Watched};
use tickwire_machine::processors::{Busy, Idle};
use tokio::time::Instant;

use crate::board::{Counts, Phase, Signal};
use crate::child::Child;
use crate::layers::Layers;
use crate::part::Part;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::assemble::{self, Measured};
use crate::report::model::{Event, Report};
use crate::scenario::{Scenario, Url};
use crate::serve::{Served, Told};
use crate::source::{Expected, Published};
use crate::workers::WorkerPool;

use self::admin::readiness;
use self::hops::GatewayHops;
use self::watch::Watch;

const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// A window begins so long after all were told of it.
const WINDOW_AHEAD: Duration = Duration::from_millis(50);
/// The last second is told a little after its end; nanoseconds.
const TOLD_WITHIN: u64 = 200_000_000;
/// Nothing is measured yet.
const NO_WINDOW: (u64, u64) = (u64::MAX, u64::MAX);
/// Longest wait for sessions to open, beyond the ramp.
const OPEN_WAIT: Duration = Duration::from_secs(60);
const END_WAIT: Duration = Duration::from_secs(60);
const READY_WAIT: Duration = Duration::from_secs(30);
/// A wait that is longer is explained.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// A gateway whose admin address is not known gets this long to hear the source.
const BLIND_WAIT: Duration = Duration::from_secs(3);

/// The parts of a run while it goes on.
struct Run {
    layers: Layers,
    scenario: Scenario,
    url: Url,
    admin: Option<String>,
    spawned: Option<Child>,
    served: Option<Served>,
    watched: Option<Watched>,
    progress: Progress,
    events: Vec<Event>,
    hops: GatewayHops,
    plan: Arc<Plan>,
    expected: Expected,
}

/// # Errors
/// When the scenario is wrong, or nothing could be measured.
///
/// # Cancel safety
/// Dropping it ends what it started.
pub(crate) async fn run(layers: Layers) -> anyhow::Result<Report> {
    let scenario = layers.read()?;
    let mut run = Run::start(layers, scenario).await?;
    let measured = run.measure().await;
    let Run { served, spawned, progress, .. } = run;
    progress.end();
    for child in served.map(|served| served.child).into_iter().chain(spawned) {
        child.end().await;
    }
    Ok(assemble::report(measured?))
}

impl Run {
    async fn start(layers: Layers, scenario: Scenario) -> anyhow::Result<Self> {
        let target = &scenario.target;
        let spawned = match target.spawn.as_slice() {
            [] => None,
            command => Some(Child::server(command).await?),
        };
        let has_gateway = scenario.has_gateway();
        let served = if scenario.source.is_running() {
            None
        } else {
            Some(Served::start(&layers, has_gateway).await?)
        };
        let own = served.as_ref().and_then(|served| served.listen);
        let is_tls = scenario.gateway_config.tls.is_some();
        let own = own.map(|listen| Url { address: listen.to_string(), path: String::new(), is_tls });
        let url = target.url.clone().or(own).context("there is no server to load")?;
        let admin = served.as_ref().and_then(|served| served.admin).map(|address| address.to_string());
        let pid = target.server_pid.or_else(|| spawned.as_ref().and_then(Child::pid));
        let pid =
            pid.or_else(|| served.as_ref().filter(|_| has_gateway).and_then(|served| served.child.pid()));
        let plan = Arc::new(Plan::new(scenario.clone(), &url)?);
        let run = Self {
            layers,
            url,
            admin: target.admin.clone().or(admin),
            spawned,
            served,
            watched: pid.map(|pid| Watched { pid }),
            progress: Progress::new(),
            events: Vec::new(),
            hops: GatewayHops::default(),
            expected: Expected::new(&plan),
            plan,
            scenario,
        };
        run.wait_ready().await?;
        Ok(run)
    }

    /// Returns when the gateway hears the source: before that, subscriptions are refused.
    async fn wait_ready(&self) -> anyhow::Result<()> {
        if self.scenario.peer.is_some() || self.scenario.source.is_running() {
            return Ok(());
        }
        let Some(admin) = &self.admin else {
            tokio::time::sleep(BLIND_WAIT).await;
            return Ok(());
        };
        let mut ready = pin!(readiness(admin));
        if tokio::time::timeout(SILENCE_MAX, &mut ready).await.is_ok() {
            return Ok(());
        }
        self.progress.note(&format!(
            "waiting for the gateway to hear the source, for {READY_WAIT:?} at most ({admin}/readyz)"
        ));
        tokio::time::timeout(READY_WAIT, ready).await.with_context(|| {
            format!("the gateway does not hear the source within {READY_WAIT:?} ({admin}/readyz)")
        })
    }

    async fn measure(&mut self) -> anyhow::Result<Measured> {
        let plan = Arc::clone(&self.plan);
        let mut watch = Watch::new(self.watched, self.admin.clone());
        watch.resident_before = watch.resident();
        let mut workers = WorkerPool::start(&self.layers, &plan, &self.url).await?;
        if let Err(error) = self.open(&mut workers).await {
            workers.tell(&Signal { phase: Phase::Finish, window: (0, 0), finals: None }).await;
            let part = self.ended(workers).await?;
            return match part.sessions.not_opened.first.first() {
                Some(reason) => Err(anyhow::anyhow!("{}: {reason}", self.url.address)),
                None => Err(error),
            };
        }
        watch.resident_open = watch.resident();
        let saturation = match self.scenario.saturation.clone() {
            Some(search) => Some(search::run(self, &mut workers, &search).await?),
            None => None,
        };
        let window = self.tell_window(&mut workers, self.scenario.duration).await?;
        let found = saturation.as_ref().map(|found| found.updates_per_second);
        // By the plan, on average; a search sets a rate of its own.
        let offered = found.unwrap_or_else(|| self.scenario.source.mean_rate());
        let machine_busy = self.watch_window(&workers, &mut watch, window, offered).await?;
        let published = self.settle(&mut workers, window).await?;
        workers.tell(&Signal { phase: Phase::Finish, window, finals: None }).await;
        let counts = workers.now().0;
        let part = self.ended(workers).await?;
        Ok(Measured {
            plan,
            part,
            watch,
            due: self.expected.due(&published),
            published,
            window,
            counts,
            machine_busy,
            events: std::mem::take(&mut self.events),
            gateway_hops: std::mem::take(&mut self.hops),
            saturation,
            rate: found.unwrap_or_else(|| self.scenario.source.rates()[0].rate),
        })
    }

    async fn tell_source(&mut self, told: &Told) -> anyhow::Result<()> {
        match &mut self.served {
            Some(served) => served.child.tell(told).await,
            None => Ok(()),
        }
    }

    /// Tells everybody of the next window of measuring: early enough that all hear of it before it begins.
    async fn tell_window(
        &mut self,
        workers: &mut WorkerPool,
        lasting: Duration,
    ) -> anyhow::Result<(u64, u64)> {
        let from = now() + WINDOW_AHEAD.as_nanos() as u64;
        let window = (from, from + lasting.as_nanos() as u64);
        self.tell_source(&Told::Window(window.0, window.1)).await?;
        workers.tell(&Signal { phase: Phase::Measure, window, finals: None }).await;
        Ok(window)
    }

    /// Looks again and again until `is_done`; shows the progress each time.
    async fn look_until(
        &mut self,
        workers: &WorkerPool,
        mut is_done: impl FnMut(Counts) -> bool,
        show: impl Fn(&mut Progress, Counts),
    ) -> anyhow::Result<Counts> {
        loop {
            let (counts, _) = workers.now();
            show(&mut self.progress, counts);
            if is_done(counts) {
                return Ok(counts);
            }
            pause(LOOK_PERIOD).await?;
        }
    }

    /// Returns when all sessions are open, and warm.
    async fn open(&mut self, workers: &mut WorkerPool) -> anyhow::Result<()> {
        let asked = self.scenario.sessions.count as u64;
        let until = Instant::now() + self.scenario.sessions.ramp() + self.plan.open_wait_max(OPEN_WAIT);
        let show = |progress: &mut Progress, counts| progress.opening(counts, asked);
        if self.scenario.sessions.together {
            let are_there =
                |counts: Counts| counts.shaken + counts.not_opened >= asked || Instant::now() > until;
            let show = |progress: &mut Progress, counts: Counts| {
                progress.opening(Counts { opened: counts.shaken, ..counts }, asked);
            };
            self.look_until(workers, |counts| are_there(counts) || workers.has_ended(), show).await?;
            workers.tell(&Signal { phase: Phase::Subscribe, window: NO_WINDOW, finals: None }).await;
        }
        let workers = &*workers;
        let is_done = |counts: Counts| {
            counts.opened + counts.not_opened >= asked || workers.has_ended() || Instant::now() > until
        };
        let counts = self.look_until(workers, is_done, show).await?;
        if counts.opened == 0 {
            bail!("no session was opened");
        }
        let warm = Instant::now() + self.scenario.warm_up;
        self.look_until(workers, |_| Instant::now() >= warm, show).await?;
        Ok(())
    }

    /// Watches the window, into which restarts fall. Returns what the machine did in it, where the system tells.
    async fn watch_window(
        &mut self,
        workers: &WorkerPool,
        watch: &mut Watch,
        window: (u64, u64),
        offered: f64,
    ) -> anyhow::Result<Option<(Busy, Used)>> {
        begin_of(window).await?;
        let (programs, idle) = (Processes::now(), Idle::now());
        watch.begin();
        self.hops.begin(hops::told(self.admin.as_deref()).await);
        for (at, storm) in self.scenario.churn.storms.iter().enumerate() {
            let (cut, all) = (self.plan.in_storm(at), self.scenario.sessions.count);
            let text = format!("{cut} of {all} sessions lose their connection");
            self.events.push(Event { at: storm.at.as_secs_f64(), text });
        }
        let mut restarts = self.scenario.churn.restarts.clone();
        restarts.sort_by_key(|restart| std::cmp::Reverse(restart.at));
        while now() < window.1 {
            let passed = Duration::from_nanos(now().saturating_sub(window.0));
            if let Some(restart) = restarts.pop_if(|restart| restart.at <= passed) {
                self.restart(&restart.command, passed, watch).await?;
            }
            let (counts, seconds) = workers.now();
            watch.look(&seconds, window, offered).await;
            let left = Duration::from_nanos(window.1.saturating_sub(now()));
            self.progress.measuring(counts, left, watch);
            if counts.live == 0 && counts.ended_early > 0
                || workers.has_ended()
                || pause(LOOK_PERIOD.min(left)).await.is_err()
            {
                break;
            }
        }
        watch.end();
        let busy = idle.zip(Idle::now()).map(|(then, now)| now.busy_since(then));
        let own = [Some(std::process::id()), watch.pid()].into_iter().flatten();
        let used = Processes::now().since(&programs, own);
        self.hops.end(hops::told(self.admin.as_deref()).await);
        while (window.1..window.1 + TOLD_WITHIN).contains(&now()) && pause(LOOK_PERIOD).await.is_ok() {
            watch.look(&workers.now().1, window, offered).await;
        }
        Ok(busy.map(|busy| (busy, used)))
    }

    async fn restart(
        &mut self,
        command: &[String],
        passed: Duration,
        watch: &mut Watch,
    ) -> anyhow::Result<()> {
        self.hops.end(hops::told(self.admin.as_deref()).await);
        match (command, &mut self.served) {
            ([], Some(served)) => {
                let mut restart = pin!(served.restart());
                // What the old gateway's threads did is gone with them.
                let mut looks = tokio::time::interval(LOOK_PERIOD);
                loop {
                    tokio::select! {
                        done = &mut restart => break done?,
                        _ = looks.tick() => watch.look_at_threads(),
                    }
                }
            }
            ([program, arguments @ ..], _) => {
                let status = tokio::process::Command::new(program).args(arguments).status().await;
                let name = command.join(" ");
                let status = status.with_context(|| format!("cannot start `{name}`"))?;
                if !status.success() {
                    bail!("`{name}` failed: {status}");
                }
            }
            ([], None) => bail!("there is no gateway of this run to restart"),
        }
        let text = "the gateway restarts".to_owned();
        self.events.push(Event { at: passed.as_secs_f64(), text });
        Ok(())
    }

    /// The source stops, and everybody gets what was published last.
    async fn settle(&mut self, workers: &mut WorkerPool, window: (u64, u64)) -> anyhow::Result<Published> {
        let Some(served) = &mut self.served else { return Ok(Published::default()) };
        served.child.tell(&Told::Stop).await?;
        // What the source had begun when it was told to stop.
        pause(LOOK_PERIOD).await?;
        let published = served.published().await?;
        workers.tell(&Signal { phase: Phase::Settle, window, finals: Some(published.last.clone()) }).await;
        let until = Instant::now() + self.scenario.settle;
        let all = (self.scenario.processes * self.scenario.threads) as u64;
        let reconnects = self.scenario.churn.reconnects();
        let is_settled = |counts: Counts| {
            let is_back = !reconnects || counts.live + counts.ended_early >= counts.opened;
            let has_all = counts.settled >= all && counts.behind == 0 && is_back;
            has_all || workers.has_ended() || Instant::now() > until
        };
        self.look_until(workers, is_settled, |progress, counts| {
            progress.phase("waiting for last values", counts);
        })
        .await?;
        Ok(published)
    }

    async fn ended(&mut self, workers: WorkerPool) -> anyhow::Result<Part> {
        let until = Instant::now() + END_WAIT;
        let is_done = |_| workers.has_ended() || Instant::now() > until;
        self.look_until(&workers, is_done, |progress, counts| progress.phase("asking for ledgers", counts))
            .await?;
        if !workers.has_ended() {
            bail!("sessions did not end within {END_WAIT:?}");
        }
        workers.join().await
    }
}

/// Waits until a window begins.
async fn begin_of(window: (u64, u64)) -> anyhow::Result<()> {
    while now() < window.0 {
        pause(Duration::from_millis(1)).await?;
    }
    Ok(())
}

/// Waits; Ctrl-C ends the run.
async fn pause(time: Duration) -> anyhow::Result<()> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        asked = tokio::signal::ctrl_c() => {
            asked?;
            bail!("stopped by Ctrl-C")
        }
    }
}
