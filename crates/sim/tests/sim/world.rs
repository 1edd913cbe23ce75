//! The event loop: one queue of what happens when, in virtual milliseconds.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Arguments;

use bytes::Bytes;
use prost::Message as _;
use tickwire_bus::{
    Backplane, BusEvent, Inbox, InboxLimits, Interest, MemoryBus, MemoryLimits, ParsedSubject, Subject,
};
use tickwire_gateway::fetch;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Channel, pb};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use crate::client::{Client, ClientMessage, Want};
use crate::gateway::Gateway;
use crate::market::Market;
use crate::pipe::Pipe;
use crate::rng::SeededRng;
use crate::truth::{Key, Response, Truth};
use crate::tuning::{Fault, Look, Tuning};
use crate::{MS, START_NS, TRACE, VENUE};

use tickwire_core::vocabulary::{Event, TopicInterest};

/// A simulated event: what will happen.
pub(crate) enum SimEvent {
    Market,
    IngesterUp,
    IngesterBus {
        is_up: bool,
    },
    /// A message reaches a gateway.
    Arrive {
        gateway: usize,
        life: u64,
        subject: Subject,
        payload: Bytes,
    },
    /// A request reaches the ingester.
    Request {
        gateway: usize,
        life: u64,
        request_id: u64,
        subject: Subject,
        payload: Bytes,
        keys: Vec<Key>,
    },
    Response {
        gateway: usize,
        life: u64,
        request_id: u64,
        response: Result<pb::FeedResponse, String>,
    },
    HubTick {
        gateway: usize,
        life: u64,
    },
    HubWake {
        gateway: usize,
        life: u64,
    },
    GatewayUp {
        gateway: usize,
    },
    BusUp {
        gateway: usize,
        life: u64,
    },
    ToShard {
        gateway: usize,
        life: u64,
        shard: usize,
        events: Vec<Event>,
    },
    ToHub {
        gateway: usize,
        life: u64,
        shard: usize,
        interests: Vec<TopicInterest>,
    },
    Write {
        gateway: usize,
        life: u64,
        shard: usize,
    },
    Timer {
        gateway: usize,
        life: u64,
        shard: usize,
    },
    /// A socket may take more.
    Writable {
        pipe: u64,
    },
    ClientMessage {
        pipe: u64,
        message: ClientMessage,
    },
    Read {
        pipe: u64,
    },
    /// The gateway's side of a connection ends.
    Ends {
        pipe: u64,
    },
    Connect {
        client: usize,
    },
    Housekeeping {
        client: usize,
    },
    Chaos,
    FaultEnds(Fault, usize),
    Check,
    Heal,
    Quiet,
}

/// The properties of the network between the ingester and a gateway.
#[derive(Debug, Default)]
pub(crate) struct BusLink {
    pub(crate) lag: u64,
    pub(crate) partitioned_until: u64,
    pub(crate) down_until: u64,
    /// The share of messages that are lost, in percent.
    pub(crate) loss: u64,
    pub(crate) response_loss: u64,
    /// The time of the last arrival: messages stay in order.
    arrives_at: u64,
}

type IngesterResponse = (usize, u64, u64, Vec<Key>, Result<pb::FeedResponse, String>);

pub(crate) struct World {
    pub(crate) rng: SeededRng,
    pub(crate) tuning: Tuning,
    pub(crate) truth: Truth,
    pub(crate) market: Market,
    pub(crate) ingester_bus: MemoryBus,
    pub(crate) ingester_bus_down_until: u64,
    tap: (Interest, Inbox),
    pub(crate) gateways: [Option<Gateway>; 2],
    pub(crate) links: [BusLink; 2],
    pub(crate) clients: Vec<Client>,
    pub(crate) pipes: BTreeMap<u64, Pipe>,
    queue: BTreeMap<(u64, u64), SimEvent>,
    /// The milliseconds since the start.
    pub(crate) now: u64,
    started: Instant,
    order: u64,
    ids: u64,
    responses: (mpsc::Sender<IngesterResponse>, mpsc::Receiver<IngesterResponse>),
    pub(crate) is_healed: bool,
    is_quiet: bool,
    is_traced: bool,
    /// A digest of everything that happened: two runs of a seed are the same run.
    pub(crate) digest: u64,
    pub(crate) steps: u64,
    pub(crate) prompt_records: u64,
    pub(crate) stale_checks: u64,
}

/// The time for which the market goes on after the faults.
const RECOVERY_MS: u64 = 4_000;
/// The time that everything has to settle after that.
const SETTLE_MS: u64 = 12_000;
const REQUEST_TIMEOUT_MS: u64 = 2_000;
const TICK_MS: u64 = 50;
/// The number of instruments whose definitions take more than one small message.
const BYSTANDERS: usize = 160;

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = SeededRng::new(seed);
        let tuning = Tuning::new(&mut rng);
        // One bus in four takes small messages only, and its venue lists more than one of them holds.
        let is_narrow = seed % 4 == 3;
        let payload_bytes_max =
            if is_narrow { BusHeader::PAYLOAD_LEAST } else { MemoryLimits::default().payload_bytes_max };
        let ingester_bus = MemoryBus::new(MemoryLimits { payload_bytes_max, ..MemoryLimits::default() });
        let tap = ingester_bus.inbox(InboxLimits::default());
        tap.0.subscribe(&Subject::heartbeats_all(), 0).expect("room");
        for channel in Channel::ALL {
            let all = Subject::data_all_symbols(VENUE, channel.name()).expect("a venue");
            tap.0.subscribe(&all, channel as u64).expect("room");
        }
        let market = Market::new(
            seed ^ 0x5eed,
            tuning.instruments,
            if is_narrow { BYSTANDERS } else { 0 },
            ingester_bus.clone(),
        );
        let own = |look: &Look| {
            let mut client = Client::new(look.encoding, tuning.instruments);
            (client.delay, client.depth) = (look.delay, look.depth);
            client
        };
        let mut clients: Vec<_> = tuning.clients.iter().map(own).collect();
        let may_end = tuning.faults.iter().any(|fault| matches!(fault, Fault::Overlap | Fault::Listing));
        for client in &mut clients {
            client.may_end = may_end;
        }
        let mut world = Self {
            rng,
            tuning,
            truth: Truth::default(),
            market,
            ingester_bus,
            ingester_bus_down_until: 0,
            tap,
            gateways: [None, None],
            links: [BusLink::default(), BusLink::default()],
            clients,
            pipes: BTreeMap::new(),
            queue: BTreeMap::new(),
            now: 1_000,
            started: Instant::now(),
            order: 0,
            ids: 0,
            responses: mpsc::channel(1024),
            is_healed: false,
            is_quiet: false,
            is_traced,
            digest: 0,
            steps: 0,
            prompt_records: 0,
            stale_checks: 0,
        };
        world.trace(format_args!("{:?}", world.tuning));
        world.plan();
        world
    }

    fn plan(&mut self) {
        let (first_gateway, chaos) = (self.rng.below(300), self.tuning.chaos_ms);
        self.after(self.now, SimEvent::IngesterUp);
        self.after(first_gateway, SimEvent::GatewayUp { gateway: 0 });
        self.after(300 - first_gateway, SimEvent::GatewayUp { gateway: 1 });
        for client in 0..self.clients.len() {
            let own = &mut self.clients[client];
            own.sends_receipts = self.rng.percent(30);
            own.is_silent = self.rng.percent(10);
            let wait = self.rng.below(2_000);
            self.after(wait, SimEvent::Connect { client });
            self.after(wait + 500, SimEvent::Housekeeping { client });
            for _ in 0..self.rng.range(3, 8) {
                self.want_something(client);
            }
        }
        self.after(500, SimEvent::Market);
        self.after(1_500, SimEvent::Chaos);
        self.after(0, SimEvent::Check);
        self.after(1_500 + chaos, SimEvent::Heal);
        self.after(1_500 + chaos + RECOVERY_MS, SimEvent::Quiet);
    }

    pub(crate) fn want_something(&mut self, client: usize) {
        const BUSY: [Channel; 10] = [
            Channel::Quote,
            Channel::Quote,
            Channel::Trade,
            Channel::Trade,
            Channel::Book,
            Channel::Book,
            Channel::Bar,
            Channel::Stat,
            Channel::Status,
            Channel::Instrument,
        ];
        let want: Want = (self.rng.pick(&BUSY), self.rng.index(self.tuning.instruments));
        let has_rate = !want.0.is_lossless() && self.rng.percent(20);
        let rate = if has_rate { self.rng.pick(&[2.0, 10.0]) } else { 0.0 };
        self.clients[client].wanted.insert(want, rate);
    }

    pub(crate) fn is_traced(&self) -> bool {
        self.is_traced
    }

    pub(crate) fn trace(&self, what: Arguments<'_>) {
        if self.is_traced {
            TRACE.with_borrow_mut(|trace: &mut VecDeque<String>| {
                if trace.len() == crate::TRACE_MAX {
                    trace.pop_front();
                }
                trace.push_back(format!("{:>6} ms  {what}", self.now));
            });
        }
    }

    /// Returns the time in nanoseconds since the epoch.
    pub(crate) fn nanos(&self) -> u64 {
        START_NS + self.now * MS
    }

    pub(crate) fn at(&mut self, at: u64, what: SimEvent) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), what);
    }

    pub(crate) fn after(&mut self, wait: u64, what: SimEvent) {
        self.at(self.now + wait, what);
    }

    pub(crate) fn new_id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Runs to the end, and checks that all is well then.
    pub(crate) async fn run(mut self) -> Self {
        let end = self.now + 1_500 + self.tuning.chaos_ms + RECOVERY_MS + SETTLE_MS;
        let from = self.started - Duration::from_millis(self.now);
        while let Some((at, _)) = self.queue.first_key_value().map(|(at, _)| *at)
            && at <= end
        {
            let mut batch = Vec::new();
            loop {
                tokio::select! {
                    biased;
                    Some(response) = self.responses.1.recv() => {
                        self.now = (Instant::now() - from).as_millis() as u64;
                        self.on_ingester_response(response);
                    }
                    true = self.tap.1.recv_batch(&mut batch, 1_024) => {
                        self.now = (Instant::now() - from).as_millis() as u64;
                        for event in batch.drain(..) {
                            self.on_tap(event);
                        }
                    }
                    () = tokio::time::sleep_until(from + Duration::from_millis(at)) => break,
                }
            }
            // The responses and messages may have put something earlier into the queue.
            let Some(((at, _), what)) = self.queue.pop_first() else { break };
            self.now = at;
            self.steps += 1;
            self.happen(what);
        }
        self.check_end().await;
        self
    }

    pub(crate) fn digest(&mut self, value: u64) {
        self.digest = (self.digest ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }

    fn happen(&mut self, what: SimEvent) {
        match what {
            SimEvent::Market => {
                if self.is_quiet {
                    return;
                }
                if self.market.is_up() {
                    self.market.step(self.nanos());
                }
                let wait = self.rng.range(1, self.tuning.market_every);
                self.after(wait, SimEvent::Market);
            }
            SimEvent::IngesterUp => {
                if !self.market.is_up() {
                    self.trace(format_args!("an ingester starts"));
                    self.market.start(self.nanos());
                }
            }
            SimEvent::IngesterBus { is_up } => {
                if is_up && self.now >= self.ingester_bus_down_until {
                    self.trace(format_args!("the ingester's bus is up"));
                    self.ingester_bus.set_down(false);
                } else if !is_up {
                    self.ingester_bus.set_down(true);
                }
            }
            SimEvent::Arrive { gateway, life, subject, payload } => {
                self.on_arrival(gateway, life, &subject, payload);
            }
            SimEvent::Request { gateway, life, request_id, subject, payload, keys } => {
                self.on_request((gateway, life, request_id), subject, &payload, keys);
            }
            SimEvent::Response { gateway, life, request_id, response } => {
                self.on_response(gateway, life, request_id, response);
            }
            SimEvent::HubTick { gateway, life } => {
                if self.gateway(gateway, life).is_some() {
                    self.tick_gateway(gateway);
                    self.after(TICK_MS, SimEvent::HubTick { gateway, life });
                }
            }
            SimEvent::HubWake { gateway, life } => self.on_hub_wake(gateway, life),
            SimEvent::GatewayUp { gateway } => self.start_gateway(gateway),
            SimEvent::BusUp { gateway, life } => self.on_bus_up(gateway, life),
            SimEvent::ToShard { gateway, life, shard, events } => {
                self.on_events(gateway, life, shard, events);
            }
            SimEvent::ToHub { gateway, life, shard, interests } => {
                self.on_interests(gateway, life, shard, interests);
            }
            SimEvent::Write { gateway, life, shard } => self.on_write(gateway, life, shard),
            SimEvent::Timer { gateway, life, shard } => self.on_timer(gateway, life, shard),
            SimEvent::Writable { pipe } => self.on_writable(pipe),
            SimEvent::ClientMessage { pipe, message } => self.on_client_message(pipe, message),
            SimEvent::Read { pipe } => self.on_read(pipe),
            SimEvent::Ends { pipe } => self.end_at_gateway(pipe),
            SimEvent::Connect { client } => self.connect(client),
            SimEvent::Housekeeping { client } => {
                self.housekeep(client);
                self.after(100, SimEvent::Housekeeping { client });
            }
            SimEvent::Chaos => self.chaos(),
            SimEvent::FaultEnds(fault, at) => self.end_fault(fault, at),
            SimEvent::Check => {
                self.check();
                self.after(TICK_MS, SimEvent::Check);
            }
            SimEvent::Heal => self.heal(),
            SimEvent::Quiet => {
                self.trace(format_args!("the market is quiet"));
                self.is_quiet = true;
            }
        }
    }

    /// Sends everything that the bus takes from the ingester on its way to the gateways.
    fn on_tap(&mut self, event: BusEvent) {
        let BusEvent::Message { token, subject, payload } = event else { return };
        let subject = subject.expect("the tap's subjects are wildcards");
        if token == 0 {
            let heartbeat = pb::FeedHeartbeat::decode(&*payload).expect("a heartbeat");
            self.truth.on_heartbeat(&heartbeat);
            self.truth.skews.extend(self.market.skew(heartbeat.epoch).map(|skew| (heartbeat.epoch, skew)));
        } else {
            let Ok(ParsedSubject::Data { symbol, .. }) = Subject::parse(subject.as_str()) else {
                panic!("not a subject of data: {subject}");
            };
            self.truth.on_data(&symbol, &payload, self.now);
        }
        self.digest(payload.len() as u64 ^ self.now << 20);
        for gateway in 0..2 {
            let link = &mut self.links[gateway];
            let is_lost = self.now < link.partitioned_until || self.rng.percent(link.loss);
            if is_lost {
                self.trace(format_args!("lost on the way to {gateway}: {subject}"));
                continue;
            }
            let link = &mut self.links[gateway];
            link.arrives_at = link.arrives_at.max(self.now + self.rng.below(link.lag + 1));
            let at = link.arrives_at;
            if let Some(life) = self.gateways[gateway].as_ref().map(|gateway| gateway.life) {
                let (subject, payload) = (subject.clone(), payload.clone());
                self.at(at, SimEvent::Arrive { gateway, life, subject, payload });
            }
        }
    }

    /// Takes a request that reached the ingester's side: the real one responds, or nobody does.
    fn on_request(
        &mut self,
        (gateway, life, request_id): (usize, u64, u64),
        subject: Subject,
        payload: &[u8],
        keys: Vec<Key>,
    ) {
        let (bus, responses) = (self.ingester_bus.clone(), self.responses.0.clone());
        let request = pb::FeedRequest::decode(payload).expect("a request");
        tokio::spawn(async move {
            let timeout = Duration::from_millis(REQUEST_TIMEOUT_MS);
            let response = fetch(&bus, &subject, request, timeout).await;
            let _ = responses.send((gateway, life, request_id, keys, response)).await;
        });
    }

    fn on_ingester_response(&mut self, (gateway, life, request_id, keys, response): IngesterResponse) {
        if let Ok(response) = &response
            && response.error.is_empty()
        {
            if keys.is_empty() {
                self.truth.on_catalogue(response);
            }
            for (key, snapshot) in keys.into_iter().zip(&response.snapshots) {
                if snapshot.error.is_empty() {
                    self.truth.on_response(key, &Response::read(response.epoch, snapshot));
                }
            }
        }
        let link = &self.links[gateway];
        if self.now < link.partitioned_until || self.rng.percent(link.response_loss) {
            // Its time-out is scheduled already.
            return;
        }
        let wait = self.rng.below(self.links[gateway].lag + 1);
        self.after(wait, SimEvent::Response { gateway, life, request_id, response });
    }

    /// Returns the gateway, if it is still the same one.
    pub(crate) fn gateway(&mut self, at: usize, life: u64) -> Option<&mut Gateway> {
        self.gateways[at].as_mut().filter(|gateway| gateway.life == life)
    }

    pub(crate) fn send_request(
        &mut self,
        gateway: usize,
        life: u64,
        request_id: u64,
        subject: Subject,
        request: &pb::FeedRequest,
    ) {
        let key = |topic: &pb::Topic| (crate::id_of(&topic.symbol), topic.channel());
        let keys = match &request.request {
            Some(pb::feed_request::Request::Snapshots(asked)) => asked.topics.iter().map(key).collect(),
            _ => Vec::new(),
        };
        let payload = request.encode_to_vec().into();
        let link = &self.links[gateway];
        let (lag, is_lost) = (link.lag, self.now < link.partitioned_until);
        if !is_lost {
            let wait = self.rng.below(lag + 1);
            self.after(wait, SimEvent::Request { gateway, life, request_id, subject, payload, keys });
        }
        let response = Err("no response in time".to_owned());
        self.after(REQUEST_TIMEOUT_MS, SimEvent::Response { gateway, life, request_id, response });
    }
}
