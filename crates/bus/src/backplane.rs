//! What a backplane is, whichever carries it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{mpsc, watch};

use crate::history::History;
use crate::inbox::{Inbox, InboxLimits, Interest};
use tickwire_wire::Subject;

/// A boxed future, so that `Arc<dyn Backplane>` works.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What carries payloads from ingesters to gateways.
pub trait Backplane: Send + Sync + 'static {
    /// Hands one message to the bus. Never blocks, never waits.
    ///
    /// Order holds between calls that happen one after another. `Ok` means accepted, not delivered: what was accepted
    /// just before an outage may be lost without a word, which consumers find by the sequence numbers in it.
    ///
    /// # Errors
    /// The message is lost; the caller counts and announces it.
    fn publish(&self, subject: &Subject, payload: Bytes) -> Result<(), PublishError>;

    /// Bytes that one message may have now: the largest payload that [`publish`](Self::publish) and
    /// [`Request::reply`] take. It may change whenever the bus connects anew; while it is down, this is the last that
    /// was known, and before the first connection a guess (1 MiB, less the envelope).
    fn payload_max(&self) -> usize;

    /// Opens an inbox without subjects; `Interest` adds and removes them while it runs.
    fn inbox(&self, limits: InboxLimits) -> (Interest, Inbox);

    /// Asks whoever serves `subject` and waits for the first response. It comes after the subscriptions that were made
    /// through this handle before the call.
    ///
    /// # Errors
    /// See [`RequestError`]; a connection that breaks while waiting is `Down`.
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
    /// When the bus is closed, or the subject is a wildcard.
    ///
    /// # Cancel safety
    /// Dropping the future serves nothing.
    fn serve(&self, subject: &Subject) -> BoxFuture<'_, Result<Requests, ServeError>>;

    /// The state of the connection now and from now on.
    fn state(&self) -> watch::Receiver<BusState>;

    /// Waits until the server has everything that was accepted before this call, published and subscribed.
    ///
    /// # Errors
    /// When the bus is or goes down, or the time is over.
    ///
    /// # Cancel safety
    /// Safe: it changes nothing.
    fn flush(&self, timeout: Duration) -> BoxFuture<'_, Result<(), FlushError>>;

    /// What the bus remembers, where it was told to.
    fn history(&self) -> Option<&dyn History> {
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
    /// Never connected yet, and no attempt has failed.
    Connecting,
    /// Connected.
    Up {
        /// Number of this connection, from 1; it increases at each reconnect. Watchers may miss a short outage, but
        /// never that this number changed.
        generation: u64,
    },
    /// Not connected; it is being tried again, unless the bus was closed.
    Down {
        /// Why, for people, without secrets.
        reason: Arc<str>,
    },
}

impl BusState {
    /// Whether messages are taken.
    pub fn is_up(&self) -> bool {
        matches!(self, Self::Up { .. })
    }

    /// The number of the connection, when there is one.
    pub fn generation(&self) -> Option<u64> {
        match self {
            Self::Up { generation } => Some(*generation),
            _ => None,
        }
    }
}

/// Why a message was not taken. It is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// The queue to the bus is full; recoverable.
    #[error("the queue to the bus is full")]
    Full,
    /// Not connected; recoverable.
    #[error("the bus is down")]
    Down,
    /// Larger than the bus takes; never recoverable with this payload.
    #[error("payload of {bytes} bytes, and the bus takes {bytes_max}")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// Largest payload.
        bytes_max: usize,
    },
    /// Published to a wildcard; a error of the caller.
    #[error("cannot publish to a wildcard")]
    Wildcard,
}

/// Why a request has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RequestError {
    /// No one serves the subject.
    #[error("no one responses here")]
    NoResponder,
    /// No response came in time; the request may have been taken.
    #[error("no response in time")]
    TimedOut,
    /// Not connected, or the connection broke while waiting.
    #[error("the bus is down")]
    Down,
    /// The request is larger than the bus takes.
    #[error("the request is larger than the bus takes")]
    TooLarge,
}

/// Why a subject is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ServeError {
    /// The bus was closed.
    #[error("the bus is closed")]
    Closed,
    /// Requests cannot be taken for a wildcard.
    #[error("cannot serve a wildcard")]
    Wildcard,
}

/// Why a flush did not come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FlushError {
    /// Not connected.
    #[error("the bus is down")]
    Down,
    /// The server did not answer in time.
    #[error("the server did not response in time")]
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

    /// The next request, or `None` when the bus was closed.
    ///
    /// # Cancel safety
    /// Safe: no request is lost.
    pub async fn next(&mut self) -> Option<Request> {
        self.receiver.recv().await
    }
}

/// One request, to be answered once. Dropping it leaves the other side to its time-out.
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

    /// What was asked.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Answers. Never waits. The response keeps its place among the messages published by this handle.
    ///
    /// # Errors
    /// The response is lost, as with [`Backplane::publish`]; it may be as large as [`Backplane::payload_max`].
    pub fn reply(self, response: Bytes) -> Result<(), PublishError> {
        (self.reply)(response)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("bytes", &self.payload.len()).finish_non_exhaustive()
    }
}
