//! The backplane: what every kind of bus does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::future::BoxFuture;
use crate::history::History;
use crate::inbox::{Inbox, InboxLimits, Interest};
use crate::register::Register;
use tickwire_wire::Subject;

/// A bus that carries payloads from ingesters to gateways.
pub trait Backplane: Send + Sync + 'static {
    /// Hands one message to the bus. It never blocks and never waits.
    ///
    /// Order holds between calls that happen one after another. `Ok` means accepted, not delivered: what was accepted
    /// just before an outage may be lost without a word, which consumers find by the sequence numbers in it.
    ///
    /// # Errors
    /// Returns an error when the message is lost; the caller counts and announces it.
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError>;

    /// Returns how many bytes one message may have now: the largest payload that [`publish`](Self::publish) and
    /// [`Request::reply`] take. It may change whenever the bus connects anew; while it is down, this is the last that
    /// was known, and before the first connection a guess (1 MiB, less the envelope).
    fn payload_max(&self) -> usize;

    /// Opens an inbox without subjects; `Interest` adds and removes them while it runs.
    fn inbox(&self, limits: InboxLimits) -> (Interest, Inbox);

    /// Sends a request to whoever serves `subject` and waits for the first response. The request comes after the
    /// subscriptions that were made through this handle before the call.
    ///
    /// # Errors
    /// Returns a [`RequestError`]; a connection that breaks while waiting is `Down`.
    ///
    /// # Cancel safety
    /// Dropping the future gives the response up; the request may have been sent.
    fn request(
        &self,
        subject: &Subject,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RequestError>>;

    /// Takes the requests to `subject` until the returned stream is dropped. When the bus is up, it returns after the
    /// server knows; when it is not, at once, and requests come when it is. When a subject is served more than once,
    /// all get the request, and the first response counts.
    ///
    /// # Errors
    /// Returns an error when the bus is closed, or when the subject is a wildcard.
    ///
    /// # Cancel safety
    /// Dropping the future serves nothing.
    fn serve(&self, subject: &Subject) -> BoxFuture<'_, Result<Requests, ServeError>>;

    /// Returns the state of the connection, now and from now on.
    fn state(&self) -> watch::Receiver<BusState>;

    /// Waits until the server has everything that was accepted before this call, published and subscribed.
    ///
    /// # Errors
    /// Returns an error when the bus is or goes down, or when the time is over.
    ///
    /// # Cancel safety
    /// It is safe, because it changes nothing.
    fn flush(&self, timeout: Duration) -> BoxFuture<'_, Result<(), FlushError>>;

    /// Returns what the bus remembers, where it was told to.
    fn history(&self) -> Option<&dyn History> {
        None
    }

    /// Returns the place for leases, where the bus has one.
    fn register(&self) -> Option<&dyn Register> {
        None
    }

    /// Sends what was accepted, then closes all inboxes and the connection. A server that takes nothing is given up
    /// after two seconds, or when it is found to be mute.
    /// Afterwards the state is `Down`, and every other call fails.
    ///
    /// # Cancel safety
    /// The bus may be left closing, and will close.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The connection to whatever carries the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BusState {
    /// The bus was never connected yet, and no attempt has failed.
    Connecting,
    /// The bus is connected.
    Up {
        /// The number of this connection, from 1; it increases at each reconnect. Watchers may miss a short outage, but
        /// never that this number changed.
        generation: u64,
    },
    /// The bus is not connected; it tries again, unless it was closed.
    Down {
        /// The reason, for people, without secrets.
        reason: Arc<str>,
    },
}

impl BusState {
    /// Returns whether messages are taken.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// Returns the number of the connection, when there is one.
    pub fn generation(&self) -> Option<u64> {
        match self {
            Self::Up { generation } => Some(*generation),
            _ => None,
        }
    }
}

/// The reason why a message was not taken. The message is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The queue to the bus is full; this is recoverable.
    #[error("the queue to the bus is full")]
    Full,
    /// The bus is not connected; this is recoverable.
    #[error("the bus is down")]
    Down,
    /// The payload is larger than the bus takes; this is never recoverable with this payload.
    #[error("the payload has {bytes} bytes, and the bus takes {bytes_max}")]
    TooLarge {
        /// The size of the payload.
        bytes: usize,
        /// The size of the largest payload.
        bytes_max: usize,
    },
    /// The subject is a wildcard; that is a fault of the caller.
    #[error("a wildcard cannot be published to")]
    Wildcard,
}

/// The reason why a request has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No one serves the subject.
    #[error("no one serves this subject")]
    NoResponder,
    /// No response came in time; the request may have been taken.
    #[error("no response came in time")]
    TimedOut,
    /// The bus is not connected, or the connection broke while waiting.
    #[error("the bus is down")]
    Down,
    /// The request is larger than the bus takes.
    #[error("the request is larger than the bus takes")]
    TooLarge,
}

/// The reason why a subject is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ServeError {
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
    /// Requests cannot be taken for a wildcard.
    #[error("a wildcard cannot be served")]
    Wildcard,
}

/// The reason why a flush did not come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FlushError {
    /// The bus is not connected.
    #[error("the bus is down")]
    Down,
    /// The server did not answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
}

/// The requests to one subject; dropping it stops serving.
#[derive(Debug)]
pub struct Requests {
    receiver: mpsc::Receiver<Request>,
}

impl Requests {
    pub(crate) fn new(receiver: mpsc::Receiver<Request>) -> Self {
        Self { receiver }
    }

    /// Returns the next request, or `None` when the bus was closed.
    ///
    /// # Cancel safety
    /// It is safe: no request is lost.
    pub async fn next(&mut self) -> Option<Request> {
        self.receiver.recv().await
    }
}

/// One request, which is answered once. Dropping it leaves the other side to its time-out.
pub struct Request {
    payload: Bytes,
    reply: Box<dyn FnOnce(Bytes) -> Result<(), PublishError> + Send>,
}

impl Request {
    pub(crate) fn new(
        payload: Bytes,
        reply: impl FnOnce(Bytes) -> Result<(), PublishError> + Send + 'static,
    ) -> Self {
        Self { payload, reply: Box::new(reply) }
    }

    /// Returns the content of the request.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Sends the response. It never waits. The response keeps its place among the messages published by this handle.
    ///
    /// # Errors
    /// Returns an error when the response is lost, as with [`Backplane::publish`]; it may be as large as
    /// [`Backplane::payload_max`].
    pub fn reply(self, response: Bytes) -> Result<(), PublishError> {
        (self.reply)(response)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("bytes", &self.payload.len()).finish_non_exhaustive()
    }
}
