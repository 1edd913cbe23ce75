//! A venue that speaks a real one's protocol over real sockets, for tests and for trying out.
//!
//! The market is the one of [`tickwire_feed::sim`], by a seed, or a recording of Binance. REST and streams are at one address.
//! Faults happen when they are asked for ([`SimVenue::inject`]) or at their time. It counts what clients do beyond the venue's limits, and knows
//! every book that was ever true, so that a test can tell whether what a client shows was.

mod binance;
mod bitstamp;
mod bybit;
mod client;
mod coinbase;
mod exchange;
mod fault;
mod kraken;
mod okx;
mod pages;
mod playback;
mod protocol;
mod session;
mod shared;
mod state;
mod symbol;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tickwire_feed::adapter::Levels;
use tickwire_feed::binance::Market;
use tickwire_feed::sim::{Sim, SimConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::binance::Binance;
use self::bitstamp::Bitstamp;
use self::bybit::Bybit;
use self::coinbase::Coinbase;
use self::exchange::{Exchange, Source};
pub use self::fault::{Fault, FaultError, TimedFault};
use self::kraken::Kraken;
use self::okx::Okx;
use self::playback::Playback;
use self::protocol::Protocol;
use self::shared::{Shared, now};
pub use self::state::SimReport;
use self::state::State;
use self::symbol::Symbol;

/// The venues that can be simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimKind {
    /// Binance spot.
    Binance,
    /// Binance USD-M futures.
    BinanceUsdm,
    /// Bitstamp.
    Bitstamp,
    /// Bybit spot.
    Bybit,
    /// The linear contracts of Bybit.
    BybitLinear,
    /// Kraken.
    Kraken,
    /// Coinbase, the Advanced Trade API.
    Coinbase,
    /// OKX.
    Okx,
}

impl SimKind {
    fn protocol(self) -> Box<dyn Protocol> {
        match self {
            Self::Binance => Box::new(Binance::new(Market::Spot)),
            Self::BinanceUsdm => Box::new(Binance::new(Market::Usdm)),
            Self::Bitstamp => Box::new(Bitstamp::default()),
            Self::Bybit => Box::new(Bybit::new(true)),
            Self::BybitLinear => Box::new(Bybit::new(false)),
            Self::Kraken => Box::new(Kraken::default()),
            Self::Coinbase => Box::new(Coinbase::default()),
            Self::Okx => Box::new(Okx::default()),
        }
    }
}

/// The configuration of a simulated venue.
#[derive(Clone, Debug)]
pub struct SimVenueConfig {
    /// The venue.
    pub kind: SimKind,
    /// The address to listen at; port 0 takes any.
    pub listen: SocketAddr,
    /// The seed of the market.
    pub seed: u64,
    /// The number of symbols.
    pub instruments: usize,
    /// The events a second, over all symbols.
    pub events_per_second: f64,
    /// The time between two changes of depth.
    pub flush_every: Duration,
    /// The time between two signs of life. Where these are pings, a connection that answers none of three is cut off.
    pub ping_every: Duration,
    /// A recording of Binance that is played in place of a simulated market: lines of `<nanoseconds> <json>`, plain or gzip.
    pub recording: Option<PathBuf>,
    /// Recorded seconds per second.
    pub speed: f64,
    /// Symbols that are not listed until a fault lists them.
    pub unlisted: Vec<String>,
    /// Faults and their times.
    pub faults: Vec<TimedFault>,
}

impl Default for SimVenueConfig {
    fn default() -> Self {
        Self {
            kind: SimKind::Binance,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            seed: 1,
            instruments: 8,
            events_per_second: 500.0,
            flush_every: Duration::from_millis(100),
            ping_every: Duration::from_secs(20),
            recording: None,
            speed: 1.0,
            unlisted: Vec::new(),
            faults: Vec::new(),
        }
    }
}

/// A simulated venue that runs until it is dropped.
#[derive(Debug)]
pub struct SimVenue {
    shared: Arc<Shared>,
    address: SocketAddr,
    _stop: DropGuard,
}

impl SimVenue {
    /// Starts listening, with a market that is open.
    ///
    /// # Errors
    /// When the address cannot be listened at, the market cannot be simulated, or the venue cannot have one of the faults.
    pub async fn start(config: SimVenueConfig) -> io::Result<Self> {
        let (source, symbols) = source(&config)?;
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let mut state = State::new(Exchange::new(config.kind.protocol(), source, symbols));
        if config.recording.is_none() {
            state.open(config.instruments, &config.unlisted, now());
        }
        for timed in &config.faults {
            state.check(&timed.fault).map_err(io::Error::other)?;
        }
        let stop = CancellationToken::new();
        let shared =
            Arc::new(Shared { state: Mutex::new(state), ping_every: config.ping_every, stop: stop.clone() });
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(listener, Arc::clone(&shared))));
        tokio::spawn(stop.clone().run_until_cancelled_owned(trade(config, Arc::clone(&shared))));
        Ok(Self { shared, address, _stop: stop.drop_guard() })
    }

    /// Returns the address of streams and REST.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the root of the streams.
    pub fn stream_url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Returns the root of the REST service.
    pub fn rest_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Makes a fault happen now.
    ///
    /// # Errors
    /// When the venue cannot have it, or what it names is not there.
    pub fn inject(&self, fault: &Fault) -> Result<(), FaultError> {
        self.shared.state().inject(fault)
    }

    /// Stops the market: nothing more happens. Everything that happened was sent.
    pub fn pause(&self) {
        self.shared.state().pause(now());
    }

    /// Lets the market go on.
    pub fn resume(&self) {
        self.shared.state().resume();
    }

    /// Returns the names of the symbols, the busiest first.
    pub fn symbols(&self) -> Vec<String> {
        self.shared.state().exchange.symbols.iter().map(|symbol| symbol.name.clone()).collect()
    }

    /// Returns the book of a symbol; an empty one where there is no such symbol.
    pub fn book(&self, symbol: &str) -> Levels {
        self.shared.state().exchange.symbol(symbol).map(Symbol::book).unwrap_or_default()
    }

    /// Returns whether a symbol had this book, among the last 20,000 ones.
    pub fn was_true(&self, symbol: &str, book: &Levels) -> bool {
        self.shared.state().exchange.symbol(symbol).is_some_and(|symbol| symbol.was_true(book))
    }

    /// Returns the decimals of a symbol's prices and sizes, in whose units its books are.
    pub fn decimals(&self, symbol: &str) -> (u32, u32) {
        self.shared.state().exchange.symbol(symbol).map(Symbol::decimals).unwrap_or_default()
    }

    /// Returns the id of the last trade of a symbol.
    pub fn last_trade(&self, symbol: &str) -> u64 {
        self.shared.state().exchange.symbol(symbol).map_or(0, |symbol| symbol.trade)
    }

    /// Returns what clients did.
    pub fn report(&self) -> SimReport {
        self.shared.state().report
    }
}

fn source(config: &SimVenueConfig) -> io::Result<(Source, Vec<Symbol>)> {
    if let Some(path) = &config.recording {
        if !matches!(config.kind, SimKind::Binance | SimKind::BinanceUsdm) {
            return Err(io::Error::other("only recordings of Binance can be played"));
        }
        let (playback, symbols) = Playback::open(path, config.speed)?;
        return Ok((Source::Recording(playback), symbols));
    }
    let sim = Sim::new(SimConfig {
        seed: config.seed,
        instruments: config.instruments,
        events_per_second: config.events_per_second,
        halts_per_hour: 0.0,
        ..SimConfig::default()
    });
    Ok((Source::Market(Box::new(sim.map_err(io::Error::other)?)), Vec::new()))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let stop = shared.stop.clone();
                tokio::spawn(stop.run_until_cancelled_owned(serve(stream, Arc::clone(&shared))));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| pages::respond(request, Arc::clone(&shared)));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Lets the market go on: half of what happens comes before snapshots may be taken, half behind, so that they end in the
/// middle of a message.
async fn trade(config: SimVenueConfig, shared: Arc<Shared>) {
    let started = Instant::now();
    let mut faults = config.faults;
    faults.sort_by_key(|fault| fault.at);
    let mut faults = faults.into_iter().peekable();
    let mut ticks = interval(config.flush_every / 2);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let per_tick = config.events_per_second * config.flush_every.as_secs_f64() / 2.0;
    let mut owed = 0.0;
    let mut is_flush = false;
    loop {
        ticks.tick().await;
        owed += per_tick;
        let count = owed as usize;
        owed -= count as f64;
        let mut state = shared.state();
        while let Some(due) = faults.next_if(|fault| fault.at <= started.elapsed()) {
            tracing::info!(fault = %due.fault, "fault");
            if let Err(error) = state.inject(&due.fault) {
                tracing::warn!(%error, "a fault did not happen");
            }
        }
        state.tick(count, is_flush, now());
        is_flush = !is_flush;
    }
}
