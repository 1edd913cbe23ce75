//! Bytes per record, measured on values as a busy BTCUSDT has them.

use std::fmt::Write;

use tickwire_wire::{
    Bar, Body, Book, Channel, Derivative, Encoding, Gap, GapCause, Heartbeat, Instrument, Level, Message,
    Position, Quote, Record, Scale, Side, Stat, Status, Trade, TradingState, encode_message,
};

const TIME: u64 = 1_767_623_400_123_456_789;
const MINUTE: u64 = 60_000_000_000;

/// Returns the content of `docs/wire-sizes.md`.
pub(crate) fn markdown() -> String {
    let mut out = String::from(
        "# Bytes per record\n\n\
         Written by `cargo run -p tickwire-wire --example sizes`; a test fails when this file is stale.\n\n\
         Each cell is one record as it stands in a WebSocket message, with its key and length (Protobuf), array header \
         (MessagePack) or line end (JSON). The values are those of BTCUSDT at a venue with 2 price and 5 size decimals, \
         after some 270 million records of the channel. In brackets is the share of the JSON encoding's bytes.\n\n\
         | record | Protobuf | MessagePack | JSON |\n|---|---:|---:|---:|\n",
    );
    for (name, message) in rows() {
        let [proto, msgpack, json] = Encoding::ALL.map(|encoding| bytes(encoding, &message));
        let share = |bytes: usize| (bytes * 100).div_ceil(json);
        let _ = writeln!(
            out,
            "| {name} | {proto} ({} %) | {msgpack} ({} %) | {json} |",
            share(proto),
            share(msgpack)
        );
    }
    out.push_str(
        "\nThe send time comes once in each WebSocket message, whatever the number of its records; the WebSocket header \
         adds 2 bytes to a message below 126 bytes, 4 below 64 KiB.\n\n\
         ## Bounds within which a quote takes at most 40 bytes of Protobuf\n\n\
         All at once; a quote at all of the bounds takes exactly 40 bytes (tested):\n\n\
         | value | up to | beyond it |\n|---|---|---|\n\
         | instrument id | 16,383 | +1 byte up to 2,097,151 |\n\
         | sequence | 34,359,738,367 (2^35 - 1) | +1 byte for 128 times as many |\n\
         | receive delay | 134 ms, either way (2^27 ns) | +1 byte up to 17 s |\n\
         | bid price, in price steps | 134,217,727 (every price of 8 digits), either sign | +1 byte up to 17 billion |\n\
         | bid size, ask size, in size steps | 2,097,151 (of 7 digits those below 2.1 million; here 20.9 BTC) | \
         +1 byte each up to 268 million |\n\
         | spread, in price steps | 63, either way | +1 byte up to 8,191 |\n",
    );
    out
}

/// Returns how many bytes one record takes in a message.
pub(crate) fn bytes(encoding: Encoding, message: &Message) -> usize {
    let scale = Scale { symbol: "binance:BTCUSDT".to_owned(), price_decimals: 2, size_decimals: 5 };
    let mut out = Vec::new();
    encode_message(encoding, message, &scale, &mut out);
    out.len()
}

/// Returns the largest quote within the bounds that the text states.
pub(crate) fn quote_at_the_bounds() -> Message {
    quote(16_383, (1 << 35) - 1, (1 << 27) - 1, (1 << 27) - 1, (1 << 21) - 1, 63)
}

/// Makes a quote of these values.
pub(crate) fn quote(instrument: u32, sequence: u64, delay: i64, bid: i64, size: u64, spread: i64) -> Message {
    let body =
        Quote { bid: Some(Level { price: bid, size }), ask: Some(Level { price: bid + spread, size }) };
    let receive_time = TIME.wrapping_add_signed(delay);
    Message::Record(Record { instrument, sequence, event_time: TIME, receive_time, body: Body::Quote(body) })
}

fn record(body: Body) -> Message {
    Message::Record(Record {
        instrument: 1042,
        sequence: 268_123_456,
        event_time: TIME,
        receive_time: TIME + 38_250_000,
        body,
    })
}

/// Makes `count` levels away from the best price, in steps as they occur.
fn levels(best: i64, step: i64, count: u64) -> Vec<Level> {
    (0..count)
        .map(|i| Level { price: best + step * (i * i) as i64, size: 150_000 * (i + 1) / (i + 2) })
        .collect()
}

fn rows() -> Vec<(&'static str, Message)> {
    let book = |snapshot, count| {
        record(Body::Book(Book {
            snapshot,
            first_sequence: 0,
            bids: levels(6_183_763, -1, count),
            asks: levels(6_183_764, 1, count),
            checksum: Some(0x7d_dc_3a_5a),
        }))
    };
    let merged = Body::Book(Book {
        first_sequence: 268_123_440,
        bids: levels(6_183_763, -1, 5),
        asks: levels(6_183_764, 1, 5),
        checksum: Some(0x7d_dc_3a_5a),
        snapshot: false,
    });
    let trade = Trade {
        price: 6_183_764,
        size: 1_250,
        aggressor: Side::Buy.into(),
        id: 3_141_592_653,
        id_text: String::new(),
    };
    let bar = Bar {
        interval: MINUTE,
        open_time: TIME / MINUTE * MINUTE,
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
        next_funding_time: TIME,
        open_interest: None,
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
    let gap = Gap {
        channel: Channel::Trade.into(),
        cause: GapCause::Shed.into(),
        first_sequence: 268_123_000,
        last_sequence: 268_123_456,
        epoch: 1_767_600_000_000_000_001,
    };
    let positions = (1042..1052).map(|instrument| Position {
        instrument,
        channel: Channel::Quote.into(),
        epoch: 1_767_600_000_000_000_001,
        sequence: 268_123_456,
    });
    let heartbeat = Heartbeat { time: TIME, feeds: Vec::new(), positions: positions.collect() };
    vec![
        ("quote", quote(1042, 268_123_456, 38_250_000, 6_183_763, 150_000, 1)),
        ("trade", record(Body::Trade(trade))),
        ("book change, 1 level a side", book(false, 1)),
        ("book change, merged, 5 levels a side", record(merged)),
        ("book snapshot, 20 levels a side", book(true, 20)),
        ("book snapshot, 1,000 levels a side", book(true, 1000)),
        ("bar", record(Body::Bar(bar))),
        ("stat", record(Body::Stat(stat))),
        ("derivative", record(Body::Derivative(derivative))),
        ("status", record(Body::Status(Status { state: TradingState::Open.into(), reason: String::new() }))),
        ("instrument", record(Body::Instrument(instrument))),
        ("gap", record(Body::Gap(gap))),
        ("heartbeat, nothing moved", Message::Heartbeat(Heartbeat { time: TIME, ..Heartbeat::default() })),
        ("heartbeat, 10 positions", Message::Heartbeat(heartbeat)),
        ("send time", Message::Sent(TIME)),
    ]
}
