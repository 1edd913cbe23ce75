//! Test doubles and helpers. Never a dependency of what ships.

mod nats;
mod program;

pub use program::Program;
pub use nats::{NatsServer, NatsServerConfig};
