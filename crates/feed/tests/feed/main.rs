//! The feed as a whole: from a source to what arrives on the bus.

mod ingester;
mod questions;
mod recordings;
mod wild;
mod world;
