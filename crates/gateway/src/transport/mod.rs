//! The carriers of a session's bytes: TCP, or a pipe in memory. TLS will be one more file beside these two.
//!
//! The listener reads the handshake from a [`Carrier`] with the runtime's means. After it the carrier becomes a [`Transport`],
//! which a shard reads and writes when its readiness list (`shard/sockets.rs`) says so.

mod kernel;
mod pipe;
mod tcp;

use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use tokio::io::{AsyncRead, AsyncWrite};

use self::pipe::Pipe;
use self::tcp::Tcp;

/// A connection that a listener speaks HTTP on, and that becomes a transport afterwards.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// # Errors
    /// When the system does not hand the connection over.
    fn into_transport(self, buffers: Buffers) -> io::Result<Transport>;
}

/// The bytes that kernels may hold of one session; see [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buffers {
    /// The size of the send buffer; 0 leaves it to the kernel.
    pub(crate) send_bytes: usize,
    /// The most bytes that the kernel holds unsent.
    pub(crate) unsent_bytes: usize,
}

/// The carrier of one session's bytes; see the module. None of its functions waits.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(Tcp),
    Pipe(Box<Pipe>),
}

/// The outcome of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Nothing is there now.
    Nothing,
    /// `count` bytes were read, at least one. `is_all` says that nothing more was there, unless the readiness list told of the end
    /// of the stream too.
    Bytes { count: usize, is_all: bool },
    /// The peer sends no more.
    End,
}

/// The way in which a transport tells that it can be read or written.
pub(crate) enum Watched<'t> {
    /// The system says so.
    Descriptor(&'t mut mio::net::TcpStream),
    /// The transport wakes this, after a read or a write that was in vain.
    Waker(&'t mut Waker),
}

impl Transport {
    /// Returns what the readiness list watches.
    pub(crate) fn watched(&mut self) -> Watched<'_> {
        match self {
            Self::Tcp(tcp) => Watched::Descriptor(tcp.stream()),
            Self::Pipe(pipe) => Watched::Waker(pipe.waker()),
        }
    }

    /// Reads the bytes that are there, as many as have room.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        match self {
            Self::Tcp(tcp) => tcp.read(into),
            Self::Pipe(pipe) => pipe.read(into),
        }
    }

    /// Writes as many of the bytes as are taken now. Returns how many that were.
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            Self::Pipe(pipe) => pipe.write(bytes),
        }
    }

    /// Returns how many bytes were taken and not acknowledged by the peer's kernel; 0 where the transport does not know.
    pub(crate) fn unacknowledged(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.unacknowledged(),
            // There is no kernel between the two ends.
            Self::Pipe(_) => 0,
        }
    }

    /// Says that nothing is written from now on.
    pub(crate) fn shut_write(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.shut_write(),
            Self::Pipe(pipe) => pipe.shut_write(),
        }
    }

    /// Returns the address of the other end, while it is connected and has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.peer(),
            Self::Pipe(_) => None,
        }
    }
}
