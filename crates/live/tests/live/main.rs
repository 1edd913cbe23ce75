//! The real driver and its sockets against simulated venues.

mod client;
mod faults;
mod losses;
mod recordings;
mod soak;
mod subscriptions;
mod venues;

use tickwire_live::simulator::SimKind;

/// The venues that there are.
const VENUES: [SimKind; 8] = [
    SimKind::Binance,
    SimKind::BinanceUsdm,
    SimKind::Bitstamp,
    SimKind::Bybit,
    SimKind::BybitLinear,
    SimKind::Kraken,
    SimKind::Coinbase,
    SimKind::Okx,
];
/// Those that are Binance's.
const BINANCE: [SimKind; 2] = [SimKind::Binance, SimKind::BinanceUsdm];
