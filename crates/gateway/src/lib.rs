//! The server side of Tickwire: sockets, threads, HTTP and administration.
//!
//! What each session gets and is told is decided by `tickwire-core`, which has no socket, clock or task in it. Around it,
//! `hub` drives the bus side, `shard` owns connections and threads, `transport` carries their bytes, `accept` speaks HTTP,
//! and `admin` shows health, metrics and sessions.

mod accept;
mod admin;
mod admin_sessions;
mod auth;
mod clock;
mod config;
mod files;
mod framing;
mod gateway;
mod hops;
mod hub;
mod lobby;
mod shard;
mod stats;
mod timer;
mod transport;

pub use accept::{NoPages, Page, Pages};
pub use config::{GatewayConfig, Limits};
pub use files::raise_open_files;
pub use framing::WebSocket;
pub use gateway::{Gateway, StartError};
pub use hub::{deliver, fetch};
pub use hyper::{HeaderMap, Method, StatusCode, Uri};
pub use tickwire_auth::{AuthSettings, Authenticator};
pub use tickwire_core::schedule::Pacing;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
