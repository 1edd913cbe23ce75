//! The sockets of one shard, watched by one readiness list of their own.
//!
//! The list (epoll, kqueue) is itself one descriptor that the runtime watches, so a session needs no task, no waker and
//! no entry in the runtime: a quiet one costs the kernel's entry and nothing here.

use std::io;
use std::time::Duration;

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slotmap::{Key as _, KeyData};
use tokio::io::unix::AsyncFd;

use tickwire_core::engine::SessionKey;

/// Sockets that one look at the list brings.
const EVENTS_MAX: usize = 1024;

// A key with its generation is the token of its socket.
const _: () = assert!(usize::BITS >= 64, "tokens hold session keys of 64 bits");

/// What happened to one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) key: SessionKey,
    /// There is something to read, its end included.
    pub(crate) readable: bool,
    /// Its end is among it.
    pub(crate) ended: bool,
    /// It takes bytes again.
    pub(crate) writable: bool,
}

pub(crate) struct Sockets {
    poll: AsyncFd<Poll>,
    events: Events,
}

impl Sockets {
    /// # Errors
    /// When the system gives no more descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe; `Poll` owns its descriptor and never replaces it"
        )]
        let poll = AsyncFd::new(Poll::new()?)?;
        Ok(Self { poll, events: Events::with_capacity(EVENTS_MAX) })
    }

    /// Watches a socket until it is closed.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(crate) fn add(&self, stream: &mut TcpStream, key: SessionKey) -> io::Result<()> {
        let token = Token(key.data().as_ffi() as usize);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.poll.get_ref().registry().register(stream, token, both)
    }

    /// Waits until something happened to sockets, and appends what. Each change is told once: read until nothing is
    /// left (less came than there was room for, unless the end is there too), write until nothing is taken.
    ///
    /// # Errors
    /// When the list itself cannot be read.
    ///
    /// # Cancel safety
    /// Nothing is taken from the list before it returns.
    pub(crate) async fn ready(&mut self, into: &mut Vec<Readiness>) -> io::Result<()> {
        let mut guard = self.poll.readable_mut().await?;
        match guard.get_inner_mut().poll(&mut self.events, Some(Duration::ZERO)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            looked => looked?,
        }
        if self.events.iter().count() < EVENTS_MAX {
            guard.clear_ready();
        }
        into.extend(self.events.iter().map(|event| {
            let ended = event.is_read_closed() || event.is_error();
            Readiness {
                key: KeyData::from_ffi(event.token().0 as u64).into(),
                readable: event.is_readable() || ended,
                ended,
                writable: event.is_writable(),
            }
        }));
        Ok(())
    }
}
