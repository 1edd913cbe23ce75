//! The gate: it finds out whose session a handshake or a token begins, by the verdicts of `tickwire-auth`.
//!
//! | file | what it does |
//! |---|---|
//! | `shown` | finds what a request shows |
//! | `gate` | says whose session it is |
//! | `tokens` | has the tokens verified that sessions hand in |
//! | `revoking` | takes revocations from the bus, and passes them on to the shards |

pub(crate) mod gate;
pub(crate) mod revoking;
pub(crate) mod shown;
pub(crate) mod stats;
pub(crate) mod tokens;
