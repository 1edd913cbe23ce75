//! Tokens for development and tests: a gateway never makes any.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;
use tickwire_wire::Secret;

use crate::rights::Rights;

type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<EncodingKey>;

/// The claims of a token that is made.
#[derive(Clone, Debug, Default, Serialize)]
pub struct MintClaims {
    /// The owner of the token.
    pub sub: String,
    /// The issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// The audience.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// The id of the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When it is issued, in seconds since the Unix epoch.
    pub iat: u64,
    /// When it begins to count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// The grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tickwire: Option<Rights>,
}

/// The reason why a token is not made. No reason holds any part of a key.
#[derive(Clone, Debug, thiserror::Error)]
pub enum MintError {
    /// The file is no key that tokens can be signed with.
    #[error(
        "the file is neither a secret of 32 bytes or more nor a private key in PEM (PKCS #8) of RSA, P-256 or Ed25519"
    )]
    Key,
    /// The library cannot sign.
    #[error("the token cannot be signed with this key")]
    Sign,
}

/// A key that tokens are signed with.
pub struct Minter {
    key: EncodingKey,
    algorithm: Algorithm,
    id: Option<String>,
}

impl Minter {
    /// Reads a key file: a secret for HS256, or a private key in PEM.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(id: Option<&str>, bytes: &[u8]) -> Result<Self, MintError> {
        let text = std::str::from_utf8(bytes).map_err(|_| MintError::Key)?.trim();
        let (key, algorithm) = if text.starts_with("-----BEGIN") {
            let kinds: [(Algorithm, Read); 3] = [
                (Algorithm::EdDSA, EncodingKey::from_ed_pem),
                (Algorithm::ES256, EncodingKey::from_ec_pem),
                (Algorithm::RS256, EncodingKey::from_rsa_pem),
            ];
            let read = |(algorithm, read): (Algorithm, Read)| Some((read(text.as_bytes()).ok()?, algorithm));
            kinds.into_iter().find_map(read).ok_or(MintError::Key)?
        } else if text.len() >= 32 && !text.starts_with('{') {
            (EncodingKey::from_secret(text.as_bytes()).map_err(|_| MintError::Key)?, Algorithm::HS256)
        } else {
            return Err(MintError::Key);
        };
        Ok(Self { key, algorithm, id: id.map(str::to_owned) })
    }

    /// Makes a token.
    ///
    /// # Errors
    /// When the library cannot sign.
    pub fn mint(&self, claims: &MintClaims) -> Result<Secret, MintError> {
        self.sign(claims)
    }

    /// Makes a token of any claims, such as those that a test needs.
    ///
    /// # Errors
    /// When the library cannot sign.
    pub fn sign(&self, claims: &impl Serialize) -> Result<Secret, MintError> {
        let header = Header { kid: self.id.clone(), ..Header::new(self.algorithm) };
        encode(&header, claims, &self.key).map(Secret::new).map_err(|_| MintError::Sign)
    }
}

/// Returns random bytes of the system.
///
/// # Panics
/// When the system has none.
pub fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random bytes");
    bytes
}

/// Makes a secret for HS256: 32 random bytes as text.
pub fn new_secret() -> Secret {
    Secret::new(URL_SAFE_NO_PAD.encode(random_bytes()))
}

/// Makes a pair of keys for EdDSA: the private one and the public one, both in PEM.
///
/// # Panics
/// When the system has no random bytes.
pub fn new_ed25519() -> (Secret, String) {
    let pair = Ed25519KeyPair::generate().expect("a pair of keys is made of random bytes");
    let private = pair.to_pkcs8v1().expect("a pair that was made can be written");
    // The head of every public key of Ed25519 in DER (RFC 8410, section 4).
    let head = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    let public = [&head, pair.public_key().as_ref()].concat();
    (Secret::new(pem("PRIVATE KEY", private.as_ref())), pem("PUBLIC KEY", &public))
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
