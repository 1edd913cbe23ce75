//! The freshness window alone: its rules, and a session in a closed loop on paths and with readers of all kinds.

mod closed;
mod matrix;
mod model;
mod stalled;
mod tests;
mod way;
