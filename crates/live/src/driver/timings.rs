//! The times by which the driver goes.

use std::time::Duration;

use tickwire_net::Backoff;

/// A moment: the time that passed since the driver began, which never goes back, and the time of the world, which events
/// carry, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time since the driver began.
    pub elapsed: Duration,
    /// The time of the world.
    pub time: u64,
}

/// The times by which a [`Driver`](crate::Driver) goes; each bounds a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timings {
    /// The time that a connection has to open.
    pub open_within: Duration,
    /// The time that the venue has to answer a command.
    pub command_within: Duration,
    /// The silence of a connection after which it is sent a ping.
    pub ping_after: Duration,
    /// The time that the venue has to answer a ping.
    pub pong_within: Duration,
    /// The waits before a connection is tried again.
    pub reconnect: Backoff,
    /// The time after which a connection that is lost was not part of earlier trouble.
    pub stable_after: Duration,
    /// The time that a request has.
    pub response_within: Duration,
    /// The waits before a request that failed, or a snapshot that was of no use, is asked for again.
    pub retry: Backoff,
    /// The waits before a subscription that was refused is tried again.
    pub refused: Backoff,
    /// The time after which the list of instruments is read again.
    pub catalogue_every: Duration,
    /// The wait after a response that says "too many requests" and not for how long.
    pub banned_for: Duration,
    /// The snapshots that are asked for at the same time.
    pub snapshots_at_once: usize,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            open_within: Duration::from_secs(10),
            command_within: Duration::from_secs(10),
            // Half of the time after which the ingester calls a source stale that says nothing.
            ping_after: Duration::from_secs(15),
            pong_within: Duration::from_secs(10),
            reconnect: Backoff::new(Duration::from_millis(500), Duration::from_secs(30)),
            stable_after: Duration::from_secs(60),
            response_within: Duration::from_secs(20),
            retry: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            // What is refused is rarely granted soon, and each try counts at the venue.
            refused: Backoff::new(Duration::from_secs(30), Duration::from_secs(3_600)),
            catalogue_every: Duration::from_secs(300),
            banned_for: Duration::from_secs(120),
            snapshots_at_once: 4,
        }
    }
}
