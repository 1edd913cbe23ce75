//! A stream as Arrow IPC, and what polars finds in it.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tickwire_wire::{
    Body, Channel, Encoding, Gap, Granted, Hello, Level, Message, Quote, Record, Scale, Subscribed, Trade,
    encode_message, encode_sent_time,
};

const START: u64 = 1_767_607_200_000_000_000;

fn granted(instrument: u32, symbol: &str, price_decimals: u32) -> Granted {
    let symbol = symbol.to_owned();
    Granted { instrument, symbol, price_decimals, size_decimals: 3, ..Granted::default() }
}

fn record(instrument: u32, time: u64, body: Body) -> Message {
    let (event_time, receive_time) = (START + time, START + time);
    Message::Record(Record { instrument, sequence: time, event_time, receive_time, body })
}

fn bytes(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        encode_message(Encoding::Proto, message, &Scale::default(), &mut bytes);
    }
    encode_sent_time(Encoding::Proto, START, &mut bytes);
    bytes
}

fn start(channel: &str) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tickwire-export"));
    command.args(["--arrow", channel]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn stream() -> Vec<Message> {
    let trade = |price| Body::Trade(Trade { price, size: 2_500, aggressor: 1, id: 7, ..Trade::default() });
    let gap = Gap { channel: Channel::Trade as i32, first_sequence: 3, last_sequence: 5, ..Gap::default() };
    let level = |price| Some(Level { price, size: 1 });
    vec![
        Message::Hello(Hello::default()),
        Message::Subscribed(Subscribed {
            granted: vec![granted(1, "sim:A", 2), granted(2, "sim:B", 4)],
            ..Subscribed::default()
        }),
        record(1, 1, trade(1_005)),
        record(1, 2, Body::Quote(Quote { bid: level(1_000), ask: level(1_001) })),
        record(1, 5, Body::Gap(gap)),
        record(2, 6, trade(70_000)),
    ]
}

/// Returns what polars finds.
fn found(arrow: &[u8]) -> serde_json::Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python =
        std::env::var("TICKWIRE_PYTHON").map_or_else(|_| root.join(".cache/venv/bin/python"), Into::into);
    let mut reader = Command::new(python)
        .arg(root.join("tests/python/read_arrow.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(arrow).unwrap();
    serde_json::from_slice(&reader.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn rows_of_a_channel_and_what_is_missing() {
    let mut program = start("trade");
    program.stdin.take().unwrap().write_all(&bytes(&stream())).unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found = found(&output.stdout);
    let columns = [
        "symbol",
        "price_scale",
        "size_scale",
        "receive_time",
        "event_time",
        "price",
        "size",
        "aggressor",
        "id",
        "id_text",
        "is_gap",
        "missing",
    ];
    assert_eq!(found["columns"], serde_json::json!(columns));
    let cells = |row: usize, names: &[&str]| {
        let cell = |name: &&str| {
            let at = columns.iter().position(|column| column == name).unwrap();
            found["rows"][row][at].as_str().unwrap().to_owned()
        };
        names.iter().map(cell).collect::<Vec<_>>()
    };
    let names = ["symbol", "price_scale", "size_scale", "price", "size", "aggressor", "is_gap", "missing"];
    assert_eq!(cells(0, &names), ["A", "2", "3", "1005", "2500", "buy", "False", "None"]);
    assert_eq!(cells(1, &names), ["A", "2", "3", "None", "None", "None", "True", "3"]);
    assert_eq!(cells(2, &names), ["B", "4", "3", "70000", "2500", "buy", "False", "None"]);
    assert_eq!(found["rows"].as_array().unwrap().len(), 3);
}

#[test]
fn rows_come_while_the_stream_goes_on() {
    let mut program = start("quote");
    let mut input = program.stdin.take().unwrap();
    input.write_all(&bytes(&stream())).unwrap();
    input.flush().unwrap();
    // The rows follow the columns though the stream goes on.
    let mut columns_only = start("quote");
    columns_only.stdin.take().unwrap().write_all(&bytes(&stream()[..2])).unwrap();
    let columns = columns_only.wait_with_output().unwrap().stdout.len();
    let mut output = program.stdout.take().unwrap();
    let mut come = vec![0; columns + 1];
    output.read_exact(&mut come).unwrap();
    drop(input);
    output.read_to_end(&mut come).unwrap();
    assert!(program.wait().unwrap().success());
    assert_eq!(found(&come)["rows"].as_array().unwrap().len(), 1);
}

#[test]
fn what_cannot_be_written_is_told() {
    for (channel, input, status, reason) in [
        ("bar", bytes(&stream()), 1, "no form in Arrow"),
        ("trade", b"nonsense".to_vec(), 1, "cannot be read"),
        ("trade", bytes(&stream())[..200.min(bytes(&stream()).len() - 20)].to_vec(), 3, ""),
    ] {
        let mut program = start(channel);
        let _ = program.stdin.take().unwrap().write_all(&input);
        let output = program.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(status) && told.contains(reason), "{channel}: {told}");
    }
}
