//! The audit log: a line when a session opens and a line when it ends, with who it is, from where, what it got and how it ended; one
//! when it hands in a token, and one when its API key grants something else; and lines of revocations and refused handshakes. No line
//! has any part of a token but its id.
//!
//! The lines have a target of their own, [`TARGET`], so that they can be kept apart from the rest of the log.

use std::sync::atomic::{AtomicU64, Ordering};

use tickwire_core::engine::SessionRow;
use tickwire_wire::CloseCode;

/// The target of all lines of the audit log.
pub const TARGET: &str = "tickwire::audit";

/// The lines that whoever writes the log of this process could not write. The log is one for the process, and so are its counts.
pub static LOST_LINES: LostLines = LostLines { audit: AtomicU64::new(0), other: AtomicU64::new(0) };

/// The counts of lines that could not be written.
#[derive(Debug, Default)]
pub struct LostLines {
    audit: AtomicU64,
    other: AtomicU64,
}

impl LostLines {
    /// Counts one more.
    pub fn count(&self, is_audit: bool) {
        let count = if is_audit { &self.audit } else { &self.other };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many lines of the audit log were lost since the start, and how many others.
    pub fn counts(&self) -> (u64, u64) {
        (self.audit.load(Ordering::Relaxed), self.other.load(Ordering::Relaxed))
    }
}

/// The way in which a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The gateway closed it.
    Gateway(CloseCode),
    /// The client closed it with this code.
    Client(u16),
    /// The connection ended without a close frame.
    Lost,
}

/// Returns whether anybody reads these lines.
pub(crate) fn is_wanted() -> bool {
    tracing::enabled!(target: TARGET, tracing::Level::INFO)
}

/// Tells of a session that was opened. `jti` is the id of its token, where it showed one that has an id.
pub(crate) fn opened(row: &SessionRow, jti: Option<&str>) {
    tracing::info!(
        target: TARGET,
        session = row.id,
        peer = row.peer.map(tracing::field::display),
        principal = row.principal,
        jti,
        dialect = row.dialect,
        "session opened"
    );
}

/// Tells of an open session that handed in a token: since then it belongs to this principal.
pub(crate) fn identified(row: &SessionRow, jti: Option<&str>) {
    tracing::info!(
        target: TARGET,
        session = row.id,
        peer = row.peer.map(tracing::field::display),
        principal = row.principal,
        jti,
        "session identified"
    );
}

/// Tells of an open session whose API key grants something else now.
pub(crate) fn regranted(row: &SessionRow, jti: Option<&str>) {
    tracing::info!(
        target: TARGET,
        session = row.id,
        peer = row.peer.map(tracing::field::display),
        principal = row.principal,
        jti,
        "session has other rights"
    );
}

/// Tells of a session that ended. `now` is in nanoseconds since the Unix epoch.
pub(crate) fn ended(row: &SessionRow, how: End, now: u64) {
    let (by, code, reason) = match how {
        End::Gateway(code) => ("gateway", Some(code.code()), Some(code.name())),
        End::Client(code) => ("client", Some(code), None),
        End::Lost => ("connection", None, None),
    };
    tracing::info!(
        target: TARGET,
        session = row.id,
        peer = row.peer.map(tracing::field::display),
        principal = row.principal,
        dialect = row.dialect,
        ended_by = by,
        code,
        reason,
        seconds = now.saturating_sub(row.opened) / 1_000_000_000,
        subscriptions = row.subscriptions,
        published = row.account.published,
        delivered = row.account.delivered,
        conflated = row.account.conflated,
        dropped = row.account.dropped,
        filtered = row.account.filtered,
        "session ended"
    );
}
