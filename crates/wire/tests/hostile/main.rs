//! Bytes from strangers: they never cause a panic, and never take memory out of proportion to the message.
//!
//! This is a binary of its own with a single test, because it counts every allocation of its process: a second test
//! would allocate while the first is measured.

#[path = "../random/mod.rs"]
mod random;

mod memory;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use tickwire_wire::{Command, Encoding, Message, Scale, encode_command, encode_message};

use crate::memory::{check_all, check_bus, check_command, check_messages};

/// Changes a valid message a little: overwrites, removes or repeats a part.
fn mutate(bytes: &mut Vec<u8>, changes: &[(Index, u8, u8)]) {
    for (at, what, byte) in changes {
        if bytes.is_empty() {
            return;
        }
        let at = at.index(bytes.len());
        match what % 4 {
            0 => bytes[at] = *byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => drop(bytes.drain(at..bytes.len().min(at + usize::from(*byte)))),
            _ => bytes.extend_from_within(at..bytes.len().min(at + usize::from(*byte))),
        }
    }
}

#[test]
fn hostile_bytes_neither_panic_nor_cost_memory() {
    nested_bombs();
    claimed_lengths();
    memory::factors_cannot_be_smaller();
    memory::dense_lists_stay_below();
    property("garbage", 10_000, vec(any::<u8>(), 0..600), |bytes| garbage(&bytes));
    let changes = vec(any::<(Index, u8, u8)>(), 1..6);
    let messages = vec(random::message(), 1..4);
    property("mutated", 6000, (messages, random::command(), changes), |(messages, command, changes)| {
        mutated(&messages, &command, &changes);
    });
    // There are fewer cases, because each reads every beginning of six encodings.
    let one = (random::message(), random::command(), random::scale());
    property("cut anywhere", 600, one, |(message, command, scale)| cut_anywhere(&message, &command, &scale));
}

/// Runs `check` on random values; it panics when the property does not hold.
fn property<S: Strategy>(name: &str, cases: u32, values: S, check: impl Fn(S::Value)) {
    let result = TestRunner::new(random::cases(cases)).run(&values, |value| {
        check(value);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{name}: {error}");
    }
}

fn garbage(bytes: &[u8]) {
    check_all(bytes);
    // The same bytes are the records of a bus message with a sound header.
    let header =
        [b"T\x01", &[bytes.len() as u8 % 2, 1][..], &[0; 12], &[1], &[0; 7], &[3], &[0; 15]].concat();
    check_bus(&[&header, bytes].concat());
}

fn cut_anywhere(message: &Message, command: &Command, scale: &Scale) {
    for encoding in Encoding::ALL {
        let (mut bytes, mut command_bytes) = (Vec::new(), Vec::new());
        encode_message(encoding, message, scale, &mut bytes);
        encode_command(encoding, command, &mut command_bytes);
        for end in 0..bytes.len() {
            check_messages(encoding, &bytes[..end]);
        }
        for end in 0..command_bytes.len() {
            check_command(encoding, &command_bytes[..end]);
        }
    }
}

fn mutated(messages: &[Message], command: &Command, changes: &[(Index, u8, u8)]) {
    for encoding in Encoding::ALL {
        let (mut bytes, mut command_bytes) = (Vec::new(), Vec::new());
        for message in messages {
            encode_message(encoding, message, &Scale::default(), &mut bytes);
        }
        encode_command(encoding, command, &mut command_bytes);
        mutate(&mut bytes, changes);
        mutate(&mut command_bytes, changes);
        check_all(&bytes);
        check_command(encoding, &command_bytes);
    }
}

/// Opens or claims `n` things inside each other, in every way that an encoding has.
fn bombs(n: usize) -> Vec<Vec<u8>> {
    let nested = |part: &[u8]| part.repeat(n);
    let mut groups = nested(&[0x0b]);
    groups.extend(nested(&[0x0c]));
    vec![
        nested(b"["),
        nested(b"{\"a\":"),
        [&b"{\"type\":\"quote\",\"x\":"[..], &nested(b"[")].concat(),
        [&b"{\"op\":\"subscribe\",\"symbols\":"[..], &nested(b"[")].concat(),
        [&b"{\"type\":\""[..], &nested(b"\\\"")].concat(),
        nested(&[0x91]),
        nested(&[0x81, 0x01]),
        nested(&[0xdd, 0, 0, 0, 1]),
        [&[0x92, 99][..], &nested(&[0x91]), &[0xc0]].concat(),
        nested(&[0x0b]),
        groups,
        // This is a record whose length takes in all that follows, in which groups open.
        [&[0x0a][..], &varint(n), &nested(&[0x0b])].concat(),
    ]
}

fn varint(n: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(n as u64, &mut bytes);
    bytes
}

fn nested_bombs() {
    for n in [1, 7, 8, 9, 99, 100, 101, 127, 128, 129, 5_000, 100_000] {
        for bomb in bombs(n) {
            check_all(&bomb);
        }
    }
}

/// Makes containers, texts and bytes that claim 2^32 and more, in every place where one may stand.
fn claimed_lengths() {
    let most = [0xff, 0xff, 0xff, 0xff];
    let claims: Vec<Vec<u8>> =
        [0xc6, 0xc9, 0xdb, 0xdd, 0xdf].iter().map(|marker| [&[*marker][..], &most].concat()).collect();
    let places: [&[u8]; 7] = [
        &[],
        &[0x92],
        &[0x92, 19],
        &[0x92, 19, 0x93, 0],
        &[0x96, 10, 1, 1, 1, 1, 0x97, 0xc2, 0],
        &[0x92, 21, 0x93, 0],
        &[0x92, 1, 0x94, 0, 0xa1, b'q'],
    ];
    for claim in &claims {
        for place in places {
            check_all(&[place, claim, &[1; 40]].concat());
        }
    }
    for length in
        [vec![0xff, 0xff, 0xff, 0xff, 0x0f], vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]]
    {
        // The outer field is a frame's record; in it are a trade's text, a book's packed prices, a heartbeat's feed, a
        // command's symbols.
        let outer = |inner: &[u8]| [&[0x0a, 40][..], inner, &length, &[1; 40]].concat();
        for bytes in [
            outer(&[]),
            outer(&[0x4a, 38, 0x2a]),
            outer(&[0x52, 38, 0x1a]),
            outer(&[0x9a, 0x01, 37, 0x12]),
            outer(&[0x1a]),
            [&[0x0a][..], &length, &[1; 40]].concat(),
        ] {
            check_all(&bytes);
        }
    }
}
