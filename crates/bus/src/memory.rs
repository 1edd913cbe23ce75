//! A bus inside one process: it serves the demo, and tests, which can break it in the ways a real one breaks.
//!
//! A publisher's call puts the message straight into every inbox that wants it, so order is that of the calls. No lock
//! is held while a consumer is woken. Invariant: a subject is in an inbox's list exactly when that inbox is in the
//! routes of the subject.

mod faults;
mod history;
mod register;
mod routes;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use self::faults::Faults;
use self::history::MemoryHistory;
use self::register::MemoryRegister;
use self::routes::{Routes, Target};
use crate::backplane::{
    Backplane, BusState, FlushError, PublishError, Request, RequestError, Requests, ServeError,
};
use crate::future::BoxFuture;
use crate::history::History;
use crate::inbox::{BusEvent, Inbox, InboxLimits, Interest, InterestError, InterestSink, pair};
use crate::queue::{Arrival, Queue};
use crate::register::Register;
use tickwire_wire::Subject;

/// The maxima of a bus in memory, beside its inboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// The largest payload, in bytes: what [`Backplane::payload_max`] says.
    pub payload_bytes_max: usize,
    /// The most requests that wait at one server; further ones run into their time-out.
    pub requests_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self { payload_bytes_max: 1 << 20, requests_max: 1_024 }
    }
}

/// The bus in memory. Clones are the same bus.
#[derive(Clone)]
pub struct MemoryBus {
    core: Arc<Core>,
}

struct Core {
    limits: MemoryLimits,
    routes: Routes,
    faults: Faults,
    history: OnceLock<MemoryHistory>,
    register: MemoryRegister,
    is_up: AtomicBool,
    is_closed: AtomicBool,
    state: watch::Sender<BusState>,
}

struct MemoryInbox {
    core: Weak<Core>,
    queue: Arc<Queue>,
    limits: InboxLimits,
    /// The subjects with their tokens; `None` once closed.
    subjects: Mutex<Option<HashMap<Subject, u64>>>,
    /// A handle to itself, for the routes.
    me: Weak<MemoryInbox>,
}

impl MemoryBus {
    /// Makes a bus that is up, in generation 1.
    pub fn new(limits: MemoryLimits) -> Self {
        let core = Core {
            limits,
            routes: Routes::default(),
            faults: Faults::default(),
            history: OnceLock::new(),
            register: MemoryRegister::default(),
            is_up: AtomicBool::new(true),
            is_closed: AtomicBool::new(false),
            state: watch::Sender::new(BusState::Up { generation: 1 }),
        };
        Self { core: Arc::new(core) }
    }

    /// Breaks the bus, or mends it with the next generation, as if the server were gone for a while. Publishing and
    /// requests fail meanwhile, and every inbox gets `Disconnected`, then `Reconnected`.
    pub fn set_down(&self, is_down: bool) {
        let core = &self.core;
        if core.is_closed.load(Ordering::Acquire) || core.is_up.load(Ordering::Acquire) != is_down {
            return;
        }
        let event = if is_down {
            core.is_up.store(false, Ordering::Release);
            core.state.send_replace(BusState::Down { reason: "taken down by a test".into() });
            BusEvent::Disconnected
        } else {
            let generation = core.faults.next_generation();
            core.is_up.store(true, Ordering::Release);
            core.state.send_replace(BusState::Up { generation });
            BusEvent::Reconnected { generation }
        };
        for inbox in core.routes.inboxes() {
            inbox.queue.note(event.clone());
        }
    }

    /// Stalls every inbox that exists now, as if its reader had stopped, so that it fills up and overflows; or lets
    /// them go on.
    pub fn set_stalled(&self, is_stalled: bool) {
        for inbox in self.core.routes.inboxes() {
            inbox.queue.set_stalled(is_stalled);
        }
    }

    /// Loses the `nth` message published from now on (1 is the next) without a word to anyone.
    pub fn drop_nth(&self, nth: u64) {
        self.core.faults.drop_nth(nth);
    }

    /// Loses the `nth` message published to `subject` from now on (1 is the next) without a word to anyone.
    pub fn drop_nth_on(&self, subject: &Subject, nth: u64) {
        self.core.faults.drop_nth_on(subject, nth);
    }

    /// Keeps the last messages of each subject from now on, so many, for [`Backplane::history`].
    pub fn keep_history(&self, messages_max: usize) {
        let _ = self.core.history.set(MemoryHistory::new(messages_max));
    }

    /// Delays the responses of the history, or lets them go.
    pub fn hold_history(&self, is_held: bool) {
        if let Some(history) = self.core.history.get() {
            history.hold(is_held);
        }
    }

    /// Returns how many inboxes are open.
    pub fn inbox_count(&self) -> usize {
        self.core.routes.inboxes().len()
    }

    /// Returns how many subjects, with wildcards, some inbox wants.
    pub fn subject_count(&self) -> usize {
        self.core.routes.subject_count()
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        for inbox in self.routes.inboxes() {
            inbox.queue.close();
        }
    }
}

impl std::fmt::Debug for MemoryBus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryBus").field("state", &*self.core.state.borrow()).finish_non_exhaustive()
    }
}

impl Backplane for MemoryBus {
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError> {
        let core = &self.core;
        if subject.is_wildcard() {
            return Err(PublishError::Wildcard);
        }
        let bytes_max = core.limits.payload_bytes_max;
        if payload.len() > bytes_max {
            return Err(PublishError::TooLarge { bytes: payload.len(), bytes_max });
        }
        if !core.is_up.load(Ordering::Acquire) {
            return Err(PublishError::Down);
        }
        if let Some(history) = core.history.get() {
            history.keep(subject, &payload);
        }
        if core.faults.takes(subject) {
            return Ok(());
        }
        let (exact, wild) = core.routes.find(subject);
        for target in exact.iter().flat_map(|targets| targets.iter()) {
            target.deliver(None, &payload);
        }
        for target in wild.iter().flat_map(|targets| targets.iter()) {
            target.deliver(Some(subject), &payload);
        }
        Ok(())
    }

    fn payload_max(&self) -> usize {
        self.core.limits.payload_bytes_max
    }

    fn inbox(&self, limits: InboxLimits) -> (Interest, Inbox) {
        let queue = Arc::new(Queue::new(limits));
        let inbox = Arc::new_cyclic(|me| MemoryInbox {
            core: Arc::downgrade(&self.core),
            queue: Arc::clone(&queue),
            limits,
            subjects: Mutex::new(Some(HashMap::new())),
            me: me.clone(),
        });
        self.core.routes.add_inbox(&inbox);
        if self.core.is_closed.load(Ordering::Acquire) {
            queue.close();
            inbox.close();
        }
        pair(queue, inbox)
    }

    fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RequestError>> {
        let subject = subject.clone();
        Box::pin(async move {
            let core = &self.core;
            if payload.len() > core.limits.payload_bytes_max {
                return Err(RequestError::TooLarge);
            }
            let mut state = core.state.subscribe();
            let generation = state.borrow_and_update().generation();
            if generation.is_none() {
                return Err(RequestError::Down);
            }
            let servers = core.routes.servers(&subject);
            if servers.is_empty() {
                return Err(RequestError::NoResponder);
            }
            let (sender, receiver) = oneshot::channel();
            let first = Arc::new(Mutex::new(Some(sender)));
            for server in servers {
                let _ = server.try_send(request(payload.clone(), Arc::clone(&first), Arc::downgrade(core)));
            }
            let broken = state.wait_for(|now| now.generation() != generation);
            tokio::select! {
                biased;
                Ok(response) = receiver => Ok(response),
                _ = broken => Err(RequestError::Down),
                () = tokio::time::sleep(timeout) => Err(RequestError::TimedOut),
            }
        })
    }

    fn serve(&self, subject: &Subject) -> BoxFuture<'_, Result<Requests, ServeError>> {
        let subject = subject.clone();
        Box::pin(async move {
            if subject.is_wildcard() {
                return Err(ServeError::Wildcard);
            }
            if self.core.is_closed.load(Ordering::Acquire) {
                return Err(ServeError::Closed);
            }
            let (sender, receiver) = mpsc::channel(self.core.limits.requests_max.max(1));
            self.core.routes.add_server(&subject, sender);
            Ok(Requests::new(receiver))
        })
    }

    fn state(&self) -> watch::Receiver<BusState> {
        self.core.state.subscribe()
    }

    fn flush(&self, _timeout: Duration) -> BoxFuture<'_, Result<(), FlushError>> {
        let is_up = self.core.is_up.load(Ordering::Acquire);
        Box::pin(async move { if is_up { Ok(()) } else { Err(FlushError::Down) } })
    }

    fn history(&self) -> Option<&dyn History> {
        self.core.history.get().map(|history| history as &dyn History)
    }

    fn register(&self) -> Option<&dyn Register> {
        Some(&self.core.register)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let core = &self.core;
            core.is_closed.store(true, Ordering::Release);
            core.is_up.store(false, Ordering::Release);
            core.state.send_replace(BusState::Down { reason: "closed".into() });
            for inbox in core.routes.inboxes() {
                inbox.queue.close();
                inbox.close();
            }
            core.routes.drop_servers();
        })
    }
}

type FirstResponse = Arc<Mutex<Option<oneshot::Sender<Bytes>>>>;

fn request(payload: Bytes, first: FirstResponse, core: Weak<Core>) -> Request {
    Request::new(payload, move |response| {
        let core = core.upgrade().ok_or(PublishError::Down)?;
        let bytes_max = core.limits.payload_bytes_max;
        if response.len() > bytes_max {
            return Err(PublishError::TooLarge { bytes: response.len(), bytes_max });
        }
        if !core.is_up.load(Ordering::Acquire) {
            return Err(PublishError::Down);
        }
        let sender = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sender) = sender {
            // The other side may have given up, which is its own affair.
            let _ = sender.send(response);
        }
        Ok(())
    })
}

impl Target {
    fn deliver(&self, subject: Option<&Subject>, payload: &Bytes) {
        let arrival = Arrival { token: self.token, subject: subject.cloned(), payload: payload.clone() };
        self.inbox.queue.push_all([arrival]);
    }
}

impl MemoryInbox {
    fn lock(&self) -> MutexGuard<'_, Option<HashMap<Subject, u64>>> {
        self.subjects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InterestSink for MemoryInbox {
    fn subscribe(&self, subject: &Subject, token: u64) -> Result<(), InterestError> {
        let mut guard = self.lock();
        let subjects = guard.as_mut().ok_or(InterestError::Closed)?;
        let (Some(core), Some(me)) = (self.core.upgrade(), self.me.upgrade()) else {
            return Err(InterestError::Closed);
        };
        let known = subjects.len();
        match subjects.entry(subject.clone()) {
            Entry::Occupied(entry) if *entry.get() == token => return Ok(()),
            Entry::Occupied(mut entry) => {
                entry.insert(token);
            }
            Entry::Vacant(_) if known >= self.limits.subjects_max => return Err(InterestError::Full),
            Entry::Vacant(entry) => {
                entry.insert(token);
            }
        }
        core.routes.add(subject, Target { inbox: me, token });
        Ok(())
    }

    fn unsubscribe(&self, subject: &Subject) {
        let mut guard = self.lock();
        let Some(subjects) = guard.as_mut() else { return };
        if subjects.remove(subject).is_some()
            && let Some(core) = self.core.upgrade()
        {
            core.routes.remove(subject, self);
        }
    }

    fn close(&self) {
        let subjects = self.lock().take();
        if let Some(core) = self.core.upgrade() {
            for subject in subjects.iter().flat_map(HashMap::keys) {
                core.routes.remove(subject, self);
            }
            core.routes.remove_inbox(self);
        }
    }
}
