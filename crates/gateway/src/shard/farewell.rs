//! Connections whose sessions are over because their clients closed them: the last bytes leave, and the client hangs up first.
//!
//! A socket that is closed while bytes of the client are unread sends a reset, and a reset may overtake our close frame. So what
//! the client sends behind its own close frame is read and thrown away, for a short time.

use std::time::Duration;

use tokio::time::Instant;

use super::connection::Connection;
use crate::transport::Came;

/// The time that a close frame may take to leave before the connection is cut.
pub(super) const CLOSE_GRACE: Duration = Duration::from_secs(2);
/// The time that the peer may take to answer a close frame, or to hang up. Without that wait its unread bytes would turn our last ones
/// into a reset, and the close code would be lost.
pub(super) const CLOSED_GRACE: Duration = Duration::from_millis(200);
/// The most reads of one connection at a tick.
const READS_MAX: usize = 16;

/// These connections; see the module.
#[derive(Default)]
pub(super) struct Farewells(Vec<Farewell>);

struct Farewell {
    connection: Connection,
    until: Instant,
    is_shut: bool,
}

impl Farewell {
    /// Ends the way out once everything has left. Returns whether the connection is to be kept.
    fn goes_on(&mut self, now: Instant) -> bool {
        if self.connection.write_rest().is_err() {
            return false;
        }
        if !self.is_shut && self.connection.unsent() == 0 {
            self.connection.shut_write();
            self.is_shut = true;
            self.until = now + CLOSED_GRACE;
        }
        now < self.until
    }

    /// Throws away what has come. Returns whether more may come.
    fn reads_on(&mut self, scratch: &mut [u8]) -> bool {
        for _ in 0..READS_MAX {
            match self.connection.read(scratch) {
                Ok(Came::Bytes { .. }) => {}
                Ok(Came::Nothing) => return true,
                Ok(Came::End) | Err(_) => return false,
            }
        }
        true
    }
}

impl Farewells {
    /// Takes a connection to which the close frame was handed over.
    pub(super) fn add(&mut self, connection: Connection) {
        let now = Instant::now();
        let mut farewell = Farewell { connection, until: now + CLOSE_GRACE, is_shut: false };
        if farewell.goes_on(now) {
            self.0.push(farewell);
        }
    }

    /// Goes on with all of them.
    pub(super) fn tick(&mut self, scratch: &mut [u8], now: Instant) {
        self.0.retain_mut(|farewell| farewell.reads_on(scratch) && farewell.goes_on(now));
    }
}
