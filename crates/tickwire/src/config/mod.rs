//! Configuration: read from file, environment and flags, checked whole, then turned into what the crates take.

mod serving;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod venues;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tickwire_bus::{HistoryConfig, NatsConfig, Secret, TlsConfig};
use tickwire_config::{ConfigErrors, Layers, Place};
use tickwire_feed::sim::SimConfig;
use tickwire_feed::{BarIntervals, IngestConfig};
use tickwire_gateway::{GatewayConfig, Keys, read_keys};
use tickwire_live::row::VenueConfig;
use tickwire_recordings::{Hints, Map, receive_time};
use tickwire_wire::{Channel, Encoding, is_venue};

use crate::live::table::VenueName;
#[cfg(feature = "otel")]
pub(crate) use settings::Traces;
use settings::{BusEncoding, BusHistory};
pub(crate) use settings::{LogFormat, Raw};

/// Prefix of the environment variables. Levels of a path are joined by two underscores; every setting is in a table, so a
/// variable without them is none: a service of that name in Kubernetes makes such variables.
const PREFIX: &str = "TICKWIRE_";

/// The longest name of a lease.
pub(crate) const LEASE_BYTES_MAX: usize = 64;

/// Variables without levels that have a meaning: the command line's own, and those of the project's tests.
const OTHERS: [&str; 11] = [
    "TICKWIRE_ADMIN_TOKEN_FILE",
    "TICKWIRE_CA_FILE",
    "TICKWIRE_CONFIG",
    "TICKWIRE_DATA",
    "TICKWIRE_DEMO_URL",
    "TICKWIRE_NATS_SERVER",
    "TICKWIRE_PROPTEST_CASES",
    "TICKWIRE_PYTHON",
    "TICKWIRE_TOKEN",
    "TICKWIRE_URL",
    "TICKWIRE_VECTORS",
];

/// Returns the defaults with their explanations, as `tickwire config --print-default` prints them.
pub(crate) fn template() -> String {
    tickwire_config::template::<Raw>()
}

/// Returns the variables that look like settings and are none.
pub(crate) fn ignored(environment: &[(String, String)]) -> impl Iterator<Item = &str> {
    let names = environment.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with(PREFIX) && !name.contains("__") && !OTHERS.contains(name))
}

/// A configuration without errors.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) raw: Raw,
    pub(crate) nats: NatsConfig,
    pub(crate) gateway: GatewayConfig,
    /// The keys of a gateway; none, where the command is no gateway.
    pub(crate) keys: Keys,
    pub(crate) ingest: IngestConfig,
    /// The words of the user about recordings, beside what is in them.
    pub(crate) hints: Hints,
    /// The times at which recordings begin and end to play, in nanoseconds since the Unix epoch.
    pub(crate) part: (Option<u64>, Option<u64>),
    pub(crate) sim: SimConfig,
    /// The live venues, in the order of [`VenueName::ALL`].
    venues: Vec<VenueConfig>,
}

impl Config {
    /// Returns the configuration of a live venue.
    pub(crate) fn venue(&self, venue: VenueName) -> &VenueConfig {
        &self.venues[venue as usize]
    }
}

/// A flag, the setting that it stands for, and its value: `--listen`, `gateway.listen`, `127.0.0.1:7400`.
pub(crate) type Flag = (&'static str, &'static str, Option<String>);

/// The layers of the configuration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) file: Option<PathBuf>,
    /// Name and value.
    pub(crate) environment: Vec<(String, String)>,
    /// The values of `--set`: `gateway.listen=127.0.0.1:7400`.
    pub(crate) sets: Vec<String>,
    pub(crate) flags: Vec<Flag>,
    pub(crate) purpose: Purpose,
}

/// The reason for reading the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Nobody will connect to this process. Files of a gateway need not be there, because a configuration may be shared.
    #[default]
    Other,
    /// A gateway is started.
    Serve,
}

/// Reads and checks everything.
///
/// # Errors
/// All errors of all layers.
pub(crate) fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
    let mut layers = Layers::of::<Raw>();
    if let Some(file) = &sources.file {
        let name = file.display().to_string();
        match std::fs::read_to_string(file) {
            Ok(text) => layers.file(&name, &text),
            Err(error) => {
                let problem = format!("cannot be read: {error}; check the path given with --config");
                layers.note(Place::Whole(name), problem);
            }
        }
    }
    for (name, value) in &sources.environment {
        layers.variable(PREFIX, name, value);
    }
    for pair in &sources.sets {
        layers.pair("--set", pair);
    }
    for (flag, path, value) in &sources.flags {
        if let Some(value) = value {
            layers.flag(flag, path, value);
        }
    }
    let raw: Raw = layers.read();
    let nats = nats(&raw, &mut layers);
    let gateway = raw.gateway.config(&mut layers, raw.bus.history.enabled);
    let mut keys = Keys::default();
    if sources.purpose == Purpose::Serve {
        serving::check(&raw, &gateway, &mut layers);
        keys = read_keys(&raw.gateway.auth, &mut layers);
        if let Some(token) = &gateway.admin_token {
            keys.watch_admin_token(&raw.gateway.admin_token_file, token);
        }
    }
    let ingest = ingest(&raw, &mut layers);
    let (hints, part) = recordings(&raw, &mut layers);
    let sim = sim(&raw, &mut layers);
    let venues = VenueName::ALL
        .iter()
        .map(|venue| venues::venue(venue.row(), venue.table(), venue.settings(&raw.ingest), &mut layers));
    let venues = venues.collect();
    if let Err(error) = tracing_subscriber::EnvFilter::builder().parse(&raw.log.level) {
        layers.wrong("log.level", format_args!("`{}` is no filter: {error}", raw.log.level));
    }
    layers.finish("configuration", "`tickwire config --print-default` shows every line with its default")?;
    Ok(Config { raw, nats, gateway, keys, ingest, hints, part, sim, venues })
}

fn nats(raw: &Raw, layers: &mut Layers) -> NatsConfig {
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
        layers.wrong(&format!("bus.{field}"), format_args!("{}; {}", error.problem, error.remedy));
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
        replicas: from.replicas,
    }
}

fn ingest(raw: &Raw, layers: &mut Layers) -> IngestConfig {
    let from = &raw.ingest;
    let is_lease = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if from.lease.len() > LEASE_BYTES_MAX || !from.lease.chars().all(is_lease) {
        let may = "letters, digits, `-` and `_`";
        layers.wrong(
            "ingest.lease",
            format_args!("`{}` cannot name a lease: {may}, {LEASE_BYTES_MAX} at most", from.lease),
        );
    }
    let bars = BarIntervals::parse(&from.bars).unwrap_or_else(|errors| {
        for error in errors {
            layers.wrong("ingest.bars", format_args!("{error}"));
        }
        BarIntervals::default()
    });
    IngestConfig {
        bars,
        encoding: match from.encoding {
            BusEncoding::Proto => Encoding::Proto,
            BusEncoding::Msgpack => Encoding::MsgPack,
        },
        stall_after: Duration::from_millis(from.stall_ms),
        ..IngestConfig::default()
    }
}

/// Returns what is said of recordings, and the part of them that is to be played.
fn recordings(raw: &Raw, layers: &mut Layers) -> (Hints, (Option<u64>, Option<u64>)) {
    let replay = &raw.ingest.replay;
    if !replay.venue.is_empty() && !is_venue(&replay.venue) {
        layers.wrong("ingest.replay.venue", format_args!("`{}` cannot name a venue", replay.venue));
    }
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let format = text(&replay.format).and_then(|name| {
        name.parse()
            .map_err(|error: String| layers.wrong("ingest.replay.format", format_args!("{error}")))
            .ok()
    });
    let day = text(&replay.date).and_then(|day| {
        day.parse().map_err(|error: String| layers.wrong("ingest.replay.date", format_args!("{error}"))).ok()
    });
    let map = text(&replay.map).and_then(|path| {
        let map = Map::read(std::path::Path::new(&path));
        map.map_err(|error| layers.wrong("ingest.replay.map", format_args!("{error}"))).ok().map(Arc::new)
    });
    let mut time = |path: &str, text: &String| -> Option<u64> {
        if text.is_empty() {
            return None;
        }
        let read = receive_time(text);
        if read.is_none() {
            let remedy = "write 2024-08-08T23:55:00Z, or nanoseconds since 1970";
            layers.wrong(path, format_args!("`{text}` is no time: {remedy}"));
        }
        read
    };
    let part = (time("ingest.replay.from", &replay.from), time("ingest.replay.to", &replay.to));
    if let (Some(from), Some(to)) = part
        && from >= to
    {
        layers.wrong("ingest.replay.to", format_args!("has to be later than ingest.replay.from"));
    }
    (Hints { format, venue: text(&replay.venue), day, map }, part)
}

fn sim(raw: &Raw, layers: &mut Layers) -> SimConfig {
    let from = &raw.ingest.sim;
    let sim = SimConfig {
        seed: from.seed,
        instruments: from.instruments,
        events_per_second: from.events_per_second,
        depth: from.depth,
        burst_factor: from.burst_factor,
        halts_per_hour: from.halts_per_hour,
        halt_seconds: from.halt_seconds,
        ..SimConfig::default()
    };
    for error in sim.config_errors() {
        let problem = format_args!("{} is not within {}", error.value, error.range);
        layers.wrong(&format!("ingest.sim.{}", error.field), problem);
    }
    sim
}
