//! Keys from files.

use jsonwebtoken::{Algorithm, DecodingKey};

use super::jwks::{Origin, parse_jwks};
use super::key::{Key, SECRET_BYTES_MIN};

type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;

/// The thing that a setting names: a file, and the id of the key in it, where the file does not say that itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// The id (`kid`).
    pub id: Option<String>,
    /// The path.
    pub path: String,
}

impl KeyFile {
    /// Reads `PATH` or `KID=PATH`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('=') {
            Some((id, path)) if !id.is_empty() && !id.contains(['/', '.']) => {
                Self { id: Some(id.to_owned()), path: path.to_owned() }
            }
            _ => Self { id: None, path: text.to_owned() },
        }
    }
}

/// Reads the content of a key file: public keys in PEM (RS256, ES256, EdDSA), a JWKS or a JWK in JSON, or the secret of HS256, of
/// which blanks at both ends are no part.
///
/// # Errors
/// Says what is wrong. No error holds any part of a key.
pub fn parse_key_file(id: Option<&str>, bytes: &[u8]) -> Result<Vec<Key>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no text".to_owned())?.trim();
    if text.starts_with("-----BEGIN") {
        return pem(id, text).map(|key| vec![key]);
    }
    if text.starts_with('{') {
        let mut keys = parse_jwks(text.as_bytes(), Origin::File)?;
        if let ([key], Some(id)) = (&mut keys[..], id) {
            key.id = Some(id.to_owned());
        }
        return Ok(keys);
    }
    if text.len() < SECRET_BYTES_MIN {
        return Err(format!(
            "has {} bytes, and a secret for HS256 has to have {SECRET_BYTES_MIN} at least; `tickwire token key` makes one",
            text.len()
        ));
    }
    let key = DecodingKey::from_secret(text.as_bytes()).map_err(|_| "is no secret".to_owned())?;
    Ok(vec![Key::new(id.map(str::to_owned), Algorithm::HS256, key)])
}

fn pem(id: Option<&str>, text: &str) -> Result<Key, String> {
    if text.contains("PRIVATE KEY") {
        return Err(
            "is a private key; a gateway takes the public one: openssl pkey -in FILE -pubout".to_owned()
        );
    }
    let kinds: [(Algorithm, Read); 3] = [
        (Algorithm::RS256, DecodingKey::from_rsa_pem),
        (Algorithm::ES256, DecodingKey::from_ec_pem),
        (Algorithm::EdDSA, DecodingKey::from_ed_pem),
    ];
    for (algorithm, read) in kinds {
        if let Ok(key) = read(text.as_bytes()) {
            let key = Key::new(id.map(str::to_owned), algorithm, key);
            return key.check().map(|()| key);
        }
    }
    Err("is no public key in PEM of RSA, P-256 or Ed25519; certificates are not read: openssl x509 -pubkey -noout".to_owned())
}
