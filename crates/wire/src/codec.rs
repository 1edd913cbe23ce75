//! The three encodings behind one face.

use std::fmt;

use crate::message::{Command, Message};
use crate::pb::{Hello, Identity};
use crate::record::{Record, Scale};
use crate::{json, msgpack, proto};

/// The way in which records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Protobuf.
    Proto,
    /// MessagePack, with fields by position.
    MsgPack,
    /// The JSON encoding: one object a line.
    Json,
}

impl Encoding {
    /// All three; `encoding as usize` is the index into this.
    pub const ALL: [Self; 3] = [Self::Proto, Self::MsgPack, Self::Json];

    /// Returns its name in the WebSocket handshake.
    pub fn subprotocol(self) -> &'static str {
        match self {
            Self::Proto => "tickwire.v1.proto",
            Self::MsgPack => "tickwire.v1.msgpack",
            Self::Json => "tickwire.v1.json",
        }
    }

    /// Returns the encoding of a subprotocol's name.
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.subprotocol() == name)
    }

    /// Returns its name in the configuration and on the command line: `proto`, `msgpack`, `json`.
    pub fn name(self) -> &'static str {
        self.subprotocol().rsplit('.').next().unwrap_or_default()
    }

    /// Returns the encoding of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.name() == name)
    }

    /// Returns whether its WebSocket messages are text.
    pub fn is_text(self) -> bool {
        self == Self::Json
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The reason why bytes could not be read, and the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is not a {encoding} message at byte {offset}: {reason}")]
#[non_exhaustive]
pub struct DecodeError {
    /// The encoding in which the bytes were read.
    pub encoding: Encoding,
    /// The place of the fault, in bytes from the beginning.
    pub offset: usize,
    /// A text that says what is wrong there, [`DecodeError::REASON_MAX`] characters at most.
    pub reason: String,
}

impl DecodeError {
    /// The longest reason that is kept, in characters: parsers quote what they did not expect, however long it is.
    pub const REASON_MAX: usize = 300;

    fn new(encoding: Encoding, offset: usize, mut reason: String) -> Self {
        if let Some((end, _)) = reason.char_indices().nth(Self::REASON_MAX) {
            reason.truncate(end);
            reason.push('…');
        }
        Self { encoding, offset, reason }
    }
}

/// Appends one message. Messages that are appended one after another are a valid WebSocket message.
///
/// `scale` is used by the JSON encoding for market data only; other messages may pass the default.
pub fn encode_message(encoding: Encoding, message: &Message, scale: &Scale, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Proto => proto::encode(message, out),
        Encoding::MsgPack => msgpack::encode(message, out),
        Encoding::Json => json::encode(message, scale, out),
    }
}

/// Appends the gateway's send time, in nanoseconds since the Unix epoch: the last thing in a WebSocket message.
pub fn encode_sent_time(encoding: Encoding, time: u64, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Proto => proto::encode_sent_time(time, out),
        _ => encode_message(encoding, &Message::Sent(time), &Scale::default(), out),
    }
}

/// The messages in the bytes of one WebSocket message or bus frame, in order. Kinds that this build does not know are
/// passed over. The iterator ends after the first error, because what follows it cannot be trusted.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    encoding: Encoding,
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Batch<'a> {
    /// Starts at the first byte.
    pub fn new(encoding: Encoding, bytes: &'a [u8]) -> Self {
        Self { encoding, bytes, offset: 0 }
    }

    /// Returns the next message where it is a quote or a trade in Protobuf: the quick way to what most messages are. `None`: it is
    /// something else, or the end, which `next` tells.
    #[inline]
    pub fn next_frequent(&mut self) -> Option<Record> {
        if self.encoding != Encoding::Proto {
            return None;
        }
        let mut rest = self.bytes.get(self.offset..)?;
        let record = proto::frequent(&mut rest);
        self.offset = self.bytes.len() - rest.len();
        record
    }
}

impl Iterator for Batch<'_> {
    type Item = Result<Message, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(record) = self.next_frequent() {
            return Some(Ok(Message::Record(record)));
        }
        loop {
            let rest = self.bytes.get(self.offset..).filter(|rest| !rest.is_empty())?;
            let decoded = match self.encoding {
                Encoding::Proto => proto::decode(rest),
                Encoding::MsgPack => msgpack::decode(rest),
                Encoding::Json => json::decode(rest),
            };
            match decoded {
                Ok((message, used)) => {
                    self.offset += used.max(1);
                    if let Some(mut message) = message {
                        unsign_rates(&mut message);
                        return Some(Ok(message));
                    }
                }
                Err(reason) => {
                    let offset = self.offset;
                    self.offset = self.bytes.len();
                    return Some(Err(DecodeError::new(self.encoding, offset, reason)));
                }
            }
        }
    }
}

/// Appends one command.
pub fn encode_command(encoding: Encoding, command: &Command, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Proto => proto::encode_command(command, out),
        Encoding::MsgPack => msgpack::encode_command(command, out),
        Encoding::Json => json::encode_command(command, out),
    }
}

/// Reads one command: one WebSocket message from a client.
///
/// # Errors
/// Returns an error when the bytes are not exactly one command, or when the rate in it is negative or not finite.
pub fn decode_command(encoding: Encoding, bytes: &[u8]) -> Result<Command, DecodeError> {
    let decoded = match encoding {
        Encoding::Proto => proto::decode_command(bytes),
        Encoding::MsgPack => msgpack::decode_command(bytes),
        Encoding::Json => json::decode_command(bytes),
    };
    decoded.and_then(check_rate).map_err(|reason| DecodeError::new(encoding, 0, reason))
}

/// Makes zero of a rate of minus zero. Protobuf writes neither of them, MessagePack and JSON would keep the sign, so a rate reads the
/// same in every encoding only without it.
fn without_sign(rate: &mut f64) {
    *rate += 0.0;
}

/// Returns the id of a command that cannot be read as a whole, where that much of it can be read.
pub fn command_id(encoding: Encoding, bytes: &[u8]) -> Option<u64> {
    match encoding {
        Encoding::Proto => proto::command_id(bytes),
        Encoding::MsgPack => msgpack::command_id(bytes),
        Encoding::Json => json::command_id(bytes),
    }
}

/// Makes zero of each rate of minus zero in a message.
fn unsign_rates(message: &mut Message) {
    match message {
        Message::Subscribed(subscribed) => {
            subscribed.granted.iter_mut().for_each(|granted| without_sign(&mut granted.max_rate));
        }
        Message::Hello(Hello { limits: Some(limits), .. })
        | Message::Identity(Identity { limits: Some(limits), .. }) => without_sign(&mut limits.max_rate),
        _ => {}
    }
}

fn check_rate(mut command: Command) -> Result<Command, String> {
    let rate = match &mut command {
        Command::Subscribe(c) => &mut c.max_rate,
        Command::SetRate(c) => &mut c.max_rate,
        _ => return Ok(command),
    };
    if rate.is_finite() && *rate >= 0.0 {
        without_sign(rate);
        Ok(command)
    } else {
        Err(format!("max_rate {rate} is no rate; 0 (all that can be taken) or updates per second, as in 2.5"))
    }
}
