//! Retries: the time that a request waits after attempts that failed.

/// The shortest time between two attempts to ask; it doubles up to [`RETRY_NS_MAX`].
const RETRY_NS_MIN: u64 = 100_000_000;

/// The longest time between two attempts to ask.
pub const RETRY_NS_MAX: u64 = 5_000_000_000;

/// Returns how long to wait after this many attempts that failed before, in nanoseconds.
pub fn retry_ns(attempts: u32) -> u64 {
    (RETRY_NS_MIN << attempts.min(16)).min(RETRY_NS_MAX)
}
