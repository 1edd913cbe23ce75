//! What a gateway is told at its start.

use std::net::SocketAddr;
use std::time::Duration;

use crate::engine::{BACKFILL_PARTS_MAX, BackfillLimits, EngineLimits};
use crate::hub::PART_MEMORY;
use crate::shard::Pacing;

/// Settings of one gateway process. All of them are in force from start to end.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayConfig {
    /// Where sessions connect.
    pub listen: SocketAddr,
    /// Health, metrics and insight; not for the public.
    pub admin_listen: SocketAddr,
    /// Threads that own sessions; 1 to 64.
    pub shards: usize,
    /// Between two rounds of writing. The first update after silence leaves at once.
    pub pacing: Pacing,
    /// Over how long sessions are closed at a graceful end.
    pub drain_window: Duration,
    /// A feed whose ingester is not heard for this long is down. Ingesters beat twice a second.
    pub feed_down_after: Duration,
    /// Every maximum.
    pub limits: Limits,
}

/// Every maximum of a gateway. Bytes, counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Sessions at the same time.
    pub sessions: usize,
    /// Venues that the gateway follows.
    pub venues: usize,
    /// Instruments that the gateway knows.
    pub instruments: usize,
    /// Topics whose records the gateway keeps, per shard; the log of each is bounded by the engine's limits.
    pub topics: usize,
    /// Messages that wait between the bus and the gateway.
    pub bus_messages: usize,
    /// Bytes of them.
    pub bus_bytes: usize,
    /// Kernel send buffer of a session's socket.
    pub socket_send_bytes: usize,
    /// Of going back further than a topic's log reaches; none, or a bus without a history: what is missing is announced.
    pub backfill: Option<BackfillLimits>,
    /// Per session and topic.
    pub engine: EngineLimits,
}

const MS: u64 = 1_000_000;

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 7401)),
            shards: 1,
            pacing: Pacing::default(),
            drain_window: Duration::from_secs(5),
            feed_down_after: Duration::from_millis(1250),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            venues: 64,
            instruments: 65_536,
            topics: 65_536,
            bus_messages: 65_536,
            bus_bytes: 32 << 20,
            socket_send_bytes: 128 << 10,
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
                heartbeat_ns: 1000 * MS,
                ping_after_ns: 15_000 * MS,
                subscribe_timeout_ns: 3000 * MS,
                linger_ns: 30_000 * MS,
                log_records_per_topic: 4096,
                log_bytes_per_topic: 1 << 20,
                write_bytes: 64 << 10,
            },
        }
    }
}

impl Limits {
    /// Most memory that the limits allow, in bytes: every session at the point of being closed, every topic's log
    /// full, the bus queue full. A process that stays within its usual load takes a small part of it.
    pub fn worst_case_bytes(&self, shards: usize) -> usize {
        // What a session and its subscriptions take beside what they are owed, measured generously.
        const SESSION: usize = 24 << 10;
        const SUBSCRIPTION: usize = 256;
        let engine = &self.engine;
        let session = SESSION
            + SUBSCRIPTION * engine.subscriptions_per_session
            + engine.close_bytes
            + engine.write_bytes
            + engine.command_bytes
            + self.backfill.map_or(0, |_| BACKFILL_PARTS_MAX * PART_MEMORY);
        let topics = engine.log_bytes_per_topic.saturating_mul(self.topics).saturating_mul(shards);
        self.sessions.saturating_mul(session).saturating_add(topics).saturating_add(self.bus_bytes)
    }
}
