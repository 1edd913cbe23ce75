//! `tickwire-loadgen serve`: the own source and, where it is asked for, a gateway, in one process. A run starts it, talks
//! to it over standard input and output, one JSON object a line, and ends it.

use std::io::{BufRead as _, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tickwire_bus::{Backplane, BusState, MemoryBus, MemoryLimits, NatsBus, NatsConfig};
use tickwire_feed::{IngestConfig, Ingester};
use tickwire_gateway::{Gateway, GatewayConfig, NoPages};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::layers::Layers;
use crate::machine;
use crate::scenario::Scenario;
use crate::source::adapter::OpenLoop;
use crate::source::{Orders, Published, publisher};

/// So many commands may wait.
const COMMANDS_MAX: usize = 64;
/// Room for connections that come back before the old ones are gone.
const SESSIONS_SPARE: usize = 1000;
/// Longest wait for a bus to connect.
const BUS_WAIT: Duration = Duration::from_secs(8);
/// Name of the thread that plays the source: its time is not the gateway's.
pub(crate) const SOURCE_THREAD: &str = "source";

/// First line of standard input.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) layers: Layers,
    pub(crate) has_gateway: bool,
}

/// Every further line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Told {
    /// Updates per second from now on.
    Rate(f64),
    /// Intended times that are counted.
    Window(u64, u64),
    /// No more updates.
    Stop,
    /// The source says what it published.
    Report,
    /// The gateway ends, comes back at the same address, and says so.
    Restart,
}

/// It responds with one of these.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Said {
    Ready { listen: Option<SocketAddr>, admin: Option<SocketAddr> },
    Published(Box<Published>),
    Restarted,
    Failed(String),
}

/// Serves until standard input ends.
///
/// The run is told why it cannot start, or go on, and nobody is told twice.
///
/// # Errors
/// When nobody is there to be told.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let mut first = String::new();
    std::io::stdin().lock().read_line(&mut first)?;
    let begin: Begin = serde_json::from_str(&first)
        .context("`serve` is started by `run`, which tells it what to do on its standard input")?;
    match serve(&begin) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if say(&Said::Failed(format!("{error:#}"))) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

/// Returns whether the run can have heard it. One that is gone does not read; standard input ends then too.
fn say(said: &Said) -> bool {
    let text = serde_json::to_string(said).expect("it is plain data");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

fn serve(begin: &Begin) -> anyhow::Result<()> {
    let scenario = begin.layers.read()?;
    machine::allow_files(scenario.sessions.count + SESSIONS_SPARE)?;
    let published = Arc::new(Mutex::new(Published::default()));
    let (orders, ordered) = watch::channel(Orders::default());
    let stop = CancellationToken::new();
    let bus = bus(&scenario)?;
    let source = {
        let (scenario, published, stop, bus) =
            (scenario.clone(), Arc::clone(&published), stop.clone(), bus.clone());
        let play = move || play(&scenario, ordered, published, bus, stop);
        std::thread::Builder::new().name(SOURCE_THREAD.to_owned()).spawn(play)?
    };
    machine::pin(&scenario.target.server_cpus)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let config = begin.has_gateway.then(|| config(&scenario));
        let gateway_bus = match (&config, &bus) {
            // A connection of its own, as a gateway has.
            (Some(_), Some(_)) if !scenario.target.bus.is_empty() => self::bus(&scenario)?,
            _ => bus.clone(),
        };
        answer(config, gateway_bus, orders, &published, &scenario.target.bus).await
    });
    stop.cancel();
    let played = source.join().map_err(|_| anyhow::anyhow!("the source panicked"))?;
    outcome.and(played)
}

fn bus(scenario: &Scenario) -> anyhow::Result<Option<Arc<dyn Backplane>>> {
    if scenario.peer.is_some() {
        return Ok(None);
    }
    Ok(Some(if scenario.target.bus.is_empty() {
        Arc::new(MemoryBus::new(MemoryLimits::default()))
    } else {
        let config = NatsConfig { servers: scenario.target.bus.clone(), ..NatsConfig::default() };
        Arc::new(NatsBus::connect(&config)?)
    }))
}

/// Plays the source, on a thread of its own.
fn play(
    scenario: &Scenario,
    orders: watch::Receiver<Orders>,
    published: Arc<Mutex<Published>>,
    bus: Option<Arc<dyn Backplane>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    machine::pin(&scenario.target.source_cpus)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        if let Some(peer) = &scenario.peer {
            tokio::select! {
                ended = publisher::run(scenario, &peer.publish, orders, published) => {
                    if let Err(error) = &ended {
                        say(&Said::Failed(format!("the publisher stopped: {error:#}")));
                    }
                    return ended;
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
        let bus = bus.context("there is no bus")?;
        let adapter = OpenLoop::new(scenario, orders, published)?;
        let summary = Ingester::new(IngestConfig::default(), adapter, bus).run(stop).await?;
        if let Some(lost) = summary.lost {
            say(&Said::Failed(format!("the source stopped: {lost}")));
        }
        Ok(())
    })
}

fn config(scenario: &Scenario) -> GatewayConfig {
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = GatewayConfig {
        listen: scenario.gateway.listen.unwrap_or(local),
        admin_listen: local,
        shards: scenario.gateway.shards,
        pacing: scenario.gateway.pacing(),
        drain_window: scenario.gateway.drain,
        ..GatewayConfig::default()
    };
    if let Some(records) = scenario.gateway.log_records {
        config.limits.engine.log_records_per_topic = records;
    }
    config.limits.sessions = config.limits.sessions.max(scenario.sessions.count + SESSIONS_SPARE);
    config
}

/// Returns when the bus is connected. What hinders it is said when it is known, on standard error, which is the run's.
async fn wait_for_bus(bus: &Arc<dyn Backplane>, servers: &[String]) -> anyhow::Result<()> {
    let servers = servers.iter().map(|server| without_sign_in(server)).collect::<Vec<_>>().join(", ");
    let mut state = bus.state();
    let (mut reason, began) = (None, tokio::time::Instant::now());
    let connected = async {
        loop {
            match &*state.borrow_and_update() {
                BusState::Up { .. } => return,
                BusState::Down { reason: known } if reason.is_none() => {
                    let _ = writeln!(
                        std::io::stderr(),
                        "the bus at {servers} does not take the source: {known}; tried again for {} s",
                        BUS_WAIT.as_secs()
                    );
                    reason = Some(Arc::clone(known));
                }
                BusState::Down { reason: known } => reason = Some(Arc::clone(known)),
                BusState::Connecting => {}
            }
            if state.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    };
    if tokio::time::timeout_at(began + BUS_WAIT, connected).await.is_ok() {
        return Ok(());
    }
    let reason = reason.as_deref().unwrap_or("it does not answer");
    anyhow::bail!(
        "the bus at {servers} cannot be reached within {} s: {reason}; is a NATS server running there (`target.bus`, --bus)?",
        BUS_WAIT.as_secs()
    )
}

/// Returns a server's address without what it may hold of user and password.
fn without_sign_in(server: &str) -> String {
    let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, address)| address))
}

async fn answer(
    config: Option<GatewayConfig>,
    bus: Option<Arc<dyn Backplane>>,
    orders: watch::Sender<Orders>,
    published: &Mutex<Published>,
    servers: &[String],
) -> anyhow::Result<()> {
    let start = async |config: &GatewayConfig| match &bus {
        Some(bus) => Ok(Gateway::start(config.clone(), Arc::clone(bus), Arc::new(NoPages)).await?),
        None => anyhow::bail!("there is no bus"),
    };
    if let Some(bus) = bus.as_ref().filter(|_| !servers.is_empty()) {
        wait_for_bus(bus, servers).await?;
    }
    let mut config = config;
    let mut gateway = match &config {
        Some(config) => Some(start(config).await?),
        None => None,
    };
    let listen = gateway.as_ref().map(Gateway::listen_address);
    let admin = gateway.as_ref().map(Gateway::admin_address);
    if let (Some(config), Some(listen), Some(admin)) = (&mut config, listen, admin) {
        (config.listen, config.admin_listen) = (listen, admin);
    }
    say(&Said::Ready { listen, admin });
    let (commands, mut commanded) = mpsc::channel(COMMANDS_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if commands.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = commanded.recv().await {
        match serde_json::from_str(&line)? {
            Told::Rate(rate) => orders.send_modify(|orders| orders.rate = Some(rate)),
            Told::Window(from, to) => orders.send_modify(|orders| orders.window = (from, to)),
            Told::Stop => orders.send_modify(|orders| orders.is_stopped = true),
            Told::Report => {
                let published = published.lock().unwrap_or_else(PoisonError::into_inner).clone();
                say(&Said::Published(Box::new(published)));
            }
            Told::Restart => {
                if let (Some(old), Some(config)) = (gateway.take(), &config) {
                    old.drain().await;
                    gateway = Some(start(config).await?);
                }
                say(&Said::Restarted);
            }
        }
    }
    drop(gateway);
    Ok(())
}

#[cfg(test)]
#[path = "../tests/units/serve.rs"]
mod tests;
