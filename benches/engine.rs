//! The fan-out engine: from a record of the bus to the bytes for every socket, without the sockets. The elements are
//! deliveries, except where a comment says otherwise.
//!
//! The time includes copying the record off the bus, keeping and indexing it, marking each subscriber, decoding and
//! encoding where they are needed, and for each session the fill of its buffer (frame head and send time included) and
//! the report that the kernel took it. It does not include the system call.

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Bencher, BenchmarkId, Criterion, Throughput};
use tickwire_benches::{change, criterion, quote, record, scale, snapshot};
use tickwire_core::engine::{Engine, EngineLimits, Opening, SessionKey};
use tickwire_core::vocabulary::{Event, FeedStatus, InstrumentInfo, TopicId, TopicState, Update, VenueIndex};
use tickwire_gateway::Limits;
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Body, Channel, Command, Encoding, FeedState, Message, Scale, SetRate, Subscribe, SymbolName,
    encode_command, encode_message,
};

const SUBSCRIBERS: [usize; 3] = [1, 50, 500];
const NOW: u64 = 1_767_623_400_000_000_000;
const EPOCH: u64 = 7;

/// An engine with one instrument, and sessions that subscribed to one of its channels.
struct Rig {
    engine: Engine,
    info: Arc<InstrumentInfo>,
    channel: Channel,
    sessions: Vec<SessionKey>,
    ready: Vec<SessionKey>,
    out: Vec<u8>,
    /// The last sequence number that the bus carried.
    sequence: Cell<u64>,
}

impl Rig {
    fn new(channel: Channel, encoding: Encoding, sessions: usize) -> Self {
        // Nobody answers here, so nothing is held back for responses.
        let limits = EngineLimits { freshness_ns: 0, ..Limits::default().engine };
        let mut engine = Engine::new(limits, "tickwire/bench");
        let feed = FeedStatus {
            venue: VenueIndex(0),
            name: "binance".into(),
            state: FeedState::Live,
            since: NOW,
            reason: "".into(),
            proof: tickwire_wire::BookProof::Chain,
        };
        engine.on_event(&Event::Feed(Arc::new(feed)), NOW);
        let name = SymbolName { venue: "binance".to_owned(), symbol: "BTCUSDT".to_owned() };
        let info =
            InstrumentInfo { index: 0, id: 1042, listed: 0, venue: VenueIndex(0), name, scale: scale() };
        let info = Arc::new(info);
        engine.on_event(&Event::Instrument(Arc::clone(&info)), NOW);
        let symbols = vec!["binance:BTCUSDT".to_owned()];
        let command = Subscribe { id: 1, channel: channel.name().to_owned(), symbols, max_rate: 0.0 };
        let mut bytes = Vec::new();
        encode_command(encoding, &Command::Subscribe(command), &mut bytes);
        let sessions: Vec<_> = (0..sessions)
            .map(|at| engine.open(Opening::anonymous(format!("s{at}"), encoding), NOW))
            .collect();
        for key in &sessions {
            engine.on_message(*key, &bytes, NOW);
        }
        engine.take_interests();
        let mut rig = Self {
            engine,
            info,
            channel,
            sessions,
            ready: Vec::new(),
            out: Vec::new(),
            sequence: Cell::new(0),
        };
        let records = match channel {
            Channel::Book => vec![rig.update(&rig.on_bus(Body::Book(snapshot())))],
            _ => Vec::new(),
        };
        let topic = TopicId::new(0, channel);
        let sequence = rig.sequence.get();
        let state = TopicState { topic, epoch: EPOCH, sequence, records };
        rig.engine.on_event(&Event::State(Arc::new(state)), NOW);
        rig.deliver();
        rig
    }

    /// Returns the next sequence number and the record's bytes, as the ingester puts them on the bus.
    fn on_bus(&self, body: Body) -> (u64, Vec<u8>) {
        let sequence = self.sequence.get() + 1;
        self.sequence.set(sequence);
        let mut bytes = Vec::new();
        let message = Message::Record(record(sequence, body));
        encode_message(Encoding::Proto, &message, &Scale::default(), &mut bytes);
        (sequence, bytes)
    }

    fn update(&self, (sequence, bytes): &(u64, Vec<u8>)) -> Arc<Update> {
        let info = Arc::clone(&self.info);
        let numbers = (*sequence, *sequence);
        Arc::new(Update::from_bus(info, self.channel, EPOCH, numbers, Encoding::Proto, bytes))
    }

    fn arrive(&mut self, on_bus: &(u64, Vec<u8>)) {
        let update = self.update(on_bus);
        self.engine.on_event(&Event::Update(update), NOW);
    }

    /// Does what a shard does at a wake-up, but for the system call. Returns how many sessions got bytes.
    fn deliver(&mut self) -> usize {
        let mut written = 0;
        self.engine.take_ready(&mut self.ready);
        for key in self.ready.drain(..) {
            self.out.clear();
            self.engine.fill(key, NOW, &WebSocket, &mut self.out);
            written += usize::from(!black_box(&self.out).is_empty());
            self.engine.unsent(key, 0, NOW);
        }
        written
    }
}

fn fan_out(c: &mut Criterion) {
    for encoding in [Encoding::Proto, Encoding::Json] {
        let mut group = c.benchmark_group(format!("engine/quote/{encoding}"));
        for subscribers in SUBSCRIBERS {
            group.throughput(Throughput::Elements(subscribers as u64));
            group.bench_function(BenchmarkId::from_parameter(subscribers), |b| {
                in_turn(b, Rig::new(Channel::Quote, encoding, subscribers), 1, quote, subscribers);
            });
        }
        group.finish();
    }
    let mut group = c.benchmark_group("engine/book");
    let subscribers = 50;
    group.throughput(Throughput::Elements(subscribers as u64));
    for changes in [1, 10] {
        // Ten changes of ten different levels leave as one merged change with a checksum.
        let at = Cell::new(0);
        let next = || {
            at.set(at.get() + 1);
            Body::Book(change(2 * (at.get() % 10), 1 + at.get() as u64 % 1_000))
        };
        group.bench_function(format!("{changes}_changes_to_{subscribers}"), |b| {
            let rig = Rig::new(Channel::Book, Encoding::Proto, subscribers);
            in_turn(b, rig, changes, next, subscribers);
        });
    }
    group.finish();
}

/// Runs one iteration: `records` records arrive, then `written` sessions, no more and no fewer, are sent what they are
/// owed.
fn in_turn(b: &mut Bencher<'_>, rig: Rig, records: usize, next: impl Fn() -> Body, written: usize) {
    let rig = RefCell::new(rig);
    b.iter_batched(
        || (0..records).map(|_| rig.borrow().on_bus(next())).collect::<Vec<_>>(),
        |on_bus| {
            let mut rig = rig.borrow_mut();
            for record in &on_bus {
                rig.arrive(record);
            }
            assert_eq!(rig.deliver(), written);
        },
        BatchSize::SmallInput,
    );
}

/// Measures what a subscriber costs before anything is written; the elements are subscribers.
fn marks(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine/mark");
    let subscribers = 500;
    group.throughput(Throughput::Elements(subscribers as u64));
    // Everyone is up to date: each gets a mark and a place among the ready.
    group.bench_function(format!("first/{subscribers}"), |b| {
        let mut rig = Rig::new(Channel::Quote, Encoding::Proto, subscribers);
        b.iter_custom(|iterations| {
            let mut spent = Duration::ZERO;
            for _ in 0..iterations {
                let on_bus = rig.on_bus(quote());
                let start = Instant::now();
                rig.arrive(&on_bus);
                spent += start.elapsed();
                assert_eq!(rig.deliver(), subscribers);
            }
            spent
        });
    });
    // Nobody's socket takes anything: each has its mark, the newer quote supersedes.
    group.bench_function(format!("blocked/{subscribers}"), |b| {
        let mut rig = Rig::new(Channel::Quote, Encoding::Proto, subscribers);
        for key in &rig.sessions {
            rig.engine.unsent(*key, 1, NOW);
        }
        in_turn(b, rig, 1, quote, 0);
    });
    // Everybody asked for a rate and was just sent something: the newer quote is held back.
    group.bench_function(format!("throttled/{subscribers}"), |b| {
        let mut rig = Rig::new(Channel::Quote, Encoding::Proto, subscribers);
        let symbols = vec!["binance:BTCUSDT".to_owned()];
        let command = SetRate { id: 2, channel: "quote".to_owned(), symbols, max_rate: 10.0 };
        let mut bytes = Vec::new();
        encode_command(Encoding::Proto, &Command::SetRate(command), &mut bytes);
        for key in rig.sessions.clone() {
            rig.engine.on_message(key, &bytes, NOW);
        }
        let on_bus = rig.on_bus(quote());
        rig.arrive(&on_bus);
        rig.deliver();
        in_turn(b, rig, 1, quote, 0);
    });
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    fan_out(&mut criterion);
    marks(&mut criterion);
    criterion.final_summary();
}
