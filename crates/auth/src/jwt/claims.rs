//! The claims of a token.

use serde::Deserialize;

use crate::denied::Denied;
use crate::rights::Rights;
use crate::tokens::Claims;

/// The longest subject and the longest id, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// The claims that are read. Others may be there.
#[derive(Deserialize)]
pub(super) struct Raw {
    sub: Option<String>,
    jti: Option<String>,
    iat: Option<f64>,
    nbf: Option<f64>,
    exp: Option<f64>,
    tickwire: Option<serde_json::Value>,
}

impl Raw {
    /// Checks what has to be there.
    pub(super) fn into_claims(self) -> Result<Claims, Denied> {
        let wrong = |why: &str| Err(Denied::Claims(why.to_owned()));
        let Some(subject) = self.sub.filter(|sub| !sub.is_empty()) else { return wrong("`sub` is missing") };
        let is_plain = |text: &str| text.len() <= TEXT_BYTES_MAX && !text.contains(char::is_control);
        if !is_plain(&subject) || !self.jti.as_deref().is_none_or(is_plain) {
            return wrong("`sub` or `jti` has more than 256 bytes, or characters that nobody sees");
        }
        for time in [self.iat, self.nbf, self.exp].into_iter().flatten() {
            if !time.is_finite() || time < 0.0 {
                return wrong("a time is no number of seconds since 1970");
            }
        }
        // A claim may hold names of people's own, so a fault in it is told without what it holds beyond our words.
        let rights = match self.tickwire {
            None => None,
            Some(value) => {
                Some(serde_json::from_value::<Rights>(value).map_err(|error| Denied::Claims(brief(&error)))?)
            }
        };
        Ok(Claims {
            subject,
            id: self.jti,
            issued: self.iat.unwrap_or_default(),
            begins: self.nbf,
            ends: self.exp,
            rights,
            key: None,
        })
    }
}

/// Returns the first words of an error, without what would break a header.
fn brief(error: &serde_json::Error) -> String {
    let text: String =
        error.to_string().chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(160).collect();
    format!("`tickwire`: {}", text.replace(['"', '\\'], "'"))
}
