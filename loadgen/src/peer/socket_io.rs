//! Socket.IO 4 over its WebSocket transport: Engine.IO packets are messages whose first digit is the packet's type
//! (<https://socket.io/docs/v4/engine-io-protocol/>), and Socket.IO's type is the second
//! (<https://socket.io/docs/v4/socket-io-protocol/>). An event with bytes is a text that announces one binary message.

use super::{Found, PeerSession, Progress, Taken, Update};
use crate::websocket::{self, Opcode};

#[derive(Debug, Default)]
pub(super) struct SocketIo {
    /// The command that follows as soon as the namespace is joined.
    subscribe: String,
}

impl PeerSession for SocketIo {
    /// Sends nothing: the server's `open` packet comes first.
    fn open(&mut self, symbols: &[u32], _out: &mut Vec<u8>) {
        self.subscribe = format!("42[\"sub\",{symbols:?}]");
    }

    fn message(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>, found: Found<'_>) -> Taken {
        if opcode == Opcode::Binary {
            return Update::read_all(payload, found).map(|()| Progress::More);
        }
        match payload {
            [b'0', ..] => websocket::put(out, Opcode::Text, b"40"),
            b"2" => websocket::put(out, Opcode::Text, b"3"),
            b"42[\"ok\"]" => return Ok(Progress::Ready),
            [b'4', b'0', ..] => {
                websocket::put(out, Opcode::Text, self.subscribe.as_bytes());
                self.subscribe = String::new();
            }
            announcement if announcement.starts_with(b"451-[\"u\",") => {}
            said => return Err(format!("it says: {}", String::from_utf8_lossy(said))),
        }
        Ok(Progress::More)
    }
}

#[cfg(test)]
#[path = "../../tests/units/socket_io.rs"]
mod tests;
