//! Rules that the clock alone decides for a session: whether it gets everything or the newest only, when it is
//! pinged, and when it is closed.

use tickwire_wire::CloseCode;

use super::limits::EngineLimits;

/// The shortest time between two heartbeats that a session may ask for, in milliseconds.
pub const HEARTBEAT_MS_MIN: u32 = 250;

/// The longest one. What is granted is within the limits of the gateway, too.
pub const HEARTBEAT_MS_MAX: u32 = 60_000;

/// The pace of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// It takes everything.
    #[default]
    Prompt,
    /// It gets the newest only, and was told so.
    Conflating,
}

/// The times for which a session has been in its present condition, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The time since the client was last heard.
    pub(crate) silent: u64,
    /// The time since the client was last pinged.
    pub(crate) unpinged: u64,
    /// The time since the session was last written to.
    pub(crate) unwritten: u64,
    /// The longest silence that it was promised.
    pub(crate) heartbeat: u64,
    /// The time for which the client has taken nothing though something waits; 0 where nothing does.
    pub(crate) stuck: u64,
    /// The time for which the session has been behind; 0 where it is not.
    pub(crate) behind: u64,
    /// The time since it last caught up.
    pub(crate) caught_up: u64,
}

/// A change for a session that goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It gets the newest only from here on.
    Conflate,
    /// It gets everything again.
    Resume,
    /// It was silent for long and is sent a heartbeat.
    Heartbeat,
    /// Nothing changes.
    None,
}

impl Times {
    /// Returns why the session is to be closed, if it is. `is_due` says that its turn to be drained has come.
    pub(crate) fn end(&self, is_due: bool, limits: &EngineLimits) -> Option<CloseCode> {
        if is_due {
            Some(CloseCode::Draining)
        } else if self.stuck > limits.no_progress_ns {
            Some(CloseCode::SlowConsumer)
        } else if self.silent > 3 * limits.ping_after_ns {
            Some(CloseCode::Silent)
        } else {
            None
        }
    }

    /// Returns whether the client is to be pinged.
    pub(crate) fn wants_ping(&self, limits: &EngineLimits) -> bool {
        self.silent > limits.ping_after_ns && self.unpinged > limits.ping_after_ns
    }

    /// Returns whether the session has not been behind for long.
    pub(crate) fn keeps_up(&self, limits: &EngineLimits) -> bool {
        self.behind == 0 && self.caught_up > limits.prompt_after_ns
    }

    /// Returns what changes for a session of a pace. It is slow where its socket is blocked, or its window is tight.
    pub(crate) fn step(&self, pace: Pace, is_blocked: bool, is_tight: bool, limits: &EngineLimits) -> Step {
        let is_slow = is_blocked || is_tight;
        if pace == Pace::Prompt && is_slow && self.behind > limits.conflating_after_ns {
            Step::Conflate
        } else if pace == Pace::Conflating && self.keeps_up(limits) {
            Step::Resume
        } else if !is_blocked && self.unwritten >= self.heartbeat {
            Step::Heartbeat
        } else {
            Step::None
        }
    }
}
