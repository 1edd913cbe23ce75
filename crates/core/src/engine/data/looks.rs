//! When the clock has to look at each session.
//!
//! At each tick only those are looked at that are due. A *quiet* session waits for nothing but the clock: its next heartbeat,
//! its next ping, the end of a silence. It is looked at when the first of these is due, or after the next thing that happens
//! to it. All other sessions are due at each tick. The times stand together here, because to scan them must not touch the
//! sessions.

use slotmap::SecondaryMap;

use super::key::SessionKey;

/// The time at which a session is due that is looked at at each tick.
const ALWAYS: u64 = 0;

/// The times of all sessions, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Looks(SecondaryMap<SessionKey, u64>);

impl Looks {
    /// Makes a table with room for so many sessions.
    pub(crate) fn with_capacity(sessions: usize) -> Self {
        Self(SecondaryMap::with_capacity(sessions))
    }

    /// Looks at a session at each tick from now on.
    pub(crate) fn always(&mut self, key: SessionKey) {
        self.0.insert(key, ALWAYS);
    }

    /// Looks at a session at `due`, not before.
    pub(crate) fn put_off(&mut self, key: SessionKey, due: u64) {
        self.0.insert(key, due.max(ALWAYS + 1));
    }

    /// Forgets a session that is gone.
    pub(crate) fn forget(&mut self, key: SessionKey) {
        self.0.remove(key);
    }

    /// Returns the sessions that are due.
    pub(crate) fn due(&self, now: u64) -> impl Iterator<Item = SessionKey> {
        self.0.iter().filter(move |(_, due)| **due <= now).map(|(key, _)| key)
    }

    /// Returns the sessions that are looked at at each tick.
    pub(crate) fn not_quiet(&self) -> impl Iterator<Item = SessionKey> {
        self.due(ALWAYS)
    }
}
