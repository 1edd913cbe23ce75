//! The limits that the engine keeps, for one session, one topic and the whole shard.

use crate::engine::window::Freshness;

/// Limits that the engine keeps, in bytes, nanoseconds and counts.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineLimits {
    /// Most subscriptions of one session.
    pub subscriptions_per_session: usize,
    /// Fastest rate that is granted where one is asked for, in updates per second.
    pub rate_max: f64,
    /// Most bytes of one command.
    pub command_bytes: usize,
    /// Most commands of one session in a second.
    pub commands_per_second: u32,
    /// Pressure above which trades are dropped.
    pub shed_bytes: usize,
    /// Pressure below which they flow again.
    pub shed_end_bytes: usize,
    /// Pressure above which the session is closed.
    pub close_bytes: usize,
    /// A conflating session whose client takes nothing for this long is closed.
    pub no_progress_ns: u64,
    /// A session for which something has waited for this long is a conflating one.
    pub conflating_after_ns: u64,
    /// A conflating session that was not behind for this long is a prompt one again.
    pub prompt_after_ns: u64,
    /// The age that data may have when a client reads it; 0 sends without looking at what the client confirms.
    pub freshness_ns: u64,
    /// Bytes under way before a client confirmed anything.
    pub window_first_bytes: usize,
    /// Most bytes under way to one client.
    pub window_max_bytes: usize,
    /// A client that answered no ping for this long does not answer pings: its kernel's word is taken.
    pub unanswered_ns: u64,
    /// Sessions that the tables have room for from the start. Room that is not used takes no memory of the machine; a table that grows is copied,
    /// and what the allocator keeps of the old one is lost.
    pub sessions_expected: usize,
    /// Longest silence of a session that asks for no other.
    pub heartbeat_ns: u64,
    /// Shortest silence that a session is granted which asks for one, in milliseconds.
    pub heartbeat_ms_min: u32,
    /// Longest silence that a session is granted which asks for one, in milliseconds.
    pub heartbeat_ms_max: u32,
    /// A session that was not heard for this long is pinged, and closed after three times as long.
    pub ping_after_ns: u64,
    /// The time that a `subscribe` waits for topics that this gateway does not hold yet.
    pub subscribe_timeout_ns: u64,
    /// The time that a topic stays subscribed on the bus when nobody wants it any more.
    pub linger_ns: u64,
    /// Most recent records that are kept of a topic.
    pub log_records_per_topic: usize,
    /// Most bytes of these.
    pub log_bytes_per_topic: usize,
    /// Most bytes of all logs of the shard together.
    pub log_bytes: usize,
    /// Most bytes that wait for single sessions, all of the shard together.
    pub private_bytes: usize,
    /// Most subscriptions of all sessions of the shard together.
    pub subscriptions: usize,
    /// Price levels of all books of the shard together, above which no further book is granted.
    pub book_levels: usize,
    /// Bytes that one write carries, about.
    pub write_bytes: usize,
    /// Most different delays of the shard, at most 15.
    pub delays: usize,
    /// Most different depths of books of the shard, each counted with each delay that it is used with, at most 48.
    pub depths: usize,
    /// Most bytes of records that wait for being old enough, all delays of the shard together.
    pub delayed_bytes: usize,
}

/// Names that a client may use for each command of its rate.
const NAMES_PER_COMMAND: u32 = 40;

/// The names that a client may use at once, as a multiple of its subscriptions.
const NAMES_AT_ONCE: u32 = 4;

impl EngineLimits {
    /// Returns how many levels all books of a shard may have: those that were granted may grow by a quarter more,
    /// then those that grow are given up.
    pub fn book_levels_max(&self) -> usize {
        self.book_levels.saturating_add(self.book_levels / 4)
    }

    /// Returns how many names a client's commands may cost in a second.
    pub fn names_per_second(&self) -> u32 {
        self.commands_per_second.saturating_mul(NAMES_PER_COMMAND)
    }

    /// Returns how many names they may cost at once, after a pause.
    pub fn names_at_once(&self) -> u32 {
        (self.subscriptions_per_session as u32).saturating_mul(NAMES_AT_ONCE)
    }

    pub(crate) fn freshness(&self) -> Freshness {
        Freshness {
            target_ns: self.freshness_ns,
            first_bytes: self.window_first_bytes,
            max_bytes: self.window_max_bytes,
            unanswered_ns: self.unanswered_ns,
        }
    }
}
