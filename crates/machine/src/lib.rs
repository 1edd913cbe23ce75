//! This crate tells what the machine has and does.
//!
//! | module | feature | what it has |
//! |---|---|---|
//! | [`Timer`] | | waits of less than a millisecond |
//! | [`now`], [`thread_cpu`] | | the clocks |
//! | [`processors`] | `processes` | how busy all processors are, and which of them a thread uses |
//! | [`processes`] | `processes` | what processes and their threads took of processors and memory |
//!
//! The features other than the timer and the clocks are Linux's own.

mod clock;
#[cfg(feature = "processes")]
pub mod processes;
#[cfg(feature = "processes")]
pub mod processors;
mod timer;

pub use clock::{now, thread_cpu};
pub use timer::Timer;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
