//! The settings of a gateway as people write them, each with its default, its bounds and what it means. Every program that starts a
//! gateway has them as its table `gateway`: the command line, and the load generator for the gateway of a run.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;
use tickwire_auth::{AuthSettings, parse_grant};
use tickwire_config::{Layers, settings};
use tickwire_core::engine::{BackfillLimits, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN};
use tickwire_core::schedule::Pacing;
#[cfg(feature = "tls")]
use tickwire_net::tls::{ClientAuth, ServerFiles};

use crate::admin_token::{self, AdminToken};
use crate::admission::Admission;
use crate::config::GatewayConfig;
#[cfg(feature = "tls")]
use crate::config::TlsConfig;
use crate::origin::is_origin;
use crate::proxies::Proxies;

/// Whether clients show a certificate of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AskedOfClients {
    /// They are not asked.
    None,
    /// One that they show has to be good.
    Optional,
    /// They are not let in without a good one.
    Required,
}

settings! {
    /// The gateway.
    #[derive(PartialEq, Serialize)]
    pub struct GatewaySettings {
        /// Sessions connect here: ws://ADDRESS/v1/stream, or wss:// with gateway.tls. An address that is not loopback needs TLS.
        #[schemars(extend("format" = "address"))]
        listen: SocketAddr = ([127, 0, 0, 1], 7400).into(),
        /// Health, readiness, metrics. Not for the public.
        #[schemars(extend("format" = "address"))]
        admin_listen: SocketAddr = ([127, 0, 0, 1], 7401).into(),
        /// File with the token that whoever asks there has to show (Authorization: Bearer TOKEN), but for /healthz and /readyz; at
        /// least 16 characters. It is read again every 10 s. Empty: nobody is asked for one.
        admin_token_file: String = String::new(),
        /// Listen without TLS on an address that is not loopback: everybody on the way can read and change what passes. It is
        /// right where something else ends TLS, such as a proxy before a container.
        insecure: bool = false,
        /// Threads that own sessions; 0: one for each two cores. With more than one, another thread takes what comes from the bus.
        shards: usize = 0 => 0..=64,
        /// Percent of an idle core that it is worth to deliver everything a millisecond sooner. Where sessions have something new so
        /// often that writes take much of a core, updates wait to share them, the longer the less this is.
        cork_worth_percent: u64 = 25 => 1..=10_000,
        /// Longest of those waits, in microseconds; 0 writes everything at once.
        cork_us: u64 = 8_000 => 0..=100_000,
        /// A connection that has not sent a whole request for this long is ended; so is one that was answered and asks no more.
        handshake_ms: u64 = 5_000 => 100..=60_000,
        /// A message that a client has begun and not ended for this long ends its session.
        message_ms: u64 = 10_000 => 100..=600_000,
        /// Pages of the web may open sessions from these origins, as in `https://app.example`, beside the gateway's own; `*`: from all.
        origins: Vec<String> = Vec::new(),
        /// Proxies before the gateway, addresses or networks as in `10.0.0.0/8`: their X-Forwarded-For is believed, and nobody else's.
        proxies: Vec<String> = Vec::new(),
        /// Each connection has to come from one of them and to begin with a header of the PROXY protocol, version 2.
        proxy_protocol: bool = false,
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
        /// A session for which something has waited this long is told that it conflates.
        conflating_after_ms: u64 = 200 => 50..=60_000,
        /// A session for which nothing has waited for so long is told that it conflates no more.
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
        /// TLS of the listeners.
        tls: TlsSettings = TlsSettings::default(),
        /// The rules of who may come in, and of what each may see.
        auth: AccessSettings = AccessSettings::default(),
        /// Every maximum of the gateway.
        limits: LimitSettings = LimitSettings::default(),
    }

    /// TLS 1.2 and 1.3 for sessions. Files are PEM, and are looked at again while the gateway runs: a new certificate is used
    /// for new connections, and open sessions go on.
    #[derive(PartialEq, Serialize)]
    pub struct TlsSettings {
        /// The gateway's certificate, with those of the authorities that lead to a trusted one behind it; empty: no TLS.
        cert_file: String = String::new(),
        /// Its key.
        key_file: String = String::new(),
        /// none, optional, required: whether clients show a certificate of their own
        client_auth: AskedOfClients = AskedOfClients::None,
        /// Authorities that sign clients' certificates; empty: not set.
        client_ca_file: String = String::new(),
        /// TLS on admin_listen, too, with the same certificate.
        admin: bool = false,
        /// Files are looked at this often.
        reload_ms: u64 = 5_000 => 100..=3_600_000,
    }

    /// The rules of who may come in, and of what each may see: docs/auth.md. Without keys and without `anonymous` a gateway does not start.
    #[derive(PartialEq, Serialize)]
    pub struct AccessSettings {
        /// Whoever shows nothing may come in. The demo does so by itself where no keys are named.
        anonymous: bool = false,
        /// The grants of those, as in `sim:*` or `binance:BTC* quote,trade delay=15m`; empty: everything.
        anonymous_grants: Vec<String> = Vec::new(),
        /// Files with keys for tokens, [KID=]PATH: a secret (HS256), a public key in PEM (RS256, ES256, EdDSA), or a JWKS. They are
        /// read again every 10 s; a key that is gone ends the sessions of its tokens.
        keys: Vec<String> = Vec::new(),
        /// Keys of an identity provider; https:// only, http:// on this machine. Empty: none.
        jwks_url: String = String::new(),
        /// They are fetched this often.
        jwks_refresh_s: u64 = 300 => 10..=86_400,
        /// Names, hashes and grants of API keys (`tickwire token key --api`). It is read again every 10 s. Empty: none.
        api_keys_file: String = String::new(),
        /// Issuers (`iss`) whose tokens are taken; empty: any whose signature counts.
        issuers: Vec<String> = Vec::new(),
        /// A token has to name one of these (`aud`); empty: tokens that name any are refused.
        audiences: Vec<String> = Vec::new(),
        /// Clocks of this machine and of the issuer may differ by this.
        leeway_s: u64 = 30 => 0..=600,
        /// A token has to end within this time from now. Revocations of tokens are kept for so long.
        token_life_max_s: u64 = 86_400 => 60..=31_536_000,
        /// A session is told so long before its token ends.
        warning_s: u64 = 60 => 1..=86_400,
        /// It is closed so long after its token ended, or after `leeway_s` where that is longer.
        grace_s: u64 = 10 => 0..=3_600,
        /// A session of /v1/stream?auth=message has to bring its token within this time; 0: there are no such sessions.
        first_message_ms: u64 = 5_000 => 0..=60_000,
        /// Take tokens from the URL (?token=), where proxies and browsers write them into their logs.
        token_in_url: bool = false,
        /// Revocations are kept here, beside in all other gateways. Empty: nowhere else.
        revocations_file: String = String::new(),
        /// A gateway that starts takes no sessions before another one told it what was revoked, or this time is over, because
        /// there may be no other one.
        revocations_wait_ms: u64 = 1_000 => 0..=60_000,
    }

    /// Every maximum of the gateway.
    #[derive(PartialEq, Serialize)]
    pub struct LimitSettings {
        /// The process may hold about this much for its sessions together: a quarter for recent records, of which the longest logs are
        /// cut; a quarter for what waits for single sessions, of which those that hold most are closed; the rest for what records
        /// grow to in several encodings. Each shard has its part. 16 MiB to 1 TiB.
        memory_bytes: usize = 1 << 30 => (16 << 20)..=(1_u64 << 40),
        /// All sessions of the process.
        sessions: usize = 10_000 => 1..=1_000_000,
        /// Connections that have no session yet, or that ask for pages: when there are more, those that said nothing go, oldest first.
        handshakes: usize = 1_024 => 4..=65_536,
        /// Connections to admin_listen, by the same rule.
        admin_connections: usize = 64 => 4..=1_024,
        /// Requests for sessions in a second, of which five seconds' worth may come at once. 0: no such limit. Clients on this machine
        /// are not limited by this one and the next two (docs/limits.md).
        handshakes_per_second: u32 = 2_000 => 0..=1_000_000,
        /// The same of each address; one of IPv6 is its first 64 bits.
        address_handshakes_per_second: u32 = 20 => 0..=1_000_000,
        /// Sessions of each address.
        address_sessions: u32 = 1_000 => 0..=1_000_000,
        /// Sessions of each user, by the subject of tokens or the name of API keys, where these allow more. 0: no such limit.
        user_sessions: u32 = 0 => 0..=1_000_000,
        /// Addresses that are told apart by the rate of their requests; each takes 16 bytes.
        addresses: usize = 65_536 => 8..=(1_u64 << 24),
        /// Head of a request.
        head_bytes: usize = 16_384 => 8_192..=(1_u64 << 20),
        /// Path and query in it.
        url_bytes: usize = 4_096 => 256..=65_534,
        /// All sessions together may have this many; each shard has its part.
        subscriptions: usize = 500_000 => 1..=(1_u64 << 26),
        /// One session may have this many.
        subscriptions_per_session: usize = 4_096 => 1..=65_536,
        /// Fastest rate that a subscription is granted which asks for one, in updates per second; one that asks for none gets all.
        rate_max: f64 = 1_000.0 => 0.01..=1e6,
        /// Shortest heartbeat interval that a session is granted which asks for one, in milliseconds.
        heartbeat_min_ms: u32 = HEARTBEAT_MS_MIN => 250..=60_000,
        /// Longest one. A session costs a write at each heartbeat, and notices a dead connection after two.
        heartbeat_max_ms: u32 = HEARTBEAT_MS_MAX => 250..=60_000,
        /// Largest command of a client.
        command_bytes: usize = 65_536 => 256..=(1_u64 << 20),
        /// One session may send this many, and 40 times as many names in them. A second's worth of commands and 4 * subscriptions_per_session names may come
        /// at once (docs/protocol.md, "What commands cost").
        commands_per_second: u32 = 50 => 1..=100_000,
        /// Bytes under way to a client before it confirmed anything.
        window_first_bytes: usize = 2_048 => 64..=(1_u64 << 20),
        /// Bytes under way to a client at most.
        window_max_bytes: usize = 4 << 20 => (4 << 10)..=(1_u64 << 30),
        /// Bytes owed to a session above which trades are dropped (and announced).
        shed_bytes: usize = 1 << 20 => (16 << 10)..=(1_u64 << 30),
        /// Bytes below which they flow again.
        shed_end_bytes: usize = 512 << 10 => 0..=(1_u64 << 30),
        /// Bytes owed to a session above which it is closed.
        close_bytes: usize = 4 << 20 => (64 << 10)..=(1_u64 << 30),
        /// Recent records kept of each instrument's channel, for slow and returning sessions.
        log_records: usize = 4_096 => 16..=(1_u64 << 20),
        /// Bytes of those records at most.
        log_bytes: usize = 1 << 20 => (16 << 10)..=(1_u64 << 30),
        /// Records that one returning subscription is sent from the history, at most (bus.history).
        history_records: u64 = 100_000 => 1..=(1_u64 << 32),
        /// Venues that the gateway follows.
        venues: usize = 64 => 1..=4096,
        /// Instruments that the gateway knows.
        instruments: usize = 65_536 => 1..=(1_u64 << 22),
        /// Instruments' channels that each shard keeps the records of.
        topics: usize = 65_536 => 1..=(1_u64 << 22),
        /// So many messages may wait between the bus and the gateway.
        bus_messages: usize = 65_536 => 64..=(1_u64 << 24),
        /// So many bytes may wait there.
        bus_bytes: usize = 32 << 20 => (1 << 20)..=(1_u64 << 36),
        /// Records that wait in the gateway until the states of their topics are known; at most 4,096 of a topic.
        waiting_bytes: usize = 64 << 20 => (64 << 10)..=(1_u64 << 36),
        /// Price levels of all books together, above which no further book is granted; each shard has its part, and books of its own.
        book_levels: usize = 2_000_000 => 1_000..=(1_u64 << 32),
        /// Different delays of sessions that may not see live data, of each shard. A further one is served by a longer one that
        /// is there, or refused.
        delays: usize = 4 => 0..=15,
        /// Different depths of books of sessions that may not see all of them, with each delay, of each shard. A further one is served
        /// by a shallower one that is there, or refused.
        depths: usize = 8 => 0..=48,
        /// Records that wait until they are old enough for these sessions; each shard has its part. What has no room is announced as a gap.
        delayed_bytes: usize = 128 << 20 => (1 << 20)..=(1_u64 << 36),
        /// Kernel send buffer of each session; 0 leaves it to the kernel. A fixed one bounds a session to about this much per round trip.
        socket_send_bytes: usize = 0 => 0..=(1_u64 << 26),
        /// This much of it may be unsent: what is not with the kernel is still newest when it leaves.
        socket_unsent_bytes: usize = 16_384 => 2048..=(1_u64 << 26),
    }
}

impl GatewaySettings {
    /// Returns the configuration of a gateway with these settings. What several of them say together is checked, and errors are noted at
    /// their places in the table `gateway`. Records that sessions missed are looked up where the bus `has_history`.
    pub fn config(&self, layers: &mut Layers, has_history: bool) -> GatewayConfig {
        let mut gateway = GatewayConfig {
            listen: self.listen,
            admin_listen: self.admin_listen,
            pacing: Pacing {
                worth: self.cork_worth_percent as f64 / 100.0,
                wait_max: Duration::from_micros(self.cork_us),
                ..Pacing::default()
            },
            handshake_timeout: Duration::from_millis(self.handshake_ms),
            message_timeout: Duration::from_millis(self.message_ms),
            admission: self.admission(layers),
            drain_window: Duration::from_millis(self.drain_ms),
            feed_down_after: Duration::from_millis(self.feed_down_ms),
            auth: self.auth.rules(layers),
            revocations_file: (!self.auth.revocations_file.is_empty())
                .then(|| PathBuf::from(&self.auth.revocations_file)),
            revocations_wait: Duration::from_millis(self.auth.revocations_wait_ms),
            ..GatewayConfig::default()
        };
        #[cfg(feature = "tls")]
        {
            gateway.tls = tls(&self.tls, layers);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        gateway.shards = if self.shards == 0 { cores.div_ceil(2).min(64) } else { self.shards };
        if gateway.listen == gateway.admin_listen && gateway.listen.port() != 0 {
            layers.wrong("gateway.admin_listen", "is the same as gateway.listen; give it a port of its own");
        }
        if !self.admin_token_file.is_empty() {
            gateway.admin_token = read_admin_token(&self.admin_token_file, layers);
        }
        if (1..10).contains(&self.freshness_ms) {
            layers.wrong(
                "gateway.freshness_ms",
                format_args!("has to be 0, or 10 at least, not {}", self.freshness_ms),
            );
        }
        let limits = &self.limits;
        if limits.close_bytes <= limits.shed_bytes {
            let problem =
                "has to be above `gateway.limits.shed_bytes`, so that dropping comes before closing";
            layers.wrong("gateway.limits.close_bytes", problem);
        }
        if limits.shed_end_bytes >= limits.shed_bytes {
            let problem = "has to be below `gateway.limits.shed_bytes`, so that trades do not begin and cease to flow at every record";
            layers.wrong("gateway.limits.shed_end_bytes", problem);
        }
        if limits.heartbeat_max_ms < limits.heartbeat_min_ms {
            let problem = "must not be below `gateway.limits.heartbeat_min_ms`";
            layers.wrong("gateway.limits.heartbeat_max_ms", problem);
        }
        let ns = |ms: u64| ms.saturating_mul(1_000_000);
        let to = &mut gateway.limits;
        to.memory_bytes = limits.memory_bytes;
        to.subscriptions = limits.subscriptions;
        to.sessions = limits.sessions;
        to.handshakes = limits.handshakes;
        to.admin_connections = limits.admin_connections;
        to.venues = limits.venues;
        to.instruments = limits.instruments;
        to.topics = limits.topics;
        to.bus_messages = limits.bus_messages;
        to.bus_bytes = limits.bus_bytes;
        to.waiting_bytes = limits.waiting_bytes;
        to.socket_send_bytes = limits.socket_send_bytes;
        to.socket_unsent_bytes = limits.socket_unsent_bytes;
        let (records_max, timeout_ns) = (limits.history_records, ns(self.history_ms));
        to.backfill = has_history.then_some(BackfillLimits { records_max, timeout_ns });
        let engine = &mut to.engine;
        engine.subscriptions_per_session = limits.subscriptions_per_session;
        engine.rate_max = limits.rate_max;
        engine.command_bytes = limits.command_bytes;
        engine.commands_per_second = limits.commands_per_second;
        engine.book_levels = limits.book_levels;
        engine.delays = limits.delays;
        engine.depths = limits.depths;
        engine.delayed_bytes = limits.delayed_bytes;
        engine.shed_bytes = limits.shed_bytes;
        engine.shed_end_bytes = limits.shed_end_bytes;
        engine.window_first_bytes = limits.window_first_bytes;
        engine.window_max_bytes = limits.window_max_bytes;
        engine.close_bytes = limits.close_bytes;
        engine.log_records_per_topic = limits.log_records;
        engine.log_bytes_per_topic = limits.log_bytes;
        engine.heartbeat_ns = ns(self.heartbeat_ms);
        engine.heartbeat_ms_min = limits.heartbeat_min_ms;
        engine.heartbeat_ms_max = limits.heartbeat_max_ms;
        engine.ping_after_ns = ns(self.ping_ms);
        engine.conflating_after_ns = ns(self.conflating_after_ms);
        engine.freshness_ns = ns(self.freshness_ms);
        engine.prompt_after_ns = ns(self.prompt_after_ms);
        engine.unanswered_ns = ns(self.unanswered_ms);
        engine.no_progress_ns = ns(self.no_progress_ms);
        engine.linger_ns = ns(self.linger_ms);
        gateway
    }

    /// Returns who may open a session, how often, and from where.
    fn admission(&self, layers: &mut Layers) -> Admission {
        for origin in self.origins.iter().filter(|origin| !is_origin(origin)) {
            let problem = format_args!(
                "`{origin}` is no origin: write https://app.example, without a path, or `*` for all"
            );
            layers.wrong("gateway.origins", problem);
        }
        let mut networks = Vec::new();
        for text in &self.proxies {
            match network(text) {
                Some(network) => networks.push(network),
                None => {
                    let problem =
                        format_args!("`{text}` is no address and no network: write 10.1.2.3 or 10.0.0.0/8");
                    layers.wrong("gateway.proxies", problem);
                }
            }
        }
        if self.proxy_protocol && self.proxies.is_empty() {
            layers.wrong("gateway.proxy_protocol", "needs the addresses of the proxies in `gateway.proxies`");
        }
        let limits = &self.limits;
        Admission {
            origins: self.origins.clone(),
            proxies: Proxies { networks, with_header: self.proxy_protocol },
            handshakes_per_second: limits.handshakes_per_second,
            address_handshakes_per_second: limits.address_handshakes_per_second,
            addresses: limits.addresses,
            address_sessions: limits.address_sessions,
            user_sessions: limits.user_sessions,
            head_bytes: limits.head_bytes,
            url_bytes: limits.url_bytes,
        }
    }
}

impl AccessSettings {
    /// Returns the rules by which tokens and keys are taken. Files are not looked at.
    fn rules(&self, layers: &mut Layers) -> AuthSettings {
        let mut anonymous_grants = Vec::new();
        for (at, text) in self.anonymous_grants.iter().enumerate() {
            match parse_grant(text) {
                Ok(grant) => anonymous_grants.push(grant),
                Err(why) => layers.wrong(&format!("gateway.auth.anonymous_grants[{at}]"), why),
            }
        }
        AuthSettings {
            anonymous: self.anonymous,
            anonymous_grants,
            leeway: Duration::from_secs(self.leeway_s),
            life_max: Duration::from_secs(self.token_life_max_s),
            lead: Duration::from_secs(self.warning_s),
            grace: Duration::from_secs(self.grace_s),
            first_message: Duration::from_millis(self.first_message_ms),
            in_url: self.token_in_url,
        }
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

fn read_admin_token(file: &str, layers: &mut Layers) -> Option<AdminToken> {
    let path = "gateway.admin_token_file";
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let token = AdminToken::parse(&text);
            if token.is_none() {
                layers.wrong(path, format_args!("`{file}` {}", admin_token::FAULT));
            }
            token
        }
        Err(error) => {
            layers.wrong(path, format_args!("`{file}` cannot be read: {error}"));
            None
        }
    }
}

/// Makes the settings of TLS. Files are not looked at.
#[cfg(feature = "tls")]
fn tls(from: &TlsSettings, layers: &mut Layers) -> Option<TlsConfig> {
    let is_set = |text: &String| !text.is_empty();
    let client_auth = match from.client_auth {
        AskedOfClients::None => ClientAuth::None,
        AskedOfClients::Optional => ClientAuth::Optional,
        AskedOfClients::Required => ClientAuth::Required,
    };
    match (is_set(&from.cert_file), is_set(&from.key_file)) {
        (true, false) => {
            layers.wrong("gateway.tls.key_file", "is empty; it has to name the key of gateway.tls.cert_file");
        }
        (false, true) => layers.wrong(
            "gateway.tls.cert_file",
            "is empty; it has to name the certificate of gateway.tls.key_file",
        ),
        (false, false) => {
            let given = [
                ("client_auth", client_auth != ClientAuth::None),
                ("client_ca_file", is_set(&from.client_ca_file)),
                ("admin", from.admin),
            ];
            for (name, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
                let problem = "has no meaning without TLS; set gateway.tls.cert_file and gateway.tls.key_file, or leave it away";
                layers.wrong(&format!("gateway.tls.{name}"), problem);
            }
            return None;
        }
        (true, true) => {}
    }
    if client_auth == ClientAuth::None && is_set(&from.client_ca_file) {
        let problem = "is named, and clients are not asked for certificates; set gateway.tls.client_auth to optional or required";
        layers.wrong("gateway.tls.client_ca_file", problem);
    }
    if client_auth != ClientAuth::None && !is_set(&from.client_ca_file) {
        let problem = "is empty; it has to name the authorities that sign clients' certificates";
        layers.wrong("gateway.tls.client_ca_file", problem);
    }
    Some(TlsConfig {
        files: ServerFiles {
            cert: PathBuf::from(&from.cert_file),
            key: PathBuf::from(&from.key_file),
            client_ca: is_set(&from.client_ca_file).then(|| PathBuf::from(&from.client_ca_file)),
            client_auth,
        },
        reload_every: Duration::from_millis(from.reload_ms),
        admin: from.admin,
    })
}
