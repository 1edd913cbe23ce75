//! The configuration as it is written: plain values, all of them with a default. What they mean: `default.toml`.

use serde::{Deserialize, Serialize};

/// Declares a table of the configuration with its defaults.
macro_rules! table {
    ($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty = $default:expr),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(crate) struct $name { $(pub(crate) $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

table!(Raw {
    log: Log = Log::default(),
    bus: Bus = Bus::default(),
    gateway: Gateway = Gateway::default(),
    ingest: Ingest = Ingest::default(),
});

table!(Log { level: String = "info".to_owned(), format: String = "text".to_owned() });

table!(Bus {
    servers: Vec<String> = vec!["nats://127.0.0.1:4222".to_owned()],
    credentials_file: String = String::new(),
    nkey_seed_file: String = String::new(),
    user: String = String::new(),
    password: String = String::new(),
    token: String = String::new(),
    ca_file: String = String::new(),
    cert_file: String = String::new(),
    key_file: String = String::new(),
    tls_required: bool = false,
    name: String = "tickwire".to_owned(),
    history: BusHistory = BusHistory::default(),
});

table!(BusHistory {
    enabled: bool = false,
    stream: String = "TICKWIRE".to_owned(),
    make: bool = true,
    max_age_s: u64 = 3_600,
    max_bytes: u64 = 1 << 30,
    replicas: u64 = 1,
});

table!(Gateway {
    listen: String = "127.0.0.1:7400".to_owned(),
    admin_listen: String = "127.0.0.1:7401".to_owned(),
    shards: u64 = 0,
    cork_percent: u64 = 150,
    cork_us: u64 = 2_000,
    handshake_ms: u64 = 5_000,
    drain_ms: u64 = 5_000,
    feed_down_ms: u64 = 1_250,
    heartbeat_ms: u64 = 1_000,
    ping_ms: u64 = 15_000,
    freshness_ms: u64 = 200,
    conflating_after_ms: u64 = 200,
    prompt_after_ms: u64 = 1_000,
    unanswered_ms: u64 = 2_000,
    no_progress_ms: u64 = 30_000,
    linger_ms: u64 = 30_000,
    history_ms: u64 = 3_000,
    limits: GatewayLimits = GatewayLimits::default(),
});

table!(GatewayLimits {
    memory_bytes: u64 = 1 << 30,
    sessions: u64 = 10_000,
    handshakes: u64 = 1_024,
    admin_connections: u64 = 64,
    subscriptions: u64 = 500_000,
    subscriptions_per_session: u64 = 4_096,
    rate_max: f64 = 1_000.0,
    command_bytes: u64 = 65_536,
    commands_per_second: u64 = 50,
    window_first_bytes: u64 = 2_048,
    window_max_bytes: u64 = 4 << 20,
    shed_bytes: u64 = 1 << 20,
    shed_end_bytes: u64 = 512 << 10,
    close_bytes: u64 = 4 << 20,
    log_records: u64 = 4_096,
    log_bytes: u64 = 1 << 20,
    history_records: u64 = 100_000,
    venues: u64 = 64,
    instruments: u64 = 65_536,
    topics: u64 = 65_536,
    bus_messages: u64 = 65_536,
    bus_bytes: u64 = 32 << 20,
    waiting_bytes: u64 = 64 << 20,
    book_levels: u64 = 2_000_000,
    socket_send_bytes: u64 = 0,
    socket_unsent_bytes: u64 = 16_384,
});

table!(Ingest {
    encoding: String = "proto".to_owned(),
    stall_ms: u64 = 30_000,
    sim: IngestSim = IngestSim::default(),
    replay: IngestReplay = IngestReplay::default(),
});

table!(IngestSim {
    seed: u64 = 1,
    instruments: u64 = 24,
    events_per_second: f64 = 2_000.0,
    depth: u64 = 25,
    burst_factor: f64 = 3.0,
    halts_per_hour: f64 = 20.0,
    halt_seconds: f64 = 15.0,
});

table!(IngestReplay {
    venue: String = String::new(),
    speed: f64 = 1.0,
    looped: bool = false,
    rebase: bool = false,
});

impl Raw {
    /// For showing: secrets are replaced, and so is what stands before the `@` of an address.
    pub(crate) fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        for secret in [&mut shown.bus.password, &mut shown.bus.token] {
            if !secret.is_empty() {
                "(set)".clone_into(secret);
            }
        }
        for server in &mut shown.bus.servers {
            if let (Some((scheme, _)), Some((_, host))) = (server.split_once("://"), server.rsplit_once('@'))
            {
                *server = format!("{scheme}://(set)@{host}");
            }
        }
        shown
    }
}
