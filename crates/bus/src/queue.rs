//! The bounded queue inside every inbox.
//!
//! Where a message does not fit, the oldest half is dropped, and counted where it would have been. Everything that is
//! not a message (`Lost`, `Disconnected`, `Reconnected`) always fits: between two messages, equal kinds are merged, so
//! there are at most [`NOTES_MAX`] of them. The tokens that they name are bounded for the whole queue: a `Lost` that
//! would exceed the bound names none, which its reader takes for all.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::inbox::{BusEvent, InboxLimits, LostCause};
use tickwire_wire::Subject;

/// The most events other than messages between two messages: one `Lost` per cause, a `Disconnected` and a
/// `Reconnected`.
const NOTES_MAX: usize = 5;

/// The memory of one waiting message without its payload, with the most notes that may follow it; as many may stand in
/// front of the first.
pub(crate) const ENTRY_BYTES: usize = (1 + NOTES_MAX) * size_of::<Timed>();

/// The memory of one token of a `Lost`: a node of the set holds eleven and is never less than half full, but a set of
/// one token takes a node for itself.
pub(crate) const TOKEN_BYTES: usize = 112;

/// An event and the time at which it came into the queue.
pub(crate) type Timed = (Instant, BusEvent);

/// One message on its way into a queue.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) token: u64,
    pub(crate) subject: Option<Subject>,
    pub(crate) payload: Bytes,
}

pub(crate) struct Queue {
    limits: InboxLimits,
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    events: VecDeque<Timed>,
    messages: usize,
    bytes: usize,
    /// The number of tokens that the `Lost` among the events name together.
    tokens: usize,
    is_closed: bool,
    is_stalled: bool,
}

/// The outcome of a look into a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Something was taken.
    Some,
    /// Nothing is there now.
    Nothing,
    /// The queue is closed, and everything was taken.
    Closed,
}

impl Queue {
    pub(crate) fn new(limits: InboxLimits) -> Self {
        Self { limits, state: Mutex::default(), filled: Notify::new() }
    }

    /// Takes messages in, in order. The consumer is woken after the lock is gone.
    pub(crate) fn push_all(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        let now = Instant::now();
        for arrival in arrivals {
            state.push(arrival, &self.limits, now);
        }
        drop(state);
        self.filled.notify_one();
    }

    /// Takes in an event that is not a message.
    pub(crate) fn note(&self, event: BusEvent) {
        let mut state = self.lock();
        if state.is_closed {
            return;
        }
        state.note(event, Instant::now(), self.limits.tokens_max());
        drop(state);
        self.filled.notify_one();
    }

    /// Moves up to `max` events to `out`, each as `form` makes it; waits for the first. Returns false when closed and
    /// empty.
    pub(crate) async fn take<T>(&self, out: &mut Vec<T>, max: usize, form: impl Fn(Timed) -> T) -> bool {
        loop {
            match self.take_now(out, max, &form) {
                Taken::Nothing => self.filled.notified().await,
                taken => return taken == Taken::Some,
            }
        }
    }

    /// Does the same without waiting.
    pub(crate) fn take_now<T>(&self, out: &mut Vec<T>, max: usize, form: impl Fn(Timed) -> T) -> Taken {
        let mut state = self.lock();
        if state.is_closed && state.events.is_empty() {
            return Taken::Closed;
        }
        if state.is_stalled || state.events.is_empty() {
            return Taken::Nothing;
        }
        state.take(out, max.max(1), form);
        Taken::Some
    }

    pub(crate) fn waiting(&self) -> usize {
        self.lock().messages
    }

    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_one();
    }

    /// Stalls the queue, for tests of slow consumers: while stalled, nothing comes out.
    pub(crate) fn set_stalled(&self, is_stalled: bool) {
        self.lock().is_stalled = is_stalled;
        self.filled.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(token: u64) -> BusEvent {
    BusEvent::Lost { tokens: Some(BTreeSet::from([token])), messages: Some(1), cause: LostCause::InboxFull }
}

/// Returns how many tokens an event names, when it tells of a loss.
fn named(event: &BusEvent) -> usize {
    match event {
        BusEvent::Lost { tokens: Some(tokens), .. } => tokens.len(),
        _ => 0,
    }
}

/// Returns the tokens of both, when both are known and there is room.
fn union(a: Option<BTreeSet<u64>>, b: Option<BTreeSet<u64>>, room: usize) -> Option<BTreeSet<u64>> {
    let (a, b) = a.zip(b)?;
    let (mut larger, smaller) = if a.len() < b.len() { (b, a) } else { (a, b) };
    larger.extend(smaller);
    Some(larger).filter(|tokens| tokens.len() <= room)
}

impl State {
    fn push(&mut self, arrival: Arrival, limits: &InboxLimits, now: Instant) {
        let Arrival { token, subject, payload } = arrival;
        if payload.len() > limits.bytes_max {
            return self.note(lost(token), now, limits.tokens_max());
        }
        if self.messages >= limits.messages_max || self.bytes + payload.len() > limits.bytes_max {
            let bytes = (limits.bytes_max / 2).min(limits.bytes_max - payload.len());
            self.drop_oldest(limits.messages_max / 2, bytes, now, limits.tokens_max());
        }
        self.messages += 1;
        self.bytes += payload.len();
        self.events.push_back((now, BusEvent::Message { token, subject, payload }));
    }

    /// Drops the messages that came first, until no more than that are left. They go all at once and not one for each
    /// that comes: each stretch that is missing has to be announced, and what stays is not as old as all that fits.
    fn drop_oldest(&mut self, messages: usize, bytes: usize, now: Instant, tokens_max: usize) {
        // These notes stand in front of the first message that stays, merged as if they had just come.
        let mut notes = Self::default();
        while let Some((at, event)) = self.events.pop_front() {
            match event {
                BusEvent::Message { token, payload, .. }
                    if self.messages > messages || self.bytes > bytes =>
                {
                    self.messages -= 1;
                    self.bytes -= payload.len();
                    notes.note(lost(token), now, tokens_max.saturating_sub(self.tokens));
                }
                BusEvent::Message { .. } => {
                    self.events.push_front((at, event));
                    break;
                }
                note => {
                    self.tokens -= named(&note);
                    notes.note(note, at, tokens_max.saturating_sub(self.tokens));
                }
            }
        }
        self.tokens += notes.tokens;
        for note in notes.events.into_iter().rev() {
            self.events.push_front(note);
        }
    }

    fn take<T>(&mut self, out: &mut Vec<T>, max: usize, form: impl Fn(Timed) -> T) {
        let count = max.min(self.events.len());
        out.reserve(count);
        for timed in self.events.drain(..count) {
            match &timed.1 {
                BusEvent::Message { payload, .. } => {
                    self.messages -= 1;
                    self.bytes -= payload.len();
                }
                note => self.tokens -= named(note),
            }
            out.push(form(timed));
        }
    }

    /// Adds an event that is not a message, merged with its like since the last message. All events together may name
    /// `tokens_max` tokens.
    fn note(&mut self, mut event: BusEvent, now: Instant, tokens_max: usize) {
        let last_message =
            self.events.iter().rposition(|(_, event)| matches!(event, BusEvent::Message { .. }));
        let from = last_message.map_or(0, |index| index + 1);
        match &mut event {
            BusEvent::Lost { tokens, messages, cause } => {
                let like = self.events.range_mut(from..).find_map(|(_, earlier)| match earlier {
                    BusEvent::Lost { tokens, messages, cause: its_cause } if its_cause == cause => {
                        Some((tokens, messages))
                    }
                    _ => None,
                });
                if let Some((its_tokens, its_messages)) = like {
                    self.tokens -= its_tokens.as_ref().map_or(0, BTreeSet::len);
                    let room = tokens_max.saturating_sub(self.tokens);
                    *its_tokens = union(its_tokens.take(), tokens.take(), room);
                    self.tokens += its_tokens.as_ref().map_or(0, BTreeSet::len);
                    *its_messages = its_messages.zip(*messages).map(|(a, b)| a.saturating_add(b));
                    return;
                }
                let room = tokens_max.saturating_sub(self.tokens);
                tokens.take_if(|tokens| tokens.len() > room);
                self.tokens += tokens.as_ref().map_or(0, BTreeSet::len);
            }
            BusEvent::Disconnected => {
                self.forget(from, |event| matches!(event, BusEvent::Reconnected { .. }));
                if self.events.range(from..).any(|(_, event)| matches!(event, BusEvent::Disconnected)) {
                    return;
                }
            }
            BusEvent::Reconnected { .. } => {
                self.forget(from, |event| matches!(event, BusEvent::Reconnected { .. }));
            }
            BusEvent::Message { .. } => {}
        }
        self.events.push_back((now, event));
    }

    fn forget(&mut self, from: usize, which: impl Fn(&BusEvent) -> bool) {
        let mut index = from;
        while index < self.events.len() {
            if which(&self.events[index].1) {
                self.events.remove(index);
            } else {
                index += 1;
            }
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
