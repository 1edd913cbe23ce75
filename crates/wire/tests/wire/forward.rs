//! Newer senders: what this build does not know is passed over. Commands are not passed over, because people type them.

use prost::encoding::{WireType, encode_key, encode_varint};
use tickwire_wire::bus_frame::{BusFrameError, BusHeader};
use tickwire_wire::{
    Batch, Channel, Command, DecodeError, Encoding, Granted, Hello, Identity, Limits, Message, Scale,
    SetRate, Subscribe, Subscribed, decode_command, encode_command, encode_message, encode_sent_time,
};

use crate::set::{self, Content};
use crate::vectors::decode_all;

fn message(name: &str) -> Message {
    let vector = set::all().into_iter().find(|vector| vector.name == name).unwrap();
    vector.content.messages()[0].clone()
}

fn encode(encoding: Encoding, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_message(encoding, message, &Scale::default(), &mut bytes);
    bytes
}

/// Makes a length-delimited Protobuf field.
fn field(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn unknown_kinds_are_passed_over() {
    let (quote, error) = (message("quote"), message("error"));
    let unknown = [
        (Encoding::Proto, [field(1, &field(99, b"new body")), field(7, b"new part of a frame")].concat()),
        (Encoding::Proto, vec![0x3b, 0x40, 0x01, 0x3c]), // a group, as proto2 had them
        (Encoding::MsgPack, vec![0x93, 99, 0x81, 0xa1, b'a', 0xc0, 0xc7, 2, 5, 1, 2]), // [99, {"a": nil}, an extension]
        (Encoding::MsgPack, vec![0x91, 0xcd, 0x10, 0x08]), // [4104]: not 8 after cutting to a byte
        (Encoding::Json, b"{\"type\":\"new\",\"sequence\":\"text\",\"deep\":[{}]}\n".to_vec()),
    ];
    for (encoding, unknown) in unknown {
        let bytes = [encode(encoding, &quote), unknown, encode(encoding, &error)].concat();
        assert_eq!(decode_all(encoding, &bytes), [quote.clone(), error.clone()], "{encoding}");
    }
}

/// Reads every message after its outer array and the body in it were made longer by elements of all kinds.
#[test]
fn longer_arrays_are_read() {
    let more = [0xc0, 0xa1, b'x', 0x92, 1, 2, 0x81, 1, 2, 0xd4, 5, 6, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0]; // 6 elements
    let longer = |bytes: &[u8]| [&[0xdc, 0, (bytes[0] & 15) + 6], &bytes[1..], &more].concat();
    for vector in set::all() {
        for message in vector.content.messages() {
            let bytes = longer(&encode(Encoding::MsgPack, message));
            assert_eq!(
                decode_all(Encoding::MsgPack, &bytes),
                std::slice::from_ref(message),
                "{}",
                vector.name
            );
        }
        if let Content::Command(command) = &vector.content {
            let bytes = vector.encode(Encoding::MsgPack);
            // In [op, body] the body is longer too.
            let bytes = [&[0x92, bytes[1]], longer(&bytes[2..]).as_slice()].concat();
            for bytes in [longer(&bytes), bytes] {
                assert_eq!(
                    decode_command(Encoding::MsgPack, &bytes).as_ref(),
                    Ok(command),
                    "{}",
                    vector.name
                );
            }
        }
    }
    // This is a body, and an element of a list in it: [19, [time, [], [[1, 2, 3, 4, nil]], nil]].
    let bytes = [0x92, 19, 0x94, 5, 0x90, 0x91, 0x95, 1, 2, 3, 4, 0xc0, 0xc0];
    let [Message::Heartbeat(heartbeat)] = &decode_all(Encoding::MsgPack, &bytes)[..] else { panic!() };
    assert_eq!((heartbeat.time, heartbeat.positions[0].sequence), (5, 4));
}

#[test]
fn unknown_fields_are_passed_over() {
    for vector in set::all() {
        for message in vector.content.messages() {
            if matches!(message, Message::Sent(_)) {
                continue;
            }
            let record = encode(Encoding::Proto, message);
            let (_, body) = decode_varint_frame(&record);
            let bytes = field(1, &[body, &field(500, b"new"), &[0xa8, 0x7d, 1]].concat());
            assert_eq!(decode_all(Encoding::Proto, &bytes), std::slice::from_ref(message), "{}", vector.name);

            let line = String::from_utf8(encode(Encoding::Json, message)).unwrap();
            let line = line.replacen('{', "{\"new\":{\"type\":[1]},", 1);
            assert_eq!(
                decode_all(Encoding::Json, line.as_bytes()),
                std::slice::from_ref(message),
                "{}",
                vector.name
            );
        }
    }
    let granted = br#"{"type":"subscribed","id":1,"granted":[{"symbol":"sim:A","new":1}]}"#;
    let [Message::Subscribed(subscribed)] = &decode_all(Encoding::Json, granted)[..] else { panic!() };
    assert_eq!(subscribed.granted[0].symbol, "sim:A");
}

/// Returns the content of the first field.
fn decode_varint_frame(mut bytes: &[u8]) -> (u32, &[u8]) {
    let (tag, _) = prost::encoding::decode_key(&mut bytes).unwrap();
    let length = prost::encoding::decode_varint(&mut bytes).unwrap();
    (tag, &bytes[..length as usize])
}

#[track_caller]
fn check_refused(encoding: Encoding, bytes: &[u8], reason: &str) {
    let error = decode_command(encoding, bytes).unwrap_err().to_string();
    assert!(error.contains(reason), "`{error}` does not say `{reason}`");
}

#[test]
fn bad_commands_are_told_what_exists() {
    let json = |text: &str, reason: &str| check_refused(Encoding::Json, text.as_bytes(), reason);
    json(
        r#"{"op":"subscribe","symbol":"sim:A"}"#,
        "unknown field `symbol`, expected one of `id`, `channel`, `symbols`, `max_rate`",
    );
    json(
        r#"{"op":"resume","positions":[{"seq":1}]}"#,
        "unknown field `seq`, expected one of `channel`, `symbol`",
    );
    json(
        r#"{"op":"subscribed"}"#,
        "unknown op `subscribed`, expected one of `subscribe`, `unsubscribe`, `set_rate`",
    );
    json(r#"{"id":1}"#, "missing field `op`");
    json(r#"{"op":"ledger","op":"ledger"}"#, "duplicate field `op`");
    json(r#"{"op":"ledger","id":1}{"op":"ledger","id":2}"#, "trailing characters");
    json(r#"{"op":"subscribe","max_rate":-1}"#, "max_rate -1 is no rate");
    json(r#"["subscribe"]"#, "invalid");
    json("", "EOF");
    check_refused(Encoding::MsgPack, &[0x92, 8, 0x91, 1], "operation 8 is unknown; 1 to 7 exist");
    check_refused(Encoding::MsgPack, &[0x92, 6, 0x91, 1, 0x92, 6, 0x91, 1], "4 bytes follow");
    check_refused(Encoding::MsgPack, &[0x81, 0xa2, b'o', b'p', 6], "invalid type: map");
    check_refused(Encoding::MsgPack, &[0x92, 6, 0x81, 0xa2, b'i', b'd', 6], "arrays, never maps");
    check_refused(Encoding::MsgPack, &[0x92, 6, 0x90], "an empty array is no message");
    check_refused(Encoding::Proto, &[], "no command");
    check_refused(Encoding::Proto, &field(9, b""), "no command");
}

#[test]
fn two_protobuf_commands_in_one_message_are_refused() {
    let command = Command::Ledger(tickwire_wire::LedgerRequest { id: 1 });
    let mut bytes = Vec::new();
    encode_command(Encoding::Proto, &command, &mut bytes);
    check_refused(Encoding::Proto, &bytes.repeat(2), "more than one command");
    let newer = [field(200, b"new"), bytes].concat();
    assert_eq!(decode_command(Encoding::Proto, &newer), Ok(command));
}

#[test]
fn rates_that_are_none_are_refused_in_binary_too() {
    for rate in [f64::NAN, f64::INFINITY, -0.5] {
        let command = Command::SetRate(SetRate { max_rate: rate, ..Default::default() });
        for encoding in [Encoding::Proto, Encoding::MsgPack] {
            let mut bytes = Vec::new();
            encode_command(encoding, &command, &mut bytes);
            check_refused(encoding, &bytes, "is no rate");
        }
    }
}

/// Protobuf writes no zero of either sign, so a message that kept the sign would read differently through another encoding.
#[test]
fn a_rate_of_minus_zero_is_zero_in_every_encoding() {
    let limits = || Some(Limits { max_rate: -0.0, ..Default::default() });
    let granted = Granted { max_rate: -0.0, ..Default::default() };
    let messages = [
        Message::Subscribed(Subscribed { granted: vec![granted], ..Default::default() }),
        Message::Hello(Hello { limits: limits(), ..Default::default() }),
        Message::Identity(Identity { limits: limits(), ..Default::default() }),
    ];
    let commands = [
        Command::Subscribe(Subscribe { max_rate: -0.0, ..Default::default() }),
        Command::SetRate(SetRate { max_rate: -0.0, ..Default::default() }),
    ];
    for encoding in Encoding::ALL {
        for sent in &messages {
            let read = Batch::new(encoding, &encode(encoding, sent)).next().unwrap().unwrap();
            let rate = match &read {
                Message::Subscribed(subscribed) => subscribed.granted[0].max_rate,
                Message::Hello(Hello { limits, .. }) | Message::Identity(Identity { limits, .. }) => {
                    limits.as_ref().unwrap().max_rate
                }
                other => panic!("{other:?}"),
            };
            assert!(rate == 0.0 && rate.is_sign_positive(), "{encoding}: {read:?}");
        }
        for sent in &commands {
            let mut bytes = Vec::new();
            encode_command(encoding, sent, &mut bytes);
            let read = decode_command(encoding, &bytes).unwrap();
            let (Command::Subscribe(Subscribe { max_rate: rate, .. })
            | Command::SetRate(SetRate { max_rate: rate, .. })) = &read
            else {
                panic!("{read:?}")
            };
            assert!(*rate == 0.0 && rate.is_sign_positive(), "{encoding}: {read:?}");
        }
    }
}

/// An error travels back to the client and into logs: it must not carry the client's whole message.
#[test]
fn errors_are_short() {
    let text = format!("{{\"op\":\"subscribe\",\"{}\":1}}", "ä".repeat(50_000));
    let error = decode_command(Encoding::Json, text.as_bytes()).unwrap_err();
    assert_eq!(error.reason.chars().count(), DecodeError::REASON_MAX + 1);
}

#[test]
fn an_error_ends_the_batch() {
    let quote = message("quote");
    for (encoding, bad) in
        [(Encoding::Proto, &b"\x0a\x7f"[..]), (Encoding::MsgPack, b"\xc1"), (Encoding::Json, b"{\n")]
    {
        let good = encode(encoding, &quote);
        let bytes = [&good, bad, &good].concat();
        let read: Vec<_> = Batch::new(encoding, &bytes).collect();
        assert_eq!(read.len(), 2, "{encoding}");
        assert_eq!(read[0].as_ref(), Ok(&quote));
        assert_eq!(read[1].as_ref().unwrap_err().offset, good.len());
    }
}

#[test]
fn json_lines_may_be_blank_or_end_in_cr() {
    let mut bytes = b"\r\n \n".to_vec();
    encode_sent_time(Encoding::Json, 5, &mut bytes);
    bytes.extend_from_slice(b"{\"type\":\"sent\",\"sent_time\":6}\r");
    assert_eq!(decode_all(Encoding::Json, &bytes), [Message::Sent(5), Message::Sent(6)]);
}

fn bus_header(first_sequence: u64, last_sequence: u64) -> BusHeader {
    BusHeader {
        encoding: Encoding::Proto,
        channel: Channel::Trade,
        instrument: 7,
        epoch: 3,
        first_sequence,
        last_sequence,
        publish_time: 9,
    }
}

#[track_caller]
fn check_split(first: u64, last: u64, records: usize, expected: &[Result<(u64, u64), ()>]) {
    let bytes = encode(Encoding::Proto, &message("trade")).repeat(records);
    let parts: Vec<_> = bus_header(first, last)
        .split(&bytes)
        .map(|part| part.map(|(a, b, _)| (a, b)).map_err(|_| ()))
        .collect();
    assert_eq!(parts, expected);
}

#[test]
fn bus_frames_have_a_record_for_every_number() {
    check_split(5, 6, 2, &[Ok((5, 5)), Ok((6, 6))]);
    check_split(5, 9, 1, &[Ok((5, 9))]);
    check_split(u64::MAX, u64::MAX, 1, &[Ok((u64::MAX, u64::MAX))]);
    check_split(u64::MAX - 1, u64::MAX, 2, &[Ok((u64::MAX - 1, u64::MAX - 1)), Ok((u64::MAX, u64::MAX))]);
    check_split(5, 6, 3, &[Ok((5, 5)), Ok((6, 6)), Err(())]);
    check_split(u64::MAX, u64::MAX, 2, &[Ok((u64::MAX, u64::MAX)), Err(())]);
    check_split(5, 7, 2, &[Ok((5, 5)), Ok((6, 6)), Err(())]);
    check_split(5, 7, 0, &[Err(())]);
}

#[test]
fn bus_headers_that_contradict_themselves_are_refused() {
    let mut good = Vec::new();
    bus_header(1, 2).write(&mut good);
    assert!(BusHeader::parse(&good).is_ok());
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        BusHeader::parse(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(changed(0, b'X'), BusFrameError::Foreign { magic: b'X', version: 1 });
    assert_eq!(changed(1, 2), BusFrameError::Foreign { magic: b'T', version: 2 });
    assert_eq!(changed(2, 2), BusFrameError::Unknown { at: 2, value: 2 });
    assert_eq!(changed(3, 0), BusFrameError::Unknown { at: 3, value: 0 });
    let value = Channel::SLOTS as u8;
    assert_eq!(changed(3, value), BusFrameError::Unknown { at: 3, value });
    assert_eq!(changed(16, 0), BusFrameError::Range { first: 0, last: 2 });
    assert_eq!(changed(16, 3), BusFrameError::Range { first: 3, last: 2 });
    assert_eq!(BusHeader::parse(&good[..39]).unwrap_err(), BusFrameError::Short(39));
}
