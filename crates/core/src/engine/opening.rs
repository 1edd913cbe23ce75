//! The opening of a session: it says all that is known before the session begins.

use std::sync::Arc;

use tickwire_wire::Encoding;

use super::dialect::Dialect;
use super::own::own_dialect;
use super::principal::Principal;

/// See the module.
#[derive(Debug)]
pub struct Opening {
    /// Names it in responses and logs.
    pub id: String,
    /// The dialect that it is spoken with.
    pub dialect: Box<dyn Dialect>,
    /// Whom it belongs to.
    pub principal: Arc<Principal>,
    /// The delivery window that it asks for, in milliseconds: 0 for none, at most [`WINDOW_MS_MAX`](super::WINDOW_MS_MAX).
    pub window_ms: u16,
}

impl Opening {
    /// Makes the opening of a session of our own protocol, of nobody in particular, without a delivery window.
    pub fn anonymous(id: impl Into<String>, encoding: Encoding) -> Self {
        Self {
            id: id.into(),
            dialect: own_dialect(encoding),
            principal: Principal::anonymous(),
            window_ms: 0,
        }
    }

    /// With a delivery window, in milliseconds.
    #[must_use]
    pub fn with_window(self, window_ms: u16) -> Self {
        Self { window_ms, ..self }
    }
}
