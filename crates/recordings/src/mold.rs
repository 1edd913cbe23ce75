//! MoldUDP64, the transport of the feeds of Nasdaq: packets of messages in datagrams.
//!
//! It does no input or output: a datagram goes in, a header and messages come out.

use crate::framing::{self, bytes};

/// The bytes of a packet's header.
const HEADER_BYTES: usize = 20;
/// The count of a packet that ends its session.
const END: u16 = u16::MAX;

/// A packet: one datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MoldPacket<'a> {
    pub(crate) session: [u8; 10],
    /// The sequence number of the first message; of a heartbeat, that of the next message.
    pub(crate) first: i64,
    /// The number of messages; a heartbeat has none.
    pub(crate) count: u16,
    /// Whether the session ends; there are no messages then.
    pub(crate) is_end: bool,
    payload: &'a [u8],
}

impl<'a> MoldPacket<'a> {
    /// Reads the header of a packet.
    ///
    /// # Errors
    /// Returns what is wrong with it, in words.
    pub(crate) fn parse(datagram: &'a [u8]) -> Result<Self, String> {
        let Some((head, payload)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
            return Err(format!(
                "a datagram of {} bytes is no packet of MoldUDP64, whose header has {HEADER_BYTES}",
                datagram.len()
            ));
        };
        let stated = u16::from_be_bytes([head[18], head[19]]);
        let count = if stated == END { 0 } else { stated };
        let number = u64::from_be_bytes(bytes(head, 10).unwrap_or_default());
        let first = i64::try_from(number).ok().filter(|first| first.checked_add(i64::from(count)).is_some());
        let first =
            first.ok_or_else(|| format!("a packet cannot begin with the sequence number {number}"))?;
        let session = bytes(head, 0).unwrap_or_default();
        Ok(Self { session, first, count, is_end: stated == END, payload })
    }

    /// Returns the messages. What cannot be one is an error in words, and the last item.
    pub(crate) fn messages(&self) -> impl Iterator<Item = Result<&'a [u8], String>> + use<'a> {
        let stated = u16::try_from(self.payload.len()).unwrap_or(u16::MAX);
        framing::messages(self.payload, stated, self.count, u16::from_be_bytes)
    }

    /// Returns whether a datagram looks as a packet does: its session is text, and its messages fill it.
    pub(crate) fn is_one(datagram: &'a [u8]) -> bool {
        Self::parse(datagram).is_ok_and(|packet| {
            packet.session.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
                && packet.messages().all(|message| message.is_ok())
        })
    }
}
