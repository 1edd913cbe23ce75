//! Credentials: by which token a principal is known, from when, and for how long.

use tickwire_wire::CloseCode;

/// The token that a principal was known by, without the token itself. Times are nanoseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The id of the token, where it has one.
    pub id: Option<String>,
    /// The time at which the token was issued; 0 where it does not say.
    pub issued: u64,
    /// The time at which the token ends; [`u64::MAX`] where it never does.
    pub expires: u64,
    /// The time at which the session is told that the token will end.
    pub warns_at: u64,
    /// The time at which the session is closed: some grace after the token ended, or when a token was waited for in vain.
    pub ends_at: u64,
    /// The number of the key that its signature was verified with, where it has one: whoever verified it knows whether that key is
    /// still there.
    pub verified_by: Option<u64>,
    /// It is an API key, which counts for as long as the gateway has it.
    pub is_api_key: bool,
    /// Nobody is known yet: until a token comes, nothing else is taken.
    pub is_awaited: bool,
}

/// The reason why a token that was handed in does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRefused {
    /// The code in the error: `token_refused`, `token_expired` or `token_busy`.
    pub code: &'static str,
    /// The words for the client. They hold nothing of the token.
    pub message: String,
    /// The code with which a session is closed that waited for a token; `None` where it may try again until its time is over.
    pub closes: Option<CloseCode>,
}

/// A thing that the clock has to do about a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Warning,
    End,
}

impl Credential {
    /// The credential of those who need no token: it never ends.
    pub const NONE: Self = Self {
        id: None,
        issued: 0,
        expires: u64::MAX,
        warns_at: u64::MAX,
        ends_at: u64::MAX,
        verified_by: None,
        is_api_key: false,
        is_awaited: false,
    };

    /// Returns the credential of somebody whose token has to come by this time.
    pub fn awaited(until: u64) -> Self {
        Self { ends_at: until, is_awaited: true, ..Self::NONE }
    }

    /// Returns the credential of a token that is accepted now. The warning comes `lead_ns` before the end; where less than twice
    /// of that is left, in the middle of what is left. The session is closed `grace_ns` after the end.
    pub fn of_token(
        id: Option<String>,
        issued: u64,
        expires: u64,
        now: u64,
        lead_ns: u64,
        grace_ns: u64,
    ) -> Self {
        let lead_ns = lead_ns.min(expires.saturating_sub(now) / 2);
        Self {
            id,
            issued,
            expires,
            warns_at: expires - lead_ns,
            ends_at: expires.saturating_add(grace_ns),
            verified_by: None,
            is_api_key: false,
            is_awaited: false,
        }
    }

    /// Returns when the token ends, as clients are told: 0 for never.
    pub(super) fn expires_told(&self) -> u64 {
        if self.expires == u64::MAX { 0 } else { self.expires }
    }

    /// Returns within how many milliseconds a token has to come; 0 where none is waited for.
    pub(super) fn within_ms(&self, now: u64) -> u32 {
        if self.is_awaited { (self.ends_at.saturating_sub(now) / 1_000_000).max(1) as u32 } else { 0 }
    }

    pub(super) fn due(&self, was_warned: bool, now: u64) -> Due {
        if now >= self.ends_at {
            Due::End
        } else if now >= self.warns_at && !was_warned {
            Due::Warning
        } else {
            Due::Nothing
        }
    }

    /// Returns when the clock has to look at it next.
    pub(super) fn next(&self, was_warned: bool) -> u64 {
        if was_warned { self.ends_at } else { self.warns_at.min(self.ends_at) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_warning_comes_before_the_end_and_the_end_after_a_grace() {
        let one = Credential::of_token(None, 0, 1_000 * SECOND, 100 * SECOND, 60 * SECOND, 10 * SECOND);
        assert_eq!((one.warns_at, one.ends_at), (940 * SECOND, 1_010 * SECOND));
        let dues = [939, 940, 1_000, 1_010].map(|at| one.due(false, at * SECOND));
        assert_eq!(dues, [Due::Nothing, Due::Warning, Due::Warning, Due::End]);
        assert_eq!(one.due(true, 1_000 * SECOND), Due::Nothing);
        assert_eq!([false, true].map(|was_warned| one.next(was_warned) / SECOND), [940, 1_010]);
        // A token that lives for less than the lead is not warned of at once.
        let short = Credential::of_token(None, 0, 120 * SECOND, 100 * SECOND, 60 * SECOND, 0);
        assert_eq!(short.warns_at, 110 * SECOND);
        let over = Credential::of_token(None, 0, 90 * SECOND, 100 * SECOND, 60 * SECOND, 0);
        assert_eq!(over.due(false, 100 * SECOND), Due::End);
    }

    #[test]
    fn what_clients_are_told() {
        assert_eq!((Credential::NONE.expires_told(), Credential::NONE.within_ms(5)), (0, 0));
        let awaited = Credential::awaited(7 * SECOND);
        assert_eq!((awaited.expires_told(), awaited.within_ms(2 * SECOND)), (0, 5_000));
        assert_eq!(awaited.next(false), 7 * SECOND);
    }
}
