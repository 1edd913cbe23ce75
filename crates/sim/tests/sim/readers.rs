//! The clients' side of the connections: connecting, reading at their pace, going away.

use crate::client::ClientMessage;
use crate::world::{SimEvent, World};

/// The time between two reads of a slow reader.
const READ_EVERY_MS: u64 = 20;
/// The longest wait of a prompt client for a record that its gateway has, beside the way there and back and the cork.
const PROMPT_MS: u64 = 100;

/// The time after which a client that was slow and is prompt now has got what it had missed.
const RECOVERED_MS: u64 = 8_000;

impl World {
    pub(crate) fn connect(&mut self, client: usize) {
        if self.clients[client].session.is_some() {
            return;
        }
        let gateway = self.rng.index(2);
        match self.open(client, gateway) {
            Some(pipe) => {
                self.trace(format_args!("client {client} connects to {gateway}: pipe {pipe}"));
                self.clients[client].connected(pipe, gateway, self.now);
            }
            None => {
                let wait = self.rng.range(50, 300);
                self.after(wait, SimEvent::Connect { client });
            }
        }
    }

    /// Ends the connection for the client.
    pub(crate) fn disconnect(&mut self, client: usize, tells_gateway: bool) {
        let Some(session) = &self.clients[client].session else { return };
        let id = session.pipe;
        self.trace(format_args!("client {client} leaves pipe {id}"));
        self.clients[client].disconnected();
        let wait = self.rng.range(10, 500);
        self.after(wait, SimEvent::Connect { client });
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        pipe.client_open = false;
        pipe.is_cut = !tells_gateway;
        if !pipe.gateway_open {
            self.pipes.remove(&id);
        } else if tells_gateway {
            let latency = pipe.latency;
            self.after(latency, SimEvent::Ends { pipe: id });
        }
    }

    pub(crate) fn send(&mut self, client: usize, messages: Vec<ClientMessage>) {
        let Some(session) = &self.clients[client].session else { return };
        let id = session.pipe;
        for message in messages {
            let Some(pipe) = self.pipes.get_mut(&id) else { return };
            pipe.upward_at = pipe.upward_at.max(self.now + pipe.latency);
            let at = pipe.upward_at;
            self.at(at, SimEvent::ClientMessage { pipe: id, message });
        }
    }

    pub(crate) fn on_read(&mut self, id: u64) {
        let now = self.now;
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if !pipe.client_open {
            if !pipe.gateway_open {
                self.pipes.remove(&id);
            }
            return;
        }
        pipe.is_read_scheduled = false;
        let client = pipe.client;
        let own = &self.clients[client];
        if now < own.stalled_until {
            // It is woken when the stall is over.
            return;
        }
        let most = own.rate.map_or(usize::MAX, |rate| rate * READ_EVERY_MS as usize);
        let mut bytes = Vec::new();
        let read = pipe.read(most, now, &mut bytes);
        let (latency, is_waiting) = (pipe.latency, !pipe.pending.is_empty());
        let next =
            pipe.next_arrival().map(|at| if most == usize::MAX { at } else { at.max(now + READ_EVERY_MS) });
        pipe.is_read_scheduled = next.is_some();
        let is_over = next.is_none() && !pipe.gateway_open;
        if let Some(next) = next {
            self.at(next, SimEvent::Read { pipe: id });
        }
        if read > 0 && is_waiting {
            self.after(latency, SimEvent::Writable { pipe: id });
        }
        if read > 0 {
            let mut out = Vec::new();
            self.digest(read as u64 ^ now << 16);
            self.trace(format_args!("client {client} reads {read} bytes"));
            self.clients[client].read(&bytes, now, &self.truth, &mut out);
            self.measure(client, id);
            self.send(client, out);
        }
        let is_closed = self.clients[client].session.as_ref().is_some_and(|session| session.closed.is_some());
        if is_over || is_closed {
            self.disconnect(client, true);
        }
    }

    /// Checks promise 3: whatever others do, a client that reads gets what its gateway has.
    fn measure(&mut self, client: usize, id: u64) {
        let (now, cork, write_bytes) = (self.now, self.tuning.cork, self.tuning.limits.write_bytes);
        // A client that was slow before is caught up with at the pace that its window finds.
        let was_slow_at = self.clients[client].prompt_since.max(self.clients[client].stalled_until);
        let is_recovered = was_slow_at == 0 || now >= was_slow_at + RECOVERED_MS;
        let delay = self.clients[client].delay;
        let is_measured = write_bytes == 64 << 10 && is_recovered && self.is_prompt(client);
        let Some(session) = &mut self.clients[client].session else { return };
        let fresh = std::mem::take(&mut session.fresh);
        let Some(pipe) = self.pipes.get(&id).filter(|pipe| is_measured && pipe.is_wide()) else { return };
        let Some(gateway) = &self.gateways[pipe.gateway] else { return };
        let known = &gateway.shards[pipe.shard].known;
        for (instrument, channel, position) in fresh {
            let Some(view) = session.views.get(&(instrument, channel)).filter(|view| view.max_rate == 0.0)
            else {
                continue;
            };
            let key = (instrument, channel);
            let Some(arrived) =
                known.arrival(key, position).filter(|at| *at + delay > view.since.max(view.rated))
            else {
                continue;
            };
            self.prompt_records += 1;
            // A state may be older than its arrival, so it may come sooner than that and the delay.
            let age = now.saturating_sub(arrived + delay);
            assert!(
                age <= PROMPT_MS + 3 * pipe.latency + cork + u64::from(pipe.window_ms),
                "client {client} reads at once and got {channel:?} {position:?} {age} ms late"
            );
        }
    }

    /// Returns whether it has been reading all that comes, on a connection that works.
    pub(crate) fn is_prompt(&self, client: usize) -> bool {
        const LONG_ENOUGH_MS: u64 = 1_000;
        let (own, now) = (&self.clients[client], self.now);
        let Some(session) = &own.session else { return false };
        own.rate.is_none()
            && !own.is_silent
            && now >= own.stalled_until.max(own.prompt_since) + LONG_ENOUGH_MS
            && now >= session.opened_at + LONG_ENOUGH_MS
            && session.is_greeted
            && session.closed.is_none()
            && self.pipes.get(&session.pipe).is_some_and(|pipe| pipe.gateway_open && !pipe.is_closing)
    }

    pub(crate) fn housekeep(&mut self, client: usize) {
        let mut out = Vec::new();
        self.clients[client].reconcile(self.now, &mut out);
        self.send(client, out);
    }
}
