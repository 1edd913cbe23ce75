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
use tokio::time::Instant;

use crate::audience::Audience;
use crate::clock::now;
use crate::crew::Crew;
use crate::layers::Layers;
use crate::machine::{Busy, Idle};
use crate::plan::Plan;
use crate::processes::{Processes, Used};
use crate::progress::Progress;
use crate::reader::Phase;
use crate::report::assemble::{self, Measured};
use crate::report::model::{Event, Report, Saturation};
use crate::scenario::{Scenario, Url};
use crate::serve::Told;
use crate::server::Watched;
use crate::support::{Served, Spawned};

use self::admin::readiness;
use self::hops::GatewayHops;
use self::watch::Watch;

const LOOK_PERIOD: Duration = Duration::from_millis(20);
/// From telling all of a window to its begin.
const WINDOW_AHEAD: Duration = Duration::from_millis(50);
/// The last second is told a little after its end; nanoseconds.
const TOLD_WITHIN: u64 = 200_000_000;
/// Longest wait for sessions to open, beyond the ramp.
const OPEN_WAIT: Duration = Duration::from_secs(60);
const END_WAIT: Duration = Duration::from_secs(60);
const READY_WAIT: Duration = Duration::from_secs(30);
/// Who waits longer is told for what.
const SILENCE_MAX: Duration = Duration::from_secs(1);
/// A gateway whose admin address is not known gets this long to hear the source.
const BLIND_WAIT: Duration = Duration::from_secs(3);

/// What a run consists of while it goes on.
struct Run {
    layers: Layers,
    scenario: Scenario,
    url: Url,
    admin: Option<String>,
    spawned: Option<Spawned>,
    served: Option<Served>,
    watched: Option<Watched>,
    progress: Progress,
    events: Vec<Event>,
    hops: GatewayHops,
    plan: Arc<Plan>,
    audience: Audience,
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
    if let Some(served) = served {
        served.end().await;
    }
    if let Some(spawned) = spawned {
        spawned.end().await;
    }
    Ok(assemble::report(measured?))
}

impl Run {
    async fn start(layers: Layers, scenario: Scenario) -> anyhow::Result<Self> {
        let target = &scenario.target;
        let spawned = match target.spawn.as_slice() {
            [] => None,
            command => Some(Spawned::start(command).await?),
        };
        let has_gateway = scenario.has_gateway();
        let served =
            if scenario.source.is_running { None } else { Some(Served::start(&layers, has_gateway).await?) };
        let own = |address: &Served| {
            let listen = address.listen?;
            Some(Url { address: listen.to_string(), path: String::new(), is_tls: false })
        };
        let url = target
            .url
            .clone()
            .or_else(|| served.as_ref().and_then(own))
            .context("there is no server to load")?;
        let admin = target.admin.clone();
        let admin = admin.or_else(|| served.as_ref()?.admin.map(|address| address.to_string()));
        let pid = target.server_pid.or_else(|| spawned.as_ref().and_then(Spawned::pid));
        let pid = pid.or_else(|| served.as_ref().filter(|_| has_gateway).and_then(Served::pid));
        let watched = pid.map(|pid| Watched { pid });
        let plan = Arc::new(Plan::new(scenario.clone(), &url)?);
        let run = Self {
            layers,
            url,
            admin,
            spawned,
            served,
            watched,
            progress: Progress::new(),
            events: Vec::new(),
            hops: GatewayHops::default(),
            audience: Audience::new(&plan),
            plan,
            scenario,
        };
        run.wait_ready().await?;
        Ok(run)
    }

    /// Until the gateway hears the source: before that, subscriptions are refused.
    async fn wait_ready(&self) -> anyhow::Result<()> {
        if self.scenario.peer.is_some() || self.scenario.source.is_running {
            return Ok(());
        }
        match &self.admin {
            Some(admin) => {
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
            None => {
                tokio::time::sleep(BLIND_WAIT).await;
                Ok(())
            }
        }
    }

    async fn measure(&mut self) -> anyhow::Result<Measured> {
        let plan = Arc::clone(&self.plan);
        let resident_before = self.watched.and_then(Watched::resident_bytes).unwrap_or(0);
        let mut crew = Crew::start(&self.layers, &plan, &self.url)?;
        let opened = self.open(&mut crew, plan.open_wait_max(OPEN_WAIT)).await;
        if let Err(error) = opened {
            crew.tell(Phase::Finish, (0, 0), None);
            let part = self.ended(crew).await?;
            return match part.not_opened.first.first() {
                Some(reason) => Err(anyhow::anyhow!("{}: {reason}", self.url.address)),
                None => Err(error),
            };
        }
        let mut watch = Watch::new(self.watched, self.admin.clone(), plan.kinds.len());
        watch.resident_before = resident_before;
        watch.resident_open = self.watched.and_then(Watched::resident_bytes).unwrap_or(0);
        let saturation = self.search(&mut crew).await?;
        let window = window_from_now(self.scenario.duration);
        self.tell_source(&Told::Window(window.0, window.1)).await?;
        crew.tell(Phase::Measure, window, None);
        let rate =
            saturation.as_ref().map_or_else(|| self.scenario.source.shape.first(), |s| s.updates_per_second);
        // By the plan, on average; a search sets one of its own.
        let offered = saturation.as_ref().map_or_else(|| offered(&self.scenario), |_| rate);
        let machine_busy = self.watch_window(&mut crew, &mut watch, window, offered).await?;
        let published = self.settle(&mut crew, window).await?;
        crew.tell(Phase::Finish, window, None);
        let counts = crew.now().0;
        let part = self.ended(crew).await?;
        Ok(Measured {
            scenario: self.scenario.clone(),
            url: format!("{}://{}{}", self.url.scheme(), self.url.address, plan.path),
            is_same_host: plan.address.ip().is_loopback(),
            part,
            watch,
            due: self.audience.due(&published),
            published,
            window,
            counts,
            machine_busy,
            events: std::mem::take(&mut self.events),
            gateway_hops: std::mem::take(&mut self.hops),
            saturation,
            rate,
        })
    }

    async fn tell_source(&mut self, told: &Told) -> anyhow::Result<()> {
        match &mut self.served {
            Some(served) => served.tell(told).await,
            None => Ok(()),
        }
    }

    /// Until all sessions are open, and warm.
    async fn open(&mut self, crew: &mut Crew, wait: Duration) -> anyhow::Result<()> {
        let asked = self.scenario.sessions.count as u64;
        let until = Instant::now() + self.scenario.sessions.ramp() + wait;
        let counts = loop {
            let (counts, _) = crew.now();
            self.progress.opening(counts, asked);
            if counts.opened + counts.not_opened >= asked || crew.has_ended() || Instant::now() > until {
                break counts;
            }
            pause(LOOK_PERIOD).await?;
        };
        if counts.opened == 0 {
            bail!("no session was opened");
        }
        let warm = Instant::now() + self.scenario.warm_up;
        while Instant::now() < warm {
            let (counts, _) = crew.now();
            self.progress.opening(counts, asked);
            pause(LOOK_PERIOD).await?;
        }
        Ok(())
    }

    /// The window; restarts fall into it. Returns what the machine did in it, where the system tells.
    async fn watch_window(
        &mut self,
        crew: &mut Crew,
        watch: &mut Watch,
        window: (u64, u64),
        offered: f64,
    ) -> anyhow::Result<Option<(Busy, Used)>> {
        while now() < window.0 {
            pause(Duration::from_millis(1)).await?;
        }
        let (programs, idle) = (Processes::now(), Idle::now());
        watch.begin();
        self.hops.begin(self.admin.as_deref()).await;
        for (at, storm) in self.scenario.churn.storms.iter().enumerate() {
            let (cut, all) = (self.plan.in_storm(at), self.scenario.sessions.count);
            let text = format!("{cut} of {all} sessions lose their connection");
            self.events.push(Event { at: storm.at.as_secs_f64(), text });
        }
        let mut restarts = self.scenario.churn.restarts.clone();
        restarts.sort_by_key(|restart| std::cmp::Reverse(restart.at));
        while now() < window.1 {
            let passed = Duration::from_nanos(now().saturating_sub(window.0));
            if restarts.last().is_some_and(|restart| restart.at <= passed)
                && let Some(restart) = restarts.pop()
            {
                self.restart(&restart.command, passed, watch).await?;
            }
            let (counts, seconds) = crew.now();
            watch.look(&seconds, window, offered).await;
            let left = Duration::from_nanos(window.1.saturating_sub(now()));
            self.progress.measuring(counts, left, watch);
            if counts.live == 0 && counts.ended_early > 0 || crew.has_ended() {
                break;
            }
            if pause(LOOK_PERIOD.min(left)).await.is_err() {
                break;
            }
        }
        watch.end();
        let busy = idle.zip(Idle::now()).map(|(then, now)| now.busy_since(then));
        let own = [Some(std::process::id()), watch.pid()].into_iter().flatten();
        let used = Processes::now().since(&programs, own);
        self.hops.end(self.admin.as_deref()).await;
        while (window.1..window.1 + TOLD_WITHIN).contains(&now()) && pause(LOOK_PERIOD).await.is_ok() {
            let (_, seconds) = crew.now();
            watch.look(&seconds, window, offered).await;
        }
        Ok(busy.map(|busy| (busy, used)))
    }

    async fn restart(
        &mut self,
        command: &[String],
        passed: Duration,
        watch: &mut Watch,
    ) -> anyhow::Result<()> {
        let at = passed.as_secs_f64();
        self.hops.end(self.admin.as_deref()).await;
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
        self.events.push(Event { at, text: "the gateway restarts".to_owned() });
        Ok(())
    }

    /// The source stops, and everybody gets what was published last.
    async fn settle(
        &mut self,
        crew: &mut Crew,
        window: (u64, u64),
    ) -> anyhow::Result<crate::source::Published> {
        let Some(served) = &mut self.served else { return Ok(crate::source::Published::default()) };
        served.tell(&Told::Stop).await?;
        // What the source had begun when it was told to stop.
        pause(LOOK_PERIOD).await?;
        let published = served.published().await?;
        crew.tell(Phase::Settle, window, Some(published.last.clone()));
        let until = Instant::now() + self.scenario.settle;
        let all = (self.scenario.processes * self.scenario.threads) as u64;
        loop {
            let (counts, _) = crew.now();
            let is_back =
                !self.scenario.churn.reconnects() || counts.live + counts.ended_early >= counts.opened;
            let is_settled = counts.settled >= all && counts.behind == 0 && is_back;
            if is_settled || crew.has_ended() || Instant::now() > until {
                return Ok(published);
            }
            self.progress.phase("waiting for last values", counts);
            pause(LOOK_PERIOD).await?;
        }
    }

    async fn ended(&mut self, crew: Crew) -> anyhow::Result<crate::part::Part> {
        let until = Instant::now() + END_WAIT;
        while !crew.has_ended() {
            let (counts, _) = crew.now();
            self.progress.phase("asking for ledgers", counts);
            if Instant::now() > until {
                bail!("sessions did not end within {END_WAIT:?}");
            }
            pause(LOOK_PERIOD).await?;
        }
        tokio::task::spawn_blocking(|| crew.join()).await?
    }

    async fn search(&mut self, crew: &mut Crew) -> anyhow::Result<Option<Saturation>> {
        match self.scenario.saturation.clone() {
            Some(search) => search::run(self, crew, &search).await.map(Some),
            None => Ok(None),
        }
    }
}

/// The next window of measuring: early enough that all hear of it before it begins.
fn window_from_now(lasting: Duration) -> (u64, u64) {
    let from = now() + WINDOW_AHEAD.as_nanos() as u64;
    (from, from + lasting.as_nanos() as u64)
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

/// Updates per second that the plan asks for, on average.
fn offered(scenario: &Scenario) -> f64 {
    if scenario.source.is_running { 0.0 } else { scenario.source.shape.mean() }
}
