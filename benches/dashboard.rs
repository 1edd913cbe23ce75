//! The fan-out engine in the shape of a dashboard: 500 sessions with 50 of 500 symbols each, 5,000 quotes a second, each in
//! turn. The elements are deliveries.
//!
//! Other than in `engine`, hardly anything is in the first cache when its turn comes: 25,000 subscriptions, of which a
//! write meets eight. The time includes the same as there. Time is simulated.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use tickwire_benches::{criterion, quote, record, scale};
use tickwire_core::engine::{Engine, EngineLimits, Opening, SessionKey};
use tickwire_core::vocabulary::{Event, InstrumentInfo, TopicId, TopicState, Update, VenueIndex};
use tickwire_gateway::Limits;
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Channel, Command, Encoding, Message, Scale, Subscribe, SymbolName, encode_command, encode_message,
};

const SESSIONS: u32 = 500;
const SYMBOLS: u32 = 500;
const SYMBOLS_EACH: u32 = 50;
const QUOTES_PER_SECOND: u64 = 5_000;
const EPOCH: u64 = 7;
/// The simulated time of one measurement.
const SPAN_NS: u64 = 200_000_000;

struct Dashboard {
    engine: Engine,
    infos: Vec<Arc<InstrumentInfo>>,
    now: u64,
    /// The number of quotes that came so far.
    count: u64,
    /// The time at which sessions without a delivery window are written to next, and how often they are; 0: as soon as
    /// they can.
    round_at: u64,
    round_ns: u64,
    ready: Vec<SessionKey>,
    out: Vec<u8>,
}

impl Dashboard {
    fn new(window_ms: u16, round_ns: u64) -> Self {
        let now = 1_767_623_400_000_000_000;
        // Nobody answers here, so nothing is held back for responses.
        let limits = EngineLimits { freshness_ns: 0, ..Limits::default().engine };
        let mut engine = Engine::new(limits, "tickwire/bench");
        let mut infos = Vec::new();
        for index in 0..SYMBOLS {
            let name = SymbolName { venue: "load".to_owned(), symbol: format!("S{index}") };
            let scale = Scale { symbol: format!("load:S{index}"), ..scale() };
            let info = Arc::new(InstrumentInfo {
                index,
                id: 1 + index,
                listed: 0,
                venue: VenueIndex(0),
                name,
                scale,
            });
            engine.on_event(&Event::Instrument(Arc::clone(&info)), now);
            infos.push(info);
        }
        for at in 0..SESSIONS {
            let key = engine
                .open(Opening::anonymous(format!("s{at}"), Encoding::Proto).with_window(window_ms), now);
            let symbols =
                (0..SYMBOLS_EACH).map(|each| format!("load:S{}", (at + 37 * each) % SYMBOLS)).collect();
            let channel = Channel::Quote.name().to_owned();
            let command = Command::Subscribe(Subscribe { id: 1, channel, symbols, max_rate: 0.0 });
            let mut bytes = Vec::new();
            encode_command(Encoding::Proto, &command, &mut bytes);
            engine.on_message(key, &bytes, now);
        }
        engine.take_interests();
        for index in 0..SYMBOLS {
            let topic = TopicId::new(index, Channel::Quote);
            let state = TopicState { topic, epoch: EPOCH, sequence: 0, records: Vec::new() };
            engine.on_event(&Event::State(Arc::new(state)), now);
        }
        let mut dashboard = Self {
            engine,
            infos,
            now,
            count: 0,
            round_at: now,
            round_ns,
            ready: Vec::new(),
            out: Vec::new(),
        };
        dashboard.run();
        dashboard
    }

    /// Lets [`SPAN_NS`] pass.
    fn run(&mut self) {
        let end = self.now + SPAN_NS;
        while self.now < end {
            self.now += 1_000_000_000 / QUOTES_PER_SECOND;
            let index = (self.count % u64::from(SYMBOLS)) as usize;
            let sequence = 1 + self.count / u64::from(SYMBOLS);
            self.count += 1;
            let mut bytes = Vec::new();
            let message = Message::Record(record(sequence, quote()));
            encode_message(Encoding::Proto, &message, &Scale::default(), &mut bytes);
            let info = Arc::clone(&self.infos[index]);
            let numbers = (sequence, sequence);
            let update = Update::from_bus(info, Channel::Quote, EPOCH, numbers, Encoding::Proto, &bytes);
            self.engine.on_event(&Event::Update(Arc::new(update)), self.now);
            if self.engine.next_due().is_some_and(|due| due <= self.now) {
                self.engine.on_timer(self.now);
            }
            if self.now >= self.round_at {
                self.round_at = self.now + self.round_ns;
                self.deliver();
            }
        }
    }

    fn deliver(&mut self) {
        self.engine.take_ready(&mut self.ready);
        for key in self.ready.drain(..) {
            self.out.clear();
            self.engine.fill(key, self.now, &WebSocket, &mut self.out);
            black_box(&self.out);
            self.engine.unsent(key, 0, self.now);
        }
    }
}

fn dashboards(c: &mut Criterion) {
    let mut group = c.benchmark_group("dashboard");
    let quotes = QUOTES_PER_SECOND * SPAN_NS / 1_000_000_000;
    let deliveries = quotes * u64::from(SESSIONS * SYMBOLS_EACH / SYMBOLS);
    group.throughput(Throughput::Elements(deliveries));
    for (name, window_ms, round_ns) in [("rounds_5ms", 0, 5_000_000), ("windows_16ms", 16, 0)] {
        group.bench_function(name, |b| {
            let mut dashboard = Dashboard::new(window_ms, round_ns);
            b.iter_custom(|iterations| {
                let before = dashboard.engine.totals().delivered;
                let start = Instant::now();
                for _ in 0..iterations {
                    dashboard.run();
                }
                let spent = start.elapsed();
                let delivered = dashboard.engine.totals().delivered - before;
                // Quotes of a symbol are 100 ms apart: none supersedes another, and little waits at either end.
                let expected = deliveries * iterations;
                assert!(delivered.abs_diff(expected) <= expected / 10, "{delivered} of {expected}");
                spent
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = criterion();
    dashboards(&mut criterion);
    criterion.final_summary();
}
