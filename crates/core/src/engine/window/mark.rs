//! Probes for which no receipt came yet.

/// A probe for which no receipt came yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) time: u64,
    /// Bytes sent up to and with it.
    pub(super) sent: u64,
    /// The bytes that were under way at that time.
    pub(super) in_flight: u32,
    /// Bytes since the probe before that the window does not count.
    pub(super) aside: u16,
    /// The window was full then.
    pub(super) is_full: bool,
    /// The window was at least half full then.
    pub(super) is_used: bool,
}
