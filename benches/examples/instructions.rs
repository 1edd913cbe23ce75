//! The engine under a known load, and commands of one client, for counting instructions: run it by `scripts/instructions.sh`.
//!
//! With one argument, a shape, it sets the scene, then runs rounds inside [`counted`], and prints how many deliveries these were.
//! With two, a task and how many instruments there are, it does the task inside `Commands::counted`, and prints how many units of
//! work that was. The instructions of these two functions are the only ones that count. They are one program, because to optimise
//! everything that is linked takes most of the time of a build.

use std::hint::black_box;
use std::sync::Arc;

use tickwire_benches::command_scene::{Commands, Task};
use tickwire_benches::{change, quote, record, scale, snapshot};
use tickwire_core::engine::{Engine, EngineLimits, Opening, SessionKey};
use tickwire_core::vocabulary::{Event, InstrumentInfo, TopicId, TopicState, Update, VenueIndex};
use tickwire_gateway::Limits;
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Body, Channel, Command, Encoding, Message, Scale, Subscribe, SymbolName, Trade, encode_command,
    encode_message,
};

const NOW: u64 = 1_767_623_400_000_000_000;
const MS: u64 = 1_000_000;
const EPOCH: u64 = 7;

/// The number of sessions, instruments, subscriptions of each session, records of each instrument in a round, rounds.
struct Shape {
    channel: Channel,
    encoding: Encoding,
    sessions: usize,
    instruments: usize,
    subscriptions: usize,
    records: usize,
    rounds: usize,
}

fn shape(name: &str) -> Option<Shape> {
    let dashboard = Shape {
        channel: Channel::Quote,
        encoding: Encoding::Proto,
        sessions: 500,
        instruments: 500,
        subscriptions: 50,
        records: 1,
        rounds: 4,
    };
    let firehose = Shape { sessions: 20, instruments: 100, subscriptions: 100, records: 8, ..dashboard };
    Some(match name {
        "dashboard" => dashboard,
        "dashboard-json" => Shape { encoding: Encoding::Json, ..dashboard },
        "dashboard-trades" => Shape { channel: Channel::Trade, records: 4, ..dashboard },
        "firehose-trades" => Shape { channel: Channel::Trade, ..firehose },
        "books" => Shape { channel: Channel::Book, records: 2, ..firehose },
        _ => return None,
    })
}

struct Scene {
    engine: Engine,
    ready: Vec<SessionKey>,
    out: Vec<u8>,
    now: u64,
}

impl Scene {
    fn new(shape: &Shape, infos: &[Arc<InstrumentInfo>]) -> Self {
        // Nobody answers here, so nothing is held back for responses.
        let limits = EngineLimits { freshness_ns: 0, ..Limits::default().engine };
        let mut engine = Engine::new(limits, "tickwire/count");
        for info in infos {
            engine.on_event(&Event::Instrument(Arc::clone(info)), NOW);
        }
        for at in 0..shape.sessions {
            let key = engine.open(Opening::anonymous(format!("s{at}"), shape.encoding), NOW);
            let wanted = (0..shape.subscriptions).map(|n| &infos[(at * 7 + n) % infos.len()]);
            let symbols = wanted.map(|info| info.name.to_string()).collect();
            let channel = shape.channel.name().to_owned();
            let command = Command::Subscribe(Subscribe { id: 1, channel, symbols, max_rate: 0.0 });
            let mut bytes = Vec::new();
            encode_command(shape.encoding, &command, &mut bytes);
            engine.on_message(key, &bytes, NOW);
        }
        engine.take_interests();
        for info in infos {
            let records = match shape.channel {
                Channel::Book => {
                    let body = Body::Book(snapshot());
                    vec![update(info, shape.channel, 1, body)]
                }
                _ => Vec::new(),
            };
            let topic = TopicId::new(info.index, shape.channel);
            let state = TopicState { topic, epoch: EPOCH, sequence: 1, records };
            engine.on_event(&Event::State(Arc::new(state)), NOW);
        }
        let mut scene = Self { engine, ready: Vec::new(), out: Vec::new(), now: NOW };
        scene.deliver();
        scene
    }

    fn deliver(&mut self) {
        while self.engine.has_ready() {
            self.engine.take_ready(&mut self.ready);
            for key in self.ready.drain(..) {
                self.out.clear();
                self.engine.fill(key, self.now, &WebSocket, &mut self.out);
                black_box(&self.out);
                self.engine.unsent(key, 0, self.now);
            }
            black_box(self.engine.take_latency_samples().count());
        }
    }
}

fn update(info: &Arc<InstrumentInfo>, channel: Channel, sequence: u64, body: Body) -> Arc<Update> {
    let mut bytes = Vec::new();
    let made = record(sequence, body);
    encode_message(Encoding::Proto, &Message::Record(made), &Scale::default(), &mut bytes);
    let numbers = (sequence, sequence);
    let update = Update::from_bus(Arc::clone(info), channel, EPOCH, numbers, Encoding::Proto, &bytes);
    Arc::new(update.at(NOW))
}

/// Does the work that is counted: records arrive, then every session is handed what it is owed.
#[inline(never)]
fn counted(scene: &mut Scene, arriving: &[Event]) {
    for event in arriving {
        scene.engine.on_event(event, scene.now);
    }
    scene.deliver();
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let units = match arguments.next() {
        Some(instruments) => work(&name, &instruments),
        None => deliveries(&name),
    };
    println(&mut std::io::stdout(), &units.to_string());
}

fn println(to: &mut impl std::io::Write, line: &str) {
    to.write_all(line.as_bytes()).and_then(|()| to.write_all(b"\n")).ok();
}

fn fail(message: &str) -> ! {
    println(&mut std::io::stderr(), message);
    std::process::exit(2);
}

/// Does a task of one client. Returns how many units of work that was.
fn work(name: &str, instruments: &str) -> usize {
    let Ok(instruments) = instruments.parse() else {
        fail(&format!("`{instruments}` is no count of instruments"))
    };
    let Some(task) = Task::ALL.into_iter().find(|task| task.name() == name) else {
        fail(&format!("there is no task `{name}`; there are {}", Task::ALL.map(Task::name).join(", ")))
    };
    Commands::new(task, instruments).counted()
}

/// Delivers records to sessions. Returns how many deliveries these were.
fn deliveries(name: &str) -> usize {
    let Some(shape) = shape(name) else {
        fail(&format!("there is no shape `{name}`; see scripts/instructions.sh"))
    };
    let infos: Vec<_> = (0..shape.instruments as u32)
        .map(|index| {
            let name = SymbolName { venue: "sim".to_owned(), symbol: format!("S{index}") };
            let scale = Scale { symbol: name.to_string(), ..scale() };
            Arc::new(InstrumentInfo { index, id: 100 + index, listed: 0, venue: VenueIndex(0), name, scale })
        })
        .collect();
    let mut scene = Scene::new(&shape, &infos);
    let mut sequence = 1;
    for round in 0..shape.rounds {
        let mut arriving = Vec::new();
        for _ in 0..shape.records {
            sequence += 1;
            for info in &infos {
                let body = match shape.channel {
                    Channel::Trade => Body::Trade(Trade { price: 1, size: 2, ..Trade::default() }),
                    Channel::Book => Body::Book(change(2 * (round as i64 % 10), sequence % 1_000)),
                    _ => quote(),
                };
                arriving.push(Event::Update(update(info, shape.channel, sequence, body)));
            }
        }
        scene.now += 10 * MS;
        counted(&mut scene, &arriving);
    }
    let totals = scene.engine.totals();
    assert_eq!(totals.published, totals.delivered + totals.conflated, "nothing is lost in this scene");
    let deliveries = shape.rounds * shape.records * shape.sessions * shape.subscriptions;
    assert_eq!(totals.published as usize, deliveries);
    deliveries
}
