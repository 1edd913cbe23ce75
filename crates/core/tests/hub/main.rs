//! The hub without a bus: events, responses, interests and time go in.

mod feeds;
mod follower;
mod instruments;
mod loss;
mod model;
mod property;
mod requests;
mod rig;
mod starting;
