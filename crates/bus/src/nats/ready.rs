//! The subscriptions that have something, told by their wakers.
//!
//! The stock ways to poll many streams may answer "nothing" while something is there, to be fair to other tasks. Order
//! depends on a drain that takes everything, so this one is exact: a subscription is in the list from the moment that
//! its channel got something until it is about to be polled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

#[derive(Default)]
pub(super) struct Ready {
    slots: Mutex<Vec<usize>>,
    is_poked: AtomicBool,
    task: AtomicWaker,
}

impl Ready {
    /// Keeps the waker of the draining task, which is woken from now on.
    pub(super) fn register(&self, context: &Context<'_>) {
        self.task.register(context.waker());
    }

    /// Wakes the draining task without any subscription.
    pub(super) fn poke(&self) {
        self.is_poked.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Returns whether it was poked since the last call.
    pub(super) fn take_poke(&self) -> bool {
        self.is_poked.swap(false, Ordering::AcqRel)
    }

    /// Moves the listed slots into `slots`, which must be empty.
    pub(super) fn take(&self, slots: &mut Vec<usize>) {
        let mut listed = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut *listed, slots);
    }
}

/// A waker that lists one slot when its subscription is woken.
pub(super) struct Mark {
    slot: usize,
    is_listed: AtomicBool,
    ready: Arc<Ready>,
}

impl Mark {
    pub(super) fn new(slot: usize, ready: &Arc<Ready>) -> Arc<Self> {
        Arc::new(Self { slot, is_listed: AtomicBool::new(false), ready: Arc::clone(ready) })
    }

    /// Marks the slot as not listed. It is called before polling: what wakes the slot from now on lists it again.
    pub(super) fn clear(&self) {
        self.is_listed.store(false, Ordering::Release);
    }

    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }
}

impl Wake for Mark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_listed.swap(true, Ordering::AcqRel) {
            self.ready.slots.lock().unwrap_or_else(PoisonError::into_inner).push(self.slot);
            self.ready.task.wake();
        }
    }
}
