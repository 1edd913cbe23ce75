//! The consumer's side: an inbox, its limits, its events, and the interest that feeds it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use thiserror::Error;

use crate::queue::{ENTRY_BYTES, Queue, TOKEN_BYTES};
use tickwire_wire::Subject;

/// The maxima of one inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InboxLimits {
    /// The most messages that wait to be taken.
    pub messages_max: usize,
    /// The most payload bytes that wait to be taken.
    pub bytes_max: usize,
    /// The most subjects at a time.
    pub subjects_max: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self { messages_max: 65_536, bytes_max: 32 << 20, subjects_max: 65_536 }
    }
}

impl InboxLimits {
    /// Returns the most bytes that the queue of such an inbox takes, without its subscriptions.
    pub fn worst_case_bytes(&self) -> usize {
        let entries = self.messages_max.saturating_add(1).saturating_mul(ENTRY_BYTES);
        let tokens = self.tokens_max().saturating_mul(TOKEN_BYTES);
        self.bytes_max.saturating_add(entries).saturating_add(tokens)
    }

    /// Returns the most tokens that all waiting [`BusEvent::Lost`] name together: each subject once for what did not
    /// fit, and as many again for other losses and for subjects that were given up since.
    pub(crate) fn tokens_max(&self) -> usize {
        self.subjects_max.saturating_mul(2)
    }
}

/// An event that an inbox gives out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusEvent {
    /// One message.
    Message {
        /// The token of the subscription that it came by.
        token: u64,
        /// The subject, for a wildcard subscription only.
        subject: Option<Subject>,
        /// The content that was published. It may share memory with its neighbours: copy what is kept.
        payload: Bytes,
    },
    /// Messages were lost at this place in the order, as far as anyone noticed.
    Lost {
        /// The subscriptions that lost something, and no other did; `None` when nobody knows. It is not known what was
        /// lost upstream of the inbox, nor what would need more tokens than the inbox may remember (twice its
        /// subjects).
        tokens: Option<BTreeSet<u64>>,
        /// The number of messages that all of them lost together, when that is known.
        messages: Option<u64>,
        /// The place where they were lost.
        cause: LostCause,
    },
    /// The connection broke. What is published until `Reconnected` will not come.
    Disconnected,
    /// The connection is back and all subscriptions are in force again. Several outages that follow each other with
    /// no message between may appear as one.
    Reconnected {
        /// The number of the new connection, as in [`BusState`](crate::BusState).
        generation: u64,
    },
}

/// The place where messages were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostCause {
    /// The inbox was full because it was not read; the oldest half was dropped, and the count is exact.
    InboxFull,
    /// They came after a newer message of the same publisher, as may happen when a publisher or this process moves to
    /// another server of a cluster. The count is exact.
    Late,
    /// The client library or the server dropped some; neither says how many or of which subject.
    Upstream,
}

/// The reason why interest was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InterestError {
    /// The inbox has as many subjects as it may.
    #[error("the inbox has all the subjects it may have")]
    Full,
    /// The inbox or the bus is gone.
    #[error("the inbox is closed")]
    Closed,
}

/// The side of a bus that takes interest, for both kinds of bus. No call waits.
pub(crate) trait InterestSink: Send + Sync {
    fn subscribe(&self, subject: &Subject, token: u64) -> Result<(), InterestError>;
    fn unsubscribe(&self, subject: &Subject);
    fn close(&self);
    /// The consumer wants nothing before then.
    fn gather_until(&self, _until: Instant) {}
}

/// A handle that adds subjects to one inbox and removes them. It is cheap to clone.
#[derive(Clone)]
pub struct Interest {
    sink: Arc<dyn InterestSink>,
}

impl Interest {
    /// Adds a subject; its messages will carry `token`. Does nothing when it is there already with this token; with
    /// another, it takes the new one. It never waits.
    ///
    /// A message that matches two subjects of one inbox, one of them a wildcard, comes once for each.
    ///
    /// # Errors
    /// Returns an error when the inbox has all the subjects it may have, or is closed.
    pub fn subscribe(&self, subject: &Subject, token: u64) -> Result<(), InterestError> {
        self.sink.subscribe(subject, token)
    }

    /// Removes a subject; does nothing when it is not there. It never waits. What is in the inbox already still comes
    /// out, so tokens should not be used again at once.
    pub fn unsubscribe(&self, subject: &Subject) {
        self.sink.unsubscribe(subject);
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interest").finish_non_exhaustive()
    }
}

/// The consumer's end: it takes what was published to the subjects of interest. Dropping it ends all its subscriptions.
pub struct Inbox {
    queue: Arc<Queue>,
    sink: Arc<dyn InterestSink>,
}

impl Inbox {
    /// Waits until something is there, then moves all of it, at most `max` events, to the end of `out`. Returns false
    /// when the bus was closed and everything was taken.
    ///
    /// Events are in their final order already: taking fewer than are there costs nothing but another call.
    ///
    /// # Cancel safety
    /// It is safe: an event is either in `out` or still in the inbox.
    pub async fn recv_batch(&mut self, out: &mut Vec<BusEvent>, max: usize) -> bool {
        self.queue.take(out, max, |(_, event)| event).await
    }

    /// Does what [`Inbox::recv_batch`] does, and gives each event the time at which it came into this inbox.
    ///
    /// # Cancel safety
    /// It is safe: an event is either in `out` or still in the inbox.
    pub async fn recv_batch_timed(&mut self, out: &mut Vec<(Instant, BusEvent)>, max: usize) -> bool {
        self.queue.take(out, max, |timed| timed).await
    }

    /// Does what [`Inbox::recv_batch_timed`] does where something is there, and does not wait.
    pub fn take_batch_timed(&mut self, out: &mut Vec<(Instant, BusEvent)>, max: usize) {
        self.queue.take_now(out, max, |timed| timed);
    }

    /// Says that nothing is wanted before `until`: a bus that would wake a thread for each message may let them gather. What comes
    /// may be handed over earlier, and up to a fraction of a millisecond later.
    pub fn gather_until(&self, until: Instant) {
        self.sink.gather_until(until);
    }

    /// Returns how many events wait to be taken.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.queue.close();
        self.sink.close();
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

pub(crate) fn pair(queue: Arc<Queue>, sink: Arc<dyn InterestSink>) -> (Interest, Inbox) {
    (Interest { sink: Arc::clone(&sink) }, Inbox { queue, sink })
}
