//! JSON Web Tokens: keys, signatures and claims, by `jsonwebtoken`.

mod claims;
mod jwks;
mod key;
mod keys;
mod mint;
mod ring;

pub use jwks::{JWKS_BYTES_MAX, JWKS_KEYS_MAX, Origin, parse_jwks};
pub use key::Key;
pub use keys::{KeyFile, parse_key_file};
pub use mint::{MintClaims, MintError, Minter, new_ed25519, new_secret, random_bytes};
pub use ring::{KeyRing, Trusted};
