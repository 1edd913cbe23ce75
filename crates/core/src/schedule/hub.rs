//! The order of the hub's work: when it looks into its inbox, and when clients may be let in.

use crate::hub::Out;
use crate::vocabulary::Event;

/// Most bus events that one turn takes, so that interests of shards and responses of ingesters do not wait.
pub const TURN_EVENTS_MAX: usize = 1024;
/// The time after the bus came up until which the first heartbeats of all ingesters must have been heard: they come
/// twice a second.
const FIRST_HEARTBEATS_NS: u64 = 700_000_000;
/// The longest time for which messages are left in the inbox, whatever the shards say: snapshot responses and definitions wait, too.
const GATHER_NS_MAX: u64 = 20_000_000;

/// When the hub takes what is in its inbox, and when it knows enough for clients to be let in.
#[derive(Debug, Default)]
pub struct HubSchedule {
    /// Messages are left in the inbox until then.
    gathers_until: Option<u64>,
    /// The time since which the bus is there, the first time.
    up_since: Option<u64>,
}

impl HubSchedule {
    /// Returns whether to take what is in the inbox now.
    pub fn takes_messages(&self) -> bool {
        self.gathers_until.is_none()
    }

    /// Returns when [`on_time`](Self::on_time) has something to do.
    pub fn wake_at(&self) -> Option<u64> {
        self.gathers_until
    }

    /// Notes that [`wake_at`](Self::wake_at) came.
    pub fn on_time(&mut self, now: u64) {
        self.gathers_until.take_if(|until| *until <= now);
    }

    /// Notes that a shard wants events now.
    pub fn take_now(&mut self) {
        self.gathers_until = None;
    }

    /// Notes that a turn of so many messages was taken, and that no shard wants events before `until`. Returns whether a shard on the
    /// same thread is to get its turn before the next, however much waits here.
    pub fn on_turn(&mut self, messages: usize, until: u64, now: u64) -> bool {
        self.gather_until(until, now);
        messages >= TURN_EVENTS_MAX
    }

    /// Leaves messages in the inbox until a time, if that is to come: to wake for each costs more than the message where nobody could
    /// take it yet.
    fn gather_until(&mut self, until: u64, now: u64) {
        // Where no shard has sessions, what comes is rare, and nobody says when it is wanted.
        let gathers = until > now && until < u64::MAX;
        self.gathers_until = gathers.then_some(until.min(now + GATHER_NS_MAX));
    }

    /// Returns whether all ingesters that there are must have been heard. Once true, it stays so.
    pub fn is_ready(&mut self, is_bus_up: bool, now: u64) -> bool {
        if self.up_since.is_none() && is_bus_up {
            self.up_since = Some(now);
        }
        self.up_since.is_some_and(|since| now.saturating_sub(since) >= FIRST_HEARTBEATS_NS)
    }
}

/// Deals out what each of so many shards is told, in order.
pub fn by_shard(events: &mut Out, shards: usize) -> Vec<Vec<Event>> {
    let most = if shards == 1 { events.len() } else { 0 };
    let mut told: Vec<_> = (0..shards).map(|_| Vec::with_capacity(most)).collect();
    for (mask, event) in events.drain(..) {
        let mut mask = mask & u64::MAX.unbounded_shr(64 - shards as u32);
        // The last one gets the event itself.
        while mask.count_ones() > 1 {
            told[mask.trailing_zeros() as usize].push(event.clone());
            mask &= mask - 1;
        }
        if mask != 0 {
            told[mask.trailing_zeros() as usize].push(event);
        }
    }
    told
}
