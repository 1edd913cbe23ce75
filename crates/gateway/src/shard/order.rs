//! Orders of the rest of the gateway to a shard.

use std::sync::Arc;
use std::time::Duration;

use tickwire_auth::Revocation;
use tickwire_core::engine::Opening;

use crate::admin_sessions::Look;
use crate::auth::gate::Verdict;
use crate::holders::{Held, Seat};
use crate::transport::Transport;

/// A connection whose handshake is done.
pub(crate) struct Arrival {
    pub(crate) opening: Opening,
    pub(crate) transport: Transport,
    /// The bytes that the client sent behind its handshake.
    pub(crate) read: bytes::Bytes,
    /// The session's part of limits; it is held while the connection lives.
    pub(crate) seat: Seat,
    /// Its place among the sessions of its user, where these are counted; it is held while the session lives.
    pub(crate) held: Option<Held>,
}

/// An order of the rest of the gateway to a shard. Events have a way of their own.
pub(crate) enum Order {
    Arrive(Arrival),
    Drain(Duration),
    Look(Look),
    Identify(Verdict),
    Revoke(Arc<[Revocation]>),
    /// Other API keys count now.
    Recheck,
}
