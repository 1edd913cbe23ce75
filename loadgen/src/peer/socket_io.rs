//! Socket.IO 4 over its WebSocket transport: Engine.IO packets are messages whose first digit is the packet's type
//! (<https://socket.io/docs/v4/engine-io-protocol/>), and Socket.IO's type is the second
//! (<https://socket.io/docs/v4/socket-io-protocol/>). An event with bytes is a text that announces one binary message.

use super::{Progress, Update};
use crate::ws::{self, Opcode};

#[derive(Debug, Default)]
pub(crate) struct SocketIo {
    /// What is asked for as soon as the namespace is joined.
    subscribe: String,
}

impl SocketIo {
    /// Nothing is sent before the server's `open` packet.
    pub(crate) fn open(&mut self, symbols: &[u32], _out: &mut Vec<u8>) {
        self.subscribe = format!("42[\"sub\",{symbols:?}]");
    }

    pub(crate) fn message(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        out: &mut Vec<u8>,
        found: &mut impl FnMut(Update),
    ) -> Result<Progress, String> {
        if opcode == Opcode::Binary {
            return Update::read_all(payload, found).map(|()| Progress::More);
        }
        match payload {
            [b'0', ..] => ws::put(out, Opcode::Text, b"40"),
            b"2" => ws::put(out, Opcode::Text, b"3"),
            b"42[\"ok\"]" => return Ok(Progress::Ready),
            [b'4', b'0', ..] => {
                ws::put(out, Opcode::Text, self.subscribe.as_bytes());
                self.subscribe = String::new();
            }
            announcement if announcement.starts_with(b"451-[\"u\",") => {}
            said => return Err(format!("it says: {}", String::from_utf8_lossy(said))),
        }
        Ok(Progress::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(session: &mut SocketIo, said: &str, answer: &str, progress: Progress) {
        let (mut out, mut expected) = (Vec::new(), Vec::new());
        let taken = session.message(Opcode::Text, said.as_bytes(), &mut out, &mut |_| {});
        assert_eq!(taken, Ok(progress));
        if !answer.is_empty() {
            ws::put(&mut expected, Opcode::Text, answer.as_bytes());
        }
        assert_eq!(out, expected);
    }

    #[test]
    fn from_the_handshake_to_an_update() {
        let mut session = SocketIo::default();
        let mut out = Vec::new();
        session.open(&[3, 70], &mut out);
        assert!(out.is_empty());
        check(&mut session, "0{\"sid\":\"x\",\"pingInterval\":25000}", "40", Progress::More);
        check(&mut session, "40{\"sid\":\"y\"}", "42[\"sub\",[3, 70]]", Progress::More);
        check(&mut session, "42[\"ok\"]", "", Progress::Ready);
        check(&mut session, "2", "3", Progress::More);
        check(&mut session, "451-[\"u\",{\"_placeholder\":true,\"num\":0}]", "", Progress::More);
        let update = Update { symbol: 70, sequence: 9, intended_time: 5 };
        let mut bytes = Vec::new();
        update.write(&mut bytes);
        let mut found = Vec::new();
        let taken = session.message(Opcode::Binary, &bytes, &mut out, &mut |update| found.push(update));
        assert_eq!((taken, found), (Ok(Progress::More), vec![update]));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let told = |said: &str| {
            let mut session = SocketIo::default();
            session.message(Opcode::Text, said.as_bytes(), &mut Vec::new(), &mut |_| {}).unwrap_err()
        };
        assert!(told("44{\"message\":\"no\"}").contains("44"));
        assert!(told("452-[\"u\",1]").contains("452"));
    }
}
