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
    /// Whether the last [`receive`](Secured::receive) left a part of a record in rustls.
    has_part: bool,
}

/// The outcome of a read, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brought {
    /// The number of bytes from the socket; 0: the connection ended.
    pub sealed: usize,
    /// The number of bytes for the program.
    pub plain: usize,
}

/// The outcome of [`Secured::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The socket has nothing now.
    Nothing,
    /// `count` bytes are for the program; there may be none, because not all that is read is for it. `is_all` says that
    /// the socket has nothing more, unless its end is there too.
    Bytes {
        /// The number of bytes for the program.
        count: usize,
        /// Whether that was all.
        is_all: bool,
    },
    /// The peer sends no more: it said so, or its connection ended without a word.
    End,
}

/// A socket that remembers whether its last read brought less than there was room for.
struct Noting<'s, S> {
    socket: &'s mut S,
    has_less: bool,
}

impl<S: Read> Read for Noting<'_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.socket.read(into)?;
        self.has_less = count < into.len();
        Ok(count)
    }
}

impl<S: Read + Write> Secured<S> {
    /// The connection begins with the first read or write.
    pub fn new(socket: S, connection: impl Into<Connection>) -> Self {
        Self { socket, connection: connection.into(), has_part: false }
    }

    /// Returns the socket below.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// Returns the socket below, for whoever watches it.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
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
                    let _ = self.flush();
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

    /// Returns how many sealed bytes the socket has not taken yet.
    pub fn held(&mut self) -> usize {
        if !self.connection.wants_write() {
            return 0;
        }
        // This is the one function that tells it. There is nothing new for it to do.
        self.connection.process_new_packets().map_or(0, |state| state.tls_bytes_to_write())
    }

    /// Gives the program what was read before and had no room, or else reads the socket once.
    ///
    /// Unlike [`read`](Self::read) it needs no scratch: rustls reads the socket, 4 KiB at a time, into a buffer of its own.
    ///
    /// # Errors
    /// Those of the socket, and of TLS, with a [`rustls::Error`] inside.
    pub fn receive(&mut self, to: &mut [u8]) -> io::Result<Received> {
        match self.take(to)? {
            Received::Nothing => {}
            left => return Ok(left),
        }
        let mut noting = Noting { socket: &mut self.socket, has_less: false };
        match self.connection.read_tls(&mut noting) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.has_part = false;
                return Ok(Received::Nothing);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                return Ok(Received::Bytes { count: 0, is_all: false });
            }
            Err(error) => return Err(error),
        }
        let has_less = noting.has_less;
        if let Err(error) = self.connection.process_new_packets() {
            // An alert tells the peer why.
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        if self.connection.wants_write() {
            // TLS itself answered something, such as a change of keys.
            self.flush()?;
        }
        let had_part = std::mem::take(&mut self.has_part);
        Ok(match self.take(to)? {
            Received::Nothing if has_less => {
                self.has_part = true;
                Received::Nothing
            }
            Received::Nothing => Received::Bytes { count: 0, is_all: false },
            // rustls gives the memory of a long record back with the next read, so there is one more.
            Received::Bytes { count, .. } => {
                Received::Bytes { count, is_all: has_less && !had_part && count < to.len() }
            }
            Received::End => Received::End,
        })
    }

    /// Takes plaintext out of rustls.
    fn take(&mut self, to: &mut [u8]) -> io::Result<Received> {
        match self.connection.reader().read(to) {
            Ok(0) => Ok(Received::End),
            Ok(count) => Ok(Received::Bytes { count, is_all: false }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Received::Nothing),
            // What comes above knows by itself whether it is whole.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Received::End),
            Err(error) => Err(error),
        }
    }

    /// Writes what is sealed, as far as the socket takes it.
    ///
    /// # Errors
    /// Those of the socket, except that it would block.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.socket) {
                Ok(1..) => {}
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Seals what there is room for, and writes what the socket takes. Returns how many bytes of `plain` were sealed; whether
    /// the socket took all of it says [`wants_write`](Self::wants_write).
    ///
    /// # Errors
    /// Those of the socket, except that it would block.
    pub fn write(&mut self, plain: &[u8]) -> io::Result<usize> {
        let mut taken = 0;
        loop {
            let more = self.connection.writer().write(&plain[taken..])?;
            taken += more;
            self.flush()?;
            if taken == plain.len() || self.connection.wants_write() {
                return Ok(taken);
            }
        }
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    /// Those of [`write`](Self::write).
    pub fn close(&mut self) -> io::Result<()> {
        self.connection.send_close_notify();
        self.flush()
    }
}
