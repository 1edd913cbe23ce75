//! The schedules of the loops around hub and engine, without a runtime: they decide when to write, to gather, to take
//! events, and how long to wait. The loops of the gateway and of the simulation both ask here, so what is simulated
//! is what runs.
//!
//! All times are nanoseconds of one clock that never goes back, the one that hub and engine are told.

mod flow;
mod hub;
mod pacing;
mod shard;

pub use hub::{HubSchedule, TURN_EVENTS_MAX, by_shard};
pub use pacing::Pacing;
pub use shard::{Plan, ShardSchedule, Step};
