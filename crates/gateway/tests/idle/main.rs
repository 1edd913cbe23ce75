//! The memory that a session takes by being there, with five subscriptions and nothing to be sent.
//!
//! This is a binary of its own with a single test, because it counts every allocation of its process.
#![allow(clippy::print_stdout)] // It prints results for those who run it.

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use tickwire_core::engine::{Engine, Opening, SessionKey};
use tickwire_core::vocabulary::{Event, InstrumentInfo, TopicInterest, TopicState, VenueIndex};
use tickwire_gateway::{Limits, WebSocket};
use tickwire_wire::{Command, Encoding, Scale, Subscribe, SymbolName, encode_command};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const SECOND: u64 = 1_000_000_000;
const BEGIN: u64 = 1_767_623_400 * SECOND;
const INSTRUMENTS: u32 = 1_000;
const SESSIONS: usize = 2_000;
const SYMBOLS_EACH: usize = 5;
/// The most bytes that the engine asks the allocator for, for one such session. Five subscriptions take 320 of them.
const BYTES_MAX: usize = 1_000;

struct Clients {
    engine: Engine,
    sessions: Vec<SessionKey>,
    now: u64,
    out: Vec<u8>,
}

impl Clients {
    /// Hands over what is owed to all sessions; their clients answer probes.
    fn deliver(&mut self) {
        let mut ready = Vec::new();
        while self.engine.has_ready() {
            self.engine.take_ready(&mut ready);
            for key in ready.drain(..) {
                self.out.clear();
                self.engine.fill(key, self.now, &WebSocket, &mut self.out);
                self.engine.unsent(key, 0, self.now);
                // A ping of ours is the last frame.
                if let Some([0x89, 8, time @ ..]) = self.out.last_chunk::<10>() {
                    let time = *time;
                    self.engine.on_pong(key, &time, self.now);
                }
            }
        }
    }

    fn open(&mut self, at: usize) {
        let opening = Opening::anonymous(format!("0badcafe-{at}"), Encoding::Proto);
        let key = self.engine.open(opening, self.now);
        let symbol = |n| format!("sim:SYMBOL{}", (at * SYMBOLS_EACH + n) % INSTRUMENTS as usize);
        let symbols = (0..SYMBOLS_EACH).map(symbol).collect();
        let command = Subscribe { id: 1, channel: "quote".to_owned(), symbols, max_rate: 0.0 };
        let mut bytes = Vec::new();
        encode_command(Encoding::Proto, &Command::Subscribe(command), &mut bytes);
        self.engine.on_message(key, &bytes, self.now);
        let interests: Vec<_> = self.engine.take_interests().collect();
        for interest in interests {
            let TopicInterest::Want(topic) = interest else { continue };
            let state = TopicState { topic, epoch: 7, sequence: 0, records: Vec::new() };
            self.engine.on_event(&Event::State(Arc::new(state)), self.now);
        }
        self.deliver();
        self.sessions.push(key);
    }

    /// Lets so many seconds pass.
    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds * 20 {
            self.tick();
            self.deliver();
        }
    }

    fn tick(&mut self) {
        self.now += SECOND / 20;
        self.engine.tick(self.now);
    }
}

#[test]
fn an_idle_session_takes_little_memory() {
    let mut clients = Clients {
        engine: Engine::new(Limits::default().of_shard(1), "tickwire/test"),
        sessions: Vec::with_capacity(2 * SESSIONS),
        now: BEGIN,
        out: Vec::with_capacity(64 << 10),
    };
    for index in 0..INSTRUMENTS {
        let name = SymbolName { venue: "sim".to_owned(), symbol: format!("SYMBOL{index}") };
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 5 };
        let info = InstrumentInfo { index, id: 100 + index, listed: 0, venue: VenueIndex(0), name, scale };
        clients.engine.on_event(&Event::Instrument(Arc::new(info)), BEGIN);
    }
    // The first sessions pay for topics, and for lists that have room for twice as many afterwards.
    for at in 0..SESSIONS {
        clients.open(at);
    }
    clients.pass(3);
    let before = ALLOCATED.current_usage();
    for at in SESSIONS..2 * SESSIONS {
        clients.open(at);
    }
    clients.pass(3);
    let each = (ALLOCATED.current_usage() - before) / SESSIONS;
    println!("{each} bytes for an idle session with {SYMBOLS_EACH} subscriptions");
    assert_eq!(clients.engine.sessions(), 2 * SESSIONS);
    assert_eq!(clients.engine.subscriptions(), 2 * SESSIONS * SYMBOLS_EACH);
    assert!(each <= BYTES_MAX, "{each} bytes");
    // All of them wait for the clock alone.
    clients.tick();
    assert_eq!(clients.engine.watched(), 0);
}
