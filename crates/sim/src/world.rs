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
use tickwire_wire::{Channel, Encoding, pb};
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};

use crate::client::{Client, Upward, Want};
use crate::dice::Dice;
use crate::gateway::Gateway;
use crate::market::Market;
use crate::pipe::Pipe;
use crate::truth::{Key, Response, Truth};
use crate::tuning::{Fault, Tuning};
use crate::{MS, START_NS, TRACE, VENUE};

use tickwire_core::vocabulary::{Event, TopicInterest};

/// What will happen.
pub(crate) enum Happening {
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
    Asked {
        gateway: usize,
        life: u64,
        ask: u64,
        subject: Subject,
        payload: Bytes,
        keys: Vec<Key>,
    },
    Response {
        gateway: usize,
        life: u64,
        ask: u64,
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
    Upward {
        pipe: u64,
        message: Upward,
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

/// What the network between the ingester and a gateway is like.
#[derive(Debug, Default)]
pub(crate) struct Road {
    pub(crate) lag: u64,
    pub(crate) partitioned_until: u64,
    pub(crate) down_until: u64,
    /// In percent.
    pub(crate) loss: u64,
    pub(crate) response_loss: u64,
    /// Messages stay in order.
    arrives_at: u64,
}

type IngesterResponse = (usize, u64, u64, Vec<Key>, Result<pb::FeedResponse, String>);

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) tuning: Tuning,
    pub(crate) truth: Truth,
    pub(crate) market: Market,
    pub(crate) ingester_bus: MemoryBus,
    pub(crate) ingester_bus_down_until: u64,
    tap: (Interest, Inbox),
    pub(crate) gateways: [Option<Gateway>; 2],
    pub(crate) roads: [Road; 2],
    pub(crate) clients: Vec<Client>,
    pub(crate) pipes: BTreeMap<u64, Pipe>,
    queue: BTreeMap<(u64, u64), Happening>,
    /// Milliseconds since the start.
    pub(crate) now: u64,
    started: Instant,
    order: u64,
    ids: u64,
    responses: (mpsc::Sender<IngesterResponse>, mpsc::Receiver<IngesterResponse>),
    pub(crate) is_healed: bool,
    is_quiet: bool,
    is_traced: bool,
    /// Of everything that happened: two runs of a seed are the same run.
    pub(crate) digest: u64,
    pub(crate) steps: u64,
    pub(crate) prompt_records: u64,
    pub(crate) stale_checks: u64,
}

/// After the faults: how long the market goes on, and how long everything has to settle then.
const RECOVERY_MS: u64 = 4_000;
const SETTLE_MS: u64 = 12_000;
const ASK_TIMEOUT_MS: u64 = 2_000;
const TICK_MS: u64 = 50;
/// Instruments whose definitions take more than one small message.
const BYSTANDERS: usize = 160;

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut dice = Dice::new(seed);
        let tuning = Tuning::new(&mut dice);
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
        let own = |encoding: &Encoding| Client::new(*encoding, tuning.instruments);
        let mut clients: Vec<_> = tuning.clients.iter().map(own).collect();
        let may_end = tuning.faults.iter().any(|fault| matches!(fault, Fault::Overlap | Fault::Listing));
        for client in &mut clients {
            client.may_end = may_end;
        }
        let mut world = Self {
            dice,
            tuning,
            truth: Truth::default(),
            market,
            ingester_bus,
            ingester_bus_down_until: 0,
            tap,
            gateways: [None, None],
            roads: [Road::default(), Road::default()],
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
        let (first_gateway, chaos) = (self.dice.below(300), self.tuning.chaos_ms);
        self.after(self.now, Happening::IngesterUp);
        self.after(first_gateway, Happening::GatewayUp { gateway: 0 });
        self.after(300 - first_gateway, Happening::GatewayUp { gateway: 1 });
        for client in 0..self.clients.len() {
            let own = &mut self.clients[client];
            own.sends_receipts = self.dice.percent(30);
            own.is_silent = self.dice.percent(10);
            let wait = self.dice.below(2_000);
            self.after(wait, Happening::Connect { client });
            self.after(wait + 500, Happening::Housekeeping { client });
            for _ in 0..self.dice.range(3, 8) {
                self.want_something(client);
            }
        }
        self.after(500, Happening::Market);
        self.after(1_500, Happening::Chaos);
        self.after(0, Happening::Check);
        self.after(1_500 + chaos, Happening::Heal);
        self.after(1_500 + chaos + RECOVERY_MS, Happening::Quiet);
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
        let want: Want = (self.dice.pick(&BUSY), self.dice.index(self.tuning.instruments));
        let has_rate = !want.0.is_lossless() && self.dice.percent(20);
        let rate = if has_rate { self.dice.pick(&[2.0, 10.0]) } else { 0.0 };
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

    /// Nanoseconds since the epoch.
    pub(crate) fn nanos(&self) -> u64 {
        START_NS + self.now * MS
    }

    pub(crate) fn at(&mut self, at: u64, what: Happening) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), what);
    }

    pub(crate) fn after(&mut self, wait: u64, what: Happening) {
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
            // Responses and messages may have put something earlier into the queue.
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

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Market => {
                if self.is_quiet {
                    return;
                }
                if self.market.is_up() {
                    self.market.step(self.nanos());
                }
                let wait = self.dice.range(1, self.tuning.market_every);
                self.after(wait, Happening::Market);
            }
            Happening::IngesterUp => {
                if !self.market.is_up() {
                    self.trace(format_args!("an ingester starts"));
                    self.market.start(self.nanos());
                }
            }
            Happening::IngesterBus { is_up } => {
                if is_up && self.now >= self.ingester_bus_down_until {
                    self.trace(format_args!("the ingester's bus is up"));
                    self.ingester_bus.set_down(false);
                } else if !is_up {
                    self.ingester_bus.set_down(true);
                }
            }
            Happening::Arrive { gateway, life, subject, payload } => {
                self.on_arrival(gateway, life, &subject, payload);
            }
            Happening::Asked { gateway, life, ask, subject, payload, keys } => {
                self.on_asked((gateway, life, ask), subject, &payload, keys);
            }
            Happening::Response { gateway, life, ask, response } => {
                self.on_answered(gateway, life, ask, response);
            }
            Happening::HubTick { gateway, life } => {
                if self.gateway(gateway, life).is_some() {
                    self.tick_gateway(gateway);
                    self.after(TICK_MS, Happening::HubTick { gateway, life });
                }
            }
            Happening::HubWake { gateway, life } => self.on_hub_wake(gateway, life),
            Happening::GatewayUp { gateway } => self.start_gateway(gateway),
            Happening::BusUp { gateway, life } => self.on_bus_up(gateway, life),
            Happening::ToShard { gateway, life, shard, events } => {
                self.on_events(gateway, life, shard, events);
            }
            Happening::ToHub { gateway, life, shard, interests } => {
                self.on_interests(gateway, life, shard, interests)
            }
            Happening::Write { gateway, life, shard } => self.on_write(gateway, life, shard),
            Happening::Timer { gateway, life, shard } => self.on_timer(gateway, life, shard),
            Happening::Writable { pipe } => self.on_writable(pipe),
            Happening::Upward { pipe, message } => self.on_upward(pipe, message),
            Happening::Read { pipe } => self.on_read(pipe),
            Happening::Ends { pipe } => self.end_at_gateway(pipe),
            Happening::Connect { client } => self.connect(client),
            Happening::Housekeeping { client } => {
                self.housekeep(client);
                self.after(100, Happening::Housekeeping { client });
            }
            Happening::Chaos => self.chaos(),
            Happening::FaultEnds(fault, at) => self.end_fault(fault, at),
            Happening::Check => {
                self.check();
                self.after(TICK_MS, Happening::Check);
            }
            Happening::Heal => self.heal(),
            Happening::Quiet => {
                self.trace(format_args!("the market is quiet"));
                self.is_quiet = true;
            }
        }
    }

    /// Everything that the bus takes from the ingester goes on its way to the gateways.
    fn on_tap(&mut self, event: BusEvent) {
        let BusEvent::Message { token, subject, payload } = event else { return };
        let subject = subject.expect("the tap's subjects are wildcards");
        if token == 0 {
            let heartbeat = pb::FeedHeartbeat::decode(&*payload).expect("a heartbeat");
            self.truth.on_heartbeat(&heartbeat);
        } else {
            let Ok(ParsedSubject::Data { symbol, .. }) = Subject::parse(subject.as_str()) else {
                panic!("not a subject of data: {subject}");
            };
            self.truth.on_data(&symbol, &payload, self.now);
        }
        self.digest(payload.len() as u64 ^ self.now << 20);
        for gateway in 0..2 {
            let road = &mut self.roads[gateway];
            let is_lost = self.now < road.partitioned_until || self.dice.percent(road.loss);
            if is_lost {
                self.trace(format_args!("lost on the way to {gateway}: {subject}"));
                continue;
            }
            let road = &mut self.roads[gateway];
            road.arrives_at = road.arrives_at.max(self.now + self.dice.below(road.lag + 1));
            let at = road.arrives_at;
            if let Some(life) = self.gateways[gateway].as_ref().map(|gateway| gateway.life) {
                let (subject, payload) = (subject.clone(), payload.clone());
                self.at(at, Happening::Arrive { gateway, life, subject, payload });
            }
        }
    }

    /// A request reached the ingester's side: the real one responds, or nobody does.
    fn on_asked(
        &mut self,
        (gateway, life, ask): (usize, u64, u64),
        subject: Subject,
        payload: &[u8],
        keys: Vec<Key>,
    ) {
        let (bus, responses) = (self.ingester_bus.clone(), self.responses.0.clone());
        let request = pb::FeedRequest::decode(payload).expect("a request");
        tokio::spawn(async move {
            let timeout = Duration::from_millis(ASK_TIMEOUT_MS);
            let response = fetch(&bus, &subject, request, timeout).await;
            let _ = responses.send((gateway, life, ask, keys, response)).await;
        });
    }

    fn on_ingester_response(&mut self, (gateway, life, ask, keys, response): IngesterResponse) {
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
        let road = &self.roads[gateway];
        if self.now < road.partitioned_until || self.dice.percent(road.response_loss) {
            // Its time-out is scheduled already.
            return;
        }
        let wait = self.dice.below(self.roads[gateway].lag + 1);
        self.after(wait, Happening::Response { gateway, life, ask, response });
    }

    /// The gateway, if it is still the same one.
    pub(crate) fn gateway(&mut self, at: usize, life: u64) -> Option<&mut Gateway> {
        self.gateways[at].as_mut().filter(|gateway| gateway.life == life)
    }

    pub(crate) fn ask(
        &mut self,
        gateway: usize,
        life: u64,
        ask: u64,
        subject: Subject,
        request: &pb::FeedRequest,
    ) {
        let key = |topic: &pb::Topic| (crate::id_of(&topic.symbol), topic.channel());
        let keys = match &request.request {
            Some(pb::feed_request::Request::Snapshots(asked)) => asked.topics.iter().map(key).collect(),
            _ => Vec::new(),
        };
        let payload = request.encode_to_vec().into();
        let road = &self.roads[gateway];
        let (lag, is_lost) = (road.lag, self.now < road.partitioned_until);
        if !is_lost {
            let wait = self.dice.below(lag + 1);
            self.after(wait, Happening::Asked { gateway, life, ask, subject, payload, keys });
        }
        let response = Err("no response in time".to_owned());
        self.after(ASK_TIMEOUT_MS, Happening::Response { gateway, life, ask, response });
    }
}
