//! The sockets of one shard, watched by one readiness list of their own.
//!
//! The list (epoll, kqueue) is itself one descriptor that the runtime watches, so a session needs no task, no waker and
//! no entry in the runtime: a quiet one costs the kernel's entry and nothing here. A transport without a descriptor rings a
//! bell, which is in the list as one more descriptor as soon as there is such a transport.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use slotmap::{Key as _, KeyData};
use tokio::io::unix::AsyncFd;

use crate::transport::{Transport, Watched};
use tickwire_core::engine::SessionKey;

/// The most sockets that one look at the list brings.
const EVENTS_MAX: usize = 1024;

// The key of a session, with its generation, is the token of its socket.
const _: () = assert!(usize::BITS >= 64, "tokens hold session keys of 64 bits");
/// The bell's token; no session has this key, because its slot would be that of no session.
const BELL: Token = Token(usize::MAX);

/// The news of one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readiness {
    pub(crate) key: SessionKey,
    /// Whether there is something to read; the end of the stream counts as something.
    pub(crate) readable: bool,
    /// Whether the end of the stream is among it.
    pub(crate) ended: bool,
    /// Whether the socket takes bytes again.
    pub(crate) writable: bool,
}

pub(crate) struct Sockets {
    poll: AsyncFd<Poll>,
    events: Events,
    bell: Option<Arc<Bell>>,
}

/// Wakes the list for transports that have no descriptor.
struct Bell {
    list: mio::Waker,
    /// The sessions that rang. Each rings at most once for a read and once for a write that were in vain.
    rung: Mutex<Vec<SessionKey>>,
}

/// The bell, as one session rings it.
struct Rope {
    bell: Arc<Bell>,
    key: SessionKey,
}

impl Wake for Rope {
    fn wake(self: Arc<Self>) {
        self.bell.rung.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        // The list has room for it: the system counts how often it was woken, and refuses nothing.
        let _ = self.bell.list.wake();
    }
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
        Ok(Self { poll, events: Events::with_capacity(EVENTS_MAX), bell: None })
    }

    /// Watches a transport until it is dropped.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub(crate) fn add(&mut self, transport: &mut Transport, key: SessionKey) -> io::Result<()> {
        let registry = self.poll.get_ref().registry();
        match transport.watched() {
            Watched::Descriptor(stream) => {
                let token = Token(key.data().as_ffi() as usize);
                registry.register(stream, token, Interest::READABLE | Interest::WRITABLE)
            }
            Watched::Waker(waker) => {
                let bell = match &self.bell {
                    Some(bell) => Arc::clone(bell),
                    None => {
                        let bell = Bell { list: mio::Waker::new(registry, BELL)?, rung: Mutex::default() };
                        Arc::clone(self.bell.insert(Arc::new(bell)))
                    }
                };
                *waker = Waker::from(Arc::new(Rope { bell, key }));
                // A descriptor is told at first of what it has already; so is this one.
                waker.wake_by_ref();
                Ok(())
            }
        }
    }

    /// Waits until something happened to sockets, and appends it. Each change is told once. So the caller has to read until
    /// nothing is left (less came than there was room for, unless the end is there too), and to write until nothing is taken.
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
        for event in &self.events {
            if event.token() == BELL {
                let Some(bell) = &self.bell else { continue };
                let mut rung = bell.rung.lock().unwrap_or_else(PoisonError::into_inner);
                let both = |key| Readiness { key, readable: true, ended: false, writable: true };
                into.extend(rung.drain(..).map(both));
                continue;
            }
            let ended = event.is_read_closed() || event.is_error();
            into.push(Readiness {
                key: KeyData::from_ffi(event.token().0 as u64).into(),
                readable: event.is_readable() || ended,
                ended,
                writable: event.is_writable(),
            });
        }
        Ok(())
    }
}
