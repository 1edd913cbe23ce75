//! The fan-out engine, from outside: events and commands in, WebSocket bytes out.

mod backfill;
mod backfill_schedule;
mod budget;
mod bytes;
mod clock;
mod commands;
mod dialect;
mod ended;
mod fanout;
mod freshness;
mod identity;
mod insight;
mod latency_samples;
mod overload;
mod pace;
mod pressure;
mod principal;
mod property;
mod rates;
mod rig;
mod schedule;
mod steps;
mod subscribing;
mod view;
mod wakes;
mod world;
