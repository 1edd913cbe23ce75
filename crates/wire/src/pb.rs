//! The Protobuf messages, as generated from `proto/tickwire/v1`.
//!
//! Control messages are used as they are. Market data has [`crate::Record`] in front of it.
#![allow(unreachable_pub, clippy::all, clippy::pedantic)]
include!(concat!(env!("OUT_DIR"), "/tickwire.v1.rs"));
