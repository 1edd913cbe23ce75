//! The task of one connection: whole messages come out of it, and what waits is written.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tickwire_net::fragments::{Fragments, Joined};
use tickwire_net::frame::{self, Close, Fault, OpCode, Sender};
use tickwire_net::handshake::{self, Opening, ResponseFault};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::endpoint::{Endpoint, Security, Stream};
use super::fetch::retry_after;
use super::handover::{Handover, What};
use crate::driver::LinkId;

/// The longest message that is taken.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The bytes that are read at once.
const READ_BYTES: usize = 64 << 10;
const AGENT: &str = concat!("tickwire/", env!("CARGO_PKG_VERSION"));

/// A connection's task, which ends with this.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) outgoing: mpsc::Sender<Outgoing>,
    pub(super) task: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A message to the venue.
#[derive(Debug)]
pub(super) enum Outgoing {
    Text(String),
    Ping,
    Pong(Bytes),
}

/// The reason why a connection ended.
struct End {
    reason: String,
    retry_after: Option<Duration>,
}

impl From<String> for End {
    fn from(reason: String) -> Self {
        Self { reason, retry_after: None }
    }
}

/// Runs a connection to its end, and tells why it ended.
pub(super) async fn run(
    url: String,
    security: Arc<Security>,
    handover: Handover,
    id: (LinkId, u64),
    outgoing: mpsc::Receiver<Outgoing>,
) {
    let End { reason, retry_after } = hold(&url, &security, &handover, id, outgoing).await;
    handover.give(id, What::Closed { reason, retry_after }, 0).await;
}

async fn hold(
    url: &str,
    security: &Security,
    handover: &Handover,
    id: (LinkId, u64),
    outgoing: mpsc::Receiver<Outgoing>,
) -> End {
    let (stream, taken) = match open(url, security).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    if !handover.give(id, What::Opened, 0).await {
        return "nobody listens any more".to_owned().into();
    }
    let (read, write) = tokio::io::split(stream);
    let reading = Reading { source: read, buffer: taken, fragments: Fragments::default() };
    // Both go on side by side, and neither is given up in the middle of a frame before the connection is.
    let reason = tokio::select! {
        reason = reading.run(handover, id) => reason,
        reason = writing(write, outgoing) => reason,
    };
    reason.into()
}

/// Connects and shakes hands. Returns the stream, and what came behind the head of the response.
async fn open(url: &str, security: &Security) -> Result<(Box<dyn Stream>, BytesMut), End> {
    let endpoint = Endpoint::parse(url)?;
    let mut stream = endpoint.connect(security).await?;
    let key = handshake::key(rand::random());
    let opening =
        Opening { host: &endpoint.authority, path: &endpoint.path, agent: AGENT, key: &key, protocol: None };
    let broken = |error: std::io::Error| format!("the connection broke while it was opened: {error}");
    stream.write_all(opening.write("").as_bytes()).await.map_err(broken)?;
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let (response, length) = loop {
        if let Some(head) = handshake::read_response(&buffer).map_err(|fault| fault.to_string())? {
            break head;
        }
        if stream.read_buf(&mut buffer).await.map_err(broken)? == 0 {
            return Err("the venue closed the connection while it was opened".to_owned().into());
        }
    };
    buffer.advance(length);
    match handshake::check_response(&response, &key, None) {
        Ok(()) => Ok((stream, buffer)),
        Err(fault @ ResponseFault::Status(_)) => {
            Err(End { reason: fault.to_string(), retry_after: retry_after(response.headers()) })
        }
        Err(fault) => Err(fault.to_string().into()),
    }
}

struct Reading {
    source: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
    fragments: Fragments,
}

impl Reading {
    /// Reads until the end, and returns why it ended.
    async fn run(mut self, handover: &Handover, id: (LinkId, u64)) -> String {
        loop {
            let (opcode, payload) = match self.message() {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.buffer.reserve(READ_BYTES);
                    match self.source.read_buf(&mut self.buffer).await {
                        Ok(0) => return "the venue ended the connection without a word".to_owned(),
                        Ok(_) => continue,
                        Err(error) => return format!("the connection broke: {error}"),
                    }
                }
                Err(fault) => return format!("the venue sent {fault}"),
            };
            let bytes = payload.len();
            let what = match opcode {
                OpCode::Ping => What::Ping(payload.into()),
                OpCode::Pong => What::Pong,
                OpCode::Close => {
                    let Close { code, text } = Close::read(&payload);
                    let code =
                        code.map_or_else(|| "without a code".to_owned(), |code| format!("with code {code}"));
                    return format!("the venue closed the connection {code} {text}").trim_end().to_owned();
                }
                OpCode::Text | OpCode::Binary | OpCode::Continuation => match String::from_utf8(payload) {
                    Ok(text) => What::Message(text),
                    Err(_) => return "the venue sent text that is not UTF-8".to_owned(),
                },
            };
            if !handover.give(id, what, bytes).await {
                return "nobody listens any more".to_owned();
            }
        }
    }

    /// Takes the next message or control frame that is complete.
    fn message(&mut self) -> Result<Option<(OpCode, Vec<u8>)>, Fault> {
        while let Some(found) = frame::find(&self.buffer, Sender::Server, MESSAGE_BYTES_MAX)? {
            let payload = &self.buffer[found.range()];
            let joined = if found.is_control() {
                Joined::Whole
            } else {
                self.fragments.take(&found, payload, MESSAGE_BYTES_MAX)?
            };
            let message = match joined {
                Joined::Whole => Some(payload.to_vec()),
                Joined::Message(message) => Some(message),
                Joined::More => None,
            };
            self.buffer.advance(found.end);
            if let Some(message) = message {
                return Ok(Some((found.opcode, message)));
            }
        }
        Ok(None)
    }
}

/// Writes what waits; returns why it ended.
async fn writing(mut sink: WriteHalf<Box<dyn Stream>>, mut outgoing: mpsc::Receiver<Outgoing>) -> String {
    let mut bytes = Vec::new();
    while let Some(message) = outgoing.recv().await {
        bytes.clear();
        let (opcode, payload) = match &message {
            Outgoing::Text(text) => (OpCode::Text, text.as_bytes()),
            Outgoing::Ping => (OpCode::Ping, &b"tickwire"[..]),
            Outgoing::Pong(payload) => (OpCode::Pong, &payload[..]),
        };
        frame::write_masked(opcode, rand::random(), payload, &mut bytes);
        let written = async {
            sink.write_all(&bytes).await?;
            sink.flush().await
        };
        if let Err(error) = written.await {
            return format!("the connection broke: {error}");
        }
    }
    "it is not wanted any more".to_owned()
}
