//! An ingester by `docs/bus.md`, a bus that loses and delays, a hub, and two shards.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use prost::Message as _;
use tickwire_bus::{BusEvent, LostCause};
use tickwire_wire::{
    Bar, Body, Book, BookState, Channel, FeedState, Level, Position, Record, Status, TradingState, pb,
};

use super::super::{Action, BEATS, Hub, Target};
use super::follower::{Follower, key};
use super::property::Op;
use super::rig::{ID, MS, answer, body, definition, frame_of, gap_body, limits, reason, record};
use crate::engine::{Event, TopicId, Wish};

const STEP: u64 = 50 * MS;
const BEAT: u64 = 500 * MS;
/// A position is in so many beats.
const BEATS_PER_POSITION: u8 = 3;

/// One topic at its ingester.
#[derive(Clone, Debug, Default)]
struct Truth {
    sequence: u64,
    newest: BTreeMap<u64, Record>,
    book: BookState,
    beats: u8,
}

#[derive(Debug)]
struct Question {
    target: Target,
    ask: pb::Ask,
    /// Once the ingester, or the end of the connection, has decided.
    answer: Option<Result<pb::Answer, String>>,
}

pub(super) struct World {
    hub: Hub,
    now: u64,
    next_beat: u64,
    epoch: u64,
    truths: Vec<Truth>,
    /// What lossless channels published: topic, epoch, number.
    published: HashMap<(TopicId, u64, u64), Body>,
    is_up: bool,
    generation: u64,
    inbox: VecDeque<BusEvent>,
    subscribed: HashSet<u64>,
    questions: Vec<Question>,
    shards: [Follower; 2],
    /// Where topics stood when the bus last came back, and what a live feed must have reached.
    floors: HashMap<TopicId, (u64, u64)>,
}

fn topic_of(number: u8) -> TopicId {
    TopicId::new(u32::from(number / 7), Channel::ALL[usize::from(number % 7)])
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            hub: Hub::new(limits()),
            now: 1_000_000 * MS,
            next_beat: 0,
            epoch: 1,
            truths: vec![Truth::default(); 14],
            published: HashMap::new(),
            is_up: true,
            generation: 1,
            inbox: VecDeque::new(),
            subscribed: HashSet::new(),
            questions: Vec::new(),
            shards: Default::default(),
            floors: HashMap::new(),
        };
        world.hub.on_bus_state(Ok(1), world.now);
        world.settle();
        world.step(Op::Pass { steps: 1, fate: 0 });
        world.calm_down(200);
        assert_eq!(world.hub.instruments(), 2);
        world
    }

    pub(super) fn step(&mut self, op: Op) {
        match op {
            Op::Publish { topic, count, shape, fate } => self.publish(topic, count, shape, fate),
            Op::UpstreamGap { topic, count, fate } => {
                let truth = &mut self.truths[usize::from(topic)];
                let first = truth.sequence + 1;
                truth.sequence += u64::from(count);
                truth.beats = BEATS_PER_POSITION;
                truth.book.reset();
                let last = truth.sequence;
                self.send(topic, (first, last), &[gap_body(topic_of(topic).channel(), first, last)], fate);
            }
            Op::Restart { fate } => {
                self.epoch += 1;
                self.truths.fill(Truth::default());
                for instrument in 0..2 {
                    self.publish(instrument * 7 + 6, 1, 0, fate.wrapping_add(instrument * 90));
                }
            }
            Op::BreakBus if self.is_up => {
                self.is_up = false;
                self.inbox.push_back(BusEvent::Disconnected);
                for question in &mut self.questions {
                    if question.answer.is_none() {
                        question.answer = Some(Err("the bus is down".to_owned()));
                    }
                }
            }
            Op::MendBus if !self.is_up => {
                self.is_up = true;
                self.generation += 1;
                self.inbox.push_back(BusEvent::Reconnected { generation: self.generation });
                for number in 0..14 {
                    let position = (self.epoch, self.truths[usize::from(number)].sequence);
                    self.floors.insert(topic_of(number), position);
                }
            }
            Op::BreakBus | Op::MendBus => {}
            Op::NoticeBus => {
                let state = if self.is_up { Ok(self.generation) } else { Err(reason("the bus is down")) };
                self.hub.on_bus_state(state, self.now);
            }
            Op::Deliver { count } => {
                for _ in 0..count {
                    let Some(event) = self.inbox.pop_front() else { break };
                    self.hub.on_bus(event, self.now, self.now);
                    self.settle();
                }
            }
            Op::Answer { question } => self.answer(question),
            Op::Arrive { question, fails } => self.arrive(question, fails),
            Op::Pass { steps, fate } => {
                for _ in 0..steps {
                    self.now += STEP;
                    self.beat(fate);
                    self.hub.tick(self.now);
                    self.settle();
                }
            }
            Op::Want { shard, topic } => {
                let id = topic_of(topic);
                if let Entry::Vacant(entry) = self.shards[usize::from(shard)].topics.entry(id) {
                    entry.insert(None);
                    self.hub.on_wish(usize::from(shard), Wish::Want(id));
                }
            }
            Op::Drop { shard, topic } => {
                let id = topic_of(topic);
                if self.shards[usize::from(shard)].topics.remove(&id).is_some() {
                    self.hub.on_wish(usize::from(shard), Wish::Drop(id));
                }
            }
        }
        self.hub.ask_due(self.now);
        self.settle();
    }

    fn publish(&mut self, topic: u8, count: u8, shape: u8, fate: u8) {
        let id = topic_of(topic);
        let (channel, instrument) = (id.channel(), ID + id.instrument_index());
        let truth = &mut self.truths[usize::from(topic)];
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
                    let interval = u64::from(shape % 3) + 1;
                    Body::Bar(Bar { interval, trades: number as u32, ..Bar::default() })
                }
                Channel::Instrument => definition_of(id).body,
                Channel::Status => {
                    let reason = format!("{number} of {}", self.epoch);
                    Body::Status(Status { state: TradingState::Open as i32, reason })
                }
                _ => body(channel, number, false),
            };
            if let Body::Book(book) = &body {
                truth.book.apply(number, book).expect("the ingester's own book");
            } else {
                truth.newest.insert(key(&body), record(instrument, number, body.clone()));
            }
            if channel.is_lossless() {
                self.published.insert((id, self.epoch, number), body.clone());
            }
            bodies.push(body);
        }
        truth.sequence += u64::from(count);
        truth.beats = BEATS_PER_POSITION;
        let last = truth.sequence;
        self.send(topic, (first, last), &bodies, fate);
    }

    fn send(&mut self, topic: u8, numbers: (u64, u64), bodies: &[Body], fate: u8) {
        let id = topic_of(topic);
        let token = u64::from(id.0);
        if !self.subscribed.contains(&token) {
            return;
        }
        let payload = frame_of(ID + id.instrument_index(), id.channel(), self.epoch, numbers, bodies);
        self.deliver(token, payload, fate);
    }

    fn deliver(&mut self, token: u64, payload: Vec<u8>, fate: u8) {
        if !self.is_up {
            return;
        }
        let cause = LostCause::Upstream;
        match fate {
            0..=170 => {
                self.inbox.push_back(BusEvent::Message { token, subject: None, payload: payload.into() });
            }
            171..=220 => {}
            221..=245 => {
                let tokens = Some([token].into());
                self.inbox.push_back(BusEvent::Lost { tokens, messages: Some(1), cause });
            }
            _ => self.inbox.push_back(BusEvent::Lost { tokens: None, messages: None, cause }),
        }
    }

    fn beat(&mut self, fate: u8) {
        if self.now < self.next_beat {
            return;
        }
        self.next_beat = self.now + BEAT;
        let mut positions = Vec::new();
        for number in 0..14 {
            let truth = &mut self.truths[usize::from(number)];
            if truth.beats > 0 {
                truth.beats -= 1;
                let id = topic_of(number);
                let (instrument, channel) = (ID + id.instrument_index(), id.channel() as i32);
                positions.push(Position { instrument, channel, epoch: self.epoch, sequence: truth.sequence });
            }
        }
        let (venue, state) = ("sim".to_owned(), FeedState::Live as i32);
        let beat =
            pb::Beat { venue, epoch: self.epoch, state, reason: String::new(), time: self.now, positions };
        if self.subscribed.contains(&BEATS) {
            self.deliver(BEATS, beat.encode_to_vec(), fate);
        }
    }

    fn answer(&mut self, question: u8) {
        let open = self.questions.len();
        if open == 0 || !self.is_up {
            return;
        }
        let question = &mut self.questions[usize::from(question) % open];
        if question.answer.is_some() {
            return;
        }
        question.answer = Some(Ok(match &question.ask.question {
            Some(pb::ask::Question::Snapshot(topic)) => {
                let instrument = u32::from(topic.symbol == "B");
                let id = TopicId::new(instrument, topic.channel());
                let truth = &self.truths[(instrument * 7) as usize + topic.channel() as usize - 1];
                let records: Vec<_> = match topic.channel() {
                    Channel::Trade => Vec::new(),
                    Channel::Book if truth.book.is_synced() => {
                        let body = Body::Book(truth.book.to_snapshot());
                        vec![record(ID + instrument, truth.book.sequence(), body)]
                    }
                    Channel::Book if truth.sequence > 0 => {
                        let gap = gap_body(id.channel(), truth.sequence, truth.sequence);
                        vec![record(ID + instrument, truth.sequence, gap)]
                    }
                    _ => truth.newest.values().cloned().collect(),
                };
                answer(self.epoch, truth.sequence, &records)
            }
            _ => answer(self.epoch, 0, &[definition_of(topic_of(0)), definition_of(topic_of(7))]),
        }));
    }

    fn arrive(&mut self, question: u8, fails: bool) {
        let open = self.questions.len();
        if open == 0 {
            return;
        }
        let at = usize::from(question) % open;
        if self.questions[at].answer.is_none() && !fails {
            return;
        }
        let question = self.questions.swap_remove(at);
        let answer = question.answer.filter(|_| !fails).unwrap_or(Err("no answer in time".to_owned()));
        self.hub.on_answer(question.target, answer, self.now);
    }

    /// Does what the hub wants on the bus, and tells the shards.
    fn settle(&mut self) {
        for action in std::mem::take(&mut self.hub.actions) {
            match action {
                Action::Subscribe(_, token) => {
                    self.subscribed.insert(token);
                }
                Action::Unsubscribe(subject) => {
                    let name = subject.to_string();
                    let token = (0..14).map(topic_of).find(|id| {
                        let symbol = ["A", "B"][id.instrument_index() as usize];
                        name == format!("tw.v1.sim.{}.{symbol}", id.channel().name())
                    });
                    self.subscribed.remove(&u64::from(token.expect("a topic").0));
                }
                Action::Ask(_, ask, target) => {
                    let answer = (!self.is_up).then(|| Err("the bus is down".to_owned()));
                    self.questions.push(Question { target, ask, answer });
                }
                Action::LookUp(question) => panic!("nobody asked for {question:?}"),
            }
        }
        for (mask, event) in std::mem::take(&mut self.hub.events) {
            for (at, shard) in self.shards.iter_mut().enumerate() {
                if mask & (1 << at) != 0 {
                    shard.take(&event);
                }
            }
            if let Event::Feed(feed) = &event
                && feed.state == FeedState::Live
            {
                self.check_live();
            }
        }
    }

    /// A feed that is live has nothing open from before the bus came back.
    fn check_live(&self) {
        if !self.is_up {
            // It is down, and that is about to be noticed.
            return;
        }
        let is_noticed = self.inbox.iter().all(|event| !matches!(event, BusEvent::Reconnected { .. }));
        for shard in self.shards.iter().filter(|_| is_noticed) {
            for (id, known) in &shard.topics {
                if let (Some(known), Some(floor)) = (known, self.floors.get(id)) {
                    assert!(
                        known.position >= *floor,
                        "live, but {id:?} is at {:?}, not {floor:?}",
                        known.position
                    );
                }
            }
        }
    }

    /// Nothing new happens, and the bus works.
    pub(super) fn calm_down(&mut self, ms: u64) {
        self.step(Op::MendBus);
        self.step(Op::NoticeBus);
        for _ in 0..ms / 50 {
            self.step(Op::Pass { steps: 1, fate: 0 });
            for _ in 0..4 {
                self.step(Op::Deliver { count: 255 });
                for question in (0..self.questions.len() as u8).rev() {
                    self.step(Op::Answer { question });
                }
                while !self.questions.is_empty() {
                    self.step(Op::Arrive { question: 0, fails: self.questions[0].answer.is_none() });
                }
            }
        }
    }

    pub(super) fn check_convergence(&self) {
        for (at, shard) in self.shards.iter().enumerate() {
            assert_eq!(shard.feed, Some(FeedState::Live), "shard {at}");
            for (id, known) in &shard.topics {
                let number = id.instrument_index() as usize * 7 + id.channel() as usize - 1;
                let truth = &self.truths[number];
                let name = format!("shard {at}, {:?} of {}", id.channel(), id.instrument_index());
                let known = known.as_ref().unwrap_or_else(|| panic!("{name} has no state"));
                assert_eq!(known.position, (self.epoch, truth.sequence), "{name}");
                if id.channel() == Channel::Book {
                    assert_eq!(known.book.is_synced(), truth.book.is_synced(), "{name}");
                    assert_eq!(known.book.to_snapshot().bids, truth.book.to_snapshot().bids, "{name}");
                } else if id.channel() != Channel::Trade {
                    let newest = truth.newest.iter().map(|(key, record)| (*key, record.body.clone()));
                    assert_eq!(known.newest, newest.collect(), "{name}");
                }
            }
            for (id, epoch, number, body) in &shard.delivered {
                assert_eq!(self.published.get(&(*id, *epoch, *number)), Some(body), "{id:?} {number}");
            }
        }
    }
}

fn definition_of(id: TopicId) -> Record {
    let instrument = id.instrument_index();
    definition(ID + instrument, "sim", ["A", "B"][instrument as usize], 2)
}
