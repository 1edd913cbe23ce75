//! The behaviour of the bus. `behaviour` holds for both kinds and runs against both; the other modules are of one kind
//! only.

mod behaviour;
mod fixture;
mod history;
mod lease;
mod memory;
mod nats;
mod nats_auth;
mod nats_permissions;
mod order;
