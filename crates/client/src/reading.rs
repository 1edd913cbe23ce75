//! Whole messages from the socket.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tickwire_net::fragments::{Fragments, Joined};
use tickwire_net::frame::{self, Close, Fault, OpCode, Sender};
use tokio::io::{AsyncReadExt, ReadHalf};

use crate::error::Disconnect;
use crate::handshake::BoxTransport;
use crate::silence::{SilenceLimit, SilenceWatch, is_silence};

/// The bytes that are read at once. Messages are slices of one buffer, so the last of them that is kept keeps all of it.
const READ_BYTES: usize = 8 << 10;
/// The least room, in bytes, below which a new buffer is taken. It is not taken earlier: each of many messages that come one by one
/// would keep a buffer of its own.
const ROOM_BYTES_MIN: usize = 1 << 10;
/// The longest silence before `Hello` has said how often the gateway speaks.
const SILENCE_BEFORE_HELLO: Duration = Duration::from_mins(1);

/// A thing that the gateway said.
pub(crate) enum Incoming {
    Message(Bytes),
    Ping(Bytes),
    Closed { code: Option<u16>, text: String },
}

/// The reading half of a connection.
pub(crate) struct Reading {
    source: SilenceWatch<ReadHalf<BoxTransport>>,
    silence: SilenceLimit,
    /// The bytes that were read and not taken yet.
    buffer: BytesMut,
    /// The gateway sends none, but a proxy may cut messages up.
    fragments: Fragments,
    message_bytes_max: usize,
}

impl Reading {
    /// Reads what the handshake already took off the stream, then the stream.
    pub(crate) fn new(taken: &[u8], stream: ReadHalf<BoxTransport>, message_bytes_max: usize) -> Self {
        let silence = SilenceLimit::new(SILENCE_BEFORE_HELLO);
        let source = SilenceWatch::new(stream, silence.clone());
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        buffer.extend_from_slice(taken);
        Self { source, silence, buffer, fragments: Fragments::default(), message_bytes_max }
    }

    /// From now on, no byte for this long means that the connection is dead.
    pub(crate) fn expect_within(&self, limit: Duration) {
        self.silence.set(limit);
    }

    /// Returns the next message. After an error the stream is out of step and must be dropped.
    ///
    /// # Cancel safety
    /// What was read and not returned is there for the next call.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Disconnect> {
        loop {
            let Some((opcode, payload)) = self.message().map_err(|fault| self.refuse(fault))? else {
                self.read().await?;
                continue;
            };
            match opcode {
                OpCode::Ping => return Ok(Incoming::Ping(payload)),
                OpCode::Pong => {}
                OpCode::Close => {
                    let Close { code, text } = Close::read(&payload);
                    return Ok(Incoming::Closed { code, text: text.into_owned() });
                }
                OpCode::Text if std::str::from_utf8(&payload).is_err() => {
                    return Err(Disconnect::Protocol("a text that is not UTF-8".to_owned()));
                }
                OpCode::Text | OpCode::Binary | OpCode::Continuation => {
                    return Ok(Incoming::Message(payload));
                }
            }
        }
    }

    /// Takes the message or control frame that is complete in the buffer. One that came in fragments has the last one's
    /// opcode.
    fn message(&mut self) -> Result<Option<(OpCode, Bytes)>, Fault> {
        let most = self.message_bytes_max.saturating_sub(1);
        while let Some(frame) =
            frame::find(&self.buffer, Sender::Server, most.saturating_sub(self.fragments.bytes()))?
        {
            let mut payload = self.buffer.split_to(frame.end);
            payload.advance(frame.head);
            let joined = if frame.is_control() {
                Joined::Whole
            } else {
                self.fragments.take(&frame, &payload, most)?
            };
            match joined {
                Joined::Whole => return Ok(Some((frame.opcode, payload.freeze()))),
                Joined::Message(message) => return Ok(Some((frame.opcode, message.into()))),
                Joined::More => {}
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<(), Disconnect> {
        if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES_MIN {
            self.buffer.reserve(READ_BYTES);
        }
        match self.source.read_buf(&mut self.buffer).await {
            Ok(0) => Err(Disconnect::Closed { code: None, text: String::new() }),
            Ok(_) => Ok(()),
            Err(error) if is_silence(&error) => Err(Disconnect::Mute { silence: self.silence.get() }),
            Err(error) => Err(Disconnect::Broken(Arc::new(error))),
        }
    }

    fn refuse(&self, fault: Fault) -> Disconnect {
        Disconnect::Protocol(match fault {
            Fault::TooLarge => format!("a message reached {} bytes", self.message_bytes_max),
            Fault::Protocol(_) | Fault::NotUtf8 => fault.to_string(),
        })
    }
}
