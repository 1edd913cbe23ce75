//! The feed as a whole: from a source to what arrives on the bus.

mod bitstamp;
mod ingester;
mod kraken;
mod recordings;
mod requests;
mod wild;
mod world;
