//! The server side of Tickwire: sockets, threads, HTTP and administration.
//!
//! What each session gets and is told is decided by `tickwire-core`, which has no socket, clock or task in it. Around it,
//! `hub` drives the bus side, `shard` owns connections and threads, `transport` carries their bytes, `accept` speaks HTTP,
//! `admission` says who may open a session, how often and from where, and `admin` shows health, metrics and sessions.

mod accept;
mod addresses;
mod admin;
mod admin_sessions;
mod admin_token;
mod admission;
mod asked;
mod audit;
mod auth;
mod clock;
mod config;
mod files;
mod framing;
mod gateway;
mod gathering;
mod holders;
mod hops;
mod hub;
#[cfg(feature = "keys")]
mod key_files;
#[cfg(feature = "keys")]
mod keys;
mod limit_table;
mod linger;
mod lobby;
pub mod metrics;
mod origin;
mod outcome;
mod pages;
mod proxies;
mod refusal;
mod settings;
mod shard;
mod stats;
mod timer;
#[cfg(feature = "tls")]
mod tls;
mod traces;
mod transport;

pub use admin_token::AdminToken;
pub use admission::Admission;
pub use audit::{LOST_LINES, LostLines, TARGET as AUDIT_TARGET};
#[cfg(feature = "tls")]
pub use config::TlsConfig;
pub use config::{GatewayConfig, Limits};
pub use files::raise_open_files;
pub use framing::WebSocket;
pub use gateway::{Gateway, StartError};
pub use hops::{HopCounts, ToldHops};
pub use hub::{deliver, fetch};
pub use hyper::{HeaderMap, Method, StatusCode, Uri};
pub use ipnet::IpNet;
#[cfg(feature = "keys")]
pub use key_files::{KeyFiles, Reloaded};
#[cfg(feature = "keys")]
pub use keys::{Keys, read_keys};
pub use limit_table::{At, LIMITS, Limit};
pub use origin::is_origin;
pub use outcome::Outcome;
pub use pages::{NoPages, Page, Pages};
pub use proxies::{Proxies, ProxyFault};
pub use refusal::Refusal;
pub use settings::{AccessSettings, AskedOfClients, GatewaySettings, LimitSettings, TlsSettings};
pub use tickwire_auth::{AuthSettings, Authenticator};
pub use tickwire_core::schedule::Pacing;
#[cfg(feature = "tls")]
pub use tickwire_net::tls::{ClientAuth, FilesError, ServerFiles, ServerTlsError, WhichFile};
pub use traces::TARGET as SPAN_TARGET;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
