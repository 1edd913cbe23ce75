//! An ingester, the bus in memory, a gateway and clients, in one process: what the bus loses is found.
#![allow(missing_docs)]

mod returning;
mod rig;
mod silent;
mod stalled;
