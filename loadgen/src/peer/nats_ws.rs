//! nats-server's own WebSocket: the text protocol of NATS in binary messages, cut anywhere
//! (<https://docs.nats.io/reference/reference-protocols/nats-protocol>).

use std::fmt::Write as _;

use super::{Progress, UPDATE_BYTES, Update};
use crate::ws::{self, Opcode};

/// The longest line is `INFO`, which names addresses and limits.
const LINE_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Default)]
pub(crate) struct NatsWs {
    /// The begin of what the next message goes on with; most messages leave nothing.
    kept: Vec<u8>,
}

impl NatsWs {
    #[allow(clippy::unused_self, reason = "peers look alike; others have something to remember")]
    pub(crate) fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        let mut said = String::from("CONNECT {\"verbose\":false,\"protocol\":1}\r\n");
        for symbol in symbols {
            let _ = write!(said, "SUB u.{symbol} {}\r\n", u64::from(*symbol) + 1);
        }
        said += "PING\r\n";
        ws::put(out, Opcode::Binary, said.as_bytes());
    }

    pub(crate) fn message(
        &mut self,
        _opcode: Opcode,
        payload: &[u8],
        out: &mut Vec<u8>,
        found: &mut impl FnMut(Update),
    ) -> Result<Progress, String> {
        if self.kept.is_empty() {
            let (taken, progress) = read(payload, out, found)?;
            self.kept.extend_from_slice(&payload[taken..]);
            return Ok(progress);
        }
        self.kept.extend_from_slice(payload);
        let (taken, progress) = read(&self.kept, out, found)?;
        self.kept.drain(..taken);
        Ok(progress)
    }
}

/// Reads what is whole; returns how many bytes that were.
fn read(
    bytes: &[u8],
    out: &mut Vec<u8>,
    found: &mut impl FnMut(Update),
) -> Result<(usize, Progress), String> {
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
            b"PING" => ws::put(out, Opcode::Binary, b"PONG\r\n"),
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
mod tests {
    use super::*;

    const INFO: &[u8] = b"INFO {\"server_id\":\"x\",\"max_payload\":1048576}\r\n";

    fn message(update: Update) -> Vec<u8> {
        let mut bytes = format!("MSG u.{} {} 40\r\n", update.symbol, update.symbol + 1).into_bytes();
        update.write(&mut bytes);
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// A line's end inside an update must not be taken for one.
    fn updates() -> Vec<Update> {
        let intended_time = u64::from_le_bytes(*b"\r\nMSG \r\n");
        (0..5).map(|symbol| Update { symbol, sequence: 0x0a0d, intended_time }).collect()
    }

    #[test]
    fn it_does_not_matter_where_messages_are_cut() {
        let stream =
            [INFO, b"PONG\r\n", &updates().into_iter().flat_map(message).collect::<Vec<_>>()].concat();
        for cut in 0..stream.len() {
            for second in [cut, (cut + 7).min(stream.len())] {
                let mut session = NatsWs::default();
                let (mut found, mut ready, mut out) = (Vec::new(), 0, Vec::new());
                for part in [&stream[..cut], &stream[cut..second], &stream[second..]] {
                    let progress =
                        session.message(Opcode::Binary, part, &mut out, &mut |update| found.push(update));
                    ready += usize::from(progress == Ok(Progress::Ready));
                }
                assert_eq!(
                    (found, ready, out.len(), session.kept.len()),
                    (updates(), 1, 0, 0),
                    "cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn it_subscribes_to_the_symbols() {
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        NatsWs::default().open(&[0, 7], &mut out);
        let said = b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nSUB u.0 1\r\nSUB u.7 8\r\nPING\r\n";
        ws::put(&mut expected, Opcode::Binary, said);
        assert_eq!(out, expected);
    }

    #[test]
    fn a_ping_is_answered() {
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        let taken = NatsWs::default().message(Opcode::Binary, b"PING\r\n", &mut out, &mut |_| {});
        assert_eq!(taken, Ok(Progress::More));
        ws::put(&mut expected, Opcode::Binary, b"PONG\r\n");
        assert_eq!(out, expected);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |bytes: &[u8]| {
            NatsWs::default().message(Opcode::Binary, bytes, &mut Vec::new(), &mut |_| {}).unwrap_err()
        };
        assert!(told(b"-ERR 'Slow Consumer'\r\n").contains("Slow Consumer"));
        assert!(told(b"MSG u.1 2 41\r\n").contains("41"));
        assert!(told(&[b"MSG u.1 2 40\r\n", &[0; 42][..]].concat()).contains("end"));
        assert!(told(&vec![b'x'; LINE_BYTES_MAX + 1]).contains("line"));
    }
}
