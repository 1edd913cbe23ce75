//! Other servers, so that they can be loaded in the same way: how a session subscribes there, and how updates are found
//! in what it sends. A server of this kind gets updates of 40 bytes from a publisher and passes them on; `benches/peers`
//! has them.

mod centrifugo;
mod nats_ws;
mod socket_io;

use serde::{Deserialize, Serialize};

use crate::websocket::{self, Opcode};

/// Bytes of an update.
pub(crate) const UPDATE_BYTES: usize = 40;

/// An update that a peer passes on. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Update {
    /// Its index, from 0.
    pub(crate) symbol: u32,
    /// Its place among the updates of its symbol, from 1.
    pub(crate) sequence: u64,
    pub(crate) intended_time: u64,
}

impl Update {
    /// Reads words of 8 bytes, little-endian: symbol, sequence number, intended time; 16 bytes behind them stand for a quote.
    pub(crate) fn read(bytes: &[u8; UPDATE_BYTES]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes.as_chunks().0[at]);
        Self { symbol: word(0) as u32, sequence: word(1), intended_time: word(2) }
    }

    pub(crate) fn write(self, out: &mut Vec<u8>) {
        for word in [u64::from(self.symbol), self.sequence, self.intended_time] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&[0x5a; 16]);
    }

    /// Hands out all updates of bytes that hold nothing else.
    pub(crate) fn read_all(bytes: &[u8], found: &mut dyn FnMut(Self)) -> Result<(), String> {
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

/// The protocols that peers speak.
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
    /// Returns the path of the WebSocket.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Raw40 | Self::NatsWs => "/",
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket",
            Self::Centrifugo => "/connection/websocket?cf_protocol=protobuf",
        }
    }

    /// Returns a session that was just opened.
    pub(crate) fn session(self) -> Box<dyn PeerSession> {
        match self {
            Self::Raw40 => Box::new(Raw40),
            Self::NatsWs => Box::new(nats_ws::NatsWs::default()),
            Self::SocketIo => Box::new(socket_io::SocketIo::default()),
            Self::Centrifugo => Box::new(centrifugo::Centrifugo::default()),
        }
    }
}

/// A message brings a session so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All subscriptions are in force; said once.
    Ready,
    More,
}

/// Each update that is found goes here.
pub(crate) type Found<'a> = &'a mut dyn FnMut(Update);

/// A message brings a session so far; the error says, for people, how the peer does not speak as agreed.
pub(crate) type Taken = Result<Progress, String>;

/// A session at a peer: it says what it wants, and reads what comes.
pub(crate) trait PeerSession {
    /// Appends what is sent first: client frames, made with `websocket::put`.
    fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>);

    /// Takes one message; appends what has to be answered. Pings and closes of the WebSocket never come here.
    fn message(&mut self, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>, found: Found<'_>) -> Taken;
}

/// The plainest peer: ids in, updates out.
struct Raw40;

impl PeerSession for Raw40 {
    fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        let ids: Vec<u8> = symbols.iter().flat_map(|symbol| symbol.to_le_bytes()).collect();
        websocket::put(out, Opcode::Binary, &ids);
    }

    fn message(&mut self, opcode: Opcode, payload: &[u8], _out: &mut Vec<u8>, found: Found<'_>) -> Taken {
        match (opcode, payload) {
            (Opcode::Text, b"ok") => Ok(Progress::Ready),
            (Opcode::Text, said) => Err(format!("it says: {}", String::from_utf8_lossy(said))),
            (_, updates) => Update::read_all(updates, found).map(|()| Progress::More),
        }
    }
}

#[cfg(test)]
#[path = "../tests/units/peer.rs"]
mod tests;
