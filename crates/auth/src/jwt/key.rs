//! A key. It has one algorithm, which its kind decides, and never the token: that makes it impossible that a public key is taken for
//! a secret.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};

/// The shortest secret for HS256, in bytes: as long as what it makes (RFC 7518, section 3.2).
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// A key that signatures are verified with.
#[derive(Clone)]
pub struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
    /// Its number in a ring, which has it as long as it has the key.
    pub(super) number: u64,
}

/// A key is told by its id and its algorithm.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Key {
    pub(super) fn new(id: Option<String>, algorithm: Algorithm, verifies: DecodingKey) -> Self {
        Self { id, algorithm, verifies, number: 0 }
    }

    /// Returns whether the same signatures count by both, whatever they are called.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let is_material = match (self.verifies.kind(), other.verifies.kind()) {
            (SecretOrDer(one), SecretOrDer(another)) => one == another,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: other_n, e: other_e }) => {
                (n, e) == (other_n, other_e)
            }
            _ => false,
        };
        is_material && self.algorithm == other.algorithm
    }

    /// Returns whether it is also called the same.
    #[cfg(feature = "url")]
    pub(crate) fn is_equal(&self, other: &Self) -> bool {
        self.is_same(other) && self.id == other.id
    }

    /// Returns the name of its algorithm.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            _ => "EdDSA",
        }
    }

    /// Looks at the size of a key, where that tells its curve or its strength.
    pub(super) fn check(&self) -> Result<(), String> {
        let (bytes, at_least) = match (self.algorithm, self.verifies.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => (n.len(), 256),
            // The whole of the public key in DER: the modulus and some bytes.
            (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => (der.len(), 256),
            (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => (secret.len(), SECRET_BYTES_MIN),
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) if point.len() != 65 => {
                return Err("is a key of another curve than P-256".to_owned());
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) if point.len() != 32 => {
                return Err("is a key of another curve than Ed25519".to_owned());
            }
            _ => return Ok(()),
        };
        if bytes < at_least {
            return Err(format!("is a weak key: it has {bytes} bytes, at least {at_least} are needed"));
        }
        Ok(())
    }
}
