//! WebSocket frames (RFC 6455, section 5.2): writing them, and finding one in bytes that were read. No I/O.
//!
//! fastwebsockets writes heads, masks and unmasks. It also reads, but through a buffer of its own for each connection, and it
//! hides whether a frame was masked. Here a frame is a range of bytes that were read anyway, and what it claims about its length
//! is checked before a byte of its payload is waited for.

use std::borrow::Cow;
use std::ops::Range;

pub use fastwebsockets::OpCode;
use fastwebsockets::{Frame, Payload};

/// Largest payload of a ping, pong or close frame, in bytes (section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;
/// Longest head of a frame: two bytes, eight of length, four of mask.
pub const HEAD_BYTES_MAX: usize = 14;

/// The side that sent a frame: clients mask what they send, servers do not (section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Its frames are masked.
    Client,
    /// Its frames are not.
    Server,
}

/// The rule that a peer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A rule of WebSocket: which.
    #[error("{0}")]
    Protocol(&'static str),
    /// A message is larger than the receiver takes.
    #[error("a message that is too large")]
    TooLarge,
    /// Text is not UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
}

impl Fault {
    /// Returns the code of the close frame that answers it (section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// The place of a whole frame in the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The kind of frame.
    pub opcode: OpCode,
    /// It ends its message.
    pub is_last: bool,
    /// The mask of a client's frame; a server's has none.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the head; the payload begins behind them.
    pub head: usize,
    /// Bytes of head and payload.
    pub end: usize,
}

impl Found {
    /// Returns the place of the payload.
    pub fn range(&self) -> Range<usize> {
        self.head..self.end
    }

    /// The frame is a ping, a pong or a close: it may stand between the fragments of a message.
    pub fn is_control(&self) -> bool {
        is_control(self.opcode)
    }

    /// Unmasks the payload in place, in the bytes that the frame was found in, and returns it.
    pub fn payload<'b>(&self, bytes: &'b mut [u8]) -> &'b [u8] {
        let payload = &mut bytes[self.range()];
        if self.mask.is_some() {
            Frame::new(true, self.opcode, self.mask, Payload::BorrowedMut(payload)).unmask();
        }
        payload
    }
}

/// Returns the frame at the start of `bytes`; `None` while it is not complete. `payload_max` bounds text and binary frames, in
/// bytes.
///
/// # Errors
/// As soon as the head shows that the frame cannot be taken, however much of it is there.
#[inline]
pub fn find(bytes: &[u8], sender: Sender, payload_max: usize) -> Result<Option<Found>, Fault> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Fault::Protocol("reserved bits are set"));
    }
    let Ok(opcode) = OpCode::try_from(first & 0x0f) else {
        return Err(Fault::Protocol("unknown opcode"));
    };
    let is_last = first & 0x80 != 0;
    let is_control = is_control(opcode);
    if is_control && !is_last {
        return Err(Fault::Protocol("a control frame in fragments"));
    }
    let mask_bytes = match (sender, second & 0x80 != 0) {
        (Sender::Client, true) => 4,
        (Sender::Server, false) => 0,
        (Sender::Client, false) => return Err(Fault::Protocol("not masked")),
        (Sender::Server, true) => return Err(Fault::Protocol("masked, as no server's frame is")),
    };
    let (length, least, head) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 126, 2 + 2 + mask_bytes),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 1 << 16, 2 + 8 + mask_bytes),
            None => return Ok(None),
        },
        length => (u64::from(length), 0, 2 + mask_bytes),
    };
    if length < least {
        return Err(Fault::Protocol("a length in more bytes than it needs"));
    }
    if length >> 63 != 0 {
        return Err(Fault::Protocol("a length of more than 63 bits"));
    }
    if is_control && length > CONTROL_BYTES_MAX as u64 {
        return Err(Fault::Protocol("a control frame above 125 bytes"));
    }
    if !is_control && length > payload_max as u64 {
        return Err(Fault::TooLarge);
    }
    let end = head + length as usize;
    if bytes.len() < end {
        return Ok(None);
    }
    let mask = if mask_bytes == 0 { None } else { bytes[..head].last_chunk().copied() };
    Ok(Some(Found { opcode, is_last, mask, head, end }))
}

/// The beginning of a frame whose end has not come: its head is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun<'b> {
    /// The kind of frame.
    pub opcode: OpCode,
    /// The mask of a client's frame; a server's has none.
    pub mask: Option<[u8; 4]>,
    /// The part of the payload that has come, as it was sent.
    pub payload: &'b [u8],
}

/// Returns what has come of the frame at the start of `bytes`, which [`find`] takes but finds incomplete; `None` while its head
/// is.
pub fn begun(bytes: &[u8], sender: Sender) -> Option<Begun<'_>> {
    let [first, second, ..] = bytes else { return None };
    let opcode = OpCode::try_from(first & 0x0f).ok()?;
    let mask_bytes = if sender == Sender::Client { 4 } else { 0 };
    let length_bytes = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let (head, payload) = bytes.split_at_checked(2 + length_bytes + mask_bytes)?;
    let mask = if mask_bytes == 0 { None } else { head.last_chunk().copied() };
    Some(Begun { opcode, mask, payload })
}

fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Ping | OpCode::Pong | OpCode::Close)
}

/// Writes the head of a server's frame with this payload, and returns how many bytes it has.
#[inline]
pub fn write_head(opcode: OpCode, payload: &[u8], into: &mut [u8; HEAD_BYTES_MAX]) -> usize {
    Frame::new(true, opcode, None, Payload::Borrowed(payload)).fmt_head(into)
}

/// Appends a server's frame, whole.
pub fn write(opcode: OpCode, payload: &[u8], out: &mut Vec<u8>) {
    let mut head = [0; HEAD_BYTES_MAX];
    let length = write_head(opcode, payload, &mut head);
    out.extend_from_slice(&head[..length]);
    out.extend_from_slice(payload);
}

/// Appends a client's frame, whole and masked.
pub fn write_masked(opcode: OpCode, mask: [u8; 4], payload: &[u8], out: &mut Vec<u8>) {
    let mut head = [0; HEAD_BYTES_MAX];
    let length = Frame::new(true, opcode, Some(mask), Payload::Borrowed(payload)).fmt_head(&mut head);
    out.extend_from_slice(&head[..length]);
    let start = out.len();
    out.extend_from_slice(payload);
    Frame::new(true, opcode, Some(mask), Payload::BorrowedMut(&mut out[start..])).mask();
}

/// The content of a close frame (section 5.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close<'p> {
    /// The code; none where the payload has no room for one.
    pub code: Option<u16>,
    /// The text beside it.
    pub text: Cow<'p, str>,
}

impl<'p> Close<'p> {
    /// Reads the payload of a close frame.
    pub fn read(payload: &'p [u8]) -> Self {
        match payload {
            [high, low, text @ ..] => {
                Self { code: Some(u16::from_be_bytes([*high, *low])), text: String::from_utf8_lossy(text) }
            }
            _ => Self { code: None, text: Cow::default() },
        }
    }

    /// Checks the payload of a close frame, and returns its code; `None` where it has no payload.
    ///
    /// # Errors
    /// When it may not be sent: it has one byte, its code is not one that stands in a frame (section 7.4), or its text is not
    /// UTF-8.
    pub fn check(payload: &[u8]) -> Result<Option<u16>, Fault> {
        let (code, text) = match payload {
            [] => return Ok(None),
            [high, low, text @ ..] => (u16::from_be_bytes([*high, *low]), text),
            [_] => return Err(Fault::Protocol("a close frame with half a code")),
        };
        if !may_be_sent(code) {
            return Err(Fault::Protocol("a close code that no frame may have"));
        }
        if std::str::from_utf8(text).is_err() {
            return Err(Fault::NotUtf8);
        }
        Ok(Some(code))
    }

    /// Returns the payload that says this.
    pub fn payload(code: u16, text: &str) -> Vec<u8> {
        Frame::close(code, text.as_bytes()).payload.into()
    }
}

/// Returns whether a close frame may have this code: those of the RFC and of its registry that are not reserved for programs
/// to tell themselves (1004, 1005, 1006, 1015), and those of libraries (3000 on) and of applications (4000 on).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}
