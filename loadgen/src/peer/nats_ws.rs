//! nats-server's own WebSocket: the text protocol of NATS in binary messages, cut anywhere
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use std::fmt::Write as _;

use super::{Found, PeerSession, Progress, Taken, UPDATE_BYTES, Update};
use crate::websocket::{self, Opcode};

/// The longest line is `INFO`, which names addresses and limits.
const LINE_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct NatsWs {
    /// The next message goes on with these bytes; most messages leave none.
    kept: Vec<u8>,
}

impl PeerSession for NatsWs {
    fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        let mut said = String::from("CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
        for symbol in symbols {
            let _ = write!(said, "SUB u.{symbol} {}\r\n", u64::from(*symbol) + 1);
        }
        said += "PING\r\n";
        websocket::put(out, Opcode::Binary, said.as_bytes());
    }

    fn message(&mut self, _opcode: Opcode, payload: &[u8], out: &mut Vec<u8>, found: Found<'_>) -> Taken {
        let mut kept = std::mem::take(&mut self.kept);
        let bytes = if kept.is_empty() {
            payload
        } else {
            kept.extend_from_slice(payload);
            kept.as_slice()
        };
        let (taken, progress) = read(bytes, out, found)?;
        self.kept = bytes[taken..].to_vec();
        Ok(progress)
    }
}

/// Reads what is whole; returns how many bytes that were.
fn read(bytes: &[u8], out: &mut Vec<u8>, found: Found<'_>) -> Result<(usize, Progress), String> {
    let mut at = 0;
    let mut progress = Progress::More;
    while let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line = bytes[at..at + length].trim_ascii_end();
        let after = at + length + 1;
        if line.starts_with(b"MSG ") {
            // MSG <subject> <sid> [reply] <bytes>
            let size = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            if size != b"40" {
                return Err(format!("an update of {} bytes", String::from_utf8_lossy(size)));
            }
            let Some(message) = bytes[after..].first_chunk::<{ UPDATE_BYTES + 2 }>() else { break };
            let (update, end) = message.split_first_chunk().expect("an update and a line's end");
            if end != b"\r\n" {
                return Err("a message that does not end where it says".to_owned());
            }
            found(Update::read(update));
            at = after + UPDATE_BYTES + 2;
            continue;
        }
        match line {
            b"PONG" => progress = Progress::Ready,
            b"PING" => websocket::put(out, Opcode::Binary, b"PONG\r\n"),
            b"+OK" => {}
            line if line.starts_with(b"INFO ") => {}
            line => return Err(format!("it says: {}", String::from_utf8_lossy(line))),
        }
        at = after;
    }
    if bytes.len() - at > LINE_BYTES_MAX {
        return Err(format!("a line of more than {LINE_BYTES_MAX} bytes"));
    }
    Ok((at, progress))
}

#[cfg(test)]
#[path = "../../tests/units/nats_ws.rs"]
mod tests;
