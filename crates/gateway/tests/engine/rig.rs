//! An engine, the bus side that feeds it and clients that read what it hands over.

use std::sync::Arc;

use tickwire_core::engine::{Dialect, Engine, EngineLimits, Filled, Opening, Principal, SessionKey};
use tickwire_core::vocabulary::{
    Event, FeedStatus, InstrumentInfo, TopicId, TopicInterest, TopicState, Update, VenueIndex,
};
use tickwire_gateway::WebSocket;
use tickwire_wire::{
    Batch, Body, Book, BookProof, Channel, Command, Encoding, FeedState, GapCause, Level, Message, Quote,
    Record, Scale, Status, Subscribe, Subscribed, SymbolName, Trade, TradingState, encode_command,
    encode_message,
};

pub(crate) const SECOND: u64 = 1_000_000_000;
pub(crate) const EPOCH: u64 = 7;

/// Returns limits without the freshness window, because clients confirm nothing.
pub(crate) fn limits() -> EngineLimits {
    EngineLimits {
        subscriptions_per_session: 100,
        rate_max: 1000.0,
        command_bytes: 4096,
        commands_per_second: 10,
        shed_bytes: 1 << 20,
        shed_end_bytes: 512 << 10,
        close_bytes: 4 << 20,
        no_progress_ns: 30 * SECOND,
        conflating_after_ns: SECOND / 5,
        prompt_after_ns: SECOND,
        freshness_ns: 0,
        window_first_bytes: 2048,
        window_max_bytes: 4 << 20,
        unanswered_ns: 2 * SECOND,
        sessions_expected: 8,
        heartbeat_ns: SECOND,
        heartbeat_ms_min: 250,
        heartbeat_ms_max: 60_000,
        ping_after_ns: 15 * SECOND,
        subscribe_timeout_ns: 5 * SECOND,
        linger_ns: 10 * SECOND,
        log_records_per_topic: 1024,
        log_bytes_per_topic: 1 << 20,
        log_bytes: 256 << 20,
        private_bytes: 256 << 20,
        subscriptions: 1 << 20,
        book_levels: 1 << 20,
        write_bytes: 64 << 10,
        delays: 4,
        depths: 8,
        delayed_bytes: 64 << 20,
    }
}

pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) now: u64,
    pub(crate) infos: Vec<Arc<InstrumentInfo>>,
    opened: usize,
}

/// A client that reads everything at once.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) key: SessionKey,
    pub(crate) encoding: Encoding,
}

/// Makes a rig, and a client with these channels of `sim:A`.
pub(super) fn subscribed(channels: &[Channel]) -> (Rig, Client) {
    let mut rig = Rig::new(limits());
    let client = rig.open(Encoding::Proto);
    for channel in channels {
        rig.subscribe(client, *channel, &["sim:A"]);
    }
    (rig, client)
}

impl Rig {
    /// Makes a rig with `sim:A`, `sim:B` and `sim:C`, whose feed is live.
    pub(crate) fn new(limits: EngineLimits) -> Self {
        let mut rig = Self {
            engine: Engine::new(limits, "tickwire/test"),
            now: 1_000 * SECOND,
            infos: Vec::new(),
            opened: 0,
        };
        rig.feed(FeedState::Live);
        for symbol in ["A", "B", "C"] {
            rig.instrument(symbol);
        }
        rig
    }

    pub(crate) fn feed(&mut self, state: FeedState) {
        let feed = FeedStatus {
            venue: VenueIndex(0),
            name: "sim".into(),
            state,
            since: self.now,
            reason: "".into(),
            proof: BookProof::Chain,
        };
        self.event(Event::Feed(Arc::new(feed)));
    }

    pub(crate) fn instrument(&mut self, symbol: &str) -> u32 {
        let index = self.infos.len() as u32;
        let name = SymbolName { venue: "sim".to_owned(), symbol: symbol.to_owned() };
        let scale = Scale { symbol: name.to_string(), price_decimals: 2, size_decimals: 3 };
        let info =
            Arc::new(InstrumentInfo { index, id: 100 + index, listed: 0, venue: VenueIndex(0), name, scale });
        self.infos.push(Arc::clone(&info));
        self.event(Event::Instrument(info));
        index
    }

    #[allow(clippy::needless_pass_by_value)] // Every caller makes one for this call.
    pub(crate) fn event(&mut self, event: Event) {
        self.engine.on_event(&event, self.now);
    }

    pub(crate) fn open(&mut self, encoding: Encoding) -> Client {
        self.open_with_window(encoding, 0)
    }

    pub(crate) fn open_with_window(&mut self, encoding: Encoding, window_ms: u16) -> Client {
        let opening = self.opening(encoding).with_window(window_ms);
        Client { key: self.engine.open(opening, self.now), encoding }
    }

    pub(crate) fn open_with_heartbeat(&mut self, encoding: Encoding, heartbeat_ms: u32) -> Client {
        let opening = self.opening(encoding).with_heartbeat(heartbeat_ms);
        Client { key: self.engine.open(opening, self.now), encoding }
    }

    /// Opens a session of somebody.
    pub(crate) fn open_as(&mut self, principal: Principal) -> Client {
        self.open_for(principal, Encoding::Proto)
    }

    pub(crate) fn open_for(&mut self, principal: Principal, encoding: Encoding) -> Client {
        let opening = Opening { principal: Arc::new(principal), ..self.opening(encoding) };
        Client { key: self.engine.open(opening, self.now), encoding }
    }

    /// Opens a session of a foreign protocol.
    pub(crate) fn open_foreign(&mut self, dialect: impl Dialect + 'static) -> SessionKey {
        let opening = Opening { dialect: Box::new(dialect), ..self.opening(Encoding::Proto) };
        self.engine.open(opening, self.now)
    }

    fn opening(&mut self, encoding: Encoding) -> Opening {
        self.opened += 1;
        Opening::anonymous(format!("s{}", self.opened), encoding)
    }

    pub(crate) fn send(&mut self, client: Client, command: &Command) {
        let mut bytes = Vec::new();
        encode_command(client.encoding, command, &mut bytes);
        self.engine.on_message(client.key, &bytes, self.now);
    }

    /// Subscribes, starts the topics that are new, and returns the response and what came with it.
    pub(crate) fn subscribe(&mut self, client: Client, channel: Channel, symbols: &[&str]) -> Vec<Message> {
        self.send(client, &subscribe(1, channel.name(), symbols));
        self.grant_interests();
        self.read(client)
    }

    /// Answers every interest with an empty topic.
    pub(crate) fn grant_interests(&mut self) {
        let interests: Vec<_> = self.engine.take_interests().collect();
        for interest in interests {
            if let TopicInterest::Want(topic) = interest {
                self.state(topic, 0, Vec::new());
            }
        }
    }

    pub(crate) fn state(&mut self, topic: TopicId, sequence: u64, records: Vec<Arc<Update>>) {
        self.event(Event::State(Arc::new(TopicState { topic, epoch: EPOCH, sequence, records })));
    }

    /// Publishes one record over the bus; returns it with its bytes.
    pub(crate) fn publish(&mut self, instrument: u32, sequence: u64, body: Body) -> Arc<Update> {
        let update = self.bus_update(instrument, EPOCH, sequence, body);
        self.event(Event::Update(Arc::clone(&update)));
        update
    }

    pub(crate) fn bus_update(&self, instrument: u32, epoch: u64, sequence: u64, body: Body) -> Arc<Update> {
        let record = self.record(instrument, sequence, body);
        bus_update(&self.infos[instrument as usize], Encoding::Proto, epoch, &record)
    }

    /// Publishes one record that is received and arrives just now.
    pub(crate) fn publish_now(&mut self, instrument: u32, sequence: u64, body: Body) -> Arc<Update> {
        let record = Record { receive_time: self.now, ..self.record(instrument, sequence, body) };
        let info = Arc::clone(&self.infos[instrument as usize]);
        let mut bytes = Vec::new();
        encode_message(Encoding::Proto, &Message::Record(record.clone()), &info.scale, &mut bytes);
        let numbers = (sequence, sequence);
        let update = Update::from_bus(info, record.channel(), EPOCH, numbers, Encoding::Proto, &bytes);
        let update = Arc::new(update.at(self.now));
        self.event(Event::Update(Arc::clone(&update)));
        update
    }

    /// Lets time pass, in seconds, with a tick in each.
    pub(crate) fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += SECOND;
            self.engine.on_timer(self.now);
            self.engine.tick(self.now);
        }
    }

    pub(crate) fn record(&self, instrument: u32, sequence: u64, body: Body) -> Record {
        let id = self.infos[instrument as usize].id;
        Record { instrument: id, sequence, event_time: 5, receive_time: 9, body }
    }

    pub(crate) fn gap(
        &mut self,
        instrument: u32,
        channel: Channel,
        cause: GapCause,
        first: u64,
        last: u64,
        epoch: u64,
    ) {
        let info = Arc::clone(&self.infos[instrument as usize]);
        let gap = Update::gap(info, channel, cause, first, last, epoch);
        self.event(Event::Update(Arc::new(gap)));
    }

    pub(crate) fn fill(&mut self, client: Client) -> (Vec<u8>, Filled) {
        let mut bytes = Vec::new();
        let filled = self.engine.fill(client.key, self.now, &WebSocket, &mut bytes);
        (bytes, filled)
    }

    /// Reads everything that the client is owed, over a socket that takes everything.
    pub(crate) fn read(&mut self, client: Client) -> Vec<Message> {
        self.read_frames(client).iter().flat_map(|frame| frame.messages(client.encoding)).collect()
    }

    pub(crate) fn read_frames(&mut self, client: Client) -> Vec<WsFrame> {
        let mut frames = Vec::new();
        for _ in 0..10_000 {
            let (bytes, filled) = self.fill(client);
            frames.extend(parse_frames(&bytes));
            self.engine.unsent(client.key, 0, self.now);
            if !filled.more {
                return frames;
            }
            assert!(!bytes.is_empty(), "`fill` says that more is waiting and hands nothing over");
        }
        panic!("`fill` does not come to an end");
    }

    /// Reads market data only.
    pub(crate) fn records(&mut self, client: Client) -> Vec<Record> {
        records(self.read(client))
    }
}

pub(crate) fn records(messages: Vec<Message>) -> Vec<Record> {
    let record = |message| if let Message::Record(record) = message { Some(record) } else { None };
    messages.into_iter().filter_map(record).collect()
}

/// Returns channel, sequence number and, of a gap, its cause and range: how a list of records reads at a glance.
pub(crate) fn brief(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| match &record.body {
            Body::Gap(gap) => {
                let cause = gap.cause().as_str_name().trim_start_matches("GAP_CAUSE_").to_ascii_lowercase();
                format!("{} gap {cause} {}-{}", gap.channel().name(), gap.first_sequence, gap.last_sequence)
            }
            Body::Book(book) if book.snapshot => format!("book {} snapshot", record.sequence),
            Body::Book(book) if book.first_sequence > 0 => {
                format!("book {}-{}", book.first_sequence, record.sequence)
            }
            _ => format!("{} {}", record.channel().name(), record.sequence),
        })
        .collect()
}

pub(crate) fn bus_update(
    info: &Arc<InstrumentInfo>,
    encoding: Encoding,
    epoch: u64,
    record: &Record,
) -> Arc<Update> {
    let mut bytes = Vec::new();
    encode_message(encoding, &Message::Record(record.clone()), &info.scale, &mut bytes);
    let numbers = (record.sequence, record.sequence);
    Arc::new(Update::from_bus(Arc::clone(info), record.channel(), epoch, numbers, encoding, &bytes))
}

pub(crate) fn subscribe(id: u64, channel: &str, symbols: &[&str]) -> Command {
    subscribe_at(id, channel, symbols, 0.0)
}

/// Makes a subscribe command with a rate.
pub(crate) fn subscribe_at(id: u64, channel: &str, symbols: &[&str], max_rate: f64) -> Command {
    let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
    Command::Subscribe(Subscribe { id, channel: channel.to_owned(), symbols, max_rate })
}

pub(crate) fn level(price: i64, size: u64) -> Level {
    Level { price, size }
}

pub(crate) fn quote(price: i64) -> Body {
    Body::Quote(Quote { bid: Some(level(price, 10)), ask: Some(level(price + 1, 20)) })
}

pub(crate) fn trade(price: i64) -> Body {
    Body::Trade(Trade { price, size: 1, ..Trade::default() })
}

pub(crate) fn status(state: TradingState) -> Body {
    Body::Status(Status { state: state as i32, reason: String::new() })
}

pub(crate) fn change(bids: &[Level], asks: &[Level]) -> Body {
    Body::Book(Book { bids: bids.to_vec(), asks: asks.to_vec(), ..Book::default() })
}

pub(crate) fn snapshot(bids: &[Level], asks: &[Level]) -> Body {
    Body::Book(Book { snapshot: true, bids: bids.to_vec(), asks: asks.to_vec(), ..Book::default() })
}

#[track_caller]
pub(crate) fn response(messages: &[Message]) -> &Subscribed {
    let response = messages
        .iter()
        .find_map(|m| if let Message::Subscribed(response) = m { Some(response) } else { None });
    response.unwrap_or_else(|| panic!("no response in {messages:?}"))
}

/// A WebSocket frame of a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WsFrame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

impl WsFrame {
    /// Returns what it says, where it is a data frame.
    pub(crate) fn messages(&self, encoding: Encoding) -> Vec<Message> {
        if self.opcode >= CLOSE {
            return Vec::new();
        }
        assert_eq!(self.opcode, if encoding.is_text() { TEXT } else { BINARY });
        let messages: Result<Vec<_>, _> = Batch::new(encoding, &self.payload).collect();
        let messages = messages.expect("what the engine writes can be read");
        assert!(matches!(messages.last(), Some(Message::Sent(_))), "ends with the send time: {messages:?}");
        messages
    }
}

/// Reads frames by RFC 6455, 5.2: whole, unmasked, with the shortest form of the length.
pub(crate) fn parse_frames(mut bytes: &[u8]) -> Vec<WsFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes[0] & 0xf0, 0x80, "final, no extension bits");
        let (length, head) = match bytes[1] {
            126 => (usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), 4),
            127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()) as usize, 10),
            short => (usize::from(short), 2),
        };
        assert_eq!(
            head,
            if length < 126 {
                2
            } else if length < 1 << 16 {
                4
            } else {
                10
            }
        );
        let payload = bytes[head..head + length].to_vec();
        frames.push(WsFrame { opcode: bytes[0] & 0x0f, payload });
        bytes = &bytes[head + length..];
    }
    frames
}
