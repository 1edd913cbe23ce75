//! The freshness window alone: its rules, and a session in a closed loop on paths and with readers of all kinds.

mod matrix;
mod model;
mod tests;
mod way;
