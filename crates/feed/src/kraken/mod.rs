//! Kraken, version 2 of its WebSocket API.
//!
//! The [`Normalizer`] has no I/O: it takes the text of messages. Books have no sequence: each snapshot and each change comes
//! with a CRC-32 of the best ten levels, which proves the book after the change was applied. A change that does not fit is
//! not told: a gap is, and the book is broken until its next snapshot, which comes with a new subscription.
//!
//! The API is described at <https://docs.kraken.com/api/docs/websocket-v2/book> and the checksum at
//! <https://docs.kraken.com/api/docs/guides/spot-ws-book-v2>.

mod book;
mod listing;
mod message;
mod normalizer;

pub use book::TopBook;
pub use listing::listings;
pub use normalizer::{CommandResponse, Normalizer, Said, trading_state};
