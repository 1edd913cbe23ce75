//! A gateway in a process of its own, and clients on sockets: how old is what they read, and at whose cost.
//!
//! Tests that take long are ignored unless asked for: `scripts/test-sockets.sh`, which builds them for release. They
//! run one at a time, print what they measured, and have the machine to themselves as far as it allows.
#![allow(clippy::print_stdout)] // They print results for those who run them.

mod crowd;
mod distance;
mod paths;
mod picture;
mod program;
mod server;
mod silent;
mod slow;
mod source;
mod stalled;
