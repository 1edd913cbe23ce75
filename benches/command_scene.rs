//! An engine under commands: a venue, sessions that look on, and one whose commands are counted or timed.

use std::hint::black_box;
use std::sync::Arc;

use tickwire_core::engine::{Engine, EngineLimits, Opening, SessionKey};
use tickwire_core::vocabulary::{
    Event, FeedStatus, InstrumentInfo, TopicId, TopicInterest, TopicState, VenueIndex,
};
use tickwire_gateway::Limits;
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Channel, Command, Encoding, FeedState, LedgerRequest, Resume, ResumePosition, Scale, SetRate, Subscribe,
    SymbolName, Unsubscribe, encode_command,
};

const NOW: u64 = 1_767_623_400_000_000_000;
const MS: u64 = 1_000_000;
const EPOCH: u64 = 7;
/// The number of sessions that look on, and the subscriptions of each.
const ONLOOKERS: usize = 1_000;
const WATCHED: usize = 10;

/// A task that a client may do again and again, as often as its limits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// It sends positions of all instruments, which the session has told before.
    Resume,
    /// It subscribes with as many names that do not exist.
    Unknown,
    /// It subscribes to all instruments by name, and ends that.
    Churn,
    /// It does the same one at a time, beside records of all that wait.
    One,
    /// It asks for the account of all subscriptions.
    Ledger,
    /// It changes the rate of all subscriptions.
    SetRate,
    /// It subscribes to `venue:*`, and ends that.
    Wildcard,
    /// An instrument appears that a tenth of the sessions and this one subscribed to by `venue:*`.
    Appear,
    /// It subscribes again and again before the ingester has answered, and ends that.
    Pending,
}

impl Task {
    /// All tasks.
    pub const ALL: [Self; 9] = [
        Self::Resume,
        Self::Unknown,
        Self::Churn,
        Self::One,
        Self::Ledger,
        Self::SetRate,
        Self::Wildcard,
        Self::Appear,
        Self::Pending,
    ];

    /// Returns its name, as commands and benches have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resume => "resume",
            Self::Unknown => "unknown",
            Self::Churn => "churn",
            Self::One => "one",
            Self::Ledger => "ledger",
            Self::SetRate => "set_rate",
            Self::Wildcard => "wildcard",
            Self::Appear => "appear",
            Self::Pending => "pending",
        }
    }
}

/// The scene; see the module.
pub struct Commands {
    engine: Engine,
    client: SessionKey,
    task: Task,
    instruments: usize,
    /// The commands that one turn sends.
    turn: Vec<Vec<u8>>,
    turns: usize,
    ready: Vec<SessionKey>,
    out: Vec<u8>,
    now: u64,
}

impl Commands {
    /// Makes a scene with so many instruments, and as many subscriptions where the task takes them.
    pub fn new(task: Task, instruments: usize) -> Self {
        let engine = EngineLimits {
            freshness_ns: 0,
            subscriptions_per_session: 16_384,
            command_bytes: 1 << 20,
            close_bytes: 64 << 20,
            subscribe_timeout_ns: 1_000_000 * MS,
            ..Limits::default().engine
        };
        let mut engine = Engine::new(engine, "tickwire/bench");
        let feed = FeedStatus {
            venue: VenueIndex(0),
            name: "sim".into(),
            state: FeedState::Live,
            since: NOW,
            reason: "".into(),
            proof: tickwire_wire::BookProof::Chain,
        };
        engine.on_event(&Event::Feed(Arc::new(feed)), NOW);
        let client = engine.open(Opening::anonymous("s0", Encoding::Proto), NOW);
        let mut scene = Self {
            engine,
            client,
            task,
            instruments: 0,
            turn: Vec::new(),
            turns: 0,
            ready: Vec::new(),
            out: Vec::new(),
            now: NOW,
        };
        for _ in 0..instruments {
            scene.appear();
        }
        for at in 0..ONLOOKERS {
            let key = scene.engine.open(Opening::anonymous(format!("s{}", at + 1), Encoding::Proto), NOW);
            let symbols = if task == Task::Appear && at % 10 == 0 {
                vec!["sim:*".to_owned()]
            } else {
                (0..WATCHED).map(|n| symbol((at * 7 + n) % instruments)).collect()
            };
            scene.send(key, &subscribe(1, symbols));
        }
        if task != Task::Pending {
            scene.respond();
        }
        scene.deliver();
        scene.prepare();
        scene
    }

    fn prepare(&mut self) {
        let all: Vec<_> = (0..self.instruments).map(symbol).collect();
        let channel = || Channel::Quote.name().to_owned();
        let whole = vec!["sim:*".to_owned()];
        let holds = matches!(self.task, Task::One | Task::Ledger | Task::SetRate);
        if holds || self.task == Task::Appear {
            self.send(self.client, &subscribe(1, if holds { all.clone() } else { whole.clone() }));
            self.respond();
            self.deliver();
        }
        if self.task == Task::One {
            // Its socket takes nothing, so that a record of each waits.
            self.engine.unsent(self.client, 1, self.now);
            for index in 0..self.instruments as u32 {
                let topic = TopicId::new(index, Channel::Quote);
                let state = TopicState { topic, epoch: EPOCH, sequence: 1, records: Vec::new() };
                self.engine.on_event(&Event::State(Arc::new(state)), self.now);
            }
        }
        let end = |symbols| Command::Unsubscribe(Unsubscribe { id: 2, channel: channel(), symbols });
        let rate =
            |symbols, max_rate| Command::SetRate(SetRate { id: 3, channel: channel(), symbols, max_rate });
        let commands = match self.task {
            Task::Resume => {
                let position = |symbol| ResumePosition {
                    channel: Channel::Trade.name().to_owned(),
                    symbol,
                    epoch: EPOCH,
                    sequence: 9,
                };
                let positions = all.into_iter().map(position).collect();
                vec![Command::Resume(Resume { id: 4, positions })]
            }
            Task::Unknown => {
                let names = (0..self.instruments).map(|at| format!("sim:NONE{at}")).collect();
                vec![subscribe(5, names)]
            }
            Task::Churn => vec![subscribe(6, all.clone()), end(all)],
            Task::Pending => {
                // It goes in parts: each is a request of its own.
                let parts = all.chunks(self.instruments / 20).map(|part| subscribe(6, part.to_vec()));
                parts.chain([end(all.clone())]).collect()
            }
            Task::One => {
                all.iter().flat_map(|one| [end(vec![one.clone()]), subscribe(7, vec![one.clone()])]).collect()
            }
            Task::Ledger => vec![Command::Ledger(LedgerRequest { id: 8 })],
            Task::SetRate => vec![rate(all.clone(), 10.0), rate(all, 0.0)],
            Task::Wildcard => vec![subscribe(9, whole.clone()), end(whole)],
            Task::Appear => Vec::new(),
        };
        let encoded = commands.iter().map(|command| {
            let mut bytes = Vec::new();
            encode_command(Encoding::Proto, command, &mut bytes);
            bytes
        });
        self.turn = encoded.collect();
        // The first turn makes what is made at first only.
        self.turn();
    }

    /// Does the task once: the commands, and the responses to them. Returns its units of work: names, positions,
    /// subscriptions, or instruments that appeared times sessions that got them.
    #[inline(never)]
    pub fn counted(&mut self) -> usize {
        self.turn()
    }

    fn turn(&mut self) -> usize {
        self.turns += 1;
        self.now += 50 * MS;
        if self.task == Task::Appear {
            let sessions = ONLOOKERS / 10 + 1;
            for _ in 0..10 {
                self.appear();
                self.respond();
                self.deliver();
            }
            return 10 * sessions;
        }
        let turn = std::mem::take(&mut self.turn);
        for bytes in &turn {
            self.engine.on_message(self.client, bytes, self.now);
            if !matches!(self.task, Task::One | Task::Pending) {
                self.deliver();
            }
        }
        self.turn = turn;
        if self.task == Task::One {
            // Its responses leave, and it is as full as before.
            self.engine.unsent(self.client, 0, self.now);
            self.out.clear();
            self.engine.fill(self.client, self.now, &WebSocket, &mut self.out);
            self.engine.unsent(self.client, 1, self.now);
        } else {
            self.deliver();
        }
        self.engine.tick(self.now);
        self.deliver();
        let commands = if matches!(self.task, Task::Resume | Task::Unknown | Task::Ledger) { 1 } else { 2 };
        commands * self.instruments
    }

    fn send(&mut self, key: SessionKey, command: &Command) {
        let mut bytes = Vec::new();
        encode_command(Encoding::Proto, command, &mut bytes);
        self.engine.on_message(key, &bytes, self.now);
    }

    fn appear(&mut self) {
        let index = self.instruments as u32;
        self.instruments += 1;
        let name = SymbolName { venue: "sim".to_owned(), symbol: format!("S{index}") };
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 5 };
        let info = InstrumentInfo { index, id: 100 + index, listed: 0, venue: VenueIndex(0), name, scale };
        self.engine.on_event(&Event::Instrument(Arc::new(info)), self.now);
    }

    fn respond(&mut self) {
        let interests: Vec<_> = self.engine.take_interests().collect();
        for interest in interests {
            if let TopicInterest::Want(topic) = interest {
                let state = TopicState { topic, epoch: EPOCH, sequence: 1, records: Vec::new() };
                self.engine.on_event(&Event::State(Arc::new(state)), self.now);
            }
        }
    }

    fn deliver(&mut self) {
        if self.task != Task::Pending {
            self.respond();
        }
        while self.engine.has_ready() {
            self.engine.take_ready(&mut self.ready);
            for key in std::mem::take(&mut self.ready) {
                self.out.clear();
                self.engine.fill(key, self.now, &WebSocket, &mut self.out);
                black_box(&self.out);
                self.engine.unsent(key, 0, self.now);
            }
        }
    }
}

fn symbol(at: usize) -> String {
    format!("sim:S{at}")
}

fn subscribe(id: u64, symbols: Vec<String>) -> Command {
    let channel = Channel::Quote.name().to_owned();
    Command::Subscribe(Subscribe { id, channel, symbols, max_rate: 0.0 })
}
