//! One inbox on NATS: it knows what the consumer wants and what the server was told, and drains its subscriptions.
//!
//! Invariants: a subject is in `dirty` whenever `wanted` and `actual` may differ about it; `slots` are touched by the
//! bus thread only, so their lock is never waited for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use async_nats::{Client, Subscriber};
use futures_util::Stream;
use tokio::task::coop::unconstrained;
use tracing::debug;

use super::envelope;
use super::link::{Link, while_up};
use super::order::{Drained, Order};
use super::ready::{Mark, Ready};
use super::words::wire;
use crate::inbox::{BusEvent, InboxLimits, InterestError, InterestSink, LostCause};
use crate::queue::{Arrival, Queue};
use tickwire_wire::Subject;

pub(super) struct NatsInbox {
    pub(super) queue: Arc<Queue>,
    limits: InboxLimits,
    link: Arc<Link>,
    desired: Mutex<Desired>,
    slots: Mutex<Slots>,
    ready: Arc<Ready>,
    /// The time before which the consumer wants no messages.
    gathers_until: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Desired {
    wanted: HashMap<Subject, u64>,
    /// The slots of the subscriptions that exist.
    actual: HashMap<Subject, usize>,
    dirty: HashSet<Subject>,
    is_closed: bool,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
}

struct Slot {
    subscriber: Subscriber,
    token: u64,
    is_wildcard: bool,
    mark: Arc<Mark>,
    waker: Waker,
}

enum Change {
    Subscribe { token: u64 },
    Retoken { slot: usize, token: u64 },
    Unsubscribe { slot: usize },
    Nothing,
}

impl NatsInbox {
    pub(super) fn new(limits: InboxLimits, link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self {
            queue: Arc::new(Queue::new(limits)),
            limits,
            link,
            desired: Mutex::default(),
            slots: Mutex::default(),
            ready: Arc::default(),
            gathers_until: Mutex::default(),
        })
    }

    pub(super) fn gathers_until(&self) -> Option<Instant> {
        *self.gathers_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the drain look at the connection, and at whether it is closed.
    pub(super) fn poke(&self) {
        self.ready.poke();
    }

    /// Tells the server what changed. Returns false when the connection broke before all was told.
    pub(super) async fn apply(self: &Arc<Self>, client: &Client) -> bool {
        let dirty = std::mem::take(&mut self.desired().dirty);
        let mut dirty = dirty.into_iter();
        while let Some(subject) = dirty.next() {
            if !self.apply_one(client, &subject).await {
                self.desired().dirty.extend(dirty.chain([subject]));
                return false;
            }
        }
        true
    }

    async fn apply_one(&self, client: &Client, subject: &Subject) -> bool {
        match self.change(subject) {
            Change::Nothing => true,
            Change::Retoken { slot, token } => {
                if let Some(slot) = self.slots().slots[slot].as_mut() {
                    slot.token = token;
                }
                true
            }
            Change::Unsubscribe { slot } => {
                let Some(mut subscriber) = self.slots().remove(slot) else { return true };
                // When the connection breaks here, dropping the subscriber is enough: it is not renewed.
                while_up(&self.link, subscriber.unsubscribe()).await;
                true
            }
            Change::Subscribe { token } => {
                let subscribed = while_up(&self.link, client.subscribe(wire(subject))).await;
                let Some(Ok(subscriber)) = subscribed else { return false };
                // There is no await from here on: the slot is there before the connection task can put anything into
                // it.
                let mut desired = self.desired();
                if desired.is_closed {
                    return true;
                }
                let slot = self.slots().add(subscriber, token, subject.is_wildcard(), &self.ready);
                desired.actual.insert(subject.clone(), slot);
                if desired.wanted.get(subject) != Some(&token) {
                    desired.dirty.insert(subject.clone());
                    drop(desired);
                    self.link.interest_changed();
                }
                true
            }
        }
    }

    fn change(&self, subject: &Subject) -> Change {
        let mut desired = self.desired();
        if desired.is_closed {
            return Change::Nothing;
        }
        match (desired.wanted.get(subject).copied(), desired.actual.get(subject).copied()) {
            (Some(token), None) => Change::Subscribe { token },
            (Some(token), Some(slot)) => Change::Retoken { slot, token },
            (None, Some(slot)) => {
                desired.actual.remove(subject);
                Change::Unsubscribe { slot }
            }
            (None, None) => Change::Nothing,
        }
    }

    /// Moves everything that the connection task has put into the channels to the inbox, until the inbox is closed. It
    /// has to be spawned on the runtime of the client. How order is kept is told in [`order`](super::order).
    pub(super) async fn drain(self: Arc<Self>, client: Client) {
        let statistics = client.statistics();
        let mut generation = statistics.connects.load(Ordering::Relaxed);
        let mut is_down_told = !self.link.is_up();
        let mut order = Order::default();
        let mut drained = Vec::new();
        let mut woken = Vec::new();
        loop {
            // It is unconstrained, as the budget of a task would end a drain early.
            unconstrained(poll_fn(|context| self.poll_drain(context, &mut woken, &mut drained))).await;
            if self.desired().is_closed {
                break;
            }
            order.arrange(&mut drained, |late| {
                let tokens = Some(BTreeSet::from([late.token]));
                self.queue.note(BusEvent::Lost { tokens, messages: Some(1), cause: LostCause::Late });
            });
            let now = statistics.connects.load(Ordering::Relaxed);
            if now != generation {
                generation = now;
                // Whoever hears of the new connection may use it at once.
                self.link.refresh();
                if generation > 1 {
                    if !is_down_told {
                        self.queue.note(BusEvent::Disconnected);
                    }
                    self.queue.note(BusEvent::Reconnected { generation });
                }
                is_down_told = false;
            }
            if !drained.is_empty() {
                self.queue.push_all(drained.drain(..).map(Arrival::from));
            }
            if generation > 0 && !is_down_told && !self.link.is_up() {
                self.queue.note(BusEvent::Disconnected);
                is_down_told = true;
            }
        }
        let slots = std::mem::take(&mut *self.slots());
        for mut slot in slots.slots.into_iter().flatten() {
            while_up(&self.link, slot.subscriber.unsubscribe()).await;
        }
    }

    fn poll_drain(
        &self,
        context: &Context<'_>,
        woken: &mut Vec<usize>,
        drained: &mut Vec<Drained>,
    ) -> Poll<()> {
        self.ready.register(context);
        let mut slots = self.slots();
        loop {
            self.ready.take(woken);
            if woken.is_empty() {
                break;
            }
            for index in woken.drain(..) {
                if let Some(slot) = slots.slots.get_mut(index).and_then(Option::as_mut) {
                    slot.drain_into(drained);
                }
            }
        }
        if self.ready.take_poke() || !drained.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn desired(&self) -> MutexGuard<'_, Desired> {
        self.desired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn drain_into(&mut self, drained: &mut Vec<Drained>) {
        self.mark.clear();
        let mut context = Context::from_waker(&self.waker);
        while let Poll::Ready(Some(message)) = Pin::new(&mut self.subscriber).poll_next(&mut context) {
            let Some((place, payload)) = envelope::open(message.payload) else {
                debug!(subject = %message.subject, "a message without envelope was ignored");
                continue;
            };
            let subject = self.is_wildcard.then(|| Subject::from_bus(&message.subject));
            drained.push(Drained { place, token: self.token, subject, payload });
        }
    }
}

impl Slots {
    fn add(&mut self, subscriber: Subscriber, token: u64, is_wildcard: bool, ready: &Arc<Ready>) -> usize {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let mark = Mark::new(index, ready);
        let waker = mark.waker();
        // The first poll gives the channel its waker.
        waker.wake_by_ref();
        self.slots[index] = Some(Slot { subscriber, token, is_wildcard, mark, waker });
        index
    }

    fn remove(&mut self, index: usize) -> Option<Subscriber> {
        let slot = self.slots[index].take()?;
        self.free.push(index);
        Some(slot.subscriber)
    }
}

impl InterestSink for NatsInbox {
    fn gather_until(&self, until: Instant) {
        *self.gathers_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn subscribe(&self, subject: &Subject, token: u64) -> Result<(), InterestError> {
        let mut desired = self.desired();
        if desired.is_closed || self.link.is_closed() {
            return Err(InterestError::Closed);
        }
        match desired.wanted.get(subject) {
            Some(known) if *known == token => return Ok(()),
            None if desired.wanted.len() >= self.limits.subjects_max => return Err(InterestError::Full),
            _ => {}
        }
        desired.wanted.insert(subject.clone(), token);
        desired.dirty.insert(subject.clone());
        drop(desired);
        self.link.interest_changed();
        Ok(())
    }

    fn unsubscribe(&self, subject: &Subject) {
        let mut desired = self.desired();
        if desired.wanted.remove(subject).is_none() {
            return;
        }
        if desired.actual.contains_key(subject) {
            desired.dirty.insert(subject.clone());
            drop(desired);
            self.link.interest_changed();
        } else {
            // This keeps `dirty` bounded by the subjects of `wanted` and `actual`, however long the bus is down.
            desired.dirty.remove(subject);
        }
    }

    fn close(&self) {
        let mut desired = self.desired();
        *desired = Desired { is_closed: true, ..Desired::default() };
        drop(desired);
        self.ready.poke();
    }
}
