//! Open files: how many the process may have, and what they are kept for.
//!
//! Each connection takes one. What the process needs for itself and for its administration is set aside, so that sessions
//! and handshakes together can never take the last one.

use std::fs::File;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::Limits;

/// The open files of a thread with a runtime of its own: its readiness list, its waker, its copy of the signals, and as many again.
const PER_THREAD: usize = 8;
/// The open files for the bus with its reconnects, and for what a program opens for a moment.
const SPARE: usize = 32;
/// The number of files that are taken to be open where they cannot be counted.
const IN_USE: usize = 64;
/// A gateway does not start with fewer connections than this.
const CONNECTIONS_MIN: usize = 8;
/// One in this many connections is for handshakes, where the connections are too few.
const HANDSHAKES_ONE_IN: usize = 8;

/// Raises the soft limit of open files to the hard one, so that this process may have as many as the system allows it. Returns
/// the limit in force, or `None` where there is no limit.
///
/// # Errors
/// When the system does not allow it. The limit is then as it was.
pub fn raise_open_files() -> io::Result<Option<u64>> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        if limit.current != limit.maximum {
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
        }
    }
    Ok(allowed())
}

fn allowed() -> Option<u64> {
    #[cfg(unix)]
    {
        rustix::process::getrlimit(rustix::process::Resource::Nofile).current
    }
    #[cfg(not(unix))]
    {
        None
    }
}

/// The connections that the process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) sessions: usize,
    pub(crate) handshakes: usize,
}

/// The limit of open files leaves too few connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shortage {
    pub(crate) open_files: u64,
    /// The open files that the configured connections would need.
    pub(crate) needed: usize,
}

impl Places {
    /// Returns as many as the configured limits say, or the fewer that the system allows now, with the shortage.
    ///
    /// # Errors
    /// When the system allows fewer than a gateway needs.
    pub(crate) fn now(limits: &Limits, threads: usize) -> Result<(Self, Option<Shortage>), Shortage> {
        let in_use = std::fs::read_dir("/dev/fd").map_or(IN_USE, Iterator::count);
        Self::of(limits, threads, allowed(), in_use)
    }

    fn of(
        limits: &Limits,
        threads: usize,
        open_files: Option<u64>,
        in_use: usize,
    ) -> Result<(Self, Option<Shortage>), Shortage> {
        let wanted = Self { sessions: limits.sessions, handshakes: limits.handshakes };
        let Some(open_files) = open_files else { return Ok((wanted, None)) };
        let reserved = in_use + limits.admin_connections + PER_THREAD * threads + SPARE;
        let needed = reserved + wanted.sessions + wanted.handshakes;
        let left = usize::try_from(open_files).unwrap_or(usize::MAX).saturating_sub(reserved);
        let shortage = Shortage { open_files, needed };
        if left >= wanted.sessions + wanted.handshakes {
            return Ok((wanted, None));
        }
        if left < CONNECTIONS_MIN {
            return Err(shortage);
        }
        let handshakes = wanted.handshakes.min((left / HANDSHAKES_ONE_IN).max(CONNECTIONS_MIN / 2));
        let sessions = wanted.sessions.min(left - handshakes);
        Ok((Self { sessions, handshakes }, Some(shortage)))
    }
}

/// Open files in reserve: one is closed where the process may open no more and a connection has to be accepted.
#[derive(Debug)]
pub(crate) struct Spares {
    held: Vec<File>,
    wanted: usize,
}

impl Spares {
    pub(crate) fn new(wanted: usize) -> Self {
        let mut spares = Self { held: Vec::new(), wanted };
        spares.take_back();
        spares
    }

    /// Closes one of them. Returns whether there was one.
    pub(crate) fn give(&mut self) -> bool {
        self.held.pop().is_some()
    }

    /// Opens again what was closed, as far as the process may.
    pub(crate) fn take_back(&mut self) {
        while self.held.len() < self.wanted {
            let Ok(file) = File::open("/dev/null") else { return };
            self.held.push(file);
        }
    }
}

/// A limit for the log: what may happen many times a second is logged once in ten seconds.
#[derive(Debug, Default)]
pub(crate) struct Seldom {
    told: Option<Instant>,
    times: u64,
}

const TOLD_EACH: Duration = Duration::from_secs(10);

impl Seldom {
    /// Counts one more time. Returns how often it happened since it was logged last where it is to be logged now, and `None`
    /// where it is not.
    pub(crate) fn now(&mut self) -> Option<u64> {
        self.times += 1;
        if self.told.is_some_and(|told| told.elapsed() < TOLD_EACH) {
            return None;
        }
        self.told = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits { sessions: 10_000, handshakes: 1_024, admin_connections: 64, ..Limits::default() }
    }

    #[test]
    fn what_is_left_is_shared_and_never_more() {
        for open_files in [u64::MAX, 20_000, 11_300, 11_100, 2_000, 1_024, 300, 180] {
            let (places, shortage) = Places::of(&limits(), 4, Some(open_files), 20).unwrap();
            let reserved = 20 + 64 + 32 + SPARE;
            let taken = (reserved + places.sessions + places.handshakes) as u64;
            assert!(taken <= open_files, "{open_files}: {places:?}");
            assert!(places.handshakes >= 4 && places.sessions >= 4, "{open_files}: {places:?}");
            let is_short = places.sessions < 10_000 || places.handshakes < 1_024;
            assert_eq!(shortage.is_some(), is_short, "{open_files}: {places:?}");
            // Nothing that could be used is left over.
            assert!(!is_short || taken == open_files, "{open_files}: {places:?}");
        }
        assert_eq!(
            Places::of(&limits(), 4, None, 20).unwrap().0,
            Places { sessions: 10_000, handshakes: 1_024 }
        );
        let none = Places::of(&limits(), 4, Some(150), 20).unwrap_err();
        assert_eq!(none.needed, 20 + 64 + 32 + SPARE + 11_024);
    }

    #[test]
    fn spares_are_files_that_come_back() {
        let open = || std::fs::read_dir("/dev/fd").map_or(0, Iterator::count);
        let mut spares = Spares::new(3);
        assert_eq!(spares.held.len(), 3);
        let before = open();
        assert!(spares.give() && spares.give() && spares.give() && !spares.give());
        assert!(open() < before || before == 0, "the system has them back");
        spares.take_back();
        assert_eq!(spares.held.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_happens_often_is_told_seldom() {
        let mut seldom = Seldom::default();
        assert_eq!(seldom.now(), Some(1));
        for _ in 0..199 {
            assert_eq!(seldom.now(), None);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(seldom.now(), Some(200));
    }
}
