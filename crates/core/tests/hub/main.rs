//! The hub without a bus: events, answers, wishes and time go in.

mod feeds;
mod follower;
mod instruments;
mod loss;
mod model;
mod property;
mod questions;
mod rig;
mod starting;
