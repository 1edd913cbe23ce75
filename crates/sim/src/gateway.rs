//! One gateway: the hub, its shards with their engines, and the loops around them as `hub/run.rs` and `shard.rs` have
//! them, driven by events.

use std::collections::{BTreeMap, HashMap};

use futures_util::FutureExt as _;
use tickwire_bus::{Backplane as _, BusEvent, Inbox, InboxLimits, Interest, MemoryBus, MemoryLimits};

use crate::known::Known;
use tickwire_core::engine::{Engine, EngineLimits, SessionKey};
use tickwire_core::hub::{Hub, HubLimits, Target};

pub(crate) struct Gateway {
    /// Tells events for it from those for the one before.
    pub(crate) life: u64,
    pub(crate) hub: Hub,
    pub(crate) bus: MemoryBus,
    pub(crate) interest: Interest,
    pub(crate) inbox: Inbox,
    pub(crate) shards: Vec<Shard>,
    /// Questions under way.
    pub(crate) asks: BTreeMap<u64, Target>,
    /// From then on it takes sessions.
    pub(crate) ready_at: u64,
    /// Its hub does nothing until then.
    pub(crate) hub_stalled_until: u64,
    pub(crate) is_bus_up: bool,
    /// When the hub last was given a beat.
    pub(crate) beat_at: u64,
    pub(crate) is_draining: bool,
}

pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) known: Known,
    pub(crate) pipes: HashMap<SessionKey, u64>,
    pub(crate) write_at: u64,
    pub(crate) is_write_scheduled: bool,
    /// When the engine's timer is looked at next, at the latest.
    pub(crate) timer_at: Option<u64>,
    /// Events and wishes keep their order.
    pub(crate) events_at: u64,
    pub(crate) wishes_at: u64,
}

impl Gateway {
    pub(crate) fn new(life: u64, shards: usize, limits: &EngineLimits, inbox: InboxLimits, now: u64) -> Self {
        let bus = MemoryBus::new(MemoryLimits::default());
        let (interest, inbox) = bus.inbox(inbox);
        let hub_limits = HubLimits {
            shards,
            venues: 4,
            instruments: 256,
            topics: 128,
            waiting_bytes: 64 << 20,
            feed_down_ns: crate::FEED_DOWN_MS * crate::MS,
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
            ready_at: now + crate::FIRST_BEATS_MS,
            hub_stalled_until: 0,
            is_bus_up: true,
            beat_at: now,
            is_draining: false,
        }
    }

    /// The hub takes what waits in its inbox.
    pub(crate) fn drain_inbox(&mut self, now_ms: u64, now: u64) {
        let mut events = Vec::new();
        while let Some(true) = self.inbox.recv_batch(&mut events, 64).now_or_never() {}
        for event in events {
            if matches!(event, BusEvent::Message { token: u64::MAX, .. }) {
                self.beat_at = now_ms;
            }
            self.tell_hub(event, now);
        }
    }

    /// The hub is told what the inbox gave out.
    pub(crate) fn tell_hub(&mut self, event: BusEvent, now: u64) {
        match event {
            BusEvent::Message { token, payload, .. } => self.hub.on_message(token, &payload, now, now),
            BusEvent::Lost { tokens, .. } => self.hub.on_lost(tokens),
            BusEvent::Disconnected => {}
            BusEvent::Reconnected { generation } => self.hub.on_connection(generation, now),
        }
    }
}
