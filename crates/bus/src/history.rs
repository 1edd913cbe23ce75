//! Looking up messages that were published before: the part of a bus that may be missing.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use thiserror::Error;
use tokio::sync::watch;

use crate::future::BoxFuture;
use tickwire_wire::Subject;

/// The messages that a bus remembers, by subject, in the order of publishing.
pub trait History: Send + Sync {
    /// Finds messages of one subject, oldest first. What the bus never had, or has no more, is not among them, and
    /// nobody says so: the sequence numbers in the payloads tell.
    ///
    /// The cost is bounded: some thirty requests find the first, then one is made for each two hundred and fifty
    /// messages. Where messages lie that cannot tell their place, up to a hundred and thirty requests find the first,
    /// and what is wanted is found for certain only where it makes up more than a thirty-second of what is kept, or
    /// lies not much further from the end than it is long.
    ///
    /// # Errors
    /// Returns a [`HistoryError`].
    ///
    /// # Cancel safety
    /// It is safe, because it changes nothing.
    fn recall(&self, recall: Recall) -> BoxFuture<'_, Result<Recalled, HistoryError>>;

    /// Returns whether it can be used, now and from now on.
    fn state(&self) -> watch::Receiver<HistoryState>;
}

/// A function that says where a payload lies: before what is wanted (`Less`), within (`Equal`) or behind (`Greater`).
/// In the order of publishing it must never go back. It says `None` where it cannot tell, as with a message of another
/// sequence, or a damaged one: such messages may lie before, between and behind those that can, and are passed over.
pub type Place = Arc<dyn Fn(&[u8]) -> Option<Ordering> + Send + Sync>;

/// The messages that are wanted.
#[derive(Clone)]
pub struct Recall {
    /// The subject; never a wildcard.
    pub subject: Subject,
    /// The function that tells what is wanted from its payload.
    pub place: Place,
    /// The cursor of the response before this one, so that its place is not searched for again; 0 at first.
    pub cursor: u64,
    /// The most messages in the response.
    pub messages_max: usize,
    /// The most bytes of payloads in the response, but always one message.
    pub bytes_max: usize,
}

impl fmt::Debug for Recall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recall")
            .field("subject", &self.subject)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

/// The messages that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recalled {
    /// The payloads.
    pub messages: Vec<Bytes>,
    /// Whether the limits ended it: request again from `cursor`.
    pub more: bool,
    /// The place behind the last message that was looked at.
    pub cursor: u64,
}

/// The state of a history: whether it can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryState {
    /// The state is not known yet.
    Checking,
    /// It was there when it was last looked at.
    Ready,
    /// It cannot be used; it is looked at again from time to time.
    Unavailable {
        /// The reason, and what to do, for people.
        reason: Arc<str>,
    },
}

impl fmt::Display for HistoryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checking => f.write_str("checking"),
            Self::Ready => f.write_str("ready"),
            Self::Unavailable { reason } => write!(f, "unavailable: {reason}"),
        }
    }
}

/// The reason why nothing could be looked up.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// The bus is not connected.
    #[error("the bus is down")]
    Down,
    /// There is no such history, or it does not answer such requests.
    #[error("there is no history: {0}")]
    Unavailable(Arc<str>),
}
