//! Test doubles and helpers. Never a dependency of what ships.

mod nats;
mod program;
mod relay;

pub use nats::{NatsServer, NatsServerConfig};
pub use program::Program;
pub use relay::Relay;
