//! The check that text messages are UTF-8 (RFC 6455, sections 5.6 and 8.1), as their bytes come. No I/O.
//!
//! A message fails as soon as it is certain that no further byte can mend it, be its last fragment, or the rest of its frame,
//! still to come or not.

use crate::frame::{Fault, Found, OpCode};

/// The bytes of the longest character, less one: so many may be the beginning of a character whose end has not come.
const HELD_MAX: usize = 3;

/// A check of UTF-8 that comes in parts, which may end within a character.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8 {
    held: [u8; HELD_MAX],
    count: u8,
}

impl Utf8 {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// As soon as they are not UTF-8, whatever comes behind them.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), Fault> {
        while self.count > 0 {
            let Some((next, rest)) = bytes.split_first() else { return Ok(()) };
            let count = usize::from(self.count);
            let mut character = [0; HELD_MAX + 1];
            character[..count].copy_from_slice(&self.held[..count]);
            character[count] = *next;
            bytes = rest;
            self.count = 0;
            self.hold(&character[..=count])?;
        }
        self.hold(bytes)
    }

    /// Checks bytes that begin with a character, and keeps the beginning of one whose end has not come.
    fn hold(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let Err(error) = std::str::from_utf8(bytes) else { return Ok(()) };
        let tail = &bytes[error.valid_up_to()..];
        if error.error_len().is_some() || tail.len() > HELD_MAX {
            return Err(Fault::NotUtf8);
        }
        self.held[..tail.len()].copy_from_slice(tail);
        self.count = tail.len() as u8;
        Ok(())
    }

    /// Returns whether the bytes so far end with a whole character.
    pub fn is_whole(self) -> bool {
        self.count == 0
    }
}

/// The check of one connection's messages. It has something in it only while a text message is not complete.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextCheck {
    utf8: Utf8,
    /// Whether the message is text whose last frame has not come; `None` where all messages are whole.
    within: Option<bool>,
    /// The bytes of the payload that were checked already of a frame that is not complete.
    ahead: usize,
}

impl TextCheck {
    /// Returns whether nothing is half checked.
    pub fn is_none(&self) -> bool {
        self.within.is_none() && self.ahead == 0
    }

    /// Checks what has come of the payload of a frame that is not complete. `bytes` is the payload as it was sent, and it may
    /// be given again with more behind it.
    ///
    /// # Errors
    /// When the text cannot become UTF-8.
    pub fn begun(&mut self, opcode: OpCode, mask: Option<[u8; 4]>, bytes: &[u8]) -> Result<(), Fault> {
        let is_next = match opcode {
            // Within another message it breaks another rule, which is told when it is complete.
            OpCode::Text => self.within.is_none(),
            OpCode::Continuation => self.within == Some(true),
            _ => false,
        };
        if !is_next {
            return Ok(());
        }
        let mask = mask.unwrap_or_default();
        let mut part = [0; 256];
        while self.ahead < bytes.len() {
            let count = part.len().min(bytes.len() - self.ahead);
            for (at, byte) in part[..count].iter_mut().enumerate() {
                *byte = bytes[self.ahead + at] ^ mask[(self.ahead + at) % 4];
            }
            self.ahead += count;
            self.utf8.take(&part[..count])?;
        }
        Ok(())
    }

    /// Checks a whole frame that is no control frame, with its payload unmasked. Returns whether it belongs to a text message.
    ///
    /// # Errors
    /// When the text is not UTF-8, or cannot become so.
    pub fn frame(&mut self, frame: &Found, payload: &[u8]) -> Result<bool, Fault> {
        let is_text = match frame.opcode {
            OpCode::Continuation => self.within == Some(true),
            opcode => opcode == OpCode::Text,
        };
        self.within = (!frame.is_last).then_some(is_text);
        if !is_text {
            return Ok(false);
        }
        self.utf8.take(&payload[self.ahead.min(payload.len())..])?;
        self.ahead = 0;
        if frame.is_last && !std::mem::take(&mut self.utf8).is_whole() {
            return Err(Fault::NotUtf8);
        }
        Ok(true)
    }
}
