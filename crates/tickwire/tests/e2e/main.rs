//! The real programs as a user runs them: processes, a real NATS server, clients on sockets.
#![allow(clippy::print_stdout, clippy::print_stderr)] // results for those who run it, and what was skipped

mod auth;
mod bad_input;
mod doctor;
mod edges;
mod entitled;
mod faults;
mod full_disk;
mod inspect;
mod isolation;
mod lease;
mod live;
mod operating;
mod owners;
mod permissions;
mod python;
mod rates;
mod raw;
mod record;
mod reloading;
mod replay;
mod returning;
mod secrets;
mod session;
mod tls;
mod watcher;
mod world;
