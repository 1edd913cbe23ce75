//! Live venues.
//!
//! | module | what it has |
//! |---|---|
//! | [`venue`] | what a venue's protocol is: routes, commands, the meaning of messages, snapshots, what proves a book |
//! | [`driver`] | the one connection driver: limits, back-off, pings, requests, silence; no I/O and no clock |
//! | [`adapter`] | the sockets and tasks around it: a source for the ingester |
//! | [`row`] | the facts of a venue that stand before it is asked; [`VENUES`] has all of them |
//! | [`binance`] | Binance spot and USD-M futures |
//! | [`bitstamp`] | Bitstamp |
//! | [`bybit`] | Bybit spot and linear contracts |
//! | [`coinbase`] | Coinbase, the Advanced Trade API |
//! | [`kraken`] | Kraken |
//! | [`okx`] | OKX |
//! | [`simulator`] | a venue that speaks such a protocol over real sockets, with faults on demand |

pub mod adapter;
pub mod binance;
pub mod bitstamp;
pub mod bybit;
pub mod coinbase;
pub mod driver;
pub mod kraken;
mod limits;
mod listed;
pub mod okx;
pub mod row;
mod selection;
pub mod simulator;
pub mod venue;

pub use adapter::LiveAdapter;
pub use driver::{Driver, Moment, Timings};
pub use limits::{Limits, Rate};

/// The venues that there are.
pub static VENUES: [&row::Row; 8] = [
    &binance::SPOT,
    &binance::USDM,
    &bitstamp::BITSTAMP,
    &bybit::SPOT,
    &bybit::LINEAR,
    &coinbase::COINBASE,
    &kraken::KRAKEN,
    &okx::OKX,
];

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
