//! The keys of a gateway, and the verification of tokens with them.
//!
//! Each key has a number, by which a session is known that was opened with a token of it. It keeps its number as long as a source
//! has it, whatever it is called there, and one that comes back later has another one. A number tells nothing of a key.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};

use super::claims::Raw;
use super::key::Key;
use crate::denied::Denied;
use crate::tokens::{BoxFuture, Claims, Tokens, Watcher};

/// The most keys that one token is tried with, so that a token that names none does not cost as many signatures as there are keys.
const TRIED_MAX: usize = 4;

/// The issuers whose tokens are taken, and for whom they have to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted {
    /// The issuers (`iss`); empty: any whose signature counts.
    pub issuers: Vec<String>,
    /// The audiences (`aud`), of which a token has to name one; empty: a token must not name any.
    pub audiences: Vec<String>,
}

/// The keys by their sources, which are replaced one by one.
pub struct KeyRing {
    trusted: Trusted,
    sources: RwLock<Sources>,
    /// The one who is told when a key is gone.
    watcher: OnceLock<Watcher>,
    /// The one that looks for keys that are not known, where there is one.
    finder: OnceLock<Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>>,
}

#[derive(Default)]
struct Sources {
    keys: BTreeMap<String, Arc<[Key]>>,
    /// The number that was given out last.
    last: u64,
}

impl Sources {
    fn all(&self) -> impl Iterator<Item = &Key> {
        self.keys.values().flat_map(|keys| keys.iter())
    }

    fn has(&self, number: u64) -> bool {
        self.all().any(|key| key.number == number)
    }

    /// Gives each key the number that it has, or a new one.
    fn number(&mut self, keys: &mut [Key]) {
        for at in 0..keys.len() {
            let (before, rest) = keys.split_at_mut(at);
            let key = &mut rest[0];
            let known = before.iter().chain(self.all()).find(|known| known.is_same(key));
            key.number = known.map_or(self.last + 1, |known| known.number);
            self.last = self.last.max(key.number);
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing")
            .field("trusted", &self.trusted)
            .field("sources", &self.sources().keys)
            .finish_non_exhaustive()
    }
}

impl KeyRing {
    /// Makes one without keys.
    pub fn new(trusted: Trusted) -> Self {
        Self { trusted, sources: RwLock::default(), watcher: OnceLock::new(), finder: OnceLock::new() }
    }

    fn sources(&self) -> RwLockReadGuard<'_, Sources> {
        self.sources.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the keys of a source in the place of those that it had before. Where a key is gone by that, whoever watches is told,
    /// because sessions that were opened with it have to end.
    pub fn set(&self, source: &str, mut keys: Vec<Key>) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        sources.number(&mut keys);
        let before = sources.keys.insert(source.to_owned(), keys.into());
        let is_any_gone = before.iter().flat_map(|keys| keys.iter()).any(|key| !sources.has(key.number));
        drop(sources);
        if is_any_gone && let Some(watcher) = self.watcher.get() {
            watcher.tell();
        }
    }

    /// Says who looks for keys that are not known. Only the first one counts.
    pub fn set_finder(&self, finder: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        let _ = self.finder.set(Box::new(finder));
    }

    /// Returns the keys that a token with this head may be signed with.
    fn candidates(&self, header: &Header) -> Result<Vec<Key>, Denied> {
        let sources = self.sources();
        let all = || sources.all();
        let fits = |key: &&Key| match (&key.id, &header.kid) {
            (Some(id), Some(named)) => id == named,
            // A key without an id may have any; a token that names none may be signed with any.
            _ => true,
        };
        if !all().any(|key| fits(&key)) {
            return Err(Denied::UnknownKey);
        }
        let of_algorithm: Vec<_> =
            all().filter(fits).filter(|key| key.algorithm == header.alg).take(TRIED_MAX).cloned().collect();
        if of_algorithm.is_empty() { Err(Denied::Algorithm) } else { Ok(of_algorithm) }
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let Trusted { issuers, audiences } = &self.trusted;
        let mut validation = Validation::new(algorithm);
        // Times are looked at elsewhere, by the clock of the gateway.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let mut required = Vec::new();
        if !issuers.is_empty() {
            validation.set_issuer(issuers);
            required.push("iss");
        }
        if !audiences.is_empty() {
            validation.set_audience(audiences);
            required.push("aud");
        }
        validation.required_spec_claims = required.into_iter().map(str::to_owned).collect();
        validation
    }
}

impl Tokens for KeyRing {
    fn verify(&self, token: &str) -> Result<Claims, Denied> {
        let header = decode_header(token).map_err(|error| match error.kind() {
            ErrorKind::UnsupportedAlgorithm | ErrorKind::InvalidAlgorithmName => Denied::Algorithm,
            _ => Denied::Malformed,
        })?;
        let mut refused = Denied::Signature;
        for key in self.candidates(&header)? {
            // The algorithm is the key's own: what the token says must be the same, and nothing else is tried.
            match decode::<Raw>(token, &key.verifies, &self.validation(key.algorithm)) {
                Ok(data) => return Ok(Claims { key: Some(key.number), ..data.claims.into_claims()? }),
                Err(error) => match error.kind() {
                    ErrorKind::InvalidSignature => {}
                    ErrorKind::InvalidIssuer => return Err(Denied::Issuer),
                    ErrorKind::MissingRequiredClaim(claim) if claim == "iss" => return Err(Denied::Issuer),
                    ErrorKind::InvalidAudience | ErrorKind::MissingRequiredClaim(_) => {
                        return Err(Denied::Audience);
                    }
                    ErrorKind::Json(_) => {
                        return Err(Denied::Claims("they are not the JSON that they should be".to_owned()));
                    }
                    ErrorKind::InvalidClaimFormat(_) => {
                        return Err(Denied::Claims("one is of a wrong kind".to_owned()));
                    }
                    ErrorKind::InvalidAlgorithm => refused = Denied::Algorithm,
                    _ => refused = Denied::Malformed,
                },
            }
        }
        Err(refused)
    }

    fn look_again(&self) -> BoxFuture<'_, ()> {
        match self.finder.get() {
            Some(finder) => finder(),
            None => Box::pin(std::future::ready(())),
        }
    }

    fn has_key(&self, key: u64) -> bool {
        self.sources().has(key)
    }

    fn watch(&self, watcher: Watcher) {
        let _ = self.watcher.set(watcher);
    }

    fn count(&self) -> usize {
        self.sources().all().count()
    }
}
