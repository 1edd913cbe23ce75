//! One revocation, and the messages in which gateways and the command line tell each other of them.
//!
//! They travel as JSON, as lists that whoever hears them adds to its own: an order or a repeat changes nothing.

use serde::{Deserialize, Serialize};
use tickwire_core::engine::Principal;

/// The longest id or subject, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// One revocation. Times are seconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Revocation {
    /// One token.
    Token {
        /// Its id.
        jti: String,
        /// When it was revoked.
        at: u64,
    },
    /// All tokens of a subject that were issued before a time.
    Subject {
        /// The subject.
        sub: String,
        /// Tokens that were issued before this time count no more.
        not_before: u64,
    },
}

/// A message that gateways and the command line tell each other on the subject of revocations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RevocationMessage {
    /// The revocations.
    pub revocations: Vec<Revocation>,
    /// The sender began just now: whoever knows others tells them.
    pub asks: bool,
    /// These are of API keys, which have no end: whoever hears of them keeps them, whether it has such a key or not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub of_api_keys: bool,
    /// The last message of a response: with those before, it has all that the sender knows, who is one that knows all.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_whole: bool,
}

impl RevocationMessage {
    /// Reads a message. What is in it is checked.
    ///
    /// # Errors
    /// Says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let message: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let is_sound = |revocation: &Revocation| {
            let (Revocation::Token { jti: text, .. } | Revocation::Subject { sub: text, .. }) = revocation;
            !text.is_empty() && text.len() <= TEXT_BYTES_MAX
        };
        if message.revocations.iter().all(is_sound) {
            Ok(message)
        } else {
            Err(format!("an id or a subject has not 1 to {TEXT_BYTES_MAX} bytes"))
        }
    }

    /// Returns its bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl Revocation {
    /// Returns whether a principal's token counts no more.
    pub fn covers(&self, principal: &Principal) -> bool {
        match self {
            Self::Token { jti, .. } => principal.credential.id.as_deref() == Some(jti.as_str()),
            Self::Subject { sub, not_before } => {
                !principal.credential.is_awaited
                    && principal.name == *sub
                    && principal.credential.issued < not_before.saturating_mul(1_000_000_000)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let text = br#"{"revocations":[{"subject":{"sub":"desk","not_before":7}}],"asks":true}"#;
        let desk = Revocation::Subject { sub: "desk".to_owned(), not_before: 7 };
        let expected =
            RevocationMessage { revocations: vec![desk], asks: true, ..RevocationMessage::default() };
        assert_eq!(RevocationMessage::parse(text).as_ref(), Ok(&expected));
        for message in [
            RevocationMessage { is_whole: true, ..RevocationMessage::default() },
            RevocationMessage { of_api_keys: true, ..expected },
        ] {
            assert_eq!(RevocationMessage::parse(&message.encode()), Ok(message));
        }
        for wrong in [&b"5"[..], b"{", br#"{"revocations":[{"token":{"jti":"","at":1}}]}"#] {
            assert!(RevocationMessage::parse(wrong).is_err());
        }
        let nobody = Revocation::Subject { sub: String::new(), not_before: 9 };
        assert!(!nobody.covers(&Principal::awaited(5)), "who is not known yet is nobody's");
    }
}
