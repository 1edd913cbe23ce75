//! Ingesters by `docs/bus.md`, one or two at a time, a bus that loses and delays, a hub, and two shards.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::rig::BusEvent;
use prost::Message as _;
use tickwire_wire::{
    Bar, Body, Book, BookState, Channel, FeedState, Instrument, Level, Position, Record, Status,
    TradingState, pb,
};

use super::follower::{Follower, Published};
use super::property::Op;
use super::rig::{MS, body, catalogue, frame_bytes, frame_of, gap_body, limits, reason, record};
use tickwire_core::hub::{Action, Hub, Target};
use tickwire_core::vocabulary::{Event, TopicId, TopicInterest};

/// The number of channels.
const COUNT: usize = Channel::COUNT;
const STEP: u64 = 50 * MS;
const HEARTBEAT: u64 = 500 * MS;
/// The number of heartbeats that a position is in.
const HEARTBEATS_PER_POSITION: u8 = 3;
const SYMBOLS: [&str; 2] = ["A", "B"];

/// One topic at its ingester.
#[derive(Clone, Debug, Default)]
struct Truth {
    sequence: u64,
    newest: BTreeMap<u64, Record>,
    book: BookState,
    heartbeats: u8,
}

/// One run of an ingester.
#[derive(Debug)]
struct Run {
    epoch: u64,
    /// The numbers of its instruments; 0: it has no such instrument.
    numbers: [u32; 2],
    decimals: [u32; 2],
    given: u32,
    truths: Vec<Truth>,
    catalogue: u64,
    heartbeats: u64,
    started: u64,
    next_heartbeat: u64,
}

#[derive(Debug)]
struct Request {
    target: Target,
    ask: pb::FeedRequest,
    epoch: u64,
    /// The response, once the ingester, or the end of the connection, has decided.
    response: Option<Result<pb::FeedResponse, String>>,
}

pub(crate) struct World {
    hub: Hub,
    now: u64,
    runs: Vec<Run>,
    runs_begun: u64,
    published: Published,
    is_up: bool,
    generation: u64,
    inbox: VecDeque<BusEvent>,
    /// The tokens by subject.
    subscribed: HashMap<String, u64>,
    requests: Vec<Request>,
    shards: [Follower; 2],
    /// The positions of a run's topics when the bus last came back, and what a live feed must have reached.
    floors: HashMap<(usize, u64), u64>,
}

/// Returns symbol and channel of a topic's number.
fn parts(number: u8) -> (usize, Channel) {
    (usize::from(number) / COUNT, Channel::ALL[usize::from(number) % COUNT])
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            hub: Hub::new(limits()),
            now: 1_000_000 * MS,
            runs: Vec::new(),
            runs_begun: 0,
            published: Published::default(),
            is_up: true,
            generation: 1,
            inbox: VecDeque::new(),
            subscribed: HashMap::new(),
            requests: Vec::new(),
            shards: Default::default(),
            floors: HashMap::new(),
        };
        world.hub.on_bus_state(Ok(1), world.now);
        world.settle();
        world.begin_run(0);
        world.step(Op::Pass { steps: 1, fate: 0 });
        world.calm_down(200);
        assert_eq!(world.hub.instruments(), 2);
        world
    }

    pub(crate) fn step(&mut self, op: Op) {
        match op {
            Op::Publish { run, topic, count, shape, fate } => self.publish(run, topic, count, shape, fate),
            Op::UpstreamGap { run, topic, count, fate } => {
                let (symbol, channel) = parts(topic);
                let Some(run) = self.run(run).filter(|run| run.numbers[symbol] > 0) else { return };
                let (number, epoch) = (run.numbers[symbol], run.epoch);
                let truth = &mut run.truths[usize::from(topic)];
                let first = truth.sequence + 1;
                truth.sequence += u64::from(count);
                truth.heartbeats = HEARTBEATS_PER_POSITION;
                truth.book.reset();
                if !channel.is_lossless() {
                    truth.newest.clear();
                }
                let last = truth.sequence;
                let payload =
                    frame_of(number, channel, epoch, (first, last), &[gap_body(channel, first, last)]);
                self.send(channel, SYMBOLS[symbol], &payload, fate);
            }
            Op::Restart { shape } => {
                self.runs.clear();
                self.begin_run(shape);
            }
            Op::Overlap { shape } if self.runs.len() < 2 => self.begin_run(shape),
            Op::Stop { run, fate } => {
                if self.runs.is_empty() {
                    return;
                }
                let at = usize::from(run) % self.runs.len();
                if fate < 128 {
                    self.say(at, true, fate);
                }
                self.runs.remove(at);
            }
            Op::End { run, symbol, fate } => {
                let symbol = usize::from(symbol % 2);
                self.end_instrument(run, symbol, fate);
            }
            Op::List { run, symbol, decimals, fate } => {
                let symbol = usize::from(symbol % 2);
                self.end_instrument(run, symbol, fate);
                if let Some(run) = self.run(run) {
                    run.given += 1;
                    run.numbers[symbol] = run.given;
                    run.decimals[symbol] = u32::from(decimals % 2) + 2;
                }
                self.define(run, symbol, false, fate);
            }
            Op::BreakBus if self.is_up => {
                self.is_up = false;
                self.inbox.push_back(BusEvent::Disconnected);
                for request in &mut self.requests {
                    if request.response.is_none() {
                        request.response = Some(Err("the bus is down".to_owned()));
                    }
                }
            }
            Op::MendBus if !self.is_up => {
                self.is_up = true;
                self.generation += 1;
                self.inbox.push_back(BusEvent::Reconnected { generation: self.generation });
                for run in &self.runs {
                    let listed = |number: usize| run.numbers[number / COUNT] > 0;
                    for (number, truth) in run.truths.iter().enumerate().filter(|(n, _)| listed(*n)) {
                        self.floors.insert((number, run.epoch), truth.sequence);
                    }
                }
            }
            Op::Overlap { .. } | Op::BreakBus | Op::MendBus => {}
            Op::NoticeBus => {
                let state = if self.is_up { Ok(self.generation) } else { Err(reason("the bus is down")) };
                self.hub.on_bus_state(state, self.now);
            }
            Op::Deliver { count } => {
                for _ in 0..count {
                    let Some(event) = self.inbox.pop_front() else { break };
                    event.tell(&mut self.hub, self.now);
                    self.settle();
                }
            }
            Op::Response { request } => self.respond(request),
            Op::Arrive { request, fails } => self.arrive(request, fails),
            Op::Pass { steps, fate } => {
                for _ in 0..steps {
                    self.now += STEP;
                    for at in 0..self.runs.len() {
                        if self.now >= self.runs[at].next_heartbeat {
                            self.say(at, false, fate);
                        }
                    }
                    self.hub.tick(self.now);
                    self.settle();
                }
            }
            Op::Want { shard, topic } => {
                let (symbol, channel) = parts(topic);
                let at = usize::from(shard);
                let Some(index) = self.shards[at].index_of(SYMBOLS[symbol]) else { return };
                let id = TopicId::new(index, channel);
                if let Entry::Vacant(entry) = self.shards[at].topics.entry(id) {
                    entry.insert(None);
                    self.hub.on_interest(at, TopicInterest::Want(id));
                }
            }
            Op::Drop { shard, topic } => {
                let (symbol, channel) = parts(topic);
                let at = usize::from(shard);
                let Some(index) = self.shards[at].index_of(SYMBOLS[symbol]) else { return };
                let id = TopicId::new(index, channel);
                if self.shards[at].topics.remove(&id).is_some() {
                    self.hub.on_interest(at, TopicInterest::Drop(id));
                }
            }
        }
        self.hub.ask_due(self.now);
        self.settle();
    }

    fn run(&mut self, run: u8) -> Option<&mut Run> {
        let count = self.runs.len();
        self.runs.get_mut(usize::from(run) % count.max(1))
    }

    /// Begins another ingester: `shape` chooses its symbols and what it calls them. Epochs have no order.
    fn begin_run(&mut self, shape: u8) {
        self.runs_begun += 1;
        let epoch = (self.runs_begun.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 3) | 1;
        let numbers = match shape % 6 {
            0 | 1 => [101, 102],
            2 => [102, 101],
            3 => [101, 0],
            4 => [0, 101],
            _ => [103, 102],
        };
        let decimals = [2 + u32::from(shape > 220), 2];
        self.runs.push(Run {
            epoch,
            numbers,
            decimals,
            given: 200,
            truths: vec![Truth::default(); 2 * COUNT],
            catalogue: 0,
            heartbeats: 0,
            started: self.now,
            next_heartbeat: self.now,
        });
        let run = self.runs.len() as u8 - 1;
        for (symbol, number) in numbers.into_iter().enumerate() {
            if number > 0 {
                self.define(run, symbol, false, shape.wrapping_mul(7));
            }
        }
    }

    fn define(&mut self, run: u8, symbol: usize, ended: bool, fate: u8) {
        let Some(run) = self.run(run).filter(|run| run.numbers[symbol] > 0) else { return };
        let (number, epoch) = (run.numbers[symbol], run.epoch);
        run.catalogue += 1;
        let truth = &mut run.truths[symbol * COUNT + Channel::Instrument as usize - 1];
        truth.sequence += 1;
        truth.heartbeats = HEARTBEATS_PER_POSITION;
        let sequence = truth.sequence;
        let body = Body::Instrument(Instrument {
            venue: "sim".to_owned(),
            symbol: SYMBOLS[symbol].to_owned(),
            price_decimals: run.decimals[symbol],
            ended,
            revision: run.catalogue,
            ..Instrument::default()
        });
        truth.newest.insert(0, record(number, sequence, body.clone()));
        let key = (SYMBOLS[symbol].to_owned(), Channel::Instrument, epoch, number, sequence);
        self.published.insert(key, body.clone());
        let payload = frame_of(number, Channel::Instrument, epoch, (sequence, sequence), &[body]);
        self.send(Channel::Instrument, SYMBOLS[symbol], &payload, fate);
    }

    fn end_instrument(&mut self, run: u8, symbol: usize, fate: u8) {
        self.define(run, symbol, true, fate);
        if let Some(run) = self.run(run) {
            run.numbers[symbol] = 0;
            for truth in &mut run.truths[symbol * COUNT..(symbol + 1) * COUNT] {
                // The sequence numbers go on where the symbol is listed anew.
                *truth = Truth { sequence: truth.sequence, ..Truth::default() };
            }
            // The topics that ended since the bus came back are caught up with otherwise.
            let of = run.epoch;
            self.floors.retain(|(number, epoch), _| *epoch != of || number / COUNT != symbol);
        }
    }

    fn publish(&mut self, run: u8, topic: u8, count: u8, shape: u8, fate: u8) {
        let (symbol, channel) = parts(topic);
        if channel == Channel::Instrument {
            return;
        }
        let Some(run) = self.run(run).filter(|run| run.numbers[symbol] > 0) else { return };
        let (instrument, epoch) = (run.numbers[symbol], run.epoch);
        let truth = &mut run.truths[usize::from(topic)];
        let first = truth.sequence + 1;
        let mut bodies = Vec::new();
        for at in 0..count {
            let number = first + u64::from(at);
            let shape = shape.wrapping_add(at * 37);
            let body = match channel {
                Channel::Book => {
                    let level = Level { price: i64::from(shape % 8), size: u64::from(shape / 8 % 4) };
                    // A book that is broken at its source goes on with a snapshot.
                    let snapshot = !truth.book.is_synced() || shape > 230;
                    Body::Book(Book { snapshot, bids: vec![level], ..Book::default() })
                }
                Channel::Bar => {
                    let (interval, correction) = (u64::from(shape % 3) + 1, shape > 240);
                    let open = epoch as i64 ^ symbol as i64;
                    Body::Bar(Bar { interval, trades: number as u32, open, correction, ..Bar::default() })
                }
                Channel::Status => {
                    let reason = format!("{number} of {epoch} of {symbol}");
                    Body::Status(Status { state: TradingState::Open as i32, reason })
                }
                // Each price tells whose it is.
                _ => body(channel, number * 1_000 + epoch % 100 * 10 + symbol as u64, false),
            };
            if let Body::Book(book) = &body {
                truth.book.apply(number, book).expect("the ingester's own book");
            } else {
                let record = record(instrument, number, body.clone());
                truth.newest.insert(record.conflation_key(), record);
            }
            bodies.push((number, body));
        }
        truth.sequence += u64::from(count);
        truth.heartbeats = HEARTBEATS_PER_POSITION;
        let last = truth.sequence;
        for (number, body) in &bodies {
            let key = (SYMBOLS[symbol].to_owned(), channel, epoch, instrument, *number);
            self.published.insert(key, body.clone());
        }
        let bodies: Vec<_> = bodies.into_iter().map(|(_, body)| body).collect();
        let payload = frame_of(instrument, channel, epoch, (first, last), &bodies);
        self.send(channel, SYMBOLS[symbol], &payload, fate);
    }

    /// Sends a message to everybody who subscribed to the subject.
    fn send(&mut self, channel: Channel, symbol: &str, payload: &[u8], fate: u8) {
        let subject = format!("tw.v1.sim.{}.", channel.name());
        for (at, name) in [symbol, "*"].into_iter().enumerate() {
            if let Some(token) = self.subscribed.get(&format!("{subject}{name}")).copied() {
                self.deliver(token, payload.to_vec(), fate.wrapping_add(at as u8 * 91));
            }
        }
    }

    fn deliver(&mut self, token: u64, payload: Vec<u8>, fate: u8) {
        if !self.is_up {
            return;
        }
        match fate {
            0..=170 => {
                self.inbox.push_back(BusEvent::Message { token, payload });
            }
            171..=220 => {}
            221..=245 => {
                let tokens = Some([token].into());
                self.inbox.push_back(BusEvent::Lost { tokens });
            }
            _ => self.inbox.push_back(BusEvent::Lost { tokens: None }),
        }
    }

    /// Makes a run say its heartbeat.
    fn say(&mut self, at: usize, last: bool, fate: u8) {
        let (now, run) = (self.now, &mut self.runs[at]);
        run.next_heartbeat = now + HEARTBEAT;
        run.heartbeats += 1;
        let mut positions = Vec::new();
        for number in 0..2 * COUNT as u8 {
            let (symbol, channel) = parts(number);
            let truth = &mut run.truths[usize::from(number)];
            if truth.heartbeats > 0 {
                truth.heartbeats -= 1;
                let (instrument, channel) = (run.numbers[symbol], channel as i32);
                positions.push(Position { instrument, channel, epoch: run.epoch, sequence: truth.sequence });
            }
        }
        let heartbeat = pb::FeedHeartbeat {
            venue: "sim".to_owned(),
            epoch: run.epoch,
            state: FeedState::Live as i32,
            // Clocks are wrong.
            time: run.epoch,
            positions,
            number: run.heartbeats,
            catalogue: run.catalogue,
            uptime_ns: now - run.started,
            last,
            ..pb::FeedHeartbeat::default()
        };
        if let Some(token) = self.subscribed.get("tw.heartbeat.v1.*").copied() {
            self.deliver(token, heartbeat.encode_to_vec(), fate);
        }
    }

    fn respond(&mut self, request: u8) {
        let open = self.requests.len();
        if open == 0 || !self.is_up {
            return;
        }
        let request = &mut self.requests[usize::from(request) % open];
        let Some(run) = self.runs.iter().find(|run| run.epoch == request.epoch) else { return };
        if request.response.is_some() {
            return;
        }
        request.response = Some(Ok(match &request.ask.request {
            Some(pb::feed_request::Request::Snapshots(asked)) => pb::FeedResponse {
                epoch: run.epoch,
                snapshots: asked.topics.iter().map(|topic| run.snapshot(topic)).collect(),
                ..pb::FeedResponse::default()
            },
            _ => {
                let definitions = (0..2).filter(|symbol| run.numbers[*symbol] > 0);
                let definitions: Vec<_> = definitions
                    .flat_map(|symbol| {
                        run.truths[symbol * COUNT + Channel::Instrument as usize - 1].newest.values().cloned()
                    })
                    .collect();
                catalogue(run.epoch, run.catalogue, &definitions)
            }
        }));
    }

    fn arrive(&mut self, request: u8, fails: bool) {
        let open = self.requests.len();
        if open == 0 {
            return;
        }
        let at = usize::from(request) % open;
        if self.requests[at].response.is_none() && !fails {
            return;
        }
        let request = self.requests.swap_remove(at);
        let response = request.response.filter(|_| !fails).unwrap_or(Err("no response in time".to_owned()));
        self.hub.on_response(request.target, response, self.now);
    }

    /// Does what the hub wants on the bus, and tells the shards.
    fn settle(&mut self) {
        loop {
            for action in std::mem::take(&mut self.hub.actions) {
                match action {
                    Action::Subscribe(subject, token) => {
                        self.subscribed.insert(subject.to_string(), token);
                    }
                    Action::Unsubscribe(subject) => {
                        self.subscribed.remove(&subject.to_string());
                    }
                    Action::Ask(subject, ask, target) => {
                        let epoch =
                            subject.to_string().rsplit('.').next().and_then(|epoch| epoch.parse().ok());
                        let response = (!self.is_up).then(|| Err("the bus is down".to_owned()));
                        self.requests.push(Request {
                            target,
                            ask,
                            epoch: epoch.expect("an epoch"),
                            response,
                        });
                    }
                    Action::LookUp(request) => panic!("nobody asked for {request:?}"),
                }
            }
            let events = std::mem::take(&mut self.hub.events);
            if events.is_empty() {
                return;
            }
            for (mask, event) in events {
                for (at, shard) in self.shards.iter_mut().enumerate() {
                    if mask & (1 << at) != 0 {
                        shard.take(&event, &self.published);
                        if let Event::Ended(ended) = &event {
                            self.hub.on_interest(at, TopicInterest::LetGo(ended.instrument));
                        }
                    }
                }
                if let Event::Feed(feed) = &event
                    && feed.state == FeedState::Live
                {
                    self.check_live();
                }
            }
        }
    }

    /// Checks that a feed that is live is of the run that is followed, and has nothing open from before the bus came
    /// back.
    fn check_live(&self) {
        if !self.is_up {
            // It is down, and that is about to be noticed.
            return;
        }
        let is_noticed = self.inbox.iter().all(|event| !matches!(event, BusEvent::Reconnected { .. }));
        let epoch = self.hub.feeds(self.now).next().expect("a venue").epoch;
        for shard in self.shards.iter().filter(|_| is_noticed) {
            for (id, known) in &shard.topics {
                let Some(known) = known else { continue };
                assert_eq!(known.position.0, epoch, "live, but {id:?} is of another run");
                let symbol = usize::from(shard.instruments[&id.instrument_index()].name.symbol == "B");
                let number = symbol * COUNT + id.channel() as usize - 1;
                let floor = self.floors.get(&(number, epoch)).copied().unwrap_or(0);
                assert!(
                    known.position.1 >= floor,
                    "live, but {id:?} is at {:?}, not {floor}",
                    known.position
                );
            }
        }
    }

    /// Calms everything down: nothing new happens, the bus works, and one ingester is left.
    pub(crate) fn calm_down(&mut self, ms: u64) {
        self.step(Op::MendBus);
        self.step(Op::NoticeBus);
        self.runs.truncate(1);
        if self.runs.is_empty() {
            self.begin_run(0);
        }
        for _ in 0..ms / 50 {
            self.step(Op::Pass { steps: 1, fate: 0 });
            for _ in 0..4 {
                self.step(Op::Deliver { count: 255 });
                for request in (0..self.requests.len() as u8).rev() {
                    self.step(Op::Response { request });
                }
                while !self.requests.is_empty() {
                    self.step(Op::Response { request: 0 });
                    self.step(Op::Arrive { request: 0, fails: self.requests[0].response.is_none() });
                }
            }
        }
    }

    pub(crate) fn check_convergence(&self) {
        let run = &self.runs[0];
        for (at, shard) in self.shards.iter().enumerate() {
            assert_eq!(shard.feed, Some(FeedState::Live), "shard {at}");
            for (symbol, name) in SYMBOLS.into_iter().enumerate() {
                let known = shard.index_of(name).map(|index| &shard.instruments[&index]);
                let decimals = known.map(|info| info.scale.price_decimals);
                let expected = (run.numbers[symbol] > 0).then_some(run.decimals[symbol]);
                assert_eq!(decimals, expected, "shard {at}, {name}");
            }
            for (id, known) in &shard.topics {
                let symbol = usize::from(shard.instruments[&id.instrument_index()].name.symbol == "B");
                let truth = &run.truths[symbol * COUNT + id.channel() as usize - 1];
                let name = format!("shard {at}, {:?} of {}", id.channel(), SYMBOLS[symbol]);
                let known = known.as_ref().unwrap_or_else(|| panic!("{name} has no state"));
                assert_eq!(known.position, (run.epoch, truth.sequence), "{name}");
                if id.channel() == Channel::Book {
                    assert_eq!(known.book.is_synced(), truth.book.is_synced(), "{name}");
                    assert_eq!(known.book.to_snapshot().bids, truth.book.to_snapshot().bids, "{name}");
                } else if id.channel() != Channel::Trade {
                    let newest = truth.newest.iter().map(|(key, record)| (*key, record.body.clone()));
                    assert_eq!(known.newest, newest.collect(), "{name}");
                }
            }
        }
    }
}

impl Run {
    fn snapshot(&self, topic: &pb::Topic) -> pb::Snapshot {
        let symbol = usize::from(topic.symbol == "B");
        if self.numbers[symbol] == 0 {
            let error = "unknown symbol".to_owned();
            return pb::Snapshot { error, is_unknown: true, ..pb::Snapshot::default() };
        }
        let (number, channel) = (self.numbers[symbol], topic.channel());
        let truth = &self.truths[symbol * COUNT + channel as usize - 1];
        let records: Vec<_> = match channel {
            Channel::Trade => Vec::new(),
            Channel::Book if truth.book.is_synced() => {
                vec![record(number, truth.book.sequence(), Body::Book(truth.book.to_snapshot()))]
            }
            Channel::Book if truth.sequence > 0 => {
                vec![record(number, truth.sequence, gap_body(channel, truth.sequence, truth.sequence))]
            }
            _ => truth.newest.values().cloned().collect(),
        };
        pb::Snapshot { sequence: truth.sequence, frame: frame_bytes(&records), ..pb::Snapshot::default() }
    }
}
