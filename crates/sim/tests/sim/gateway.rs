//! One gateway: the hub, its shards with their engines, and the schedules of the loops around them, driven by events.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use futures_util::FutureExt as _;
use tickwire_bus::{Backplane as _, BusEvent, Inbox, Interest, MemoryBus, MemoryLimits};

use crate::known::Known;
use crate::tuning::Tuning;
use tickwire_core::engine::{Engine, SessionKey};
use tickwire_core::hub::{HEARTBEATS, Hub, HubLimits, Target};
use tickwire_core::schedule::{HubSchedule, Pacing, ShardSchedule, TURN_EVENTS_MAX};
use tickwire_core::vocabulary::Event;
use tickwire_gateway::deliver;

pub(crate) struct Gateway {
    /// The number that tells events for it from those for the one before.
    pub(crate) life: u64,
    pub(crate) hub: Hub,
    pub(crate) bus: MemoryBus,
    pub(crate) interest: Interest,
    pub(crate) inbox: Inbox,
    pub(crate) shards: Vec<Shard>,
    /// The requests under way.
    pub(crate) requests: BTreeMap<u64, Target>,
    pub(crate) schedule: HubSchedule,
    /// The time at which the hub looks into its inbox again, where that was planned.
    pub(crate) wake_at: Option<u64>,
    /// Whether it takes sessions.
    pub(crate) is_ready: bool,
    /// The time until which its hub does nothing.
    pub(crate) hub_stalled_until: u64,
    pub(crate) is_bus_up: bool,
    /// The time at which the hub was last given a heartbeat.
    pub(crate) heartbeat_at: u64,
    pub(crate) is_draining: bool,
}

pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) known: Known,
    pub(crate) pipes: HashMap<SessionKey, u64>,
    pub(crate) schedule: ShardSchedule,
    /// The events that were handed over and are not taken yet.
    pub(crate) waiting: VecDeque<Vec<Event>>,
    pub(crate) is_write_scheduled: bool,
    /// The time at which the schedule is run next, at the latest.
    pub(crate) timer_at: Option<u64>,
    /// The time before which it wants no events, as its last plan says.
    pub(crate) gathers_until: u64,
    /// The time of the last event: events and interests keep their order.
    pub(crate) events_at: u64,
    pub(crate) interests_at: u64,
}

impl Gateway {
    pub(crate) fn new(life: u64, shards: usize, tuning: &Tuning, now: u64, now_ns: u64) -> Self {
        let (limits, inbox) = (&tuning.limits, tuning.inbox);
        let pacing = Pacing { wait_max: Duration::from_millis(tuning.cork), ..Pacing::default() };
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
            schedule: ShardSchedule::new(pacing, now_ns),
            waiting: VecDeque::new(),
            is_write_scheduled: false,
            timer_at: None,
            gathers_until: 0,
            events_at: 0,
            interests_at: 0,
        };
        Self {
            life,
            hub: Hub::new(hub_limits),
            bus,
            interest,
            inbox,
            shards: (0..shards).map(shard).collect(),
            requests: BTreeMap::new(),
            schedule: HubSchedule::default(),
            wake_at: None,
            is_ready: false,
            hub_stalled_until: 0,
            is_bus_up: true,
            heartbeat_at: now,
            is_draining: false,
        }
    }

    /// Takes what waits in the hub's inbox, in turns as its schedule has them; all of it where `is_all`.
    pub(crate) fn drain_inbox(&mut self, is_all: bool, now_ms: u64, now: u64) {
        while is_all || self.schedule.takes_messages() {
            let mut events = Vec::new();
            self.inbox.recv_batch(&mut events, TURN_EVENTS_MAX).now_or_never();
            if events.is_empty() {
                break;
            }
            let until = self.shards.iter().map(|shard| shard.gathers_until).min().unwrap_or_default();
            self.schedule.on_turn(events.len(), until, now);
            for event in events {
                if matches!(event, BusEvent::Message { token: HEARTBEATS, .. }) {
                    self.heartbeat_at = now_ms;
                }
                deliver(&mut self.hub, event, now, now);
            }
        }
    }
}
