//! Spans of what a gateway does besides delivering: how long it took, and what came of it. No record makes one.
//!
//! They have a target of their own, [`TARGET`]. Where nobody takes spans of it, none is made: that is decided once for each place of
//! the code. They hold ids and names, as the audit log does, and no part of a token.
//!
//! | span | from | to |
//! |---|---|---|
//! | `handshake` | the whole head of a request for a session | the response |
//! | `login` | a token that is to be verified, at the handshake or in a session | the verdict |
//! | `command` | a command of a client | what can be done about it at once is done |
//! | `snapshot` | a request to an ingester | its whole response |
//! | `lookup` | a request for what a resuming session missed | what the history has of it |
//! | `revocation` | a message with something new | all shards are told |
//! | `reload` | a look at files that were changed | what they hold is in use, or is not |
//! | `drain` | the end begins | all sessions are closed |

use tickwire_core::engine::{CommandWatcher, Engine};
use tracing::Span;

/// The target of all spans.
pub const TARGET: &str = "tickwire::span";

/// Makes a span.
macro_rules! span {
    ($($span:tt)*) => {
        tracing::info_span!(target: $crate::traces::TARGET, $($span)*)
    };
}
pub(crate) use span;

/// Has the commands of an engine's sessions told, where somebody takes spans.
pub(crate) fn watch(engine: &mut Engine) {
    if tracing::span_enabled!(target: TARGET, tracing::Level::INFO) {
        engine.watch_commands(Box::new(Commands { span: Span::none() }));
    }
}

#[derive(Debug)]
struct Commands {
    span: Span,
}

impl CommandWatcher for Commands {
    fn begins(&mut self, session: &str, command: &'static str, symbols: usize) {
        self.span = span!("command", otel.name = command, session, symbols);
    }

    fn is_done(&mut self) {
        self.span = Span::none();
    }
}
