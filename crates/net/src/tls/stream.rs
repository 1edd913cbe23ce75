//! TLS over a socket that does not block, for loops that are told when it is ready.

use std::io::{self, ErrorKind, Read, Write};

use rustls::Connection;

/// A record and what goes with it, in bytes: so much may wait in rustls for its end.
const RECORD_BYTES_MAX: usize = 32 << 10;

/// TLS over a socket. A read takes all plaintext that rustls made of what the socket gave, so nothing waits here while the
/// socket has nothing.
#[derive(Debug)]
pub struct Secured<S> {
    socket: S,
    connection: Connection,
}

/// The outcome of a read, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The number of bytes from the socket; 0: the connection ended.
    pub sealed: usize,
    /// The number of bytes for the program.
    pub plain: usize,
}

impl<S: Read + Write> Secured<S> {
    /// The connection begins with the first read or write.
    pub fn new(socket: S, connection: impl Into<Connection>) -> Self {
        Self { socket, connection: connection.into() }
    }

    /// Returns the socket below.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Both sides have not agreed on keys yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Something sealed is to be written, whatever the program wants.
    pub fn wants_write(&self) -> bool {
        self.connection.wants_write()
    }

    /// Reads the socket once, at most `most` bytes. `sealed` is scratch; `to` has to have room for as much and for a record
    /// (32 KiB) that was begun before.
    ///
    /// # Errors
    /// Those of the socket, and of TLS, with a [`rustls::Error`] inside.
    pub fn read(&mut self, to: &mut [u8], most: usize, sealed: &mut [u8]) -> io::Result<Brought> {
        // Plaintext is never longer than what was sealed, but for a record that was begun before.
        let until = most.min(sealed.len()).min(to.len().saturating_sub(RECORD_BYTES_MAX));
        let count = self.socket.read(&mut sealed[..until])?;
        let mut rest = &sealed[..count];
        let (mut plain, mut has_ended) = (0, count == 0);
        while !rest.is_empty() && !has_ended {
            // An end of the stream by TLS: nothing behind it counts.
            has_ended = self.connection.read_tls(&mut rest)? == 0;
            let state = match self.connection.process_new_packets() {
                Ok(state) => state,
                Err(error) => {
                    // An alert tells the peer why.
                    let _ = self.write(&[]);
                    return Err(io::Error::new(ErrorKind::InvalidData, error));
                }
            };
            let came = state.plaintext_bytes_to_read();
            self.connection.reader().read_exact(&mut to[plain..plain + came])?;
            plain += came;
            has_ended |= state.peer_has_closed();
        }
        let sealed = if has_ended && plain == 0 { 0 } else { count };
        Ok(Brought { sealed, plain })
    }

    /// Seals what there is room for, and writes what the socket takes. Returns how many bytes of `plain` were sealed; whether
    /// the socket took all of it says [`wants_write`](Self::wants_write).
    ///
    /// # Errors
    /// Those of the socket, except that it would block.
    pub fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            taken += self.connection.writer().write(&plain[taken..])?;
            if !self.connection.wants_write() {
                return Ok(taken);
            }
            match self.connection.write_tls(&mut self.socket) {
                Ok(1..) => {}
                Ok(0) => return Ok(taken),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(taken),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn close(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.write(&[]).map(drop)
    }
}
