//! Books to a depth: a session has the best levels of the book, whatever happens to it, and nothing beyond them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_core::engine::{EngineLimits, Entitlement, Pattern, Principal};
use tickwire_core::vocabulary::{Event, TopicId, TopicInterest, TopicState, Update};
use tickwire_wire::{
    Body, BookState, Channel, Command, Encoding, GapCause, LedgerRequest, Level, Message, Record, Refused,
    Sequence, Token, Unsubscribe, Verdict, encode_message,
};

use super::rig::{
    Client, Rig, SECOND, brief, change, level, limits, quote, records, response, snapshot, subscribe,
};

fn to(depth: impl Into<Option<u32>>, seconds: u64) -> Entitlement {
    Entitlement { depth: depth.into(), delay_ns: seconds * SECOND, ..Entitlement::ALL }
}

fn of(entitlements: Vec<Entitlement>) -> Principal {
    Principal { name: "shallow".to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

fn refusal(messages: &[Message]) -> Refused {
    response(messages).refused[0].clone()
}

/// The price and size of each level of a side.
type Levels = Vec<(i64, u64)>;

/// Returns the levels of what a client got: bids, then asks.
fn levels(record: &Record) -> (Levels, Levels) {
    let Body::Book(book) = &record.body else { panic!("{record:?}") };
    let side = |levels: &[Level]| levels.iter().map(|level| (level.price, level.size)).collect();
    (side(&book.bids), side(&book.asks))
}

#[test]
fn a_level_that_leaves_the_best_ones_is_deleted_and_one_that_comes_is_set() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(of(vec![to(2, 0)]));
    let messages = rig.subscribe(client, Channel::Book, &["sim:A"]);
    let granted = &response(&messages).granted[0];
    assert_eq!((granted.depth, granted.delay_ms, granted.sequence), (2, 0, 0));
    let bids = [level(9, 1), level(8, 1), level(7, 1)];
    let asks = [level(11, 1), level(12, 1), level(13, 1)];
    rig.publish(0, 1, snapshot(&bids, &asks));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book 1 snapshot"]);
    assert_eq!(levels(&got[0]), (vec![(9, 1), (8, 1)], vec![(11, 1), (12, 1)]));
    // A better bid pushes the worst one out; an ask that goes lets the third one in.
    rig.publish(0, 2, change(&[level(10, 5)], &[level(11, 0)]));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book 2"]);
    assert_eq!(levels(&got[0]), (vec![(10, 5), (8, 0)], vec![(11, 0), (13, 1)]));
    // What is beyond is not told. The next change covers its sequence number.
    rig.publish(0, 3, change(&[level(7, 9)], &[level(20, 1)]));
    assert_eq!(brief(&rig.records(client)), [""; 0]);
    rig.publish(0, 4, change(&[level(9, 2)], &[]));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book 3-4"]);
    assert_eq!(levels(&got[0]), (vec![(9, 2)], vec![]));
    // A gap and what follows are those of the whole book.
    rig.publish(0, 5, change(&[level(7, 8)], &[]));
    rig.gap(0, Channel::Book, GapCause::Bus, 6, 7, super::rig::EPOCH);
    rig.publish(0, 8, snapshot(&[level(3, 1), level(2, 1), level(1, 1)], &[]));
    let got = rig.records(client);
    assert_eq!(brief(&got), ["book gap bus 6-7", "book 8 snapshot"]);
    assert_eq!(levels(&got[1]), (vec![(3, 1), (2, 1)], vec![]));
    rig.send(client, &Command::Ledger(LedgerRequest { id: 5 }));
    let messages = rig.read(client);
    let Message::Ledger(ledger) = &messages[0] else { panic!("{messages:?}") };
    let entry = &ledger.entries[0];
    assert_eq!((entry.published, entry.delivered, entry.conflated, entry.dropped), (8, 4, 2, 2));
}

#[test]
fn other_channels_have_no_depth() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(of(vec![to(1, 0)]));
    let messages = rig.subscribe(client, Channel::Quote, &["sim:A"]);
    assert_eq!(response(&messages).granted[0].depth, 0);
    rig.publish(0, 1, quote(1));
    assert_eq!(brief(&rig.records(client)), ["quote 1"]);
}

#[test]
fn a_depth_costs_once_and_is_let_go() {
    let mut rig = Rig::new(limits());
    let clients: Vec<_> = [5, 5, 5, 7].map(|depth| rig.open_as(of(vec![to(depth, 0)]))).to_vec();
    for client in &clients {
        rig.subscribe(*client, Channel::Book, &["sim:A"]);
    }
    // The whole book, and one for each depth.
    assert_eq!((rig.engine.topics(), rig.engine.delayed().depths), (3, 2));
    let bids: Vec<_> = (1..=20).rev().map(|price| level(price, 1)).collect();
    rig.publish(0, 1, snapshot(&bids, &[]));
    assert_eq!(rig.engine.book_levels(), 20 + 5 + 7);
    for client in &clients {
        rig.records(*client);
        rig.engine.ended(client.key, rig.now);
    }
    rig.pass(30);
    assert_eq!((rig.engine.topics(), rig.engine.delayed().depths, rig.engine.book_levels()), (0, 0, 0));
}

#[test]
fn there_are_so_many_depths_and_no_more() {
    let mut rig = Rig::new(EngineLimits { depths: 1, ..limits() });
    let client = rig.open_as(of(vec![to(5, 0)]));
    assert_eq!(response(&rig.subscribe(client, Channel::Book, &["sim:A"])).granted[0].depth, 5);
    // A shallower one than may be seen will do, a deeper one will not.
    let client = rig.open_as(of(vec![to(9, 0)]));
    assert_eq!(response(&rig.subscribe(client, Channel::Book, &["sim:A"])).granted[0].depth, 5);
    let client = rig.open_as(of(vec![to(4, 0)]));
    for symbol in ["sim:A", "sim:*"] {
        let refused = refusal(&rig.subscribe(client, Channel::Book, &[symbol]));
        assert_eq!((refused.code.as_str(), refused.may_retry), ("limit", true));
        assert!(refused.message.contains("gateway.limits.depths"), "{}", refused.message);
    }
    assert_eq!(response(&rig.subscribe(client, Channel::Quote, &["sim:A"])).granted.len(), 1);
}

#[test]
fn all_of_a_venue_has_books_of_several_depths() {
    let mut rig = Rig::new(limits());
    let deep = Entitlement { symbols: Pattern::Is("A".to_owned()), ..Entitlement::ALL };
    let client = rig.open_as(of(vec![deep, to(1, 0)]));
    let messages = rig.subscribe(client, Channel::Book, &["sim:*"]);
    let granted = |messages: &[Message]| -> Vec<_> {
        let mut granted: Vec<_> =
            response(messages).granted.iter().map(|g| (g.symbol.clone(), g.depth)).collect();
        granted.sort_unstable();
        granted
    };
    let expected = [("sim:A", 0), ("sim:B", 1), ("sim:C", 1)].map(|(name, depth)| (name.to_owned(), depth));
    assert_eq!(granted(&messages), expected);
    rig.instrument("D");
    rig.grant_interests();
    assert_eq!(granted(&rig.read(client)), [("sim:D".to_owned(), 1)]);
    let bids = [level(2, 1), level(1, 1)];
    for index in 0..4 {
        rig.publish(index, 1, snapshot(&bids, &[]));
    }
    let counts: Vec<_> =
        rig.records(client).iter().map(|r| (r.instrument - 100, levels(r).0.len())).collect();
    assert_eq!(counts.iter().copied().collect::<BTreeMap<_, _>>(), [(0, 2), (1, 1), (2, 1), (3, 1)].into());
    let symbols = vec!["sim:*".to_owned()];
    rig.send(client, &Command::Unsubscribe(Unsubscribe { id: 2, channel: "book".to_owned(), symbols }));
    let messages = rig.read(client);
    assert!(matches!(&messages[0], Message::Ledger(ledger) if ledger.entries.len() == 4), "{messages:?}");
}

#[test]
fn an_instrument_that_ends_ends_its_books_to_a_depth() {
    let mut rig = Rig::new(limits());
    let client = rig.open_as(of(vec![to(1, 0)]));
    rig.subscribe(client, Channel::Book, &["sim:A"]);
    rig.publish(0, 1, snapshot(&[level(1, 1)], &[]));
    let ended =
        tickwire_core::vocabulary::Ended { instrument: 0, reason: "it expired".into(), may_retry: false };
    rig.event(Event::Ended(Arc::new(ended)));
    let messages = rig.read(client);
    assert_eq!(refusal(&messages).code, "ended");
    assert_eq!(brief(&records(messages)), ["book 1 snapshot"]);
    assert_eq!(rig.engine.take_interests().filter(|i| *i == TopicInterest::LetGo(0)).count(), 1);
    assert_eq!(rig.engine.topics(), 0);
}

#[test]
fn a_book_that_is_given_up_closes_those_who_see_a_part_of_it() {
    let mut rig = Rig::new(EngineLimits { book_levels: 20, ..limits() });
    let client = rig.open_as(of(vec![to(2, 0)]));
    rig.subscribe(client, Channel::Book, &["sim:A"]);
    let bids: Vec<_> = (1..=40).map(|price| level(price, 1)).collect();
    rig.publish(0, 1, snapshot(&bids, &[]));
    assert!(rig.engine.closing(client.key).is_some());
    assert_eq!(rig.engine.book_levels(), 0);
}

const DELAY: u64 = 5;

/// The depth, the delay in seconds, and the encoding of each viewer.
const VIEWERS: [(Option<u32>, u64, Encoding); 7] = [
    (None, 0, Encoding::Proto),
    (Some(1), 0, Encoding::Proto),
    (Some(2), 0, Encoding::MsgPack),
    (Some(5), 0, Encoding::Json),
    (None, DELAY, Encoding::MsgPack),
    (Some(2), DELAY, Encoding::Proto),
    (Some(3), DELAY, Encoding::Json),
];

type Side = BTreeMap<i64, u64>;

fn apply(side: &mut Side, levels: &[Level]) {
    for level in levels {
        if level.size == 0 {
            side.remove(&level.price);
        } else {
            side.insert(level.price, level.size);
        }
    }
}

/// The book of the venue, as simple as can be, and all that it ever was.
#[derive(Default)]
struct Venue {
    epoch: u64,
    sequence: u64,
    bids: Side,
    asks: Side,
    /// Time, bids and asks by epoch and sequence number.
    was: HashMap<(u64, u64), (u64, Side, Side)>,
}

impl Venue {
    fn passed(&mut self, now: u64) {
        let book = (now, self.bids.clone(), self.asks.clone());
        self.was.insert((self.epoch, self.sequence), book);
    }

    fn whole(&self) -> Body {
        let level = |(price, size): (&i64, &u64)| level(*price, *size);
        let bids: Vec<_> = self.bids.iter().rev().map(level).collect();
        snapshot(&bids, &self.asks.iter().map(level).collect::<Vec<_>>())
    }
}

/// A client with a book that it keeps by the records alone.
struct Viewer {
    client: Client,
    depth: Option<u32>,
    delay: u64,
    held: Option<Held>,
}

struct Held {
    sequence: Sequence,
    bids: Side,
    asks: Side,
    /// The book as the SDK keeps it, which compares checksums.
    checked: BookState,
    is_whole: bool,
}

impl Viewer {
    /// Takes all messages, and compares the book with the venue's after each record.
    fn read(&mut self, rig: &mut Rig, venue: &Venue) {
        for message in rig.read(self.client) {
            match message {
                Message::Subscribed(subscribed) => {
                    for refused in subscribed.refused {
                        if refused.code == "ended" {
                            self.held = None;
                        }
                    }
                    for granted in subscribed.granted {
                        assert_eq!(granted.depth, self.depth.unwrap_or(0));
                        assert_eq!(granted.delay_ms, self.delay * 1_000);
                        let sequence = Sequence::new(Channel::Book, granted.epoch, granted.sequence);
                        let (bids, asks, checked) = Default::default();
                        self.held = Some(Held { sequence, bids, asks, checked, is_whole: false });
                    }
                }
                Message::Record(record) => self.record(&record, rig.now, venue),
                _ => {}
            }
        }
    }

    fn record(&mut self, record: &Record, now: u64, venue: &Venue) {
        let held = self.held.as_mut().expect("what comes was granted");
        match &record.body {
            Body::Gap(gap) => {
                held.sequence.gap(gap);
                held.is_whole = false;
                held.checked.reset();
            }
            Body::Book(book) => {
                let verdict = held.sequence.record(record.into());
                assert!(matches!(verdict, Verdict::News | Verdict::State), "{verdict:?} {record:?}");
                assert!(held.is_whole || book.snapshot, "a change of a book that is not there");
                if book.snapshot {
                    (held.bids, held.asks, held.is_whole) = (Side::new(), Side::new(), true);
                }
                apply(&mut held.bids, &book.bids);
                apply(&mut held.asks, &book.asks);
                held.checked.apply(record.sequence, book).expect("it applies, and its checksum is right");
                let epoch = held.sequence.position().0;
                let (at, bids, asks) = &venue.was[&(epoch, record.sequence)];
                assert!(at + self.delay * SECOND <= now, "it is too young");
                let levels = self.depth.map_or(usize::MAX, |levels| levels as usize);
                let best_bids: Side = bids.iter().rev().take(levels).map(|(p, s)| (*p, *s)).collect();
                let best_asks: Side = asks.iter().take(levels).map(|(p, s)| (*p, *s)).collect();
                assert_eq!((&held.bids, &held.asks), (&best_bids, &best_asks), "{record:?}");
            }
            _ => panic!("{record:?}"),
        }
    }
}

struct World {
    rig: Rig,
    venue: Venue,
    viewers: Vec<Viewer>,
}

impl World {
    fn new() -> Self {
        // A depth that nobody has any more counts until it was not used for a while.
        let depths = 30;
        let mut rig =
            Rig::new(EngineLimits { log_records_per_topic: 8, linger_ns: SECOND, depths, ..limits() });
        let viewers = VIEWERS.map(|(depth, delay, encoding)| Viewer {
            client: rig.open_for(of(vec![to(depth, delay)]), encoding),
            depth,
            delay,
            held: None,
        });
        let mut world = Self {
            rig,
            venue: Venue { epoch: 7, ..Venue::default() },
            viewers: viewers.into_iter().collect(),
        };
        world.venue.passed(world.rig.now);
        (0..VIEWERS.len()).for_each(|at| world.subscribe(at));
        world
    }

    fn subscribe(&mut self, at: usize) {
        self.rig.send(self.viewers[at].client, &subscribe(1, "book", &["sim:A"]));
    }

    fn say(&mut self, body: Body) {
        let (epoch, sequence) = (self.venue.epoch, self.venue.sequence);
        let record = Record { receive_time: self.rig.now, ..self.rig.record(0, sequence, body) };
        let info = Arc::clone(&self.rig.infos[0]);
        let mut bytes = Vec::new();
        encode_message(Encoding::Proto, &Message::Record(record), &info.scale, &mut bytes);
        let numbers = (sequence, sequence);
        let update = Update::from_bus(info, Channel::Book, epoch, numbers, Encoding::Proto, &bytes);
        self.venue.passed(self.rig.now);
        self.rig.event(Event::Update(Arc::new(update.at(self.rig.now))));
    }

    fn step(&mut self, [what, a, b]: [u8; 3]) {
        let at = usize::from(b) % VIEWERS.len();
        match what % 20 {
            0..=9 => {
                let price = |n: u8| i64::from(n % 12);
                let (mut bids, mut asks) = (Vec::new(), Vec::new());
                for n in 0..=a % 3 {
                    let one = level(price(b.wrapping_mul(n + 1)), u64::from(a.wrapping_add(n) % 3));
                    if (a ^ n) & 4 == 0 {
                        bids.push(one);
                    } else {
                        asks.push(level(one.price + 20, one.size));
                    }
                }
                let is_first = self.venue.sequence == 0;
                self.venue.sequence += 1;
                apply(&mut self.venue.bids, &bids);
                apply(&mut self.venue.asks, &asks);
                let body = if is_first { self.venue.whole() } else { change(&bids, &asks) };
                self.say(body);
            }
            10 => {
                // A whole book comes in the middle of changes.
                self.venue.sequence += 1;
                self.venue.bids.retain(|price, _| u8::try_from(*price).is_ok_and(|p| p % 3 != a % 3));
                let body = self.venue.whole();
                self.say(body);
            }
            11 if self.venue.sequence > 0 => {
                let (first, last) = (self.venue.sequence + 1, self.venue.sequence + u64::from(a % 3) + 1);
                self.rig.gap(0, Channel::Book, GapCause::Bus, first, last, self.venue.epoch);
                self.venue.sequence = last + 1;
                self.venue.asks.insert(20 + i64::from(b % 12), 7);
                let body = self.venue.whole();
                self.say(body);
            }
            12 if self.venue.sequence > 0 => {
                // The ingester starts anew.
                let (first, epoch) = (self.venue.sequence + 1, self.venue.epoch + 1);
                self.rig.gap(0, Channel::Book, GapCause::Ingest, first, 0, epoch);
                (self.venue.epoch, self.venue.sequence) = (epoch, 1);
                let body = self.venue.whole();
                self.say(body);
            }
            13 if self.venue.sequence > 0 => self.state(),
            14 => self.pass(u64::from(a) % 8),
            15 => {
                self.viewers[at].read(&mut self.rig, &self.venue);
                self.viewers[at].held = None;
                let (channel, symbols) = ("book".to_owned(), vec!["sim:A".to_owned()]);
                let unsubscribe = Command::Unsubscribe(Unsubscribe { id: 2, channel, symbols });
                self.rig.send(self.viewers[at].client, &unsubscribe);
                self.subscribe(at);
            }
            16 => {
                // A new token shows more or less of it.
                let depth = [None, Some(1), Some(3), Some(4)][usize::from(a % 4)];
                let viewer = &mut self.viewers[at];
                viewer.read(&mut self.rig, &self.venue);
                let token = Command::Token(Token { id: 9, token: "not looked at".to_owned() });
                self.rig.send(viewer.client, &token);
                self.rig.engine.take_tokens();
                let principal = Arc::new(of(vec![to(depth, viewer.delay)]));
                self.rig.engine.identify(viewer.client.key, 9, Ok(principal), self.rig.now);
                if std::mem::replace(&mut viewer.depth, depth) != depth {
                    viewer.read(&mut self.rig, &self.venue);
                    assert!(viewer.held.is_none(), "it ended");
                    self.subscribe(at);
                }
            }
            _ => self.viewers[at].read(&mut self.rig, &self.venue),
        }
        self.answer();
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            // A client that is never heard would be closed.
            for viewer in &self.viewers {
                self.rig.engine.on_pong(viewer.client.key, b"", self.rig.now);
            }
            self.rig.pass(1);
        }
    }

    /// Mends something by a state, as the hub does.
    fn state(&mut self) {
        let topic = TopicId::new(0, Channel::Book);
        let (epoch, sequence) = (self.venue.epoch, self.venue.sequence);
        let (at, ..) = self.venue.was[&(epoch, sequence)];
        let body = self.venue.whole();
        let record = Record { receive_time: at, ..self.rig.record(0, sequence, body) };
        let update = Update::from_record(Arc::clone(&self.rig.infos[0]), epoch, sequence, record);
        let records = if sequence > 0 { vec![Arc::new(update)] } else { Vec::new() };
        self.rig.event(Event::State(Arc::new(TopicState { topic, epoch, sequence, records })));
    }

    fn answer(&mut self) {
        let interests: Vec<_> = self.rig.engine.take_interests().collect();
        if interests.iter().any(|interest| matches!(interest, TopicInterest::Want(_))) {
            self.state();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// After each record, the client's book is exactly the best levels of the venue's.
    #[test]
    fn the_book_of_a_client_is_the_best_levels(steps in prop::collection::vec(any::<[u8; 3]>(), 1..250)) {
        let mut world = World::new();
        world.answer();
        for step in steps {
            world.step(step);
        }
        for _ in 0..2 * DELAY {
            world.pass(1);
            for viewer in &mut world.viewers {
                viewer.read(&mut world.rig, &world.venue);
            }
            world.answer();
        }
        for viewer in &world.viewers {
            let held = viewer.held.as_ref().expect("everybody is granted it by now");
            let levels = viewer.depth.map_or(usize::MAX, |levels| levels as usize);
            let best: Vec<_> = world.venue.bids.iter().rev().take(levels).map(|(p, s)| (*p, *s)).collect();
            prop_assert_eq!(held.bids.iter().rev().map(|(p, s)| (*p, *s)).collect::<Vec<_>>(), best);
        }
    }
}
