//! The matrix of entitlements: who × what × encoding × delay × depth × revocation × resume × wildcard, generated, against the real engine.
//! Nothing that is not granted is ever delivered or named, and nothing is younger than the delay: every byte that goes out is searched
//! for the names that its reader may not know.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_core::engine::{Engine, EngineLimits, Entitlement, Opening, Pattern, Principal, own_dialect};
use tickwire_core::vocabulary::{
    Ended, Event, FeedStatus, InstrumentInfo, TopicInterest, TopicState, Update, VenueIndex,
};
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Body, BookState, Channel, Command, Encoding, FeedState, Level, Message, Record, Resume, ResumePosition,
    Scale, SymbolName, Token, TradingState, Unsubscribe, encode_command, encode_message,
};

use super::rig::{
    CLOSE, EPOCH, SECOND, change, level, limits, parse_frames, quote, snapshot, status, subscribe, trade,
};

/// The names that there are or may come to be. None of them is a part of another one, or of any other text.
const NAMES: [&str; 7] =
    ["sim:ALFA", "sim:ALBERT", "sim:BRAVO", "sim:CHARLIE", "dark:OMEGA", "sim:ALDELTA", "dark:ZULU"];

/// So many of them are listed from the beginning.
const LISTED: usize = 5;

const CHANNELS: [Channel; 4] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Status];

const VENUES: [&str; 2] = ["sim", "dark"];

/// The id of commands that set a rate.
const SET_RATE: u64 = 5;

/// A `subscribe` is answered within this time, in nanoseconds.
const RESPONSE: u64 = 6 * SECOND;

/// The delays, in seconds, the longest one last.
const DELAYS: [u64; 3] = [0, 3, 20];

fn principal(name: &str, entitlements: &[Entitlement]) -> Principal {
    let entitlements = entitlements.to_vec();
    Principal { name: name.to_owned(), entitlements, ..Principal::clone(&Principal::anonymous()) }
}

fn entitlement() -> impl Strategy<Value = Entitlement> {
    let symbols = prop_oneof![
        Just(Pattern::All),
        prop::sample::select(&["ALFA", "BRAVO", "OMEGA"][..]).prop_map(|name| Pattern::Is(name.to_owned())),
        Just(Pattern::Begins("AL".to_owned())),
    ];
    let venues = prop_oneof![
        3 => Just(Pattern::Is("sim".to_owned())),
        1 => Just(Pattern::Is("dark".to_owned())),
        1 => Just(Pattern::All),
    ];
    let channels = prop_oneof![
        1 => Just(None),
        3 => prop::sample::subsequence(CHANNELS.to_vec(), 1..=CHANNELS.len()).prop_map(Some),
    ];
    let depth = prop::sample::select(&[None, Some(1), Some(3)][..]);
    (venues, symbols, channels, prop::sample::select(&DELAYS[..]), depth).prop_map(
        |(venues, symbols, channels, seconds, depth)| Entitlement {
            venues,
            symbols,
            channels,
            delay_ns: seconds * SECOND,
            depth,
        },
    )
}

fn entitlements() -> impl Strategy<Value = Vec<Entitlement>> {
    prop::collection::vec(entitlement(), 0..4)
}

#[derive(Clone, Debug)]
enum Op {
    Subscribe {
        channel: usize,
        name: usize,
    },
    SubscribeAll {
        channel: usize,
        venue: usize,
    },
    Unsubscribe {
        channel: usize,
        name: usize,
    },
    UnsubscribeAll {
        channel: usize,
        venue: usize,
    },
    /// Names that are nearly those of instruments, and such as nobody has.
    Guess {
        channel: usize,
    },
    SetRate {
        channel: usize,
        name: usize,
    },
    Ledger,
    Token(Vec<Entitlement>),
    /// The session's tokens are revoked, and it comes back with another one and with all the positions that it ever saw.
    Revoke(Vec<Entitlement>),
    /// The session reads nothing for a while, or reads again.
    Read(bool),
    List,
    End(usize),
    Feed(usize),
    Publish(u8),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (channel, name, venue) = (0..CHANNELS.len(), 0..NAMES.len(), 0..VENUES.len());
    let both = (channel.clone(), name.clone());
    let all = (channel.clone(), venue.clone());
    prop_oneof![
        6 => both.clone().prop_map(|(channel, name)| Op::Subscribe { channel, name }),
        4 => all.clone().prop_map(|(channel, venue)| Op::SubscribeAll { channel, venue }),
        1 => both.clone().prop_map(|(channel, name)| Op::Unsubscribe { channel, name }),
        1 => all.prop_map(|(channel, venue)| Op::UnsubscribeAll { channel, venue }),
        2 => channel.prop_map(|channel| Op::Guess { channel }),
        1 => both.prop_map(|(channel, name)| Op::SetRate { channel, name }),
        1 => Just(Op::Ledger),
        3 => entitlements().prop_map(Op::Token),
        1 => entitlements().prop_map(Op::Revoke),
        2 => any::<bool>().prop_map(Op::Read),
        1 => Just(Op::List),
        1 => name.prop_map(Op::End),
        1 => venue.prop_map(Op::Feed),
        8 => any::<u8>().prop_map(Op::Publish),
        5 => (0..9_u64).prop_map(Op::Pass),
    ]
}

/// One instrument: what was published of it, and when.
struct Instrument {
    info: Arc<InstrumentInfo>,
    is_over: bool,
    /// The time of each sequence number, by channel.
    times: HashMap<Channel, Vec<u64>>,
    last: HashMap<Channel, Body>,
    book: BookState,
}

/// A session, and what it is to be told only of.
struct Viewer {
    key: tickwire_core::engine::SessionKey,
    encoding: Encoding,
    /// Those that it belonged to since it was last read, the present one last.
    owners: Vec<Principal>,
    /// Those before, with the time until which a response to what was asked then may come.
    before: Vec<(u64, Principal)>,
    reads: bool,
    /// The names in its own commands, with the time until which a response may come.
    asked: Vec<(u64, String)>,
    /// Positions that it saw.
    seen: Vec<ResumePosition>,
    books: HashMap<u32, BookState>,
    /// The last sequence number that came, by name and channel.
    got: BTreeMap<(String, Channel), u64>,
}

struct Matrix {
    engine: Engine,
    now: u64,
    instruments: Vec<Instrument>,
    viewers: Vec<Viewer>,
    opened: usize,
}

impl Matrix {
    fn new(viewers: Vec<(Encoding, Vec<Entitlement>)>) -> Self {
        let limits = EngineLimits { log_records_per_topic: 16, linger_ns: 2 * SECOND, ..limits() };
        let engine = Engine::new(limits, "tickwire/test");
        let mut matrix =
            Self { engine, now: 1_000 * SECOND, instruments: Vec::new(), viewers: Vec::new(), opened: 0 };
        (0..VENUES.len()).for_each(|venue| matrix.feed(venue, FeedState::Live));
        (0..LISTED).for_each(|_| matrix.list());
        for (encoding, entitlements) in viewers {
            let owner = principal("desk", &entitlements);
            let viewer = Viewer {
                key: matrix.open(&owner, encoding),
                encoding,
                owners: vec![owner],
                before: Vec::new(),
                reads: true,
                asked: Vec::new(),
                seen: Vec::new(),
                books: HashMap::new(),
                got: BTreeMap::new(),
            };
            matrix.viewers.push(viewer);
        }
        matrix
    }

    fn open(&mut self, owner: &Principal, encoding: Encoding) -> tickwire_core::engine::SessionKey {
        self.opened += 1;
        let opening = Opening {
            dialect: own_dialect(encoding),
            principal: Arc::new(owner.clone()),
            ..Opening::anonymous(format!("s{}", self.opened), encoding)
        };
        self.engine.open(opening, self.now)
    }

    fn feed(&mut self, venue: usize, state: FeedState) {
        let (venue, name) = (VenueIndex(venue as u16), VENUES[venue].into());
        let feed = FeedStatus { venue, name, state, since: self.now, reason: "".into() };
        self.engine.on_event(&Event::Feed(Arc::new(feed)), self.now);
    }

    fn list(&mut self) {
        let index = self.instruments.len() as u32;
        let Some(name) = NAMES.get(index as usize) else { return };
        let name = SymbolName::parse(name).unwrap();
        let venue = VENUES.iter().position(|venue| *venue == name.venue).unwrap();
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
        // Those that are there from the beginning are old.
        let listed = if (index as usize) < LISTED { 0 } else { self.now };
        let venue = VenueIndex(venue as u16);
        let info = Arc::new(InstrumentInfo { index, id: 100 + index, listed, venue, name, scale });
        let (times, last, book) = Default::default();
        self.instruments.push(Instrument { info: Arc::clone(&info), is_over: false, times, last, book });
        self.engine.on_event(&Event::Instrument(info), self.now);
    }

    fn publish(&mut self, index: usize, channel: Channel, salt: u8) {
        let now = self.now;
        let one = &mut self.instruments[index];
        if one.is_over {
            return;
        }
        let times = one.times.entry(channel).or_default();
        times.push(now);
        let number = times.len() as u64;
        let body = match channel {
            Channel::Quote => quote(number as i64),
            Channel::Trade => trade(number as i64),
            Channel::Book if number == 1 => {
                let bids: Vec<_> = (1..=5).rev().map(|price| level(price, 1)).collect();
                snapshot(&bids, &[level(11, 1), level(12, 1), level(13, 1), level(14, 1)])
            }
            Channel::Book => {
                let (price, size) = (i64::from(salt % 8), u64::from(salt / 8 % 3));
                change(&[level(price, size)], &[level(price + 10, 2 - size)])
            }
            _ => status(TradingState::Open),
        };
        if let Body::Book(book) = &body {
            one.book.apply(number, book).expect("it follows");
        }
        one.last.insert(channel, body.clone());
        let info = Arc::clone(&one.info);
        let (event_time, receive_time) = (now, now);
        let record = Record { instrument: info.id, sequence: number, event_time, receive_time, body };
        let mut bytes = Vec::new();
        encode_message(Encoding::Proto, &Message::Record(record), &info.scale, &mut bytes);
        let update = Update::from_bus(info, channel, EPOCH, (number, number), Encoding::Proto, &bytes);
        self.engine.on_event(&Event::Update(Arc::new(update.at(now))), now);
    }

    fn end(&mut self, index: usize) {
        let Some(one) = self.instruments.get_mut(index).filter(|one| !one.is_over) else { return };
        one.is_over = true;
        let ended = Ended { instrument: index as u32, reason: "it expired".into(), may_retry: false };
        self.engine.on_event(&Event::Ended(Arc::new(ended)), self.now);
    }

    /// Answers as the hub does: with what the ingester knows, and when it received it.
    fn answer(&mut self) {
        let interests: Vec<_> = self.engine.take_interests().collect();
        for interest in interests {
            let TopicInterest::Want(topic) = interest else { continue };
            let one = &self.instruments[topic.instrument_index() as usize];
            if one.is_over {
                continue;
            }
            let channel = topic.channel();
            let times = one.times.get(&channel).map_or(&[][..], Vec::as_slice);
            let number = times.len() as u64;
            let body = match channel {
                Channel::Book if number > 0 => Some(Body::Book(one.book.to_snapshot())),
                // The state of trades says no more than their sequence number.
                Channel::Trade => None,
                _ => one.last.get(&channel).cloned(),
            };
            let record = body.zip(times.last()).map(|(body, at)| {
                let (instrument, sequence) = (one.info.id, number);
                let record = Record { instrument, sequence, event_time: *at, receive_time: *at, body };
                Arc::new(Update::from_record(Arc::clone(&one.info), EPOCH, number, record))
            });
            let state =
                TopicState { topic, epoch: EPOCH, sequence: number, records: record.into_iter().collect() };
            self.engine.on_event(&Event::State(Arc::new(state)), self.now);
        }
    }

    fn send(&mut self, at: usize, command: &Command) {
        let viewer = &mut self.viewers[at];
        let asked = match command {
            Command::Subscribe(command) => &command.symbols[..],
            Command::Unsubscribe(command) => &command.symbols,
            Command::SetRate(command) => &command.symbols,
            _ => &[],
        };
        viewer.asked.extend(asked.iter().map(|name| (self.now + RESPONSE, name.clone())));
        let mut bytes = Vec::new();
        encode_command(viewer.encoding, command, &mut bytes);
        self.engine.on_message(viewer.key, &bytes, self.now);
    }

    fn step(&mut self, at: usize, op: Op) {
        let named =
            |channel: usize, symbol: &str| (CHANNELS[channel].name().to_owned(), vec![symbol.to_owned()]);
        match op {
            Op::Subscribe { channel, name } => {
                self.send(at, &subscribe(1, CHANNELS[channel].name(), &[NAMES[name]]));
            }
            Op::SubscribeAll { channel, venue } => {
                let all = format!("{}:*", VENUES[venue]);
                self.send(at, &subscribe(2, CHANNELS[channel].name(), &[&all]));
            }
            Op::Unsubscribe { channel, name } => {
                let (channel, symbols) = named(channel, NAMES[name]);
                self.send(at, &Command::Unsubscribe(Unsubscribe { id: 3, channel, symbols }));
            }
            Op::UnsubscribeAll { channel, venue } => {
                let (channel, symbols) = named(channel, &format!("{}:*", VENUES[venue]));
                self.send(at, &Command::Unsubscribe(Unsubscribe { id: 3, channel, symbols }));
            }
            Op::Guess { channel } => {
                let guesses =
                    ["sim:alfa", "sim:bravo", "dark:omega", "sim:nobody", "void:x", "sim", "void:*"];
                self.send(at, &subscribe(4, CHANNELS[channel].name(), &guesses));
            }
            Op::SetRate { channel, name } => {
                let (channel, symbols) = named(channel, NAMES[name]);
                let rate = tickwire_wire::SetRate { id: SET_RATE, channel, symbols, max_rate: 2.0 };
                self.send(at, &Command::SetRate(rate));
            }
            Op::Ledger => self.send(at, &Command::Ledger(tickwire_wire::LedgerRequest { id: 6 })),
            Op::Token(entitlements) => {
                self.send(at, &Command::Token(Token { id: 9, token: "not looked at".to_owned() }));
                self.engine.take_tokens();
                let owner = principal("desk", &entitlements);
                let key = self.viewers[at].key;
                self.engine.identify(key, 9, Ok(Arc::new(owner.clone())), self.now);
                self.viewers[at].owners.push(owner);
            }
            Op::Revoke(entitlements) => self.revoke(at, &entitlements),
            Op::Read(reads) => self.viewers[at].reads = reads,
            Op::List => self.list(),
            Op::End(index) => self.end(index),
            Op::Feed(venue) => {
                let state = [FeedState::Live, FeedState::Down][at % 2];
                self.feed(venue, state);
            }
            Op::Publish(salt) => {
                for index in 0..self.instruments.len() {
                    for channel in CHANNELS {
                        self.publish(index, channel, salt.wrapping_add(index as u8));
                    }
                }
            }
            Op::Pass(seconds) => self.pass(seconds),
        }
        self.answer();
        self.read();
    }

    fn revoke(&mut self, at: usize, entitlements: &[Entitlement]) {
        let key = self.viewers[at].key;
        let mine = Arc::clone(self.engine.principal(key).expect("it is open"));
        self.engine.revoke(&|principal| std::ptr::eq(principal, &raw const *mine), self.now);
        self.viewers[at].reads = true;
        self.read_one(at);
        self.engine.ended(key, self.now);
        let owner = principal("desk", entitlements);
        let encoding = self.viewers[at].encoding;
        let key = self.open(&owner, encoding);
        let viewer = &mut self.viewers[at];
        (viewer.key, viewer.owners) = (key, vec![owner]);
        viewer.before.clear();
        viewer.books.clear();
        let positions: Vec<_> = std::mem::take(&mut viewer.seen).into_iter().rev().take(40).collect();
        let commands: Vec<_> = positions.iter().map(|p| subscribe(7, &p.channel, &[&p.symbol])).collect();
        self.send(at, &Command::Resume(Resume { id: 8, positions }));
        for command in commands {
            self.send(at, &command);
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += SECOND;
            // A client that is never heard would be closed.
            for viewer in &self.viewers {
                self.engine.on_ping(viewer.key, b"", self.now);
            }
            self.engine.on_timer(self.now);
            self.engine.tick(self.now);
            self.answer();
            self.read();
        }
    }

    fn read(&mut self) {
        for at in 0..self.viewers.len() {
            if self.viewers[at].reads {
                self.read_one(at);
            }
        }
    }

    fn read_one(&mut self, at: usize) {
        let key = self.viewers[at].key;
        let mut bytes = Vec::new();
        for _ in 0..1_000 {
            let filled = self.engine.fill(key, self.now, &WebSocket, &mut bytes);
            self.engine.unsent(key, 0, self.now);
            if !filled.more {
                break;
            }
        }
        let (instruments, now, viewer) = (&self.instruments, self.now, &mut self.viewers[at]);
        for frame in parse_frames(&bytes) {
            Told { instruments, now, viewer }.check_bytes(&frame.payload);
            if frame.opcode < CLOSE {
                for message in frame.messages(viewer.encoding) {
                    take(viewer, instruments, now, &message);
                }
            }
        }
        viewer.asked.retain(|(until, _)| *until >= now);
        let last = viewer.owners.len() - 1;
        let replaced = viewer.owners.drain(..last).map(|owner| (now + RESPONSE, owner));
        viewer.before.extend(replaced);
        viewer.before.retain(|(until, _)| *until >= now);
    }

    /// At the end everybody gets exactly what is granted, so the checks above did not pass because nothing came.
    fn finish(mut self) {
        // All listings are old enough for everybody.
        self.pass(DELAYS[2] + 1);
        for at in 0..self.viewers.len() {
            self.viewers[at].reads = true;
            for channel in CHANNELS {
                self.send(at, &subscribe(20, channel.name(), &NAMES));
            }
        }
        self.answer();
        self.read();
        self.pass(DELAYS[2] + 2);
        for index in 0..self.instruments.len() {
            for channel in CHANNELS {
                self.publish(index, channel, 3);
            }
        }
        self.pass(DELAYS[2] + 2);
        for viewer in &self.viewers {
            let owner = viewer.owners.last().unwrap();
            for one in self.instruments.iter().filter(|one| !one.is_over) {
                for channel in CHANNELS {
                    let key = (one.info.name.to_string(), channel);
                    let Some(sight) = owner.sight(&one.info.name, channel) else { continue };
                    if channel == Channel::Book {
                        let levels = sight.depth.map_or(usize::MAX, |levels| levels as usize);
                        let book =
                            viewer.books.get(&one.info.id).unwrap_or_else(|| panic!("no book of {key:?}"));
                        assert!(book.is_synced() && book.bids().eq(one.book.bids().take(levels)), "{key:?}");
                        assert!(book.asks().eq(one.book.asks().take(levels)), "{key:?}");
                    } else {
                        let last = viewer.got.get(&key).copied();
                        assert_eq!(last, Some(one.times[&channel].len() as u64), "{key:?}");
                    }
                }
            }
        }
    }
}

/// The bytes that a reader is told now.
struct Told<'a> {
    instruments: &'a [Instrument],
    now: u64,
    viewer: &'a Viewer,
}

impl Told<'_> {
    /// Returns whether the reader may know that a name exists: by any channel, when its listing is old enough, or because it said
    /// the name itself.
    fn may_know(&self, name: &str) -> bool {
        if self.viewer.asked.iter().any(|(_, asked)| asked == name) {
            return true;
        }
        let Some(one) = self.instruments.iter().find(|one| one.info.scale.symbol == name) else {
            return false;
        };
        let sees = |owner: &Principal| {
            let sights = Channel::ALL.into_iter().filter_map(|channel| owner.sight(&one.info.name, channel));
            sights.map(|sight| sight.delay_ns).min().is_some_and(|delay| one.info.listed + delay <= self.now)
        };
        self.owners().any(sees)
    }

    /// Returns those whose names may be in what is told now.
    fn owners(&self) -> impl Iterator<Item = &Principal> {
        self.viewer.owners.iter().chain(self.viewer.before.iter().map(|(_, owner)| owner))
    }

    /// Searches what goes out for names.
    fn check_bytes(&self, bytes: &[u8]) {
        for name in NAMES {
            let symbol = name.split_once(':').expect("it has a venue").1;
            let is_there = bytes.windows(symbol.len()).any(|part| part == symbol.as_bytes());
            let text = String::from_utf8_lossy(bytes);
            assert!(!is_there || self.may_know(name), "{name} is named to {:?}: {text}", self.viewer.owners);
        }
        let is_there = bytes.windows(4).any(|part| part == b"dark");
        let text = String::from_utf8_lossy(bytes);
        assert!(
            !is_there || self.may_know_venue("dark"),
            "dark is named to {:?}: {text}",
            self.viewer.owners
        );
    }

    fn may_know_venue(&self, venue: &str) -> bool {
        let sees = |owner: &Principal| {
            Channel::ALL
                .into_iter()
                .any(|channel| owner.permit_venue(venue, channel) != tickwire_core::engine::Permit::Nothing)
        };
        let asked = |(_, name): &(u64, String)| name.starts_with(&format!("{venue}:"));
        self.owners().any(sees) || self.viewer.asked.iter().any(asked)
    }
}

/// Takes a message, and checks that its reader may have it, and that it is old enough.
fn take(viewer: &mut Viewer, instruments: &[Instrument], now: u64, message: &Message) {
    let by_id = |id: u32| &instruments[id as usize - 100];
    let published = |one: &Instrument, channel: Channel, then: u64| {
        one.times.get(&channel).map_or(0, |times| times.partition_point(|at| *at <= then) as u64)
    };
    let owner = viewer.owners.last().expect("it has one").clone();
    // A position is as old as the delay of one of its owners since it was last read: what ends says how far it was.
    let is_old = |one: &Instrument, channel: Channel, sequence: u64| {
        let sights = viewer.owners.iter().filter_map(|owner| owner.sight(&one.info.name, channel));
        let mut delays = sights.map(|sight| sight.delay_ns);
        delays.any(|delay| sequence <= published(one, channel, now.saturating_sub(delay)))
    };
    match message {
        Message::Record(Record { instrument, body: Body::Gap(gap), .. }) => {
            let one = by_id(*instrument);
            assert!(is_old(one, gap.channel(), gap.last_sequence), "{gap:?}");
            if gap.channel() == Channel::Book {
                viewer.books.entry(*instrument).or_default().reset();
            }
        }
        Message::Record(record) => {
            let (one, channel) = (by_id(record.instrument), record.channel());
            // The last record of a critical channel goes with its grant; it was written when that was said.
            let is_said = channel == Channel::Status;
            let may = |owner: &Principal| {
                let sight = owner.sight(&one.info.name, channel);
                sight.is_some_and(|sight| record.receive_time + sight.delay_ns <= now)
            };
            assert!(
                may(&owner) || (is_said && viewer.owners.iter().any(may)),
                "{record:?} goes to {owner:?} at {now}"
            );
            if let Body::Book(book) = &record.body {
                let depth = owner.sight(&one.info.name, channel).and_then(|sight| sight.depth);
                let deepest = depth.map_or(usize::MAX, |levels| levels as usize);
                let known = viewer.books.entry(record.instrument).or_default();
                known.apply(record.sequence, book).expect("it applies, and its checksum is right");
                assert!(known.bids().len() <= deepest && known.asks().len() <= deepest, "{record:?}");
                let set = |levels: &[Level]| levels.iter().filter(|level| level.size > 0).count();
                assert!(set(&book.bids) <= deepest && set(&book.asks) <= deepest, "{record:?}");
            }
            viewer.got.insert((one.info.name.to_string(), channel), record.sequence);
        }
        Message::Subscribed(subscribed) => {
            for granted in &subscribed.granted {
                let one = by_id(granted.instrument);
                let channel = granted.channel();
                assert_eq!(one.info.scale.symbol, granted.symbol);
                let is_one = |owner: &Principal| {
                    owner.sight(&one.info.name, channel).is_some_and(|sight| {
                        let is_late = granted.delay_ms * 1_000_000 >= sight.delay_ns;
                        let is_shallow = sight.depth.is_none_or(|most| (1..=most).contains(&granted.depth));
                        let then = now - granted.delay_ms * 1_000_000;
                        is_late && is_shallow && granted.sequence <= published(one, channel, then)
                    })
                };
                assert!(viewer.owners.iter().any(is_one), "{granted:?} to {:?}", viewer.owners);
                // A new rate is no new beginning.
                if channel == Channel::Book && subscribed.id != SET_RATE {
                    viewer.books.remove(&granted.instrument);
                }
                viewer.seen.push(ResumePosition {
                    channel: channel.name().to_owned(),
                    symbol: granted.symbol.clone(),
                    epoch: granted.epoch,
                    sequence: granted.sequence,
                });
            }
        }
        Message::Heartbeat(heartbeat) => {
            for position in &heartbeat.positions {
                let channel = Channel::try_from(position.channel).expect("a channel");
                let one = by_id(position.instrument);
                assert!(is_old(one, channel, position.sequence), "{position:?}");
            }
        }
        _ => {}
    }
}

fn viewer() -> impl Strategy<Value = (Encoding, Vec<Entitlement>)> {
    (prop::sample::select(&Encoding::ALL[..]), entitlements())
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn nothing_that_is_not_granted_is_delivered_or_named_and_nothing_is_too_young(
        viewers in prop::collection::vec(viewer(), 1..4),
        ops in prop::collection::vec((0..3_usize, op()), 1..60),
    ) {
        let mut matrix = Matrix::new(viewers);
        for (at, op) in ops {
            let at = at % matrix.viewers.len();
            matrix.step(at, op);
        }
        matrix.finish();
    }
}
