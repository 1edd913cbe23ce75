//! The fields of a window.

use std::sync::Arc;

use super::work::AtWork;

/// Smallest window, in bytes: one message always goes.
pub(super) const LEAST: usize = 256;

/// The delay of a path is believed for so long the first time, then twice as long, and so on, before it is measured anew.
pub(super) const PATH_NS: u64 = 10_000_000_000;

/// When twice the window did not help a slow reader, it is tried again after this time, and then after twice that.
pub(super) const TRY_NS: u64 = 2_000_000_000;

/// So many times, at most, these are doubled.
pub(super) const DOUBLINGS: u8 = 3;

/// The settings of the window. Nanoseconds, bytes.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The age that data may have when it is read; 0: no window.
    pub target_ns: u64,
    /// Bytes under way before the client confirmed anything.
    pub first_bytes: usize,
    /// Most bytes under way.
    pub max_bytes: usize,
    /// A client that answered nothing for so long does not answer pings.
    pub unanswered_ns: u64,
}

/// The kind of receipts that confirm bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing came yet.
    Unknown,
    Pongs,
    /// The client says what its program took: pongs say less.
    Receipts,
    /// It answers nothing; its kernel does.
    Kernel,
}

/// The window of one session; see the module. What only a session at work has stands apart: see `AtWork`.
#[derive(Debug)]
pub struct Window {
    pub(super) sent: u64,
    pub(super) confirmed: u64,
    pub(super) limit: usize,
    /// Bytes under way that the window does not count: short control messages that left though it was full.
    pub(super) aside: u32,
    /// Those of them that left after the last probe.
    pub(super) unprobed_aside: u16,
    pub(super) is_tight: bool,
    pub(super) trust: Trust,
    pub(super) freshness: Arc<Freshness>,
    pub(super) work: AtWork,
    pub(super) probed_at: u64,
    /// Time of the newest probe.
    pub(super) probed: u64,
    /// The delay of the last receipt.
    pub(super) delay_ns: u64,
    /// Pings without a pong, whichever receipts count.
    pub(super) pongs_owed: u16,
    /// Probes that the client's program named in no receipt.
    pub(super) receipts_owed: u16,
    /// The longest delay that is known to be the path's own, in nanoseconds; until when that is believed, and how often it
    /// was confirmed.
    pub(super) path_ns: u64,
    pub(super) path_until: u64,
    pub(super) path_proofs: u8,
    /// Whether there is a freshness target: without one there is no window.
    pub(super) has_target: bool,
    /// The longest delay and the most bytes under way, of this stretch and the one before; when this one began.
    pub(super) delays: [u64; 2],
    pub(super) used: [u32; 2],
    pub(super) used_at: u64,
    /// When the client last confirmed something, or had nothing to confirm.
    pub(super) progress_at: u64,
}

// Each session has one, most of them idle.
const _: () = assert!(size_of::<Window>() <= 136);
