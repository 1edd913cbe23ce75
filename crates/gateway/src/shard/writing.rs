//! The way out: what a session is owed is written with one call, from a buffer that all share. What its socket does not take is kept
//! with its connection.

use std::sync::atomic::Ordering;

use tickwire_core::engine::SessionKey;
use tokio::time::Instant;

use super::connection::Phase;
use super::farewell::CLOSE_GRACE;
use super::state::Shard;
use crate::audit::End;
use crate::framing::WebSocket;

/// A write to a socket.
pub(super) struct Written {
    /// The usual time from one to the next of this session, in nanoseconds.
    pub(super) cycle_ns: u64,
    /// The nanoseconds that it took the kernel.
    pub(super) took_ns: u64,
    /// When it ended.
    pub(super) ended: u64,
}

impl Shard {
    /// Writes what a session is owed now, with one call.
    pub(super) fn write(&mut self, key: SessionKey) {
        self.write_at(key, self.clock.now());
    }

    /// Does the same where the clock was just read.
    pub(super) fn write_at(&mut self, key: SessionKey, now: u64) -> Option<Written> {
        let connection = self.connections.get_mut(key)?;
        self.out.clear();
        let filled = self.engine.fill(key, now, &WebSocket, &mut self.out);
        if self.out.is_empty() {
            return None;
        }
        let begun = self.clock.now();
        // For a blocked session the engine hands over a close frame at most. It goes behind the bytes that wait.
        let Ok(taken) = connection.write(&self.out) else {
            self.end(key, End::Lost);
            return None;
        };
        let ended = self.clock.now();
        let took_ns = ended.saturating_sub(begun);
        self.engine.unsent(key, connection.unsent(), now);
        self.stats.writes.fetch_add(1, Ordering::Relaxed);
        self.stats.written_bytes.fetch_add(taken as u64, Ordering::Relaxed);
        if filled.closed {
            connection.set_phase(Phase::Leaving(Instant::now() + CLOSE_GRACE));
            self.ending.push(key);
            self.leave(key);
        }
        Some(Written { cycle_ns: filled.cycle_ns, took_ns, ended })
    }

    /// Hands over the bytes that the socket did not take at once.
    pub(super) fn write_rest(&mut self, key: SessionKey) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if connection.unsent() == 0 {
            return;
        }
        let Ok(taken) = connection.write_rest() else { return self.end(key, End::Lost) };
        self.stats.written_bytes.fetch_add(taken as u64, Ordering::Relaxed);
        self.engine.unsent(key, connection.unsent(), self.clock.now());
        self.leave(key);
    }
}
