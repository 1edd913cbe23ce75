//! The settings of authentication that are no keys.

use std::time::Duration;

/// The rules by which tokens and keys are taken. There is no secret in it.
#[derive(Clone, Debug, PartialEq)]
pub struct AuthSettings {
    /// Whoever shows nothing may come in.
    pub anonymous: bool,
    /// The grants of those; empty: everything.
    pub anonymous_grants: Vec<crate::Grant>,
    /// The time by which the clocks of this machine and of the issuer may differ.
    pub leeway: Duration,
    /// The longest time that a token may still live. Revocations of tokens are kept for so long.
    pub life_max: Duration,
    /// A session is told so long before its token ends.
    pub lead: Duration,
    /// A session is closed so long after its token ended.
    pub grace: Duration,
    /// The time within which the first message has to bring a token, of a session that asks for that; zero: no session may.
    pub first_message: Duration,
    /// Whether tokens are taken from the URL.
    pub in_url: bool,
}

impl AuthSettings {
    /// Returns settings by which everybody comes in, and sees everything.
    pub fn anonymous() -> Self {
        Self { anonymous: true, ..Self::default() }
    }
}

impl Default for AuthSettings {
    fn default() -> Self {
        Self {
            anonymous: false,
            anonymous_grants: Vec::new(),
            leeway: Duration::from_secs(30),
            life_max: Duration::from_hours(24),
            lead: Duration::from_mins(1),
            grace: Duration::from_secs(10),
            first_message: Duration::from_secs(5),
            in_url: false,
        }
    }
}
