//! The fields of a window.

use std::collections::VecDeque;

use super::known::Course;
use super::mark::Mark;
use crate::engine::throughput::Throughput;

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

/// The window of one session; see the module. The fields are in order of use, as in the session that it is part of.
#[derive(Debug)]
#[repr(C)]
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
    pub(super) freshness: Freshness,
    pub(super) marks: VecDeque<Mark>,
    pub(super) probed_at: u64,
    /// Time of the newest probe.
    pub(super) probed: u64,
    /// The delay of the last receipt.
    pub(super) delay_ns: u64,
    /// Pings without a pong, whichever receipts count.
    pub(super) pongs_owed: u32,
    /// Probes that the client's program named in no receipt.
    pub(super) receipts_owed: u32,
    pub(super) throughput: Throughput,
    /// The longest delay that is known to be the path's own, in nanoseconds; until when that is believed, and how often it
    /// was confirmed.
    pub(super) path_ns: u64,
    pub(super) path_until: u64,
    pub(super) path_proofs: u8,
    /// The longest delay and the most bytes under way, of this stretch and the one before; when this one began.
    pub(super) delays: [u64; 2],
    pub(super) used: [u32; 2],
    pub(super) used_at: u64,
    pub(super) course: Option<Box<Course>>,
    /// Newest probe that a pong came for, whatever counts.
    pub(super) ponged_to: u64,
    /// The time since when pongs come without receipts; 0: they do not.
    pub(super) receiptless_since: u64,
    /// When the client last confirmed something, or had nothing to confirm.
    pub(super) progress_at: u64,
}
