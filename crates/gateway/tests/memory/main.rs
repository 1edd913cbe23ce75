//! The memory of an engine that is filled to its limits, against what its limits say.
//!
//! This is a binary of its own with a single test, because it counts every allocation of its process.
#![allow(clippy::print_stdout)] // It prints results for those who run it.

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use tickwire_core::engine::{Engine, EngineLimits, Entitlement, Opening, Principal, SessionKey};
use tickwire_core::vocabulary::{Event, InstrumentInfo, TopicInterest, TopicState, Update, VenueIndex};
use tickwire_gateway::Limits;
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Bar, Body, Book, Channel, Command, Encoding, Level, Message, Quote, Record, Resume, ResumePosition,
    Scale, Status, Subscribe, SymbolName, Trade, encode_command, encode_message,
};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const NOW: u64 = 1_767_623_400_000_000_000;
const EPOCH: u64 = 7;
const INSTRUMENTS: u32 = 200;
const SESSIONS: usize = 60;
const LEVELS: usize = 50;
const CHANNELS: [Channel; 5] = [Channel::Quote, Channel::Trade, Channel::Book, Channel::Bar, Channel::Status];

/// Makes small limits, all of which can be used up. Limits of what an engine does not hold are left out.
fn limits() -> Limits {
    let limits = Limits::default();
    let engine = EngineLimits {
        subscriptions_per_session: 50,
        command_bytes: 64 << 10,
        book_levels: INSTRUMENTS as usize * 2 * LEVELS,
        freshness_ns: 0,
        delayed_bytes: 0,
        ..limits.engine.clone()
    };
    Limits {
        memory_bytes: 16 << 20,
        sessions: SESSIONS,
        subscriptions: SESSIONS * 50,
        topics: INSTRUMENTS as usize * CHANNELS.len(),
        instruments: INSTRUMENTS as usize,
        handshakes: 0,
        admin_connections: 0,
        bus_bytes: 0,
        waiting_bytes: 0,
        engine,
        ..limits
    }
}

fn level(price: i64) -> Level {
    Level { price, size: 1_000_000 + price as u64 }
}

fn body(channel: Channel, number: u64) -> Body {
    match channel {
        Channel::Quote => Body::Quote(Quote { bid: Some(level(1)), ask: Some(level(2)) }),
        Channel::Trade => {
            Body::Trade(Trade { price: 61_837_630, size: number, id: number, ..Trade::default() })
        }
        Channel::Bar => Body::Bar(Bar { interval: 1 + number % 5, ..Bar::default() }),
        Channel::Status => Body::Status(Status::default()),
        _ if number == 1 => {
            let bids = (0..LEVELS as i64).map(|at| level(10_000 - at)).collect();
            let asks = (0..LEVELS as i64).map(|at| level(20_000 + at)).collect();
            Body::Book(Book { snapshot: true, bids, asks, ..Book::default() })
        }
        _ => Body::Book(Book { bids: vec![level(10_000 - (number % 50) as i64)], ..Book::default() }),
    }
}

fn update(info: &Arc<InstrumentInfo>, channel: Channel, number: u64) -> Arc<Update> {
    let record = Record {
        instrument: info.id,
        sequence: number,
        event_time: NOW,
        receive_time: NOW + 9,
        body: body(channel, number),
    };
    let mut bytes = Vec::new();
    encode_message(Encoding::Proto, &Message::Record(record), &info.scale, &mut bytes);
    let numbers = (number, number);
    Arc::new(Update::from_bus(Arc::clone(info), channel, EPOCH, numbers, Encoding::Proto, &bytes))
}

fn send(engine: &mut Engine, key: SessionKey, encoding: Encoding, command: &Command) {
    let mut bytes = Vec::new();
    encode_command(encoding, command, &mut bytes);
    engine.on_message(key, &bytes, NOW);
}

fn deliver(engine: &mut Engine, blocked: bool) {
    let (mut ready, mut out) = (Vec::new(), Vec::new());
    while engine.has_ready() {
        engine.take_ready(&mut ready);
        for key in ready.drain(..) {
            out.clear();
            engine.fill(key, NOW, &WebSocket, &mut out);
            engine.unsent(key, usize::from(blocked), NOW);
        }
    }
}

fn filled(limits: &Limits, infos: &[Arc<InstrumentInfo>]) -> Engine {
    let mut engine = Engine::new(limits.of_shard(1), "tickwire/test");
    for info in infos {
        engine.on_event(&Event::Instrument(Arc::clone(info)), NOW);
    }
    let mut sessions = Vec::new();
    for at in 0..SESSIONS {
        let encoding = Encoding::ALL[at % 3];
        let key = engine.open(Opening::anonymous(format!("0badcafe-{at}"), encoding), NOW);
        for (place, channel) in CHANNELS.into_iter().enumerate() {
            let begin = (at * 10 + place) % infos.len();
            let symbols = (0..10).map(|n| infos[(begin + n) % infos.len()].name.to_string());
            let channel = channel.name().to_owned();
            let command = Subscribe { id: 1, channel, symbols: symbols.collect(), max_rate: 0.0 };
            send(&mut engine, key, encoding, &Command::Subscribe(command));
            let interests: Vec<_> = engine.take_interests().collect();
            for interest in interests {
                let TopicInterest::Want(topic) = interest else { continue };
                let info = &infos[topic.instrument_index() as usize];
                let first = update(info, topic.channel(), 1);
                let state = TopicState { topic, epoch: EPOCH, sequence: 1, records: vec![first] };
                engine.on_event(&Event::State(Arc::new(state)), NOW);
            }
        }
        let position = |n: usize| ResumePosition {
            channel: "trade".to_owned(),
            symbol: format!("sim:{}{n}", "X".repeat(100)),
            epoch: 1,
            sequence: 1,
        };
        let positions = (0..50).map(position).collect();
        send(&mut engine, key, encoding, &Command::Resume(Resume { id: 1, positions }));
        sessions.push((key, encoding));
    }
    deliver(&mut engine, false);
    // Every second socket takes nothing from here on, and each lags by another distance.
    for number in 2..=100 {
        for info in infos {
            for channel in CHANNELS {
                engine.on_event(&Event::Update(update(info, channel, number)), NOW + number);
            }
        }
        deliver(&mut engine, false);
        let (key, _) = sessions[number as usize % SESSIONS];
        if number % 2 == 0 {
            engine.unsent(key, 1, NOW + number);
        }
    }
    // The bytes that wait for sessions alone are filled, too, to the last byte.
    let share = limits.of_shard(1).private_bytes;
    'all: loop {
        for (key, _) in &sessions {
            engine.on_flood(*key, b"");
            if engine.private_bytes() + 4_096 > share {
                break 'all;
            }
        }
    }
    engine
}

/// The bytes that may wait for being old enough.
const DELAYED: usize = 8 << 20;

/// Makes an engine with a session that sees all quotes and trades a minute late, and with as much waiting for it as may wait.
/// Returns what each of its views takes in memory before anything waits, too.
fn with_views(infos: &[Arc<InstrumentInfo>]) -> (Engine, usize) {
    let limits = EngineLimits {
        delayed_bytes: DELAYED,
        log_records_per_topic: 1,
        subscriptions_per_session: 1_000,
        ..limits().of_shard(1)
    };
    let mut engine = Engine::new(limits, "tickwire/test");
    for info in infos {
        engine.on_event(&Event::Instrument(Arc::clone(info)), NOW);
    }
    let late = Entitlement { delay_ns: 60_000_000_000, ..Entitlement::ALL };
    let principals = [Entitlement::ALL, late].map(|entitlement| {
        Arc::new(Principal { entitlements: vec![entitlement], ..Principal::clone(&Principal::anonymous()) })
    });
    let mut used = Vec::new();
    for (at, principal) in principals.into_iter().enumerate() {
        let opening = Opening { principal, ..Opening::anonymous(format!("s{at}"), Encoding::Proto) };
        let key = engine.open(opening, NOW);
        for channel in ["quote", "trade"] {
            let symbols = vec!["sim:*".to_owned()];
            let command = Subscribe { id: 1, channel: channel.to_owned(), symbols, max_rate: 0.0 };
            send(&mut engine, key, Encoding::Proto, &Command::Subscribe(command));
            let interests: Vec<_> = engine.take_interests().collect();
            for interest in interests {
                let TopicInterest::Want(topic) = interest else { continue };
                let state = TopicState { topic, epoch: EPOCH, sequence: 0, records: Vec::new() };
                engine.on_event(&Event::State(Arc::new(state)), NOW);
            }
        }
        deliver(&mut engine, false);
        used.push(ALLOCATED.current_usage());
    }
    let each = (used[1] - used[0]) / engine.delayed().topics;
    for number in 1.. {
        for info in infos {
            for channel in [Channel::Quote, Channel::Trade] {
                engine.on_event(&Event::Update(update(info, channel, number)), NOW + number);
            }
        }
        deliver(&mut engine, false);
        if engine.delayed().dropped > 0 {
            break;
        }
    }
    (engine, each)
}

#[test]
fn an_engine_that_is_full_holds_no_more_than_its_limits_say() {
    let limits = limits();
    let infos: Vec<_> = (0..INSTRUMENTS)
        .map(|index| {
            let name = SymbolName { venue: "sim".to_owned(), symbol: format!("SYMBOL{index}") };
            let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 5 };
            Arc::new(InstrumentInfo { index, id: 100 + index, listed: 0, venue: VenueIndex(0), name, scale })
        })
        .collect();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let engine = filled(&limits, &infos);
    let peak = ALLOCATED.peak_usage() - before;
    let worst = limits.worst_case_bytes(1);
    println!(
        "{peak} bytes at most, {} at the end; {worst} by the limits; logs {}, private {}, levels {}",
        ALLOCATED.current_usage() - before,
        engine.log_bytes(),
        engine.private_bytes(),
        engine.book_levels(),
    );
    // It is full.
    let share = limits.of_shard(1);
    assert!(engine.log_bytes() > share.log_bytes * 9 / 10);
    assert!(engine.private_bytes() > share.private_bytes * 9 / 10);
    assert_eq!(engine.subscriptions(), limits.subscriptions);
    assert_eq!(engine.topics(), limits.topics);
    assert!(engine.book_levels() >= share.book_levels * 9 / 10);
    assert!(peak <= worst, "{peak} bytes, the limits say {worst}");
    assert!(peak * 8 > worst, "{peak} bytes: the limits say far too much, {worst}");
    drop(engine);
    let before = ALLOCATED.current_usage();
    let (engine, each) = with_views(&infos);
    let held = ALLOCATED.current_usage() - before;
    let counted = engine.delayed().bytes;
    println!("{each} bytes for each view; {held} bytes with {counted} that count as waiting");
    assert!(counted > DELAYED / 2 * 9 / 10 && counted <= DELAYED);
    assert!(held <= 2 * DELAYED, "{held} bytes");
}
