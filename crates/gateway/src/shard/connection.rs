//! One connection, with the bytes that were read and make no whole frame yet, and those that the transport has not taken yet.

use std::io;
use std::net::SocketAddr;

use tickwire_net::fragments::{Fragments, Joined};
use tickwire_net::frame::{Begun, Fault, Found};
use tickwire_net::text::TextCheck;
use tokio::time::Instant;

use super::command_rate::CommandRate;
use crate::holders::Seat;
use crate::transport::{Came, Transport};

/// The phase of a connection's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The close frame was handed over. It has until this time to leave.
    Leaving(Instant),
    /// The close frame has left. The peer has until this time to answer.
    Left(Instant),
}

/// A connection. There are many, so what few of them have at a time stands apart.
pub(crate) struct Connection {
    transport: Transport,
    pub(crate) rate: CommandRate,
    rest: Option<Box<Rest>>,
    seat: Seat,
}

// A gateway has tens of thousands of them. In debug builds mio keeps with each socket which list watches it.
const _: () = assert!(size_of::<Connection>() <= if cfg!(debug_assertions) { 80 } else { 72 });

/// The parts that a connection has while something is not whole, or is not over.
struct Rest {
    /// The beginning of a frame whose end has not come yet.
    unread: Vec<u8>,
    /// The parts of a message in several frames that have come.
    fragments: Fragments,
    /// The check of a text message whose end has not come.
    text: TextCheck,
    /// The time, in nanoseconds, at which the message began whose end has not come.
    begun: Option<u64>,
    /// The bytes that the transport has not taken yet.
    unsent: Vec<u8>,
    phase: Phase,
    /// Whether the client broke the rules, so that whatever else it sends is thrown away.
    is_deaf: bool,
}

impl Rest {
    fn new() -> Self {
        Self {
            unread: Vec::new(),
            fragments: Fragments::default(),
            text: TextCheck::default(),
            begun: None,
            unsent: Vec::new(),
            phase: Phase::Open,
            is_deaf: false,
        }
    }

    fn is_none(&self) -> bool {
        self.unread.is_empty()
            && self.fragments.is_none()
            && self.text.is_none()
            && self.begun.is_none()
            && self.unsent.is_empty()
            && self.phase == Phase::Open
            && !self.is_deaf
    }
}

impl Connection {
    pub(crate) fn new(transport: Transport, unread: &[u8], seat: Seat) -> Self {
        let mut connection = Self { transport, rate: CommandRate::default(), rest: None, seat };
        connection.keep_unread(unread);
        connection
    }

    fn rest_mut(&mut self) -> &mut Rest {
        self.rest.get_or_insert_with(|| Box::new(Rest::new()))
    }

    /// Gives the memory of what is whole and over back.
    fn release(&mut self) {
        self.rest.take_if(|rest| rest.is_none());
    }

    /// Returns the beginning of a frame whose end has not come yet. It is empty as a rule.
    pub(crate) fn unread(&self) -> &[u8] {
        self.rest.as_ref().map_or(&[], |rest| &rest.unread)
    }

    /// Keeps the beginning of a frame whose end has not come yet, instead of the one before.
    pub(crate) fn keep_unread(&mut self, unread: &[u8]) {
        if self.rest.is_some() || !unread.is_empty() {
            self.rest_mut().unread = unread.to_vec();
            self.release();
        }
    }

    /// Returns how many bytes came of a message in several frames.
    pub(crate) fn fragment_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.fragments.bytes())
    }

    /// Returns whether a message has begun with a whole frame, and its last frame has not come.
    pub(crate) fn has_fragments(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| !rest.fragments.is_none())
    }

    /// Takes a frame that is no control frame: see [`Fragments::take`]. Returns whether its message is text, too.
    ///
    /// # Errors
    /// As that, and where text is not UTF-8.
    pub(crate) fn take_data(
        &mut self,
        frame: &Found,
        payload: &[u8],
        max: usize,
    ) -> Result<(Joined, bool), Fault> {
        let held = self.rest.as_deref_mut();
        let held = held.map(|rest| (std::mem::take(&mut rest.fragments), std::mem::take(&mut rest.text)));
        let (mut fragments, mut text) = held.unwrap_or_default();
        let joined = fragments.take(frame, payload, max);
        let joined = joined.and_then(|joined| Ok((joined, text.frame(frame, payload)?)));
        if !(fragments.is_none() && text.is_none()) {
            let rest = self.rest_mut();
            (rest.fragments, rest.text) = (fragments, text);
        }
        self.release();
        joined
    }

    /// Checks what has come of a frame that is not complete.
    ///
    /// # Errors
    /// Where text cannot become UTF-8.
    pub(crate) fn check_begun(&mut self, begun: &Begun<'_>) -> Result<(), Fault> {
        self.rest_mut().text.begun(begun.opcode, begun.mask, begun.payload)
    }

    /// Notes since when a message waits for its end, where one does. `is_another` says that the one which was noted before has
    /// ended.
    pub(crate) fn note_begun(&mut self, is_another: bool, now: u64) {
        if let Some(rest) = self.rest.as_deref_mut() {
            let waits = !rest.unread.is_empty() || !rest.fragments.is_none();
            let since = rest.begun.filter(|_| !is_another).unwrap_or(now);
            rest.begun = waits.then_some(since);
            self.release();
        }
    }

    /// Returns whether the end of a message has been waited for since this time or longer.
    pub(crate) fn waits_since(&self, time: u64) -> bool {
        self.rest.as_ref().and_then(|rest| rest.begun).is_some_and(|begun| begun <= time)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.rest.as_ref().map_or(Phase::Open, |rest| rest.phase)
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        self.rest_mut().phase = phase;
    }

    /// Returns whether the client broke the rules, so that whatever else it sends is thrown away.
    pub(crate) fn is_deaf(&self) -> bool {
        self.rest.as_ref().is_some_and(|rest| rest.is_deaf)
    }

    /// Throws away what has come and whatever else the client sends.
    pub(crate) fn deafen(&mut self) {
        let rest = self.rest_mut();
        rest.is_deaf = true;
        (rest.unread, rest.fragments) = (Vec::new(), Fragments::default());
        (rest.text, rest.begun) = (TextCheck::default(), None);
    }

    /// Reads the bytes that are there, as many as have room.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        self.transport.read(into)
    }

    /// Hands bytes over, behind those that were not taken yet. Returns how many the transport took now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = if self.unsent() == 0 { self.transport.write(bytes)? } else { 0 };
        if taken < bytes.len() {
            self.rest_mut().unsent.extend_from_slice(&bytes[taken..]);
        }
        Ok(taken)
    }

    /// Hands over the bytes that were not taken at first. Returns how many the transport took now.
    pub(crate) fn write_rest(&mut self) -> io::Result<usize> {
        self.transport.flush()?;
        let Some(Rest { unsent, .. }) = self.rest.as_deref_mut() else { return Ok(0) };
        let mut taken = 0;
        while taken < unsent.len() {
            match self.transport.write(&unsent[taken..])? {
                0 => break,
                more => taken += more,
            }
        }
        unsent.drain(..taken);
        if unsent.is_empty() {
            *unsent = Vec::new();
            self.release();
        }
        Ok(taken)
    }

    /// Returns how many bytes the transport has not taken yet, or has sealed and not got rid of.
    pub(crate) fn unsent(&mut self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.unsent.len()) + self.transport.held()
    }

    /// Returns how many bytes the peer's kernel has not acknowledged, those that wait here included. Where the transport does not
    /// know, it returns only those that wait here.
    pub(crate) fn unacknowledged(&mut self) -> usize {
        self.unsent() + self.transport.unacknowledged()
    }

    /// Returns the client's address, as far as it is known: that of the other end, or the one that a proxy told.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.seat.client().or_else(|| self.transport.peer())
    }

    /// Ends the connection's way out: nothing is written from now on.
    pub(crate) fn shut_write(&mut self) {
        self.transport.shut_write();
    }
}
