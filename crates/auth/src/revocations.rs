//! Revocations: tokens that count no more although they did not end yet.
//!
//! One is of a token (`jti`), or of all tokens of a subject (`sub`) that were issued before a time. The latter lets newer tokens
//! in, so a rotation kicks nobody who has one, and an older token does not come straight back. Each is kept until no token that
//! it is about can count any more; `keep` is the longest life of a token that a gateway takes, with its leeway.
//!
//! They travel as JSON, as lists that whoever hears them adds to its own: an order or a repeat changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tickwire_core::engine::Principal;

/// The most revocations that are kept; beyond them the ones go that would be forgotten first.
const KEPT_MAX: usize = 65_536;
/// The longest id or subject, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// The most revocations in one message.
const IN_MESSAGE_MAX: usize = 512;

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

    /// Returns the time from which on no token that it is about counts anyway, in seconds.
    fn until(&self, keep: Duration) -> u64 {
        let (Self::Token { at, .. } | Self::Subject { not_before: at, .. }) = self;
        at.saturating_add(keep.as_secs())
    }
}

/// The revocations that are kept.
#[derive(Clone, Debug)]
pub struct Revocations {
    keep: Duration,
    /// When each was revoked, by its id.
    tokens: HashMap<String, u64>,
    /// The time before which tokens count no more, by subject.
    subjects: HashMap<String, u64>,
}

impl Revocations {
    /// Begins without any. `keep` is the longest life of a token with the leeway.
    pub fn new(keep: Duration) -> Self {
        Self { keep, tokens: HashMap::new(), subjects: HashMap::new() }
    }

    /// Adds one. Returns whether it says something new that still matters at `now_s`.
    pub fn add(&mut self, revocation: &Revocation, now_s: u64) -> bool {
        if revocation.until(self.keep) <= now_s {
            return false;
        }
        // Somebody else's clock must not keep one for ever.
        let latest = now_s.saturating_add(self.keep.as_secs());
        let (known, text, at) = match revocation {
            Revocation::Token { jti, at } => (&mut self.tokens, jti, (*at).min(latest)),
            Revocation::Subject { sub, not_before } => (&mut self.subjects, sub, (*not_before).min(latest)),
        };
        let is_new = known.get(text).is_none_or(|before| *before < at);
        if is_new {
            known.insert(text.clone(), at);
            self.make_room(now_s);
        }
        is_new
    }

    /// Returns whether a principal's token counts no more.
    pub fn covers(&self, principal: &Principal) -> bool {
        let id = principal.credential.id.as_ref();
        let before = self.subjects.get(&principal.name).copied().unwrap_or_default();
        id.is_some_and(|id| self.tokens.contains_key(id))
            || principal.credential.issued < before.saturating_mul(1_000_000_000)
    }

    /// Forgets those that matter no more.
    pub fn sweep(&mut self, now_s: u64) {
        let keep = self.keep.as_secs();
        for known in [&mut self.tokens, &mut self.subjects] {
            known.retain(|_, at| at.saturating_add(keep) > now_s);
        }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.tokens.len() + self.subjects.len()
    }

    /// Returns all of them, in messages of a bounded size.
    pub fn messages(&self) -> Vec<RevocationMessage> {
        let tokens = self.tokens.iter().map(|(jti, at)| Revocation::Token { jti: jti.clone(), at: *at });
        let subjects = self
            .subjects
            .iter()
            .map(|(sub, not_before)| Revocation::Subject { sub: sub.clone(), not_before: *not_before });
        let all: Vec<_> = tokens.chain(subjects).collect();
        all.chunks(IN_MESSAGE_MAX)
            .map(|part| RevocationMessage { revocations: part.to_vec(), ..RevocationMessage::default() })
            .collect()
    }

    fn make_room(&mut self, now_s: u64) {
        if self.count() <= KEPT_MAX {
            return;
        }
        self.sweep(now_s);
        if self.count() > KEPT_MAX {
            let known =
                if self.tokens.len() >= self.subjects.len() { &mut self.tokens } else { &mut self.subjects };
            let oldest = known.iter().min_by_key(|(_, at)| **at).map(|(text, _)| text.clone());
            if let Some(oldest) = oldest {
                known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickwire_core::engine::Credential;

    const KEEP: Duration = Duration::from_secs(1_000);

    fn principal(name: &str, id: Option<&str>, issued_s: u64) -> Principal {
        let credential =
            Credential { id: id.map(str::to_owned), issued: issued_s * 1_000_000_000, ..Credential::NONE };
        Principal { name: name.to_owned(), credential, ..Principal::clone(&Principal::anonymous()) }
    }

    fn token(jti: &str, at: u64) -> Revocation {
        Revocation::Token { jti: jti.to_owned(), at }
    }

    fn subject(sub: &str, not_before: u64) -> Revocation {
        Revocation::Subject { sub: sub.to_owned(), not_before }
    }

    #[test]
    fn a_token_and_all_older_ones_of_a_subject() {
        let mut known = Revocations::new(KEEP);
        assert!(known.add(&token("t1", 5_000), 5_000));
        assert!(known.add(&subject("desk", 5_000), 5_000));
        assert!(!known.add(&subject("desk", 4_900), 5_000), "the later one stands");
        assert!(known.covers(&principal("other", Some("t1"), 9_000)));
        assert!(!known.covers(&principal("other", Some("t2"), 0)));
        assert!(known.covers(&principal("desk", Some("t2"), 4_999)));
        assert!(!known.covers(&principal("desk", Some("t2"), 5_000)), "a rotation kicks nobody");
        for revocation in [token("t1", 0), subject("desk", 5_000)] {
            for one in [principal("desk", Some("t1"), 1), principal("desk", Some("t1"), 6_000)] {
                let mut alone = Revocations::new(Duration::MAX);
                alone.add(&revocation, 0);
                assert_eq!(revocation.covers(&one), alone.covers(&one), "{revocation:?} {one:?}");
            }
        }
        assert!(!subject("", 9).covers(&Principal::awaited(5)), "who is not known yet is nobody's");
    }

    #[test]
    fn each_is_kept_as_long_as_it_matters() {
        let mut known = Revocations::new(KEEP);
        assert!(!known.add(&token("old", 3_999), 5_000));
        known.add(&token("t1", 4_500), 5_000);
        known.add(&subject("desk", 5_000), 5_000);
        known.sweep(5_499);
        assert_eq!(known.count(), 2);
        known.sweep(5_500);
        assert_eq!(known.count(), 1);
        // A clock that is far ahead keeps one no longer than one of ours.
        known.add(&subject("later", u64::MAX), 5_000);
        known.sweep(7_000);
        assert_eq!(known.count(), 0);
    }

    #[test]
    fn they_travel_and_are_bounded() {
        let mut known = Revocations::new(KEEP);
        for at in 0..2_000_u64 {
            known.add(&token(&format!("t{at}"), 5_000), 5_000);
        }
        let mut other = Revocations::new(KEEP);
        for message in known.messages() {
            assert!(message.revocations.len() <= IN_MESSAGE_MAX);
            for revocation in RevocationMessage::parse(&message.encode()).unwrap().revocations {
                assert!(other.add(&revocation, 5_000));
            }
        }
        assert_eq!(other.tokens, known.tokens);
        let text = br#"{"revocations":[{"subject":{"sub":"desk","not_before":7}}],"asks":true}"#;
        let read = RevocationMessage::parse(text).unwrap();
        let expected =
            RevocationMessage { revocations: vec![subject("desk", 7)], asks: true, is_whole: false };
        assert_eq!(read, expected);
        let whole = RevocationMessage { is_whole: true, ..RevocationMessage::default() };
        assert_eq!(RevocationMessage::parse(&whole.encode()), Ok(whole));
        for wrong in [&b"5"[..], b"{", br#"{"revocations":[{"token":{"jti":"","at":1}}]}"#] {
            assert!(RevocationMessage::parse(wrong).is_err());
        }
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many() {
        let mut known = Revocations::new(KEEP);
        for at in 0..=KEPT_MAX {
            known.add(&token(&at.to_string(), 5_000 + at as u64 % 2), 5_001);
        }
        assert_eq!(known.count(), KEPT_MAX);
    }
}
