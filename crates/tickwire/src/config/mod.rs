//! Configuration: read from file, environment and flags, checked whole, then turned into what the crates take.

mod layers;
mod raw;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tickwire_bus::{HistoryConfig, NatsConfig, Secret, TlsConfig};
use tickwire_core::engine::BackfillLimits;
use tickwire_feed::IngestConfig;
use tickwire_feed::sim::SimConfig;
use tickwire_gateway::{GatewayConfig, Pacing};
use tickwire_wire::{Channel, Encoding, is_venue};

pub(crate) use layers::{Sources, ignored, load};
use raw::BusHistory;
pub(crate) use raw::Raw;

/// The defaults with their explanations, as `tickwire config --print-default` prints them.
pub(crate) const DEFAULT: &str = include_str!("default.toml");

/// One mistake in the configuration: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    pub(crate) place: String,
    pub(crate) problem: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// All mistakes of a configuration.
#[derive(Debug)]
pub(crate) struct Mistakes(pub(crate) Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        for mistake in &self.0 {
            write!(f, "\n  {mistake}")?;
        }
        f.write_str("\n`tickwire config --print-default` shows every line with its default")
    }
}

impl std::error::Error for Mistakes {}

/// A configuration without mistakes.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) raw: Raw,
    pub(crate) nats: NatsConfig,
    pub(crate) gateway: GatewayConfig,
    pub(crate) ingest: IngestConfig,
    pub(crate) sim: SimConfig,
}

/// Collects mistakes while values are turned into what they mean.
struct Check {
    mistakes: Vec<Mistake>,
}

impl Check {
    fn that(&mut self, good: bool, place: &str, problem: impl fmt::Display) {
        if !good {
            self.mistakes.push(Mistake { place: place.to_owned(), problem: problem.to_string() });
        }
    }

    fn address(&mut self, place: &str, text: &str) -> std::net::SocketAddr {
        text.parse().unwrap_or_else(|_| {
            self.that(false, place, format_args!("`{text}` is no address; write it as 127.0.0.1:7400"));
            std::net::SocketAddr::from(([127, 0, 0, 1], 0))
        })
    }

    fn range(&mut self, place: &str, value: u64, low: u64, high: u64) {
        self.that(
            (low..=high).contains(&value),
            place,
            format_args!("{value} is not within {low} to {high}"),
        );
    }
}

/// Turns raw values into a configuration.
///
/// # Errors
/// All mistakes, not only the first.
pub(crate) fn check(raw: Raw) -> Result<Config, Mistakes> {
    let mut check = Check { mistakes: Vec::new() };
    let nats = nats(&raw, &mut check);
    let gateway = gateway(&raw, &mut check);
    let ingest = ingest(&raw, &mut check);
    let sim = sim(&raw, &mut check);
    log(&raw, &mut check);
    if check.mistakes.is_empty() {
        Ok(Config { raw, nats, gateway, ingest, sim })
    } else {
        Err(Mistakes(check.mistakes))
    }
}

fn nats(raw: &Raw, check: &mut Check) -> NatsConfig {
    let bus = &raw.bus;
    let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let secret = |text: &str| (!text.is_empty()).then(|| Secret::new(text));
    let nats = NatsConfig {
        servers: bus.servers.clone(),
        credentials_file: path(&bus.credentials_file),
        nkey_seed_file: path(&bus.nkey_seed_file),
        user: text(&bus.user),
        password: secret(&bus.password),
        token: secret(&bus.token),
        tls: TlsConfig {
            ca_file: path(&bus.ca_file),
            cert_file: path(&bus.cert_file),
            key_file: path(&bus.key_file),
            required: bus.tls_required,
        },
        name: bus.name.clone(),
        history: bus.history.enabled.then(|| history(&bus.history)),
        ..NatsConfig::default()
    };
    for error in nats.validate().err().into_iter().flatten() {
        let field = error.field.replace("tls.", "").replace("max_age", "max_age_s");
        check.that(false, &format!("bus.{field}"), format_args!("{}; {}", error.problem, error.remedy));
    }
    nats
}

fn history(from: &BusHistory) -> HistoryConfig {
    let lossless = Channel::ALL.into_iter().filter(|channel| channel.is_lossless());
    HistoryConfig {
        stream: from.stream.clone(),
        channels: lossless.map(|channel| channel.name().to_owned()).collect(),
        make: from.make,
        max_age: Duration::from_secs(from.max_age_s),
        max_bytes: from.max_bytes,
        replicas: from.replicas as usize,
    }
}

fn gateway(raw: &Raw, check: &mut Check) -> GatewayConfig {
    let from = &raw.gateway;
    let mut gateway = GatewayConfig {
        listen: check.address("gateway.listen", &from.listen),
        admin_listen: check.address("gateway.admin_listen", &from.admin_listen),
        pacing: Pacing {
            ratio: from.cork_percent as f64 / 100.0,
            wait_max: Duration::from_micros(from.cork_us),
        },
        handshake_timeout: Duration::from_millis(from.handshake_ms),
        drain_window: Duration::from_millis(from.drain_ms),
        feed_down_after: Duration::from_millis(from.feed_down_ms),
        ..GatewayConfig::default()
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    gateway.shards = if from.shards == 0 { cores.div_ceil(2).min(64) } else { from.shards as usize };
    if gateway.listen == gateway.admin_listen && gateway.listen.port() != 0 {
        check.that(false, "gateway.admin_listen", "is the same as gateway.listen; give it a port of its own");
    }
    check.range("gateway.shards", from.shards, 0, 64);
    check.range("gateway.cork_us", from.cork_us, 0, 100_000);
    check.range("gateway.cork_percent", from.cork_percent, 0, 10_000);
    check.range("gateway.handshake_ms", from.handshake_ms, 100, 60_000);
    check.range("gateway.drain_ms", from.drain_ms, 0, 600_000);
    check.range("gateway.feed_down_ms", from.feed_down_ms, 600, 60_000);
    check.range("gateway.heartbeat_ms", from.heartbeat_ms, 100, 60_000);
    check.range("gateway.ping_ms", from.ping_ms, 100, 600_000);
    check.range("gateway.conflating_after_ms", from.conflating_after_ms, 50, 60_000);
    if from.freshness_ms > 0 {
        check.range("gateway.freshness_ms", from.freshness_ms, 10, 60_000);
    }
    check.range("gateway.prompt_after_ms", from.prompt_after_ms, 50, 60_000);
    check.range("gateway.unanswered_ms", from.unanswered_ms, 100, 60_000);
    check.range("gateway.no_progress_ms", from.no_progress_ms, 1_000, 600_000);
    check.range("gateway.linger_ms", from.linger_ms, 0, 3_600_000);
    check.range("gateway.history_ms", from.history_ms, 100, 4_000);
    let limits = &from.limits;
    for (place, value, low, high) in [
        ("memory_bytes", limits.memory_bytes, 16 << 20, 1 << 40),
        ("sessions", limits.sessions, 1, 1_000_000),
        ("handshakes", limits.handshakes, 4, 65_536),
        ("admin_connections", limits.admin_connections, 4, 1_024),
        ("subscriptions", limits.subscriptions, 1, 1 << 26),
        ("subscriptions_per_session", limits.subscriptions_per_session, 1, 65_536),
        ("command_bytes", limits.command_bytes, 256, 1 << 20),
        ("commands_per_second", limits.commands_per_second, 1, 100_000),
        ("window_first_bytes", limits.window_first_bytes, 64, 1 << 20),
        ("window_max_bytes", limits.window_max_bytes, 4 << 10, 1 << 30),
        ("shed_end_bytes", limits.shed_end_bytes, 0, 1 << 30),
        ("shed_bytes", limits.shed_bytes, 16 << 10, 1 << 30),
        ("close_bytes", limits.close_bytes, 64 << 10, 1 << 30),
        ("log_records", limits.log_records, 16, 1 << 20),
        ("log_bytes", limits.log_bytes, 16 << 10, 1 << 30),
        ("history_records", limits.history_records, 1, 1 << 32),
        ("venues", limits.venues, 1, 4096),
        ("instruments", limits.instruments, 1, 1 << 22),
        ("topics", limits.topics, 1, 1 << 22),
        ("bus_messages", limits.bus_messages, 64, 1 << 24),
        ("bus_bytes", limits.bus_bytes, 1 << 20, 1 << 36),
        ("waiting_bytes", limits.waiting_bytes, 64 << 10, 1 << 36),
        ("book_levels", limits.book_levels, 1_000, 1 << 32),
        ("socket_send_bytes", limits.socket_send_bytes, 0, 1 << 26),
        ("socket_unsent_bytes", limits.socket_unsent_bytes, 2048, 1 << 26),
    ] {
        check.range(&format!("gateway.limits.{place}"), value, low, high);
    }
    check.that(
        (0.01..=1e6).contains(&limits.rate_max),
        "gateway.limits.rate_max",
        "must be from 0.01 to 1000000 updates per second",
    );
    let above = limits.close_bytes > limits.shed_bytes;
    check.that(
        above,
        "gateway.limits.close_bytes",
        "must be above shed_bytes, so that dropping comes before closing",
    );
    check.that(
        limits.shed_end_bytes < limits.shed_bytes,
        "gateway.limits.shed_end_bytes",
        "must be below shed_bytes, so that trades do not begin and cease to flow at every record",
    );
    let ns = |ms: u64| ms.saturating_mul(1_000_000);
    let to = &mut gateway.limits;
    to.memory_bytes = limits.memory_bytes as usize;
    to.subscriptions = limits.subscriptions as usize;
    to.sessions = limits.sessions as usize;
    to.handshakes = limits.handshakes as usize;
    to.admin_connections = limits.admin_connections as usize;
    to.venues = limits.venues as usize;
    to.instruments = limits.instruments as usize;
    to.topics = limits.topics as usize;
    to.bus_messages = limits.bus_messages as usize;
    to.bus_bytes = limits.bus_bytes as usize;
    to.waiting_bytes = limits.waiting_bytes as usize;
    to.socket_send_bytes = limits.socket_send_bytes as usize;
    to.socket_unsent_bytes = limits.socket_unsent_bytes as usize;
    let (records_max, timeout_ns) = (limits.history_records, ns(from.history_ms));
    to.backfill = raw.bus.history.enabled.then_some(BackfillLimits { records_max, timeout_ns });
    let engine = &mut to.engine;
    engine.subscriptions_per_session = limits.subscriptions_per_session as usize;
    engine.rate_max = limits.rate_max;
    engine.command_bytes = limits.command_bytes as usize;
    engine.commands_per_second = limits.commands_per_second as u32;
    engine.book_levels = limits.book_levels as usize;
    engine.shed_bytes = limits.shed_bytes as usize;
    engine.shed_end_bytes = limits.shed_end_bytes as usize;
    engine.window_first_bytes = limits.window_first_bytes as usize;
    engine.window_max_bytes = limits.window_max_bytes as usize;
    engine.close_bytes = limits.close_bytes as usize;
    engine.log_records_per_topic = limits.log_records as usize;
    engine.log_bytes_per_topic = limits.log_bytes as usize;
    engine.heartbeat_ns = ns(from.heartbeat_ms);
    engine.ping_after_ns = ns(from.ping_ms);
    engine.conflating_after_ns = ns(from.conflating_after_ms);
    engine.freshness_ns = ns(from.freshness_ms);
    engine.prompt_after_ns = ns(from.prompt_after_ms);
    engine.unanswered_ns = ns(from.unanswered_ms);
    engine.no_progress_ns = ns(from.no_progress_ms);
    engine.linger_ns = ns(from.linger_ms);
    gateway
}

fn ingest(raw: &Raw, check: &mut Check) -> IngestConfig {
    let from = &raw.ingest;
    let encoding = Encoding::from_name(&from.encoding).filter(|encoding| *encoding != Encoding::Json);
    check.that(
        encoding.is_some(),
        "ingest.encoding",
        format_args!("`{}` is not proto or msgpack", from.encoding),
    );
    check.range("ingest.stall_ms", from.stall_ms, 1_000, 86_400_000);
    let replay = &from.replay;
    let venue = replay.venue.is_empty() || is_venue(&replay.venue);
    check.that(venue, "ingest.replay.venue", format_args!("`{}` cannot name a venue", replay.venue));
    let speed = (0.0..=1e6).contains(&replay.speed);
    check.that(speed, "ingest.replay.speed", format_args!("{} is not within 0 to 1000000", replay.speed));
    IngestConfig {
        encoding: encoding.unwrap_or(Encoding::Proto),
        stall_after: Duration::from_millis(from.stall_ms),
        ..IngestConfig::default()
    }
}

fn sim(raw: &Raw, check: &mut Check) -> SimConfig {
    let from = &raw.ingest.sim;
    let sim = SimConfig {
        seed: from.seed,
        instruments: from.instruments as usize,
        events_per_second: from.events_per_second,
        depth: from.depth as usize,
        burst_factor: from.burst_factor,
        halts_per_hour: from.halts_per_hour,
        halt_seconds: from.halt_seconds,
        ..SimConfig::default()
    };
    for error in sim.config_errors() {
        let problem = format!("{} is not within {}", error.value, error.range);
        check.that(false, &format!("ingest.sim.{}", error.field), problem);
    }
    sim
}

fn log(raw: &Raw, check: &mut Check) {
    let format = &raw.log.format;
    check.that(
        matches!(format.as_str(), "text" | "json"),
        "log.format",
        format_args!("`{format}` is not text or json"),
    );
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&raw.log.level) {
        check.that(false, "log.level", format_args!("`{}` is no filter: {error}", raw.log.level));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_defaults_are_the_defaults() {
        let printed: Raw = toml::from_str(DEFAULT).unwrap();
        assert_eq!(printed, Raw::default());
        let config = check(Raw::default()).unwrap();
        let expected = GatewayConfig { shards: config.gateway.shards, ..GatewayConfig::default() };
        assert_eq!(config.gateway, expected);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let mut raw = Raw::default();
        raw.gateway.listen = "everywhere".to_owned();
        raw.gateway.limits.sessions = 0;
        raw.gateway.limits.close_bytes = 65_536;
        raw.bus.servers = vec!["http://x".to_owned()];
        raw.ingest.encoding = "json".to_owned();
        raw.ingest.sim.depth = 3;
        raw.ingest.sim.burst_factor = 99.0;
        raw.log.format = "xml".to_owned();
        let Err(Mistakes(mistakes)) = check(raw) else { panic!("taken for good") };
        let places: Vec<_> = mistakes.iter().map(|mistake| mistake.place.as_str()).collect();
        for place in [
            "bus.servers[0]",
            "gateway.listen",
            "gateway.limits.sessions",
            "gateway.limits.close_bytes",
            "ingest.encoding",
            "ingest.sim.depth",
            "ingest.sim.burst_factor",
            "log.format",
        ] {
            assert!(places.contains(&place), "{place} is missing in {places:?}");
        }
    }
}
