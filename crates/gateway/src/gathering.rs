//! The word of a shard to the hub about the next events: the time before which nobody wants them.
//!
//! To wake a thread for each message costs more than the message, so the hub leaves messages in its inbox until the earliest time
//! at which a shard wants them. Where hub and shard share a thread, the shard wakes the hub then, and one timer serves both.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The word of one shard to the hub.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The time until which the shard wants no events, in nanoseconds of the gateway's clock: see `Plan::gathers_until` of the core.
    until: AtomicU64,
    is_over: Notify,
}

impl Gathering {
    /// Says until when no events are wanted. The hub is woken where that is sooner than it was told before.
    pub(crate) fn tell(&self, until: u64, now: u64) {
        let told = self.until.swap(until, Ordering::Relaxed);
        if told > 0 && (told <= now || until < told) {
            self.end();
        }
    }

    /// Returns until when no events are wanted.
    pub(crate) fn until(&self) -> u64 {
        self.until.load(Ordering::Relaxed)
    }

    /// Says that events are wanted now.
    pub(crate) fn end(&self) {
        self.is_over.notify_one();
    }

    /// Waits until [`end`](Self::end) is called, or was called since this returned last.
    ///
    /// # Cancel safety
    /// It can be cancelled.
    pub(crate) async fn ended(&self) {
        self.is_over.notified().await;
    }
}
