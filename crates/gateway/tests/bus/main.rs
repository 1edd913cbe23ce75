//! An ingester, the bus in memory, a gateway and clients, in one process: what the bus loses is found, and
//! what becomes of sessions can be looked at.

mod returning;
mod rig;
mod sessions;
mod silent;
mod stalled;
