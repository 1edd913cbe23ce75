//! Writes the golden vectors as first inputs for fuzzing: `fuzz_seeds FOLDER` fills `FOLDER/<target>/`. `scripts/fuzz.sh` runs it.
//!
//! It is no part of the workspace in `fuzz/`, where it would be compiled for itself, with libFuzzer.
#[allow(dead_code, reason = "it is shared with the program that writes the vectors, which uses all of it")]
#[path = "../../wire/examples/vectors/set.rs"]
mod set;

use std::path::Path;

use tickwire_net::frame::{self, OpCode};
use tickwire_wire::bus_frame::BusHeader;
use tickwire_wire::{Encoding, Message};

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).expect("a folder");
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
