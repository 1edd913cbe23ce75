//! What can go wrong, whose doing it is, and what to do about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tickwire_wire::{CloseCode, Encoding, may_retry};

/// Why a connection did not come about.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum ConnectError {
    #[error("`{url}` is not a gateway's URL, as in `ws://127.0.0.1:7400/v1/stream`: {reason}")]
    BadUrl { url: String, reason: String },
    #[error("`{url}` asks for TLS: TLS comes later, use `ws://` for now")]
    TlsLater { url: String },
    #[error("no URL was given")]
    NoUrl,
    #[error(
        "nothing listens at {address}: start a gateway (`tickwire demo --listen {address}`) or mend the URL"
    )]
    Refused { address: String },
    #[error("{address} cannot be reached: {source}")]
    Unreachable { address: String, source: Arc<io::Error> },
    #[error("{address} did not complete the handshake within {}", seconds(*.waited))]
    TimedOut { address: String, waited: Duration },
    #[error("{address} answered with HTTP status {status} and not 101: {body}")]
    Status { address: String, status: u16, body: String, retry_after: Option<Duration> },
    #[error("{address} is no Tickwire gateway: {reason}")]
    NotAGateway { address: String, reason: String },
    #[error("{address} was asked for the subprotocol `{}` and chose {}", .asked.subprotocol(), chosen(.got.as_ref()))]
    Subprotocol { address: String, asked: Encoding, got: Option<String> },
    #[error("{address} speaks version {theirs} of the protocol, this build version {ours}")]
    Version { address: String, ours: u32, theirs: u32 },
    #[error("{address} ended the session at once: {}", closed(*.code, .text))]
    Closed { address: String, code: Option<u16>, text: String },
}

impl ConnectError {
    /// The same attempt may succeed later, without a change to this program.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::BadUrl { .. }
            | Self::TlsLater { .. }
            | Self::NoUrl
            | Self::Subprotocol { .. }
            | Self::Version { .. } => false,
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::NotAGateway { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Closed { code, .. } => code.is_none_or(may_retry),
        }
    }

    /// What the gateway asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Closed { code, .. } => close_retry_after(*code),
            _ => None,
        }
    }
}

/// Why there is no connection now.
#[derive(Clone, Debug, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum Disconnect {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("closed by the gateway: {}", closed(*.code, .text))]
    Closed { code: Option<u16>, text: String },
    #[error("the connection broke: {0}")]
    Broken(Arc<io::Error>),
    #[error("not a byte for {}, although a living gateway says something twice in that time", seconds(*.silence))]
    Mute { silence: Duration },
    #[error("the gateway broke the protocol: {0}")]
    Protocol(String),
}

impl Disconnect {
    /// Reconnecting makes sense.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Connect(error) => error.may_retry(),
            Self::Closed { code, .. } => code.is_none_or(may_retry),
            Self::Broken(_) | Self::Mute { .. } | Self::Protocol(_) => true,
        }
    }

    /// What the gateway asked to wait, by the table of close codes or by `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connect(error) => error.retry_after(),
            Self::Closed { code, .. } => close_retry_after(*code),
            _ => None,
        }
    }
}

/// Why a command had no outcome. Refusals of single symbols are no errors, they are in the outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
#[non_exhaustive]
pub enum CommandError {
    #[error("the client has ended")]
    Ended,
    #[error("the connection was lost before the answer came")]
    Disconnected,
    #[error("no answer within {}", seconds(*.waited))]
    TimedOut { waited: Duration },
    #[error("the gateway refused the command ({code}): {message}")]
    Rejected { code: String, message: String },
}

fn close_retry_after(code: Option<u16>) -> Option<Duration> {
    code.and_then(CloseCode::from_code).and_then(CloseCode::retry_after)
}

fn closed(code: Option<u16>, text: &str) -> String {
    match (code, text) {
        (None, _) => "without a close code".to_owned(),
        (Some(code), "") => format!("code {code}"),
        (Some(code), text) => format!("code {code}, {text}"),
    }
}

fn chosen(got: Option<&String>) -> String {
    got.map_or_else(|| "none".to_owned(), |name| format!("`{name}`"))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
