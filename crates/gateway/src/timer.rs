//! The share of a core that a thread takes, and the timer that it waits by.

use std::time::{Duration, Instant};

pub(crate) use tickwire_machine::Timer;
use tickwire_machine::thread_cpu;

/// The share of a core that this thread takes.
#[derive(Debug)]
pub(crate) struct Busy {
    since: Instant,
    cpu: Duration,
}

impl Busy {
    pub(crate) fn start() -> Self {
        Self { since: Instant::now(), cpu: thread_cpu() }
    }

    /// Returns the share since it was last asked.
    pub(crate) fn share(&mut self) -> f64 {
        let (now, cpu) = (Instant::now(), thread_cpu());
        let passed = now - std::mem::replace(&mut self.since, now);
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu, cpu));
        (used.as_secs_f64() / passed.as_secs_f64().max(1e-9)).min(1.0)
    }
}
