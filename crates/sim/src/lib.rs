//! Deterministic simulation of the whole path. There is nothing but tests in this crate: `tests/sim`.
