//! A key. It has one algorithm, which its kind decides, and never the token: that makes it impossible that a public key is taken for
//! a secret.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};

/// The shortest secret for HS256, in bytes: as long as what it makes (RFC 7518, section 3.2).
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// A key that signatures are verified with.
#[derive(Clone)]
pub struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) verifies: DecodingKey,
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
        use jsonwebtoken::DecodingKeyKind;
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
