//! The share of a core that a thread takes, the timer that it waits by, and a way for its tasks to let each other run.

use std::task::Poll;
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

/// Lets the other tasks of this thread run that are woken. Unlike the runtime's own way to yield it does not look at sockets and
/// timers, which costs a system call.
pub(crate) async fn let_others_run() {
    let mut has_yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
