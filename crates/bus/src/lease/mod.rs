//! Leases: of several processes that could publish the same, one does.
//!
//! A lease is an entry in a [`Register`], which changes only for a writer that names its last revision. The holder writes it
//! again and again. Who stands by and sees the same revision for the length of the lease takes it, naming that revision; so one of several succeeds. No clock of
//! the server or of another process is read: the holder counts from before it asked for its last write, who stands by from after it first saw it.
//!
//! What a holder publishes goes through a [`LeasedBus`], which is shut before anybody else can have the lease. A process that stood still
//! finds it shut when it goes on. One message may slip through, where the process stood still between looking and publishing: so the number
//! of the lease, which only grows, travels with the holder's heartbeats, and readers leave those with a lower one alone.

mod candidate;
#[cfg(test)]
mod candidate_tests;
mod gated;
mod hold;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

pub use self::gated::LeasedBus;
pub use self::hold::{Held, LeaseHolder};
pub use crate::register::{Entry, Register, RegisterError};

/// The times of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTiming {
    /// The time without a sign of its holder after which a lease is free.
    pub length: Duration,
    /// The part of it that a holder does not use, for clocks that run at different speeds.
    pub margin: Duration,
    /// The time between two signs of a holder.
    pub renew_every: Duration,
    /// The time between two looks of those who stand by.
    pub look_every: Duration,
    /// The time after which a request to the register counts as lost.
    pub request_timeout: Duration,
}

impl Default for LeaseTiming {
    fn default() -> Self {
        Self {
            length: Duration::from_millis(1_000),
            margin: Duration::from_millis(200),
            renew_every: Duration::from_millis(250),
            look_every: Duration::from_millis(100),
            request_timeout: Duration::from_millis(250),
        }
    }
}

/// Whether a process holds its lease at this moment. It is cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct Term(Arc<Cell>);

#[derive(Debug)]
struct Cell {
    started: Instant,
    lease: AtomicU64,
    /// The end of what is certain, in nanoseconds since `started`.
    until: AtomicU64,
    /// The number of the lease by which the process has begun to publish.
    opened: AtomicU64,
}

impl Default for Term {
    fn default() -> Self {
        Self(Arc::new(Cell {
            started: Instant::now(),
            lease: AtomicU64::new(0),
            until: AtomicU64::new(0),
            opened: AtomicU64::new(0),
        }))
    }
}

impl Term {
    /// Returns the number of the lease that is held now; 0 where none is.
    pub fn lease(&self) -> u64 {
        let lease = self.0.lease.load(Ordering::Acquire);
        if lease > 0 && self.now() < self.0.until.load(Ordering::Acquire) { lease } else { 0 }
    }

    /// Opens the bus for the lease that is held now, and returns its number; 0 where none is. Until then nothing goes out, so that a process
    /// can begin with what it publishes first.
    pub fn open(&self) -> u64 {
        let lease = self.lease();
        self.0.opened.store(lease, Ordering::Release);
        lease
    }

    /// Returns the number of the lease by which messages go out now; 0 where none do.
    pub fn opened(&self) -> u64 {
        let opened = self.0.opened.load(Ordering::Acquire);
        if opened > 0 && opened == self.lease() { opened } else { 0 }
    }

    fn now(&self) -> u64 {
        self.0.started.elapsed().as_nanos() as u64
    }

    fn set(&self, lease: u64, until: u64) {
        if lease == 0 {
            self.0.lease.store(0, Ordering::Release);
        }
        self.0.until.store(until, Ordering::Release);
        self.0.lease.store(lease, Ordering::Release);
    }
}
