//! Whole messages from the socket.
//!
//! fastwebsockets' `read_frame` loses bytes when it is dropped half-way, so one task owns a [`Reading`] for the life of
//! the connection and never polls it beside a timer.

use std::io::{self, Cursor};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use fastwebsockets::{OpCode, Payload, Role, WebSocketError, WebSocketRead, after_handshake_split};
use tokio::io::{AsyncReadExt, Chain, ReadHalf};

use crate::error::Disconnect;
use crate::handshake::BoxTransport;
use crate::silence::{SilenceLimit, SilenceWatch, is_silence};

type Source = SilenceWatch<Chain<Cursor<Bytes>, ReadHalf<BoxTransport>>>;

/// Before `Hello` has said how often the gateway speaks.
const SILENCE_BEFORE_HELLO: Duration = Duration::from_mins(1);

/// What the gateway said.
pub(crate) enum Incoming {
    Message(Bytes),
    Ping(Bytes),
    Closed { code: Option<u16>, text: String },
}

/// The reading half of a connection.
pub(crate) struct Reading {
    socket: WebSocketRead<Source>,
    silence: SilenceLimit,
    /// Fragments so far. The gateway sends none, but a proxy may cut messages up.
    partial: Option<BytesMut>,
    message_bytes_max: usize,
}

impl Reading {
    /// Reads what the handshake already took off the stream, then the stream.
    pub(crate) fn new(taken: Bytes, stream: ReadHalf<BoxTransport>, message_bytes_max: usize) -> Self {
        let silence = SilenceLimit::new(SILENCE_BEFORE_HELLO);
        let source = SilenceWatch::new(Cursor::new(taken).chain(stream), silence.clone());
        let (mut socket, _) = after_handshake_split(source, tokio::io::sink(), Role::Client);
        socket.set_auto_close(false);
        socket.set_auto_pong(false);
        socket.set_max_message_size(message_bytes_max);
        Self { socket, silence, partial: None, message_bytes_max }
    }

    /// From now on, no byte for this long means that the connection is dead.
    pub(crate) fn expect_within(&self, limit: Duration) {
        self.silence.set(limit);
    }

    /// The next message. After an error the stream is out of step and must be dropped.
    ///
    /// # Cancel safety
    /// Not cancel safe: bytes are lost.
    pub(crate) async fn next(&mut self) -> Result<Incoming, Disconnect> {
        let max = self.message_bytes_max;
        loop {
            let frame = self
                .socket
                .read_frame(&mut |_| std::future::ready(Ok::<(), io::Error>(())))
                .await
                .map_err(|error| explain(error, &self.silence, max))?;
            match frame.opcode {
                OpCode::Ping => return Ok(Incoming::Ping(owned(frame.payload))),
                OpCode::Pong => {}
                OpCode::Close => return Ok(closed(&frame.payload)),
                OpCode::Text | OpCode::Binary if self.partial.is_some() => {
                    return Err(Disconnect::Protocol("a message begins inside another".to_owned()));
                }
                OpCode::Text | OpCode::Binary if frame.fin => {
                    return Ok(Incoming::Message(owned(frame.payload)));
                }
                OpCode::Text | OpCode::Binary => self.partial = Some(BytesMut::from(&frame.payload[..])),
                OpCode::Continuation => {
                    let Some(message) = &mut self.partial else {
                        return Err(Disconnect::Protocol("a fragment without a message".to_owned()));
                    };
                    if message.len() + frame.payload.len() >= max {
                        return Err(explain(WebSocketError::FrameTooLarge, &self.silence, max));
                    }
                    message.extend_from_slice(&frame.payload);
                    if frame.fin {
                        return Ok(Incoming::Message(self.partial.take().unwrap_or_default().freeze()));
                    }
                }
            }
        }
    }
}

fn explain(error: WebSocketError, silence: &SilenceLimit, message_bytes_max: usize) -> Disconnect {
    match error {
        WebSocketError::IoError(error) if is_silence(&error) => Disconnect::Mute { silence: silence.get() },
        WebSocketError::IoError(error) => Disconnect::Broken(Arc::new(error)),
        WebSocketError::UnexpectedEOF => Disconnect::Closed { code: None, text: String::new() },
        WebSocketError::FrameTooLarge => {
            Disconnect::Protocol(format!("a message reached {message_bytes_max} bytes"))
        }
        other => Disconnect::Protocol(other.to_string()),
    }
}

fn owned(payload: Payload<'_>) -> Bytes {
    match payload {
        Payload::Bytes(bytes) => bytes.freeze(),
        other => Bytes::copy_from_slice(&other),
    }
}

fn closed(payload: &[u8]) -> Incoming {
    match payload {
        [high, low, text @ ..] => Incoming::Closed {
            code: Some(u16::from_be_bytes([*high, *low])),
            text: String::from_utf8_lossy(text).into_owned(),
        },
        _ => Incoming::Closed { code: None, text: String::new() },
    }
}
