//! The counts of the gate.

use std::sync::atomic::{AtomicBool, AtomicU64};

use tickwire_auth::Denied;

/// The counts of the gate.
#[derive(Debug, Default)]
pub(crate) struct AuthStats {
    /// The refusals, in the order of `Denied::REASONS`.
    pub(crate) denied: [AtomicU64; Denied::REASONS.len()],
    /// The tokens that sessions handed in and that count.
    pub(crate) renewed: AtomicU64,
    /// The revocations that said something new.
    pub(crate) revocations: AtomicU64,
    /// The revocations that are kept.
    pub(crate) kept: AtomicU64,
    /// The revocations of tokens, and those of API keys, that had no room although they mattered.
    pub(crate) lost: [AtomicU64; 2],
    /// The messages of revocations that could not be read.
    pub(crate) malformed: AtomicU64,
    /// The gateway does not know yet what the others know of revocations, so it takes nobody.
    pub(crate) awaits_revocations: AtomicBool,
}
