//! One socket, with what was read and not understood yet and what was written and not taken yet.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use tokio::time::Instant;

use super::command_rate::CommandRate;
use super::fragments::Fragments;
use super::kernel;

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
    stream: TcpStream,
    /// The beginning of a frame whose end has not come yet; empty as a rule.
    pub(crate) unread: Vec<u8>,
    /// What came of a message in several frames.
    pub(crate) fragments: Fragments,
    /// What the kernel has not taken yet; empty as a rule.
    unsent: Vec<u8>,
    pub(crate) rate: CommandRate,
    pub(crate) phase: Phase,
    /// It broke the rules: what it sends is thrown away.
    pub(crate) is_deaf: bool,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, unread: Vec<u8>, permit: tokio::sync::OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            unread,
            fragments: Fragments::default(),
            unsent: Vec::new(),
            rate: CommandRate::default(),
            phase: Phase::Open,
            is_deaf: false,
            _permit: permit,
        }
    }

    /// Reads what is there, at most what has room; `None` where nothing is.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        retried(|| self.stream.read(into))
    }

    /// Hands bytes to the kernel, behind those that it has not taken yet; returns how many it took now.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken =
            if self.unsent.is_empty() { retried(|| self.stream.write(bytes))?.unwrap_or(0) } else { 0 };
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(taken)
    }

    /// Hands the kernel what it did not take at first; returns how much it took now.
    pub(crate) fn write_rest(&mut self) -> io::Result<usize> {
        let mut taken = 0;
        while taken < self.unsent.len() {
            match retried(|| self.stream.write(&self.unsent[taken..]))? {
                Some(more) if more > 0 => taken += more,
                _ => break,
            }
        }
        self.unsent.drain(..taken);
        if self.unsent.is_empty() {
            self.unsent = Vec::new();
        }
        Ok(taken)
    }

    /// Bytes that the kernel has not taken yet.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Bytes that the peer's kernel has not acknowledged, those that wait here included. Where the system does not
    /// tell, only these.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.unsent.len() + kernel::unacknowledged(&self.stream).unwrap_or(0)
    }

    /// Who is at the other end, while it is there.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        self.stream.peer_addr().ok()
    }

    /// Nothing is written from now on.
    pub(crate) fn shut_write(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// `None` where the socket would block.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(done) => return Ok(Some(done)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
