//! One connection, with the bytes that were read and make no whole frame yet, and those that the transport has not taken yet.

use std::io;
use std::net::SocketAddr;

use tickwire_net::fragments::Fragments;
use tokio::time::Instant;

use super::command_rate::CommandRate;
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

pub(crate) struct Connection {
    transport: Transport,
    /// The beginning of a frame whose end has not come yet. It is empty as a rule.
    pub(crate) unread: Vec<u8>,
    /// The parts of a message in several frames that have come.
    pub(crate) fragments: Fragments,
    /// The bytes that the transport has not taken yet. They are empty as a rule.
    unsent: Vec<u8>,
    pub(crate) rate: CommandRate,
    pub(crate) phase: Phase,
    /// Whether the client broke the rules, so that whatever else it sends is thrown away.
    pub(crate) is_deaf: bool,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn new(
        transport: Transport,
        unread: Vec<u8>,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Self {
        Self {
            transport,
            unread,
            fragments: Fragments::default(),
            unsent: Vec::new(),
            rate: CommandRate::default(),
            phase: Phase::Open,
            is_deaf: false,
            _permit: permit,
        }
    }

    /// Reads the bytes that are there, as many as have room.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        self.transport.read(into)
    }

    /// Hands bytes over, behind those that were not taken yet. Returns how many the transport took now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = if self.unsent.is_empty() { self.transport.write(bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(taken)
    }

    /// Hands over the bytes that were not taken at first. Returns how many the transport took now.
    pub(crate) fn write_rest(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        while taken < self.unsent.len() {
            match self.transport.write(&self.unsent[taken..])? {
                0 => break,
                more => taken += more,
            }
        }
        self.unsent.drain(..taken);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(taken)
    }

    /// Returns how many bytes the transport has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Returns how many bytes the peer's kernel has not acknowledged, those that wait here included. Where the transport does not
    /// know, it returns only those that wait here.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unsent.len() + self.transport.unacknowledged()
    }

    /// Returns the address of the other end, while it is connected and has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.transport.peer()
    }

    /// Ends the connection's way out: nothing is written from now on.
    pub(crate) fn shut_write(&mut self) {
        self.transport.shut_write();
    }
}
