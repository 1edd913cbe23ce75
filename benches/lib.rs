//! Criterion benches of Tickwire; see `benches/`.
