//! Putting together a message that comes in several frames (RFC 6455, section 5.4). No I/O.

use crate::frame::{Fault, Found, OpCode};

/// The part of a message that has come so far. Most messages are one frame, so most connections never have any.
#[derive(Debug, Default)]
pub struct Fragments(Option<Vec<u8>>);

/// The outcome of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joined {
    /// The frame is a whole message: its payload.
    Whole,
    /// The frame ends this message.
    Message(Vec<u8>),
    /// More is to come.
    More,
}

impl Fragments {
    /// Returns how many bytes of the message came so far.
    pub fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, Vec::len)
    }

    /// Returns whether no part of a message has come.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Takes a frame that is no control frame, with its payload as it was sent, unmasked.
    ///
    /// # Errors
    /// When the frames contradict each other, or together are larger than `max` bytes.
    pub fn take(&mut self, frame: &Found, payload: &[u8], max: usize) -> Result<Joined, Fault> {
        let mut whole = match (frame.opcode, self.0.take()) {
            (OpCode::Continuation, None) => {
                return Err(Fault::Protocol("a fragment of no message"));
            }
            (OpCode::Continuation, Some(whole)) => whole,
            (_, Some(_)) => return Err(Fault::Protocol("a message within the fragments of another")),
            (_, None) if frame.is_last => return Ok(Joined::Whole),
            (_, None) => Vec::new(),
        };
        if whole.len() + payload.len() > max {
            return Err(Fault::TooLarge);
        }
        whole.extend_from_slice(payload);
        if frame.is_last {
            return Ok(Joined::Message(whole));
        }
        self.0 = Some(whole);
        Ok(Joined::More)
    }
}
