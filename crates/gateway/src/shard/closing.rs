//! The ends of sessions: because their clients close them, because the gateway does, or because a connection is gone.
//!
//! Every session ends in `forget`, which is the one place that counts how.

use std::sync::atomic::Ordering;

use tickwire_core::engine::SessionKey;
use tickwire_net::frame::{self, Close, Fault, OpCode};
use tickwire_wire::CloseCode;
use tokio::time::Instant;

use super::connection::{Connection, Phase};
use super::farewell::CLOSED_GRACE;
use super::state::Shard;
use crate::audit::{self, End};

/// The code of a close frame that answers one without a code (RFC 6455, section 7.4.1).
const NORMAL: u16 = 1000;

/// Returns the code for a client that broke a rule.
pub(super) fn code_of(key: SessionKey, fault: Fault) -> CloseCode {
    match fault {
        Fault::TooLarge => CloseCode::TooLarge,
        Fault::NotUtf8 => CloseCode::NotUtf8,
        Fault::Protocol(rule) => {
            tracing::debug!(session = ?key, rule, "a client broke the rules of WebSocket");
            CloseCode::Protocol
        }
    }
}

impl Shard {
    /// Ends a session whose client sent a close frame, and sends one back: with the same code, or with what is wrong with it.
    pub(super) fn meet_close(&mut self, key: SessionKey, asked: Result<Option<u16>, Fault>) {
        let Some(connection) = self.connections.get(key) else { return };
        // It may answer a close frame of ours.
        let is_first = connection.phase() == Phase::Open;
        let (code, text, how) = match asked {
            Ok(code) => {
                let code = code.unwrap_or(NORMAL);
                (code, "", End::Client(code))
            }
            Err(fault) => {
                let code = code_of(key, fault);
                (code.code(), code.text(), End::Gateway(code))
            }
        };
        let Some(mut connection) = self.forget(key, how) else { return };
        if is_first {
            let mut frame = Vec::new();
            frame::write(OpCode::Close, &Close::payload(code, text), &mut frame);
            if connection.write(&frame).is_ok() {
                self.farewells.add(connection);
            }
        }
    }

    /// Tells the peer that nothing more comes, once the close frame has left.
    pub(super) fn leave(&mut self, key: SessionKey) {
        if let Some(connection) = self.connections.get_mut(key)
            && matches!(connection.phase(), Phase::Leaving(_))
            && connection.unsent() == 0
        {
            connection.shut_write();
            connection.set_phase(Phase::Left(Instant::now() + CLOSED_GRACE));
        }
    }

    /// Ends the sessions whose close frames do not leave in time, or are not answered in time.
    pub(super) fn end_silent(&mut self, now: Instant) {
        for key in std::mem::take(&mut self.ending) {
            match self.connections.get(key).map(Connection::phase) {
                None => {}
                Some(Phase::Leaving(until) | Phase::Left(until)) if now >= until => {
                    self.end(key, End::Lost);
                }
                Some(_) => self.ending.push(key),
            }
        }
    }

    pub(super) fn end(&mut self, key: SessionKey, how: End) {
        drop(self.forget(key, how));
    }

    /// Ends a session, counts how it ended, and returns its connection. Where the gateway closed it, that is how it ended, whatever the
    /// connection did then.
    fn forget(&mut self, key: SessionKey, how: End) -> Option<Connection> {
        if !self.connections.contains_key(key) {
            return None;
        }
        let (how, now) = (self.engine.closing(key).map_or(how, End::Gateway), self.clock.now());
        if let End::Gateway(code) = how {
            self.count_closed(code);
        }
        self.audit(key, |row| audit::ended(row, how, now));
        let connection = self.connections.remove(key);
        self.held.remove(key);
        self.engine.ended(key, now);
        self.all.sessions.fetch_sub(1, Ordering::Relaxed);
        connection
    }

    fn count_closed(&self, code: CloseCode) {
        if let Some(at) = CloseCode::ALL.iter().position(|known| *known == code) {
            self.all.closed[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}
