//! The carriers of a session's bytes: TCP, TLS over TCP, or a pipe in memory.
//!
//! The listener reads the handshake from a [`Carrier`] with the runtime's means. After it the carrier becomes a [`Transport`],
//! which a shard reads and writes when its readiness list (`shard/sockets.rs`) says so.

mod came;
mod kernel;
mod pipe;
mod tcp;
#[cfg(feature = "tls")]
mod tls;

use std::io;
use std::net::SocketAddr;
use std::task::Waker;

#[cfg(feature = "tls")]
use tickwire_net::tls::ServerTlsStream;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};

pub(crate) use self::came::{Buffers, Came};
use self::pipe::Pipe;
use self::tcp::Tcp;
#[cfg(feature = "tls")]
use self::tls::Tls;

/// A connection that a listener speaks HTTP on, and that becomes a transport afterwards.
pub(crate) trait Carrier: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// # Errors
    /// When the system does not hand the connection over.
    fn into_transport(self, buffers: Buffers) -> io::Result<Transport>;
}

impl Carrier for tokio::net::TcpStream {
    fn into_transport(self, buffers: Buffers) -> io::Result<Transport> {
        Ok(Transport::Tcp(Tcp::new(self, buffers)?))
    }
}

impl Carrier for DuplexStream {
    fn into_transport(self, _: Buffers) -> io::Result<Transport> {
        Ok(Transport::Pipe(Box::new(Pipe::new(self))))
    }
}

#[cfg(feature = "tls")]
impl Carrier for ServerTlsStream<tokio::net::TcpStream> {
    fn into_transport(self, buffers: Buffers) -> io::Result<Transport> {
        Ok(Transport::Tls(Box::new(Tls::new(self, buffers)?)))
    }
}

/// The carrier of one session's bytes; see the module. None of its functions waits.
#[derive(Debug)]
pub(crate) enum Transport {
    Tcp(Tcp),
    #[cfg(feature = "tls")]
    Tls(Box<Tls>),
    Pipe(Box<Pipe>),
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
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Watched::Descriptor(tls.socket()),
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
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(into),
            Self::Pipe(pipe) => pipe.read(into),
        }
    }

    /// Writes as many of the bytes as are taken now. Returns how many that were. With TLS they are taken when they are sealed:
    /// see [`held`](Self::held).
    ///
    /// # Errors
    /// When the connection broke.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(tcp) => tcp.write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write(bytes),
            Self::Pipe(pipe) => pipe.write(bytes),
        }
    }

    /// Returns how many sealed bytes the socket has not taken yet.
    pub(crate) fn held(&mut self) -> usize {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.held(),
            Self::Tcp(_) | Self::Pipe(_) => 0,
        }
    }

    /// Writes sealed bytes, as many as are taken now.
    ///
    /// # Errors
    /// When the connection broke.
    #[cfg_attr(not(feature = "tls"), expect(clippy::unnecessary_wraps, reason = "only TLS can fail here"))]
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
            Self::Tcp(_) | Self::Pipe(_) => Ok(()),
        }
    }

    /// Returns whether it may have read what nobody took yet, of which the readiness list knows nothing.
    pub(crate) fn may_hold_input(&self) -> bool {
        match self {
            #[cfg(feature = "tls")]
            Self::Tls(_) => true,
            Self::Tcp(_) | Self::Pipe(_) => false,
        }
    }

    /// Returns how many bytes were taken and not acknowledged by the peer's kernel; 0 where the transport does not know.
    pub(crate) fn unacknowledged(&self) -> usize {
        match self {
            Self::Tcp(tcp) => tcp.unacknowledged(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.unacknowledged(),
            // There is no kernel between the two ends.
            Self::Pipe(_) => 0,
        }
    }

    /// Says that nothing is written from now on.
    pub(crate) fn shut_write(&mut self) {
        match self {
            Self::Tcp(tcp) => tcp.shut_write(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.shut_write(),
            Self::Pipe(pipe) => pipe.shut_write(),
        }
    }

    /// Returns the address of the other end, while it is connected and has one.
    pub(crate) fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.peer(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.peer(),
            Self::Pipe(_) => None,
        }
    }
}
