//! The fan-out engine, from outside: events and commands in, WebSocket bytes out.
#![allow(missing_docs)]

mod property;
mod rig;
mod schedule;
mod view;
mod world;
