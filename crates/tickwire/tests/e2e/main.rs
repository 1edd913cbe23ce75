//! The real programs as a user runs them: processes, a real NATS server, clients on sockets.

mod raw;
mod replay;
mod watcher;
mod world;
