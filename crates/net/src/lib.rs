//! The connection kit: all that connect use it, and it knows nothing of Tickwire.
//!
//! | module | feature | what it has |
//! |---|---|---|
//! | [`frame`], [`fragments`], [`text`] | `websocket` | WebSocket frames of clients and of servers: written, found in bytes, joined; text checked |
//! | [`handshake`] | `websocket` | the WebSocket handshake from both sides: what is sent and what is checked |
//! | [`proxy`] | `proxy` | what a proxy says of whom it speaks for |
//! | [`http`] | `http` | one page of a server |
//! | [`tls`] | `tls` | whom a client trusts, TLS over readiness and over tokio, and what went wrong in plain words |
//! | [`Backoff`], [`Attempts`] | | how long to wait before trying again |
//! | [`TokenBucket`] | | how often something may happen |
//! | [`beside()`] | | how to use a connection and drive it in one task |
//!
//! Frames, back-off and rate limits do no I/O and read no clock: bytes, times and random numbers come in as arguments.

mod backoff;
mod beside;
mod bucket;
#[cfg(feature = "websocket")]
pub mod fragments;
#[cfg(feature = "websocket")]
pub mod frame;
#[cfg(feature = "websocket")]
pub mod handshake;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "websocket")]
pub mod text;
#[cfg(feature = "tls")]
pub mod tls;

pub use backoff::{Attempts, Backoff};
pub use beside::beside;
pub use bucket::{Refill, TokenBucket};

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(all(doctest, feature = "websocket"))]
#[doc = include_str!("../README.md")]
struct Readme;
