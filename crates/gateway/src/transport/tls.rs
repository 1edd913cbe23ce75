//! A TLS connection over TCP as a transport.
//!
//! What a shard hands over is sealed for this session alone; the bytes that it was made of are shared. Sealed bytes that the
//! socket did not take stay in the stream, and count as unsent.

use std::io;
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;
use tickwire_net::tls::{Received, Secured, ServerTlsStream};

use super::came::{Buffers, Came};
use super::kernel;
use super::tcp::tuned;

/// A socket that does not block, with keys that both ends have agreed on.
#[derive(Debug)]
pub(crate) struct Tls {
    stream: Secured<TcpStream>,
    /// Whether the last word of TLS was said. The socket is shut when that has left.
    is_closing: bool,
}

impl Tls {
    pub(super) fn new(stream: ServerTlsStream<tokio::net::TcpStream>, buffers: Buffers) -> io::Result<Self> {
        let (socket, connection) = stream.into_inner();
        let stream = Secured::new(tuned(socket, buffers)?, connection);
        Ok(Self { stream, is_closing: false })
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        self.stream.socket_mut()
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        Ok(match self.stream.receive(into)? {
            Received::Nothing => Came::Nothing,
            Received::Bytes { count, is_all } => Came::Bytes { count, is_all },
            Received::End => Came::End,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    pub(super) fn held(&mut self) -> usize {
        self.stream.held()
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()?;
        if self.is_closing && self.stream.held() == 0 {
            let _ = self.stream.socket().shutdown(Shutdown::Write);
        }
        Ok(())
    }

    pub(super) fn unacknowledged(&self) -> usize {
        kernel::unacknowledged(self.stream.socket()).unwrap_or(0)
    }

    pub(super) fn shut_write(&mut self) {
        if !self.is_closing {
            self.is_closing = true;
            let _ = self.stream.close();
            let _ = self.flush();
        }
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.stream.socket().peer_addr().ok()
    }
}

impl Drop for Tls {
    /// Says that nothing follows, whatever the reason of the end: without that word the end looks like a cut.
    fn drop(&mut self) {
        self.shut_write();
    }
}
