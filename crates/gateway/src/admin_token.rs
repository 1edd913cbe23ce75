//! The token that the admin listener may ask for.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// The fewest bytes of a token. One that is shorter could be guessed.
const BYTES_MIN: usize = 16;

/// The fault of a text that is none, in words.
pub(crate) const FAULT: &str =
    "has no token of at least 16 visible characters; `openssl rand -hex 32` makes one";

/// A secret that whoever asks the admin listener has to know. It is never shown. Clones share it, so one that is replaced counts
/// everywhere.
#[derive(Clone)]
pub struct AdminToken(Arc<RwLock<Arc<str>>>);

impl AdminToken {
    /// Takes the content of a file: the token, with white space around it or not. Returns `None` where it is shorter than 16
    /// bytes, or holds what no header may.
    pub fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        let is_good = token.len() >= BYTES_MIN && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_good.then(|| Self(Arc::new(RwLock::new(token.into()))))
    }

    /// Puts another token in its place. Returns whether it is another one.
    pub fn replace(&self, by: &Self) -> bool {
        let is_other = self != by;
        if is_other {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = by.text();
        }
        is_other
    }

    fn text(&self) -> Arc<str> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a request shows the token (`Authorization: Bearer TOKEN`). How long that takes says nothing about it.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| bool::from(shown.ct_eq(self.text().as_bytes())))
    }
}

impl PartialEq for AdminToken {
    fn eq(&self, other: &Self) -> bool {
        bool::from(self.text().as_bytes().ct_eq(other.text().as_bytes()))
    }
}

impl Eq for AdminToken {}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_admits() {
        let token = AdminToken::parse("  0123456789abcdef\n").unwrap();
        let shows = |value: &str| {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            token.admits(&headers)
        };
        assert!(shows("Bearer 0123456789abcdef"));
        for wrong in
            ["Bearer 0123456789abcde", "Bearer 0123456789abcdeff", "Bearer ", "0123456789abcdef", "Basic x"]
        {
            assert!(!shows(wrong), "{wrong}");
        }
        assert!(!token.admits(&HeaderMap::new()));
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn one_that_is_replaced_counts_no_more_anywhere() {
        let [token, next] =
            ["0123456789abcdef", "fedcba9876543210"].map(|text| AdminToken::parse(text).unwrap());
        let of_listener = token.clone();
        assert!(!token.replace(&AdminToken::parse("0123456789abcdef\n").unwrap()) && token.replace(&next));
        let shows = |token: &str| {
            let value = format!("Bearer {token}").parse().unwrap();
            of_listener.admits(&HeaderMap::from_iter([(AUTHORIZATION, value)]))
        };
        assert!(shows("fedcba9876543210") && !shows("0123456789abcdef"));
    }

    #[test]
    fn a_token_is_long_and_fits_into_a_header() {
        assert!(AdminToken::parse("0123456789abcde").is_none());
        assert!(AdminToken::parse("0123456789 abcdef").is_none());
        assert!(AdminToken::parse("").is_none());
    }
}
