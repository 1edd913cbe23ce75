//! Tokens that clients handed in, until the shard takes them.

use std::fmt;

use tickwire_wire::Secret;

use super::key::SessionKey;

/// A token that a client handed in.
pub struct HandedIn {
    /// The session that it came by.
    pub session: SessionKey,
    /// The id of the command.
    pub id: u64,
    /// The token itself.
    pub token: Secret,
}

impl fmt::Debug for HandedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandedIn")
            .field("session", &self.session)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
