//! Other servers, so that they can be loaded in the same way: how a session subscribes there, and how updates are found
//! in what it sends. A server of this kind gets updates of 40 bytes from a publisher and passes them on; `benches/peers`
//! has them.

mod centrifugo;
mod nats_ws;
mod raw40;
mod socket_io;

use serde::{Deserialize, Serialize};

use crate::ws::Opcode;

pub(crate) use centrifugo::Centrifugo;
pub(crate) use nats_ws::NatsWs;
pub(crate) use raw40::Raw40;
pub(crate) use socket_io::SocketIo;

/// Bytes of an update.
pub(crate) const UPDATE_BYTES: usize = 40;

/// What a peer passes on. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// From 0.
    pub(crate) symbol: u32,
    /// By symbol, from 1.
    pub(crate) sequence: u64,
    pub(crate) intended_time: u64,
}

impl Update {
    /// 8 bytes each, little-endian: symbol, sequence, intended time; 16 bytes that stand for a quote.
    pub(crate) fn read(bytes: &[u8; UPDATE_BYTES]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(word)
        };
        Self { symbol: word(0) as u32, sequence: word(8), intended_time: word(16) }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        let words = [u64::from(self.symbol), self.sequence, self.intended_time];
        for word in words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&[0x5a; 16]);
    }

    /// All updates of bytes that hold nothing else.
    pub(crate) fn read_all(bytes: &[u8], mut found: impl FnMut(Self)) -> Result<(), String> {
        let (updates, rest) = bytes.as_chunks::<UPDATE_BYTES>();
        for update in updates {
            found(Self::read(update));
        }
        match rest.len() {
            0 => Ok(()),
            length => Err(format!("a message ends with {length} bytes that are no update of {UPDATE_BYTES}")),
        }
    }
}

/// What a peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PeerKind {
    /// Subscribe with the ids in one binary message, `ok` comes back; updates as they are.
    Raw40,
    /// nats-server's own WebSocket; symbols are subjects `u.<symbol>`.
    NatsWs,
    /// Events `sub`, `ok` and `u`.
    #[serde(rename = "socket.io")]
    SocketIo,
    /// Channels `u.<symbol>`, in Protobuf.
    Centrifugo,
}

impl PeerKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Raw40 => "raw40",
            Self::NatsWs => "nats-ws",
            Self::SocketIo => "socket.io",
            Self::Centrifugo => "centrifugo",
        }
    }

    /// Path of the WebSocket.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Raw40 | Self::NatsWs => "/",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Self::Centrifugo => "/connection/websocket?cf_protocol=protobuf",
        }
    }

    /// A session that was just opened.
    pub(crate) fn session(self) -> PeerSession {
        match self {
            Self::Raw40 => PeerSession::Raw40(Raw40),
            Self::NatsWs => PeerSession::NatsWs(NatsWs::default()),
            Self::SocketIo => PeerSession::SocketIo(SocketIo::default()),
            Self::Centrifugo => PeerSession::Centrifugo(Centrifugo::default()),
        }
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All subscriptions are in force; said once.
    Ready,
    More,
}

/// What a session at a peer has to remember.
#[derive(Debug)]
pub(crate) enum PeerSession {
    Raw40(Raw40),
    NatsWs(NatsWs),
    SocketIo(SocketIo),
    Centrifugo(Centrifugo),
}

impl PeerSession {
    /// Appends what is sent first: client frames, made with `ws::put`.
    pub(crate) fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        match self {
            Self::Raw40(session) => session.open(symbols, out),
            Self::NatsWs(session) => session.open(symbols, out),
            Self::SocketIo(session) => session.open(symbols, out),
            Self::Centrifugo(session) => session.open(symbols, out),
        }
    }

    /// Takes one message; appends what has to be answered; pings and closes of the WebSocket never come here.
    ///
    /// # Errors
    /// When the peer does not speak as agreed; the text is for people.
    pub(crate) fn message(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        out: &mut Vec<u8>,
        found: &mut impl FnMut(Update),
    ) -> Result<Progress, String> {
        match self {
            Self::Raw40(session) => session.message(opcode, payload, out, found),
            Self::NatsWs(session) => session.message(opcode, payload, out, found),
            Self::SocketIo(session) => session.message(opcode, payload, out, found),
            Self::Centrifugo(session) => session.message(opcode, payload, out, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_read_as_they_were_written() {
        let update = |symbol| Update { symbol, sequence: 1 << 50, intended_time: 1_767_623_400_123_456_789 };
        let mut bytes = Vec::new();
        update(3).write(&mut bytes);
        update(4_000_000_000).write(&mut bytes);
        assert_eq!(bytes.len(), 2 * UPDATE_BYTES);
        let mut found = Vec::new();
        assert_eq!(Update::read_all(&bytes, |update| found.push(update)), Ok(()));
        assert_eq!(found, [update(3), update(4_000_000_000)]);
        assert!(Update::read_all(&bytes[..79], |_| {}).unwrap_err().contains("39 bytes"));
    }

    #[test]
    fn kinds_have_names_of_their_own() {
        for kind in [PeerKind::Raw40, PeerKind::NatsWs, PeerKind::SocketIo, PeerKind::Centrifugo] {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }
}
