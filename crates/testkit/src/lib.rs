//! Test doubles and helpers. Never a dependency of what ships.

mod nats;
mod program;

pub use nats::{NatsServer, NatsServerConfig};
pub use program::Program;
