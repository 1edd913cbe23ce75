//! The golden vectors: every kind of message and command, with the corners that a decoder gets wrong first.

use tickwire_wire::{
    Bar, Body, Book, BookProof, Channel, Command, Derivative, Encoding, Error, Feed, FeedState, Gap,
    GapCause, Granted, Heartbeat, Hello, Identity, Instrument, Ledger, LedgerEntry, LedgerRequest, Level,
    Limits, Message, Notice, Position, Quote, Receipt, Record, Refused, Resume, ResumePosition, Scale,
    SetRate, Side, Stat, Status, Subscribe, Subscribed, Token, Trade, TradingState, Unsubscribe,
    book_checksum, encode_command, encode_message,
};

/// 2026-01-05 14:30:00.123456789 UTC.
const TIME: u64 = 1_767_623_400_123_456_789;
/// The epoch of the examples: any number that no other run has.
const EPOCH: u64 = 1_767_600_000_000_000_001;
const INSTRUMENT: u32 = 1042;

/// One vector: its file names start with `name`.
pub(crate) struct Vector {
    pub(crate) name: &'static str,
    /// The lesson of this vector for a reader.
    pub(crate) about: &'static str,
    pub(crate) scale: Scale,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    /// The messages of one WebSocket message, in order.
    Messages(Vec<Message>),
    Command(Command),
}

impl Vector {
    /// Encodes it as bytes of one encoding.
    pub(crate) fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let mut bytes = Vec::new();
        match &self.content {
            Content::Messages(messages) => {
                for message in messages {
                    encode_message(encoding, message, &self.scale, &mut bytes);
                }
            }
            Content::Command(command) => encode_command(encoding, command, &mut bytes),
        }
        bytes
    }

    /// Returns the name of its file in `proto/vectors`.
    pub(crate) fn file(&self, encoding: Encoding) -> String {
        let extension = if encoding.is_text() { "json".to_owned() } else { format!("{encoding}.bin") };
        format!("{}.{extension}", self.name)
    }
}

/// Makes all vectors.
pub(crate) fn all() -> Vec<Vector> {
    let mut all = market_data();
    all.extend(books());
    all.extend(control());
    all.extend(commands());
    let quote = all[0].content.messages()[0].clone();
    let trade = find(&all, "trade");
    all.push(vector(
        "websocket_message",
        "a whole WebSocket message: several records and the send time last",
        vec![quote, trade, find(&all, "book_delta"), find(&all, "gap"), Message::Sent(TIME + 450_000)],
    ));
    all
}

/// Makes the levels of the worked checksum example, bids then asks, best first.
pub(crate) fn checksum_example() -> (Vec<Level>, Vec<Level>) {
    (
        levels(&[(6_183_763, 150_000), (6_183_762, 4_000), (6_183_700, 25_500_000)]),
        levels(&[(6_183_764, 98_765), (6_183_790, 1)]),
    )
}

impl Content {
    pub(crate) fn messages(&self) -> &[Message] {
        match self {
            Self::Messages(messages) => messages,
            Self::Command(_) => &[],
        }
    }
}

fn find(all: &[Vector], name: &str) -> Message {
    let found = all.iter().find(|vector| vector.name == name).expect("a vector of this name");
    found.content.messages()[0].clone()
}

fn scale() -> Scale {
    Scale { symbol: "binance:BTCUSDT".to_owned(), price_decimals: 2, size_decimals: 5 }
}

fn vector(name: &'static str, about: &'static str, messages: Vec<Message>) -> Vector {
    Vector { name, about, scale: scale(), content: Content::Messages(messages) }
}

fn record(sequence: u64, body: Body) -> Vec<Message> {
    let receive_time = TIME + 38_250_000;
    vec![Message::Record(Record { instrument: INSTRUMENT, sequence, event_time: TIME, receive_time, body })]
}

fn level(price: i64, size: u64) -> Level {
    Level { price, size }
}

fn levels(pairs: &[(i64, u64)]) -> Vec<Level> {
    pairs.iter().map(|&(price, size)| Level { price, size }).collect()
}

fn market_data() -> Vec<Vector> {
    let quote = |bid, ask| Body::Quote(Quote { bid: Some(bid), ask: Some(ask) });
    let one_sided = |bid, ask| Body::Quote(Quote { bid, ask });
    let trade = Trade {
        price: 6_183_764,
        size: 1_250,
        aggressor: Side::Buy.into(),
        id: 3_141_592_653,
        id_text: String::new(),
    };
    let bar = Bar {
        interval: 60_000_000_000,
        open_time: 1_767_623_400_000_000_000,
        open: 6_183_500,
        high: 6_184_000,
        low: 6_183_499,
        close: 6_183_764,
        volume: 1_234_567,
        trades: 321,
        closed: false,
        correction: false,
        incomplete: false,
    };
    let derivative = Derivative {
        mark_price: Some(6_183_832_456_789),
        index_price: Some(6_184_012_300_000),
        price_decimals: 8,
        funding_rate: Some(-12_500),
        rate_decimals: 8,
        next_funding_time: 1_767_628_800_000_000_000,
        open_interest: Some(81_234_567),
    };
    let stat = Stat {
        since: 1_767_571_200_000_000_000,
        open: Some(6_100_000),
        high: Some(6_200_000),
        low: Some(6_050_001),
        last: Some(6_183_764),
        volume: 98_765_432_100,
        trades: 456_789,
        incomplete: false,
    };
    let instrument = Instrument {
        venue: "binance".to_owned(),
        symbol: "BTCUSDT".to_owned(),
        price_decimals: 2,
        size_decimals: 5,
        tick_size: 1,
        lot_size: 1,
        base: "BTC".to_owned(),
        quote: "USDT".to_owned(),
        ended: false,
        revision: 0,
        last_sequences: Vec::new(),
    };
    let gap = |last_sequence, epoch, cause: GapCause| {
        Body::Gap(Gap {
            channel: Channel::Trade.into(),
            cause: cause.into(),
            first_sequence: 78,
            last_sequence,
            epoch,
        })
    };
    let mut early = record(9, quote(level(6_183_763, 150_000), level(6_183_764, 98_765)));
    if let Message::Record(record) = &mut early[0] {
        record.receive_time = record.event_time - 1_500;
    }
    vec![
        vector("quote", "a quote", record(7, quote(level(6_183_763, 150_000), level(6_183_764, 98_765)))),
        vector("quote_no_ask", "nobody sells", record(8, one_sided(Some(level(6_183_763, 150_000)), None))),
        vector(
            "quote_no_bid",
            "nobody buys: ask_offset is the ask",
            record(8, one_sided(None, Some(level(6_183_764, 5)))),
        ),
        vector("quote_empty", "neither side", record(8, one_sided(None, None))),
        vector("quote_negative", "negative prices", record(8, quote(level(-3_763, 100), level(-3_700, 200)))),
        vector(
            "quote_crossed",
            "the ask below the bid: ask_offset is negative",
            record(8, quote(level(105, 1), level(100, 2))),
        ),
        vector(
            "quote_zero",
            "a bid at price 0 of size 0 is a bid",
            record(8, quote(level(0, 0), level(0, 0))),
        ),
        vector("quote_early", "the venue's clock is ahead: receive_delay is negative", early),
        vector(
            "quote_extreme",
            "the ends of every range; sums wrap at 64 bits",
            vec![Message::Record(Record {
                instrument: u32::MAX,
                sequence: (1 << 53) - 1,
                event_time: u64::MAX,
                receive_time: 0,
                body: quote(level(i64::MIN, u64::MAX), level(i64::MAX, u64::MAX)),
            })],
        ),
        vector("trade", "a trade with the venue's id", record(77, Body::Trade(trade.clone()))),
        vector(
            "trade_text_id",
            "a trade whose id is no number",
            record(
                78,
                Body::Trade(Trade {
                    id: 0,
                    id_text: "TXN-9/Ä\"1\"".to_owned(),
                    aggressor: Side::Sell.into(),
                    ..trade
                }),
            ),
        ),
        vector(
            "trade_bare",
            "no aggressor, no id",
            record(79, Body::Trade(Trade { price: -1, size: 1, ..Trade::default() })),
        ),
        vector("bar", "a bar that still changes", record(12, Body::Bar(bar))),
        vector("bar_closed", "a bar that is over", record(13, Body::Bar(Bar { closed: true, ..bar }))),
        vector(
            "bar_correction",
            "a closed bar, stated anew after a late trade; others of its interval are missing",
            record(14, Body::Bar(Bar { closed: true, correction: true, incomplete: true, ..bar })),
        ),
        vector("stat", "ticker statistics", record(5, Body::Stat(stat))),
        vector(
            "stat_empty",
            "before the first trade",
            record(1, Body::Stat(Stat { since: stat.since, ..Stat::default() })),
        ),
        vector(
            "stat_incomplete",
            "trades are known to be missing",
            record(6, Body::Stat(Stat { incomplete: true, ..stat })),
        ),
        vector(
            "derivative",
            "mark and index price are finer than the instrument's prices",
            record(21, Body::Derivative(derivative)),
        ),
        vector(
            "derivative_unknown",
            "nothing is known but what is open",
            record(22, Body::Derivative(Derivative { open_interest: Some(0), ..Derivative::default() })),
        ),
        vector(
            "status",
            "trading is halted",
            record(
                2,
                Body::Status(Status { state: TradingState::Halted.into(), reason: "LULD pause".to_owned() }),
            ),
        ),
        vector("instrument", "a definition", record(1, Body::Instrument(instrument.clone()))),
        vector(
            "instrument_ended",
            "an instrument that is not listed any more",
            record(
                2,
                Body::Instrument(Instrument {
                    ended: true,
                    revision: 7,
                    last_sequences: vec![9_000, 77, 8_000, 61, 0, 3, 2, 0],
                    ..instrument.clone()
                }),
            ),
        ),
        vector(
            "instrument_odd",
            "symbols may hold anything, decimals may be 0",
            record(
                1,
                Body::Instrument(Instrument {
                    venue: "kraken".to_owned(),
                    symbol: "XBT/USD: a.b > *".to_owned(),
                    price_decimals: 0,
                    size_decimals: 18,
                    tick_size: 0,
                    lot_size: 0,
                    base: String::new(),
                    quote: String::new(),
                    ended: false,
                    revision: 0,
                    last_sequences: Vec::new(),
                }),
            ),
        ),
        vector("gap", "a gap of known end", record(80, gap(80, EPOCH, GapCause::Shed))),
        vector(
            "gap_open",
            "a gap of unknown end: the sequence is new",
            record(0, gap(0, EPOCH + 1, GapCause::Ingest)),
        ),
        vector("sent", "the send time, alone", vec![Message::Sent(TIME + 450_000)]),
    ]
}

fn books() -> Vec<Vector> {
    let (bids, asks) = checksum_example();
    let checksum = Some(book_checksum(bids.iter().copied(), asks.iter().copied()));
    let snapshot = Book { snapshot: true, first_sequence: 0, bids, asks, checksum };
    let delta = Book {
        snapshot: false,
        first_sequence: 0,
        bids: levels(&[(6_183_763, 120_000), (6_183_762, 0)]),
        asks: levels(&[(6_183_790, 7)]),
        checksum: Some(book_checksum(
            levels(&[(6_183_763, 120_000), (6_183_700, 25_500_000)]).into_iter(),
            levels(&[(6_183_764, 98_765), (6_183_790, 7)]).into_iter(),
        )),
    };
    let merged = Book {
        snapshot: false,
        first_sequence: 42,
        bids: levels(&[(6_183_700, 0)]),
        asks: levels(&[(6_183_764, 0), (6_183_765, 33)]),
        checksum: Some(book_checksum(
            levels(&[(6_183_763, 120_000)]).into_iter(),
            levels(&[(6_183_765, 33), (6_183_790, 7)]).into_iter(),
        )),
    };
    let negative = Book {
        snapshot: true,
        bids: levels(&[(-100, 1), (-250, 2)]),
        asks: levels(&[(-99, 3), (5, 4)]),
        ..Book::default()
    };
    vec![
        vector("book_snapshot", "all levels", record(40, Body::Book(snapshot))),
        vector("book_delta", "one change on top of the snapshot", record(41, Body::Book(delta))),
        vector("book_merged", "changes 42 to 45 merged, on top of the delta", record(45, Body::Book(merged))),
        vector(
            "book_empty",
            "a book without levels",
            record(1, Body::Book(Book { snapshot: true, ..Book::default() })),
        ),
        vector("book_negative", "negative prices, no checksum", record(3, Body::Book(negative))),
    ]
}

fn control() -> Vec<Vector> {
    let hello = Hello {
        session: "s-7f3a".to_owned(),
        protocol_version: 1,
        schema: "0badcafe".to_owned(),
        heartbeat_ms: 1000,
        limits: Some(Limits {
            subscriptions: 4096,
            command_bytes: 65_536,
            commands_per_second: 20,
            shed_bytes: 1 << 20,
            close_bytes: 4 << 20,
            max_rate: 1000.0,
        }),
        server: "tickwire 0.1.0".to_owned(),
        window_ms: 16,
        token_expires: 0,
        token_within_ms: 0,
    };
    let limits = hello.limits;
    let granted = Granted {
        channel: Channel::Quote.into(),
        symbol: "binance:BTCUSDT".to_owned(),
        instrument: INSTRUMENT,
        price_decimals: 2,
        size_decimals: 5,
        max_rate: 12.5,
        epoch: EPOCH,
        sequence: 6,
        delay_ms: 0,
        depth: 0,
    };
    let shallow = Granted { channel: Channel::Book.into(), depth: 10, max_rate: 0.0, ..granted.clone() };
    let late = Granted { delay_ms: 900_000, sequence: 5, ..granted.clone() };
    let refused = Refused {
        channel: Channel::Quote.into(),
        symbol: "binance:NOPE".to_owned(),
        code: "unknown_symbol".to_owned(),
        message: "binance has no NOPE".to_owned(),
        may_retry: true,
    };
    let heartbeat = Heartbeat {
        time: TIME,
        feeds: vec![
            feed("binance", FeedState::Live, "", BookProof::SymbolSequence),
            feed("kraken", FeedState::Stale, "venue closed the connection", BookProof::Checksum),
            feed("sim", FeedState::Down, "", BookProof::Unverifiable),
        ],
        positions: vec![
            Position { instrument: INSTRUMENT, channel: Channel::Quote.into(), epoch: EPOCH, sequence: 7 },
            Position { instrument: INSTRUMENT, channel: Channel::Trade.into(), epoch: EPOCH, sequence: 80 },
        ],
    };
    let entry = LedgerEntry {
        instrument: INSTRUMENT,
        channel: Channel::Quote.into(),
        symbol: "binance:BTCUSDT".to_owned(),
        published: 100,
        delivered: 61,
        conflated: 36,
        dropped: 1,
        filtered: 2,
    };
    vec![
        vector("hello", "the first record of a session", vec![Message::Hello(hello)]),
        vector(
            "hello_bare",
            "absent limits",
            vec![Message::Hello(Hello { protocol_version: 1, ..Hello::default() })],
        ),
        vector(
            "hello_token",
            "a session with a token that ends, or one that waits for its token",
            vec![
                Message::Hello(Hello { token_expires: TIME + 900_000_000_000, ..hello_of_tokens() }),
                Message::Hello(Hello { token_within_ms: 5_000, ..hello_of_tokens() }),
            ],
        ),
        vector(
            "identity",
            "the response to a token, with limits and without",
            vec![
                Message::Identity(Identity {
                    id: 9,
                    name: "desk-7".to_owned(),
                    token_expires: TIME + 900_000_000_000,
                    limits,
                }),
                Message::Identity(Identity { id: 10, name: "desk-8".to_owned(), ..Identity::default() }),
            ],
        ),
        vector(
            "subscribed",
            "one symbol granted, one refused",
            vec![Message::Subscribed(Subscribed { id: 3, granted: vec![granted], refused: vec![refused] })],
        ),
        vector(
            "subscribed_delayed",
            "a grant of what comes 15 minutes late",
            vec![Message::Subscribed(Subscribed { id: 5, granted: vec![late], refused: Vec::new() })],
        ),
        vector(
            "subscribed_to_a_depth",
            "a grant of a book of ten levels on each side",
            vec![Message::Subscribed(Subscribed { id: 6, granted: vec![shallow], refused: Vec::new() })],
        ),
        vector(
            "subscribed_empty",
            "a response without symbols",
            vec![Message::Subscribed(Subscribed { id: 4, ..Subscribed::default() })],
        ),
        vector(
            "notice",
            "the session falls behind",
            vec![Message::Notice(Notice {
                code: "conflating".to_owned(),
                message: "only the newest values are sent".to_owned(),
                conflated: 17,
                dropped: 2,
                retry_after_ms: 0,
            })],
        ),
        vector("heartbeat", "feeds and positions", vec![Message::Heartbeat(heartbeat)]),
        vector(
            "heartbeat_quiet",
            "nothing moved",
            vec![Message::Heartbeat(Heartbeat { time: TIME, ..Heartbeat::default() })],
        ),
        vector(
            "ledger",
            "sums agree: 100 = 61 + 36 + 1 + 2",
            vec![Message::Ledger(Ledger { id: 9, entries: vec![entry] })],
        ),
        vector(
            "error",
            "a command that could not be read",
            vec![Message::Error(Error {
                id: 0,
                code: "bad_command".to_owned(),
                message: "no command".to_owned(),
            })],
        ),
    ]
}

fn hello_of_tokens() -> Hello {
    Hello { session: "s-7f3b".to_owned(), protocol_version: 1, ..Hello::default() }
}

fn feed(venue: &str, state: FeedState, reason: &str, proof: BookProof) -> Feed {
    Feed {
        venue: venue.to_owned(),
        state: state.into(),
        since: TIME - 1_000_000_000,
        reason: reason.to_owned(),
        book_proof: proof.into(),
    }
}

fn commands() -> Vec<Vector> {
    let symbols = || vec!["binance:BTCUSDT".to_owned(), "kraken:XBT/USD".to_owned(), "sim:*".to_owned()];
    let channel = || "quote".to_owned();
    let position = ResumePosition {
        channel: "trade".to_owned(),
        symbol: "binance:BTCUSDT".to_owned(),
        epoch: EPOCH,
        sequence: 77,
    };
    let command = |name, about, command| Vector {
        name,
        about,
        scale: Scale::default(),
        content: Content::Command(command),
    };
    vec![
        command(
            "subscribe",
            "three symbols at most ten times a second",
            Command::Subscribe(Subscribe { id: 1, channel: channel(), symbols: symbols(), max_rate: 10.0 }),
        ),
        command(
            "subscribe_all_updates",
            "no rate asked for",
            Command::Subscribe(Subscribe {
                id: 2,
                channel: "trade".to_owned(),
                symbols: vec!["sim:A".to_owned()],
                max_rate: 0.0,
            }),
        ),
        command(
            "unsubscribe",
            "",
            Command::Unsubscribe(Unsubscribe { id: 5, channel: channel(), symbols: symbols() }),
        ),
        command(
            "set_rate",
            "a rate below one",
            Command::SetRate(SetRate { id: 6, channel: channel(), symbols: symbols(), max_rate: 0.5 }),
        ),
        command("resume", "", Command::Resume(Resume { id: 7, positions: vec![position] })),
        command(
            "receipt",
            "",
            Command::Receipt(Receipt { sent_time: TIME + 450_000, reader_lag_ns: 2_500_000 }),
        ),
        command("ledger_request", "", Command::Ledger(LedgerRequest { id: 8 })),
        command(
            "token",
            "",
            Command::Token(Token { id: 9, token: "eyJhbGciOiJFZERTQSJ9.e30.c2ln".to_owned() }),
        ),
    ]
}
