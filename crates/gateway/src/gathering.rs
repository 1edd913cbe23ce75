//! The word of a shard to the hub about the next events: the time before which nobody wants them.
//!
//! To wake a thread for each message costs more than the message, so the hub leaves messages in its inbox until the earliest time
//! at which a shard wants them. Where hub and shard share a thread, the shard wakes the hub then, and one timer serves both.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// The word of one shard to the hub.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The time until which the shard wants no events, in nanoseconds of the gateway's clock: see `Plan::gathers_until` of the core.
    until: AtomicU64,
    /// Whether events are wanted now and the hub has not heard that yet.
    is_over: AtomicBool,
    heard: Notify,
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

    /// Says that events are wanted now. Where it was said before and the hub has not heard that yet, it hears it once: it would not gather
    /// after its turn otherwise, and each message would wake the thread.
    pub(crate) fn end(&self) {
        if !self.is_over.swap(true, Ordering::AcqRel) {
            self.heard.notify_one();
        }
    }

    /// Waits until [`end`](Self::end) is called, or was called since this returned last.
    ///
    /// # Cancel safety
    /// It can be cancelled.
    pub(crate) async fn ended(&self) {
        self.heard.notified().await;
        self.is_over.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn is_heard(gathering: &Gathering) -> bool {
        gathering.ended().now_or_never().is_some()
    }

    #[test]
    fn what_is_said_twice_before_the_hub_hears_it_is_heard_once() {
        let gathering = Gathering::default();
        gathering.tell(100, 0);
        assert!(!is_heard(&gathering), "nothing was told before");
        // A round begins: the time that was told has come, and events are wanted.
        gathering.tell(300, 100);
        gathering.end();
        assert_eq!((is_heard(&gathering), is_heard(&gathering)), (true, false));
        gathering.tell(200, 150);
        assert!(is_heard(&gathering), "sooner than it was told before");
        gathering.tell(400, 150);
        assert!(!is_heard(&gathering), "later, and the time has not come");
    }

    #[test]
    fn a_wait_that_was_dropped_loses_no_word() {
        let gathering = Gathering::default();
        let mut wait = Box::pin(gathering.ended());
        assert!(wait.as_mut().now_or_never().is_none());
        gathering.end();
        drop(wait);
        assert!(is_heard(&gathering));
        gathering.end();
        assert!(is_heard(&gathering));
    }
}
