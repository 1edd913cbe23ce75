//! Test doubles and helpers. Never a dependency of what ships.

mod nats;

pub use nats::{NatsServer, NatsServerConfig};
