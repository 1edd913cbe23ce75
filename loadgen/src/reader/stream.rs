//! A session reads and writes a stream: a socket, or TLS over one.
//!
//! Readiness is of the socket, and the loop asks again as long as it has bytes (level-triggered).

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

use tickwire_net::tls::{Brought, ClientTls, Secured};

pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Secured<TcpStream>>),
}

impl Stream {
    pub(super) fn new(socket: TcpStream, tls: Option<&ClientTls>) -> io::Result<Self> {
        Ok(match tls {
            None => Self::Plain(socket),
            Some(tls) => {
                let connection = tls.connection().map_err(io::Error::other)?;
                Self::Tls(Box::new(Secured::new(socket, connection)))
            }
        })
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(secured) => secured.socket(),
        }
    }

    /// Both sides have not agreed on keys yet.
    pub(super) fn is_agreeing(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.is_handshaking())
    }

    /// Something is to be written, whatever the session wants.
    pub(super) fn wants_write(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.wants_write())
    }

    /// Reads once, at most so many bytes of the socket. `sealed` is scratch, and empty where there is no TLS.
    ///
    /// # Errors
    /// Those of the socket, and of TLS, with a [`rustls::Error`](tickwire_net::tls::rustls::Error) inside.
    pub(super) fn read(&mut self, to: &mut [u8], most: usize, sealed: &mut [u8]) -> io::Result<Brought> {
        match self {
            Self::Plain(socket) => {
                let until = to.len().min(most);
                let count = socket.read(&mut to[..until])?;
                Ok(Brought { sealed: count, plain: count })
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
                // A connection that failed says so when it is read.
                written = secured.write(out).unwrap_or(0);
                secured.wants_write() || written < out.len()
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
            let _ = secured.close();
        }
    }
}
