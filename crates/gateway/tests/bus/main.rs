//! An ingester, the bus in memory, a gateway and clients, in one process: the tests show that what the bus loses is
//! found, and that what becomes of sessions can be looked at.

mod identity;
mod metrics;
mod pipe;
mod returning;
mod rig;
mod sessions;
mod silent;
mod stalled;
