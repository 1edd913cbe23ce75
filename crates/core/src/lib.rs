//! The decisions of a gateway: which records each session gets, when, and what it is told of the others.
//!
//! Nothing in here has a socket, a clock, a task or a lock: input and the time come in, bytes and events go out. The
//! `vocabulary` stands between the two halves. The `hub` follows the bus and finds what was lost; the `engine` hands out to
//! the sessions of one shard what the hub tells. The `schedule` says what the loops around both do next.

pub mod engine;
pub mod hub;
pub mod schedule;
pub mod vocabulary;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
