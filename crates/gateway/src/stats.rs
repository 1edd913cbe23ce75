//! The counts that the loops publish and the admin listener reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::auth::stats::AuthStats;
use crate::hops::Hops;
use crate::hub::HubStats;
use crate::lobby::Lobby;
use crate::refusal::Refusals;
use tickwire_core::engine::Survey;
use tickwire_wire::CloseCode;

/// The counts of one shard. Its own thread writes them twice a second, and the number of sessions at each tick.
#[derive(Debug, Default)]
pub(crate) struct ShardStats {
    pub(crate) sessions: AtomicU64,
    pub(crate) topics: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    /// Delays, depths of books, topics of delayed views, bytes that wait for being old enough, and records that had no room.
    pub(crate) delays: AtomicU64,
    pub(crate) depths: AtomicU64,
    pub(crate) delayed_topics: AtomicU64,
    pub(crate) delayed_bytes: AtomicU64,
    pub(crate) delayed_dropped: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) conflated: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) filtered: AtomicU64,
    /// The parts of the pressure in bytes, in the order of `Pressure::NAMES`.
    pub(crate) pressure: [AtomicU64; 4],
    /// The sessions in each state, in the order of `SessionState::ALL`.
    pub(crate) states: [AtomicU64; 4],
    /// The decisions of each kind, in the order of `Survey::KINDS`.
    pub(crate) decisions: [AtomicU64; Survey::KINDS.len()],
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    /// The time that what is ready waits to share a write, in microseconds.
    pub(crate) write_delay_us: AtomicU64,
    /// The latency of records. The shard's thread adds its samples after each round of writing.
    pub(crate) hops: Mutex<Hops>,
}

/// The counts of TLS at the listeners. All are 0 where there is no TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TlsCounts {
    pub(crate) full: u64,
    pub(crate) resumed: u64,
    pub(crate) failed: u64,
    pub(crate) reloads: u64,
    pub(crate) reload_failures: u64,
    /// The seconds until the certificate in use expires; negative when it has.
    pub(crate) expires_in_s: Option<i64>,
}

/// The counts of the whole gateway.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) hub: Arc<HubStats>,
    pub(crate) shards: Vec<Arc<ShardStats>>,
    pub(crate) sessions: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// The requests and connections that were refused, by reason.
    pub(crate) refusals: Refusals,
    pub(crate) draining: AtomicBool,
    pub(crate) auth: Arc<AuthStats>,
    /// The lobby of the public listener.
    pub(crate) lobby: OnceLock<Arc<Lobby>>,
    /// TLS of the listeners, where they speak it.
    #[cfg(feature = "tls")]
    pub(crate) tls: OnceLock<Arc<crate::tls::Tls>>,
    /// The sessions that were closed with each code, in the order of `CloseCode::ALL`.
    pub(crate) closed: [AtomicU64; CloseCode::ALL.len()],
}

impl Stats {
    /// Returns the sum of one count over all shards.
    pub(crate) fn sum(&self, count: impl Fn(&ShardStats) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| count(shard).load(Ordering::Relaxed)).sum()
    }

    /// Returns how many connections were closed to make room for others before they were sessions.
    pub(crate) fn evicted(&self) -> u64 {
        self.lobby.get().map_or(0, |lobby| lobby.evicted.load(Ordering::Relaxed))
    }

    /// Returns the counts of TLS.
    #[cfg_attr(
        not(feature = "tls"),
        expect(clippy::unused_self, reason = "there is none without the feature")
    )]
    pub(crate) fn tls_counts(&self) -> TlsCounts {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.get() {
            return tls.counts();
        }
        TlsCounts::default()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.hub.is_ready.load(Ordering::Relaxed)
            && !self.draining.load(Ordering::Relaxed)
            && !self.auth.awaits_revocations.load(Ordering::Relaxed)
    }
}
