//! A gateway as a whole: it is started here, and ended in good order.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tickwire_auth::{Authenticator, RevocationMessage};
use tickwire_bus::{Backplane, InboxLimits};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::runtime::LocalOptions;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use tickwire_core::hub::{HubLimits, LookUp};
use tickwire_core::schedule::Pacing;

use crate::accept::{self, Acceptor};
use crate::admin::{self, AdminListener};
use crate::admin_sessions::Shards;
use crate::admission::Doors;
use crate::auth::gate::Gate;
use crate::auth::revoking::{self, RevokingSetup};
use crate::auth::stats::AuthStats;
use crate::auth::tokens::{self, TokensSetup};
use crate::clock::Clock;
use crate::config::{GatewayConfig, Limits};
use crate::files::{Places, Shortage};
use crate::gathering::Gathering;
use crate::holders::Holders;
use crate::hub::{self, HistorySetup, HubSetup, HubStats, ShardLink};
use crate::limit_table;
use crate::lobby::Lobby;
#[cfg(feature = "tls")]
use crate::outcome::Outcome;
use crate::pages::Pages;
use crate::shard::{self, Order, ShardSetup};
use crate::stats::{ShardStats, Stats};
#[cfg(feature = "tls")]
use crate::tls::{Tls, TlsError};
use crate::traces::span;
use crate::transport::Buffers;

/// The most connections that wait for one shard.
const SHARD_ORDERS_MAX: usize = 256;
/// The most changes of interest that wait for the hub.
const INTERESTS_MAX: usize = 4096;
/// The most tokens of sessions that wait to be verified.
const TOKENS_MAX: usize = 1024;
/// The most pipes that wait to be accepted.
const PIPES_MAX: usize = 16;
/// The time that the connections get to end, after the last session was closed.
const FAREWELL: Duration = Duration::from_secs(3);

/// The reason why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be bound.
    #[error("cannot listen on {address} ({option}): {source}; {}", remedy(.source))]
    Listen {
        /// The command line option that sets the address.
        option: &'static str,
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// The listeners cannot speak TLS.
    #[cfg(feature = "tls")]
    #[error("TLS: {0}")]
    Tls(tickwire_net::tls::ServerTlsError),
    /// Nobody could come in.
    #[error(
        "nobody could come in: there are no keys (gateway.auth.keys, jwks_url, api_keys_file), and whoever shows nothing is \
         refused; name keys, or take everybody with --anonymous (gateway.auth.anonymous = true)"
    )]
    Nobody,
    /// The revocations of before cannot be read, so tokens might count that do not.
    #[error("cannot read gateway.auth.revocations_file {}: {why}; mend it, or remove it to forget all revocations", .path.display())]
    Revocations {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        why: String,
    },
    /// The process may open too few files.
    #[error(
        "the limit of open files is {open_files}, which leaves nothing for sessions; this configuration needs {needed}: \
         raise it (ulimit -n, LimitNOFILE=)"
    )]
    OpenFiles {
        /// The number of files that the process may open.
        open_files: u64,
        /// The number that the configuration needs.
        needed: usize,
    },
}

#[cfg(feature = "tls")]
impl From<TlsError> for StartError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Files(error) => Self::Tls(error),
            TlsError::Thread(error) => Self::Thread(error),
        }
    }
}

fn remedy(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another process has this port; end it or choose another one",
        std::io::ErrorKind::PermissionDenied => "choose a port above 1023",
        std::io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address; 0.0.0.0 listens on all of them"
        }
        _ => "choose another address",
    }
}

/// A gateway that runs. Dropping it leaves its threads to end by themselves; call [`Gateway::drain`].
#[derive(Debug)]
pub struct Gateway {
    listen: SocketAddr,
    admin: SocketAddr,
    drain_window: Duration,
    orders: Vec<mpsc::Sender<Order>>,
    pipes: mpsc::Sender<DuplexStream>,
    threads: Vec<JoinHandle<()>>,
    accepting: CancellationToken,
    running: CancellationToken,
    stats: Arc<Stats>,
}

impl Gateway {
    /// Binds both listeners, starts the threads and returns. Must be called within a tokio runtime, which serves the
    /// handshakes and the admin side.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread cannot be started.
    ///
    /// # Cancel safety
    /// Nothing is left behind but threads that end by themselves.
    pub async fn start(
        config: GatewayConfig,
        bus: Arc<dyn Backplane>,
        pages: Arc<dyn Pages>,
    ) -> Result<Self, StartError> {
        let authenticator = Authenticator::new(config.auth.clone());
        Self::start_with(config, Arc::new(authenticator), bus, pages).await
    }

    /// Starts as [`Gateway::start`] does, with keys. The settings of the authenticator are in force.
    ///
    /// # Errors
    /// As there, and when nobody could come in.
    ///
    /// # Cancel safety
    /// As there.
    pub async fn start_with(
        config: GatewayConfig,
        authenticator: Arc<Authenticator>,
        bus: Arc<dyn Backplane>,
        pages: Arc<dyn Pages>,
    ) -> Result<Self, StartError> {
        if !authenticator.lets_anybody_in() {
            return Err(StartError::Nobody);
        }
        let public = listen("--listen", config.listen).await?;
        let admin = listen("--admin-listen", config.admin_listen).await?;
        let places = places(&config)?;
        let lobby = Lobby::new(places.handshakes, config.handshake_timeout);
        let clock = Clock::start();
        let auth_stats = Arc::new(AuthStats {
            awaits_revocations: authenticator.takes_keys().into(),
            ..AuthStats::default()
        });
        let holders = Arc::<Holders>::default();
        let user_sessions = config.admission.user_sessions;
        let gate =
            Gate::new(authenticator, Arc::clone(&auth_stats), Arc::clone(&holders), user_sessions, clock);
        let gate = Arc::new(gate);
        if let Some(path) = &config.revocations_file {
            load_revocations(&gate, path, clock)?;
        }
        let hub_stats = Arc::new(HubStats::default());
        let shard_stats: Vec<_> =
            (0..config.shards.clamp(1, 64)).map(|_| Arc::new(ShardStats::default())).collect();
        let stats = Arc::new(Stats {
            hub: Arc::clone(&hub_stats),
            shards: shard_stats,
            lobby: OnceLock::from(Arc::clone(&lobby)),
            auth: auth_stats,
            ..Stats::default()
        });
        let (accepting, running) = (CancellationToken::new(), CancellationToken::new());
        #[cfg(feature = "tls")]
        let tls = config.tls.clone().map(|tls| Tls::start(tls.files, running.clone())).transpose()?;
        let (interests, interested) = mpsc::channel(INTERESTS_MAX);
        let (token_sender, handed_in) = mpsc::channel(TOKENS_MAX);
        let (pipes, piped) = mpsc::channel(PIPES_MAX);
        let mut gateway = Self {
            listen: local(&public, config.listen),
            admin: local(&admin, config.admin_listen),
            drain_window: config.drain_window,
            orders: Vec::new(),
            pipes,
            threads: Vec::new(),
            accepting: accepting.clone(),
            running: running.clone(),
            stats: Arc::clone(&stats),
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let shards_per_core = (stats.shards.len() as f64 / cores as f64).max(1.0);
        let (mut links, mut shards) = (Vec::new(), Vec::new());
        for (at, shard_stats) in stats.shards.iter().enumerate() {
            let (orders, ordered) = mpsc::channel(SHARD_ORDERS_MAX);
            let (events, evented) = mpsc::channel(shard::EVENT_BATCHES_MAX);
            gateway.orders.push(orders);
            let gathering = Arc::new(Gathering::default());
            links.push(ShardLink { events, gathering: Arc::clone(&gathering) });
            let setup = ShardSetup {
                at,
                hub: None,
                limits: config.limits.of_shard(stats.shards.len()),
                backfill: config.limits.backfill.filter(|_| bus.history().is_some()),
                message_ns: config.message_timeout.as_nanos() as u64,
                pacing: Pacing { shards_per_core, ..config.pacing },
                server: concat!("tickwire ", env!("CARGO_PKG_VERSION")).to_owned(),
                events: evented,
                gathering,
                orders: ordered,
                interests: interests.clone(),
                tokens: token_sender.clone(),
                gate: Arc::clone(&gate),
                stats: Arc::clone(shard_stats),
                all: Arc::clone(&stats),
                clock,
            };
            shards.push(setup);
        }
        let hub_limits = HubLimits {
            shards: stats.shards.len(),
            venues: config.limits.venues,
            instruments: config.limits.instruments,
            topics: config.limits.topics,
            waiting_bytes: config.limits.waiting_bytes,
            feed_down_ns: config.feed_down_after.as_nanos() as u64,
        };
        let inbox = InboxLimits {
            messages_max: config.limits.bus_messages,
            bytes_max: config.limits.bus_bytes,
            subjects_max: config.limits.topics + config.limits.venues + 1,
        };
        let revoking_bus = Arc::clone(&bus);
        let history = gateway.look_up(&config.limits, &bus, &links, &running)?;
        let setup = HubSetup {
            bus,
            limits: hub_limits,
            inbox,
            shards: links,
            interests: interested,
            history,
            stats: hub_stats,
            clock,
            stop: running.clone(),
        };
        gateway.spawn_all(shards, setup)?;
        let weak: Vec<_> = gateway.orders.iter().map(mpsc::Sender::downgrade).collect();
        let stop = running.clone();
        tokio::spawn(tokens::run(TokensSetup {
            gate: Arc::clone(&gate),
            tokens: handed_in,
            shards: weak.clone(),
            stop: stop.clone(),
        }));
        let file = config.revocations_file.clone();
        let setup = RevokingSetup {
            gate: Arc::clone(&gate),
            bus: revoking_bus,
            shards: weak,
            file,
            wait: config.revocations_wait,
            clock,
            stop,
        };
        tokio::spawn(revoking::run(setup));
        #[cfg(feature = "tls")]
        let tls = tls.map(|(tls, thread)| {
            gateway.threads.push(thread);
            let _ = stats.tls.set(Arc::clone(&tls));
            let every = config.tls.as_ref().map_or(Duration::MAX, |tls| tls.reload_every);
            tokio::spawn(Arc::clone(&tls).watch(every, running.clone()));
            tls
        });
        let acceptor = Arc::new(Acceptor {
            #[cfg(feature = "tls")]
            tls: tls.clone(),
            gate,
            shards: gateway.orders.clone(),
            sessions: Arc::new(Semaphore::new(places.sessions)),
            doors: Doors::new(
                config.admission.clone(),
                holders,
                limit_table::document(&config).into(),
                clock,
            ),
            pages,
            stats: Arc::clone(&stats),
            buffers: Buffers {
                send_bytes: config.limits.socket_send_bytes,
                unsent_bytes: config.limits.socket_unsent_bytes,
            },
            instance: clock.now() / 1_000_000,
            next: AtomicU64::new(1),
        });
        tokio::spawn(accept::run(public, piped, acceptor, lobby, accepting));
        let admin = AdminListener {
            listener: admin,
            connections: config.limits.admin_connections,
            token: config.admin_token,
            #[cfg(feature = "tls")]
            tls: tls.filter(|_| config.tls.is_some_and(|tls| tls.admin)),
        };
        tokio::spawn(admin::run(admin, stats, Shards::new(&gateway.orders), running));
        Ok(gateway)
    }

    /// Starts the thread that looks up what sessions missed, where the bus has a history.
    fn look_up(
        &mut self,
        limits: &Limits,
        bus: &Arc<dyn Backplane>,
        shards: &[ShardLink],
        stop: &CancellationToken,
    ) -> Result<Option<mpsc::Sender<(Instant, LookUp)>>, StartError> {
        let Some(limits) = limits.backfill.filter(|_| bus.history().is_some()) else { return Ok(None) };
        let (ask, requests) = mpsc::channel(hub::LOOKUPS_WAITING_MAX);
        let setup = HistorySetup {
            bus: Arc::clone(bus),
            requests,
            shards: shards.to_vec(),
            timeout: Duration::from_nanos(limits.timeout_ns),
            stats: Arc::clone(&self.stats.hub),
            stop: stop.clone(),
        };
        self.spawn("history".to_owned(), move || hub::run_history(setup))?;
        Ok(Some(ask))
    }

    /// Starts the threads of the shards and of the hub. Where there is only one shard, the hub runs on its thread: what one hands
    /// to the other then wakes no thread.
    fn spawn_all(&mut self, mut shards: Vec<ShardSetup>, hub: HubSetup) -> Result<(), StartError> {
        if let [shard] = &mut shards[..] {
            shard.hub = Some(hub);
        } else {
            self.spawn("hub".to_owned(), move || hub::run(hub))?;
        }
        for shard in shards {
            self.spawn(format!("shard-{}", shard.at), move || shard::run(shard))?;
        }
        Ok(())
    }

    fn spawn<F: Future<Output = ()> + 'static>(
        &mut self,
        name: String,
        task: impl FnOnce() -> F + Send + 'static,
    ) -> Result<(), StartError> {
        let runtime = move || match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(LocalOptions::default())
        {
            // As a task it is woken by others of its thread without a system call, which the future of `block_on` is not.
            Ok(runtime) => runtime.block_on(async { drop(tokio::task::spawn_local(task()).await) }),
            Err(error) => tracing::error!(%error, "cannot start a runtime"),
        };
        let thread = std::thread::Builder::new().name(name).spawn(runtime).map_err(StartError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Returns the address that sessions connect to.
    pub fn listen_address(&self) -> SocketAddr {
        self.listen
    }

    /// Returns the address of health and metrics.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Opens a connection in memory that holds so many bytes each way, at least one: for programs that run a gateway inside, and
    /// for tests. It is accepted as one of the network is, and speaks HTTP and WebSocket; where the gateway drains, it ends.
    ///
    /// # Cancel safety
    /// At most, a connection was opened in vain.
    pub async fn open_pipe(&self, bytes: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(bytes.max(1));
        // A gateway that drains drops its end of the pipe, and so the other end is closed.
        let _ = self.pipes.send(ours).await;
        theirs
    }

    /// Returns the number of open sessions.
    pub fn sessions(&self) -> u64 {
        self.stats.sessions.load(Ordering::Relaxed)
    }

    /// Looks at the files of TLS at once, besides the looks now and then. `None`: there is no TLS.
    ///
    /// # Cancel safety
    /// The files may have been taken.
    #[cfg(feature = "tls")]
    pub async fn reload_tls(&self) -> Option<Outcome> {
        match self.stats.tls.get() {
            Some(tls) => Some(tls.reload().await),
            None => None,
        }
    }

    /// Takes no more sessions, tells those that are open when to come back, closes them one after another over the
    /// drain window, and ends.
    ///
    /// # Cancel safety
    /// Sessions go on being closed; threads end by themselves.
    pub async fn drain(self) {
        let span = span!("drain", sessions = self.sessions());
        self.end().instrument(span).await;
    }

    async fn end(mut self) {
        self.stats.draining.store(true, Ordering::Relaxed);
        self.accepting.cancel();
        for orders in &self.orders {
            let _ = orders.send(Order::Drain(self.drain_window)).await;
        }
        let until = Instant::now() + self.drain_window + FAREWELL;
        while self.sessions() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.running.cancel();
        self.orders.clear();
        let threads = std::mem::take(&mut self.threads);
        let joined =
            tokio::task::spawn_blocking(move || threads.into_iter().for_each(|thread| drop(thread.join())));
        let _ = tokio::time::timeout(FAREWELL, joined).await;
    }
}

/// Takes the revocations of a file. One that is not there yet has none.
fn load_revocations(gate: &Gate, path: &Path, clock: Clock) -> Result<(), StartError> {
    let wrong = |why: String| StartError::Revocations { path: path.to_owned(), why };
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(wrong(error.to_string())),
    };
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        gate.authenticator.learn(RevocationMessage::parse(line).map_err(wrong)?, clock.now());
    }
    Ok(())
}

/// Returns how many connections there may be, and logs a warning where that is less than what is configured.
fn places(config: &GatewayConfig) -> Result<Places, StartError> {
    // The threads are the shards, the hub, the history, and those that serve handshakes, with TLS and without.
    let threads = config.shards.clamp(1, 64) + 4;
    let short = |Shortage { open_files, needed }| StartError::OpenFiles { open_files, needed };
    let (places, shortage) = Places::now(&config.limits, threads).map_err(short)?;
    if let Some(Shortage { open_files, needed }) = shortage {
        tracing::warn!(
            open_files,
            needed,
            sessions = places.sessions,
            handshakes = places.handshakes,
            "the limit of open files is below what gateway.limits.sessions and gateway.limits.handshakes need, so there \
             will be fewer: raise it (ulimit -n, LimitNOFILE=), or lower them"
        );
    }
    Ok(places)
}

async fn listen(option: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { option, address, source })
}

fn local(listener: &TcpListener, configured: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(configured)
}
