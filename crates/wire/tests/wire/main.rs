//! The contract, proven in one integration binary.

#[path = "../../examples/vectors/manifest.rs"]
mod manifest;
#[path = "../../examples/vectors/set.rs"]
mod set;

#[path = "../random/mod.rs"]
mod random;

#[allow(dead_code)]
#[path = "../../examples/sizes/table.rs"]
mod table;

mod docs;
mod forward;
mod python;
mod round_trip;
mod sizes;
mod vectors;
