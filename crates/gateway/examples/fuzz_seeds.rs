//! Writes the golden vectors as first inputs for fuzzing: `fuzz_seeds FOLDER` fills `FOLDER/<target>/`. `scripts/fuzz.sh` runs it.
//!
//! It is no part of the workspace in `fuzz/`, where it would be compiled for itself, with libFuzzer.
#[allow(dead_code, reason = "it is shared with the program that writes the vectors, which uses all of it")]
#[path = "../../wire/examples/vectors/set.rs"]
mod set;

use std::path::Path;

use tickwire_auth::{hash_of, key_of};
use tickwire_net::frame::{self, Close, OpCode};
use tickwire_net::handshake::{self, Opening};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Encoding, Message};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("a folder");
    let seed = |target: &str, bytes: &[u8]| {
        let folder = Path::new(&folder).join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("first"), bytes)
    };
    let key = handshake::key(*b"sixteen bytes!!!");
    let opening = Opening {
        host: "127.0.0.1:7400",
        path: "/v1/stream?window_ms=16",
        agent: "fuzz/1",
        key: &key,
        protocol: Some("tickwire.v1.json"),
    };
    seed("request", opening.write("Origin: http://127.0.0.1:7400\r\nContent-Length: 0\r\n").as_bytes())?;
    seed("proxied", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x05\x7f\0\0\x01\x12\x67\0\x50203.0.113.7, 10.1.2.3\n[2001:db8::1]:7")?;
    seed("token", b"eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.eyJzdWIiOiJkZXNrIiwiZXhwIjoxfQ.AAAA")?;
    seed("jwks", br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","use":"sig","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
    seed("claims", br#"{"grants":[{"venues":["sim"],"symbols":[{"begins":"BTC"},"X"],"channels":["quote"],"delay_ms":5,"depth":3}],"max_rate":10,"sessions":2}"#)?;
    seed("revocation", br#"{"revocations":[{"token":{"jti":"t1","at":1000000}},{"subject":{"sub":"desk","not_before":999999}}],"asks":true}"#)?;
    let hash = hash_of(&key_of([7; 32])).unwrap_or_default();
    let entry = format!(
        "[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\nissued = 5\ngrants = [{{venues = [\"sim\"]}}]\nsessions = 3\n"
    );
    seed("api_keys", entry.as_bytes())?;
    for vector in set::all() {
        for encoding in Encoding::ALL {
            let bytes = vector.encode(encoding);
            let save = |target: &str, bytes: &[u8]| {
                let folder = Path::new(&folder).join(target);
                std::fs::create_dir_all(&folder)?;
                std::fs::write(folder.join(vector.file(encoding)), bytes)
            };
            match vector.content.messages() {
                [] => {
                    save("decode_command", &[&[encoding as u8], bytes.as_slice()].concat())?;
                    // These are frames of a client, and messages may have up to 1,016 bytes.
                    let mut framed = vec![0xfe];
                    frame::write_masked(OpCode::Binary, [7, 1, 9, 3], &bytes, &mut framed);
                    frame::write_masked(OpCode::Ping, [7, 1, 9, 3], b"?", &mut framed);
                    save("websocket", &framed)?;
                    // In a session, in two fragments, with a close frame behind.
                    let mut session = vec![40];
                    frame::write_masked(OpCode::Text, [7, 1, 9, 3], &bytes, &mut session);
                    frame::write_masked(
                        OpCode::Close,
                        [7, 1, 9, 3],
                        &Close::payload(1000, "done"),
                        &mut session,
                    );
                    save("session", &session)?;
                }
                messages => {
                    save(&format!("decode_{encoding}"), &bytes)?;
                    if let ([Message::Record(record)], false) = (messages, encoding.is_text()) {
                        let mut frame = Vec::new();
                        let header = BusHeader {
                            encoding,
                            channel: record.channel(),
                            instrument: record.instrument,
                            epoch: 1,
                            first_sequence: 1,
                            last_sequence: 3,
                            publish_time: record.receive_time,
                        };
                        header.write(&mut frame);
                        frame.extend_from_slice(&bytes.repeat(3));
                        save("bus_frame", &frame)?;
                    }
                }
            }
        }
    }
    Ok(())
}
