//! The client against a scripted gateway. Time is paused: what waits costs nothing and is exact.
// Rates are repeated, never computed.
#![allow(clippy::float_cmp)]

mod books;
mod connecting;
mod ending;
mod fake_gateway;
mod gaps;
mod ledgers;
mod liveness;
mod reading;
mod reconnecting;
mod subscribing;
mod tokens;
mod transcript;
