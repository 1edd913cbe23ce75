//! The board that a worker and whoever conducts it share: signals one way, counts and seconds the other way.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::reader::second::SecondPart;

/// The phases of a run. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Sessions open; what comes is checked, and not measured.
    Open,
    /// Sessions that wait to do so together subscribe.
    Subscribe,
    Measure,
    /// The source stopped: everybody reads promptly, until last values are there.
    Settle,
    /// Sessions ask for their ledgers, and end.
    Finish,
}

/// Counts while a run goes on: of one thread, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) opened: u64,
    pub(crate) not_opened: u64,
    /// Sessions that shook hands and wait to subscribe together.
    pub(crate) shaken: u64,
    pub(crate) ended_early: u64,
    /// Sessions that are open now.
    pub(crate) live: u64,
    pub(crate) violations: u64,
    /// Subscriptions that have not the last value yet.
    pub(crate) behind: u64,
    /// Threads that know whether they are behind.
    pub(crate) settled: u64,
}

/// Workers are told this.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Signal {
    pub(crate) phase: Phase,
    /// Intended times of what is measured, nanoseconds since the Unix epoch.
    pub(crate) window: (u64, u64),
    /// Last quote of each symbol of the own source: sequence number and intended time. It comes with [`Phase::Settle`].
    pub(crate) finals: Option<Vec<(u64, u64)>>,
}

/// A worker and whoever conducts it see this of each other.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// The newest signal that the worker has not seen.
    signal: Mutex<Option<Signal>>,
    told: Mutex<(Counts, Vec<SecondPart>)>,
}

impl Board {
    pub(crate) fn signal(&self) -> Option<Signal> {
        lock(&self.signal).take()
    }

    /// Leaves a signal for the worker.
    pub(crate) fn send(&self, signal: Signal) {
        *lock(&self.signal) = Some(signal);
    }

    /// Returns how far the worker is, and takes the seconds that ended.
    pub(crate) fn take_told(&self) -> (Counts, Vec<SecondPart>) {
        let mut told = lock(&self.told);
        (told.0, std::mem::take(&mut told.1))
    }

    /// Says how far the worker is, and what happened in a second that ended.
    pub(crate) fn tell(&self, counts: Counts, seconds: impl IntoIterator<Item = SecondPart>) {
        let mut told = lock(&self.told);
        told.0 = counts;
        told.1.extend(seconds);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
