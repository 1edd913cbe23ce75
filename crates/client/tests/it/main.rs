//! The client against a scripted gateway. Time is paused: what waits costs nothing and is exact.

mod fake_gateway;
mod reading;
mod transcript;
