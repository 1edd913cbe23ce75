//! The settings of a gateway, its limits, and the most memory that they allow.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::admin_token::AdminToken;
use crate::admission::Admission;
use crate::hub::PART_MEMORY;
use tickwire_auth::AuthSettings;
use tickwire_core::engine::{
    BACKFILL_PARTS_MAX, BackfillLimits, EngineLimits, HEARTBEAT_MS_MAX, HEARTBEAT_MS_MIN,
};
use tickwire_core::schedule::Pacing;

/// Settings of one gateway process. All of them are in force from start to end.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayConfig {
    /// The address that sessions connect to.
    pub listen: SocketAddr,
    /// The address of health, metrics and the list of sessions. It is not for the public.
    pub admin_listen: SocketAddr,
    /// The token that whoever asks there has to show, but for `/healthz` and `/readyz`; `None` where nobody is asked for one.
    pub admin_token: Option<AdminToken>,
    /// TLS of the listeners. Without it they speak plain HTTP and WebSocket.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsConfig>,
    /// The number of threads that own sessions, from 1 to 64. The bus is read by a thread beside them; where there is only one
    /// shard, its thread reads the bus too.
    pub shards: usize,
    /// The time between two rounds of writing. The first update after silence leaves at once.
    pub pacing: Pacing,
    /// A connection that has not sent a whole request for this long is ended, also when it sent one before.
    pub handshake_timeout: Duration,
    /// A message that a client has begun and not ended for this long ends its session.
    pub message_timeout: Duration,
    /// The settings of who may open a session, how often, and from where.
    pub admission: Admission,
    /// The time over which sessions are closed at a graceful end, one after another.
    pub drain_window: Duration,
    /// A feed whose ingester is not heard for this long is down. Ingesters heartbeat twice a second.
    pub feed_down_after: Duration,
    /// The settings of tokens and keys. Without keys, and without `anonymous`, a gateway does not start.
    pub auth: AuthSettings,
    /// The file that revocations are kept in; `None`: they are known as long as one gateway runs.
    pub revocations_file: Option<PathBuf>,
    /// The time that other gateways have to tell one that starts, and takes tokens, what they know of revocations.
    pub revocations_wait: Duration,
    /// Every maximum of the gateway.
    pub limits: Limits,
}

/// TLS of a gateway's listeners.
#[cfg(feature = "tls")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// Certificates and keys.
    pub files: tickwire_net::tls::ServerFiles,
    /// The time from one look at the files to the next.
    pub reload_every: Duration,
    /// Whether the admin listener speaks TLS, too.
    pub admin: bool,
}

/// Every maximum of a gateway, in bytes where the name says so and in counts otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// The most sessions at the same time.
    pub sessions: usize,
    /// The most connections at the same time that have no session yet or that ask for pages.
    pub handshakes: usize,
    /// The most connections to the admin listener at the same time.
    pub admin_connections: usize,
    /// The most venues that the gateway follows.
    pub venues: usize,
    /// The most instruments that the gateway knows.
    pub instruments: usize,
    /// The most topics per shard whose records the gateway keeps. The log of each is bounded by the engine's limits.
    pub topics: usize,
    /// The memory budget of the process. Half of it is what logs and sessions may count for; the rest is for what they hold
    /// in memory beyond that. See [`Limits::of_shard`] and [`Limits::worst_case_bytes`].
    pub memory_bytes: usize,
    /// The most subscriptions of all sessions together. Shards divide them evenly.
    pub subscriptions: usize,
    /// The most messages that wait between the bus and the gateway.
    pub bus_messages: usize,
    /// The most bytes of those messages.
    pub bus_bytes: usize,
    /// The most bytes of records that wait in the gateway until the states of their topics are known.
    pub waiting_bytes: usize,
    /// The size of the kernel's send buffer of a session's socket. 0 leaves it to the kernel, which then gives a distant client
    /// as much as its path holds. A fixed size limits the throughput to about this much per round trip.
    pub socket_send_bytes: usize,
    /// The most bytes of a session that the kernel may hold unsent (`TCP_NOTSENT_LOWAT`, on Linux). Records that the kernel does
    /// not have yet can still be replaced by newer ones.
    pub socket_unsent_bytes: usize,
    /// The limits of looking up records that a topic's log no longer has, for sessions that resume. With `None`, or with a bus
    /// that has no history, the missing records are announced as a gap.
    pub backfill: Option<BackfillLimits>,
    /// The limits of each session and each topic.
    pub engine: EngineLimits,
}

const MS: u64 = 1_000_000;

/// The most memory that TLS takes for a session, in bytes: keys and states, and the buffers of one record each way. What is
/// sealed and not sent counts as unsent.
#[cfg(feature = "tls")]
const TLS_SESSION_BYTES: usize = 48 << 10;

impl GatewayConfig {
    /// Returns the most memory that this configuration allows, in bytes: see [`Limits::worst_case_bytes`].
    pub fn worst_case_bytes(&self) -> usize {
        let worst = self.limits.worst_case_bytes(self.shards);
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            let connections = self.limits.sessions + self.limits.handshakes;
            return worst.saturating_add(connections.saturating_mul(TLS_SESSION_BYTES));
        }
        worst
    }
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
            admin_token: None,
            #[cfg(feature = "tls")]
            tls: None,
            shards: 1,
            pacing: Pacing::default(),
            handshake_timeout: Duration::from_secs(5),
            message_timeout: Duration::from_secs(10),
            admission: Admission::default(),
            drain_window: Duration::from_secs(5),
            feed_down_after: Duration::from_millis(1250),
            auth: AuthSettings::default(),
            revocations_file: None,
            revocations_wait: Duration::from_secs(1),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            handshakes: 1024,
            admin_connections: 64,
            venues: 64,
            instruments: 65_536,
            topics: 65_536,
            memory_bytes: 1 << 30,
            subscriptions: 500_000,
            bus_messages: 65_536,
            bus_bytes: 32 << 20,
            waiting_bytes: 64 << 20,
            socket_send_bytes: 0,
            socket_unsent_bytes: 16 << 10,
            backfill: None,
            engine: EngineLimits {
                subscriptions_per_session: 4096,
                rate_max: 1000.0,
                command_bytes: 64 << 10,
                commands_per_second: 50,
                shed_bytes: 1 << 20,
                shed_end_bytes: 512 << 10,
                close_bytes: 4 << 20,
                no_progress_ns: 30_000 * MS,
                conflating_after_ns: 200 * MS,
                prompt_after_ns: 1000 * MS,
                freshness_ns: 200 * MS,
                window_first_bytes: 2 << 10,
                window_max_bytes: 4 << 20,
                unanswered_ns: 2000 * MS,
                // Of the whole process; `Limits::of_shard` divides them.
                sessions_expected: 10_000,
                heartbeat_ns: 1000 * MS,
                heartbeat_ms_min: HEARTBEAT_MS_MIN,
                heartbeat_ms_max: HEARTBEAT_MS_MAX,
                ping_after_ns: 15_000 * MS,
                subscribe_timeout_ns: 3000 * MS,
                linger_ns: 30_000 * MS,
                log_records_per_topic: 4096,
                log_bytes_per_topic: 1 << 20,
                // Of the whole process; `Limits::of_shard` divides them.
                log_bytes: 256 << 20,
                private_bytes: 256 << 20,
                subscriptions: 500_000,
                book_levels: 2_000_000,
                write_bytes: 64 << 10,
                delays: 4,
                depths: 8,
                delayed_bytes: 128 << 20,
            },
        }
    }
}

/// The most sessions of a shard that tables have room for from the start: half a hundred MiB of addresses.
const SESSIONS_EXPECTED_MAX: usize = 100_000;

/// The most bytes of memory that a logged record takes for each byte that it counts for. Some records are kept decoded, and
/// all of them in each encoding that a session asked for, both alone and in an encoded log.
const LOG_FACTOR: usize = 4;

impl Limits {
    /// Returns the limits of one shard out of `shards`: its share of the process's memory and subscriptions.
    pub fn of_shard(&self, shards: usize) -> EngineLimits {
        let shards = shards.max(1);
        EngineLimits {
            log_bytes: self.memory_bytes / 4 / shards,
            private_bytes: self.memory_bytes / 4 / shards,
            subscriptions: self.subscriptions.div_ceil(shards),
            sessions_expected: self.sessions.div_ceil(shards).min(SESSIONS_EXPECTED_MAX),
            book_levels: self.engine.book_levels.div_ceil(shards),
            delayed_bytes: self.engine.delayed_bytes / shards,
            ..self.engine.clone()
        }
    }

    /// Returns the most memory that the limits allow, in bytes: when the memory budget is used up, and every session,
    /// subscription, topic and instrument is there that may be. Under its usual load a process takes a small part of it.
    pub fn worst_case_bytes(&self, shards: usize) -> usize {
        // These are the bytes that each takes beside the records that wait for it, measured generously: a session with its
        // decisions and one record more than its share; a subscription with its runs of decisions, its place in all indexes
        // and its line of the ledger; a topic with its newest records, at the shard and at the hub; an instrument; a
        // connection without a session.
        const SESSION: usize = 24 << 10;
        const SUBSCRIPTION: usize = 1 << 10;
        const TOPIC: usize = 2 << 10;
        const INSTRUMENT: usize = 1 << 10;
        const CONNECTION: usize = 32 << 10;
        // A level of a book takes `LEVEL` bytes, in a list that has room to grow. The records that are made of books for sessions
        // have as many levels again, decoded and in each encoding, which takes `LEVEL_MADE` bytes for each level.
        const LEVEL: usize = 32;
        const LEVEL_MADE: usize = 160;
        let engine = self.of_shard(shards);
        // Sessions that are being closed may hold as much again until their connections are cut.
        let private = engine.private_bytes.saturating_mul(2);
        let kept = engine.log_bytes.saturating_add(engine.delayed_bytes);
        let shares = kept.saturating_mul(LOG_FACTOR).saturating_add(private);
        let levels = engine.book_levels_max();
        let books = levels.saturating_mul(LEVEL + LEVEL_MADE);
        let topics = TOPIC.saturating_mul(self.topics);
        let of_shards = shares.saturating_add(topics).saturating_add(books).saturating_mul(shards);
        let backfill = self.backfill.map_or(0, |_| BACKFILL_PARTS_MAX * PART_MEMORY);
        // Each session may have begun a command whose end has not come.
        let session = SESSION + engine.command_bytes + backfill;
        [
            of_shards,
            self.sessions.saturating_mul(session),
            self.subscriptions.saturating_mul(SUBSCRIPTION),
            self.instruments.saturating_mul(INSTRUMENT),
            (self.handshakes + self.admin_connections).saturating_mul(CONNECTION),
            self.engine.book_levels_max().saturating_mul(LEVEL),
            self.waiting_bytes,
            self.bus_bytes,
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_case_is_a_small_multiple_of_the_budgets() {
        let limits = Limits::default();
        for shards in [1, 2, 8] {
            let (worst, budgets) =
                (limits.worst_case_bytes(shards), limits.memory_bytes + limits.engine.delayed_bytes);
            assert!(worst < 5 * budgets, "{} MiB with {shards} shards", worst >> 20);
        }
        let mut small =
            Limits { memory_bytes: 64 << 20, sessions: 100, subscriptions: 10_000, topics: 1_000, ..limits };
        (small.handshakes, small.instruments, small.waiting_bytes) = (100, 1_000, 1 << 20);
        (small.engine.book_levels, small.engine.delayed_bytes) = (100_000, 4 << 20);
        let budgets = small.memory_bytes + small.engine.delayed_bytes;
        assert!(small.worst_case_bytes(1) < 4 * budgets, "{}", small.worst_case_bytes(1) >> 20);
    }

    #[test]
    fn shards_share_the_budget() {
        let limits = Limits::default();
        let of_one = limits.of_shard(4);
        assert_eq!(of_one.log_bytes * 4, limits.memory_bytes / 4);
        assert_eq!(of_one.private_bytes * 4, limits.memory_bytes / 4);
        assert_eq!(of_one.subscriptions * 4, limits.subscriptions);
        assert_eq!(of_one.book_levels * 4, limits.engine.book_levels);
        assert_eq!(of_one.delayed_bytes * 4, limits.engine.delayed_bytes);
    }
}
