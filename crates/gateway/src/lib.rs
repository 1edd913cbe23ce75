//! The edge of Tickwire: sessions, subscription index, outbox, fan-out.
//!
//! `engine` decides what each session gets and is told; it has no socket, clock or task in it. Around it: `hub`
//! follows the bus and finds losses, `shard` owns sockets and threads, `accept` speaks HTTP, `admin` tells how it goes.

mod accept;
mod admin;
mod admin_sessions;
mod clock;
mod config;
pub mod engine;
mod files;
mod gateway;
mod hops;
mod hub;
mod lobby;
mod shard;
#[cfg(test)]
mod sim;
mod stats;

pub use accept::{NoPages, Page, Pages};
pub use config::{GatewayConfig, Limits};
pub use files::raise_open_files;
pub use gateway::{Gateway, StartError};
pub use hyper::{HeaderMap, Method, StatusCode, Uri};
pub use shard::Pacing;
