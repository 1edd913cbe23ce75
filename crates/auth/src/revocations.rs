//! Revocations that are kept: tokens and API keys that count no more although they did not end yet.
//!
//! One is of a token (`jti`), or of all tokens of a subject (`sub`) that were issued before a time. The latter lets newer tokens
//! in, so a rotation kicks nobody who has one, and an older token does not come straight back. Each is kept until nothing that
//! it is about can count any more. For tokens that is the longest life of one that a gateway takes, with its leeway (`keep`).
//! An API key has no end, so what is about one is kept for good: the id of a key, and a subject that had a key here.
//!
//! Both kinds have their own bound, so that revoked tokens, however many they are, push out none of a key. What is pushed out
//! while it mattered is counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use tickwire_core::engine::Principal;

use crate::api_keys::is_key_id;
use crate::revocation::{Revocation, RevocationMessage};

/// The most revocations of each kind that are kept; beyond them the oldest ones go.
const KEPT_MAX: usize = 65_536;
/// The most revocations in one message.
const IN_MESSAGE_MAX: usize = 512;

/// The revocations that are kept.
#[derive(Clone, Debug)]
pub struct Revocations {
    keep: Duration,
    /// Those of tokens only, which end.
    ending: Set,
    /// Those of API keys. They may be of tokens, too.
    of_keys: Set,
}

/// The counts of revocations that had no room although they still mattered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostRevocations {
    /// Those of tokens.
    pub tokens: u64,
    /// Those of API keys.
    pub api_keys: u64,
}

/// Some of them. Nothing is in both sets.
#[derive(Clone, Debug, Default)]
struct Set {
    /// When each was revoked, by its id.
    ids: HashMap<String, u64>,
    /// The time before which tokens count no more, by subject.
    subjects: HashMap<String, u64>,
    lost: u64,
}

impl Set {
    fn of(&mut self, revocation: &Revocation) -> &mut HashMap<String, u64> {
        match revocation {
            Revocation::Token { .. } => &mut self.ids,
            Revocation::Subject { .. } => &mut self.subjects,
        }
    }

    fn count(&self) -> usize {
        self.ids.len() + self.subjects.len()
    }

    fn covers(&self, principal: &Principal) -> bool {
        let id = principal.credential.id.as_ref();
        let before = self.subjects.get(&principal.name).copied().unwrap_or_default();
        id.is_some_and(|id| self.ids.contains_key(id))
            || principal.credential.issued < before.saturating_mul(1_000_000_000)
    }

    /// Forgets the oldest ones where there are too many.
    fn make_room(&mut self) {
        while self.count() > KEPT_MAX {
            let known =
                if self.ids.len() >= self.subjects.len() { &mut self.ids } else { &mut self.subjects };
            let oldest = known.iter().min_by_key(|(_, at)| **at).map(|(text, _)| text.clone());
            let Some(oldest) = oldest else { return };
            known.remove(&oldest);
            self.lost += 1;
        }
    }

    /// Returns all of them, in messages of a bounded size.
    fn messages(&self, of_api_keys: bool) -> impl Iterator<Item = RevocationMessage> {
        let ids = self.ids.iter().map(|(jti, at)| Revocation::Token { jti: jti.clone(), at: *at });
        let subjects = self
            .subjects
            .iter()
            .map(|(sub, not_before)| Revocation::Subject { sub: sub.clone(), not_before: *not_before });
        let mut all: Vec<_> = ids.chain(subjects).collect();
        std::iter::from_fn(move || {
            let rest = all.len().saturating_sub(IN_MESSAGE_MAX);
            let revocations = all.split_off(rest);
            let message = RevocationMessage { revocations, of_api_keys, ..RevocationMessage::default() };
            (!message.revocations.is_empty()).then_some(message)
        })
    }
}

impl Revocations {
    /// Begins without any. `keep` is the longest life of a token with the leeway.
    pub fn new(keep: Duration) -> Self {
        Self { keep, ending: Set::default(), of_keys: Set::default() }
    }

    /// Adds one. `is_of_key` says that an API key counts no more by it, which is known of the ids of keys anyway. Returns whether
    /// it says something new that still matters at `now_s`.
    pub fn add(&mut self, revocation: &Revocation, is_of_key: bool, now_s: u64) -> bool {
        let (Revocation::Token { jti: text, at } | Revocation::Subject { sub: text, not_before: at }) =
            revocation;
        let is_id = matches!(revocation, Revocation::Token { jti, .. } if is_key_id(jti));
        let is_of_key = is_of_key || is_id || self.of_keys.of(revocation).contains_key(text);
        if !is_of_key && at.saturating_add(self.keep.as_secs()) <= now_s {
            return false;
        }
        // Somebody else's clock must not keep one for ever.
        let mut at = (*at).min(now_s.saturating_add(self.keep.as_secs()));
        let set = if is_of_key {
            let before = self.ending.of(revocation).remove(text);
            at = at.max(before.unwrap_or_default());
            &mut self.of_keys
        } else {
            &mut self.ending
        };
        let is_new = match set.of(revocation).entry(text.clone()) {
            Entry::Occupied(known) if *known.get() >= at => false,
            Entry::Occupied(mut known) => {
                known.insert(at);
                true
            }
            Entry::Vacant(place) => {
                place.insert(at);
                true
            }
        };
        if self.ending.count() > KEPT_MAX {
            self.sweep(now_s);
        }
        self.ending.make_room();
        self.of_keys.make_room();
        is_new
    }

    /// Keeps those for good by which an API key counts no more. `oldest` returns when the oldest key of a subject was issued, in
    /// seconds. Returns whether there was any that was not kept so before.
    pub(crate) fn keep_for_keys(&mut self, oldest: impl Fn(&str) -> Option<u64>) -> bool {
        let is_of_key = |sub: &str, not_before: u64| oldest(sub).is_some_and(|issued| issued < not_before);
        let of_keys: Vec<_> =
            self.ending.subjects.extract_if(|sub, not_before| is_of_key(sub, *not_before)).collect();
        let has_more = !of_keys.is_empty();
        self.of_keys.subjects.extend(of_keys);
        self.of_keys.make_room();
        has_more
    }

    /// Returns whether a principal's token or API key counts no more.
    pub fn covers(&self, principal: &Principal) -> bool {
        self.ending.covers(principal) || self.of_keys.covers(principal)
    }

    /// Forgets those that matter no more.
    pub fn sweep(&mut self, now_s: u64) {
        let keep = self.keep.as_secs();
        for known in [&mut self.ending.ids, &mut self.ending.subjects] {
            known.retain(|_, at| at.saturating_add(keep) > now_s);
        }
    }

    /// Returns how many there are.
    pub fn count(&self) -> usize {
        self.ending.count() + self.of_keys.count()
    }

    /// Returns how many had no room since the beginning.
    pub fn lost(&self) -> LostRevocations {
        LostRevocations { tokens: self.ending.lost, api_keys: self.of_keys.lost }
    }

    /// Returns all of them, in messages of a bounded size.
    pub fn messages(&self) -> Vec<RevocationMessage> {
        self.of_keys.messages(true).chain(self.ending.messages(false)).collect()
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
        assert!(known.add(&token("t1", 5_000), false, 5_000));
        assert!(known.add(&subject("desk", 5_000), false, 5_000));
        assert!(!known.add(&subject("desk", 4_900), false, 5_000), "the later one stands");
        assert!(known.covers(&principal("other", Some("t1"), 9_000)));
        assert!(!known.covers(&principal("other", Some("t2"), 0)));
        assert!(known.covers(&principal("desk", Some("t2"), 4_999)));
        assert!(!known.covers(&principal("desk", Some("t2"), 5_000)), "a rotation kicks nobody");
        for revocation in [token("t1", 0), subject("desk", 5_000)] {
            for one in [principal("desk", Some("t1"), 1), principal("desk", Some("t1"), 6_000)] {
                let mut alone = Revocations::new(Duration::MAX);
                alone.add(&revocation, false, 0);
                assert_eq!(revocation.covers(&one), alone.covers(&one), "{revocation:?} {one:?}");
            }
        }
    }

    #[test]
    fn each_is_kept_as_long_as_it_matters() {
        let mut known = Revocations::new(KEEP);
        assert!(!known.add(&token("old", 3_999), false, 5_000));
        known.add(&token("t1", 4_500), false, 5_000);
        known.add(&subject("desk", 5_000), false, 5_000);
        known.sweep(5_499);
        assert_eq!(known.count(), 2);
        known.sweep(5_500);
        assert_eq!(known.count(), 1);
        // A clock that is far ahead keeps one no longer than one of ours.
        known.add(&subject("later", u64::MAX), false, 5_000);
        known.sweep(7_000);
        assert_eq!(known.count(), 0);
    }

    #[test]
    fn those_of_api_keys_are_kept_for_good() {
        let id = "twk_0011223344556677";
        let mut known = Revocations::new(KEEP);
        assert!(known.add(&token(id, 1), false, 5_000), "however long ago it was revoked");
        assert!(known.add(&subject("desk", 1_000), true, 5_000));
        known.add(&subject("user", 5_000), false, 5_000);
        // Keys that come later are known to be revoked, too.
        known.add(&subject("other", 5_000), false, 5_000);
        known.add(&subject("newer", 5_000), false, 5_000);
        let oldest = |sub: &str| [("other", 4_999), ("newer", 5_000)].into_iter().find(|one| one.0 == sub);
        assert!(known.keep_for_keys(|sub| Some(oldest(sub)?.1)));
        assert!(!known.keep_for_keys(|sub| Some(oldest(sub)?.1)), "once");
        known.sweep(u64::MAX);
        let of_key =
            [principal("x", Some(id), 9_000), principal("desk", None, 999), principal("other", None, 0)];
        assert!(of_key.iter().all(|principal| known.covers(principal)) && known.count() == 3);
        assert!(
            ![principal("user", None, 0), principal("newer", None, 0)].iter().any(|one| known.covers(one))
        );
        // A later one of the same subject is kept for good, too, and those who hear of it know that.
        assert!(known.add(&subject("desk", 8_000), false, 8_000));
        let mut other = Revocations::new(KEEP);
        for message in known.messages() {
            for one in &message.revocations {
                assert!(other.add(one, message.of_api_keys, 90_000));
            }
        }
        other.sweep(u64::MAX);
        assert_eq!((other.count(), other.covers(&principal("desk", None, 7_999))), (3, true));
    }

    #[test]
    fn they_travel_and_are_bounded() {
        let mut known = Revocations::new(KEEP);
        for at in 0..2_000_u64 {
            known.add(&token(&format!("t{at}"), 5_000), false, 5_000);
        }
        let mut other = Revocations::new(KEEP);
        for message in known.messages() {
            assert!((1..=IN_MESSAGE_MAX).contains(&message.revocations.len()));
            for revocation in RevocationMessage::parse(&message.encode()).unwrap().revocations {
                assert!(other.add(&revocation, message.of_api_keys, 5_000));
            }
        }
        assert_eq!((other.count(), &other.ending.ids), (2_000, &known.ending.ids));
    }

    #[test]
    fn the_oldest_goes_where_there_are_too_many_and_none_of_an_api_key() {
        let mut known = Revocations::new(KEEP);
        known.add(&subject("desk", 4_000), true, 4_000);
        for at in 0..=KEPT_MAX {
            known.add(&token(&at.to_string(), 5_000 + at as u64 % 2), false, 5_001);
        }
        assert_eq!((known.count(), known.lost().tokens), (KEPT_MAX + 1, 1));
        // What matters no more makes room, and is no loss.
        known.add(&token("next", 6_001), false, 6_001);
        assert_eq!(known.lost(), LostRevocations { tokens: 1, api_keys: 0 });
        assert!(known.covers(&principal("desk", None, 3_999)));
        for at in 0..=KEPT_MAX as u64 {
            known.add(&token(&format!("twk_{at:016x}"), 7_000), false, 7_000);
        }
        assert_eq!((known.of_keys.count(), known.lost().api_keys), (KEPT_MAX, 2));
    }
}
