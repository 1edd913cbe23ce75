//! The things that a shard holds.

use std::sync::Arc;

use slotmap::{SecondaryMap, SparseSecondaryMap};
use tickwire_core::engine::{Engine, EngineLimits, SessionKey};
use tokio::time::Instant;

use super::connection::Connection;
use super::farewell::Farewells;
use super::regrants::Regrants;
use crate::auth::gate::Gate;
use crate::clock::Clock;
use crate::holders::Held;
use crate::stats::{ShardStats, Stats};

pub(super) struct Shard {
    pub(super) engine: Engine,
    pub(super) connections: SecondaryMap<SessionKey, Connection>,
    /// The places of sessions whose users may have so many only.
    pub(super) held: SparseSecondaryMap<SessionKey, Held>,
    pub(super) gate: Arc<Gate>,
    /// The buffer that sockets are read into.
    pub(super) scratch: Vec<u8>,
    /// The buffer of what is written to one session.
    pub(super) out: Vec<u8>,
    /// The sessions whose sockets hold more than one turn reads, and whether the end of the stream is known to be there.
    pub(super) unread: Vec<(SessionKey, bool)>,
    /// The sessions whose close frames were handed over.
    pub(super) ending: Vec<SessionKey>,
    /// The connections whose sessions are over because their clients said so.
    pub(super) farewells: Farewells,
    /// The sessions that are still to be told what their API keys grant now.
    pub(super) regrants: Regrants,
    /// The sessions whose unacknowledged bytes the kernel is asked for at this tick.
    pub(super) asked: Vec<SessionKey>,
    /// When the counts are published next.
    pub(super) publish_at: Instant,
    pub(super) message_ns: u64,
    pub(super) limits: EngineLimits,
    pub(super) clock: Clock,
    pub(super) stats: Arc<ShardStats>,
    pub(super) all: Arc<Stats>,
}
