//! The inputs of the driver, and its outputs.

use std::time::Duration;

use bytes::Bytes;

use super::requests::RequestId;
use crate::venue::LinkId;

/// A thing that happened.
#[derive(Debug)]
pub enum Input<'i> {
    /// A connection is open.
    Opened {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
    },
    /// A message came.
    Message {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
        /// The text.
        text: &'i str,
    },
    /// The venue sent a ping.
    Ping {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
        /// The payload, which the pong repeats.
        payload: Bytes,
    },
    /// The venue sent a pong.
    Pong {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
    },
    /// A connection ended, or did not come about.
    Closed {
        /// The connection.
        link: LinkId,
        /// The attempt that it was.
        attempt: u64,
        /// The reason, for people.
        reason: String,
        /// The wait that the venue demands.
        retry_after: Option<Duration>,
    },
    /// A request has its response, or a reason why there is none.
    Response {
        /// The request.
        request: RequestId,
        /// The response.
        outcome: Result<Response, String>,
    },
}

/// A response of the venue's REST service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status of HTTP.
    pub status: u16,
    /// The wait that the venue demands.
    pub retry_after: Option<Duration>,
    /// The weight that the venue counted in the period that runs.
    pub used_weight: Option<u32>,
    /// The body.
    pub body: String,
}

/// A thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Opens a connection.
    Connect {
        /// The connection.
        link: LinkId,
        /// The attempt.
        attempt: u64,
        /// The URL.
        url: String,
    },
    /// Sends a message.
    Send {
        /// The connection.
        link: LinkId,
        /// The text.
        text: String,
    },
    /// Sends a ping.
    Ping {
        /// The connection.
        link: LinkId,
    },
    /// Answers a ping.
    Pong {
        /// The connection.
        link: LinkId,
        /// The payload of the ping.
        payload: Bytes,
    },
    /// Ends a connection; nothing that comes of it is taken any more.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Asks the REST service.
    Fetch {
        /// The request.
        request: RequestId,
        /// The URL.
        url: String,
    },
    /// Gives up a request: nobody wants its response any more.
    Abandon {
        /// The request.
        request: RequestId,
    },
}

/// The counts since a driver began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts to connect.
    pub connects: u64,
    /// Connections that were open and ended.
    pub losses: u64,
    /// Commands that were sent.
    pub commands: u64,
    /// Refusals of topics; one that is refused again counts again.
    pub refused_topics: u64,
    /// Topics that were subscribed to anew, because their book is broken.
    pub renewed_topics: u64,
    /// Connections that were given up because a sequence number of theirs was missing.
    pub incomplete_connections: u64,
    /// Topics that were granted and brought nothing within their time.
    pub silent_topics: u64,
    /// Requests that were sent.
    pub requests: u64,
    /// Responses that said "too many requests".
    pub bans: u64,
    /// Snapshots that helped no book.
    pub unused_snapshots: u64,
    /// Messages that could not be read.
    pub unreadable: u64,
}
