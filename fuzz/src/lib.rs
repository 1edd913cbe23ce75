//! The checks of what must hold for any bytes: no panic, and what was read once reads the same after it was written
//! again.

#[cfg(feature = "auth")]
pub mod auth;
#[cfg(feature = "recordings")]
pub mod recordings;

use std::net::{IpAddr, SocketAddr};

use tickwire_net::fragments::{Fragments, Joined};
use tickwire_net::frame::{self, CONTROL_BYTES_MAX, Close, Fault, OpCode, Sender};
use tickwire_net::text::TextCheck;
use tickwire_net::{handshake, proxy};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Batch, Encoding, Message, Scale, decode_command, encode_command, encode_message};

const BINARY: [Encoding; 2] = [Encoding::Proto, Encoding::MsgPack];

/// Checks one WebSocket message.
pub fn messages(encoding: Encoding, bytes: &[u8]) {
    let mut at_error = false;
    for message in Batch::new(encoding, bytes) {
        assert!(!at_error, "something came after an error");
        match message {
            Ok(message) => {
                same_again(encoding, encoding, &message);
                for other in BINARY.into_iter().filter(|_| encoding != Encoding::Json) {
                    same_again(encoding, other, &message);
                }
            }
            Err(error) => {
                at_error = true;
                assert!(error.offset < bytes.len());
            }
        }
    }
}

/// Checks that a message reads the same through another encoding. It compares by bytes and not by value, because a rate
/// may be NaN.
fn same_again(home: Encoding, through: Encoding, message: &Message) {
    let written = write(through, message);
    let read: Vec<_> = Batch::new(through, &written).map(|read| read.expect("own bytes read back")).collect();
    assert_eq!(read.len(), 1, "{message:?} became {read:?}");
    assert_eq!(write(home, &read[0]), write(home, message), "{message:?} became {read:?}");
}

fn write(encoding: Encoding, message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_message(encoding, message, &Scale::default(), &mut bytes);
    bytes
}

/// Checks a command; the first byte chooses the encoding.
pub fn command(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let Ok(command) = decode_command(Encoding::ALL[usize::from(first % 3)], bytes) else { return };
    for encoding in Encoding::ALL {
        let mut written = Vec::new();
        encode_command(encoding, &command, &mut written);
        let read = decode_command(encoding, &written).expect("own bytes read back");
        assert_eq!(read, command, "{encoding}");
    }
}

/// Checks a bus message: every byte after the header belongs to exactly one record, sequence numbers are in order and
/// complete.
pub fn bus(bytes: &[u8]) {
    let Ok((header, records)) = BusHeader::parse(bytes) else { return };
    let mut again = Vec::new();
    header.write(&mut again);
    assert_eq!(again, bytes[..again.len()]);
    let (mut next, mut taken) = (Some(header.first_sequence), 0);
    for part in header.split(records) {
        let Ok((first, last, record)) = part else { return };
        assert_eq!(Some(first), next);
        assert!(first <= last && last <= header.last_sequence);
        next = last.checked_add(1);
        taken += record.len();
        messages(header.encoding, record);
    }
    assert_eq!(taken, records.len());
    assert_eq!(next, header.last_sequence.checked_add(1));
}

/// Reads bytes as those of a connection. The first byte chooses the sender and how large a message may be. Frames lie one behind the other,
/// nothing is found in the half of one, and no message is larger than allowed.
pub fn websocket(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    head(bytes);
    let sender = if first & 1 == 0 { Sender::Client } else { Sender::Server };
    let most = usize::from(first >> 1) * 8;
    let (mut bytes, mut at, mut fragments) = (bytes.to_vec(), 0, Fragments::default());
    while let Ok(Some(found)) = frame::find(&bytes[at..], sender, most.saturating_sub(fragments.bytes())) {
        assert!(found.range().len() <= most.max(CONTROL_BYTES_MAX));
        for cut in [found.head.saturating_sub(1), found.end - 1] {
            let part = frame::find(&bytes[at..at + cut], sender, most.saturating_sub(fragments.bytes()));
            assert_eq!(part, Ok(None));
        }
        let payload = found.payload(&mut bytes[at..]);
        if !found.is_control() {
            match fragments.take(&found, payload, most) {
                Ok(Joined::Message(message)) => assert!(message.len() <= most && fragments.bytes() == 0),
                Ok(Joined::Whole) => assert_eq!(fragments.bytes(), 0),
                Ok(Joined::More) => assert!(fragments.bytes() <= most),
                Err(_) => return,
            }
        }
        at += found.end;
    }
}

/// Checks that the head of a response does not change when more comes behind it.
fn head(bytes: &[u8]) {
    let Ok(Some((response, length))) = handshake::read_response(bytes) else { return };
    assert!(length <= bytes.len());
    let (again, _) = handshake::read_response(&bytes[..length]).unwrap().expect("it is complete");
    assert_eq!(again.headers(), response.headers());
    let _ = handshake::check_response(&response, "dGhlIHNhbXBsZSBub25jZQ==", Some("tickwire.v1.proto"));
}

/// Reads bytes as what a client sends in a session, as a gateway does, and cuts them after as many bytes as the first one says. The cut
/// changes no verdict; text messages are UTF-8, and a text is refused only where it cannot become so.
pub fn session(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let cut = usize::from(*cut).min(bytes.len());
    let whole = frames(&mut bytes.to_vec(), bytes.len());
    let mut again = bytes.to_vec();
    let first = frames(&mut again, cut);
    match first {
        Err(fault) => assert_eq!(whole, Err(fault), "more bytes changed the verdict"),
        Ok(messages) => {
            if let Ok(all) = whole {
                assert!(all >= messages);
            }
        }
    }
}

/// Returns how many messages there are in the first `length` bytes.
fn frames(bytes: &mut [u8], length: usize) -> Result<usize, Fault> {
    const MESSAGE_BYTES_MAX: usize = 2048;
    let (mut at, mut messages) = (0, 0);
    let (mut fragments, mut text, mut is_text) = (Fragments::default(), TextCheck::default(), false);
    loop {
        let room = MESSAGE_BYTES_MAX - fragments.bytes();
        let Some(found) = frame::find(&bytes[at..length], Sender::Client, room)? else {
            if let Some(begun) = frame::begun(&bytes[at..length], Sender::Client) {
                text.begun(begun.opcode, begun.mask, begun.payload)?;
                // It may be looked at again with nothing more behind it.
                text.begun(begun.opcode, begun.mask, begun.payload)?;
            }
            return Ok(messages);
        };
        let payload = found.payload(&mut bytes[at..length]);
        at += found.end;
        if found.opcode == OpCode::Close {
            if let Some(code) = Close::check(payload)? {
                assert!(frame::may_be_sent(code) && std::str::from_utf8(&payload[2..]).is_ok());
            }
            return Ok(messages);
        }
        if found.is_control() {
            continue;
        }
        if found.opcode != OpCode::Continuation {
            is_text = found.opcode == OpCode::Text;
        }
        let joined = fragments.take(&found, payload, MESSAGE_BYTES_MAX)?;
        let message = match &joined {
            Joined::Whole => Some(payload),
            Joined::Message(message) => Some(&message[..]),
            Joined::More => None,
        };
        let checked = text.frame(&found, payload);
        if let (Some(message), true) = (message, is_text) {
            assert_eq!(checked.is_ok(), std::str::from_utf8(message).is_ok());
        }
        assert_eq!(checked?, is_text);
        if message.is_some() {
            assert!(text.is_none() && fragments.is_none());
            messages += 1;
        }
    }
}

/// Reads bytes as the head of a client's handshake. What is let through has one key of 16 bytes, one host and no body.
pub fn request(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(_)) = head.parse(bytes) else { return };
    let version = if head.version == Some(1) { http::Version::HTTP_11 } else { http::Version::HTTP_10 };
    let mut request = http::Request::builder().version(version);
    request = request.method(head.method.unwrap_or_default()).uri(head.path.unwrap_or_default());
    for field in head.headers.iter() {
        request = request.header(field.name, field.value);
    }
    let Ok(request) = request.body(()) else { return };
    let checked = handshake::check_request(&request);
    let count = |name: &str| request.headers().get_all(name).iter().count();
    if checked.is_ok() {
        assert_eq!((count("host"), count("sec-websocket-key"), count("sec-websocket-version")), (1, 1, 1));
        assert_eq!(count("transfer-encoding"), 0);
        assert_eq!(request.headers()["sec-websocket-key"].len(), 24);
        assert_eq!((request.method(), request.version()), (&http::Method::GET, http::Version::HTTP_11));
        assert!(handshake::check_http(&request).is_ok());
        let response: http::Response<()> = handshake::accept(request.headers(), None);
        assert_eq!(response.headers()["sec-websocket-accept"].len(), 28);
    }
    let _ = handshake::offered_protocols(request.headers()).count();
}

/// Reads bytes as the beginning of a proxy's connection, and as the addresses that it tells in a request. Nobody but a trusted proxy is
/// believed, and no byte behind a header counts.
pub fn proxied(bytes: &[u8]) {
    let peer = SocketAddr::from(([10, 0, 0, 1], 5));
    if let Some(source) = proxy::read_header(bytes, peer) {
        let length = proxy::header_bytes(bytes).expect("it has a length");
        assert!((proxy::FIXED_BYTES..=proxy::HEADER_BYTES_MAX).contains(&length));
        assert_eq!(proxy::read_header(&bytes[..length], peer), Some(source));
        assert_eq!(proxy::read_header(&bytes[..length - 1], peer), None);
    }
    let mut headers = http::HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(line) = http::HeaderValue::from_bytes(line) {
            headers.append("x-forwarded-for", line);
        }
    }
    let is_trusted = |address: IpAddr| matches!(address, IpAddr::V4(address) if address.octets()[0] == 10);
    let client = proxy::client(peer, &headers, is_trusted);
    assert!(!is_trusted(client.ip()) || client.ip().is_ipv4());
    let stranger = SocketAddr::from(([192, 0, 2, 1], 5));
    assert_eq!(proxy::client(stranger, &headers, is_trusted), stranger);
}

/// The engine's own model of the world and of its clients: the modules of its tests, which are no public interface.
#[cfg(feature = "engine")]
#[allow(dead_code)]
// Otherwise the paths in it begin in a folder `model`, which has to be there.
#[path = "."]
mod model {
    #[path = "../../crates/gateway/tests/engine/pace.rs"]
    pub(crate) mod pace;
    #[path = "../../crates/gateway/tests/engine/rig.rs"]
    pub(crate) mod rig;
    #[path = "../../crates/gateway/tests/engine/schedule.rs"]
    pub(crate) mod schedule;
    #[path = "../../crates/gateway/tests/engine/steps.rs"]
    pub(crate) mod steps;
    #[path = "../../crates/gateway/tests/engine/view.rs"]
    pub(crate) mod view;
    #[path = "../../crates/gateway/tests/engine/world.rs"]
    pub(crate) mod world;
}

/// Runs a schedule of operations on the fan-out engine: four bytes choose its limits, every further four are one
/// operation. After each of them everything is checked that the property tests check.
#[cfg(feature = "engine")]
pub fn engine(bytes: &[u8]) {
    model::schedule::drive_bytes(bytes);
}
