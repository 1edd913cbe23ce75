//! The close codes: a public table of why a gateway ends a session.
//!
//! Codes below 4000 are those of WebSocket itself (RFC 6455, section 7.4.1): the client broke a rule of that layer, or the gateway goes
//! away. Codes from 4000 on are for rules of our own protocol: 4000 to 4499 may reconnect; 4500 to 4999 must not, because the same would happen again.

use std::time::Duration;

/// A close code with everything that the table says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The gateway is being shut down or replaced.
    Draining,
    /// The gateway failed in a way that is not the client's doing.
    Internal,
    /// The gateway holds as many sessions as it may.
    Full,
    /// The client reads too slowly, or nothing at all for too long.
    SlowConsumer,
    /// The client did not answer pings.
    Silent,
    /// The client began a message and did not end it in time.
    Unfinished,
    /// The client broke the rules of WebSocket.
    Protocol,
    /// Text of the client was not UTF-8.
    NotUtf8,
    /// A message was larger than the limit in `Hello`.
    TooLarge,
    /// The client kept sending commands faster than the limit in `Hello`.
    Flood,
    /// The token of the session ended, and no other one came in time.
    TokenExpired,
    /// The session was opened without a token, and none that counts came in time.
    Unauthorized,
    /// The token of the session, or all of its owner's up to a time, were revoked.
    Revoked,
}

impl CloseCode {
    /// The whole table of close codes.
    pub const ALL: [Self; 13] = [
        Self::Draining,
        Self::Protocol,
        Self::NotUtf8,
        Self::TooLarge,
        Self::Internal,
        Self::Full,
        Self::SlowConsumer,
        Self::Silent,
        Self::Unfinished,
        Self::Flood,
        Self::TokenExpired,
        Self::Unauthorized,
        Self::Revoked,
    ];

    /// Returns the number in the close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::Draining => 1001,
            Self::Internal => 4001,
            Self::Full => 4002,
            Self::SlowConsumer => 4408,
            Self::Silent => 4410,
            Self::Unfinished => 4411,
            Self::Protocol => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
            Self::Flood => 4502,
            Self::TokenExpired => 4401,
            Self::Unauthorized => 4503,
            Self::Revoked => 4504,
        }
    }

    /// Returns the name of this number.
    pub fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }

    /// Returns a word for it, as metrics and logs use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Internal => "internal",
            Self::Full => "full",
            Self::SlowConsumer => "slow_consumer",
            Self::Silent => "silent",
            Self::Unfinished => "unfinished",
            Self::Protocol => "protocol",
            Self::NotUtf8 => "not_utf8",
            Self::TooLarge => "too_large",
            Self::Flood => "flood",
            Self::TokenExpired => "token_expired",
            Self::Unauthorized => "unauthorized",
            Self::Revoked => "revoked",
        }
    }

    /// Returns the text in the close frame: what happened and what to do. It has 123 bytes at most, as a close frame
    /// allows.
    pub fn text(self) -> &'static str {
        match self {
            Self::Draining => "draining: the gateway is going away; reconnect",
            Self::Internal => "internal: the gateway failed; reconnect",
            Self::Full => "full: too many sessions here; reconnect later or elsewhere",
            Self::SlowConsumer => "slow consumer: read faster, subscribe to less, or ask for a lower rate",
            Self::Silent => "silent: pings were not answered",
            Self::Unfinished => "unfinished: a message was begun and its end did not come in time",
            Self::Protocol => {
                "protocol: a frame broke the rules of WebSocket; mend the client before it reconnects"
            }
            Self::NotUtf8 => "not UTF-8: text has to be; send other bytes in binary messages",
            Self::TooLarge => "too large: a command exceeded limits.command_bytes; split it",
            Self::Flood => {
                "flood: commands exceeded limits.commands_per_second; batch symbols in one command"
            }
            Self::TokenExpired => "token expired: reconnect with a new token",
            Self::Unauthorized => "unauthorized: no token that counts came in time; send one that does",
            Self::Revoked => "revoked: this token counts no more; sign in again",
        }
    }

    /// Returns whether reconnecting makes sense.
    pub fn may_retry(self) -> bool {
        may_retry(self.code())
    }

    /// Returns how long to wait at least before reconnecting, unless a `Notice` said otherwise.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Draining => Some(Duration::ZERO),
            Self::Internal | Self::SlowConsumer | Self::Silent | Self::Unfinished | Self::TokenExpired => {
                Some(Duration::from_secs(1))
            }
            Self::Full => Some(Duration::from_secs(5)),
            Self::Protocol
            | Self::NotUtf8
            | Self::TooLarge
            | Self::Flood
            | Self::Unauthorized
            | Self::Revoked => None,
        }
    }
}

/// The codes of WebSocket and of its registry that say that the same would happen again: a rule was broken (1002), data of a kind
/// that is not taken (1003), text that is not UTF-8 (1007), a policy (1008), too much (1009), an extension that is missing (1010).
const FINAL: [u16; 6] = [1002, 1003, 1007, 1008, 1009, 1010];

/// Returns whether a session that was closed with this code may be opened again, for codes that this build does not
/// know too.
pub fn may_retry(code: u16) -> bool {
    !(4500..5000).contains(&code) && !FINAL.contains(&code)
}
