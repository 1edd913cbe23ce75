//! A TCP connection as a transport.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};

use mio::net::TcpStream;

use super::came::{Buffers, Came};
use super::kernel;

/// A socket that does not block.
#[derive(Debug)]
pub(crate) struct Tcp(TcpStream);

/// Takes a socket away from the runtime, with buffers of these sizes.
pub(super) fn tuned(stream: tokio::net::TcpStream, buffers: Buffers) -> io::Result<TcpStream> {
    let socket = socket2::SockRef::from(&stream);
    let Buffers { send_bytes, unsent_bytes } = buffers;
    let tuned = if send_bytes == 0 { Ok(()) } else { socket.set_send_buffer_size(send_bytes) };
    #[cfg(target_os = "linux")]
    let tuned = tuned.and(socket.set_tcp_notsent_lowat(unsent_bytes as u32));
    #[cfg(not(target_os = "linux"))]
    let _ = unsent_bytes;
    if let Err(error) = tuned {
        tracing::debug!(%error, "socket not tuned");
    }
    Ok(TcpStream::from_std(stream.into_std()?))
}

impl Tcp {
    pub(super) fn new(stream: tokio::net::TcpStream, buffers: Buffers) -> io::Result<Self> {
        Ok(Self(tuned(stream, buffers)?))
    }

    pub(super) fn stream(&mut self) -> &mut TcpStream {
        &mut self.0
    }

    pub(super) fn read(&mut self, into: &mut [u8]) -> io::Result<Came> {
        Ok(match retried(|| self.0.read(into))? {
            None => Came::Nothing,
            Some(0) => Came::End,
            Some(count) => Came::Bytes { count, is_all: count < into.len() },
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(retried(|| self.0.write(bytes))?.unwrap_or(0))
    }

    pub(super) fn unacknowledged(&self) -> usize {
        kernel::unacknowledged(&self.0).unwrap_or(0)
    }

    pub(super) fn shut_write(&self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }

    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.0.peer_addr().ok()
    }
}

/// Calls again while the system interrupts the call. Returns `None` where the socket would block.
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
