//! One gateway: the hub, its shards with their engines, and the loops around them as `hub/run.rs` and `shard.rs` have
//! them, driven by events.

use std::collections::{BTreeMap, HashMap};

use futures_util::FutureExt as _;
use tickwire_bus::{Backplane as _, BusEvent, Inbox, InboxLimits, Interest, MemoryBus, MemoryLimits};

use super::known::Known;
use crate::engine::{Engine, EngineLimits, SessionKey};
use crate::hub::{Hub, HubLimits, Target};

pub(super) struct Gateway {
    /// Tells events for it from those for the one before.
    pub(super) life: u64,
    pub(super) hub: Hub,
    pub(super) bus: MemoryBus,
    pub(super) interest: Interest,
    pub(super) inbox: Inbox,
    pub(super) shards: Vec<Shard>,
    /// Questions under way.
    pub(super) asks: BTreeMap<u64, Target>,
    /// From then on it takes sessions.
    pub(super) ready_at: u64,
    /// Its hub does nothing until then.
    pub(super) hub_stalled_until: u64,
    pub(super) is_bus_up: bool,
    /// When the hub last was given a beat.
    pub(super) beat_at: u64,
    pub(super) is_draining: bool,
}

pub(super) struct Shard {
    pub(super) engine: Engine,
    pub(super) known: Known,
    pub(super) pipes: HashMap<SessionKey, u64>,
    pub(super) write_at: u64,
    pub(super) is_write_scheduled: bool,
    /// When the engine's timer is looked at next, at the latest.
    pub(super) timer_at: Option<u64>,
    /// Events and wishes keep their order.
    pub(super) events_at: u64,
    pub(super) wishes_at: u64,
}

impl Gateway {
    pub(super) fn new(life: u64, shards: usize, limits: &EngineLimits, inbox: InboxLimits, now: u64) -> Self {
        let bus = MemoryBus::new(MemoryLimits::default());
        let (interest, inbox) = bus.inbox(inbox);
        let hub_limits = HubLimits {
            shards,
            venues: 4,
            instruments: 256,
            topics: 128,
            waiting_bytes: 64 << 20,
            feed_down_ns: super::FEED_DOWN_MS * super::MS,
        };
        let shard = |_| Shard {
            engine: Engine::new(limits.clone(), "tickwire/sim"),
            known: Known::default(),
            pipes: HashMap::new(),
            write_at: 0,
            is_write_scheduled: false,
            timer_at: None,
            events_at: 0,
            wishes_at: 0,
        };
        Self {
            life,
            hub: Hub::new(hub_limits),
            bus,
            interest,
            inbox,
            shards: (0..shards).map(shard).collect(),
            asks: BTreeMap::new(),
            ready_at: now + super::FIRST_BEATS_MS,
            hub_stalled_until: 0,
            is_bus_up: true,
            beat_at: now,
            is_draining: false,
        }
    }

    /// The hub takes what waits in its inbox.
    pub(super) fn drain_inbox(&mut self, now_ms: u64, now: u64) {
        let mut events = Vec::new();
        while let Some(true) = self.inbox.recv_batch(&mut events, 64).now_or_never() {}
        for event in events {
            if matches!(event, BusEvent::Message { token: u64::MAX, .. }) {
                self.beat_at = now_ms;
            }
            self.hub.on_bus(event, now, now);
        }
    }
}
