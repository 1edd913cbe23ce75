//! The token that the admin listener may ask for.

use std::fmt;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use subtle::ConstantTimeEq as _;

/// The fewest bytes of a token. One that is shorter could be guessed.
const BYTES_MIN: usize = 16;

/// A secret that whoever asks the admin listener has to know. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken(Arc<str>);

impl AdminToken {
    /// Takes the content of a file: the token, with white space around it or not. Returns `None` where it is shorter than 16
    /// bytes, or holds what no header may.
    pub fn parse(text: &str) -> Option<Self> {
        let token = text.trim();
        let is_good = token.len() >= BYTES_MIN && token.bytes().all(|byte| byte.is_ascii_graphic());
        is_good.then(|| Self(token.into()))
    }

    /// Returns whether a request shows the token (`Authorization: Bearer TOKEN`). How long that takes says nothing about it.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        shown.is_some_and(|shown| bool::from(shown.ct_eq(self.0.as_bytes())))
    }
}

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
    fn a_token_is_long_and_fits_into_a_header() {
        assert!(AdminToken::parse("0123456789abcde").is_none());
        assert!(AdminToken::parse("0123456789 abcdef").is_none());
        assert!(AdminToken::parse("").is_none());
    }
}
