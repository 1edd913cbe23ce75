//! The contract, proven: one integration binary.

#[path = "../../examples/vectors/manifest.rs"]
mod manifest;
#[path = "../../examples/vectors/set.rs"]
mod set;

mod vectors;
