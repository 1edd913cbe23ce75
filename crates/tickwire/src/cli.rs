//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tickwire_config::ConfigErrors;

use crate::bus_flags::{BusFlags, IngestFlags};
use crate::config::{self, Config, Flag, Purpose, Sources};
use crate::doctor::DoctorCommand;
use crate::live::{LiveSource, SimVenueCommand, VenueName};
use crate::logs;
use crate::record::RecordCommand;
use crate::tap::TapCommand;
use crate::token::{RevokeCommand, TokenCommand};
use crate::top::TopCommand;

/// A wrong command line that the parser cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Market data the last mile: from exchange feeds to dashboards and programs, as binary WebSocket streams.
#[derive(Debug, Parser)]
#[command(name = "tickwire", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Example:\n  tickwire demo            then open http://127.0.0.1:7400/ in a browser")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command takes.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Configuration file (TOML); see `tickwire config --print-default`
    #[arg(long, global = true, value_name = "FILE", env = "TICKWIRE_CONFIG", help_heading = "Settings")]
    config: Option<PathBuf>,
    /// Any setting by its path, as in `--set gateway.limits.sessions=100`; may be given several times
    #[arg(long = "set", global = true, value_name = "PATH=VALUE", help_heading = "Settings")]
    set: Vec<String>,
    /// Log level: error, warn, info, debug, trace, or a filter
    #[arg(long, global = true, value_name = "LEVEL", help_heading = "Settings")]
    log_level: Option<String>,
    /// Log format: text, json
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Settings")]
    log_format: Option<String>,
}

impl Settings {
    /// Reads the whole configuration, with a command's own flags on top, and starts logging.
    pub(crate) fn load(&self, flags: &[Flag]) -> Result<Config, ConfigErrors> {
        self.load_for(Purpose::Other, flags)
    }

    /// Reads the configuration as [`Settings::load`] does, for a certain purpose.
    pub(crate) fn load_for(&self, purpose: Purpose, flags: &[Flag]) -> Result<Config, ConfigErrors> {
        let mut named: Vec<Flag> = vec![
            ("--log-level", "log.level", self.log_level.clone()),
            ("--log-format", "log.format", self.log_format.clone()),
        ];
        named.extend_from_slice(flags);
        let (file, sets) = (self.config.clone(), self.set.clone());
        let sources = Sources { file, environment: std::env::vars().collect(), sets, flags: named, purpose };
        let config = config::load(&sources)?;
        logs::start(&config.raw, purpose == Purpose::Serve);
        for name in config::ignored(&sources.environment) {
            tracing::warn!(
                name,
                "not a setting: levels are joined by two underscores, as in TICKWIRE_GATEWAY__LISTEN"
            );
        }
        Ok(config)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything in one process: a simulated, recorded or live market, a gateway, and a page to look at
    #[command(after_help = "Examples:\n  tickwire demo\n  tickwire demo --replay recording.gz --speed 2\n  \
        tickwire demo --venue binance\n  \
        tickwire demo --bus nats://127.0.0.1:4222 --listen 0.0.0.0:7400 --insecure")]
    Demo(DemoCommand),
    /// Normalizes a source and publishes it on the bus
    #[command(after_help = "Examples:\n  tickwire ingest sim --instruments 500 --rate 100000\n  \
        tickwire ingest replay recording.gz --speed 10 --loop\n  \
        tickwire ingest binance --symbols 'BTCUSDT,ETH*' --dry-run")]
    Ingest(IngestCommand),
    /// Says what is in recordings: instruments, times, rates, gaps, damage
    #[command(after_help = "Examples:\n  tickwire inspect esh4-glbx-mdp3-20231225.mbo.dbn.zst\n  \
        tickwire inspect recording.gz --json\n\nExit status: 0 all of it could be read, 3 some of it could not")]
    Inspect(InspectCommand),
    /// Records what passes the bus, byte for byte, in files that rotate
    Record(RecordCommand),
    /// Writes recordings as Parquet, by the program `tickwire-export`; `tickwire export --help` has its options
    #[command(disable_help_flag = true)]
    Export {
        /// The arguments that are handed on
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
        arguments: Vec<OsString>,
    },
    /// Simulates a venue that speaks its real protocol over real sockets, with faults on demand
    #[command(
        after_help = "Examples:\n  tickwire sim-venue binance --fault 10s:gap --fault 20s:disconnect\n  \
        tickwire ingest binance --stream-url ws://127.0.0.1:9400 --rest-url http://127.0.0.1:9400 --dry-run"
    )]
    SimVenue(SimVenueCommand),
    /// Serves sessions at ws://ADDRESS/v1/stream from what is on the bus
    #[command(
        after_help = "Examples:\n  tickwire gateway --bus nats://127.0.0.1:4222 --listen 0.0.0.0:7400 \\\n    \
        --tls-cert cert.pem --tls-key key.pem --set gateway.auth.keys=/etc/tickwire/idp.pem\n  \
        tickwire gateway --anonymous\n  curl http://127.0.0.1:7401/readyz"
    )]
    Gateway(GatewayCommand),
    /// Shows or records a stream
    Tap(TapCommand),
    /// Shows the sessions of a gateway live, the worst first
    Top(TopCommand),
    /// Checks an installation from outside, and says what is wrong in plain words
    Doctor(DoctorCommand),
    /// Makes a token for development, or a key
    #[command(after_help = "Examples:\n  tickwire token key --secret dev.secret\n  \
        tickwire token --key dev.secret --sub me --grant '*'\n  \
        tickwire token --key dev.pem --kid k1 --sub desk-7 --grant 'binance:BTC* quote,trade' --ttl 15m --json\n  \
        tickwire token --key dev.secret --sub me --grant '*' --print-claims")]
    Token(TokenCommand),
    /// Revokes tokens at all gateways
    #[command(after_help = "Examples:\n  tickwire revoke --sub desk-7\n  \
        tickwire revoke --jti 5f2b9c0d1e3a4b5c6d7e8f90 --bus nats://bus:4222\n  \
        tickwire revoke --sub desk-7 --not-before 1767623400 --json")]
    Revoke(RevokeCommand),
    /// Shows the configuration in force, or all defaults
    #[command(after_help = "Example:\n  tickwire config --print-default > tickwire.toml")]
    Config(ConfigCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ListenFlags {
    /// Address where sessions connect
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address of health and metrics
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Certificate for TLS, with its chain (PEM); with --tls-key
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// Key of that certificate (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// Listen without TLS on an address that is not loopback
    #[arg(long)]
    insecure: bool,
}

impl ListenFlags {
    pub(crate) fn settings(&self) -> [Flag; 5] {
        [
            ("--listen", "gateway.listen", self.listen.clone()),
            ("--admin-listen", "gateway.admin_listen", self.admin_listen.clone()),
            ("--tls-cert", "gateway.tls.cert_file", self.tls_cert.clone()),
            ("--tls-key", "gateway.tls.key_file", self.tls_key.clone()),
            ("--insecure", "gateway.insecure", self.insecure.then(|| "true".to_owned())),
        ]
    }
}

#[derive(Debug, Args)]
pub(crate) struct SimFlags {
    /// The same seed always gives the same market
    #[arg(long)]
    seed: Option<u64>,
    /// Number of instruments
    #[arg(long)]
    instruments: Option<u64>,
    /// Events per second, over all instruments
    #[arg(long, value_name = "EVENTS")]
    rate: Option<f64>,
    /// Levels on each side of a book
    #[arg(long)]
    depth: Option<u64>,
}

impl SimFlags {
    pub(crate) fn settings(&self) -> [Flag; 4] {
        [
            ("--seed", "ingest.sim.seed", self.seed.map(|value| value.to_string())),
            ("--instruments", "ingest.sim.instruments", self.instruments.map(|value| value.to_string())),
            ("--rate", "ingest.sim.events_per_second", self.rate.map(|value| value.to_string())),
            ("--depth", "ingest.sim.depth", self.depth.map(|value| value.to_string())),
        ]
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReplayFlags {
    /// Recorded seconds per second; 0: as fast as it goes
    #[arg(long)]
    speed: Option<f64>,
    /// Start again at the end
    #[arg(long = "loop")]
    looped: bool,
    /// Shift recorded times so that the recording starts now
    #[arg(long)]
    rebase: bool,
    /// Begin at this time, with what held then: 2024-08-08T23:55:00Z, or nanoseconds since 1970
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    #[command(flatten)]
    hints: HintFlags,
}

/// The words of the user about recordings, beside what is in them.
#[derive(Debug, Args)]
pub(crate) struct HintFlags {
    /// Format of the recordings (binance, bus, cryptofeed, csv, dbn, iex, itch, lobster, stream, tardis); told by their content unless given
    #[arg(long)]
    format: Option<String>,
    /// Venue of the recordings; told by their content unless given
    #[arg(long)]
    venue: Option<String>,
    /// Day of trading (2020-01-30), where times are counted from midnight; told by the name of the file unless given
    #[arg(long)]
    date: Option<String>,
    /// Mapping of the columns of plain CSV, in TOML; docs/recordings.md has examples
    #[arg(long, value_name = "FILE")]
    map: Option<String>,
}

impl HintFlags {
    pub(crate) fn settings(&self) -> [Flag; 4] {
        [
            ("--format", "ingest.replay.format", self.format.clone()),
            ("--venue", "ingest.replay.venue", self.venue.clone()),
            ("--date", "ingest.replay.date", self.date.clone()),
            ("--map", "ingest.replay.map", self.map.clone()),
        ]
    }
}

impl ReplayFlags {
    pub(crate) fn settings(&self) -> Vec<Flag> {
        let own = [
            ("--from", "ingest.replay.from", self.from.clone()),
            ("--to", "ingest.replay.to", self.to.clone()),
            ("--speed", "ingest.replay.speed", self.speed.map(|value| value.to_string())),
            ("--loop", "ingest.replay.looped", self.looped.then(|| "true".to_owned())),
            ("--rebase", "ingest.replay.rebase", self.rebase.then(|| "true".to_owned())),
        ];
        own.into_iter().chain(self.hints.settings()).collect()
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectCommand {
    /// Recordings in any format that can be replayed, or `-` for standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) hints: HintFlags,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoCommand {
    #[command(flatten)]
    pub(crate) listen: ListenFlags,
    #[command(flatten)]
    pub(crate) bus: BusFlags,
    /// Plays this recording, again and again, in place of the simulated market
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) replay: Vec<PathBuf>,
    /// Shows this venue live, in place of the simulated market
    #[arg(long, value_name = "VENUE", conflicts_with = "replay")]
    pub(crate) venue: Option<VenueName>,
    #[command(flatten)]
    pub(crate) sim: SimFlags,
    /// Recorded seconds per second; 0: as fast as it goes
    #[arg(long)]
    pub(crate) speed: Option<f64>,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayCommand {
    #[command(flatten)]
    pub(crate) listen: ListenFlags,
    #[command(flatten)]
    pub(crate) bus: BusFlags,
    /// Take whoever shows no token
    #[arg(long)]
    anonymous: bool,
}

impl GatewayCommand {
    pub(crate) fn anonymous(&self) -> Flag {
        ("--anonymous", "gateway.auth.anonymous", self.anonymous.then(|| "true".to_owned()))
    }
}

#[derive(Debug, Args)]
pub(crate) struct IngestCommand {
    #[command(subcommand)]
    pub(crate) source: IngestSource,
}

#[derive(Debug, Subcommand)]
pub(crate) enum IngestSource {
    /// A simulated market
    #[command(after_help = "Example:\n  tickwire ingest sim --seed 7 --instruments 500 --rate 100000")]
    Sim {
        #[command(flatten)]
        sim: SimFlags,
        #[command(flatten)]
        out: IngestFlags,
    },
    #[command(flatten)]
    Live(LiveSource),
    /// Several live venues in one process, each on its own: one that fails harms no other
    #[command(
        after_help = "What each publishes is set in the configuration file, as in [ingest.kraken].\n\nExample:\n  \
        tickwire ingest venues binance kraken coinbase --bus nats://127.0.0.1:4222"
    )]
    Venues {
        /// The venues; each has a lease of its own where one is named: NAME-VENUE
        #[arg(required = true)]
        venues: Vec<VenueName>,
        #[command(flatten)]
        out: IngestFlags,
    },
    /// Recordings, of one venue; docs/recordings.md says which formats there are
    #[command(after_help = "Examples:\n  tickwire ingest replay btcusdt_20240808.gz --speed 10\n  \
        tickwire ingest replay esh4.mbo.dbn.zst --from 2023-12-25T14:30:00Z --speed 0")]
    Replay {
        /// Recordings, plain, gzip or zstd, or `-` for standard input; they play together in the order of their recorded times
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        #[command(flatten)]
        replay: ReplayFlags,
        #[command(flatten)]
        out: IngestFlags,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConfigCommand {
    /// Print all settings with their defaults and what they mean
    #[arg(long)]
    pub(crate) print_default: bool,
    /// Print as JSON
    #[arg(long, conflicts_with = "print_default")]
    pub(crate) json: bool,
}
