//! A delayed session beside live ones gets what a live session gets of a shard that everything reaches so much later: byte by
//! byte, whatever happens. And live sessions get what they get without delayed ones beside them.
//!
//! Three engines are driven by one schedule. `mixed` has live and delayed sessions. `late` has the delayed ones as live ones, and
//! everything reaches it a delay later. `live` has the live ones alone.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_core::engine::{
    Dialect, Engine, Entitlement, Framing, Opening, Principal, Request, SessionKey, own_dialect,
};
use tickwire_core::vocabulary::{
    Ended, Event, FeedStatus, Form, InstrumentInfo, TopicId, TopicInterest, VenueIndex,
};
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    BookProof, Channel, Command, Encoding, FeedState, LedgerRequest, Message, Resume, ResumePosition, Scale,
    SetRate, SymbolName, Unsubscribe, encode_command,
};

use super::rig::{SECOND, limits, subscribe, subscribe_at};
use super::steps::{CHANNELS, RATES};
use super::world::World;

const MS: u64 = 1_000_000;
const DELAYS: [u64; 2] = [7 * SECOND, 31 * SECOND];

/// A dialect of ours in whose responses the delay is left out, and what follows from it.
#[derive(Debug)]
struct Blind(Box<dyn Dialect>);

impl Dialect for Blind {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn form(&self) -> Form {
        self.0.form()
    }

    fn read(&mut self, bytes: &[u8], requests: &mut Vec<Request>) {
        self.0.read(bytes, requests);
    }

    fn id_of(&self, bytes: &[u8]) -> u64 {
        self.0.id_of(bytes)
    }

    fn say(&mut self, message: &Message, out: &mut Vec<u8>) {
        let Message::Subscribed(response) = message else { return self.0.say(message, out) };
        let mut response = response.clone();
        response.granted.iter_mut().for_each(|granted| granted.delay_ms = 0);
        // Of a delayed view, a symbol that it does not know yet may appear.
        let unknown = response.refused.iter_mut().filter(|refused| refused.code == "unknown_symbol");
        unknown.for_each(|refused| refused.may_retry = false);
        self.0.say(&Message::Subscribed(response), out);
    }

    fn end(&self, framing: &dyn Framing, head: usize, start: usize, time: u64, out: &mut Vec<u8>) {
        self.0.end(framing, head, start, time, out);
    }
}

/// An engine of the three, and what it is still to be told.
struct Shard {
    engine: Engine,
    waits: VecDeque<(u64, Event)>,
    delay_ns: u64,
}

impl Shard {
    fn new(delay_ns: u64) -> Self {
        let mut limits = limits();
        (limits.shed_bytes, limits.shed_end_bytes, limits.close_bytes) = (600, 300, 40_000);
        (limits.log_records_per_topic, limits.write_bytes) = (12, 400);
        Self { engine: Engine::new(limits, "tickwire/test"), waits: VecDeque::new(), delay_ns }
    }

    fn tell(&mut self, event: &Event, now: u64) {
        if self.delay_ns == 0 {
            self.engine.on_event(event, now);
        } else {
            self.waits.push_back((now + self.delay_ns, event.clone()));
        }
    }

    fn pass_on(&mut self, now: u64) {
        while let Some((_, event)) = self.waits.pop_front_if(|(due, _)| *due <= now) {
            self.engine.on_event(&event, now);
        }
    }
}

/// A session that two engines have.
struct Pair {
    encoding: Encoding,
    /// The engines' places, and the keys of the session there.
    at: [(usize, SessionKey); 2],
    blocked: usize,
    is_over: bool,
    /// Positions that it was granted, to resume from.
    seen: Vec<ResumePosition>,
}

struct Run {
    /// `mixed`, `live`, and a `late` one for each delay.
    shards: Vec<Shard>,
    world: World,
    infos: Vec<Arc<InstrumentInfo>>,
    ended: Vec<u32>,
    pairs: Vec<Pair>,
    now: u64,
    opened: usize,
}

fn delayed_by(delay_ns: u64) -> Principal {
    let entitlements = vec![Entitlement { delay_ns, ..Entitlement::ALL }];
    Principal { name: "late".to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

impl Run {
    fn new() -> Self {
        let shards = [0, 0].into_iter().chain(DELAYS).map(Shard::new).collect();
        let mut run = Self {
            shards,
            world: World::default(),
            infos: Vec::new(),
            ended: Vec::new(),
            pairs: Vec::new(),
            now: 1_000 * SECOND,
            opened: 0,
        };
        run.feed(FeedState::Live);
        for symbol in ["A", "B", "C"] {
            run.list(symbol);
        }
        run.pass(DELAYS[1] / MS);
        // Somebody has everything all the time, so no view begins later.
        for kind in 0..=DELAYS.len() {
            run.open(kind, Encoding::Proto);
            let at = run.pairs.len() - 1;
            for channel in Channel::ALL {
                run.send(at, &subscribe(1, channel.name(), &["sim:*"]));
            }
        }
        run.answer();
        run
    }

    fn tell(&mut self, event: &Event) {
        for shard in &mut self.shards {
            shard.tell(event, self.now);
        }
    }

    fn feed(&mut self, state: FeedState) {
        let (venue, name) = (VenueIndex(0), "sim".into());
        let feed =
            FeedStatus { venue, name, state, since: self.now, reason: "".into(), proof: BookProof::Chain };
        self.tell(&Event::Feed(Arc::new(feed)));
    }

    fn list(&mut self, symbol: &str) {
        let index = self.infos.len() as u32;
        let name = SymbolName { venue: "sim".to_owned(), symbol: symbol.to_owned() };
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
        let (venue, listed) = (VenueIndex(0), self.now);
        let info = Arc::new(InstrumentInfo { index, id: 100 + index, listed, venue, name, scale });
        self.infos.push(Arc::clone(&info));
        self.world.add(&info);
        self.tell(&Event::Instrument(info));
    }

    /// Answers what the live shards want; the late ones are told so when it is their time.
    fn answer(&mut self) {
        let mut wanted: Vec<TopicId> = Vec::new();
        for (at, shard) in self.shards.iter_mut().enumerate() {
            let wants = shard.engine.take_interests().filter_map(|interest| match interest {
                TopicInterest::Want(id) => Some(id),
                _ => None,
            });
            let wants: Vec<_> = wants.collect();
            if at == 0 {
                wanted = wants;
            }
        }
        for id in wanted {
            self.world.topic(id).wanted = true;
            let event = self.world.state(id);
            let is_first = self.shards[2].waits.is_empty() && self.opened <= 1 + DELAYS.len();
            for shard in &mut self.shards {
                match &event {
                    // Before anything happened, all of them know the same.
                    Some(event) if is_first => shard.engine.on_event(event, self.now),
                    Some(event) => shard.tell(event, self.now),
                    None => {}
                }
            }
        }
    }

    fn say(&mut self, event: Option<Event>) {
        if let Some(event) = event {
            self.tell(&event);
        }
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis * MS;
        let now = self.now;
        for shard in &mut self.shards {
            // The timers of sessions run first, then what has become old enough goes on: as in an engine with views.
            shard.engine.on_timer(now);
            shard.pass_on(now);
            shard.engine.tick(now);
        }
        self.answer();
    }

    /// Opens a session: of a live kind (0), or with the delay of this number.
    fn open(&mut self, kind: usize, encoding: Encoding) {
        self.opened += 1;
        let id = format!("s{}", self.opened);
        let opening = |principal: Principal| Opening {
            dialect: Box::new(Blind(own_dialect(encoding))),
            principal: Arc::new(principal),
            ..Opening::anonymous(id.clone(), encoding)
        };
        let (first, second, other) = match kind.checked_sub(1) {
            None => (
                opening(Principal::clone(&Principal::anonymous())),
                opening(Principal::clone(&Principal::anonymous())),
                1,
            ),
            Some(delay) => {
                let same = Principal { name: "late".to_owned(), ..Principal::clone(&Principal::anonymous()) };
                (opening(delayed_by(DELAYS[delay])), opening(same), 2 + delay)
            }
        };
        let keys = [
            (0, self.shards[0].engine.open(first, self.now)),
            (other, self.shards[other].engine.open(second, self.now)),
        ];
        self.pairs.push(Pair { encoding, at: keys, blocked: 0, is_over: false, seen: Vec::new() });
    }

    fn send(&mut self, pair: usize, command: &Command) {
        let Pair { encoding, at, is_over, .. } = &self.pairs[pair];
        let mut bytes = Vec::new();
        encode_command(*encoding, command, &mut bytes);
        for (shard, key) in at.iter().filter(|_| !is_over) {
            self.shards[*shard].engine.on_message(*key, &bytes, self.now);
        }
    }

    /// Hands over to both sessions of a pair. The kernel takes all but `left` bytes. Returns whether there is more.
    fn fill(&mut self, pair: usize, left: usize) -> bool {
        let at = self.pairs[pair].at;
        let [first, second] = at.map(|(shard, key)| {
            let mut bytes = Vec::new();
            let filled = self.shards[shard].engine.fill(key, self.now, &WebSocket, &mut bytes);
            (bytes, filled.more, filled.closed)
        });
        if first != second {
            let encoding = self.pairs[pair].encoding;
            let said = |bytes: &[u8]| -> Vec<Message> {
                super::rig::parse_frames(bytes).iter().flat_map(|frame| frame.messages(encoding)).collect()
            };
            panic!("session {pair}:\n{:#?}\nis not\n{:#?}", said(&first.0), said(&second.0));
        }
        let (bytes, more, closed) = first;
        self.note_grants(pair, &bytes);
        let own = &mut self.pairs[pair];
        own.is_over |= closed;
        if !bytes.is_empty() {
            own.blocked = left.min(bytes.len());
        }
        let blocked = own.blocked;
        for (shard, key) in at {
            self.shards[shard].engine.unsent(key, blocked, self.now);
        }
        more && blocked == 0 && !bytes.is_empty()
    }

    fn note_grants(&mut self, pair: usize, bytes: &[u8]) {
        let own = &mut self.pairs[pair];
        for frame in super::rig::parse_frames(bytes) {
            for message in frame.messages(own.encoding) {
                let Message::Subscribed(response) = message else { continue };
                own.seen.extend(response.granted.into_iter().map(|granted| ResumePosition {
                    channel: granted.channel().name().to_owned(),
                    symbol: granted.symbol,
                    epoch: granted.epoch,
                    sequence: granted.sequence,
                }));
            }
        }
    }

    fn unblock(&mut self, pair: usize) {
        self.pairs[pair].blocked = 0;
        for (shard, key) in self.pairs[pair].at {
            self.shards[shard].engine.unsent(key, 0, self.now);
        }
    }

    fn read_all(&mut self, pair: usize) {
        self.unblock(pair);
        while self.fill(pair, 0) {}
    }

    fn end(&mut self, pair: usize) -> Vec<ResumePosition> {
        let own = self.pairs.remove(pair);
        let totals = own.at.map(|(shard, key)| self.shards[shard].engine.ended(key, self.now));
        assert_eq!(totals[0], totals[1], "what became of its records");
        own.seen
    }

    fn step(&mut self, [what, a, b, c]: [u8; 4]) {
        let channel = CHANNELS[usize::from(b) % CHANNELS.len()];
        let instrument = u32::from(c) % self.infos.len() as u32;
        let (id, pair) = (TopicId::new(instrument, channel), usize::from(c) % self.pairs.len());
        let symbol = self.infos[usize::from(a) % self.infos.len()].name.to_string();
        let (name, is_over) = (channel.name().to_owned(), self.ended.contains(&instrument));
        let keepers = 1 + DELAYS.len();
        match what % 32 {
            0..=9 if !is_over => {
                for more in 0..=a % 4 {
                    let event = self.world.publish(id, a.wrapping_add(more), b.wrapping_mul(29));
                    self.say(event);
                }
            }
            10 if !is_over => {
                let event = match a % 4 {
                    0 => self.world.lose(id, a, b),
                    1 => self.world.upstream_gap(id),
                    2 => self.world.restart(id),
                    _ => self.world.state(id),
                };
                self.say(event);
            }
            11..=14 => drop(self.fill(pair, usize::from(a % 3) * 50)),
            15 => self.unblock(pair),
            16 => self.read_all(pair),
            17..=18 => {
                let rate = RATES[usize::from(b) % RATES.len()];
                self.send(pair, &subscribe_at(2, &name, &[&symbol, "sim:none", "sim:n1", "other:X"], rate));
            }
            19 => self.send(pair, &subscribe(3, &name, &["sim:*"])),
            // Those that have everything keep it: how long a topic stays for nobody is not the same.
            20 if pair >= keepers => {
                let symbols = if a.is_multiple_of(3) { vec!["sim:*".to_owned()] } else { vec![symbol] };
                self.send(pair, &Command::Unsubscribe(Unsubscribe { id: 4, channel: name, symbols }));
            }
            21 => {
                let max_rate = RATES[usize::from(a ^ b) % RATES.len()];
                let symbols = vec![symbol, "sim:none".to_owned()];
                self.send(pair, &Command::SetRate(SetRate { id: 5, channel: name, symbols, max_rate }));
            }
            22 => self.send(pair, &Command::Ledger(LedgerRequest { id: 6 })),
            23..=25 => self.pass(u64::from(a) * 20),
            26 => self.pass(u64::from(a) * 300),
            27 => self.feed([FeedState::Live, FeedState::Stale, FeedState::Down][usize::from(a) % 3]),
            29 if a < 60 && !is_over => {
                self.ended.push(instrument);
                let ended = Ended { instrument, reason: "it expired".into(), may_retry: false };
                self.tell(&Event::Ended(Arc::new(ended)));
            }
            30 if self.pairs.len() < 8 => {
                self.open(usize::from(a) % (1 + DELAYS.len()), Encoding::ALL[usize::from(b) % 3]);
            }
            31 if pair >= keepers => {
                // It comes back with the same delay, and goes on where it was granted something.
                let (kind, encoding) = (self.pairs[pair].at[1].0 - 1, self.pairs[pair].encoding);
                let positions: Vec<_> = self.end(pair).into_iter().rev().take(4).collect();
                self.open(kind, encoding);
                let pair = self.pairs.len() - 1;
                let commands: Vec<_> =
                    positions.iter().map(|p| subscribe(7, &p.channel, &[&p.symbol])).collect();
                self.send(pair, &Command::Resume(Resume { id: 8, positions }));
                for command in commands {
                    self.send(pair, &command);
                }
            }
            _ => self.pass(u64::from(a)),
        }
        // What nobody reads grows until its session is closed.
        (0..keepers).for_each(|pair| self.read_all(pair));
    }

    fn finish(mut self) {
        for _ in 0..=DELAYS[1] / SECOND {
            self.pass(1_000);
            (0..self.pairs.len()).for_each(|pair| self.read_all(pair));
        }
        for pair in 0..self.pairs.len() {
            self.send(pair, &Command::Ledger(LedgerRequest { id: 9 }));
            self.read_all(pair);
        }
        while !self.pairs.is_empty() {
            self.end(0);
        }
        for _ in 0..200 {
            self.pass(1_000);
        }
        for shard in &self.shards {
            assert_eq!((shard.engine.topics(), shard.engine.log_bytes()), (0, 0), "topics stay for nobody");
            assert_eq!((shard.engine.private_bytes(), shard.engine.subscriptions()), (0, 0));
        }
        let held = self.shards[0].engine.delayed();
        assert_eq!(
            (held.delays, held.topics, held.bytes, held.dropped),
            (0, 0, 0, 0),
            "views stay for nobody"
        );
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(400);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn a_delayed_session_gets_what_a_live_one_gets_of_a_late_shard(
        steps in prop::collection::vec(any::<[u8; 4]>(), 0..250),
    ) {
        let mut run = Run::new();
        for step in steps {
            run.step(step);
        }
        run.finish();
    }
}
