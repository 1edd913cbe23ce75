//! Sets of keys as identity providers publish them (RFC 7517).

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use super::key::Key;

/// The most bytes of a set.
pub const JWKS_BYTES_MAX: usize = 64 << 10;
/// The most keys of a set.
pub const JWKS_KEYS_MAX: usize = 32;

/// The origin of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file of the operator's. It may have secrets in it.
    File,
    /// A URL. Secrets in it are no secrets, so they are passed over.
    Url,
}

/// Reads a set, or a single key. Keys that are of no use here are passed over: other kinds and algorithms, and those that are for
/// encryption.
///
/// # Errors
/// Says what is wrong: it is no set, it is too large, or no key in it is of use.
pub fn parse_jwks(bytes: &[u8], origin: Origin) -> Result<Vec<Key>, String> {
    if bytes.len() > JWKS_BYTES_MAX {
        return Err(format!("has more than {JWKS_BYTES_MAX} bytes"));
    }
    let set = match serde_json::from_slice::<JwkSet>(bytes) {
        Ok(set) => set,
        Err(_) => match serde_json::from_slice::<Jwk>(bytes) {
            Ok(key) => JwkSet { keys: vec![key] },
            Err(error) => {
                return Err(format!("is no set of keys (line {}, column {})", error.line(), error.column()));
            }
        },
    };
    if set.keys.len() > JWKS_KEYS_MAX {
        return Err(format!("has {} keys, at most {JWKS_KEYS_MAX} are read", set.keys.len()));
    }
    let keys: Vec<_> = set.keys.iter().filter_map(|jwk| read(jwk, origin)).collect();
    if keys.is_empty() {
        return Err("has no key for RS256, ES256, EdDSA or, in a file, HS256".to_owned());
    }
    Ok(keys)
}

fn read(jwk: &Jwk, origin: Origin) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::OctetKey(_) if origin == Origin::File => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|algorithm| algorithm != named) {
        return None;
    }
    let key = Key::new(jwk.common.key_id.clone(), algorithm, DecodingKey::from_jwk(jwk).ok()?);
    key.check().ok()?;
    Some(key)
}
