//! A scenario says what a run does. It is read from a file, checked as a whole before anything is opened, and in force from
//! start to end.
//!
//! The comment above a setting is its description in `tickwire-loadgen scenarios --fields`.

pub(crate) mod access;
mod check;
pub(crate) mod forms;
mod readers;
mod source;
#[cfg(test)]
#[path = "../tests/units/scenario.rs"]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use tickwire_config::settings;
use tickwire_gateway::{AccessSettings, GatewayConfig, GatewaySettings, Keys};
use tickwire_machine::processors::cores;
use tickwire_net::tls::rustls::pki_types::CertificateDer;
use tickwire_wire::{Channel, Encoding};

use self::access::{Token, TokenPlace, Tokens};
use crate::peer::PeerKind;

pub(crate) use check::{SESSIONS_SPARE, complete};
use forms::{MS, RATE_MAX, SECOND};
pub(crate) use forms::{Publish, Quantiles, Url};
pub(crate) use readers::{Reader, ReaderKind};
pub(crate) use source::Source;

/// Venue of the own source.
pub(crate) const VENUE: &str = "load";
/// Sessions that are opened per second where the scenario does not say: a part of what one core shakes hands with.
const OPENED_PER_SECOND: f64 = 1000.0;

settings! {
    /// A scenario.
    pub(crate) struct Scenario {
        /// what the run is called in reports; not given: the file's name
        name: String = String::new(),
        /// what it is for; stands in the list of scenarios and on the page
        about: String = String::new(),
        /// chooses symbols, readers and times: the same seed is the same run
        seed: u64 = 1 => 0..=(1_u64 << 52),
        /// how long is measured (--for)
        duration: Duration = 20 * SECOND,
        /// between the last session's opening and measuring
        warm_up: Duration = 2 * SECOND,
        /// longest wait for last values, after the source stopped
        settle: Duration = 10 * SECOND,
        /// one of so many records gives its times at the ingester and the gateway's write
        hop_sampling: u32 = 8 => 1..=1_000_000,
        /// threads that read, in each process; not given: half of the processors
        threads: usize = (cores() / 2).max(1) => 1..=256,
        /// processes that read
        processes: usize = 1 => 1..=64,
        target: Target = Target::default(),
        gateway: GatewaySettings = own_gateway(),
        peer: Option<Peer> = None,
        source: Source = Source::default(),
        sessions: Sessions = Sessions::default(),
        /// what is left of all sessions reads promptly
        readers: Vec<Reader> = Vec::new(),
        churn: Churn = Churn::default(),
        #[serde(rename = "assert")]
        bounds: Bounds = Bounds::default(),
        saturation: Option<Search> = None,
        /// The own gateway, from `gateway`.
        #[serde(skip)]
        gateway_config: GatewayConfig = GatewayConfig::default(),
        /// Its keys, from `gateway.auth`.
        #[serde(skip)]
        gateway_keys: Keys = Keys::default(),
        /// The file that it was read from; empty: it comes with the program, or there are flags only.
        #[serde(skip)]
        file: String = String::new(),
        /// The whole, as it was read: file, then flags.
        #[serde(skip)]
        text: String = String::new(),
    }

    pub(crate) struct Target {
        /// the server to load: "ws://HOST:7400/v1/stream", or wss:// for TLS; not given: a gateway of its own
        url: Option<Url> = None,
        /// admin address, for pressure and readiness: "HOST:7401"; not given: the own gateway's
        admin: Option<String> = None,
        /// NATS servers that the own source publishes on; none: a bus in memory
        bus: Vec<String> = Vec::new(),
        /// the server's process, for its processors and memory; not given: the own gateway's
        server_pid: Option<u32> = None => 1..=(1 << 22),
        /// a command that starts the server, as a text or a list; it says `ready`, and is ended at last
        #[serde(deserialize_with = "forms::command")]
        spawn: Vec<String> = Vec::new(),
        /// processors for the own gateway; none: all
        server_cpus: Vec<usize> = Vec::new(),
        /// processors for the own source; none: all
        source_cpus: Vec<usize> = Vec::new(),
        /// processors for reading; none: all
        generator_cpus: Vec<usize> = Vec::new(),
    }

    /// Another server than a Tickwire gateway.
    #[schemars(extend("required" = ["kind", "publish"]))]
    pub(crate) struct Peer {
        /// what another server speaks; not given, as all of `peer`: it is a Tickwire gateway
        kind: PeerKind = PeerKind::Raw40,
        /// what it is called in reports; not given: its kind
        name: String = String::new(),
        /// where it takes updates: "tcp://HOST:PORT", "ws://HOST:PORT/publish" or "nats://HOST:PORT"
        publish: Publish = Publish::Tcp(String::new()),
    }

    pub(crate) struct Sessions {
        /// sessions to open (--sessions); beyond 1,000,000 one address has too few ports towards one server
        count: usize = 100 => 1..=1_000_000,
        /// from the first session's opening to the last's; not given: 1s for each 1,000
        ramp: Option<Duration> = None,
        /// all shake hands first, and subscribe at the same moment: when the last one has shaken hands
        together: bool = false,
        /// weight of this encoding, or one for all: encodings = "json"; not given: proto only
        #[serde(deserialize_with = "forms::encodings")]
        #[schemars(with = "forms::Encodings")]
        encodings: Vec<(Encoding, f64)> = vec![(Encoding::Proto, 1.0)],
        /// what sessions subscribe to; not given: quote
        #[serde(deserialize_with = "forms::channels")]
        #[schemars(schema_with = "forms::channel_names")]
        channels: Vec<Channel> = vec![Channel::Quote],
        /// symbols of the own source that a session subscribes to; 0: all
        symbols_each: usize = 0 => 0..=65_536,
        /// Zipf's exponent by which sessions choose them; 0: all alike
        skew: f64 = 0.0 => 0..=10,
        /// of a running source: ["sim:*", "binance:BTCUSDT"]
        symbols: Vec<String> = Vec::new(),
        /// asked for, per subscription; 0: all
        #[schemars(extend("unit" = "updates/s"))]
        max_rate: f64 = 0.0 => 0..=1e6,
        /// delivery window asked for at the handshake; 0s: none
        window: Duration = Duration::ZERO,
        /// silence after which a heartbeat is asked for at the handshake; 0s: the gateway's own
        heartbeat: Duration = Duration::ZERO,
        /// of the socket; 0: the system's default
        #[schemars(extend("unit" = "bytes"))]
        receive_buffer: usize = 0 => 0..=(64 << 20),
        /// tells the gateway what was taken, as the SDKs do
        receipts: bool = false,
        #[serde(rename = "tls")]
        trust: Trust = Trust::default(),
        /// sent by every session; reports do not show it
        #[schemars(extend("writeOnly" = true))]
        token: Option<Token> = None,
        /// file with one token a line; each session sends the next
        tokens_file: Option<String> = None,
        /// header: `Authorization: Bearer`; query: a parameter of the URL
        token_in: TokenPlace = TokenPlace::Header,
        /// its name in the query; not given: token
        token_parameter: Option<String> = None,
        /// All of them, from the four settings before.
        #[serde(skip)]
        tokens: Tokens = Tokens::default(),
    }

    /// Whom sessions trust.
    pub(crate) struct Trust {
        /// file of authorities in PEM, trusted beside the system's; for wss://
        #[serde(rename = "ca", deserialize_with = "access::authorities")]
        #[schemars(with = "String")]
        authorities: Vec<CertificateDer<'static>> = Vec::new(),
        /// takes any certificate; the report says so
        insecure: bool = false,
        /// name that the server's certificate has to be for; not given: the URL's host
        server_name: Option<String> = None,
    }

    pub(crate) struct Churn {
        /// sessions that drop a symbol and take it again
        #[schemars(extend("unit" = "sessions/s"))]
        flaps_per_second: f64 = 0.0 => 0..=1e6,
        storms: Vec<Storm> = Vec::new(),
        restarts: Vec<Restart> = Vec::new(),
    }

    pub(crate) struct Storm {
        /// sessions lose their connection here in measuring
        at: Duration = 5 * SECOND,
        /// of all sessions
        share: f64 = 1.0 => 0..=1,
        /// they come back within this, at random times
        within: Duration = 2 * SECOND,
    }

    pub(crate) struct Restart {
        /// the gateway ends here in measuring, and comes back
        at: Duration = 5 * SECOND,
        /// restarts a gateway that is not the own one, as a text or a list
        #[serde(deserialize_with = "forms::command")]
        command: Vec<String> = Vec::new(),
    }

    /// The result is held against these; what is not given is not checked.
    pub(crate) struct Bounds {
        /// bounds of latency, of age, and of the hops to the gateway's write count from the end of `sessions.window`
        beyond_window: bool = false,
        /// at least
        #[schemars(extend("unit" = "records/s"))]
        deliveries_per_second: Option<f64> = None => 0..=1e15,
        /// at least; of what the published updates come to at all sessions
        delivered_share: Option<f64> = None => 0..=1e15,
        /// at most; of the ledgers' published
        conflated_share: Option<f64> = None => 0..=1e15,
        /// at most; sequence numbers that neither came nor were announced
        lost: Option<u64> = None,
        /// at most; sequence numbers that were announced as dropped
        dropped: Option<u64> = None,
        /// at most; sessions that ended against the plan; not given: 0
        ended_early: Option<u64> = None,
        /// at most; of the server, per million delivered records
        #[schemars(extend("unit" = "seconds"))]
        cpu_seconds_per_million: Option<f64> = None => 0..=1e15,
        /// at most; memory of the server
        #[schemars(extend("unit" = "MiB"))]
        resident_mib: Option<f64> = None => 0..=1e15,
        /// at most; of that memory, by least squares
        #[schemars(extend("unit" = "KiB/s"))]
        growth_kib_per_second: Option<f64> = None => 0..=1e15,
        /// growth counts from here in measuring: what fills up to a bound has to be full by then; it is not judged where less
        /// than 20s are left
        growth_after: Duration = Duration::ZERO,
        /// at most; growth of that memory by opening the sessions
        #[schemars(extend("unit" = "KiB"))]
        kib_per_session: Option<f64> = None => 0..=1e15,
        /// at least; of what throttled readers could have read
        used_share: Option<f64> = None => 0..=1e15,
        /// at most; intended → read, of prompt readers
        latency: Quantiles = Quantiles::default(),
        /// at most; from the loss of a session to its subscriptions' answers
        reconnect: Quantiles = Quantiles::default(),
        /// at most; from a session's first subscription to its first record
        first: Quantiles = Quantiles::default(),
        /// at most; age of what the program of such a reader gets
        #[serde(rename = "age", deserialize_with = "forms::by_name")]
        #[schemars(schema_with = "forms::ages")]
        ages: Vec<(String, Quantiles)> = Vec::new(),
        /// at most; of this part of the way
        #[serde(rename = "hop", deserialize_with = "forms::by_name")]
        #[schemars(schema_with = "forms::hops")]
        hops: Vec<(String, Quantiles)> = Vec::new(),
    }

    /// A search for the highest rate that holds, where there is a table `saturation`.
    pub(crate) struct Search {
        /// the search begins with this rate
        #[schemars(extend("unit" = "updates/s"))]
        from: f64 = 1000.0 => 1..=RATE_MAX,
        /// it tries no more
        #[schemars(extend("unit" = "updates/s"))]
        to: f64 = RATE_MAX => 1..=RATE_MAX,
        /// at most, for a rate to hold
        p99: Duration = 100 * MS,
        /// at least, for a rate to hold
        delivered_share: f64 = 0.99 => 0..=1,
        /// how long each rate is measured; at least 100ms
        step: Duration = 4 * SECOND,
        /// between setting a rate and measuring it
        settle: Duration = SECOND,
        /// it ends when the rate is known to within this
        precision: f64 = 0.05 => 0.001..=1,
    }
}

impl Scenario {
    /// Returns whether the run starts a gateway of its own: alone, or with an address at which a proxy expects it.
    pub(crate) fn has_gateway(&self) -> bool {
        self.peer.is_none() && (self.target.url.is_none() || self.gateway.listen.port() != 0)
    }
}

/// The own gateway has any free ports, one thread that writes, little time to take leave when it is restarted, and takes everybody,
/// unless keys are named. There is no other gateway that could tell it of revocations.
fn own_gateway() -> GatewaySettings {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let auth = AccessSettings { anonymous: true, revocations_wait_ms: 0, ..AccessSettings::default() };
    GatewaySettings {
        listen,
        admin_listen: listen,
        shards: 1,
        drain_ms: 1000,
        auth,
        ..GatewaySettings::default()
    }
}

impl Sessions {
    /// Returns the time from the first session's opening to the last's.
    pub(crate) fn ramp(&self) -> Duration {
        self.ramp.unwrap_or_else(|| Duration::from_secs_f64(self.count as f64 / OPENED_PER_SECOND))
    }
}

impl Churn {
    /// Returns whether sessions that lose their connection come back.
    pub(crate) fn reconnects(&self) -> bool {
        !self.storms.is_empty() || !self.restarts.is_empty()
    }
}
