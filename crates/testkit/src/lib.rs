//! Test doubles and helpers. What ships never depends on them.

mod account;
#[cfg(feature = "certificates")]
mod certificates;
mod frames;
mod nats;
mod program;
mod proxy;
mod relay;
mod shown;
mod stock;

pub use account::{Account, MessageSeen, age_at, in_ms, unix_now};
#[cfg(feature = "certificates")]
pub use certificates::{Authority, Certified, Validity};
pub use nats::{NatsServer, NatsServerConfig};
pub use program::Program;
pub use proxy::{DelayProxy, Link, Variation};
pub use relay::Relay;
pub use shown::Shown;
pub use stock::{Pace, StockClient};
