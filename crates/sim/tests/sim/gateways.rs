//! The loops of the gateways. The schedules of the core say what they do next, as in a real gateway; tasks, timers and
//! sockets are simulated events here.

use std::sync::Arc;

use bytes::Bytes;
use tickwire_bus::{Backplane as _, BusState, Subject};
use tickwire_gateway::WebSocket;
use tickwire_wire::{CloseCode, pb};

use crate::client::{Client, ClientMessage};
use crate::gateway::Gateway;
use crate::pipe::{Connection, Pipe};
use crate::world::{SimEvent, World};
use crate::{MS, START_NS};
use tickwire_core::engine::{Entitlement, Opening, Principal, SessionKey};
use tickwire_core::hub::Action;
use tickwire_core::schedule::{Step, by_shard};
use tickwire_core::vocabulary::{Event, TopicInterest};

/// The time that a close frame may take to leave before the connection is cut.
const CLOSE_GRACE_MS: u64 = 2_000;
/// The time after which a peer answers a close frame.
const CLOSE_REPLY_MS: u64 = 200;

/// Returns who may see everything when it is so many milliseconds old, and books to a depth.
fn restricted(delay: u64, depth: Option<u32>) -> Arc<Principal> {
    let entitlements = vec![Entitlement { delay_ns: delay * MS, depth, ..Entitlement::ALL }];
    Arc::new(Principal { entitlements, ..Principal::clone(&Principal::anonymous()) })
}

impl World {
    pub(crate) fn start_gateway(&mut self, at: usize) {
        if self.gateways[at].is_some() {
            return;
        }
        let life = self.new_id();
        let (now_ms, now_ns) = (self.now, self.nanos());
        let mut gateway = Gateway::new(life, self.tuning.shards[at], &self.tuning, now_ms, now_ns);
        let (now, link) = (self.nanos(), &self.links[at]);
        if self.now < link.down_until {
            gateway.bus.set_down(true);
            gateway.is_bus_up = false;
            gateway.hub.on_bus_state(Err("the bus is not connected yet".into()), now);
        } else {
            gateway.hub.on_bus_state(Ok(1), now);
        }
        self.trace(format_args!("gateway {at} starts with {} shards", gateway.shards.len()));
        self.gateways[at] = Some(gateway);
        self.pump(at);
        self.at(self.now, SimEvent::HubTick { gateway: at, life });
    }

    /// Kills its process: connections break.
    pub(crate) fn kill_gateway(&mut self, at: usize) {
        if self.gateways[at].take().is_none() {
            return;
        }
        let ids: Vec<_> =
            self.pipes.iter().filter(|(_, pipe)| pipe.gateway == at).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(pipe) = self.pipes.get_mut(&id) {
                pipe.gateway_open = false;
                pipe.pending.clear();
                let latency = pipe.latency;
                self.after(latency, SimEvent::Read { pipe: id });
            }
        }
    }

    pub(crate) fn tick_gateway(&mut self, at: usize) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(gateway) = &mut self.gateways[at] else { return };
        if now_ms >= gateway.hub_stalled_until {
            gateway.bus.set_stalled(false);
            gateway.schedule.on_time(now);
            gateway.drain_inbox(false, now_ms, now);
            gateway.hub.tick(now);
        }
        for shard in &mut gateway.shards {
            shard.schedule.on_busy(self.rng.below(101) as f64 / 100.0, now);
            shard.engine.tick(now);
            let mut silent = Vec::new();
            shard.engine.wants_kernel_numbers(&mut silent);
            for key in silent {
                let pipe = shard.pipes.get(&key).and_then(|id| self.pipes.get(id));
                let unacknowledged = pipe.map_or(0, Pipe::in_flight);
                shard.engine.kernel_unacknowledged(key, unacknowledged, now);
            }
        }
        let shards = gateway.shards.len();
        self.pump(at);
        for shard in 0..shards {
            self.after_shard(at, shard);
        }
    }

    pub(crate) fn on_arrival(&mut self, at: usize, life: u64, subject: &Subject, payload: Bytes) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(gateway) = self.gateway(at, life) else { return };
        // The bus refuses it while it is down.
        let _ = gateway.bus.publish(subject, payload);
        if now_ms >= gateway.hub_stalled_until {
            gateway.drain_inbox(false, now_ms, now);
            self.pump(at);
        }
    }

    /// Wakes the hub, as its schedule said.
    pub(crate) fn on_hub_wake(&mut self, at: usize, life: u64) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(gateway) = self.gateway(at, life) else { return };
        gateway.wake_at = None;
        gateway.schedule.on_time(now);
        if now_ms >= gateway.hub_stalled_until {
            gateway.drain_inbox(false, now_ms, now);
            self.pump(at);
        }
    }

    pub(crate) fn on_response(
        &mut self,
        at: usize,
        life: u64,
        request_id: u64,
        response: Result<pb::FeedResponse, String>,
    ) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(gateway) = self.gateway(at, life) else { return };
        if now_ms < gateway.hub_stalled_until {
            let until = gateway.hub_stalled_until;
            self.at(until, SimEvent::Response { gateway: at, life, request_id, response });
            return;
        }
        let Some(target) = gateway.requests.remove(&request_id) else { return };
        gateway.hub.on_response(target, response, now);
        self.pump(at);
    }

    pub(crate) fn on_interests(&mut self, at: usize, life: u64, shard: usize, interests: Vec<TopicInterest>) {
        let now_ms = self.now;
        let Some(gateway) = self.gateway(at, life) else { return };
        if now_ms < gateway.hub_stalled_until {
            let until = gateway.hub_stalled_until;
            gateway.shards[shard].interests_at = until;
            self.at(until, SimEvent::ToHub { gateway: at, life, shard, interests });
            return;
        }
        for interest in interests {
            gateway.hub.on_interest(shard, interest);
        }
        self.pump(at);
    }

    /// Breaks the connection to the bus.
    pub(crate) fn break_bus(&mut self, at: usize) {
        let (now, now_ms) = (self.nanos(), self.now);
        let is_told_first = self.rng.percent(50);
        let Some(gateway) = self.gateways[at].as_mut().filter(|gateway| gateway.is_bus_up) else { return };
        gateway.is_bus_up = false;
        gateway.bus.set_down(true);
        let life = gateway.life;
        if is_told_first || now_ms < gateway.hub_stalled_until {
            gateway.hub.on_bus_state(Err("taken down".into()), now);
            gateway.drain_inbox(true, now_ms, now);
        } else {
            gateway.drain_inbox(true, now_ms, now);
            gateway.hub.on_bus_state(Err("taken down".into()), now);
        }
        let open: Vec<_> = gateway.requests.keys().copied().collect();
        for request_id in open {
            let response = Err("the bus is down".to_owned());
            self.at(self.now, SimEvent::Response { gateway: at, life, request_id, response });
        }
        self.pump(at);
    }

    pub(crate) fn on_bus_up(&mut self, at: usize, life: u64) {
        let (now, now_ms, until) = (self.nanos(), self.now, self.links[at].down_until);
        let is_told_first = self.rng.percent(50);
        let Some(gateway) = self.gateway(at, life) else { return };
        if now_ms < until || gateway.is_bus_up {
            return;
        }
        gateway.is_bus_up = true;
        gateway.bus.set_down(false);
        let BusState::Up { generation } = *gateway.bus.state().borrow() else { return };
        if is_told_first {
            gateway.hub.on_bus_state(Ok(generation), now);
            gateway.drain_inbox(true, now_ms, now);
        } else {
            gateway.drain_inbox(true, now_ms, now);
            gateway.hub.on_bus_state(Ok(generation), now);
        }
        self.trace(format_args!("gateway {at}: the bus is up"));
        self.pump(at);
    }

    /// Does what the hub wants done, and hands its events to the shards.
    pub(crate) fn pump(&mut self, at: usize) {
        let now = self.nanos();
        let Some(gateway) = &mut self.gateways[at] else { return };
        gateway.hub.ask_due(now);
        gateway.is_ready = gateway.schedule.is_ready(gateway.is_bus_up, now);
        let life = gateway.life;
        let wake_at = gateway.schedule.wake_at().map(|wake_at| (wake_at - START_NS).div_ceil(MS));
        let is_new = wake_at.is_some() && gateway.wake_at.is_none();
        gateway.wake_at = gateway.wake_at.or(wake_at);
        let actions = std::mem::take(&mut gateway.hub.actions);
        let mut events = std::mem::take(&mut gateway.hub.events);
        if let Some(wake_at) = wake_at.filter(|_| is_new) {
            self.at(wake_at, SimEvent::HubWake { gateway: at, life });
        }
        for action in actions {
            match action {
                Action::Subscribe(subject, token) => {
                    if let Some(gateway) = &self.gateways[at] {
                        gateway.interest.subscribe(&subject, token).expect("room for a subject");
                    }
                }
                Action::Unsubscribe(subject) => {
                    if let Some(gateway) = &self.gateways[at] {
                        gateway.interest.unsubscribe(&subject);
                    }
                }
                Action::LookUp(request) => panic!("there is no history to look up {request:?} in"),
                Action::Ask(subject, request, target) => {
                    let request_id = self.new_id();
                    let Some(gateway) = &mut self.gateways[at] else { return };
                    gateway.requests.insert(request_id, target);
                    if gateway.is_bus_up {
                        self.send_request(at, life, request_id, subject, &request);
                    } else {
                        let response = Err("the bus is down".to_owned());
                        self.at(self.now, SimEvent::Response { gateway: at, life, request_id, response });
                    }
                }
            }
        }
        if events.is_empty() {
            return;
        }
        let shards = self.gateways[at].as_ref().map_or(0, |gateway| gateway.shards.len());
        for (shard, events) in by_shard(&mut events, shards).into_iter().enumerate() {
            if events.is_empty() {
                continue;
            }
            let wait = if self.rng.percent(20) { self.rng.below(4) } else { 0 };
            let earliest = self.now + wait;
            let Some(gateway) = &mut self.gateways[at] else { return };
            let events_at = &mut gateway.shards[shard].events_at;
            *events_at = earliest.max(*events_at);
            let when = *events_at;
            self.at(when, SimEvent::ToShard { gateway: at, life, shard, events });
        }
    }

    pub(crate) fn on_events(&mut self, at: usize, life: u64, shard: usize, events: Vec<Event>) {
        let Some(gateway) = self.gateway(at, life) else { return };
        gateway.shards[shard].waiting.push_back(events);
        self.after_shard(at, shard);
    }

    /// Makes a shard take what waits for it.
    fn take_events(&mut self, at: usize, shard: usize) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(gateway) = &mut self.gateways[at] else { return };
        let own = &mut gateway.shards[shard];
        let batches = std::mem::take(&mut own.waiting);
        for event in batches.iter().flatten() {
            own.known.note(event, now_ms);
            own.engine.on_event(event, now);
        }
        if self.is_traced() {
            for event in batches.iter().flatten() {
                self.trace_event(at, shard, event);
            }
        }
    }

    /// Does what an engine wants once something happened, and what its schedule says.
    pub(crate) fn after_shard(&mut self, at: usize, shard: usize) {
        let wait = if self.rng.percent(20) { self.rng.below(4) } else { 0 };
        let (earliest, now, now_ms) = (self.now + wait, self.nanos(), self.now);
        let Some(gateway) = &mut self.gateways[at] else { return };
        let life = gateway.life;
        let own = &mut gateway.shards[shard];
        let mut plan = own.schedule.plan(&own.engine, now);
        if plan.takes_events && !own.waiting.is_empty() {
            self.take_events(at, shard);
            let Some(gateway) = &mut self.gateways[at] else { return };
            let own = &mut gateway.shards[shard];
            own.schedule.on_events(&own.engine, now);
            plan = own.schedule.plan(&own.engine, now);
        }
        let Some(gateway) = &mut self.gateways[at] else { return };
        let own = &mut gateway.shards[shard];
        own.gathers_until = plan.gathers_until;
        let interests: Vec<_> = own.engine.take_interests().collect();
        let interests_at = earliest.max(own.interests_at);
        if !interests.is_empty() {
            own.interests_at = interests_at;
        }
        let due = plan.wake_at.map(|due| due.saturating_sub(START_NS).div_ceil(MS).max(now_ms));
        let timer = due.filter(|due| own.timer_at.is_none_or(|known| *due < known || known < now_ms));
        own.timer_at = timer.or(own.timer_at);
        let writes = plan.writes && !own.is_write_scheduled;
        own.is_write_scheduled |= writes;
        if !interests.is_empty() {
            self.at(interests_at, SimEvent::ToHub { gateway: at, life, shard, interests });
        }
        if let Some(timer) = timer {
            self.at(timer, SimEvent::Timer { gateway: at, life, shard });
        }
        if writes {
            self.at(now_ms, SimEvent::Write { gateway: at, life, shard });
        }
    }

    /// Runs what is due by the clock.
    pub(crate) fn on_timer(&mut self, at: usize, life: u64, shard: usize) {
        let now = self.nanos();
        let Some(gateway) = self.gateway(at, life) else { return };
        let own = &mut gateway.shards[shard];
        own.timer_at = None;
        own.schedule.on_time(&mut own.engine, now);
        self.after_shard(at, shard);
    }

    /// Runs a round of writing. It takes no time here, but the schedule is told that writes did.
    pub(crate) fn on_write(&mut self, at: usize, life: u64, shard: usize) {
        let now = self.nanos();
        let Some(gateway) = self.gateway(at, life) else { return };
        let own = &mut gateway.shards[shard];
        own.is_write_scheduled = false;
        if !own.schedule.plan(&own.engine, now).writes {
            // The data to be written left meanwhile.
            return self.after_shard(at, shard);
        }
        own.schedule.begin_round(now);
        loop {
            let Some(gateway) = self.gateway(at, life) else { return };
            let own = &mut gateway.shards[shard];
            match own.schedule.step(&mut own.engine, now) {
                Some(Step::TakeEvents) => self.take_events(at, shard),
                Some(Step::Write) => {
                    let keys = own.schedule.sessions().to_vec();
                    for key in keys {
                        self.write(at, shard, key);
                    }
                }
                Some(Step::Yield) => {}
                None => break,
            }
        }
        self.after_shard(at, shard);
    }

    /// Writes what a session is owed now, with one call.
    pub(crate) fn write(&mut self, at: usize, shard: usize, key: SessionKey) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(gateway) = &mut self.gateways[at] else { return };
        let own = &mut gateway.shards[shard];
        let Some(id) = own.pipes.get(&key).copied() else { return };
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let mut out = Vec::new();
        let filled = own.engine.fill(key, now, &WebSocket, &mut out);
        if out.is_empty() {
            return;
        }
        own.schedule.on_write(filled.cycle_ns, self.rng.below(self.tuning.cork + 1) * MS / 8);
        // What a delayed session gets is the newest of that time: the tests of the engine compare it with a session of then.
        // Of a book to a depth, it may be older: nothing happened to the best levels since.
        if self.clients[pipe.client].delay == 0 && self.clients[pipe.client].depth.is_none() {
            own.known.judge(pipe.encoding, &out);
        }
        assert!(!pipe.is_closing, "something came after the close frame");
        assert!(pipe.pending.is_empty() || filled.closed, "a blocked session was written to");
        let taken = if pipe.pending.is_empty() { pipe.write(&out, now_ms) } else { 0 };
        pipe.pending.extend_from_slice(&out[taken..]);
        own.engine.unsent(key, pipe.pending.len(), now);
        pipe.is_closing |= filled.closed;
        let pending = pipe.pending.len();
        let read_at = pipe.next_arrival().filter(|_| !std::mem::replace(&mut pipe.is_read_scheduled, true));
        if read_at.is_none() && pipe.next_arrival().is_none() {
            pipe.is_read_scheduled = false;
        }
        if let Some(read_at) = read_at {
            self.at(read_at, SimEvent::Read { pipe: id });
        }
        if pending > 0 && taken > 0 {
            // One call took less than there is room for.
            self.after(1, SimEvent::Writable { pipe: id });
        }
        if filled.closed {
            let wait = if pending == 0 { CLOSE_REPLY_MS } else { CLOSE_GRACE_MS };
            self.after(wait, SimEvent::Ends { pipe: id });
        }
        self.digest(out.len() as u64 ^ now << 24 ^ id);
        self.trace(format_args!("gateway {at}/{shard} wrote {} of {} to pipe {id}", taken, out.len()));
    }

    pub(crate) fn on_writable(&mut self, id: u64) {
        let (now, now_ms) = (self.nanos(), self.now);
        let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| pipe.gateway_open) else { return };
        if pipe.pending.is_empty() || !pipe.write_pending(now_ms) {
            return;
        }
        let (at, shard, key, left) = (pipe.gateway, pipe.shard, pipe.key, pipe.pending.len());
        let read_at = pipe.next_arrival().filter(|_| !std::mem::replace(&mut pipe.is_read_scheduled, true));
        let (more, is_closing) = (left > 0 && pipe.has_room(), pipe.is_closing);
        if let Some(read_at) = read_at {
            self.at(read_at, SimEvent::Read { pipe: id });
        }
        if more {
            self.after(1, SimEvent::Writable { pipe: id });
        }
        if let Some(gateway) = &mut self.gateways[at] {
            gateway.shards[shard].engine.unsent(key, left, now);
        }
        if is_closing && left == 0 {
            self.after(CLOSE_REPLY_MS, SimEvent::Ends { pipe: id });
        }
        self.after_shard(at, shard);
    }

    pub(crate) fn on_client_message(&mut self, id: u64, message: ClientMessage) {
        let now = self.nanos();
        let Some(pipe) = self.pipes.get(&id).filter(|pipe| pipe.gateway_open && !pipe.is_cut) else { return };
        let (at, shard, key) = (pipe.gateway, pipe.shard, pipe.key);
        let Some(gateway) = &mut self.gateways[at] else { return };
        let engine = &mut gateway.shards[shard].engine;
        match message {
            ClientMessage::Command(bytes) => {
                engine.on_message(key, &bytes, now);
            }
            ClientMessage::Pong(payload) => {
                engine.on_pong(key, &payload, now);
            }
            ClientMessage::Ping(payload) => engine.on_ping(key, &payload, now),
            ClientMessage::Close => {
                self.end_at_gateway(id);
                return;
            }
        }
        // The reader of a connection does the same.
        self.write(at, shard, key);
        self.after_shard(at, shard);
    }

    /// Opens a connection of a client; the gateway refuses it while it is not ready.
    pub(crate) fn open(&mut self, client: usize, at: usize) -> Option<u64> {
        let now = self.nanos();
        let gateway = self.gateways[at].as_ref()?;
        if !gateway.is_ready || gateway.is_draining || !gateway.is_bus_up {
            return None;
        }
        let shard = self.rng.index(gateway.shards.len());
        let (id, connection) = (self.new_id(), Connection::draw(&mut self.rng));
        let Client { encoding, delay, depth, .. } = self.clients[client];
        let own = &mut self.gateways[at].as_mut()?.shards[shard];
        let opening = Opening::anonymous(format!("s-{id}"), encoding)
            .with_window(connection.window_ms)
            .with_heartbeat(connection.heartbeat_ms);
        let is_free = delay == 0 && depth.is_none();
        let opening =
            if is_free { opening } else { Opening { principal: restricted(delay, depth), ..opening } };
        let key = own.engine.open(opening, now);
        own.pipes.insert(key, id);
        self.pipes.insert(id, Pipe::new(client, (at, shard, key), encoding, connection));
        self.after_shard(at, shard);
        Some(id)
    }

    /// Ends the gateway's side of a connection.
    pub(crate) fn end_at_gateway(&mut self, id: u64) {
        let now = self.nanos();
        let Some(pipe) = self.pipes.get_mut(&id).filter(|pipe| pipe.gateway_open) else { return };
        pipe.gateway_open = false;
        pipe.pending.clear();
        let (at, shard, key, latency) = (pipe.gateway, pipe.shard, pipe.key, pipe.latency);
        if let Some(gateway) = &mut self.gateways[at] {
            let own = &mut gateway.shards[shard];
            own.pipes.remove(&key);
            let code = own.engine.closing(key);
            let account = own.engine.ended(key, now).expect("it was open");
            let settled = account.delivered + account.conflated + account.dropped + account.filtered;
            assert_eq!(account.published, settled);
            assert!(code.is_none_or(CloseCode::may_retry), "closed with {code:?}");
        }
        self.after(latency, SimEvent::Read { pipe: id });
        self.after_shard(at, shard);
    }

    fn trace_event(&self, at: usize, shard: usize, event: &Event) {
        match event {
            Event::Update(update) => {
                let (id, channel) = (update.info().id, update.topic.channel());
                let gap = if update.is_gap() { "gap " } else { "" };
                let (epoch, first, last) = (update.epoch, update.first, update.last);
                self.trace(format_args!("{at}/{shard} told {channel:?} {id} {gap}{epoch}:{first}-{last}"));
            }
            Event::State(state) => self.trace(format_args!(
                "{at}/{shard} told the state of {:?}: {}:{} with {:?}",
                state.topic,
                state.epoch,
                state.sequence,
                state.records.iter().map(|update| update.last).collect::<Vec<_>>()
            )),
            other => self.trace(format_args!("{at}/{shard} told {other:?}")),
        }
    }
}
