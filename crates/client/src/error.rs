//! The errors of a client: each says what went wrong, whose doing it is, and what to do about it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tickwire_wire::{CloseCode, Encoding, may_retry};

/// The reason why a connection did not come about.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL cannot be right.
    #[error("`{url}` is not a gateway's URL, as in `ws://127.0.0.1:7400/v1/stream`: {reason}")]
    BadUrl {
        /// The URL as it was given, without credentials.
        url: String,
        /// The fault in the URL.
        reason: String,
    },
    /// The URL asks for TLS, which this build does not speak.
    #[error(
        "`{url}` asks for TLS, and this program was built without TLS (feature `tls` of tickwire-client)"
    )]
    NoTls {
        /// The URL as it was given, without credentials.
        url: String,
    },
    /// The certificates of this client, or those that it is to trust, cannot be used.
    #[error("TLS cannot be set up: {reason}")]
    TlsSetup {
        /// The fault, and the remedy.
        reason: String,
    },
    /// Both ends did not agree on keys: the server's certificate is not trusted, it speaks no TLS, or it refused this client.
    #[error("{reason}")]
    Tls {
        /// The fault, with host and port, and the remedy.
        reason: String,
    },
    /// The list of URLs is empty.
    #[error("no URL was given")]
    NoUrl,
    /// The machine is there, and no program listens at the port.
    #[error(
        "nothing listens at {address}: start a gateway (`tickwire demo --listen {address}`) or mend the URL"
    )]
    Refused {
        /// Host and port.
        address: String,
    },
    /// The network or the name service failed.
    #[error("{address} cannot be reached: {source}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// The error of the operating system.
        source: Arc<io::Error>,
    },
    /// Connection, handshake and `Hello` took too long; see [`crate::Builder::connect_timeout`].
    #[error("{address} did not complete the handshake within {}", seconds(*.waited))]
    TimedOut {
        /// Host and port.
        address: String,
        /// The time that the client waited.
        waited: Duration,
    },
    /// The server refused the WebSocket handshake.
    #[error("{address} answered with HTTP status {status} and not 101: {body}")]
    Status {
        /// Host and port.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The text of the server's response, 2,048 bytes at most.
        body: String,
        /// The time that the server asks to wait.
        retry_after: Option<Duration>,
    },
    /// Something else than a gateway listens there.
    #[error("{address} is no Tickwire gateway: {reason}")]
    NotAGateway {
        /// Host and port.
        address: String,
        /// The thing it did that a gateway does not do.
        reason: String,
    },
    /// The server does not speak the encoding that was asked for.
    #[error("{address} was asked for the subprotocol `{}` and chose {}", .asked.subprotocol(), chosen(.got.as_ref()))]
    Subprotocol {
        /// Host and port.
        address: String,
        /// The encoding whose subprotocol was asked for.
        asked: Encoding,
        /// The subprotocol that the server chose, if any.
        got: Option<String>,
    },
    /// Gateway and client have no version of the protocol in common.
    #[error("{address} speaks version {theirs} of the protocol, this build version {ours}")]
    Version {
        /// Host and port.
        address: String,
        /// The version of this build.
        ours: u32,
        /// The version of the gateway.
        theirs: u32,
    },
    /// There is no token to connect with.
    #[error("no token: {reason}")]
    Token {
        /// The words of the provider, or what is wrong with the token.
        reason: Arc<str>,
    },
    /// The gateway closed the session before its `Hello`.
    #[error("{address} ended the session at once: {}", closed(*.code, .text))]
    Closed {
        /// Host and port.
        address: String,
        /// The close code; `None` where there was no close frame.
        code: Option<u16>,
        /// The text beside the code.
        text: String,
    },
}

impl ConnectError {
    /// The same attempt may succeed later, without a change to this program.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::BadUrl { .. }
            | Self::NoTls { .. }
            | Self::TlsSetup { .. }
            | Self::NoUrl
            | Self::Subprotocol { .. }
            | Self::Version { .. } => false,
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut { .. }
            // A certificate is renewed without this program's doing.
            | Self::Tls { .. }
            | Self::Token { .. }
            | Self::NotAGateway { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            Self::Closed { code, .. } => code.is_none_or(may_retry),
        }
    }

    /// Returns the time that the gateway asked to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Closed { code, .. } => close_retry_after(*code),
            _ => None,
        }
    }
}

/// The reason why there is no connection now.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Disconnect {
    /// The last attempt to connect failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The gateway ended the session.
    #[error("closed by the gateway: {}", closed(*.code, .text))]
    Closed {
        /// The close code; `None` where the connection ended without a close frame.
        code: Option<u16>,
        /// The text beside the code.
        text: String,
    },
    /// Reading from the connection or writing to it failed.
    #[error("the connection broke: {0}")]
    Broken(Arc<io::Error>),
    /// Nothing came for two heartbeats.
    #[error("not a byte for {}, although a living gateway says something twice in that time", seconds(*.silence))]
    Mute {
        /// The time in which nothing came.
        silence: Duration,
    },
    /// The gateway did not take the next token of the session, because it ended already.
    #[error("the next token of the session was refused: {message}")]
    TokenRefused {
        /// The gateway's words.
        message: String,
    },
    /// The gateway sent what the protocol does not allow.
    #[error("the gateway broke the protocol: {0}")]
    Protocol(String),
}

impl Disconnect {
    /// Reconnecting makes sense.
    pub fn may_retry(&self) -> bool {
        match self {
            Self::Connect(error) => error.may_retry(),
            Self::Closed { code, .. } => code.is_none_or(may_retry),
            Self::Broken(_) | Self::Mute { .. } | Self::TokenRefused { .. } | Self::Protocol(_) => true,
        }
    }

    /// Returns whether the token is the reason.
    pub(crate) fn is_token_refused(&self) -> bool {
        match self {
            Self::Connect(ConnectError::Status { status, .. }) => *status == 401,
            // As 401 is for tokens in headers, these are for those in first messages.
            Self::Connect(ConnectError::Closed { code: Some(code), .. }) => {
                [CloseCode::TokenExpired, CloseCode::Unauthorized, CloseCode::Revoked]
                    .iter()
                    .any(|refused| refused.code() == *code)
            }
            Self::Closed { code: Some(code), .. } => *code == CloseCode::TokenExpired.code(),
            Self::TokenRefused { .. } => true,
            _ => false,
        }
    }

    /// Returns the time that the gateway asked to wait, by the table of close codes or by `Retry-After`.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Connect(error) => error.retry_after(),
            Self::Closed { code, .. } => close_retry_after(*code),
            _ => None,
        }
    }
}

/// The reason why a command had no outcome. Refusals of single symbols are no errors, they are in the outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The client was dropped, or makes no further attempt to connect.
    #[error("the client has ended")]
    Ended,
    /// The command was sent, or waited to be sent, when the connection was lost.
    #[error("the connection was lost before the response came")]
    Disconnected,
    /// The gateway did not answer in time, or nobody called [`crate::Client::next`].
    #[error("no response within {}", seconds(*.waited))]
    TimedOut {
        /// The time that the command was waited for.
        waited: Duration,
    },
    /// The gateway did not take the command as a whole.
    #[error("the gateway refused the command ({code}): {message}")]
    Rejected {
        /// The gateway's code, as in the table of `docs/protocol.md`.
        code: String,
        /// The gateway's words.
        message: String,
    },
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
