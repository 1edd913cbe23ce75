//! The reasons why a client is not let in, or not with what it showed.

use tickwire_core::engine::TokenRefused;
use tickwire_wire::CloseCode;

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// The reason why a client is not let in. No reason holds any part of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// Nothing was shown.
    Missing,
    /// The text that was shown is neither a token nor an API key.
    Malformed,
    /// It is longer than any that is read.
    TooLong,
    /// It came in the URL, where none is taken.
    InUrl,
    /// It was shown in two places that do not agree, or twice.
    Twice,
    /// This gateway has no keys for tokens.
    NoKeys,
    /// The token names a key that this gateway does not have.
    UnknownKey,
    /// No key that fits is of the algorithm that the token names.
    Algorithm,
    /// The signature is of none of the keys that fit.
    Signature,
    /// The token ended.
    Expired {
        /// The seconds since then.
        since_s: u64,
    },
    /// The token does not count yet.
    NotYet {
        /// The seconds until then.
        in_s: u64,
    },
    /// The token has no end, or lives longer than this gateway allows.
    LivesTooLong {
        /// The most seconds.
        max_s: u64,
    },
    /// The token is of another issuer.
    Issuer,
    /// The token is for somebody else.
    Audience,
    /// A claim is missing or wrong.
    Claims(String),
    /// The token grants nothing here.
    GrantsNothing,
    /// The token was revoked, or issued before its owner's tokens were.
    Revoked,
    /// Nobody has this API key.
    UnknownApiKey,
    /// The encoding is not among those that the token allows.
    Encoding(&'static str),
    /// Its owner has as many sessions as it may.
    Sessions {
        /// The most sessions.
        max: u32,
    },
    /// Too many tokens are verified at the same time.
    Busy,
    /// The token is of another subject than the open session that hands it in.
    Subject,
}

impl Denied {
    /// Every word that [`Denied::reason`] returns, for metrics.
    pub const REASONS: [&'static str; 22] = [
        "missing",
        "malformed",
        "too_long",
        "in_url",
        "twice",
        "no_keys",
        "unknown_key",
        "algorithm",
        "signature",
        "expired",
        "not_yet",
        "lives_too_long",
        "issuer",
        "audience",
        "claims",
        "grants_nothing",
        "revoked",
        "unknown_api_key",
        "encoding",
        "sessions",
        "busy",
        "subject",
    ];

    /// Returns the place of its word in [`Denied::REASONS`].
    pub fn place(&self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Malformed => 1,
            Self::TooLong => 2,
            Self::InUrl => 3,
            Self::Twice => 4,
            Self::NoKeys => 5,
            Self::UnknownKey => 6,
            Self::Algorithm => 7,
            Self::Signature => 8,
            Self::Expired { .. } => 9,
            Self::NotYet { .. } => 10,
            Self::LivesTooLong { .. } => 11,
            Self::Issuer => 12,
            Self::Audience => 13,
            Self::Claims(_) => 14,
            Self::GrantsNothing => 15,
            Self::Revoked => 16,
            Self::UnknownApiKey => 17,
            Self::Encoding(_) => 18,
            Self::Sessions { .. } => 19,
            Self::Busy => 20,
            Self::Subject => 21,
        }
    }

    /// Returns a word for it, as metrics and logs use it.
    pub fn reason(&self) -> &'static str {
        Self::REASONS[self.place()]
    }

    /// Returns the words for the client: what is wrong and what to do.
    pub fn message(&self) -> String {
        match self {
            Self::Missing => "a token is needed: send `Authorization: Bearer TOKEN`, or the subprotocol \
                              `tickwire.token.BASE64URL` beside the encoding, or connect to \
                              /v1/stream?auth=message and send the command `token` first"
                .to_owned(),
            Self::Malformed => "what was shown is neither a JSON Web Token nor an API key".to_owned(),
            Self::TooLong => format!("the token is longer than {TOKEN_BYTES_MAX} bytes"),
            Self::InUrl => "tokens are not taken from the URL here (gateway.auth.token_in_url); send \
                            `Authorization: Bearer TOKEN`"
                .to_owned(),
            Self::Twice => "a token was shown in more than one place; show it once".to_owned(),
            Self::NoKeys => "this gateway has no keys for tokens; ask its operator for an API key".to_owned(),
            Self::UnknownKey => {
                "the token names a key (`kid`) that this gateway does not have; get a new token".to_owned()
            }
            Self::Algorithm => {
                "the token is signed by an algorithm that none of this gateway's keys is for".to_owned()
            }
            Self::Signature => "the signature of the token does not fit".to_owned(),
            Self::Expired { since_s } => format!("the token ended {since_s} s ago; get a new one"),
            Self::NotYet { in_s } => {
                format!("the token counts in {in_s} s; look at the clocks of both machines")
            }
            Self::LivesTooLong { max_s } => format!(
                "the token has to end (`exp`) within {max_s} s from now (gateway.auth.token_life_max_s)"
            ),
            Self::Issuer => "the token is of an issuer (`iss`) that this gateway does not trust".to_owned(),
            Self::Audience => "the token is not meant for this gateway (`aud`)".to_owned(),
            Self::Claims(why) => format!("the claims of the token cannot be used: {why}"),
            Self::GrantsNothing => {
                "the token grants nothing here: it has no claim `tickwire` with `grants`".to_owned()
            }
            Self::Revoked => "the token was revoked; sign in again".to_owned(),
            Self::UnknownApiKey => "nobody has this API key".to_owned(),
            Self::Encoding(name) => {
                format!("the token does not allow the encoding `{name}`; ask for another subprotocol")
            }
            Self::Sessions { max } => {
                format!("its owner may have {max} sessions at the same time; close one of them")
            }
            Self::Busy => "too many tokens are verified at the same time; retry".to_owned(),
            Self::Subject => {
                "this token is of another subject than the session's; open a session of its own".to_owned()
            }
        }
    }

    /// Returns the HTTP status of a handshake that is refused for it.
    pub fn status(&self) -> u16 {
        match self {
            Self::GrantsNothing | Self::Encoding(_) => 403,
            Self::Sessions { .. } => 429,
            Self::Busy => 503,
            _ => 401,
        }
    }

    /// Returns the `error` of the header `WWW-Authenticate` (RFC 6750, section 3.1): none where nothing was shown.
    pub fn bearer_error(&self) -> Option<&'static str> {
        match self {
            Self::Missing => None,
            Self::Twice | Self::InUrl => Some("invalid_request"),
            Self::GrantsNothing | Self::Encoding(_) => Some("insufficient_scope"),
            _ => Some("invalid_token"),
        }
    }

    /// Returns what a session is told that handed in such a token.
    pub fn refusal(&self) -> TokenRefused {
        let (code, closes) = match self {
            Self::Expired { .. } => ("token_expired", Some(CloseCode::TokenExpired)),
            Self::Busy | Self::UnknownKey | Self::Sessions { .. } => ("token_busy", None),
            Self::Revoked => ("token_refused", Some(CloseCode::Revoked)),
            _ => ("token_refused", Some(CloseCode::Unauthorized)),
        };
        TokenRefused { code, message: self.message(), closes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_word_and_words_for_a_header() {
        let all = [
            Denied::Missing,
            Denied::Malformed,
            Denied::TooLong,
            Denied::InUrl,
            Denied::Twice,
            Denied::NoKeys,
            Denied::UnknownKey,
            Denied::Algorithm,
            Denied::Signature,
            Denied::Expired { since_s: 5 },
            Denied::NotYet { in_s: 5 },
            Denied::LivesTooLong { max_s: 5 },
            Denied::Issuer,
            Denied::Audience,
            Denied::Claims("x".to_owned()),
            Denied::GrantsNothing,
            Denied::Revoked,
            Denied::UnknownApiKey,
            Denied::Encoding("json"),
            Denied::Sessions { max: 5 },
            Denied::Busy,
            Denied::Subject,
        ];
        assert_eq!(all.len(), Denied::REASONS.len());
        for (place, denied) in all.iter().enumerate() {
            assert_eq!(denied.place(), place, "{}", denied.reason());
            let message = denied.message();
            assert!(message.is_ascii() && !message.contains(['"', '\\', '\n']), "{message}");
        }
    }
}
