//! Centrifugo's bidirectional protocol in Protobuf: commands and replies, each after its length, several in a message
//! (<https://github.com/centrifugal/protocol>, `definitions/client.proto`).

use prost::Message as _;

use super::{Found, PeerSession, Progress, Taken, UPDATE_BYTES, Update};
use crate::websocket::{self, Opcode};

#[derive(prost::Message)]
struct Command {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "4")]
    connect: Option<Empty>,
    #[prost(message, optional, tag = "5")]
    subscribe: Option<Subscribe>,
}

#[derive(prost::Message)]
struct Subscribe {
    #[prost(string, tag = "1")]
    channel: String,
}

#[derive(prost::Message)]
struct Reply {
    /// The id of the command that this answers; 0: it is a push.
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(message, optional, tag = "2")]
    error: Option<Error>,
    #[prost(message, optional, tag = "4")]
    push: Option<Push>,
}

#[derive(prost::Message)]
struct Error {
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(prost::Message)]
struct Push {
    #[prost(message, optional, tag = "4")]
    publication: Option<Publication>,
    #[prost(message, optional, tag = "7")]
    unsubscribe: Option<Empty>,
    #[prost(message, optional, tag = "11")]
    disconnect: Option<Empty>,
}

#[derive(prost::Message)]
struct Publication {
    #[prost(bytes = "vec", tag = "4")]
    data: Vec<u8>,
}

#[derive(prost::Message)]
struct Empty {}

/// Id of the connect command; those of subscribes follow.
const CONNECT_ID: u32 = 1;

#[derive(Debug, Default)]
pub(super) struct Centrifugo {
    symbols: Vec<u32>,
    /// Subscribes without a reply.
    open: usize,
}

impl PeerSession for Centrifugo {
    fn open(&mut self, symbols: &[u32], out: &mut Vec<u8>) {
        self.symbols = symbols.to_vec();
        self.open = symbols.len();
        let connect = Command { id: CONNECT_ID, connect: Some(Empty {}), subscribe: None };
        websocket::put(out, Opcode::Binary, &connect.encode_length_delimited_to_vec());
    }

    fn message(&mut self, _opcode: Opcode, payload: &[u8], out: &mut Vec<u8>, found: Found<'_>) -> Taken {
        let mut rest = payload;
        let mut progress = Progress::More;
        while !rest.is_empty() {
            let reply = Reply::decode_length_delimited(&mut rest);
            let reply = reply.map_err(|_| "a message that is no Protobuf of Centrifugo".to_owned())?;
            match reply {
                Reply { error: Some(Error { message }), .. } => return Err(format!("it says: {message}")),
                Reply { push: Some(push), .. } => pushed(push, found)?,
                Reply { id: CONNECT_ID, .. } => {
                    let mut commands = Vec::new();
                    for (id, symbol) in (CONNECT_ID + 1..).zip(std::mem::take(&mut self.symbols)) {
                        let subscribe = Some(Subscribe { channel: format!("u.{symbol}") });
                        let command = Command { id, connect: None, subscribe };
                        commands.extend(command.encode_length_delimited_to_vec());
                    }
                    websocket::put(out, Opcode::Binary, &commands);
                }
                // The server's ping is an empty reply, and an empty command is the pong.
                Reply { id: 0, .. } => websocket::put(out, Opcode::Binary, &[0]),
                _ => {
                    self.open = self.open.saturating_sub(1);
                    if self.open == 0 {
                        progress = Progress::Ready;
                    }
                }
            }
        }
        Ok(progress)
    }
}

fn pushed(push: Push, found: Found<'_>) -> Result<(), String> {
    if push.unsubscribe.is_some() {
        return Err("it ended a subscription".to_owned());
    }
    if push.disconnect.is_some() {
        return Err("it is going to disconnect".to_owned());
    }
    let Some(Publication { data }) = push.publication else { return Ok(()) };
    let update: Result<&[u8; UPDATE_BYTES], _> = data.as_slice().try_into();
    found(Update::read(update.map_err(|_| format!("an update of {} bytes", data.len()))?));
    Ok(())
}

#[cfg(test)]
#[path = "../../tests/units/centrifugo.rs"]
mod tests;
