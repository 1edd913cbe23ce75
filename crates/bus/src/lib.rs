//! The backplane of Tickwire: NATS, or in memory. The only crate that knows async-nats.
