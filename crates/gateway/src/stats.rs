//! Counts that the loops publish and the admin side reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use crate::hops::Hops;
use crate::hub::HubStats;
use crate::lobby::Lobby;
use tickwire_core::engine::Survey;
use tickwire_wire::CloseCode;

/// Of one shard. Written twice a second by its own thread, its sessions at each tick.
#[derive(Debug, Default)]
pub(crate) struct ShardStats {
    pub(crate) sessions: AtomicU64,
    pub(crate) topics: AtomicU64,
    pub(crate) log_bytes: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) conflated: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) filtered: AtomicU64,
    /// By place in `Pressure::NAMES`.
    pub(crate) pressure: [AtomicU64; 4],
    /// By place in `SessionState::ALL`.
    pub(crate) states: [AtomicU64; 4],
    /// By place in `Survey::KINDS`.
    pub(crate) decisions: [AtomicU64; Survey::KINDS.len()],
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
    /// Its own thread adds what it saw after each round.
    pub(crate) hops: Mutex<Hops>,
}

/// Of the whole gateway.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) hub: Arc<HubStats>,
    pub(crate) shards: Vec<Arc<ShardStats>>,
    pub(crate) sessions: AtomicU64,
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) draining: AtomicBool,
    /// Of the public listener.
    pub(crate) lobby: OnceLock<Arc<Lobby>>,
    /// Closed sessions, by the place of the code in `CloseCode::ALL`.
    pub(crate) closed: [AtomicU64; CloseCode::ALL.len()],
}

impl Stats {
    /// Sum of one count over all shards.
    pub(crate) fn sum(&self, count: impl Fn(&ShardStats) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| count(shard).load(Ordering::Relaxed)).sum()
    }

    /// Connections that had to go for others before they were sessions.
    pub(crate) fn evicted(&self) -> u64 {
        self.lobby.get().map_or(0, |lobby| lobby.evicted.load(Ordering::Relaxed))
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.hub.is_ready.load(Ordering::Relaxed) && !self.draining.load(Ordering::Relaxed)
    }
}
