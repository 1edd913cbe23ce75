//! Feed adapters, normalizing, books, sequencing, publishing.
//!
//! The way of a record: an [`adapter`] says what happened; the [`Ingester`] keeps books, derives bars and ticker
//! statistics, gives sequence numbers, encodes and publishes.

pub mod adapter;
pub mod binance;
pub mod bitstamp;
pub mod bybit;
mod clock;
mod clock_text;
pub mod coinbase;
mod ingest;
pub mod kraken;
mod listing;
mod normalize_error;
mod number;
pub mod okx;
pub mod open_loop;
mod pairs;
mod reach;
pub mod replay;
mod roster;
pub mod sim;
mod status_board;
mod supply;
mod symbol;
pub mod verification;

pub use clock::{Clock, Pace, Pacer};
pub use ingest::{
    AtEnd, BAR_INTERVALS_MAX, BAR_PERIOD, BOOK_LEVELS_MAX, BarInterval, BarIntervalError, BarIntervals,
    EVENT_AHEAD_MAX, EVENT_BEHIND_MAX, HEARTBEAT_PERIOD, HEARTBEAT_POSITIONS_MAX, INSTRUMENTS_MAX,
    IngestConfig, IngestControl, IngestError, IngestReport, IngestStats, Ingester, STAT_PERIOD, Summary,
    TOPICS_PER_REQUEST_MAX, Tally,
};

pub use listing::Listing;
pub use normalize_error::NormalizeError;
pub use roster::Roster;
pub use supply::Supply;

/// Compiles the examples of the README with the other examples of this documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
