//! The opening of a session: it says all that is known before the session begins.

use std::sync::Arc;

use tickwire_wire::Encoding;

use super::dialect::Dialect;
use super::own::own_dialect;
use super::principal::Principal;

/// All that is known of a session before it begins.
#[derive(Debug)]
pub struct Opening {
    /// The name of the session in responses and logs.
    pub id: String,
    /// The dialect in which the session is spoken with.
    pub dialect: Box<dyn Dialect>,
    /// The principal that the session belongs to.
    pub principal: Arc<Principal>,
    /// The delivery window that the client asks for, in milliseconds: 0 for none, at most [`WINDOW_MS_MAX`](super::WINDOW_MS_MAX).
    pub window_ms: u16,
    /// The longest silence that the client asks for, in milliseconds, from [`HEARTBEAT_MS_MIN`](super::HEARTBEAT_MS_MIN) to
    /// [`HEARTBEAT_MS_MAX`](super::HEARTBEAT_MS_MAX); 0 for the gateway's own. It is granted within the limits.
    pub heartbeat_ms: u32,
}

impl Opening {
    /// Makes the opening of a session of our own protocol, of nobody in particular, without a delivery window.
    pub fn anonymous(id: impl Into<String>, encoding: Encoding) -> Self {
        Self {
            id: id.into(),
            dialect: own_dialect(encoding),
            principal: Principal::anonymous(),
            window_ms: 0,
            heartbeat_ms: 0,
        }
    }

    /// Asks for a delivery window, in milliseconds.
    #[must_use]
    pub fn with_window(self, window_ms: u16) -> Self {
        Self { window_ms, ..self }
    }

    /// Asks for a heartbeat after so many milliseconds of silence.
    #[must_use]
    pub fn with_heartbeat(self, heartbeat_ms: u32) -> Self {
        Self { heartbeat_ms, ..self }
    }
}
