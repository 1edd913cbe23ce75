//! One connection, with what was read and not understood yet and what was written and not taken yet.

use std::io;
use std::net::SocketAddr;

use tickwire_net::fragments::Fragments;
use tokio::time::Instant;

use super::command_rate::CommandRate;
use crate::transport::{Came, Transport};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// The close frame was handed over: it may take until then to leave.
    Leaving(Instant),
    /// It has left, and the peer has until then to answer.
    Left(Instant),
}

pub(crate) struct Connection {
    transport: Transport,
    /// The beginning of a frame whose end has not come yet; empty as a rule.
    pub(crate) unread: Vec<u8>,
    /// What came of a message in several frames.
    pub(crate) fragments: Fragments,
    /// What the transport has not taken yet; empty as a rule.
    unsent: Vec<u8>,
    pub(crate) rate: CommandRate,
    pub(crate) phase: Phase,
    /// It broke the rules: what it sends is thrown away.
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

    /// Reads what is there, at most what has room.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        self.transport.read(into)
    }

    /// Hands bytes over, behind those that were not taken yet; returns how many were taken now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = if self.unsent.is_empty() { self.transport.write(bytes)? } else { 0 };
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(taken)
    }

    /// Hands over what was not taken at first; returns how much was taken now.
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

    /// Bytes that were not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Bytes that the peer's kernel has not acknowledged, those that wait here included. Where nobody tells, only these.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unsent.len() + self.transport.unacknowledged()
    }

    /// Who is at the other end, while it is there and has an address.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.transport.peer()
    }

    /// Nothing is written from now on.
    pub(crate) fn shut_write(&mut self) {
        self.transport.shut_write();
    }
}
