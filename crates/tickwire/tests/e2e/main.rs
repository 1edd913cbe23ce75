//! The real programs as a user runs them: processes, a real NATS server, clients on sockets.

mod bad_input;
mod faults;
mod python;
mod raw;
mod replay;
mod session;
mod watcher;
mod world;
