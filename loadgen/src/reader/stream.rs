//! What a session reads and writes: a socket, or TLS over one.
//!
//! Readiness is of the socket, and the loop asks again as long as it has bytes (level-triggered). So a read takes all plaintext
//! that rustls made of what the socket gave: nothing waits there while the socket has nothing.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use rustls::ClientConnection;

use crate::tls;

/// A record and what goes with it: so much may wait in rustls for its end.
const RECORD_BYTES_MAX: usize = 32 << 10;

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured>),
}

pub(super) struct Secured {
    socket: TcpStream,
    connection: ClientConnection,
}

/// What a read brought, in bytes.
pub(super) struct Brought {
    /// From the socket; 0: the connection ended.
    pub(super) wire: usize,
    /// For the session.
    pub(super) plain: usize,
    /// Something is to be written, whatever the session wants.
    pub(super) wants_write: bool,
}

impl Stream {
    pub(super) fn new(socket: TcpStream, tls: Option<&tls::Tls>) -> io::Result<Self> {
        Ok(match tls {
            None => Self::Plain(socket),
            Some(tls) => {
                let connection = tls.connection().map_err(io::Error::other)?;
                Self::Tls(Box::new(Secured { socket, connection }))
            }
        })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(secured) => &secured.socket,
        }
    }

    /// Both sides have not agreed on keys yet.
    pub(super) fn is_agreeing(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.connection.is_handshaking())
    }

    /// Reads once, at most so many bytes of the socket. `sealed` is scratch, and empty where there is no TLS.
    ///
    /// # Errors
    /// Those of the socket, and of TLS, with a [`rustls::Error`] inside.
    pub(super) fn read(&mut self, to: &mut [u8], most: usize, sealed: &mut [u8]) -> io::Result<Brought> {
        match self {
            Self::Plain(socket) => {
                let until = to.len().min(most);
                let count = socket.read(&mut to[..until])?;
                Ok(Brought { wire: count, plain: count, wants_write: false })
            }
            Self::Tls(secured) => secured.read(to, most, sealed),
        }
    }

    /// Writes what the socket takes; returns whether something is left.
    pub(super) fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let mut written = 0;
        let is_left = match self {
            Self::Plain(socket) => {
                while written < out.len() {
                    match socket.write(&out[written..]) {
                        Ok(count) => written += count,
                        // A connection that failed says so when it is read.
                        Err(_) => break,
                    }
                }
                written < out.len()
            }
            Self::Tls(secured) => {
                let is_left = secured.write(out, &mut written);
                is_left || written < out.len()
            }
        };
        out.drain(..written);
        if out.is_empty() {
            *out = Vec::new();
        }
        is_left
    }

    /// Says that nothing follows.
    pub(super) fn close(&mut self) {
        if let Self::Tls(secured) = self {
            secured.connection.send_close_notify();
            secured.write(&[], &mut 0);
        }
    }
}

impl Secured {
    fn read(&mut self, to: &mut [u8], most: usize, sealed: &mut [u8]) -> io::Result<Brought> {
        // Plaintext is never longer than what was sealed, but for a record that was begun before.
        let until = most.min(sealed.len()).min(to.len().saturating_sub(RECORD_BYTES_MAX));
        let wire = self.socket.read(&mut sealed[..until])?;
        let mut rest = &sealed[..wire];
        let (mut plain, mut has_ended) = (0, wire == 0);
        while !rest.is_empty() && !has_ended {
            // An end of the stream by TLS: nothing behind it counts.
            has_ended = self.connection.read_tls(&mut rest)? == 0;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // The server may know why.
                    self.write(&[], &mut 0);
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
            };
            let count = state.plaintext_bytes_to_read();
            self.connection.reader().read_exact(&mut to[plain..plain + count])?;
            plain += count;
            has_ended |= state.peer_has_closed();
        }
        let wire = if has_ended && plain == 0 { 0 } else { wire };
        Ok(Brought { wire, plain, wants_write: self.connection.wants_write() })
    }

    /// Returns whether something sealed is left.
    fn write(&mut self, out: &[u8], written: &mut usize) -> bool {
        loop {
            *written += self.connection.writer().write(&out[*written..]).unwrap_or(0);
            if !self.connection.wants_write() {
                return false;
            }
            match self.connection.write_tls(&mut self.socket) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return true,
            }
        }
    }
}
