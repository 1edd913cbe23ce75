//! Whom a session belongs to, and what that one may see.
//!
//! [`Authenticator`] takes what a client showed, a JSON Web Token or an API key, and returns the principal of its session or the
//! reason why there is none. Nothing here reads a clock, and nothing opens a socket but `fetch` (feature `url`).
//!
//! | module | what it has |
//! |---|---|
//! | `authenticator` | the verdict about what a client showed |
//! | `rights`, `compact` | grants as claims and settings write them, and what they mean to the engine |
//! | `api_keys` | a file of names, hashes and grants |
//! | `revocation` | what counts no more, and how that travels |
//! | `revocations` | how long that is kept |
//! | `denied` | the reasons of refusals, in words, as HTTP status and as code |
//! | `jwt` (feature `jwt`) | keys, signatures, claims, and tokens for development |
//! | `fetch` (feature `url`) | keys from a URL |

mod api_keys;
mod authenticator;
mod compact;
mod denied;
#[cfg(feature = "url")]
mod fetch;
#[cfg(feature = "jwt")]
pub mod jwt;
mod revocation;
mod revocations;
mod rights;
mod settings;
mod tokens;

pub use api_keys::{API_KEY_PREFIX, ApiKeys, hash_of, key_of};
pub use authenticator::{Admitted, Authenticator};
pub use compact::parse_grant;
pub use denied::{Denied, TOKEN_BYTES_MAX};
#[cfg(feature = "url")]
pub use fetch::{KeysUrl, UrlFault};
pub use revocation::{Revocation, RevocationMessage};
pub use revocations::{LostRevocations, Revocations};
pub use rights::{Grant, Name, Rights};
pub use settings::AuthSettings;
pub use tokens::{BoxFuture, Claims, Tokens, Watcher};

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
