//! Coinbase, the market data of its Advanced Trade API.
//!
//! The [`Normalizer`] has no I/O: it takes the text of messages. Each message of a connection has the next number of that
//! connection, control messages too: [`Normalizer::message`] is told the connection, and says when one is missing. Snapshots
//! of books are in the stream, with all of their levels.
//!
//! The API is described at <https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels>.

mod listing;
mod message;
mod normalizer;

pub use listing::listings;
pub use normalizer::{Normalizer, Said, trading_state};
