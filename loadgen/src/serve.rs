//! `tickwire-loadgen serve`: the own source and, where it is asked for, a gateway, in one process. A run starts it, talks
//! to it over standard input and output, one JSON object a line, and ends it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tickwire_bus::{Backplane, BusState, MemoryBus, MemoryLimits, NatsBus, NatsConfig};
use tickwire_feed::open_loop::{OpenLoop, Orders};
use tickwire_feed::{IngestConfig, Ingester};
use tickwire_gateway::{Gateway, GatewayConfig, Keys, NoPages};
use tickwire_machine::processors;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::child::{self, Child, Output, RESPONSE_WAIT, say};
use crate::layers::Layers;
use crate::scenario::{SESSIONS_SPARE, Scenario};
use crate::source::{Published, publisher};

/// So many commands may wait.
const COMMANDS_MAX: usize = 64;
/// Longest wait for a bus to connect.
const BUS_WAIT: Duration = Duration::from_secs(8);
const UNEXPECTED: &str = "the source says something unexpected";
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
}

/// The own source and gateway, as the run that started them sees them. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) child: Child,
    output: Output,
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
}

impl Served {
    /// # Errors
    /// When it does not start; the text has its reason.
    ///
    /// # Cancel safety
    /// Dropping it ends the process.
    pub(crate) async fn start(layers: &Layers, has_gateway: bool) -> anyhow::Result<Self> {
        let begin = Begin { layers: layers.clone(), has_gateway };
        let (child, mut output) = Child::helper("serve", &begin).await?;
        let Said::Ready { listen, admin } = said(&mut output).await? else { bail!(UNEXPECTED) };
        Ok(Self { child, output, listen, admin })
    }

    /// Tells it something; returns what it responds.
    async fn ask(&mut self, told: &Told) -> anyhow::Result<Said> {
        self.child.tell(told).await?;
        said(&mut self.output).await
    }

    /// Asks what was published.
    ///
    /// # Errors
    /// When the source failed.
    ///
    /// # Cancel safety
    /// Not cancel-safe.
    pub(crate) async fn published(&mut self) -> anyhow::Result<Published> {
        let Said::Published(published) = self.ask(&Told::Report).await? else { bail!(UNEXPECTED) };
        Ok(*published)
    }

    /// Restarts the gateway.
    ///
    /// # Errors
    /// When it does not come back.
    ///
    /// # Cancel safety
    /// Not cancel-safe.
    pub(crate) async fn restart(&mut self) -> anyhow::Result<()> {
        let Said::Restarted = self.ask(&Told::Restart).await? else { bail!(UNEXPECTED) };
        Ok(())
    }
}

async fn said(output: &mut Output) -> anyhow::Result<Said> {
    let said = tokio::time::timeout(RESPONSE_WAIT, child::said(output)).await;
    said.context("the source does not answer")?
}

/// Serves until standard input ends.
///
/// The run is told why it cannot start, or go on, and nobody is told twice.
///
/// # Errors
/// When nobody is there to be told.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    match serve(&child::begin()?) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if fail(format!("{error:#}")) => Ok(ExitCode::FAILURE),
        Err(error) => Err(error),
    }
}

fn fail(reason: String) -> bool {
    say(&Err::<Said, _>(reason))
}

fn serve(begin: &Begin) -> anyhow::Result<()> {
    let scenario = begin.layers.read()?;
    processors::allow_files(scenario.sessions.count + SESSIONS_SPARE)?;
    let published = Arc::new(Mutex::new(Published::new(scenario.source.symbols)));
    let (orders, ordered) = watch::channel(Orders::default());
    let stop = CancellationToken::new();
    // Its connection to the bus is on the source's processors and charged to the source, as an ingester's would be.
    let connect = || {
        processors::pin(&scenario.target.source_cpus)?;
        bus(&scenario, SOURCE_THREAD)
    };
    let connected = std::thread::scope(|scope| scope.spawn(connect).join());
    let bus = connected.map_err(|_| anyhow::anyhow!("the source panicked"))??;
    let source = {
        let (scenario, published, stop, bus) =
            (scenario.clone(), Arc::clone(&published), stop.clone(), bus.clone());
        let play = move || play(&scenario, ordered, published, bus, stop);
        std::thread::Builder::new().name(SOURCE_THREAD.to_owned()).spawn(play)?
    };
    processors::pin(&scenario.target.server_cpus)?;
    let outcome = child::block_on(async {
        let config = begin.has_gateway.then(|| scenario.gateway_config.clone());
        let gateway_bus = match (&config, &bus) {
            // A connection of its own, as a gateway has.
            (Some(_), Some(_)) if !scenario.target.bus.is_empty() => self::bus(&scenario, "gateway")?,
            _ => bus.clone(),
        };
        answer(config, &scenario.gateway_keys, gateway_bus, orders, &published, &scenario.target.bus).await
    });
    stop.cancel();
    let played = source.join().map_err(|_| anyhow::anyhow!("the source panicked"))?;
    outcome.and(played)
}

fn bus(scenario: &Scenario, name: &str) -> anyhow::Result<Option<Arc<dyn Backplane>>> {
    if scenario.peer.is_some() {
        return Ok(None);
    }
    Ok(Some(if scenario.target.bus.is_empty() {
        Arc::new(MemoryBus::new(MemoryLimits::default()))
    } else {
        let config = NatsConfig {
            servers: scenario.target.bus.clone(),
            name: name.to_owned(),
            ..NatsConfig::default()
        };
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
    processors::pin(&scenario.target.source_cpus)?;
    child::block_on(async {
        if let Some(peer) = &scenario.peer {
            tokio::select! {
                ended = publisher::run(scenario, &peer.publish, orders, &published) => {
                    if let Err(error) = &ended {
                        fail(format!("the publisher stopped: {error:#}"));
                    }
                    return ended;
                }
                () = stop.cancelled() => return Ok(()),
            }
        }
        let bus = bus.context("there is no bus")?;
        let plan = scenario.source.plan(scenario.seed);
        let adapter = OpenLoop::new(&plan, orders, move |due, now| Published::of(&published).add(due, now));
        let summary = Ingester::new(IngestConfig::default(), adapter, bus).run(stop).await?;
        if let Some(lost) = summary.lost {
            fail(format!("the source stopped: {lost}"));
        }
        Ok(())
    })
}

/// Returns when the bus is connected. What hinders it is said when it is known, on standard error, which is the run's.
async fn wait_for_bus(bus: &Arc<dyn Backplane>, servers: &[String]) -> anyhow::Result<()> {
    let servers = servers.iter().map(|server| without_sign_in(server)).collect::<Vec<_>>().join(", ");
    let (mut state, until) = (bus.state(), tokio::time::Instant::now() + BUS_WAIT);
    let patience = BUS_WAIT.as_secs();
    let is_known = |state: &BusState| !matches!(state, BusState::Connecting);
    if let Ok(Ok(state)) = tokio::time::timeout_at(until, state.wait_for(is_known)).await
        && let BusState::Down { reason } = &*state
    {
        let text =
            format!("the bus at {servers} does not take the source: {reason}; tried again for {patience} s");
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    if matches!(tokio::time::timeout_at(until, state.wait_for(BusState::is_up)).await, Ok(Ok(_))) {
        return Ok(());
    }
    let state = state.borrow();
    let reason = if let BusState::Down { reason } = &*state { reason } else { "it does not answer" };
    bail!(
        "the bus at {servers} cannot be reached within {patience} s: {reason}; is a NATS server running there (`target.bus`, --bus)?"
    )
}

/// Returns a server's address without what it may hold of user and password.
fn without_sign_in(server: &str) -> String {
    let (scheme, rest) = server.split_once("://").unwrap_or(("nats", server));
    format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, address)| address))
}

async fn answer(
    mut config: Option<GatewayConfig>,
    keys: &Keys,
    bus: Option<Arc<dyn Backplane>>,
    orders: watch::Sender<Orders>,
    published: &Mutex<Published>,
    servers: &[String],
) -> anyhow::Result<()> {
    let start = async |config: &GatewayConfig| match &bus {
        Some(bus) => {
            let (authenticator, _, tasks) = keys.clone().start(config.auth.clone());
            let bus = Arc::clone(bus);
            let gateway = Gateway::start_with(config.clone(), authenticator, bus, Arc::new(NoPages)).await?;
            anyhow::Ok((gateway, tasks))
        }
        None => bail!("there is no bus"),
    };
    if let Some(bus) = bus.as_ref().filter(|_| !servers.is_empty()) {
        wait_for_bus(bus, servers).await?;
    }
    let mut gateway = None;
    if let Some(config) = &mut config {
        let started = start(config).await?;
        (config.listen, config.admin_listen) = (started.0.listen_address(), started.0.admin_address());
        gateway = Some(started);
    }
    let admin = config.as_ref().map(|config| config.admin_listen);
    say(&Ok(Said::Ready { listen: config.as_ref().map(|config| config.listen), admin }));
    let (commands, mut commanded) = mpsc::channel(COMMANDS_MAX);
    std::thread::spawn(move || child::orders().try_for_each(|told| commands.blocking_send(told)));
    while let Some(told) = commanded.recv().await {
        match told {
            Told::Rate(rate) => orders.send_modify(|orders| orders.rate = Some(rate)),
            Told::Window(from, to) => Published::of(published).measure((from, to)),
            Told::Stop => orders.send_modify(|orders| orders.is_stopped = true),
            Told::Report => {
                say(&Ok(Said::Published(Box::new(Published::of(published).clone()))));
            }
            Told::Restart => {
                if let (Some((old, tasks)), Some(config)) = (gateway.take(), &config) {
                    old.drain().await;
                    drop(tasks);
                    gateway = Some(start(config).await?);
                }
                say(&Ok(Said::Restarted));
            }
        }
    }
    drop(gateway);
    Ok(())
}

#[cfg(test)]
#[path = "../tests/units/serve.rs"]
mod tests;
