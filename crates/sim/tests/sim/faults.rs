//! Faults, made by chance.

use tickwire_bus::{BusEvent, LostCause};
use tickwire_gateway::deliver;

use crate::MS;
use crate::client::ClientMessage;
use crate::tuning::Fault;
use crate::world::{SimEvent, World};

impl World {
    pub(crate) fn chaos(&mut self) {
        if self.is_healed {
            return;
        }
        if !self.tuning.faults.is_empty() {
            let fault = self.rng.pick(&self.tuning.faults);
            self.fault(fault);
        }
        let wait = self.rng.range(1, 2 * self.tuning.fault_every);
        self.after(wait, SimEvent::Chaos);
    }

    fn fault(&mut self, fault: Fault) {
        let (now, nanos) = (self.now, self.nanos());
        let at = self.rng.index(2);
        let client = self.rng.index(self.clients.len());
        let long = self.rng.pick(&[100, 400, 1_000, 2_500, 4_000]);
        let lasts = self.rng.range(1, long);
        self.trace(format_args!("fault {fault:?}, gateway {at}, client {client}, {lasts} ms"));
        match fault {
            Fault::IngesterRestart => {
                let in_good_order = self.rng.percent(30);
                self.market.stop(now, in_good_order);
                self.after(lasts, SimEvent::IngesterUp);
            }
            Fault::IngesterOutage => self.break_ingester_bus(lasts),
            Fault::BusOutage => {
                self.break_ingester_bus(lasts);
                for at in 0..2 {
                    let differs = self.rng.below(200);
                    self.outage(at, lasts + differs);
                }
            }
            Fault::Outage => self.outage(at, lasts),
            Fault::Partition => self.links[at].partitioned_until = now + lasts,
            Fault::SilentLoss => {
                self.links[at].loss = self.rng.pick(&[1, 5, 30]);
                self.after(lasts, SimEvent::FaultEnds(fault, at));
            }
            Fault::ResponseLoss => {
                self.links[at].response_loss = self.rng.pick(&[20, 100]);
                self.after(lasts, SimEvent::FaultEnds(fault, at));
            }
            Fault::Notice => self.notice_loss(at),
            Fault::HubStall => {
                let lasts = lasts.min(2_000);
                if let Some(gateway) = &mut self.gateways[at] {
                    gateway.hub_stalled_until = now + lasts;
                    gateway.bus.set_stalled(true);
                }
            }
            Fault::GatewayRestart => {
                self.kill_gateway(at);
                self.after(lasts, SimEvent::GatewayUp { gateway: at });
            }
            Fault::GatewayDrain => {
                let window = self.rng.below(1_000) * MS;
                if let Some(gateway) = self.gateways[at].as_mut().filter(|gateway| !gateway.is_draining) {
                    gateway.is_draining = true;
                    for shard in &mut gateway.shards {
                        shard.engine.drain(window, nanos);
                    }
                    self.after(3_500, SimEvent::FaultEnds(fault, at));
                }
            }
            Fault::ReaderStall => {
                let own = &mut self.clients[client];
                own.stalled_until = own.stalled_until.max(now + lasts);
                self.after(lasts, SimEvent::FaultEnds(fault, client));
            }
            Fault::ReaderSlow => {
                self.clients[client].rate = Some(self.rng.pick(&[1, 3, 20]));
                self.after(lasts * 2, SimEvent::FaultEnds(fault, client));
            }
            Fault::ReaderBreak => self.disconnect(client, true),
            Fault::ReaderVanish => self.disconnect(client, false),
            Fault::Flap => self.flap(client),
            Fault::Rate => {
                let wanted: Vec<_> = self.clients[client].wanted.keys().copied().collect();
                let mut out = Vec::new();
                if !wanted.is_empty() {
                    let (want, rate) = (self.rng.pick(&wanted), self.rng.pick(&[0.0, 2.0, 20.0]));
                    self.clients[client].set_rate(want, rate, &mut out);
                }
                self.send(client, out);
            }
            Fault::Ledger => {
                let mut out = Vec::new();
                self.clients[client].ask_ledger(&mut out);
                self.send(client, out);
            }
            Fault::Ping => self.send(client, vec![ClientMessage::Ping(b"hello?".to_vec())]),
            Fault::UpstreamGap => {
                if self.market.is_up() {
                    self.market.lose(nanos);
                }
            }
            Fault::SourceStale => {
                if self.market.is_up() {
                    self.market.set_source_stale(true);
                    self.after(lasts, SimEvent::FaultEnds(fault, 0));
                }
            }
            Fault::NewInstrument => {
                if self.tuning.instruments < crate::SYMBOLS_MAX {
                    self.tuning.instruments += 1;
                    self.market.add_instrument(nanos);
                }
            }
            Fault::Overlap => {
                if self.market.overlap(nanos) {
                    self.after(lasts, SimEvent::FaultEnds(fault, 0));
                }
            }
            Fault::Listing => {
                let at = self.rng.index(self.tuning.instruments);
                self.market.unlist(at);
                self.after(lasts, SimEvent::FaultEnds(fault, at));
            }
            Fault::WildTimes => {
                self.market.wild_percent = 20;
                self.after(lasts, SimEvent::FaultEnds(fault, 0));
            }
            Fault::Lag => self.links[at].lag = self.rng.pick(&[0, 5, 30, 100]),
        }
    }

    fn break_ingester_bus(&mut self, lasts: u64) {
        self.ingester_bus_down_until = self.ingester_bus_down_until.max(self.now + lasts);
        let until = self.ingester_bus_down_until;
        self.at(self.now, SimEvent::IngesterBus { is_up: false });
        self.at(until, SimEvent::IngesterBus { is_up: true });
    }

    fn outage(&mut self, at: usize, lasts: u64) {
        let link = &mut self.links[at];
        link.down_until = link.down_until.max(self.now + lasts);
        let until = link.down_until;
        self.break_bus(at);
        if let Some(life) = self.gateways[at].as_ref().map(|gateway| gateway.life) {
            self.at(until, SimEvent::BusUp { gateway: at, life });
        }
    }

    /// Makes the bus say that something was lost, which may be so or not.
    fn notice_loss(&mut self, at: usize) {
        let now = self.nanos();
        let tokens = [None, Some(u64::MAX), Some(1 << 40), Some(1), Some(2), Some(3), Some(9)];
        let token = self.rng.pick(&tokens);
        if let Some(gateway) = &mut self.gateways[at] {
            let tokens = token.map(|token| [token].into());
            let lost = BusEvent::Lost { tokens, messages: None, cause: LostCause::Upstream };
            deliver(&mut gateway.hub, lost, now, now);
            self.pump(at);
        }
    }

    fn flap(&mut self, client: usize) {
        let wanted: Vec<_> = self.clients[client].wanted.keys().copied().collect();
        for _ in 0..self.rng.range(0, 2) {
            if !wanted.is_empty() {
                let want = self.rng.pick(&wanted);
                self.clients[client].wanted.remove(&want);
            }
        }
        for _ in 0..self.rng.range(0, 2) {
            self.want_something(client);
        }
        self.housekeep(client);
    }

    pub(crate) fn end_fault(&mut self, fault: Fault, at: usize) {
        match fault {
            Fault::SilentLoss => self.links[at].loss = 0,
            Fault::ResponseLoss => self.links[at].response_loss = 0,
            Fault::GatewayDrain if self.gateways[at].as_ref().is_some_and(|gateway| gateway.is_draining) => {
                self.kill_gateway(at);
                self.start_gateway(at);
            }
            Fault::ReaderStall | Fault::ReaderSlow => {
                let own = &mut self.clients[at];
                if fault == Fault::ReaderSlow {
                    own.rate = None;
                }
                own.prompt_since = self.now;
                if let Some(pipe) = own.session.as_ref().map(|session| session.pipe) {
                    self.at(self.now, SimEvent::Read { pipe });
                }
            }
            Fault::SourceStale if self.market.is_up() => self.market.set_source_stale(false),
            Fault::Overlap => {
                let (now, in_good_order) = (self.now, self.rng.percent(50));
                self.market.end_overlap(now, in_good_order);
            }
            Fault::Listing => {
                let nanos = self.nanos();
                self.market.list(at, nanos);
            }
            Fault::WildTimes => self.market.wild_percent = 0,
            _ => {}
        }
    }

    /// Heals everything: it works from here on.
    pub(crate) fn heal(&mut self) {
        self.trace(format_args!("everything is healed"));
        let (now, nanos) = (self.now, self.nanos());
        self.is_healed = true;
        self.ingester_bus_down_until = now;
        self.ingester_bus.set_down(false);
        self.market.heal(now, nanos);
        for at in 0..2 {
            let link = &mut self.links[at];
            (link.partitioned_until, link.down_until, link.loss, link.response_loss) = (now, now, 0, 0);
            if let Some(gateway) = &mut self.gateways[at] {
                gateway.hub_stalled_until = gateway.hub_stalled_until.min(now);
                let life = gateway.life;
                self.on_bus_up(at, life);
            } else {
                self.start_gateway(at);
            }
        }
        for at in 0..self.clients.len() {
            let own = &mut self.clients[at];
            if own.rate.is_some() || own.is_silent || own.stalled_until > now {
                own.prompt_since = now;
            }
            (own.rate, own.stalled_until, own.is_silent) = (None, own.stalled_until.min(now), false);
            if let Some(pipe) = own.session.as_ref().map(|session| session.pipe) {
                self.at(now, SimEvent::Read { pipe });
            }
        }
    }
}
