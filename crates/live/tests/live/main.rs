//! The real driver and its sockets against simulated venues.

mod client;
mod faults;
mod recordings;
mod venues;

/// The markets that the simulator has.
const MARKETS: [tickwire_feed::binance::Market; 2] =
    [tickwire_feed::binance::Market::Spot, tickwire_feed::binance::Market::Usdm];
