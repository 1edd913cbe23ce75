//! Secrets: text that is shown nowhere.

use std::fmt;

use crate::pb::Token;

/// A token, a key or a password. It is neither `Debug` nor `Display`, so that it cannot come into a log, a message or a panic
/// unless somebody writes [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Makes a secret of a text.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the text itself, for whoever sends or checks it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Commands are shown in errors of tests and in logs at the level `trace`: the token is left out.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;

    #[test]
    fn a_token_is_not_shown() {
        let command = Command::Token(Token { id: 7, token: "eyJhbGciOi".to_owned() });
        assert_eq!(format!("{command:?}"), "Token(Token { id: 7, .. })");
    }
}
