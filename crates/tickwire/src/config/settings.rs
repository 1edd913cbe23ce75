//! The settings as they are written, each with its default, its bounds and what it means: `tickwire config --print-default`
//! prints them from here.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Serialize;
use tickwire_config::settings;

/// One of the words of a setting.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($word:ident),* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, JsonSchema)]
        #[serde(rename_all = "lowercase")]
        pub(crate) enum $name { $($word),* }
    };
}

words!(LogFormat { Text, Json });
words!(BusEncoding { Proto, Msgpack });

settings! {
    /// Configuration of Tickwire, with all defaults. Every line may be left out.
    ///
    /// What counts, from strong to weak:
    ///   1. flags of the command line (`--listen`, ..., or `--set gateway.listen=127.0.0.1:7400` for any line below)
    ///   2. environment: TICKWIRE_ and the path, levels joined by two underscores: TICKWIRE_GATEWAY__LISTEN=127.0.0.1:7400
    ///   3. this file (`--config FILE`)
    ///   4. these defaults
    ///
    /// Empty text and 0 mean "not set" where a line says so. Times are milliseconds unless a name says otherwise.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct Raw {
        log: Log = Log::default(),
        bus: Bus = Bus::default(),
        gateway: Gateway = Gateway::default(),
        ingest: Ingest = Ingest::default(),
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Log {
        /// error, warn, info, debug, trace; or a filter as in `info,tickwire_gateway=debug`
        level: String = "info".to_owned(),
        /// text, json
        format: LogFormat = LogFormat::Text,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Bus {
        /// NATS servers, nats:// or tls://; several are tried in random order.
        servers: Vec<String> = vec!["nats://127.0.0.1:4222".to_owned()],
        /// There is at most one way to sign in; empty: not set.
        credentials_file: String = String::new(),
        nkey_seed_file: String = String::new(),
        user: String = String::new(),
        #[schemars(extend("writeOnly" = true))]
        password: String = String::new(),
        #[schemars(extend("writeOnly" = true))]
        token: String = String::new(),
        /// Certificates to trust, and own certificate and key for servers that verify clients; empty: not set.
        ca_file: String = String::new(),
        cert_file: String = String::new(),
        key_file: String = String::new(),
        /// Refuse servers without TLS.
        tls_required: bool = false,
        /// The server shows this connection by this name.
        name: String = "tickwire".to_owned(),
        history: BusHistory = BusHistory::default(),
    }

    /// A JetStream stream with the lossless channels (trade, status, instrument): gateways look there for what clients missed that
    /// were away for longer than the gateways' own logs reach. Off: such a client gets an exact gap. The same in ingesters and gateways.
    /// Needs nats-server 2.11 or later.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct BusHistory {
        enabled: bool = false,
        /// Name of the stream.
        stream: String = "TICKWIRE".to_owned(),
        /// Ingesters make the stream at their start and keep its settings as they are here. false: somebody else does.
        make: bool = true,
        /// Records that are older or more than this are forgotten, oldest first.
        max_age_s: u64 = 3_600,
        max_bytes: u64 = 1 << 30,
        /// Copies in a NATS cluster: 1, 3 or 5.
        replicas: usize = 1,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Gateway {
        /// Sessions connect here: ws://ADDRESS/v1/stream
        #[schemars(extend("format" = "address"))]
        listen: SocketAddr = ([127, 0, 0, 1], 7400).into(),
        /// Health, readiness, metrics. Not for the public.
        #[schemars(extend("format" = "address"))]
        admin_listen: SocketAddr = ([127, 0, 0, 1], 7401).into(),
        /// Threads that own sessions; 0: one for each two cores. With more than one, another thread takes what comes from the bus.
        shards: usize = 0 => 0..=64,
        /// Percent of an idle core that it is worth to deliver everything a millisecond sooner. Where sessions have something new so
        /// often that writes take much of a core, updates wait to share them, the longer the less this is.
        cork_worth_percent: u64 = 25 => 1..=10_000,
        /// Longest of those waits, in microseconds; 0 writes everything at once.
        cork_us: u64 = 8_000 => 0..=100_000,
        /// A connection that has not sent a whole request for this long is ended; so is one that was answered and asks no more.
        handshake_ms: u64 = 5_000 => 100..=60_000,
        /// Sessions are closed over this time at the end.
        drain_ms: u64 = 5_000 => 0..=600_000,
        /// A feed whose ingester is not heard for this long is down. Ingesters send heartbeats every 500 ms.
        feed_down_ms: u64 = 1_250 => 600..=60_000,
        /// Longest silence towards a client.
        heartbeat_ms: u64 = 1_000 => 100..=60_000,
        /// A client that was silent for this long is pinged; after three times as long it is closed.
        ping_ms: u64 = 15_000 => 100..=600_000,
        /// Data may be this old when a client reads it: no more is under way to it than it takes in this time. 0: no such limit.
        freshness_ms: u64 = 200 => 0..=60_000,
        /// A session for which something has waited this long is told that it conflates; after so long without waiting, that it
        /// does not any more.
        conflating_after_ms: u64 = 200 => 50..=60_000,
        prompt_after_ms: u64 = 1_000 => 50..=60_000,
        /// A client that answers no ping for this long does not answer pings: its kernel's word is taken for what it read.
        unanswered_ms: u64 = 2_000 => 100..=60_000,
        /// A conflating session whose client takes nothing for this long is closed.
        no_progress_ms: u64 = 30_000 => 1_000..=600_000,
        /// A topic stays subscribed on the bus for this long when nobody wants it any more.
        linger_ms: u64 = 30_000 => 0..=3_600_000,
        /// A returning client's missed records are waited for this long when they are looked up (bus.history), before they are
        /// announced as a gap. Clients wait 5 s.
        history_ms: u64 = 3_000 => 100..=4_000,
        auth: GatewayAuth = GatewayAuth::default(),
        limits: GatewayLimits = GatewayLimits::default(),
    }

    /// The rules of who may come in, and of what each may see: docs/auth.md. Without keys and without `anonymous` a gateway does not start.
    #[derive(PartialEq, Serialize)]
    pub(crate) struct GatewayAuth {
        /// Whoever shows nothing may come in. The demo does so by itself where no keys are named.
        anonymous: bool = false,
        /// The grants of those, as in `sim:*` or `binance:BTC* quote,trade delay=15m`; empty: everything.
        anonymous_grants: Vec<String> = Vec::new(),
        /// Files with keys for tokens, [KID=]PATH: a secret (HS256), a public key in PEM (RS256, ES256, EdDSA), or a JWKS. They are
        /// read again every 10 s.
        keys: Vec<String> = Vec::new(),
        /// Keys of an identity provider; https:// only, http:// on this machine. Empty: none.
        jwks_url: String = String::new(),
        jwks_refresh_s: u64 = 300 => 10..=86_400,
        /// Names, hashes and grants of API keys (`tickwire token key --api`). It is read again every 10 s. Empty: none.
        api_keys_file: String = String::new(),
        /// Issuers (`iss`) whose tokens are taken; empty: any whose signature counts.
        issuers: Vec<String> = Vec::new(),
        /// A token has to name one of these (`aud`); empty: tokens that name any are refused.
        audiences: Vec<String> = Vec::new(),
        /// Clocks of this machine and of the issuer may differ by this.
        leeway_s: u64 = 30 => 0..=600,
        /// A token has to end within this time from now. Revocations are kept for so long.
        token_life_max_s: u64 = 86_400 => 60..=31_536_000,
        /// A session is told so long before its token ends, and closed so long after it.
        warning_s: u64 = 60 => 1..=86_400,
        grace_s: u64 = 10 => 0..=3_600,
        /// A session of /v1/stream?auth=message has to bring its token within this time; 0: there are no such sessions.
        first_message_ms: u64 = 5_000 => 0..=60_000,
        /// Take tokens from the URL (?token=), where proxies and browsers write them into their logs.
        token_in_url: bool = false,
        /// Revocations are kept here, beside in all other gateways. Empty: nowhere else.
        revocations_file: String = String::new(),
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct GatewayLimits {
        /// The process may hold about this much for its sessions together: a quarter for recent records, of which the longest logs are
        /// cut; a quarter for what waits for single sessions, of which those that hold most are closed; the rest for what records
        /// grow to in several encodings. Each shard has its part. 16 MiB to 1 TiB.
        memory_bytes: usize = 1 << 30 => (16 << 20)..=(1_u64 << 40),
        sessions: usize = 10_000 => 1..=1_000_000,
        /// Connections that have no session yet, or that ask for pages: when there are more, those that said nothing go, oldest first.
        handshakes: usize = 1_024 => 4..=65_536,
        /// Connections to admin_listen, by the same rule.
        admin_connections: usize = 64 => 4..=1_024,
        /// All sessions together may have this many; each shard has its part.
        subscriptions: usize = 500_000 => 1..=(1_u64 << 26),
        subscriptions_per_session: usize = 4_096 => 1..=65_536,
        /// Fastest rate that a subscription is granted which asks for one, in updates per second; one that asks for none gets all.
        rate_max: f64 = 1_000.0 => 0.01..=1e6,
        command_bytes: usize = 65_536 => 256..=(1_u64 << 20),
        /// One session may send this many, and 40 times as many names in them. A second's worth of commands and 4 * subscriptions_per_session names may come
        /// at once (docs/protocol.md, "What commands cost").
        commands_per_second: u32 = 50 => 1..=100_000,
        /// Bytes under way to a client before it confirmed anything, and at most.
        window_first_bytes: usize = 2_048 => 64..=(1_u64 << 20),
        window_max_bytes: usize = 4 << 20 => (4 << 10)..=(1_u64 << 30),
        /// Bytes owed to a session above which trades are dropped (and announced), below which they flow again, and above which it
        /// is closed.
        shed_bytes: usize = 1 << 20 => (16 << 10)..=(1_u64 << 30),
        shed_end_bytes: usize = 512 << 10 => 0..=(1_u64 << 30),
        close_bytes: usize = 4 << 20 => (64 << 10)..=(1_u64 << 30),
        /// Recent records kept of each instrument's channel, for slow and returning sessions.
        log_records: usize = 4_096 => 16..=(1_u64 << 20),
        log_bytes: usize = 1 << 20 => (16 << 10)..=(1_u64 << 30),
        /// Records that one returning subscription is sent from the history, at most (bus.history).
        history_records: u64 = 100_000 => 1..=(1_u64 << 32),
        venues: usize = 64 => 1..=4096,
        instruments: usize = 65_536 => 1..=(1_u64 << 22),
        topics: usize = 65_536 => 1..=(1_u64 << 22),
        /// This much may wait between the bus and the gateway.
        bus_messages: usize = 65_536 => 64..=(1_u64 << 24),
        bus_bytes: usize = 32 << 20 => (1 << 20)..=(1_u64 << 36),
        /// Records that wait in the gateway until the states of their topics are known; at most 4,096 of a topic.
        waiting_bytes: usize = 64 << 20 => (64 << 10)..=(1_u64 << 36),
        /// Price levels of all books together, above which no further book is granted; each shard has its part, and books of its own.
        book_levels: usize = 2_000_000 => 1_000..=(1_u64 << 32),
        /// Kernel send buffer of each session; 0 leaves it to the kernel. A fixed one bounds a session to about this much per round trip.
        socket_send_bytes: usize = 0 => 0..=(1_u64 << 26),
        /// This much of it may be unsent: what is not with the kernel is still newest when it leaves.
        socket_unsent_bytes: usize = 16_384 => 2048..=(1_u64 << 26),
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct Ingest {
        /// proto, msgpack: how records travel on the bus
        encoding: BusEncoding = BusEncoding::Proto,
        /// A live source that says nothing for this long is stale.
        stall_ms: u64 = 30_000 => 1_000..=86_400_000,
        sim: IngestSim = IngestSim::default(),
        replay: IngestReplay = IngestReplay::default(),
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct IngestSim {
        /// The same seed always gives the same market.
        seed: u64 = 1,
        instruments: usize = 24,
        /// Mean over all instruments; each trade, book change and quote is one.
        events_per_second: f64 = 2_000.0,
        /// Levels on each side of a book, at least: 20 to 1000.
        depth: usize = 25,
        /// Rate in a burst over the mean rate, 1 to 5.
        burst_factor: f64 = 3.0,
        halts_per_hour: f64 = 20.0,
        halt_seconds: f64 = 15.0,
    }

    #[derive(PartialEq, Serialize)]
    pub(crate) struct IngestReplay {
        /// binance, binance-usdm, binance-cm; empty: told by the recording
        venue: String = String::new(),
        /// Recorded seconds per second; 0: as fast as it goes.
        speed: f64 = 1.0 => 0..=1e6,
        /// Start again at the end.
        looped: bool = false,
        /// Shift recorded times so that the recording starts now.
        rebase: bool = false,
    }
}

impl Raw {
    /// Returns the settings for showing: secrets are replaced, and so is what stands before the `@` of an address.
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
