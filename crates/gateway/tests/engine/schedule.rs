//! Random schedules: bytes become operations on an engine, and after each of them everything is checked.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use tickwire_core::engine::{DetailQuery, Fate, SessionQuery};
use tickwire_core::vocabulary::{Ended, Event, TopicId, TopicInterest};
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Channel, CloseCode, Command, Encoding, FeedState, LedgerRequest, Resume, ResumePosition, SetRate,
    Unsubscribe,
};

use super::pace::Window;
use super::rig::{CLOSE, Client, PING, Rig, SECOND, limits, parse_frames, subscribe, subscribe_at};
use super::steps::{CHANNELS, Op, RATES, Step, WINDOWS};
use super::view::{RATE_SET, Reader, UNSUBSCRIBED};
use super::world::World;

const SESSIONS: usize = 3;

struct Slot {
    client: Client,
    reader: Reader,
    blocked: usize,
    closed: bool,
    /// The pings that it did not answer yet.
    pings: VecDeque<Vec<u8>>,
    window: Window,
}

struct Run {
    rig: Rig,
    world: World,
    wants: Vec<TopicId>,
    slots: Vec<Option<Slot>>,
    /// The positions where the last session in a slot left off.
    left: HashMap<usize, HashMap<u32, (u64, u64)>>,
    /// The instruments that ended, and those of them that the engine let go.
    ended: BTreeSet<u32>,
    let_go: BTreeSet<u32>,
    close_bytes: usize,
    /// The bytes of all logs and of all sessions, and subscriptions.
    bounds: (usize, usize, usize),
    /// Whether the freshness window holds something back, which does not end a delivery.
    is_held_back: bool,
}

/// Does what the steps say and panics where the engine breaks a promise. `tuning` chooses limits.
pub(crate) fn drive(tuning: [u8; 4], steps: &[Step]) {
    let mut run = Run::new(tuning);
    for step in steps {
        run.step(*step);
        run.check_bounds();
    }
    run.finish();
}

/// Does as [`drive`] does, with any bytes as steps.
pub(crate) fn drive_bytes(bytes: &[u8]) {
    let (steps, _) = bytes.as_chunks::<4>();
    let Some((tuning, steps)) = steps.split_first() else { return };
    drive(*tuning, &steps.iter().map(|step| Step(*step)).collect::<Vec<_>>());
}

impl Run {
    fn new([budget, shed, log, subscriptions]: [u8; 4]) -> Self {
        let mut limits = limits();
        limits.write_bytes = 16 + 4 * usize::from(budget);
        limits.shed_bytes = 200 + 8 * usize::from(shed);
        limits.shed_end_bytes = limits.shed_bytes / 2;
        limits.freshness_ns = [0, SECOND / 5, SECOND / 5, SECOND / 100][usize::from(budget) % 4];
        limits.window_first_bytes = 64 + 16 * usize::from(shed);
        limits.close_bytes = 8 * limits.shed_bytes + 20_000;
        limits.log_records_per_topic = if log < 64 { 2 + usize::from(log) / 4 } else { 1024 };
        limits.log_bytes_per_topic = if log % 4 == 3 { 2_000 } else { 1 << 20 };
        limits.subscriptions_per_session = 4 + usize::from(subscriptions);
        limits.conflating_after_ns = SECOND / 5;
        if log % 8 == 5 {
            limits.log_bytes = 4_000;
        }
        if shed % 8 == 3 {
            limits.private_bytes = 3_000;
        }
        if subscriptions % 8 == 6 {
            limits.subscriptions = 20;
        }
        let bounds = (limits.log_bytes, limits.private_bytes, limits.subscriptions);
        let (close_bytes, is_held_back) = (limits.close_bytes, limits.freshness_ns > 0);
        let rig = Rig::new(limits);
        let mut world = World::default();
        for info in &rig.infos {
            world.add(info);
        }
        let mut run = Self {
            rig,
            world,
            wants: Vec::new(),
            slots: Vec::new(),
            left: HashMap::new(),
            ended: BTreeSet::new(),
            let_go: BTreeSet::new(),
            close_bytes,
            bounds,
            is_held_back,
        };
        for at in 0..SESSIONS {
            run.slots.push(None);
            run.open(at, Encoding::ALL[at], WINDOWS[usize::from(log) % 4 * at % 4]);
        }
        if subscriptions % 4 > 0 {
            for channel in Channel::ALL {
                let rate = RATES[usize::from(subscriptions.wrapping_mul(31)) % RATES.len()];
                for at in 0..SESSIONS {
                    // One session has nothing that a delivery window lets through early.
                    if at < 2 || !channel.is_lossless() {
                        let rate = if at == 0 { 0.0 } else { rate };
                        run.send(at, &subscribe_at(1, channel.name(), &["sim:*"], rate));
                    }
                }
            }
            run.take_interests();
            for id in std::mem::take(&mut run.wants) {
                let event = run.world.state(id);
                run.event(event);
            }
        }
        run
    }

    fn open(&mut self, at: usize, encoding: Encoding, window_ms: u16) {
        let client = self.rig.open_with_window(encoding, window_ms);
        let (reader, pings, window) = (Reader::default(), VecDeque::new(), Window::new(window_ms));
        self.slots[at] = Some(Slot { client, reader, blocked: 0, closed: false, pings, window });
    }

    fn event(&mut self, event: Option<Event>) {
        let Some(event) = event else { return };
        for slot in self.slots.iter_mut().flatten() {
            slot.reader.told(&event, &mut self.world, self.rig.now);
        }
        self.rig.event(event);
    }

    fn timer(&mut self, millis: u64) {
        self.rig.now += millis * 1_000_000;
        let now = self.rig.now;
        self.rig.engine.on_timer(now);
        assert!(self.rig.engine.next_due().is_none_or(|due| due > now), "something was due and stays due");
        for slot in self.slots.iter_mut().flatten() {
            slot.reader.timer(now);
            slot.window.timer(now);
        }
    }

    fn send(&mut self, at: usize, command: &Command) {
        if let Some(slot) = &self.slots[at]
            && !slot.closed
        {
            let client = slot.client;
            self.rig.send(client, command);
        }
    }

    fn step(&mut self, step: Step) {
        let [_, a, b, c] = step.0;
        let channel = CHANNELS[usize::from(b) % CHANNELS.len()];
        let instrument = u32::from(c) % self.rig.infos.len() as u32;
        let id = TopicId::new(instrument, channel);
        let at = usize::from(c) % SESSIONS;
        let symbol = self.rig.infos[usize::from(a) % self.rig.infos.len()].name.to_string();
        let is_over = self.ended.contains(&instrument);
        match step.op() {
            Op::Publish { .. } | Op::Lose | Op::UpstreamGap | Op::Restart | Op::Repair if is_over => {}
            Op::Publish { count } => {
                for more in 0..count {
                    let event =
                        self.world.publish(id, a.wrapping_add(more), b.wrapping_add(c).wrapping_mul(29));
                    self.event(event);
                }
            }
            Op::Fill => {
                self.fill(at, 0);
            }
            Op::FillAndBlock => {
                self.fill(at, 1 + usize::from(a));
            }
            Op::Unblock => self.unblock(at, usize::from(a)),
            Op::ReadAll => self.read_all(at),
            Op::Subscribe => {
                let rate = RATES[usize::from(b) % RATES.len()];
                let symbols = [&symbol, "sim:none", "?", &symbol];
                self.send(at, &subscribe_at(1, channel.name(), &symbols, rate));
            }
            Op::SubscribeAll => self.send(at, &subscribe(2, channel.name(), &["sim:*", "sim:*", &symbol])),
            Op::Unsubscribe => {
                let symbols = if a.is_multiple_of(4) { vec!["sim:*".to_owned()] } else { vec![symbol] };
                let channel = channel.name().to_owned();
                self.send(at, &Command::Unsubscribe(Unsubscribe { id: UNSUBSCRIBED, channel, symbols }));
            }
            Op::SetRate => {
                let symbols = vec!["sim:none".to_owned(), symbol];
                let max_rate = RATES[usize::from(a ^ b) % RATES.len()];
                if let Some(slot) = &mut self.slots[at] {
                    let id = TopicId::new(u32::from(a) % self.rig.infos.len() as u32, channel);
                    slot.reader.set_rate(id, max_rate);
                }
                let channel = channel.name().to_owned();
                self.send(at, &Command::SetRate(SetRate { id: RATE_SET, channel, symbols, max_rate }));
            }
            Op::Response => {
                let count = self.wants.len().min(1 + usize::from(a) % 4);
                for id in self.wants.drain(..count).collect::<Vec<_>>() {
                    let event = self.world.state(id);
                    self.event(event);
                }
            }
            Op::Unavailable => {
                if let Some(id) = self.wants.first() {
                    self.rig.event(Event::Unavailable {
                        topic: *id,
                        reason: "no response".into(),
                        is_unknown: false,
                    });
                }
            }
            Op::Lose => {
                let event = self.world.lose(id, a, b);
                self.event(event);
            }
            Op::UpstreamGap => {
                let event = self.world.upstream_gap(id);
                self.event(event);
            }
            Op::Restart => {
                let event = self.world.restart(id);
                self.event(event);
            }
            Op::Repair => {
                let event = self.world.state(id);
                self.event(event);
            }
            Op::Ledger => self.send(at, &Command::Ledger(LedgerRequest { id: 5 })),
            Op::Tick { millis } => {
                self.timer(millis);
                self.rig.engine.tick(self.rig.now);
            }
            Op::Timer { millis } => self.timer(millis),
            Op::LateTimer { millis } => self.rig.now += millis * 1_000_000,
            Op::Feed if a.is_multiple_of(2) => {
                self.rig.feed(FeedState::Live);
                self.slots.iter_mut().flatten().for_each(|slot| slot.window.open());
            }
            Op::Feed => self.rig.feed(FeedState::Stale),
            Op::Ping => {
                if let Some(slot) = &self.slots[at] {
                    self.rig.engine.on_ping(slot.client.key, &[a], self.rig.now);
                }
            }
            Op::Pong => self.pong(at, 1 + usize::from(a) % 4),
            Op::Close => {
                if let Some(slot) = &self.slots[at] {
                    self.rig.engine.close(slot.client.key, CloseCode::ALL[usize::from(a) % 8]);
                }
            }
            Op::End => self.end(at),
            Op::Open => {
                self.end(at);
                self.open(at, Encoding::ALL[usize::from(a) % 3], WINDOWS[usize::from(b) % 4]);
            }
            Op::OpenAndResume => self.resume(at, a),
            Op::EndInstrument => {
                if self.ended.insert(instrument) {
                    let ended = Ended { instrument, reason: "it expired".into(), may_retry: false };
                    self.event(Some(Event::Ended(Arc::new(ended))));
                    self.wants.retain(|id| id.instrument_index() != instrument);
                }
            }
            Op::NewInstrument => {
                if self.rig.infos.len() < 6 {
                    let index = self.rig.infos.len();
                    self.rig.instrument(&format!("N{index}"));
                    self.world.add(&self.rig.infos[index]);
                }
            }
        }
        self.take_interests();
    }

    fn take_interests(&mut self) {
        for interest in self.rig.engine.take_interests() {
            match interest {
                TopicInterest::Want(id) => {
                    assert!(!self.world.topic(id).wanted, "wanted twice");
                    self.world.topic(id).wanted = true;
                    self.wants.push(id);
                }
                TopicInterest::Drop(id) => {
                    assert!(self.world.topic(id).wanted, "dropped and never wanted");
                    self.world.drop_topic(id);
                    self.wants.retain(|want| *want != id);
                }
                TopicInterest::LetGo(index) => {
                    assert!(self.ended.contains(&index) && self.let_go.insert(index), "{index} was let go");
                }
                TopicInterest::Backfill(ask) => panic!("this engine has no history: {ask:?}"),
            }
        }
    }

    /// Hands over once; the kernel takes all but `left` bytes of it.
    fn fill(&mut self, at: usize, left: usize) -> bool {
        let Some(slot) = &mut self.slots[at] else { return false };
        let mut bytes = Vec::new();
        let filled = self.rig.engine.fill(slot.client.key, self.rig.now, &WebSocket, &mut bytes);
        assert!(!slot.closed || bytes.is_empty(), "something comes after the close frame");
        for frame in parse_frames(&bytes) {
            assert!(!slot.closed, "something comes after the close frame");
            for message in frame.messages(slot.client.encoding) {
                slot.reader.read(&message, slot.client.encoding, &mut self.world, self.rig.now);
                slot.window.read(&message);
            }
            if frame.opcode == PING {
                slot.pings.push_back(frame.payload);
                continue;
            }
            if frame.opcode == CLOSE {
                assert!(slot.reader.last_is_ledger, "the ledger is the last record before a close frame");
                slot.closed = true;
            }
        }
        assert!(!filled.closed || slot.closed);
        let may_pass_early = self.is_held_back || slot.reader.had_lossless;
        slot.window.wrote(filled.more, may_pass_early, self.rig.now);
        assert!(slot.blocked == 0 || bytes.is_empty() || slot.closed, "a blocked session was written to");
        if !bytes.is_empty() {
            slot.blocked = (slot.blocked + bytes.len()).min(slot.blocked + left);
            self.rig.engine.unsent(slot.client.key, slot.blocked, self.rig.now);
        }
        assert!(!filled.more || slot.blocked > 0 || !bytes.is_empty(), "more without end");
        filled.more && slot.blocked == 0
    }

    fn unblock(&mut self, at: usize, keep: usize) {
        let Some(slot) = &mut self.slots[at] else { return };
        slot.blocked = if keep.is_multiple_of(3) { slot.blocked / 2 } else { 0 };
        self.rig.engine.unsent(slot.client.key, slot.blocked, self.rig.now);
    }

    fn pong(&mut self, at: usize, count: usize) {
        let Some(slot) = &mut self.slots[at] else { return };
        let count = count.min(slot.pings.len());
        for payload in slot.pings.drain(..count) {
            self.rig.engine.on_pong(slot.client.key, &payload, self.rig.now);
        }
    }

    fn read_all(&mut self, at: usize) {
        self.unblock(at, 1);
        for _ in 0..100_000 {
            let has_more = self.fill(at, 0);
            let has_pings = self.slots[at].as_ref().is_some_and(|slot| !slot.pings.is_empty());
            self.pong(at, usize::MAX);
            if !has_more && !has_pings {
                return;
            }
        }
        panic!("`fill` does not come to an end");
    }

    fn end(&mut self, at: usize) {
        let Some(slot) = self.slots[at].take() else { return };
        let totals = self.rig.engine.ended(slot.client.key, self.rig.now).expect("it was open");
        assert_eq!(totals.published, totals.delivered + totals.conflated + totals.dropped + totals.filtered);
        let views = slot.reader.views.iter();
        self.left.insert(at, views.map(|(id, view)| (*id, view.at)).collect());
    }

    fn resume(&mut self, at: usize, a: u8) {
        self.end(at);
        self.open(at, Encoding::ALL[usize::from(a) % 3], 0);
        let left = self.left.get(&at).cloned().unwrap_or_default();
        let position = |(id, (epoch, sequence)): (&u32, &(u64, u64))| {
            let id = TopicId(*id);
            let symbol = self.rig.infos[id.instrument_index() as usize].name.to_string();
            ResumePosition {
                channel: id.channel().name().to_owned(),
                symbol,
                epoch: *epoch,
                sequence: *sequence,
            }
        };
        let positions: Vec<_> = left.iter().map(position).take(4).collect();
        let kept = |position: &ResumePosition| {
            let index = self.rig.infos.iter().position(|info| info.name.to_string() == position.symbol);
            let channel = Channel::from_name(&position.channel).expect("a channel");
            (
                TopicId::new(index.expect("an instrument") as u32, channel).0,
                (position.epoch, position.sequence),
            )
        };
        let resume = positions.iter().map(kept).collect();
        let commands: Vec<_> = positions.iter().map(|p| subscribe(4, &p.channel, &[&p.symbol])).collect();
        self.send(at, &Command::Resume(Resume { id: 6, positions }));
        if let Some(slot) = &mut self.slots[at] {
            slot.reader.resume = resume;
        }
        for command in commands {
            self.send(at, &command);
        }
    }

    fn check_bounds(&self) {
        let (pressure, _) = self.rig.engine.pressure();
        // The bound has one message more than the limit for each, and its ledger.
        assert!(pressure <= SESSIONS * (self.close_bytes + 20_000), "pressure of {pressure} bytes");
        let engine = &self.rig.engine;
        let (log, private, subscriptions) = self.bounds;
        let (counted, kept) = engine.count_log_bytes();
        assert_eq!(engine.log_bytes(), counted);
        assert!(counted <= log + kept, "{counted} bytes of logs, {kept} of them the newest");
        assert!(engine.private_bytes() <= private, "{} bytes wait for sessions", engine.private_bytes());
        assert!(engine.subscriptions() <= subscriptions, "{} subscriptions", engine.subscriptions());
        let survey = self.rig.engine.survey();
        assert_eq!(survey.states.iter().sum::<usize>(), self.slots.iter().flatten().count());
        assert!(survey.pressure.total() >= pressure);
        let page = self.rig.engine.session_page(&SessionQuery { limit: 2, ..SessionQuery::default() });
        for row in page.rows {
            let detail =
                self.rig.engine.session_detail(&row.id, DetailQuery::default()).expect("it is listed");
            assert!(detail.decisions.len() <= 128 && detail.runs.len() <= 6 * detail.subscriptions.len());
            let told = |is: fn(&Fate) -> bool| {
                detail
                    .runs
                    .iter()
                    .filter(|(_, _, run)| is(&run.fate))
                    .map(|(_, _, run)| run.count)
                    .sum::<u64>()
            };
            let superseded = told(|fate| matches!(fate, Fate::Superseded(_) | Fate::Snapshot(_)));
            assert!(superseded <= row.account.conflated, "{detail:?}");
            for subscription in &detail.subscriptions {
                let runs = detail.runs.iter().filter(|(topic, ..)| *topic == subscription.topic);
                let runs: Vec<_> = runs.map(|(_, _, run)| run).collect();
                let dropped = runs.iter().filter(|run| matches!(run.fate, Fate::Gap(_)));
                let dropped: u64 = dropped.map(|run| run.count).sum();
                if runs.len() < 6 && runs.iter().all(|run| run.last > 0) {
                    assert_eq!(
                        dropped, subscription.account.dropped,
                        "each dropped sequence number has its cause: {detail:?}"
                    );
                }
            }
        }
    }

    /// Ends the schedule: everything that was lost is repaired, everything that waits is read.
    fn finish(mut self) {
        self.take_interests();
        for id in std::mem::take(&mut self.wants) {
            let event = self.world.state(id);
            self.event(event);
        }
        let broken: Vec<_> = self
            .world
            .topics
            .iter()
            .filter(|(_, t)| t.wanted && !t.live)
            .map(|(id, _)| TopicId(*id))
            .filter(|id| !self.ended.contains(&id.instrument_index()))
            .collect();
        for id in broken {
            let event = self.world.state(id);
            self.event(event);
        }
        for at in 0..SESSIONS {
            self.read_all(at);
            // No window and no rate holds a response back.
            self.send(at, &Command::Ledger(LedgerRequest { id: 7 }));
            self.read_all(at);
        }
        while let Some(due) = self.rig.engine.next_due() {
            self.timer((due - self.rig.now.min(due)).div_ceil(1_000_000));
            (0..SESSIONS).for_each(|at| self.read_all(at));
        }
        for at in 0..SESSIONS {
            self.read_all(at);
            self.send(at, &Command::Ledger(LedgerRequest { id: 7 }));
            self.read_all(at);
            let Some(slot) = self.slots[at].as_ref().filter(|slot| !slot.closed) else { continue };
            assert!(slot.reader.ledgers > 0);
            for (id, view) in &slot.reader.views {
                let id = TopicId(*id);
                assert!(!self.ended.contains(&id.instrument_index()), "{id:?} ended and was not told so");
                view.assert_converged(id, self.world.topic(id));
            }
        }
        // The bytes that were read may be unconfirmed, less than a probe is worth.
        let (pressure, in_flight) = (self.rig.engine.pressure().0, self.rig.engine.in_flight());
        assert!(pressure <= in_flight, "bytes are accounted for that nobody waits for");
        let topics = self.rig.engine.topics();
        for at in 0..SESSIONS {
            self.end(at);
        }
        self.rig.now += 100 * SECOND;
        self.rig.engine.tick(self.rig.now);
        assert_eq!(self.rig.engine.topics(), 0, "of {topics} topics some stay for nobody");
        assert_eq!(self.rig.engine.log_bytes(), 0);
        assert_eq!((self.rig.engine.private_bytes(), self.rig.engine.subscriptions()), (0, 0));
        self.take_interests();
        assert_eq!(self.let_go, self.ended, "all that ended is let go");
        let totals = self.rig.engine.totals();
        assert_eq!(totals.published, totals.delivered + totals.conflated + totals.dropped + totals.filtered);
    }
}
