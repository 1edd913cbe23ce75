//! The memory that reading may take.

use peak_alloc::PeakAlloc;
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, DecodeError, Encoding, decode_command};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// The bytes for error texts and the like, whatever the length of the message.
const FIXED: usize = 2048;

/// Returns how many bytes of memory a byte of message may take; the crate's documentation says why.
fn factor(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Proto => 120,
        Encoding::MsgPack => 40,
        Encoding::Json => 80,
    }
}

/// Returns the most memory that was allocated at one time while `run` ran, above what was there before.
pub(crate) fn peak(run: impl FnOnce()) -> usize {
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    run();
    ALLOCATED.peak_usage().saturating_sub(before)
}

#[track_caller]
fn check_peak(what: &str, factor: usize, bytes: &[u8], run: impl FnOnce()) -> usize {
    let peak = peak(run);
    let allowed = factor * bytes.len() + FIXED;
    assert!(
        peak <= allowed,
        "{what}: {peak} bytes of memory for {} of message {:02x?}",
        bytes.len(),
        head(bytes)
    );
    peak
}

fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(64)]
}

/// Reads messages one at a time, as sessions do; returns the peak.
#[track_caller]
pub(crate) fn check_messages(encoding: Encoding, bytes: &[u8]) -> usize {
    check_peak("message", factor(encoding), bytes, || {
        for message in Batch::new(encoding, bytes) {
            if let Err(error) = message {
                check_error(&error, bytes);
            }
        }
    })
}

#[track_caller]
pub(crate) fn check_command(encoding: Encoding, bytes: &[u8]) -> usize {
    check_peak("command", factor(encoding), bytes, || {
        if let Err(error) = decode_command(encoding, bytes) {
            check_error(&error, bytes);
        }
    })
}

fn check_error(error: &DecodeError, bytes: &[u8]) {
    assert!(error.offset <= bytes.len());
    assert!(error.reason.chars().count() <= DecodeError::REASON_MAX + 1);
}

/// Checks that nothing is allocated in proportion: the records stay where they are.
#[track_caller]
pub(crate) fn check_bus(bytes: &[u8]) -> usize {
    check_peak("bus message", 0, bytes, || {
        if let Ok((header, records)) = BusHeader::parse(bytes) {
            let taken: usize =
                header.split(records).map_while(Result::ok).map(|(_, _, record)| record.len()).sum();
            assert!(taken <= records.len());
        }
    })
}

#[track_caller]
pub(crate) fn check_all(bytes: &[u8]) {
    for encoding in Encoding::ALL {
        check_messages(encoding, bytes);
        check_command(encoding, bytes);
    }
    check_bus(bytes);
}

/// Makes `[head] part part … [tail]`, with one part more than a doubling list holds: the worst moment of its growth.
fn repeated(head: &[u8], part: &[u8], tail: &[u8], count: usize) -> Vec<u8> {
    [head, &part.repeat(count), tail].concat()
}

const WORST_COUNT: usize = (1 << 14) + 1;

/// Checks the inputs that cost most for their length. Were a factor smaller, one of these would show it.
pub(crate) fn factors_cannot_be_smaller() {
    // A `Refused` without fields takes 2 bytes of Protobuf, 3 of JSON, and 2 of MessagePack with one nil-like field.
    let refused = repeated(&[], &[0x1a, 0], &[], WORST_COUNT);
    let subscribed = field(17, &refused);
    let proto = field(1, &subscribed);
    let json = repeated(br#"{"type":"subscribed","refused":["#, b"{},", b"{}]}", WORST_COUNT - 1);
    let count = (WORST_COUNT as u32).to_be_bytes();
    let msgpack =
        repeated(&[&[0x92, 17, 0x93, 0, 0x90, 0xdd][..], &count].concat(), &[0x91, 0], &[], WORST_COUNT);
    for (encoding, bytes) in [(Encoding::Proto, proto), (Encoding::Json, json), (Encoding::MsgPack, msgpack)]
    {
        assert!(Batch::new(encoding, &bytes).all(|message| message.is_ok()));
        let peak = check_messages(encoding, &bytes);
        let needed = peak as f64 / bytes.len() as f64;
        let factor = factor(encoding) as f64;
        assert!(needed > 0.95 * factor, "{encoding}: {needed:.1} of {factor}");
    }
}

fn field(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(tag, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// Checks other lists of small things, which cost less.
pub(crate) fn dense_lists_stay_below() {
    let count = (WORST_COUNT as u32).to_be_bytes();
    let msgpack =
        |head: &[u8], part: &[u8]| repeated(&[head, &[0xdd], &count].concat(), part, &[], WORST_COUNT);
    check_all(&msgpack(&[0x92, 19, 0x93, 0, 0x90], &[0x91, 0]));
    check_all(&msgpack(&[0x92, 20, 0x92, 0], &[0x91, 0]));
    check_all(&msgpack(&[0x92, 1, 0x94, 0, 0xa0], &[0xa0]));
    check_all(&[msgpack(&[0x96, 10, 1, 1, 1, 1, 0x96, 0xc2, 0], &[0]), msgpack(&[], &[0])].concat());
    for (outer, tag) in [(19, 2), (19, 3), (20, 2), (17, 2)] {
        check_all(&field(1, &field(outer, &repeated(&[], &field(tag, b""), &[], WORST_COUNT))));
    }
    for (op, tag) in [(1, 3), (2, 3), (4, 2)] {
        check_all(&field(op, &repeated(&[], &field(tag, b""), &[], WORST_COUNT)));
    }
    let packed = field(3, &vec![0; WORST_COUNT]);
    let sizes = field(4, &vec![0; WORST_COUNT]);
    check_all(&field(1, &field(10, &[packed, sizes].concat())));
    for (head, part) in [
        (&br#"{"type":"heartbeat","positions":["#[..], &b"{},"[..]),
        (br#"{"type":"book","bids":["#, br#"["0","0"],"#),
        (br#"{"op":"subscribe","symbols":["#, b"\"\","),
        (br#"{"op":"resume","positions":["#, b"{},"),
        (br#"{"type":"quote","x":["#, b"[0],"),
        (br#"{"op":"subscribe","x":["#, b"[0],"),
    ] {
        check_all(&repeated(head, part, b"", WORST_COUNT));
        check_all(&repeated(head, part, &[&part[..part.len() - 1], b"]}"].concat(), WORST_COUNT - 1));
    }
    // Text with escapes is copied; a byte of it stays a byte.
    check_all(&repeated(br#"{"type":"error","message":""#, b"\\n", b"\"}", WORST_COUNT));
}
