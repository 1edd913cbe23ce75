//! The matrix of entitlements: who × what × encoding × delay × depth × rate × new tokens × revocation × resume × wildcard × how little there
//! is of what all share, generated, against the real engine.
//! Nothing that is not granted is ever delivered or named, and nothing is younger than the delay: every byte that goes out is searched
//! for the names that its reader may not know. What is granted is right, and what nobody has any more is given back.

mod held;
mod market;
mod told;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use proptest::prelude::*;
use tickwire_core::engine::{
    Engine, EngineLimits, Entitlement, Opening, Pattern, Principal, SessionKey, own_dialect,
};
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    BookState, Channel, CloseCode, Command, Encoding, FeedState, Message, Resume, ResumePosition, Token,
    Unsubscribe, encode_command,
};

use super::rig::{CLOSE, EPOCH, SECOND, limits, parse_frames, subscribe, subscribe_at};
use market::Instrument;
use told::{Told, take};

/// The names that there are or may come to be. None of them is a part of another one, or of any other text.
const NAMES: [&str; 8] = [
    "sim:ALFA",
    "sim:ALBERT",
    "sim:BRAVO",
    "sim:CHARLIE",
    "dark:OMEGA",
    "sim:ALDELTA",
    "dark:ZULU",
    "nova:LIMA",
];

/// So many of them are listed from the beginning.
const LISTED: usize = 5;

const CHANNELS: [Channel; 4] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Status];

const VENUES: [&str; 3] = ["sim", "dark", "nova"];

/// So many of them are heard of from the beginning.
const HEARD: usize = 2;

/// The rates that are asked for.
const RATES: [f64; 3] = [0.0, 2.0, 50.0];

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
        prop::sample::select(&["AL", "al"][..]).prop_map(|start| Pattern::Begins(start.to_owned())),
    ];
    let venues = prop_oneof![
        4 => Just(Pattern::Is("sim".to_owned())),
        1 => Just(Pattern::Is("dark".to_owned())),
        1 => Just(Pattern::Is("nova".to_owned())),
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

fn owner() -> impl Strategy<Value = Principal> {
    let rates = prop_oneof![2 => Just(f64::INFINITY), 1 => Just(5.0), 1 => Just(0.5)];
    (prop::collection::vec(entitlement(), 0..4), rates)
        .prop_map(|(entitlements, rate_max)| Principal { rate_max, ..principal("desk", &entitlements) })
}

/// Returns limits of what all sessions share.
fn shared() -> impl Strategy<Value = EngineLimits> {
    let plenty = EngineLimits { log_records_per_topic: 16, linger_ns: 2 * SECOND, ..limits() };
    let (few, small) = (plenty.clone(), plenty.clone());
    prop_oneof![
        3 => Just(plenty),
        1 => Just(EngineLimits { delays: 1, depths: 2, ..few }),
        1 => (20_usize..60).prop_map(move |book_levels| EngineLimits { book_levels, ..small.clone() }),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Subscribe {
        channel: usize,
        name: usize,
        rate: usize,
    },
    SubscribeAll {
        channel: usize,
        venue: usize,
        rate: usize,
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
    SetRateOfAll {
        channel: usize,
        venue: usize,
    },
    /// A position that the session may never have seen.
    Resume {
        channel: usize,
        name: usize,
    },
    Ledger,
    Token(Principal),
    /// The API key of the session grants something else now.
    Regrant(Principal),
    /// The session's tokens are revoked, and it comes back with another one and with all the positions that it ever saw.
    Revoke(Principal),
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
    let rate = 0..RATES.len();
    prop_oneof![
        6 => (both.clone(), rate.clone())
            .prop_map(|((channel, name), rate)| Op::Subscribe { channel, name, rate }),
        4 => (all.clone(), rate).prop_map(|((channel, venue), rate)| Op::SubscribeAll { channel, venue, rate }),
        1 => both.clone().prop_map(|(channel, name)| Op::Unsubscribe { channel, name }),
        1 => all.clone().prop_map(|(channel, venue)| Op::UnsubscribeAll { channel, venue }),
        1 => all.prop_map(|(channel, venue)| Op::SetRateOfAll { channel, venue }),
        2 => channel.prop_map(|channel| Op::Guess { channel }),
        1 => both.clone().prop_map(|(channel, name)| Op::SetRate { channel, name }),
        1 => both.prop_map(|(channel, name)| Op::Resume { channel, name }),
        1 => Just(Op::Ledger),
        2 => owner().prop_map(Op::Token),
        1 => owner().prop_map(Op::Regrant),
        1 => owner().prop_map(Op::Revoke),
        2 => any::<bool>().prop_map(Op::Read),
        2 => Just(Op::List),
        1 => name.prop_map(Op::End),
        1 => venue.prop_map(Op::Feed),
        8 => any::<u8>().prop_map(Op::Publish),
        5 => (0..9_u64).prop_map(Op::Pass),
    ]
}

/// A session, and what it is to be told only of.
struct Viewer {
    key: SessionKey,
    encoding: Encoding,
    /// Those that it belonged to since it was last read, the present one last.
    owners: Vec<Principal>,
    /// Those before, with the time until which a response to what was asked then may come.
    before: Vec<(u64, Principal)>,
    reads: bool,
    /// Whether it has read all the time since it was last read, so that what it is told is told just now.
    is_prompt: bool,
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
    /// Whether there is enough of everything that sessions share.
    is_plenty: bool,
    now: u64,
    /// When each venue was heard of.
    heard: [Option<u64>; VENUES.len()],
    instruments: Vec<Instrument>,
    viewers: Vec<Viewer>,
    opened: usize,
}

impl Matrix {
    fn new(limits: EngineLimits, viewers: Vec<(Encoding, Principal)>) -> Self {
        let is_plenty = limits.delays > 1 && limits.book_levels > 1_000;
        let engine = Engine::new(limits, "tickwire/test");
        let mut matrix = Self {
            engine,
            is_plenty,
            now: 1_000 * SECOND,
            heard: [None; VENUES.len()],
            instruments: Vec::new(),
            viewers: Vec::new(),
            opened: 0,
        };
        (0..HEARD).for_each(|venue| matrix.feed(venue, FeedState::Live));
        (0..LISTED).for_each(|_| matrix.list());
        for (encoding, owner) in viewers {
            let viewer = Viewer {
                key: matrix.open(&owner, encoding),
                encoding,
                owners: vec![owner],
                before: Vec::new(),
                reads: true,
                is_prompt: true,
                asked: Vec::new(),
                seen: Vec::new(),
                books: HashMap::new(),
                got: BTreeMap::new(),
            };
            matrix.viewers.push(viewer);
        }
        matrix
    }

    fn open(&mut self, owner: &Principal, encoding: Encoding) -> SessionKey {
        self.opened += 1;
        let opening = Opening {
            dialect: own_dialect(encoding),
            principal: Arc::new(owner.clone()),
            ..Opening::anonymous(format!("s{}", self.opened), encoding)
        };
        self.engine.open(opening, self.now)
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
            Op::Subscribe { channel, name, rate } => {
                self.send(at, &subscribe_at(1, CHANNELS[channel].name(), &[NAMES[name]], RATES[rate]));
            }
            Op::SubscribeAll { channel, venue, rate } => {
                let all = format!("{}:*", VENUES[venue]);
                self.send(at, &subscribe_at(2, CHANNELS[channel].name(), &[&all], RATES[rate]));
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
                let guesses = [
                    "sim:alfa",
                    "sim:aldelta",
                    "dark:omega",
                    "sim:nobody",
                    "void:x",
                    "sim",
                    "void:*",
                    "nova:nobody",
                ];
                self.send(at, &subscribe(4, CHANNELS[channel].name(), &guesses));
            }
            Op::SetRate { channel, name } => {
                let (channel, symbols) = named(channel, NAMES[name]);
                let rate = tickwire_wire::SetRate { id: SET_RATE, channel, symbols, max_rate: 2.0 };
                self.send(at, &Command::SetRate(rate));
            }
            Op::SetRateOfAll { channel, venue } => {
                let (channel, symbols) = named(channel, &format!("{}:*", VENUES[venue]));
                let rate = tickwire_wire::SetRate { id: SET_RATE, channel, symbols, max_rate: 2.0 };
                self.send(at, &Command::SetRate(rate));
            }
            Op::Resume { channel, name } => {
                let (channel, symbol) = (CHANNELS[channel].name().to_owned(), NAMES[name].to_owned());
                let position = ResumePosition { channel, symbol, epoch: EPOCH, sequence: 0 };
                self.send(at, &Command::Resume(Resume { id: 8, positions: vec![position] }));
            }
            Op::Ledger => self.send(at, &Command::Ledger(tickwire_wire::LedgerRequest { id: 6 })),
            Op::Token(owner) => {
                self.send(at, &Command::Token(Token { id: 9, token: "not looked at".to_owned() }));
                self.engine.take_tokens();
                let key = self.viewers[at].key;
                self.engine.identify(key, 9, Ok(Arc::new(owner.clone())), self.now);
                self.viewers[at].owners.push(owner);
            }
            Op::Regrant(owner) => {
                self.engine.regrant(self.viewers[at].key, Arc::new(owner.clone()), self.now);
                self.viewers[at].owners.push(owner);
            }
            Op::Revoke(owner) => self.revoke(at, owner),
            Op::Read(reads) => {
                self.viewers[at].reads = reads;
                self.viewers[at].is_prompt &= reads;
            }
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
        self.check_held();
    }

    fn revoke(&mut self, at: usize, owner: Principal) {
        let key = self.viewers[at].key;
        let mine = Arc::clone(self.engine.principal(key).expect("it is open"));
        let others = self.engine.revoke(&|principal| principal.name == "other", self.now);
        assert_eq!(others, 0, "a revocation of somebody else's tokens ends nothing");
        self.engine.revoke(&|principal| std::ptr::eq(principal, &raw const *mine), self.now);
        self.viewers[at].reads = true;
        self.read_one(at);
        let key = self.viewers[at].key;
        self.engine.ended(key, self.now);
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
        let (heard, is_plenty) = (self.heard, self.is_plenty);
        for frame in parse_frames(&bytes) {
            Told { instruments, heard, now, viewer }.check_bytes(&frame.payload);
            if frame.opcode < CLOSE {
                for message in frame.messages(viewer.encoding) {
                    if let Message::Subscribed(response) = &message {
                        Told { instruments, heard, now, viewer }.check_refusals(response, is_plenty);
                    }
                    take(viewer, instruments, now, &message);
                }
            }
        }
        viewer.asked.retain(|(until, _)| *until >= now);
        let last = viewer.owners.len() - 1;
        let replaced = viewer.owners.drain(..last).map(|owner| (now + RESPONSE, owner));
        viewer.before.extend(replaced);
        viewer.before.retain(|(until, _)| *until >= now);
        viewer.is_prompt = viewer.reads;
        if self.engine.closing(key).is_some_and(|code| code != CloseCode::Revoked) {
            self.come_back(at);
        }
    }

    /// Opens a session in place of one that was closed, because a book of it was too large.
    fn come_back(&mut self, at: usize) {
        assert!(!self.is_plenty, "nothing is closed where there is enough of everything");
        self.engine.ended(self.viewers[at].key, self.now);
        let (owner, encoding) = (self.viewers[at].owners[0].clone(), self.viewers[at].encoding);
        self.viewers[at].key = self.open(&owner, encoding);
        self.viewers[at].books.clear();
    }
}

fn viewer() -> impl Strategy<Value = (Encoding, Principal)> {
    (prop::sample::select(&Encoding::ALL[..]), owner())
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]
    #[test]
    fn nothing_that_is_not_granted_is_delivered_or_named_and_nothing_is_too_young(
        limits in shared(),
        viewers in prop::collection::vec(viewer(), 1..4),
        ops in prop::collection::vec((0..3_usize, op()), 1..60),
    ) {
        let mut matrix = Matrix::new(limits, viewers);
        for (at, op) in ops {
            let at = at % matrix.viewers.len();
            matrix.step(at, op);
        }
        matrix.finish();
    }
}
