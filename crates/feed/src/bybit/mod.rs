//! Bybit, version 5 of its API: spot and linear contracts.
//!
//! The [`Normalizer`] has no I/O: it takes the text of messages. Snapshots of books are in the stream, and each change has the
//! next number of its topic. Where the venue's service began anew, a snapshot comes with the number 1, and nothing was lost.
//! Trades have names and no numbers of their own: what is missing between two of them cannot be told.
//!
//! The API is described at <https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook>.

mod listing;
mod message;
mod normalizer;

pub use listing::{Listings, listings};
pub use normalizer::{Normalizer, Said, trading_state};
