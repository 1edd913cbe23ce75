//! The verdict about what a client showed.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tickwire_core::engine::{Credential, Principal};
use tickwire_wire::Secret;

use crate::api_keys::{ApiKeys, Entry, is_key};
use crate::denied::{Denied, TOKEN_BYTES_MAX};
use crate::revocation::{Revocation, RevocationMessage};
use crate::revocations::Revocations;
use crate::rights::Rights;
use crate::settings::AuthSettings;
use crate::tokens::{Claims, Tokens, Watcher};

const SECOND_NS: f64 = 1e9;

/// Whom a client is let in as.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// The principal of its sessions.
    pub principal: Arc<Principal>,
    /// The most sessions that it may have; `None` for the gateway's own limit.
    pub sessions_max: Option<u32>,
}

/// All that is needed to find out whose session it is. It is shared by all who ask.
#[derive(Debug)]
pub struct Authenticator {
    settings: AuthSettings,
    tokens: Option<Arc<dyn Tokens>>,
    api_keys: RwLock<Arc<ApiKeys>>,
    watcher: OnceLock<Watcher>,
    revocations: Mutex<Revocations>,
}

impl Authenticator {
    /// Makes one without keys.
    pub fn new(settings: AuthSettings) -> Self {
        // A token may count for the leeway beyond its end.
        let keep = settings.life_max + settings.leeway * 2;
        Self {
            settings,
            tokens: None,
            api_keys: RwLock::default(),
            watcher: OnceLock::new(),
            revocations: Mutex::new(Revocations::new(keep)),
        }
    }

    /// Takes JSON Web Tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: Arc<dyn Tokens>) -> Self {
        Self { tokens: Some(tokens), ..self }
    }

    /// Takes API keys.
    #[must_use]
    pub fn with_api_keys(self, keys: ApiKeys) -> Self {
        self.set_api_keys(keys);
        self
    }

    /// Puts other API keys in the place of those before. Whoever watches is told, because sessions of keys that are gone have to end, and
    /// the others may see what their keys grant now.
    pub fn set_api_keys(&self, keys: ApiKeys) {
        let keys = Arc::new(keys);
        *self.api_keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&keys);
        // Whoever learns a revocation from here on looks at these keys.
        self.revocations().keep_for_keys(|subject| keys.oldest_of(subject));
        if let Some(watcher) = self.watcher.get() {
            watcher.tell();
        }
    }

    /// Says who is told of other API keys, and of keys of tokens that are gone. Only the first one counts.
    pub fn watch_keys(&self, watcher: impl Fn() + Send + Sync + 'static) {
        let watcher = Watcher::new(watcher);
        if let Some(tokens) = &self.tokens {
            tokens.watch(watcher.clone());
        }
        let _ = self.watcher.set(watcher);
    }

    /// Returns whether an open session of a principal has to end: its token was revoked, or its key is gone, be it an API key or
    /// the one that its token was verified with.
    pub fn counts_no_more(&self, principal: &Principal) -> bool {
        let credential = &principal.credential;
        let id = credential.id.as_deref().unwrap_or_default();
        let is_gone = credential.is_api_key && self.api_keys().by_id(id).is_none();
        is_gone || !self.has_key_of(credential) || self.revocations().covers(principal)
    }

    fn has_key_of(&self, credential: &Credential) -> bool {
        match (credential.verified_by, &self.tokens) {
            (Some(key), Some(tokens)) => tokens.has_key(key),
            _ => true,
        }
    }

    /// Returns whom a session belongs to by what its API key grants now; `None` where the key is gone, or it is known by none.
    pub fn admit_again(&self, principal: &Principal) -> Option<Admitted> {
        let id = principal.credential.id.as_ref().filter(|_| principal.credential.is_api_key)?;
        self.api_keys().by_id(id).map(of_entry)
    }

    /// Returns the settings.
    pub fn settings(&self) -> &AuthSettings {
        &self.settings
    }

    /// Returns who verifies JSON Web Tokens, where they are taken.
    pub fn tokens(&self) -> Option<&Arc<dyn Tokens>> {
        self.tokens.as_ref()
    }

    /// Returns whether there is anything that could be shown.
    pub fn takes_keys(&self) -> bool {
        self.tokens.is_some() || self.api_keys().count() > 0
    }

    /// Returns whether anybody can come in.
    pub fn lets_anybody_in(&self) -> bool {
        self.settings.anonymous || self.takes_keys()
    }

    /// Returns whom a client is let in as that shows nothing.
    ///
    /// # Errors
    /// Where something has to be shown.
    pub fn admit_anonymous(&self) -> Result<Admitted, Denied> {
        if !self.settings.anonymous {
            return Err(Denied::Missing);
        }
        let mut principal = Principal::anonymous();
        if !self.settings.anonymous_grants.is_empty() {
            let rights = Rights { grants: self.settings.anonymous_grants.clone(), ..Rights::default() };
            rights.give(Arc::make_mut(&mut principal));
        }
        Ok(Admitted { principal, sessions_max: None })
    }

    /// Returns whom a client is let in as that shows this, at `now`, in nanoseconds since the Unix epoch. A gateway that has
    /// no keys at all and takes everybody looks at nothing.
    ///
    /// # Errors
    /// Says why it is not let in.
    pub fn admit(&self, shown: &Secret, now: u64) -> Result<Admitted, Denied> {
        let text = shown.expose();
        if !self.takes_keys() {
            return self.admit_anonymous().map_err(|_| Denied::NoKeys);
        }
        if text.len() > TOKEN_BYTES_MAX {
            return Err(Denied::TooLong);
        }
        let admitted = if is_key(text) {
            self.of_key(text)?
        } else if text.split('.').count() == 3 {
            self.of_token(text, now)?
        } else {
            return Err(Denied::Malformed);
        };
        if self.revocations().covers(&admitted.principal) {
            return Err(Denied::Revoked);
        }
        Ok(admitted)
    }

    /// Takes the revocations of a message. Returns those that say something new.
    pub fn learn(&self, message: RevocationMessage, now: u64) -> Vec<Revocation> {
        let mut known = self.revocations();
        // Behind that lock: keys that come meanwhile find what is added here.
        let keys = self.api_keys();
        let is_of_key = |revocation: &Revocation| match revocation {
            Revocation::Token { .. } => false,
            Revocation::Subject { sub, not_before } => {
                keys.oldest_of(sub).is_some_and(|issued| issued < *not_before)
            }
        };
        let RevocationMessage { revocations, of_api_keys, .. } = message;
        let is_new = |one: &Revocation| known.add(one, of_api_keys || is_of_key(one), now / 1_000_000_000);
        revocations.into_iter().filter(is_new).collect()
    }

    /// Returns the revocations that are kept.
    pub fn revocations(&self) -> MutexGuard<'_, Revocations> {
        self.revocations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn api_keys(&self) -> Arc<ApiKeys> {
        Arc::clone(&self.api_keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn of_key(&self, key: &str) -> Result<Admitted, Denied> {
        let keys = self.api_keys();
        keys.find(key).map(of_entry).ok_or(Denied::UnknownApiKey)
    }

    fn of_token(&self, token: &str, now: u64) -> Result<Admitted, Denied> {
        let tokens = self.tokens.as_ref().ok_or(Denied::NoKeys)?;
        let claims = tokens.verify(token)?;
        let credential = self.credential(&claims, now)?;
        let rights = claims.rights.filter(|rights| !rights.grants.is_empty()).ok_or(Denied::GrantsNothing)?;
        rights.check().map_err(Denied::Claims)?;
        Ok(admitted(&claims.subject, &rights, credential))
    }

    /// Looks at the times of a token.
    fn credential(&self, claims: &Claims, now: u64) -> Result<Credential, Denied> {
        let AuthSettings { leeway, life_max, lead, grace, .. } = &self.settings;
        let ns = |duration: &Duration| duration.as_nanos() as u64;
        let max_s = life_max.as_secs();
        let ends = claims.ends.ok_or(Denied::LivesTooLong { max_s })?;
        let expires = (ends * SECOND_NS) as u64;
        if now >= expires.saturating_add(ns(leeway)) {
            return Err(Denied::Expired { since_s: (now - expires) / 1_000_000_000 });
        }
        if expires > now.saturating_add(ns(life_max)).saturating_add(ns(leeway)) {
            return Err(Denied::LivesTooLong { max_s });
        }
        let begins = claims.begins.map_or(0, |begins| (begins * SECOND_NS) as u64);
        if begins > now.saturating_add(ns(leeway)) {
            return Err(Denied::NotYet { in_s: (begins - now).div_ceil(1_000_000_000) });
        }
        // What counts at the handshake counts for a while: the leeway is a part of the grace.
        let grace_ns = ns(grace).max(ns(leeway));
        let issued = (claims.issued * SECOND_NS) as u64;
        let credential = Credential::of_token(claims.id.clone(), issued, expires, now, ns(lead), grace_ns);
        Ok(Credential { verified_by: claims.key, ..credential })
    }
}

fn of_entry(entry: &Entry) -> Admitted {
    let Entry { name, id, issued_s, rights } = entry;
    let issued = issued_s.saturating_mul(1_000_000_000);
    let credential = Credential { id: Some(id.clone()), issued, is_api_key: true, ..Credential::NONE };
    admitted(name, rights, credential)
}

fn admitted(name: &str, rights: &Rights, credential: Credential) -> Admitted {
    let mut principal =
        Principal { name: name.to_owned(), credential, ..Principal::clone(&Principal::anonymous()) };
    rights.give(&mut principal);
    Admitted { principal: Arc::new(principal), sessions_max: rights.sessions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rights::Grant;

    const NOW: u64 = 1_000_000 * 1_000_000_000;

    /// Verifies nothing: a token is its claims.
    #[derive(Debug)]
    struct Trusting;

    impl Tokens for Trusting {
        fn verify(&self, token: &str) -> Result<Claims, Denied> {
            let parts: Vec<_> = token.split('.').collect();
            let time = |at: usize| parts[at].parse().ok();
            let rights = Rights { grants: vec![Grant::default()], ..Rights::default() };
            Ok(Claims {
                subject: "desk".to_owned(),
                id: Some("t1".to_owned()),
                issued: time(0).unwrap_or_default(),
                begins: time(1),
                ends: time(2),
                rights: Some(rights),
                key: Some(5),
            })
        }

        fn has_key(&self, key: u64) -> bool {
            key == 5
        }

        fn count(&self) -> usize {
            1
        }
    }

    /// Returns whether it says something new.
    fn revoke(authenticator: &Authenticator, revocation: Revocation, now: u64) -> bool {
        let message = RevocationMessage { revocations: vec![revocation], ..RevocationMessage::default() };
        !authenticator.learn(message, now).is_empty()
    }

    fn authenticator() -> Authenticator {
        Authenticator::new(AuthSettings::default()).with_tokens(Arc::new(Trusting))
    }

    #[track_caller]
    fn check(times: &str, expected: &Result<(), Denied>) {
        let admitted = authenticator().admit(&Secret::new(times), NOW).map(drop);
        assert_eq!(&admitted, expected, "{times}");
    }

    #[test]
    fn times_of_tokens() {
        check("999000..1000600", &Ok(()));
        check("999000.1000030.1000600", &Ok(()));
        check("999000.1000031.1000600", &Err(Denied::NotYet { in_s: 31 }));
        check("999000..999971", &Ok(()));
        check("999000..999970", &Err(Denied::Expired { since_s: 30 }));
        check("999000..0", &Err(Denied::Expired { since_s: 1_000_000 }));
        check("999000..", &Err(Denied::LivesTooLong { max_s: 86_400 }));
        check("999000..1086430", &Ok(()));
        check("999000..1086431", &Err(Denied::LivesTooLong { max_s: 86_400 }));
        check("999000..inf", &Err(Denied::LivesTooLong { max_s: 86_400 }));
        check("999000..NaN", &Err(Denied::Expired { since_s: 1_000_000 }));
        check("x.y", &Err(Denied::Malformed));
        check(&"x".repeat(TOKEN_BYTES_MAX + 1), &Err(Denied::TooLong));
    }

    #[test]
    fn a_revoked_token_does_not_come_back() {
        let authenticator = authenticator();
        let not_before = 1_000_000;
        let revocation = Revocation::Subject { sub: "desk".to_owned(), not_before };
        assert!(revoke(&authenticator, revocation.clone(), NOW) && !revoke(&authenticator, revocation, NOW));
        let admit = |times: &str| authenticator.admit(&Secret::new(times), NOW).map(drop);
        assert_eq!(admit("999999..1000600"), Err(Denied::Revoked));
        assert_eq!(admit("..1000600"), Err(Denied::Revoked), "it does not say when it was issued");
        assert_eq!(admit("1000000..1000600"), Ok(()));
        revoke(&authenticator, Revocation::Token { jti: "t1".to_owned(), at: not_before }, NOW);
        assert_eq!(admit("1000000..1000600"), Err(Denied::Revoked));
    }

    #[test]
    fn an_api_key_grants_what_its_file_says_now() {
        let key = crate::key_of([7; 32]);
        let file = |grants: &str| {
            let hash = crate::hash_of(&key).unwrap();
            let text =
                format!("[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\ngrants = [{grants}]\nsessions = 3\n");
            ApiKeys::parse(&text).unwrap()
        };
        let authenticator = authenticator().with_api_keys(file("{}"));
        let before = authenticator.admit(&key, NOW).unwrap();
        let again = |of: &Admitted| authenticator.admit_again(&of.principal);
        assert_eq!(again(&before).unwrap().principal, before.principal, "nothing changed");
        authenticator.set_api_keys(file("{delay_ms = 5}"));
        let after = again(&before).unwrap();
        assert_eq!((after.principal.entitlements[0].delay_ns, after.sessions_max), (5_000_000, Some(3)));
        assert!(!authenticator.counts_no_more(&before.principal));
        authenticator.set_api_keys(ApiKeys::default());
        assert!(again(&before).is_none() && authenticator.counts_no_more(&before.principal));
        let of_token = authenticator.admit(&Secret::new("1..1000600"), NOW).unwrap();
        assert!(again(&of_token).is_none() && !authenticator.counts_no_more(&of_token.principal));
    }

    #[test]
    fn a_revoked_api_key_never_counts_again() {
        let keys = [1, 2, 3].map(|byte| crate::key_of([byte; 32]));
        let entry = |(key, issued): (&Secret, u64)| {
            let hash = crate::hash_of(key).unwrap();
            format!("[[key]]\nname = \"desk\"\nsha256 = \"{hash}\"\nissued = {issued}\ngrants = [{{}}]\n")
        };
        let file = || {
            let text: String = keys.iter().zip([900_000, 950_000, 1_000_000]).map(entry).collect();
            ApiKeys::parse(&text).unwrap()
        };
        let authenticator = authenticator().with_api_keys(file());
        let id = authenticator.admit(&keys[1], NOW).unwrap().principal.credential.id.clone().unwrap();
        assert!(revoke(&authenticator, Revocation::Token { jti: id, at: 1_000_000 }, NOW));
        // However long ago: the first key was issued before that.
        let subject = Revocation::Subject { sub: "desk".to_owned(), not_before: 900_001 };
        assert!(revoke(&authenticator, subject, NOW));
        let years = NOW + 100_000_000 * 1_000_000_000;
        let verdicts = |of: &Authenticator| {
            of.revocations().sweep(years / 1_000_000_000);
            keys.each_ref().map(|key| of.admit(key, years).is_ok())
        };
        assert_eq!(verdicts(&authenticator), [false, false, true]);
        // A file that lacks the keys for a while changes nothing.
        authenticator.set_api_keys(ApiKeys::default());
        authenticator.revocations().sweep(u64::MAX);
        authenticator.set_api_keys(file());
        assert_eq!(verdicts(&authenticator), [false, false, true]);
        // One that starts years later learns it by what this one tells, even before it has the keys.
        let later = self::authenticator();
        for message in authenticator.revocations().messages() {
            assert!(!later.learn(message, years).is_empty());
        }
        later.set_api_keys(file());
        assert_eq!(verdicts(&later), [false, false, true]);
    }

    #[test]
    fn a_session_ends_with_the_key_that_its_token_was_verified_with() {
        let authenticator = authenticator();
        let admitted = authenticator.admit(&Secret::new("1..1000600"), NOW).unwrap();
        assert_eq!(admitted.principal.credential.verified_by, Some(5));
        assert!(!authenticator.counts_no_more(&admitted.principal));
        let mut of_other = Principal::clone(&admitted.principal);
        of_other.credential.verified_by = Some(6);
        assert!(authenticator.counts_no_more(&of_other));
        of_other.credential.verified_by = None;
        assert!(!authenticator.counts_no_more(&of_other), "nobody says by which key it is");
    }

    #[test]
    fn who_shows_nothing_comes_in_only_where_that_is_said() {
        assert_eq!(authenticator().admit_anonymous().unwrap_err(), Denied::Missing);
        let grants = vec![crate::parse_grant("sim:A quote").unwrap()];
        let settings = AuthSettings { anonymous: true, anonymous_grants: grants, ..AuthSettings::default() };
        let open = Authenticator::new(settings);
        let admitted = open.admit_anonymous().unwrap();
        assert_eq!(
            (admitted.principal.name.as_str(), admitted.principal.entitlements.len()),
            ("anonymous", 1)
        );
        assert_ne!(admitted.principal, Principal::anonymous());
        // Without any keys nothing can be verified, so a token gives no more.
        let shown = open.admit(&Secret::new("a.b.c"), NOW).unwrap();
        assert_eq!(shown.principal, admitted.principal);
        let closed = Authenticator::new(AuthSettings::default());
        assert_eq!(closed.admit(&Secret::new("a.b.c"), NOW).unwrap_err(), Denied::NoKeys);
        assert!(!closed.lets_anybody_in() && open.lets_anybody_in() && authenticator().lets_anybody_in());
    }
}
